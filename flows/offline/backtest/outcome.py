"""What came of a backtest: which alerts, how noisy, and what of it receivers would have got."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import polars as pl

from flows.offline.backtest.alerts import AlertLife
from flows.offline.backtest.receivers import ToldNotification
from operators.contracts.alert import rfc3339

__all__ = ["BacktestOutcome", "NoisySeries"]

_MONTH: Final = 30 * 86_400 * 10**9
_SOON: Final = 3600 * 10**9
"""An alert that fires again within this time after its end is restless."""


@dataclass(frozen=True, slots=True)
class NoisySeries:
    """A metric, or a series, that many alerts are of."""

    name: str
    alerts: int


@dataclass(frozen=True, slots=True)
class BacktestOutcome:
    """The findings of one run over a history.

    Attributes:
        title: what tells this run from another.
        settings: of scoring, as they are written.
        series: as ``judging.Found`` has them.
        alerts: in the order of firing.
        told: notifications; None where nobody asked.
        window: length of the windows, in nanoseconds.
        began, ended: event time that the history covers.
    """

    title: str
    settings: Mapping[str, Any]
    series: pl.DataFrame
    alerts: Sequence[AlertLife]
    told: Sequence[ToldNotification] | None
    window: int
    began: int
    ended: int

    @property
    def rollups(self) -> int:
        """How many were judged or learned."""
        return int(self.series["rollups"].sum())

    @property
    def scored(self) -> int:
        """How many have a score."""
        return int(self.series["scored"].sum())

    @property
    def anomalous(self) -> int:
        """How many have a score of 1 or more."""
        return int(self.series["anomalous"].sum())

    @property
    def months(self) -> float:
        """How long all series together were there, in thirty days."""
        spans = self.series["last"] - self.series["first"] + self.window
        return float(spans.sum()) / _MONTH if self.series.height else 0.0

    @property
    def alerts_per_series_month(self) -> float:
        """Alerts of a series in thirty days."""
        return len(self.alerts) / self.months if self.months else 0.0

    @property
    def restless(self) -> int:
        """Alerts that fired again within an hour after their end."""
        ended: dict[str, int] = {}
        found = 0
        for alert in self.alerts:
            name = alert.event["fingerprint"]
            if name in ended and alert.fired - ended[name] <= _SOON:
                found += 1
            if alert.resolved is not None:
                ended[name] = alert.resolved
        return found

    def noisiest(self, label: str = "metric", most: int = 10) -> list[NoisySeries]:
        """Return the values of a label that most alerts have."""
        counted = Counter(alert.labels.get(label, "") for alert in self.alerts)
        ordered = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
        return [NoisySeries(name, number) for name, number in ordered[:most] if name]

    def figures(self) -> dict[str, Any]:
        """Return the numbers that sum it up; durations in seconds."""
        lasting = [alert.lasts(self.ended) / 1e9 for alert in self.alerts]
        after = [(alert.fired - alert.since) / 1e9 for alert in self.alerts]
        found: dict[str, Any] = {
            "series": self.series.height,
            "rollups": self.rollups,
            "scored": self.scored,
            "anomalous": self.anomalous,
            "alerts": len(self.alerts),
            "firing_at_end": sum(alert.resolved is None for alert in self.alerts),
            "alerts_per_series_month": round(self.alerts_per_series_month, 4),
            "series_with_alerts": len({alert.subject for alert in self.alerts}),
            "restless": self.restless,
            "median_duration": median(lasting) if lasting else None,
            "longest_duration": max(lasting, default=None),
            "median_until_fired": median(after) if after else None,
        }
        if self.told is not None:
            found["notifications"] = len(self.told)
            found["notifications_per_day"] = round(len(self.told) / self._days, 4)
        return found

    @property
    def _days(self) -> float:
        return max((self.ended - self.began) / 86_400e9, 1e-9)

    def document(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "title": self.title,
            "settings": dict(self.settings),
            "figures": self.figures(),
            "metrics": [{"name": one.name, "alerts": one.alerts} for one in self.noisiest()],
            "alerts": list(self._alerts()),
            "notifications": None
            if self.told is None
            else [
                {
                    "at": rfc3339(one.at), "receiver": one.receiver,
                    "integration": one.integration, "reason": one.reason,
                    "firing": one.firing, "resolved": one.resolved,
                }
                for one in self.told
            ],
        }  # fmt: skip

    def _alerts(self) -> Iterator[dict[str, Any]]:
        for alert in self.alerts:
            yield {
                "fingerprint": alert.event["fingerprint"],
                "labels": dict(alert.labels),
                "summary": alert.summary,
                "value": alert.event["value"],
                "startsAt": alert.event["startsAt"],
                "firedAt": rfc3339(alert.fired),
                "endsAt": None if alert.ended is None else rfc3339(alert.ended),
                "resolvedAt": None if alert.resolved is None else rfc3339(alert.resolved),
                "seconds": alert.lasts(self.ended) / 1e9,
                "evidence": dict(alert.evidence),
            }
