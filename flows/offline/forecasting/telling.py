"""A forecast as others read it: rollups of the time to come, and an alert before a limit is reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import orjson
import polars as pl

from flows.offline.forecasting.forecast import Crossing, Forecast
from flows.offline.forecasting.steps import Past
from flows.offline.history.base import FORECAST
from operators.contracts.alert import AlertEvent, Status, alert_event, rfc3339
from operators.contracts.durations import format_duration
from operators.contracts.frames import KINDS, SCORES
from operators.notifying.times import parse_instant
from operators.scoring.anomalies import Subject, alert_labels
from operators.series.labels import combined, hashes

__all__ = ["KIND", "LimitAhead", "forecast_event", "forecast_labels", "forecast_rollups"]

KIND: Final = "forecast"
_ALERT_NAME: Final = "LimitForecast"
_CALM: Final = 1.5
"""An alert is over when its limit is so many times further away than what makes it fire."""


@dataclass(frozen=True, slots=True)
class LimitAhead:
    """A limit that a series comes towards.

    Attributes:
        past, forecast, crossing: of the series; the crossing is in steps.
        value: the limit.
        above: whether it is one from below.
        step: of the forecast, in nanoseconds.
    """

    past: Past
    forecast: Forecast
    crossing: Crossing
    value: float
    above: bool
    step: int

    def instant(self, steps: float | None) -> int | None:
        """Return the event time of a number of steps ahead, in nanoseconds."""
        return None if steps is None else self.past.ends + round(steps * self.step)

    @property
    def instants(self) -> Mapping[str, str | None]:
        """When it is reached, likely, at the earliest and at the latest; None is not that soon."""
        when = self.crossing
        given = {"likely": when.likely, "earliest": when.earliest, "latest": when.latest}
        return {
            name: None if (at := self.instant(steps)) is None else rfc3339(at)
            for name, steps in given.items()
        }


def forecast_rollups(past: Past, found: Forecast, step: int, window: int) -> pl.DataFrame:
    """Return a forecast as a SCORES frame: a row a step, named after the series.

    ``mean`` and ``expected`` are what is expected, ``lower`` and ``upper`` the interval.

    Args:
        past: of the series.
        found: how it goes on.
        step: of the forecast, in nanoseconds.
        window: length of the windows that the rows are stored as, in nanoseconds.
    """
    name = past.facts["name"] + FORECAST
    size = len(found.expected)
    whose = pl.DataFrame(
        {"tenant": [past.facts["tenant"]], "name": [name], "labels": [past.facts["labels"]]}
    )
    expected = pl.Series(found.expected)
    frame = whose.select(
        "tenant", "name", "labels",
        series=pl.Series(combined(*(hashes(whose[column]) for column in whose.columns))),
        unit=pl.lit(past.facts["unit"] or ""),
        kind=pl.lit(KINDS[0]),
        window=pl.lit(window),
        count=pl.lit(1),
        revision=pl.lit(0),
    )  # fmt: skip
    frame = pl.concat([frame] * size).with_columns(
        window_start=pl.Series(past.ends + step * np.arange(size, dtype=np.int64)),
        **dict.fromkeys(("sum", "min", "max", "mean", "last", "expected"), expected),
        lower=pl.Series(found.lower),
        upper=pl.Series(found.upper),
    )
    missing = [pl.lit(None, kind).alias(n) for n, kind in SCORES.items() if n not in frame.columns]
    return frame.with_columns(*missing).select(SCORES.names()).cast(SCORES)


def forecast_labels(past: Past, severity: str) -> dict[str, str]:
    """Return the labels of a series' alert about its limit."""
    return alert_labels(_subject(past), severity) | {"alertname": _ALERT_NAME}


def _subject(past: Past) -> Subject:
    return Subject(past.facts["name"], past.facts["labels"], past.facts["tenant"])


def forecast_event(
    ahead: LimitAhead, within: int, labels: Mapping[str, str], firing: AlertEvent | None
) -> AlertEvent | None:
    """Return the event that a limit is near, or is not any more; None if there is nothing to say.

    It fires while the limit is likely reached within a time. What fires is said again with what is
    known now, under the id that it has.

    Args:
        ahead: the limit.
        within: nanoseconds from the end of what is known.
        labels: of the alert.
        firing: the event that it fires, as it was said last; None if it does not.
    """
    now, at = ahead.past.ends, ahead.instant(ahead.crossing.likely)
    left = None if at is None else at - now
    near = left is not None and left <= within
    over = left is None or left > _CALM * within
    if firing is None and not near:
        return None
    status: Status = "resolved" if firing is not None and over else "firing"
    began = now if firing is None else parse_instant(firing["startsAt"])
    return alert_event(
        status=status,
        kind=KIND,
        labels=labels,
        annotations={"summary": _summary(_subject(ahead.past), ahead, left, status)},
        starts_at=began,
        ends_at=now if status == "resolved" else None,
        value=float(ahead.past.values[-1]),
        evidence={
            "limit": ahead.value,
            "from": "below" if ahead.above else "above",
            "reached": dict(ahead.instants),
            "method": ahead.forecast.method,
            "step": format_duration(ahead.step),
            "recent": [float(value) for value in ahead.past.values[-12:]],
        },
    )


def _summary(subject: Subject, ahead: LimitAhead, left: int | None, status: Status) -> str:
    own = orjson.loads(subject.labels)
    where = ", ".join(f"{name}={value}" for name, value in own.items())
    said = f"{subject.name} ({where})" if where else subject.name
    limit = f"its limit of {ahead.value:g}"
    if status == "resolved" or left is None:
        return f"{said} is not likely to reach {limit} soon any more"
    whole = max(round(left / ahead.step), 1) * ahead.step
    reached = ahead.instants
    parts = [reached[name] for name in ("earliest", "latest")]
    between = f" (from {_day(parts[0])} to {_day(parts[1]) if parts[1] else 'later'})"
    return f"{said} reaches {limit} in {format_duration(whole)}{between}"


def _day(instant: str | None) -> str:
    return "-" if instant is None else f"{instant[:10]} {instant[11:16]}"
