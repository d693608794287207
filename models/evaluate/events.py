"""Alerts as people meet them: events, each of which is right or false."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.evaluate.labelled import Labelled

__all__ = ["Alerts", "alerts"]

_APART: Final = 12
"""Anomalous rows with fewer rows between them are one event."""
_MONTH: Final = 30.0


@dataclass(frozen=True, slots=True)
class Alerts:
    """What a threshold comes to.

    Attributes:
        windows, detected: labelled windows, and those with at least one alert row.
        events, false_events: runs of alert rows, and those outside of all windows.
        false_rows: alert rows outside of windows.
        days: length of all series together.
    """

    windows: int
    detected: int
    events: int
    false_events: int
    false_rows: int
    days: float

    @property
    def recall(self) -> float:
        """Part of the windows that were detected."""
        return self.detected / self.windows if self.windows else float("nan")

    @property
    def precision(self) -> float:
        """Part of the events that were right."""
        right = self.events - self.false_events
        return right / self.events if self.events else float("nan")

    @property
    def false_rows_per_day(self) -> float:
        """False rows a series and day."""
        return self.false_rows / self.days if self.days else float("nan")

    @property
    def false_events_per_day(self) -> float:
        """False events a series and day."""
        return self.false_events / self.days if self.days else float("nan")

    @property
    def false_events_per_month(self) -> float:
        """False events a series and thirty days."""
        return self.false_events_per_day * _MONTH


def alerts(
    series: Sequence[Labelled], scores: Sequence[NDArray[np.float64]], threshold: float
) -> Alerts:
    """Count what comes of alerts in all rows that reach a threshold, after each one's probation."""
    windows = detected = events = false_events = false_rows = 0
    days = 0.0
    for one, given in zip(series, scores, strict=True):
        alerting = given >= threshold
        alerting[: one.probation] = False
        rows = np.flatnonzero(alerting)
        inside = np.zeros(len(one), np.bool_)
        for first, last in one.windows:
            inside[first : last + 1] = True
            if last >= one.probation:
                windows += 1
                detected += bool(alerting[first : last + 1].any())
        false_rows += int(np.count_nonzero(~inside[rows]))
        runs = np.split(rows, np.flatnonzero(np.diff(rows) > _APART) + 1) if len(rows) else []
        events += len(runs)
        false_events += sum(not inside[run].any() for run in runs)
        days += one.days
    return Alerts(windows, detected, events, false_events, false_rows, days)
