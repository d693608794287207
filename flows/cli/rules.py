"""Commands for Prometheus' rule files."""
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import Json, Since, Until, app, options_of

rules = typer.Typer(
    no_args_is_help=True,
    help="Look over Prometheus' rule files, test them, and run them over history.",
)
app.add_typer(rules, name="rules")


@rules.command("check")
def check_rules(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Rule files.")],
    sampling: Annotated[
        str, typer.Option(help="How far apart the samples of a series are.")
    ] = "15s",
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Compare with the series that are there: in inputs or the lake, as for backtest.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what is wrong in rule files, and what is doubtful.

    Wrong is what the flow refuses: a key that is unknown, an expression that can't be evaluated, a
    template that can't be rendered. Doubtful is a range that is too short for a rate, an annotation
    about a label that the result can't have, and with --from a metric that nobody writes, or a label
    that no series has. Exit code 1 if something is wrong.

    Examples:

    - `headrace rules check rules/*.yml --sampling 30s`
    """
    from flows.commands.rules import check_rules as command

    settings = None if source is None else options_of(context).settings()
    command(files, sampling, as_json=as_json, source=source, settings=settings)


@rules.command("test")
def unit_test_rules(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Test files.")],
    as_json: Json = False,
) -> None:
    """Run unit tests of rules: the files of `promtool test rules`, as they are.

    Exit code 1 if an expectation does not hold, or a file can't be used.

    Examples:

    - `headrace rules test tests/*_test.yml`
    """
    from flows.commands.rules import run_tests as command

    command(files, as_json=as_json)


@rules.command("backtest")
def backtest_rules(
    context: typer.Context,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="Rule files; else those of the settings."),
    ] = None,
    source: Annotated[
        str,
        typer.Option(
            "--from",
            help="inputs: the topics that flow metrics reads; samples: what it took of them; lake.",
        ),
    ] = "inputs",
    against: Annotated[
        list[Path] | None,
        typer.Option(help="Another version of a file, to compare with. May be repeated."),
    ] = None,
    since: Since = "",
    until: Until = "",
    html: Annotated[Path | None, typer.Option(help="Write a page to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Say which alerts rules would have raised over what is on the topics, or in the lake.

    They are evaluated by the code of flow alerting, at the same times. Nothing is written to Kafka. The lake has rollups, which are coarser than
    points: a rate over a range of a few of its windows is not what it was.

    Examples:

    - `headrace rules backtest rules/*.yml --html report.html`
    - `headrace rules backtest new.yml --against old.yml --from lake --since 2026-01-01T00:00Z`
    """
    from flows.commands.rules_backtest import backtest as command

    command(
        options_of(context).settings(),
        files or [],
        source=source,
        against=against or [],
        since=since,
        until=until,
        html=html,
        as_json=as_json,
    )


@rules.command("explain")
def explain_rule(
    context: typer.Context,
    alert: Annotated[str, typer.Argument(help="Name of a rule.")],
    at: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="When, as 2026-01-31T10:00Z; in UTC if it names no zone."
        ),
    ],
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="Rule files; else those of the settings."),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", help="name=value: only series that have it, or no such label."),
    ] = None,
    source: Annotated[
        str, typer.Option("--from", help="inputs, samples or lake, as for backtest.")
    ] = "inputs",
    tenant: Annotated[str, typer.Option(help="Whose series.")] = "default",
    as_json: Json = False,
) -> None:
    """Show what a rule gave at a time, each part of its expression, and the samples behind it.

    Examples:

    - `headrace rules explain TargetDown --at 2026-01-31T10:00Z --label instance=web-1`
    """
    from flows.commands.explain_rule import explain as command

    command(
        options_of(context).settings(),
        alert,
        files or [],
        at=at,
        labels=labels or [],
        source=source,
        tenant=tenant,
        as_json=as_json,
    )
