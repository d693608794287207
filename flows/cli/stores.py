"""Commands that look after what is kept: recovery stores, dead letters, what is known of a person."""
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import Json, Origin, Place, Reason, Topic, app, options_of

letters = typer.Typer(
    no_args_is_help=True,
    help="Look at what could not be decoded or was refused for good, and send it again.",
)
app.add_typer(letters, name="dead-letter")
recovery = typer.Typer(
    no_args_is_help=True, help="Look after the stores where flows remember what they were doing."
)
app.add_typer(recovery, name="recovery")


@recovery.command("rescale")
def rescale_store(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Of the store.")],
    partitions: Annotated[
        int | None, typer.Option("--partitions", "-n", min=1, help="Files of the new store.")
    ] = None,
) -> None:
    """Begin anew from what Kafka has: for other shards, readers or windows, or a damaged store.

    The store is set aside in its directory, and an empty one made. The flow, which must be stopped,
    then reads again what open windows need, so nothing that is stored changes. Detectors learn anew,
    and incidents that are open are forgotten.

    Examples:

    - `headrace recovery rescale recovery/metrics`
    """
    from flows.commands.recovery import rescale as command

    command(directory, partitions)


@recovery.command("upgrade")
def upgrade_store(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Of the store.")],
) -> None:
    """Make a store of an earlier version one of this version, with all that it remembers.

    The flow, which must be stopped, then goes on where it stood. The store of before is set aside in
    its directory.

    Examples:

    - `headrace recovery upgrade recovery/logs`
    """
    from flows.commands.recovery import upgrade as command

    command(directory)


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
    from flows.commands.letters import LetterChoice

    choice = LetterChoice(reason, origin, topic)
    settings = options_of(context).settings()
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

    command(options_of(context).settings(), place, raw=raw, whole=whole)


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
    from flows.commands.letters import LetterChoice

    command(
        options_of(context).settings(),
        LetterChoice(reason, origin, topic),
        places or [],
        give_up=give_up or [],
        dry_run=dry_run,
        yes=yes,
    )


@app.command()
def erase(
    context: typer.Context,
    subject: Annotated[
        list[str],
        typer.Option(help="An address, name or number of the person; as often as needed."),
    ],
    tenant: Annotated[str, typer.Option(help="Only in the records of this tenant.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Find and remove a person's records of logs, in Elasticsearch and in the lake.

    A record goes if it names the subject as a whole word, anywhere; so do alerts whose evidence
    does. What was erased is put on the audit topic. What Kafka still has goes with its retention.

    Examples:

    - `headrace erase --subject ann@shop.example --subject 4711 --dry-run`
    """
    from flows.commands.erase import erase as command

    command(
        options_of(context).settings(), subject, tenant=tenant, dry_run=dry_run, yes=yes,
        as_json=as_json,
    )  # fmt: skip
