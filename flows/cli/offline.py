"""Commands that run over stored rollups. They take the same options for which."""
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import (
    Cores,
    Csv,
    Influx,
    Json,
    Lake,
    Since,
    Tenant,
    Until,
    Window,
    app,
    options_of,
)


@app.command()
def backtest(
    context: typer.Context,
    lake: Lake = None,
    csv: Csv = None,
    influxdb: Influx = False,
    window: Window = "",
    since: Since = "",
    until: Until = "",
    tenant: Tenant = "",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Another setting of scoring."),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A setting of a second run, laid beside it."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page of HTML with pictures.")
    ] = None,
    cores: Cores = 0,
    as_json: Json = False,
) -> None:
    """Say which alerts would have fired over stored rollups, with these settings or others.

    Runs the flow's own scoring, so scores, alerts and notifications are those of a flow that gets
    every window as it closes. No server is needed.

    Examples:

    - `headrace backtest --since 2026-01-01 --report backtest.html`
    - `headrace backtest --csv metrics/ --against alerts_per_series_month=5`
    - `headrace backtest --set detector=river.anomaly.LODA --set "options={n_bins: 10}" --json`
    """
    from flows.commands.scoring_backtest import HistoryChoice
    from flows.commands.scoring_backtest import backtest as command

    command(
        options_of(context).settings(),
        HistoryChoice(lake, csv, window, since, until, tenant, influxdb),
        changes=changes or [],
        against=against or [],
        report=report,
        cores=cores,
        as_json=as_json,
    )


@app.command()
def retrain(
    context: typer.Context,
    lake: Lake = None,
    csv: Csv = None,
    influxdb: Influx = False,
    window: Window = "",
    since: Since = "",
    until: Until = "",
    tenant: Tenant = "",
    candidates: Annotated[
        list[str] | None,
        typer.Option(
            "--candidate", metavar="KEY=VALUE[;...]", help="Settings of scoring to choose from."
        ),
    ] = None,
    incidents: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Known incidents: a CSV of start, end and labels."),
    ] = None,
    cores: Cores = 0,
    as_json: Json = False,
) -> None:
    """Train detectors on stored rollups, and put the model where models are.

    Each candidate is validated on time that comes after what it learned; the one that finds most
    with no more alerts than scoring.alerts_per_series_month is trained on all of it. Without
    candidates the slider itself is chosen. Nothing changes before the model is promoted.

    Examples:

    - `headrace retrain --since 2026-01-01`
    - `headrace retrain --candidate detector=peak_rank --candidate "detector=robust_ewma;fire_after=4"`
    """
    from flows.commands.retrain import retrain as command
    from flows.commands.scoring_backtest import HistoryChoice

    command(
        options_of(context).settings(),
        HistoryChoice(lake, csv, window, since, until, tenant, influxdb),
        candidates=candidates or [],
        incidents=incidents,
        cores=cores,
        as_json=as_json,
    )


@app.command()
def forecast(
    context: typer.Context,
    lake: Lake = None,
    csv: Csv = None,
    influxdb: Influx = False,
    window: Window = "",
    since: Since = "",
    until: Until = "",
    tenant: Tenant = "",
    limits: Annotated[
        list[str] | None,
        typer.Option(
            "--limit", metavar="METRIC>VALUE", help="A limit, from above with <; quote it."
        ),
    ] = None,
    horizon: Annotated[str, typer.Option(help="How far to look ahead.")] = "7d",
    step: Annotated[str, typer.Option(help="Of the forecast; a day is a season.")] = "1h",
    publish: Annotated[
        bool,
        typer.Option("--publish", help="Write forecasts to the rollups topic, and alerts."),
    ] = False,
    within: Annotated[
        str, typer.Option("--alert-within", metavar="TIME", help="How near a limit alerts.")
    ] = "3d",
    as_json: Json = False,
) -> None:
    """Say when series reach their limits, with an interval, the most urgent first.

    Utilizations and percentages have a limit of their own. The interval is how far the same
    forecast was off in the past of the series.

    Examples:

    - `headrace forecast --window 1m`
    - `headrace forecast --limit 'disk.free<1e9' --horizon 30d --step 6h --json`
    - `headrace forecast --window 1m --publish`, once a day: alerts before a disk is full
    """
    from flows.commands.forecast import forecast_capacity as command
    from flows.commands.scoring_backtest import HistoryChoice

    command(
        options_of(context).settings(),
        HistoryChoice(lake, csv, window, since, until, tenant, influxdb),
        limits=limits or [],
        horizon=horizon,
        step=step,
        publish=publish,
        within=within,
        as_json=as_json,
    )


@app.command("explain")
def explain_alert(
    context: typer.Context,
    alert: Annotated[
        str, typer.Argument(metavar="ALERT", help="A fingerprint, or the id of an event.")
    ],
    lake: Lake = None,
    csv: Csv = None,
    influxdb: Influx = False,
    window: Window = "",
    since: Since = "",
    until: Until = "",
    tenant: Tenant = "",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of scoring that was other."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page of HTML with a picture.")
    ] = None,
    cores: Cores = 0,
    as_json: Json = False,
) -> None:
    """Show what led to an alert of the detectors: rollups, band, statistic and model.

    It is worked out again from the lake. For alerts of rules: `headrace rules explain`.

    Examples:

    - `headrace explain 5f1c0a8b9d3e7f21 --report why.html`
    """
    from flows.commands.explain_alert import explain_alert as command
    from flows.commands.scoring_backtest import HistoryChoice

    command(
        options_of(context).settings(),
        HistoryChoice(lake, csv, window, since, until, tenant, influxdb),
        alert,
        changes=changes or [],
        report=report,
        cores=cores,
        as_json=as_json,
    )


@app.command("outliers")
def find_outliers(
    context: typer.Context,
    lake: Lake = None,
    csv: Csv = None,
    influxdb: Influx = False,
    window: Window = "",
    since: Since = "",
    until: Until = "",
    tenant: Tenant = "",
    labels: Annotated[
        list[str] | None,
        typer.Option("--by", metavar="LABEL", help="What tells members apart; else the host."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say which host of a group is not like its peers, and since when.

    A group is the series of a metric that differ in the host alone; each value is compared with
    those of the others of the same moment.

    Examples:

    - `headrace outliers --since 2026-01-31`
    """
    from flows.commands.outliers import show_outliers as command
    from flows.commands.scoring_backtest import HistoryChoice

    command(
        options_of(context).settings(),
        HistoryChoice(lake, csv, window, since, until, tenant, influxdb),
        labels=labels or [],
        as_json=as_json,
    )
