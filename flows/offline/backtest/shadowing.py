"""A model in shadow beside the one in force: what each told, and what people said of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson
import polars as pl

from flows.offline.backtest.alerts import AlertLife, lives
from flows.offline.backtest.outcome import BacktestOutcome
from flows.offline.backtest.pasts import Life, life
from operators.contracts.alert import AlertEvent, InvalidAlertEvent, decode_event
from operators.contracts.frames import empty
from operators.notifying.times import parse_instant
from operators.scoring.step import JUDGED_BY_RATE

__all__ = ["SEEN", "anomalies", "opinions", "seen_around", "shadow_outcome"]

_KIND: Final = "anomaly"
_BEFORE: Final = 120
_AFTER: Final = 60
SEEN: Final = pl.Schema(
    {
        "series": pl.UInt64, "rollups": pl.Int64, "scored": pl.Int64, "anomalous": pl.Int64,
        "first": pl.Int64, "last": pl.Int64,
    }
)  # fmt: skip
"""What is counted of a series that was judged, a row each."""
_SAYS: Final = {"acknowledge": "acknowledged", "snooze": "snoozed"}


def anomalies(payloads: Iterable[bytes], since: int, until: int) -> list[tuple[AlertEvent, int]]:
    """Return the events of anomalies that began in a span, once each, with the time of each change.

    When an event was made is not in it, so one that fires is put at the start of its first
    anomalous window.

    Args:
        payloads: messages of the alerts topic, or of the one of the model in shadow, in any order.
        since, until: event time in nanoseconds.
    """
    found: dict[str, tuple[AlertEvent, int]] = {}
    for payload in payloads:
        try:
            event = decode_event(payload)
        except InvalidAlertEvent:
            continue
        began = parse_instant(event["startsAt"])
        if (
            event["kind"] == _KIND
            and "detector" in event.get("evidence", {})
            and since <= began < until
        ):
            ended = began if event["endsAt"] is None else parse_instant(event["endsAt"])
            found.setdefault(event["id"], (event, ended))
    return sorted(found.values(), key=lambda one: (one[1], one[0]["status"] == "resolved"))


def shadow_outcome(
    events: Sequence[tuple[AlertEvent, int]], role: str, series: pl.DataFrame, window: int,
    began: int, ended: int, *, name: str = "",
) -> BacktestOutcome:  # fmt: skip
    """Return what one model told, as a backtest would say it.

    Args:
        events: of its alerts.
        role: of the model, as "the model in force".
        series: a SEEN frame of what was judged.
        window: in nanoseconds.
        began, ended: the span, in nanoseconds.
        name: what the model is called where no event says it.
    """
    named = Counter(event["evidence"]["detector"] for event, _ in events)
    return BacktestOutcome(
        title=f"{role}: {named.most_common(1)[0][0] if named else name}".removesuffix(": "),
        settings={}, series=series if series.height else empty(SEEN), alerts=lives(events),
        told=None, window=window, began=began, ended=ended,
    )  # fmt: skip


def seen_around(
    alerts: Sequence[AlertLife], rollups: pl.LazyFrame, window: int, most: int
) -> dict[Life, pl.DataFrame]:
    """Return what the series of the clearest alerts did around them, and the band that was stored.

    Args:
        alerts: of one model.
        rollups: SCORES frames as they are stored.
        window: in nanoseconds.
        most: alerts that are looked up.
    """
    clearest = sorted(alerts, key=lambda one: -(one.evidence.get("score") or 0.0))[:most]
    found = {}
    for alert in clearest:
        start = pl.col("window_start")
        until = (alert.ended or alert.since) + _AFTER * window
        near = rollups.filter(
            pl.col("name") == alert.labels.get("metric", ""),
            (start >= alert.since - _BEFORE * window) & (start < until),
        ).collect()
        mine = near.filter(pl.col("labels").map_elements(_is_of(alert), return_dtype=pl.Boolean))
        if mine.height:
            by_rate = pl.col("kind").is_in(JUDGED_BY_RATE)
            found[life(alert.event)] = mine.sort("window_start").select(
                ((start + window) / 1e9).alias("at"),
                pl.when(by_rate).then("rate").otherwise("mean").alias("value"),
                "score", "expected", "lower", "upper",
            ).drop_nulls("value")  # fmt: skip
    return found


def _is_of(alert: AlertLife) -> Any:
    """Return what says whether the labels of a series, as JSON, are those of an alert."""
    own = {
        name.removeprefix("exported_"): value
        for name, value in alert.labels.items()
        if name not in ("alertname", "severity", "metric", "tenant")
    }

    def same(labels: str) -> bool:
        return bool(orjson.loads(labels) == own)

    return same


def opinions(payloads: Iterable[bytes]) -> Mapping[str, Sequence[str]]:
    """Return what people said of alerts, by fingerprint, in their order.

    ``acknowledged`` and ``snoozed`` say that somebody cared, or did not want to hear of it; a
    command ``feedback`` says its verdict.

    Args:
        payloads: messages of the commands topic.
    """
    said: dict[str, list[str]] = defaultdict(list)
    for payload in payloads:
        try:
            command = orjson.loads(payload)
            verdict = _SAYS.get(command["do"]) or command.get("verdict") or ""
            for name in command.get("alerts", ()) if verdict else ():
                said[name].append(str(verdict))
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            continue
    return said
