"""What people say: a pattern that was a false alarm has to be stronger from then on.

They also say when a service was deployed, see ``operators.scoring.deploys``. A pattern is a series and the statistic that an alert of it rested on. After a false alarm its scores
are divided by what the alarm scored, so that the same again is no alert, and something stronger is.
The other statistics of the series, and all other series, are judged as before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from operators.scoring.deploys import Deploy

__all__ = ["NOTHING_REPORTED", "FalseAlarm", "Lowered", "Reports"]

_SPARE: Final = 1.3
"""The same pattern, told once more, is not of exactly the same size: by so much it may be larger."""
_MOST: Final = 40.0
"""Scores end at 20: with this a pattern says nothing any more."""


class FalseAlarm(NamedTuple):
    """That an alert was none, for windows that start at ``effective`` (nanoseconds) or later.

    Attributes:
        effective: since when, as event time.
        series: id of the series.
        statistic: that the alert rested on; empty for all of the series.
        score: of the alert; 0 takes back what was reported before.
    """

    effective: int
    series: int
    statistic: str
    score: float


class Reports(Protocol):
    """What was reported until now; every shard asks, from whatever thread it is on."""

    def after(self, effective: int, until: int) -> Sequence[FalseAlarm | Deploy]:
        """Return those whose event time is later than ``effective``, and no later than ``until``.

        In the order of time.
        """
        ...


class _Nothing:
    def after(self, effective: int, until: int) -> Sequence[FalseAlarm | Deploy]:  # noqa: ARG002
        return ()


NOTHING_REPORTED: Reports = _Nothing()


class Lowered:
    """The patterns that were false alarms, and by how much their scores are lowered."""

    def __init__(self, state: Iterable[tuple[int, str, float]] = ()) -> None:
        self._by: dict[int, dict[str, float]] = {}
        for series, statistic, by in state:
            self._by.setdefault(series, {})[statistic] = by
        self._index()

    def _index(self) -> None:
        self._series = np.array(sorted(self._by), np.uint64)

    def hear(self, report: FalseAlarm) -> None:
        """Take a report in."""
        if report.score <= 0.0:
            known = self._by.get(report.series, {})
            for name in [report.statistic] if report.statistic else list(known):
                known.pop(name, None)
            if not known:
                self._by.pop(report.series, None)
        else:
            # The score that was told had been lowered already.
            known = self._by.setdefault(report.series, {})
            by = known.get(report.statistic, 1.0) * max(report.score, 1.0) * _SPARE
            known[report.statistic] = min(by, _MOST)
        self._index()

    def lower(
        self, series: NDArray[np.uint64], judgements: NDArray[np.float64], reasons: tuple[str, ...]
    ) -> None:
        """Lower scores, and widen the bands with them, in place.

        Args:
            series: id of the series of each value.
            judgements: the fields of ``Judgement``, a row each.
            reasons: names of the detector's statistics.
        """
        if not len(self._series):
            return
        for at in np.flatnonzero(np.isin(series, self._series)).tolist():
            by = self._by[int(series[at])].get(reasons[int(judgements[4, at])], 1.0)
            if by == 1.0:
                continue
            score, expected, lower, upper = judgements[:4, at]
            judgements[0, at] = score / by
            least = 0.0 if lower >= 0.0 else -np.inf
            judgements[2, at] = max(expected - by * (expected - lower), least)
            judgements[3, at] = expected + by * (upper - expected)

    @property
    def state(self) -> list[tuple[int, str, float]]:
        """Series, statistic and by how much, of each pattern."""
        return [
            (series, name, by) for series, names in self._by.items() for name, by in names.items()
        ]
