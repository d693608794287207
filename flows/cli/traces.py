"""Commands that look at traces: who calls whom, one trace, and what sampling comes to."""
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import Json, Lake, Since, Tenant, Until, app, options_of, span
from flows.commands.failure import CommandFailed

traces = typer.Typer(no_args_is_help=True, help="Look at single traces that are kept.")
app.add_typer(traces, name="trace")
samplings = typer.Typer(no_args_is_help=True, help="See what sampling of traces comes to.")
app.add_typer(samplings, name="sampling")


@app.command()
def graph(
    context: typer.Context,
    since: Annotated[str, typer.Option(help="How far back: 15m, 1h, 1d.")] = "1h",
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    form: Annotated[
        str, typer.Option("--as", metavar="FORM", help="table, json, map or node-graph.")
    ] = "table",
) -> None:
    """Show which service calls which, how often, and with what success.

    The flow traces counts calls between services, to databases, queues and third parties. **map** is
    what the notifier takes as `correlation.service_map_file`; **node-graph**, nodes and edges with the
    fields of Grafana's panel of that name. Both are of one tenant.

    Examples:

    - `headrace graph --since 15m`
    - `headrace graph --as map > services.yaml`
    """
    from typing import cast, get_args

    from flows.commands.failure import USAGE
    from flows.commands.graph import Form
    from flows.commands.graph import graph as command

    if form not in get_args(Form):
        raise CommandFailed(f"--as: {form} is none of {', '.join(get_args(Form))}", USAGE)
    command(options_of(context).settings(), span(since), tenant, cast(Form, form))


@samplings.command("backtest")
def backtest_sampling(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Option(
            "--from",
            help="lake or spans (the topic): what was kept; inputs: the topics that flow traces reads.",
        ),
    ] = "lake",
    lake: Lake = None,
    since: Since = "",
    until: Until = "",
    tenant: Tenant = "",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Another setting of traces.sampling."),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A setting of a second policy, laid beside it."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page of HTML.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a policy of sampling would keep of traces, what that costs and what it covers.

    Runs the flow's own sampling over spans that are stored, or over those on the raw topics. What was
    left out before stands in the numbers by the thresholds of what was kept.

    Examples:

    - `headrace sampling backtest --set rest=2 --against rest=20 --report sampling.html`
    - `headrace sampling backtest --from inputs --set slow=1s --json`
    """
    from flows.commands.sampling_backtest import backtest_sampling as command
    from flows.commands.scoring_backtest import HistoryChoice

    command(
        options_of(context).settings(),
        HistoryChoice(lake, None, "", since, until, tenant),
        source=source,
        changes=changes or [],
        against=against or [],
        report=report,
        as_json=as_json,
    )


@traces.command("show")
def show_trace(
    context: typer.Context,
    trace: Annotated[str, typer.Argument(metavar="ID", help="32 hexadecimal digits, or 16.")],
    since: Annotated[str, typer.Option(help="How far back to look: 15m, 1h, 1d.")] = "1h",
    tenant: Annotated[
        str | None, typer.Option(help="Whose; needed if several have a trace of that id.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a trace that was kept: who called whom, when, and what the whole of it waited for.

    Each span is a line; SELF is what its children do not cover, and PATH its part of the critical
    path, which adds up to the time that the trace took. It is read from the topic of kept spans. Of a trace of
    more than 2,000 spans the page has those that tell most.

    Examples:

    - `headrace trace show 0af7651916cd43dd8448eb211c80319c --since 1d`
    """
    from flows.commands.trace import show_trace as command

    command(options_of(context).settings(), trace, span(since), tenant=tenant, as_json=as_json)
