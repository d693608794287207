"""``headrace models compare``: the model in shadow beside the one in force, by what they told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from flows.commands.failure import CommandFailed
from flows.commands.instants import instant_or_none
from flows.commands.scoring_backtest import moment, write_page
from flows.commands.terminal import console, count, table, write_json
from flows.commands.topic_values import last_values, topic_values
from flows.offline.backtest.alerts import AlertLife
from flows.offline.backtest.comparing import Comparison, compare
from flows.offline.backtest.outcome import BacktestOutcome
from flows.offline.backtest.pasts import Life
from flows.offline.backtest.shadowing import (
    SEEN,
    anomalies,
    opinions,
    seen_around,
    shadow_outcome,
)
from flows.settings import Settings
from flows.version import version
from models.registry import Promotion
from operators.contracts.clock import SystemClock
from operators.contracts.durations import format_duration
from operators.contracts.frames import empty
from sinks.lake import read_rollups

__all__ = ["compare_models"]

SCHEMA: Final = "headrace.comparison/v1"
_SHOWN: Final = 10
_PICTURES: Final = 24


def compare_models(
    settings: Settings, *, since: str = "", until: str = "", report: Path | None = None,
    as_json: bool = False,
) -> None:  # fmt: skip
    """Print what the model in shadow and the one in force told, and where they differ.

    Args:
        settings: the brokers, the topics and the lake.
        since: event time; from when on the model is in shadow, if left out.
        until: event time; until now, if left out.
        report: a file for a page with pictures, from what the lake has.
        as_json: print a document.

    Raises:
        CommandFailed: no model is in shadow, or a topic can't be read.
    """
    shadow = _in_shadow(settings)
    began = instant_or_none(since, "--since")
    began = shadow.effective if began is None else began
    ended = instant_or_none(until, "--until") or SystemClock().now()
    series, lake = _stored(settings, began, ended)
    topics = settings.topics
    live, candidate = (
        shadow_outcome(
            anomalies((value for _, value in topic_values(settings, topic)), began, ended),
            role, series, settings.judged, began, ended, name=name,
        )
        for topic, role, name in (
            (topics.alerts, "the model in force", ""), (topics.shadow, "the model in shadow", shadow.version),
        )
    )  # fmt: skip
    comparison = compare(live, candidate)
    said = opinions(value for _, value in topic_values(settings, topics.commands))
    feedback = _feedback(comparison, said)
    if report is not None:
        _write_report(report, settings, comparison, feedback, lake)
    if as_json:
        write_json(_document(shadow, comparison, feedback, said), indent=True)
        return
    _say(settings, comparison, feedback)
    if report is not None:
        console().print(f"\nThe report is in {report}", soft_wrap=True)


def _in_shadow(settings: Settings) -> Promotion:
    """Return the last that was said of a model in shadow."""
    said = last_values(settings, settings.topics.models).get(b"shadow")
    known = {} if said is None else orjson.loads(said)
    if not known.get("version"):
        raise CommandFailed("no model is in shadow: `headrace models shadow VERSION` has one there")
    return Promotion(**{key: known[key] for key in Promotion.__annotations__ if key in known})


def _stored(settings: Settings, began: int, ended: int) -> tuple[pl.DataFrame, pl.LazyFrame | None]:
    """Return what was judged in a span, a row a series, and the rollups that are stored of it."""
    if settings.sinks.lake is None or not settings.sinks.lake.path.exists():
        return empty(SEEN), None
    try:
        whole = read_rollups(settings.sinks.lake.path, window=settings.judged)
        judged = whole.filter(
            (pl.col("window_start") >= began) & (pl.col("window_start") < ended),
            pl.col("score").is_not_null(),
        )
        start = pl.col("window_start")
        series = (
            judged.group_by("series")
            .agg(
                rollups=pl.len().cast(pl.Int64), scored=pl.len().cast(pl.Int64),
                anomalous=(pl.col("score") >= 1).sum().cast(pl.Int64),
                first=start.min(), last=start.max(),
            )
            .collect()
        )  # fmt: skip
    except (OSError, pl.exceptions.PolarsError) as error:
        raise CommandFailed(f"{settings.sinks.lake.path}: cannot be read: {error}") from None
    return series.select(SEEN.names()), whole


def _groups(found: Comparison) -> list[tuple[str, Sequence[AlertLife]]]:
    return [
        ("both", [pair.one for pair in found.both]),
        ("only_live", found.only_one),
        ("only_shadow", found.only_other),
    ]


def _feedback(found: Comparison, said: Mapping[str, Sequence[str]]) -> dict[str, dict[str, int]]:
    """Return how often people said what of the alerts of each kind."""
    return {
        kind: dict(
            Counter(word for alert in alerts for word in said.get(alert.event["fingerprint"], ()))
        )
        for kind, alerts in _groups(found)
    }


def _document(
    shadow: Promotion, found: Comparison, feedback: Mapping[str, Any],
    said: Mapping[str, Sequence[str]],
) -> dict[str, Any]:  # fmt: skip
    def listed(alerts: Sequence[AlertLife]) -> list[dict[str, Any]]:
        return [
            {
                "fingerprint": alert.event["fingerprint"], "labels": dict(alert.labels),
                "startsAt": alert.event["startsAt"], "summary": alert.summary,
                "score": alert.evidence.get("score"),
                "said": list(said.get(alert.event["fingerprint"], ())),
            }
            for alert in alerts
        ]  # fmt: skip

    return {
        "schema": SCHEMA,
        "shadow": shadow.version,
        "since": moment(found.one.began),
        "until": moment(found.one.ended),
        "live": found.one.figures(),
        "candidate": found.other.figures(),
        "alerts": {kind: listed(alerts) for kind, alerts in _groups(found)},
        "candidate_earlier_by": found.median_earlier,
        "feedback": feedback,
    }


def _rows(found: Comparison, feedback: Mapping[str, Mapping[str, int]]) -> list[tuple[str, ...]]:
    one, other = found.one, found.other
    rows = [
        ("alerts", f"{len(one.alerts):,}", f"{len(other.alerts):,}"),
        ("only this one told", f"{len(found.only_one):,}", f"{len(found.only_other):,}"),
        ("firing at the end", *(f"{each.figures()['firing_at_end']:,}" for each in (one, other))),
        (
            "alerts of a series in 30 days",
            *(f"{o.alerts_per_series_month:.3g}" for o in (one, other)),
        ),
    ]
    words = sorted({word for each in feedback.values() for word in each})
    for word in words:
        both, live, shadow = (
            feedback[kind].get(word, 0) for kind in ("both", "only_live", "only_shadow")
        )
        rows.append((f"of them {word.replace('_', ' ')}", f"{both + live:,}", f"{both + shadow:,}"))
    return rows


def _say(settings: Settings, found: Comparison, feedback: Mapping[str, Mapping[str, int]]) -> None:
    out = console()
    one, other = found.one, found.other
    out.print(
        f"{moment(one.began)} to {moment(one.ended)}, {count(one.series.height)} series, windows of "
        f"{format_duration(settings.judged)}\n",
        soft_wrap=True,
    )
    shown = table("", one.title, other.title)
    for row in _rows(found, feedback):
        shown.add_row(*row)
    out.print(shown)
    for title, alerts in (("Only in force", found.only_one), ("Only in shadow", found.only_other)):
        out.print(f"\n{title}: {len(alerts)}", style="bold")
        for alert in alerts[:_SHOWN]:
            out.print(f"  {alert.event['startsAt']}  {alert.summary}", soft_wrap=True, markup=False)
        if len(alerts) > _SHOWN:
            out.print(f"  and {len(alerts) - _SHOWN} more: see --json, or --report")


def _write_report(
    path: Path, settings: Settings, found: Comparison, feedback: Mapping[str, Mapping[str, int]],
    lake: pl.LazyFrame | None,
) -> None:  # fmt: skip
    # The templates are needed for this alone.
    from flows.offline.backtest.page import render_shadow  # noqa: PLC0415

    def pasts(run: BacktestOutcome) -> dict[Life, pl.DataFrame]:
        if lake is None:
            return {}
        only = found.only_one if run is found.one else found.only_other
        return seen_around(only, lake, settings.judged, _PICTURES)

    page = render_shadow(
        found, [pasts(found.one), pasts(found.other)], version=version(),
        rows=_rows(found, feedback),
    )  # fmt: skip
    write_page(path, page)
