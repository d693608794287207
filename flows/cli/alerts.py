"""Commands about alerts: where they go, which were false, and what was deployed."""
# ruff: noqa: PLC0415

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.options import By, Comment, Json, app, options_of

routes = typer.Typer(no_args_is_help=True, help="See where alerts go, and why.")
app.add_typer(routes, name="routes")
feedback = typer.Typer(
    no_args_is_help=True, help="Tell the detectors which alerts were false, and what they missed."
)
app.add_typer(feedback, name="feedback")


@routes.command("show")
def show_routes(context: typer.Context) -> None:
    """Show the tree of routes, with receivers, channels and times, and the escalations.

    Examples:

    - `headrace routes show`
    """
    from flows.commands.routes import show_routes as command

    command(options_of(context).settings())


@routes.command("test")
def try_routes(
    context: typer.Context,
    labels: Annotated[list[str], typer.Argument(metavar="NAME=VALUE...", help="Of an alert.")],
    as_json: Json = False,
) -> None:
    """Say which receivers an alert with these labels goes to, and every branch on its way.

    Examples:

    - `headrace routes test severity=page service=pay`
    - `headrace routes test --json severity=page | jq -r '.[].receiver'`
    """
    from flows.commands.routes import try_routes as command

    command(options_of(context).settings(), labels, as_json=as_json)


@feedback.command("false-alarm")
def report_false_alarm(
    context: typer.Context,
    alert: Annotated[
        str, typer.Argument(metavar="ALERT", help="A fingerprint, or the id of an event.")
    ],
    take_back: Annotated[
        bool, typer.Option("--take-back", help="What was reported of it counts no more.")
    ] = False,
    at: Annotated[str, typer.Option(help="Event time from which on it counts; else now.")] = "",
    comment: Comment = "",
    by: By = "",
) -> None:
    """Say that an alert of the detectors was none: the same again does not fire any more.

    It counts for the series of the alert and of its members, and for the statistic that each rested
    on; what is stronger fires still.

    Examples:

    - `headrace feedback false-alarm 5f1c0a8b9d3e7f21 --comment "nightly job"`
    """
    from flows.commands.feedback import false_alarm as command

    command(
        options_of(context).settings(), alert, take_back=take_back, at=at, comment=comment, by=by
    )


@feedback.command("missed")
def report_missed(
    context: typer.Context,
    labels: Annotated[
        list[str], typer.Argument(metavar="NAME=VALUE...", help="What was wrong; metric=NAME too.")
    ],
    since: Annotated[str, typer.Option(help="When it began.")],
    until: Annotated[str, typer.Option(help="When it ended.")],
    comment: Comment = "",
    by: By = "",
) -> None:
    """Say that no alert told of an incident: `headrace retrain` counts it as one to find.

    Examples:

    - `headrace feedback missed service.name=pay --since 2026-01-31T10:00Z --until 2026-01-31T10:40Z`
    """
    from flows.commands.feedback import missed as command

    command(
        options_of(context).settings(), labels, since=since, until=until, comment=comment, by=by
    )


@app.command("deploy")
def say_deploy(
    context: typer.Context,
    service: Annotated[str, typer.Argument(help="As service.name has it.")],
    version: Annotated[str, typer.Argument(help="That runs from now on.")] = "",
    at: Annotated[str, typer.Option(help="When, in event time; else now.")] = "",
    tenant: Annotated[str, typer.Option(help="Whose service.")] = "",
    comment: Comment = "",
    by: By = "",
) -> None:
    """Say that a service was deployed: what shifts with it is told, and is the new normal sooner.

    Examples:

    - `headrace deploy shop 1.4.2`
    """
    from flows.commands.feedback import deployed as command

    command(
        options_of(context).settings(), service, version, at=at, tenant=tenant, comment=comment,
        by=by,
    )  # fmt: skip
