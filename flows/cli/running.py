"""Commands that prepare what flows need, run them, and show how they are."""
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import Json, app, options_of


@app.command()
def setup(context: typer.Context, as_json: Json = False) -> None:
    """Create the topics, buckets and index templates that are not there yet.

    Safe to repeat: what exists is left as it is (buckets get the retention of the settings), and
    each thing is one line, created or already there. Exit code 1 if something could not be made.

    Examples:

    - `headrace setup`
    """
    from flows.commands.setup import setup as command

    command(options_of(context).settings(), as_json=as_json)


@app.command()
def run(
    context: typer.Context,
    flows: Annotated[
        list[str] | None, typer.Argument(metavar="[FLOW]...", help="Which flows; else all.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", "-w", min=1, help="Of each flow.")] = 1,
    directory: Annotated[
        Path, typer.Option("--directory", "-d", help="Where the flows remember what they did.")
    ] = Path("recovery"),
    as_json: Annotated[bool, typer.Option("--json", help="Write log lines as JSON.")] = False,
) -> None:
    """Run the flows on this machine: everything in one command.

    Makes the topics and recovery stores that are not there yet, starts each flow in a process of
    its own, starts one again that dies, and ends all of them at Ctrl-C or SIGTERM. What they log
    is one stream on standard error.

    Examples:

    - `headrace run`
    - `headrace run metrics notifier --workers 2`
    """
    from flows.commands.run import run as command

    chosen = options_of(context)
    status = command(
        chosen.settings(),
        flows or (),
        workers=workers,
        directory=directory,
        as_json=as_json,
        config=chosen.config,
    )
    raise typer.Exit(status)


@app.command()
def check(
    context: typer.Context,
    settings_only: Annotated[
        bool, typer.Option("--settings-only", help="Look at no server.")
    ] = False,
    as_json: Json = False,
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

    options = options_of(context)
    settings = options.settings()
    command(
        settings, source_of_settings(options.config), settings_only=settings_only, as_json=as_json
    )


@app.command()
def status(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Until interrupted.")] = False,
    past: Annotated[
        bool, typer.Option("--all", help="Also processes whose place another has taken.")
    ] = False,
    latency: Annotated[
        bool, typer.Option("--latency", help="Where time goes between a fault and its alert.")
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
    - `headrace status --latency`
    """
    from flows.commands import status as commands

    settings = options_of(context).settings()
    if latency:
        commands.latency(settings, as_json=as_json)
    else:
        commands.status(settings, as_json=as_json, watch=watch, past=past)


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
