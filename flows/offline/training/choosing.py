"""Which settings to train with: each candidate is judged on time that comes after what it learned.

Detectors learn online, so one run over the whole history is a validation that respects time: what
is told in a later span was decided by what came before it, and by nothing else. The first part of
the history is for learning alone; the rest is cut into spans, so that it shows how much the figures
vary from one to the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any, Final, Generic, TypeVar

from flows.offline.backtest.alerts import lives
from flows.offline.backtest.judging import Found
from flows.offline.training.incidents import KnownIncident, found

__all__ = ["LEARNED", "Candidate", "Score", "choose", "score"]

T = TypeVar("T")
_MONTH: Final = 30 * 86_400 * 10**9
LEARNED: Final = 0.4
"""Part of the history that is for learning alone."""
SPANS: Final = 3


@dataclass(frozen=True, slots=True)
class Score:
    """How a candidate did on held-out time.

    Attributes:
        since: start of what is held out, in nanoseconds.
        rates: alerts of a series in thirty days, of each span; without those about incidents.
        incidents, told: that were known in that time, and those of them that were told.
    """

    since: int
    rates: tuple[float, ...]
    incidents: int
    told: int

    @property
    def rate(self) -> float:
        """Alerts of a series in thirty days that are about no known incident."""
        return fmean(self.rates)

    def document(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "held_out_since": self.since,
            "alerts_per_series_month": [round(rate, 4) for rate in self.rates],
            "incidents": self.incidents,
            "told": self.told,
        }


@dataclass(frozen=True, slots=True)
class Candidate(Generic[T]):
    """Settings, what to call them, and how they did."""

    title: str
    settings: T
    score: Score


def score(run: Found, window: int, known: Sequence[KnownIncident] = ()) -> Score:
    """Return how a run did in the time that is held out.

    Args:
        run: over the whole history.
        window: length of the windows, in nanoseconds.
        known: incidents; those before that time do not count.
    """
    since = run.began + round((run.ended - run.began) * LEARNED)
    alerts = [alert for alert in lives(run.events) if alert.fired >= since]
    later = [one for one in known if one.start >= since]
    edges = [since + (run.ended - since) * number // SPANS for number in range(SPANS + 1)]
    rates = []
    for begin, end in pairwise(edges):
        mine = [alert for alert in alerts if begin <= alert.fired < end]
        first = run.series["first"].clip(begin, end)
        last = (run.series["last"] + window).clip(begin, end)
        months = float((last - first).sum()) / _MONTH
        _, false = found(later, mine, run.ended)
        rates.append(false / months if months else 0.0)
    told, _ = found(later, alerts, run.ended)
    return Score(since, tuple(rates), len(later), told)


def choose(candidates: Sequence[Candidate[T]], most: float) -> Candidate[T]:
    """Return the candidate that finds most and keeps what was promised.

    Of those with no more than ``most`` alerts of a series in thirty days, the one that told the
    most incidents; of these the one with the fewest alerts, or without known incidents the one
    with the most: it is the most sensitive. If none keeps it, the calmest.
    """
    kept = [one for one in candidates if one.score.rate <= most]
    if not kept:
        return min(candidates, key=lambda one: one.score.rate)
    if any(one.score.incidents for one in kept):
        return max(kept, key=lambda one: (one.score.told, -one.score.rate))
    return max(kept, key=lambda one: one.score.rate)
