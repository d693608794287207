"""The command line: what each command is called, takes and explains; ``flows.commands`` does it.

The commands are imported when they are called, so that help and completion answer at once.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.failure import CommandFailed

if TYPE_CHECKING:
    from flows.settings import Settings

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""
    Telemetry from Kafka becomes rollups, anomaly scores and alerts before it is stored.

    The flows themselves are run by Bytewax: `python -m bytewax.run flows.metrics`. These
    commands prepare what they need, and look after them.
    """,
    epilog="""
    Exit codes: 0, all is well; 1, something is wrong, and a line on standard error says what;
    2, the command line or the settings are wrong; 130, interrupted.
    """,
)
letters = typer.Typer(
    no_args_is_help=True,
    help="Look at what could not be decoded or was refused for good, and send it again.",
)
app.add_typer(letters, name="dead-letter")

Reason = Annotated[str, typer.Option(help="Only letters whose reason contains this.")]
Origin = Annotated[str, typer.Option(help="Only letters of this origin: input, or a sink.")]
Topic = Annotated[str, typer.Option(help="Only inputs that came from this topic.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
Place = Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="As the list shows it.")]


class _Options:
    """What is said before the command; ``settings`` reads them when they are wanted."""

    def __init__(self, config: Path | None, *, verbose: bool) -> None:
        self.config = config
        self._verbose = verbose

    def settings(self) -> Settings:
        from flows.commands.configuration import read_settings

        settings = read_settings(self.config)
        if self._verbose:
            from flows.serving.log import log_to_stderr
            from flows.serving.redaction import Redaction

            log_to_stderr("info", Redaction(settings))
        return settings


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="The settings; else the file that HEADRACE_CONFIG names, else headrace.yaml.",
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also write the log to standard error.")
    ] = False,
) -> None:
    """Take the options that all commands have."""
    context.obj = _Options(config, verbose=verbose)


@app.command()
def setup(context: typer.Context) -> None:
    """Create the topics, buckets and index templates that are not there yet.

    Safe to repeat: what exists is left as it is (buckets get the retention of the settings), and
    each thing is one line, created or already there. Exit code 1 if something could not be made.

    Examples:

    - `headrace setup`
    """
    from flows.commands.setup import setup as command

    command(_options(context).settings())


@app.command()
def check(
    context: typer.Context,
    settings_only: Annotated[
        bool, typer.Option("--settings-only", help="Look at no server.")
    ] = False,
) -> None:
    """Look whether all that the settings name is there and lets us in.

    One line for each: Kafka and its topics, every sink, every receiver of notifications, to which
    nothing is sent. Takes at most half a minute. Exit code 1 if something is wrong, 2 if the
    settings can't be read.

    Examples:

    - `headrace check`
    - `headrace -c prod.yaml check --settings-only`
    """
    from flows.commands.check import check as command
    from flows.commands.configuration import source_of_settings

    options = _options(context)
    settings = options.settings()
    command(settings, source_of_settings(options.config), settings_only=settings_only)


@app.command()
def status(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Until interrupted.")] = False,
    past: Annotated[
        bool, typer.Option("--all", help="Also processes whose place another has taken.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what each flow is doing, has done, and has left to do.

    Every process of a flow reports on the status topic. **silent** is one that has not for
    three intervals; **blocked**, one that waits for a sink's backend; **stuck**, one in
    which nothing moves for another reason. LAG is what the flow has not committed of its input.

    Exit code 1 if a process is silent, blocked, stuck or has failed, or if none ever reported.

    Examples:

    - `headrace status --watch`
    - `headrace status --json | jq '.flows[].lag'`
    """
    from flows.commands.status import status as command

    command(_options(context).settings(), as_json=as_json, watch=watch, past=past)


@letters.command("list")
def list_letters(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 20,
    reason: Reason = "",
    origin: Origin = "",
    topic: Topic = "",
    pending: Annotated[
        bool, typer.Option("--pending", help="Only what was not sent again.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the newest dead letters, a line each.

    Examples:

    - `headrace dead-letter list --origin influxdb`
    - `headrace dead-letter list -n 1000 --json | jq -r .reason | sort | uniq -c`
    """
    from flows.commands.dead_letter import list_letters as command
    from flows.commands.letters import Choice

    choice = Choice(reason, origin, topic)
    settings = _options(context).settings()
    command(settings, choice, limit=limit, pending=pending, as_json=as_json)


@letters.command("show")
def show_letter(
    context: typer.Context,
    place: Place,
    raw: Annotated[bool, typer.Option("--raw", help="Only the payload, as it is.")] = False,
    whole: Annotated[bool, typer.Option("--whole", help="Long payloads to their end.")] = False,
) -> None:
    """Show one dead letter: where it came from, why it was refused, and what is in it.

    Examples:

    - `headrace dead-letter show 0:42`
    - `headrace dead-letter show 0:42 --raw > payload.bin`
    """
    from flows.commands.dead_letter import show_letter as command

    command(_options(context).settings(), place, raw=raw, whole=whole)


@letters.command("redrive")
def redrive_letters(
    context: typer.Context,
    places: Annotated[
        list[str] | None,
        typer.Argument(metavar="PARTITION:OFFSET", help="These; else all that are pending."),
    ] = None,
    reason: Reason = "",
    origin: Origin = "",
    topic: Topic = "",
    give_up: Annotated[
        list[str] | None,
        typer.Option(
            "--give-up", metavar="ORIGIN", help="Do not send these, nor keep them pending."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Send dead letters again: inputs to their topic, what a sink refused to that sink.

    Without a choice all that are pending are sent, and are pending no more. Letters that are
    chosen, by place or by an option, stay pending: sending inputs twice counts their points twice.

    Examples:

    - `headrace dead-letter redrive --dry-run`
    - `headrace dead-letter redrive 0:42 3:7 --yes`
    """
    from flows.commands.dead_letter import redrive_letters as command
    from flows.commands.letters import Choice

    command(
        _options(context).settings(),
        Choice(reason, origin, topic),
        places or [],
        give_up=give_up or [],
        dry_run=dry_run,
        yes=yes,
    )


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def demo(context: typer.Context) -> None:
    """Start Headrace with a broker, a collector and a service to observe, on this machine.

    Examples:

    - `headrace demo`
    - `headrace demo --help`
    """
    from flows.commands.demo import demo as command

    command(context.args)


@app.command()
def version(as_json: Json = False) -> None:
    """Show the versions of Headrace and of the libraries that do the work."""
    from flows.commands.terminal import write_json
    from flows.commands.version import versions

    found = versions()
    if as_json:
        write_json(found)
        return
    for name, number in found.items():
        typer.echo(f"{name:<16} {number}")


def _options(context: typer.Context) -> _Options:
    options: _Options = context.obj
    return options


def main() -> None:
    """Run the command line; the entry point ``headrace``."""
    # Unless --verbose asks for the log, the lines that commands write say it all.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        app(prog_name="headrace")
    except CommandFailed as failure:
        typer.echo(f"headrace: {failure}", err=True)
        sys.exit(failure.exit_code)


if __name__ == "__main__":
    main()
