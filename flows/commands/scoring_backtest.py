"""``headrace backtest``: which alerts would have fired over stored rollups."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl
from rich.text import Text

from flows.commands.failure import USAGE, CommandFailed
from flows.commands.given import with_changes
from flows.commands.instants import instant_or_none
from flows.commands.routes import usable_plan
from flows.commands.terminal import ago, console, count, printable, table, write_json
from flows.notifying import Plan
from flows.offline.backtest.alerts import lives
from flows.offline.backtest.comparing import Comparison, compare
from flows.offline.backtest.judging import Found, Wanted, judge
from flows.offline.backtest.outcome import BacktestOutcome
from flows.offline.backtest.pasts import Life
from flows.offline.backtest.receivers import ToldNotification, told
from flows.offline.history.base import BadHistory, History
from flows.offline.history.csv import read_csv
from flows.offline.history.lake import LakeHistory
from flows.promotions import registry_of
from flows.settings import Scoring, Settings
from flows.version import version
from models.artefact import BadArtefact, Trained
from operators.contracts.clock import Clock, SystemClock
from operators.contracts.durations import DurationError, format_duration, parse_duration
from operators.notifying.notification import Courier
from operators.notifying.notifier import Notifier

__all__ = [
    "HistoryChoice", "backtest", "changed", "history_of", "judged", "moment", "without_model",
    "write_page",
]  # fmt: skip

SCHEMA: Final = "headrace.backtest/v1"
_SHOWN: Final = 20
_MODEL: Final = "model="


@dataclass(frozen=True, slots=True)
class HistoryChoice:
    """Which history: options as they were given, empty ones are not."""

    lake: Path | None = None
    csv: Path | None = None
    window: str = ""
    since: str = ""
    until: str = ""
    tenant: str = ""
    influxdb: bool = False


def backtest(
    settings: Settings,
    choice: HistoryChoice,
    *,
    changes: Sequence[str] = (),
    against: Sequence[str] = (),
    report: Path | None = None,
    cores: int = 0,
    as_json: bool = False,
) -> None:
    """Judge a history as the flow would, and print what came of it.

    Args:
        settings: scoring, shards and routes are taken from them.
        choice: which history.
        changes: settings of scoring that are other, as ``key=value``; ``model=VERSION`` is a
            model that is in force from the beginning.
        against: those of a second run, which is laid beside the first; none without any.
        report: a file for a page of HTML.
        cores: how many to use; 0 for all.
        as_json: print a document.

    Raises:
        CommandFailed: something can't be read or written, or a setting is wrong.
    """
    history = history_of(settings, choice)
    runs = [("first", "--set", changes)]
    if against:
        runs.append(("second", "--against", against))
    going_by = usable_plan(settings)
    outcomes, pasts = [], []
    for name, option, given in runs:
        others, trained = without_model(settings, given)
        scoring = changed(settings.scoring, others, option)
        title = ", ".join(given) or ("as set" if against else name)
        found = judged(
            settings, history, scoring, title, cores,
            wanted=Wanted(pasts=report is not None, trained=trained), quiet=as_json,
        )  # fmt: skip
        outcomes.append(_outcome(settings, history, scoring, going_by, title, found))
        pasts.append(found.pasts)
    comparison = compare(*outcomes) if against else None
    if report is not None:
        _write_report(report, history, outcomes, pasts, comparison)
    if as_json:
        write_json(_document(history, outcomes, comparison), indent=True)
    else:
        _say(history, outcomes, comparison)
        if report is not None:
            console().print(f"\nThe report is in {report}", soft_wrap=True)


def changed(scoring: Scoring, changes: Sequence[str], option: str) -> Scoring:
    """Return scoring with other settings, as ``key=value``; it is switched on.

    Raises:
        CommandFailed: a key that is not there, or a value that does not fit.
    """
    return with_changes(scoring, changes, option, "scoring", enabled=True)


def history_of(settings: Settings, choice: HistoryChoice) -> History:
    """Return the history that was asked for.

    Raises:
        CommandFailed: it can't be read, or an option is wrong.
    """
    since, until = (
        instant_or_none(text, option)
        for text, option in ((choice.since, "--since"), (choice.until, "--until"))
    )
    try:
        window = parse_duration(choice.window) if choice.window else None
    except DurationError as error:
        raise CommandFailed(f"--window: {error}", USAGE) from None
    if choice.csv is not None:
        if choice.lake is not None:
            raise CommandFailed("give either --csv or --lake", USAGE)
        try:
            return read_csv(choice.csv, window=window, since=since, until=until)
        except BadHistory as error:
            raise CommandFailed(str(error)) from None
    if choice.influxdb:
        return _influxdb(settings, choice, window or settings.judged, since, until)
    path = choice.lake or (settings.sinks.lake.path if settings.sinks.lake is not None else None)
    if path is None:
        raise CommandFailed("there is no sinks.lake in the settings: give --lake or --csv", USAGE)
    return LakeHistory(path, window or settings.judged, since, until, choice.tenant or None)


def _influxdb(
    settings: Settings, choice: HistoryChoice, window: int, since: int | None, until: int | None
) -> History:
    # Their clients are large.
    from flows.commands.known_series import known_series  # noqa: PLC0415
    from flows.offline.history.influxdb import InfluxHistory  # noqa: PLC0415

    given = settings.sinks.influxdb
    if given is None:
        raise CommandFailed("--influxdb: there is no sinks.influxdb in the settings", USAGE)
    if since is None:
        raise CommandFailed("--influxdb: give --since: from when on is it to be read?", USAGE)
    return InfluxHistory(
        given, window, since, until or SystemClock().now(), choice.tenant or None,
        known=known_series(settings),
    )  # fmt: skip


def judged(
    settings: Settings, history: History, scoring: Scoring, title: str, cores: int,
    *, wanted: Wanted, quiet: bool,
) -> Found:  # fmt: skip
    """Return what is found in a history, and say on a terminal how far it is.

    Raises:
        CommandFailed: it can't be read, or nothing in it is judged.
    """
    progress = _Progress(title, quiet=quiet)
    try:
        found = judge(
            history, scoring, shards=settings.rollups.shards, cores=cores or os.cpu_count() or 1,
            wanted=wanted, progress=progress,
        )  # fmt: skip
    except BadHistory as error:
        raise CommandFailed(str(error)) from None
    progress.end()
    if not found.series.height:
        raise CommandFailed(
            f"{history.source}: no series in it is judged: look at scoring.metrics and "
            "scoring.ignore, and at the span of time"
        )
    return found


def without_model(settings: Settings, changes: Sequence[str]) -> tuple[list[str], Trained | None]:
    """Return the changes of settings, and the model that ``model=VERSION`` among them names.

    Raises:
        CommandFailed: it can't be used.
    """
    others = [change for change in changes if not change.startswith(_MODEL)]
    named = [change.removeprefix(_MODEL) for change in changes if change.startswith(_MODEL)]
    if not named:
        return others, None
    try:
        return others, registry_of(settings).load(named[-1])
    except BadArtefact as error:
        raise CommandFailed(str(error)) from None


def _outcome(
    settings: Settings, history: History, scoring: Scoring, going_by: Plan, title: str,
    found: Found,
) -> BacktestOutcome:  # fmt: skip
    return BacktestOutcome(
        title=title,
        settings=scoring.model_dump(mode="json", exclude={"enabled", "window"}),
        series=found.series,
        alerts=lives(found.events),
        told=_told(settings, going_by, found.events, found.ended),
        window=history.window,
        began=found.began,
        ended=found.ended,
    )


def _told(settings: Settings, going_by: Plan, events: Any, until: int) -> list[ToldNotification]:
    given = settings.notifier
    correlation = given.correlation.correlation() if given.correlation is not None else None

    def notifier(courier: Courier, clock: Clock) -> Notifier:
        return Notifier(
            going_by.routing(), courier, clock, holds=going_by.holds(given),
            waits_for_old=given.waits_for_old, prompt_resolves=given.prompt_resolves,
            correlation=correlation,
        )  # fmt: skip

    return told(events, notifier, until)


class _Progress:
    """Says on a terminal how far it is."""

    def __init__(self, title: str, *, quiet: bool) -> None:
        self._shown = sys.stderr.isatty() and not quiet
        self._title = title
        self._said = 0.0

    def __call__(self, until: int) -> None:
        now = time.monotonic()
        if self._shown and now - self._said > 0.2:
            self._said = now
            sys.stderr.write(f"\r{printable(self._title)}: judged up to {moment(until)}  ")
            sys.stderr.flush()

    def end(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")


def _document(
    history: History, outcomes: Sequence[BacktestOutcome], comparison: Comparison | None
) -> dict[str, Any]:
    first = outcomes[0]
    return {
        "schema": SCHEMA,
        "source": history.source,
        "window": format_duration(history.window),
        "since": moment(first.began),
        "until": moment(first.ended),
        "runs": [outcome.document() for outcome in outcomes],
        "comparison": None if comparison is None else comparison.document(),
    }


def _say(
    history: History, outcomes: Sequence[BacktestOutcome], comparison: Comparison | None
) -> None:  # fmt: skip
    out = console()
    first = outcomes[0]
    out.print(
        f"{history.source}: {count(first.rollups)} rollups of {format_duration(history.window)} of "
        f"{count(first.series.height)} series, {moment(first.began)} to {moment(first.ended)}\n",
        soft_wrap=True,
    )
    figures = table("", *(outcome.title for outcome in outcomes), right=[o.title for o in outcomes])
    for name, *values in _rows(outcomes):
        figures.add_row(name, *values)
    figures.show_header = len(outcomes) > 1
    out.print(figures)
    if comparison is not None:
        _say_comparison(comparison)
    else:
        _say_alerts("Alerts", first.alerts, first.ended)


def _rows(outcomes: Sequence[BacktestOutcome]) -> list[tuple[str, ...]]:
    every = [outcome.figures() for outcome in outcomes]
    names = {
        "anomalous": "anomalous rollups",
        "alerts": "alerts",
        "firing_at_end": "still firing at the end",
        "series_with_alerts": "series with alerts",
        "alerts_per_series_month": "alerts of a series in 30 days",
        "restless": "fired again within an hour",
        "notifications": "notifications",
    }
    rows = [
        (said, *(f"{figures[name]:g}" if isinstance(figures[name], float) else f"{figures[name]:,}"
                 for figures in every))
        for name, said in names.items()
    ]  # fmt: skip
    for name, said in (("median_duration", "an alert lasts (median)"),
                       ("longest_duration", "the longest"),
                       ("median_until_fired", "from its start to firing (median)")):  # fmt: skip
        rows.append((said, *("-" if f[name] is None else ago(f[name]) for f in every)))
    return rows


def _say_comparison(found: Comparison) -> None:
    out = console()
    earlier = found.median_earlier
    said = "" if earlier is None or not earlier else (
        f"; the second fires {ago(abs(earlier))} {'earlier' if earlier > 0 else 'later'} (median)"
    )  # fmt: skip
    out.print(f"\n{len(found.both)} alerts in both{said}", soft_wrap=True)
    _say_alerts(f"Only with {found.one.title}", found.only_one, found.one.ended)
    _say_alerts(f"Only with {found.other.title}", found.only_other, found.other.ended)


def _say_alerts(title: str, alerts: Sequence[Any], ended: int) -> None:
    out = console()
    out.print(Text(f"\n{title}: {len(alerts)}", style="bold"))
    if not alerts:
        return
    shown = table("fired", "for", "what")
    for alert in alerts[:_SHOWN]:
        lasts = ago(alert.lasts(ended) / 1e9) + ("" if alert.resolved else "+")
        shown.add_row(moment(alert.fired), lasts, printable(alert.summary))
    out.print(shown, soft_wrap=True)
    if len(alerts) > _SHOWN:
        out.print(f"and {len(alerts) - _SHOWN} more: see --json, or --report")


def moment(nanoseconds: int) -> str:
    """Return an instant as people read it, in UTC."""
    return f"{datetime.fromtimestamp(nanoseconds / 1e9, UTC):%Y-%m-%d %H:%M:%S}"


def _write_report(
    path: Path, history: History, outcomes: Sequence[BacktestOutcome],
    pasts: Sequence[Mapping[Life, pl.DataFrame]], comparison: Comparison | None,
) -> None:  # fmt: skip
    # The templates are needed for this alone.
    from flows.offline.backtest.page import render  # noqa: PLC0415

    page = render(
        history.source, outcomes, pasts, comparison, version=version(), rows=_rows(outcomes)
    )
    write_page(path, page)


def write_page(path: Path, page: str) -> None:
    """Write a page, and the folder that it is in.

    Raises:
        CommandFailed: it can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"{path}: cannot be written: {error.strerror}") from None
