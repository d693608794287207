"""Commands that show what logs come to, and say what is to become of exceptions."""
# ruff: noqa: PLC0415

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.options import (
    By,
    Comment,
    Fingerprints,
    HowFarBack,
    Json,
    Limit,
    Service,
    app,
    options_of,
    span,
)

exceptions = typer.Typer(
    no_args_is_help=True, help="See which exceptions there are in logs, resolve and ignore them."
)
app.add_typer(exceptions, name="exceptions")
logs = typer.Typer(no_args_is_help=True, help="See what logs come to.")
app.add_typer(logs, name="logs")
templates = typer.Typer(no_args_is_help=True, help="Look at the templates that lines are of.")
logs.add_typer(templates, name="templates")


@exceptions.command("list")
def list_exceptions(
    context: typer.Context,
    service: Service = "",
    state: Annotated[
        str, typer.Option(help="Only in this state: new, ongoing, regressed, resolved, ignored.")
    ] = "",
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Show the exceptions in logs, the one that was seen last first.

    Counts are at most a minute old, by the time of the records.

    Examples:

    - `headrace exceptions list --service pay --state new`
    """
    from flows.commands.exceptions import list_exceptions as command

    command(
        options_of(context).settings(), service=service, state=state, limit=limit, as_json=as_json
    )


@exceptions.command("show")
def show_exception(
    context: typer.Context,
    fingerprint: Annotated[str, typer.Argument(help="Of the exception, or how it begins.")],
    as_json: Json = False,
) -> None:
    """Show what is known of one exception, and a sample of it.

    Examples:

    - `headrace exceptions show 8f14e45fceea167a`
    """
    from flows.commands.exceptions import show_exception as command

    command(options_of(context).settings(), fingerprint, as_json=as_json)


@exceptions.command("resolve")
def resolve_exceptions(
    context: typer.Context,
    fingerprints: Fingerprints,
    release: Annotated[
        str, typer.Option("--in", metavar="RELEASE", help="Mended in it: older ones do not count.")
    ] = "",
    service: Service = "",
    comment: Comment = "",
    by: By = "",
) -> None:
    """Say that exceptions are mended. One that is seen again is regressed, and an event says so.

    Examples:

    - `headrace exceptions resolve 8f14e45f --in 1.4.2`
    """
    from flows.commands.exceptions import ask_of_exceptions as command
    from flows.commands.user import user

    command(
        options_of(context).settings(), "resolve", fingerprints,
        by=by or user(), service=service, release=release, comment=comment,
    )  # fmt: skip


@exceptions.command("ignore")
def ignore_exceptions(
    context: typer.Context,
    fingerprints: Fingerprints,
    times: Annotated[
        int, typer.Option(min=0, metavar="N", help="Until it is seen so often; 0 is for ever.")
    ] = 0,
    within: Annotated[
        str, typer.Option(metavar="PERIOD", help="So often in a period, as 10m, 1h or 7d.")
    ] = "",
    release: Annotated[
        str, typer.Option("--until", metavar="RELEASE", help="Until it is seen in one as new.")
    ] = "",
    service: Service = "",
    comment: Comment = "",
    by: By = "",
) -> None:
    """Hear of exceptions no more: for ever, until there are too many, or until a release.

    They are counted still. When the condition is met, an event says so.

    Examples:

    - `headrace exceptions ignore 8f14e45f`

    - `headrace exceptions ignore 8f14e45f --times 100 --within 1h`

    - `headrace exceptions ignore 8f14e45f --until 2.0`
    """
    from flows.commands.exceptions import ask_of_exceptions as command
    from flows.commands.user import user

    command(
        options_of(context).settings(), "ignore", fingerprints, by=by or user(), service=service,
        release=release, times=times, within=within, comment=comment,
    )  # fmt: skip


@exceptions.command("reopen")
def reopen_exceptions(
    context: typer.Context,
    fingerprints: Fingerprints,
    service: Service = "",
    comment: Comment = "",
    by: By = "",
) -> None:
    """Take back that exceptions are resolved or ignored.

    Examples:

    - `headrace exceptions reopen 8f14e45f`
    """
    from flows.commands.exceptions import ask_of_exceptions as command
    from flows.commands.user import user

    command(
        options_of(context).settings(), "reopen", fingerprints,
        by=by or user(), service=service, comment=comment,
    )  # fmt: skip


@templates.command("list")
def list_templates(
    context: typer.Context,
    service: Service = "",
    since: HowFarBack = "24h",
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Show the templates of services; with a lake, how many records each had, most first.

    Examples:

    - `headrace logs templates list --service pay --since 1h`
    """
    from flows.commands.log_templates import list_templates as command

    command(
        options_of(context).settings(), text="", service=service, since=span(since), limit=limit,
        as_json=as_json,
    )  # fmt: skip


@templates.command("search")
def search_templates(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="What a template contains.")],
    service: Service = "",
    since: HowFarBack = "24h",
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Show the templates that contain a text, in capitals or not.

    Examples:

    - `headrace logs templates search timeout`
    """
    from flows.commands.log_templates import list_templates as command

    command(
        options_of(context).settings(), text=text, service=service, since=span(since), limit=limit,
        as_json=as_json,
    )  # fmt: skip


@templates.command("show")
def show_template(
    context: typer.Context,
    template: Annotated[str, typer.Argument(metavar="ID", help="One that it has, or had before.")],
    since: HowFarBack = "24h",
    as_json: Json = False,
) -> None:
    """Show one template, what it was called before, and its newest records from the lake.

    Examples:

    - `headrace logs templates show 45c48cce2e2d7fbd`
    """
    from flows.commands.log_templates import show_template as command

    command(options_of(context).settings(), template, since=span(since), as_json=as_json)
