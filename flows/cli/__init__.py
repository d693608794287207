"""The command line: what each command is called, takes and explains; ``flows.commands`` does it.

The commands are imported when they are called, so that help and completion answer at once.
"""

from __future__ import annotations

import logging
import sys

import typer

# Each adds its commands to ``app``; help lists them in this order.
# isort: off
from flows.cli import running, alerts, logs, traces, rules, offline, models, stores  # noqa: F401

# isort: on
from flows.cli.options import app
from flows.commands.failure import FAILED, CommandFailed
from models.registry import OutOfReach

__all__ = ["app", "main"]

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells count it: 128 and the number of the signal."""


def main() -> None:
    """Run the command line; the entry point ``headrace``."""
    # Unless --verbose asks for the log, the lines that commands write say it all.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        app(prog_name="headrace")
    except CommandFailed as failure:
        typer.echo(f"headrace: {failure}", err=True)
        sys.exit(failure.exit_code)
    except OutOfReach as failure:
        typer.echo(f"headrace: {failure}", err=True)
        sys.exit(FAILED)
    except SystemError as failure:
        # A Ctrl-C that meets the Kafka library inside one of its calls comes out wrapped like this.
        if not isinstance(failure.__cause__, KeyboardInterrupt):
            raise
        sys.exit(INTERRUPTED)
