"""``headrace demo``: Headrace with everything around it, on this machine alone."""

from __future__ import annotations

from importlib import import_module

from flows.commands.failure import CommandFailed

__all__ = ["demo"]


def demo(arguments: list[str]) -> None:
    """Hand over to ``flows.demo.run``.

    Raises:
        CommandFailed: what the demo needs is not installed.
    """
    try:
        run = import_module("flows.demo.run")
    except ModuleNotFoundError as error:
        raise CommandFailed(
            f"the demo needs {error.name}, which is not installed (pip install 'headrace[demo]')"
        ) from None
    run.main(arguments)
