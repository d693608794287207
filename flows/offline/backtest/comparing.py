"""Two runs side by side: what one catches that the other misses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

from flows.offline.backtest.alerts import AlertLife
from flows.offline.backtest.outcome import BacktestOutcome
from operators.contracts.alert import rfc3339

__all__ = ["Comparison", "Pair", "compare"]


class Pair(NamedTuple):
    """Two alerts of one series that were there at the same time, one of each run."""

    one: AlertLife
    other: AlertLife

    @property
    def earlier(self) -> float:
        """By how many seconds the second one fired earlier."""
        return (self.one.fired - self.other.fired) / 1e9


@dataclass(frozen=True, slots=True)
class Comparison:
    """How the alerts of two runs lie to each other.

    Attributes:
        one, other: the runs.
        both: pairs of alerts.
        only_one, only_other: alerts of one run that have no like in the other.
    """

    one: BacktestOutcome
    other: BacktestOutcome
    both: Sequence[Pair]
    only_one: Sequence[AlertLife]
    only_other: Sequence[AlertLife]

    @property
    def median_earlier(self) -> float | None:
        """By how many seconds the second run was earlier, where both fired."""
        return median(pair.earlier for pair in self.both) if self.both else None

    def document(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "both": len(self.both),
            "only_first": [_named(alert) for alert in self.only_one],
            "only_second": [_named(alert) for alert in self.only_other],
            "second_earlier_by": self.median_earlier,
        }


def compare(one: BacktestOutcome, other: BacktestOutcome) -> Comparison:
    """Pair the alerts of two runs over the same history.

    Two are a pair if they are of one series and the times from their first anomalous window to
    their end overlap. One may be in several pairs: a long alert is the same as three short ones.
    """
    by_subject: dict[tuple[tuple[str, str], ...], list[AlertLife]] = defaultdict(list)
    for alert in other.alerts:
        by_subject[alert.subject].append(alert)
    both, only_one = [], []
    paired: set[int] = set()
    for alert in one.alerts:
        alike = [
            candidate
            for candidate in by_subject.get(alert.subject, ())
            if alert.since < _end(candidate, other) and candidate.since < _end(alert, one)
        ]
        if not alike:
            only_one.append(alert)
            continue
        paired |= {id(candidate) for candidate in alike}
        both.append(Pair(alert, alike[0]))
    only_other = [alert for alert in other.alerts if id(alert) not in paired]
    return Comparison(one, other, both, only_one, only_other)


def _end(alert: AlertLife, run: BacktestOutcome) -> int:
    return run.ended if alert.resolved is None else alert.resolved


def _named(alert: AlertLife) -> dict[str, Any]:
    return {
        "labels": dict(alert.labels),
        "startsAt": alert.event["startsAt"],
        "firedAt": rfc3339(alert.fired),
        "summary": alert.summary,
    }
