"""Incidents that people know of: what a detector ought to have found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from flows.offline.backtest.alerts import AlertLife
from flows.offline.history.csv import read_times
from operators.notifying.times import parse_instant

__all__ = ["BadIncidents", "KnownIncident", "found", "missed", "read_incidents"]


class BadIncidents(ValueError):
    """A file of incidents that can't be used; one line that says why."""


@dataclass(frozen=True, slots=True)
class KnownIncident:
    """A span of time, in nanoseconds, and labels that an alert about it has."""

    start: int
    end: int
    labels: Mapping[str, str]

    def is_told_by(self, alert: AlertLife, until: int) -> bool:
        """Return whether an alert is about it; ``until`` ends those that fire still."""
        ended = alert.resolved or until
        return (
            alert.fired <= self.end
            and ended >= self.start
            and all(alert.labels.get(name) == value for name, value in self.labels.items())
        )


def read_incidents(path: Path) -> list[KnownIncident]:
    """Read a CSV file with the columns ``start`` and ``end``; every other one is a label.

    ``metric`` is the metric's name. An empty cell says nothing.

    Raises:
        BadIncidents: it can't be read, a column is missing, or a time is none.
    """
    try:
        rows = pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BadIncidents(f"{path}: cannot be read as CSV: {str(error).splitlines()[0]}") from None
    for column in ("start", "end"):
        if column not in rows.columns:
            raise BadIncidents(f'{path}: there is no column "{column}"')
    starts, ends = read_times(rows["start"]), read_times(rows["end"])
    known = []
    for number, row in enumerate(rows.iter_rows(named=True)):
        start, end = starts[number], ends[number]
        if start is None or end is None or end < start:
            raise BadIncidents(
                f"{path}: line {number + 2}: {row['start']} to {row['end']} is no span of time"
            )
        labels = {key: value for key, value in row.items() if key not in ("start", "end") and value}
        known.append(KnownIncident(start, end, labels))
    return known


def missed(reports: Iterable[Mapping[str, Any]]) -> list[KnownIncident]:
    """Return the incidents that people reported as missed, see ``Registry.reports``."""
    return [
        KnownIncident(
            parse_instant(one["missed"]["startsAt"]),
            parse_instant(one["missed"]["endsAt"]),
            one["missed"]["labels"],
        )
        for one in reports
        if one.get("do") == "missed"
    ]


def found(
    known: Sequence[KnownIncident], alerts: Sequence[AlertLife], until: int
) -> tuple[int, int]:
    """Return how many incidents were told of, and how many alerts are about none of them."""
    told = sum(any(one.is_told_by(alert, until) for alert in alerts) for one in known)
    false = sum(not any(one.is_told_by(alert, until) for one in known) for alert in alerts)
    return told, false
