"""Bursts: a template of which far more lines come in a minute than did in those before.

A minute is judged once event time has gone a minute beyond it. Its number of lines is compared with the
mean of the minutes before, which forgets by a tenth each minute: it is a burst where it is more than
that mean by six of its standard deviations, as counts have them (Poisson), by four times, and by a
least number. While a burst goes on nothing more is said of it, and the mean does not learn from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import polars as pl

from operators.logs.sampling import MINUTE

__all__ = ["Burst", "Bursts"]

_KEYS: Final = ("tenant", "service", "template")
_KNOWN_MINUTES: Final = 10
"""A service is watched for so long before anything of it is a burst."""
_FORGET: Final = 0.1
_DEVIATIONS: Final = 6.0
_TIMES: Final = 4.0
_QUIET: Final = 60
"""Minutes without a line after which a template is forgotten."""


class Burst(NamedTuple):
    """A burst: how many lines there were in the minute that begins at ``at``, and in those before."""

    tenant: str
    service: str
    template: int
    at: int
    lines: int
    expected: float
    body: str
    trace_id: str


@dataclass(slots=True)
class _Rate:
    minute: int
    count: int = 0
    mean: float = 0.0
    since: int = 0
    bursting: bool = False
    body: str = ""
    trace_id: str = ""


class Bursts:
    """Counts the lines of each template of a shard by minutes.

    Args:
        least: lines in a minute that are a burst at least; 0 looks for none.
        state: what ``snapshot`` gave.
    """

    def __init__(self, least: int, state: dict[str, Any] | None = None) -> None:
        self._least = least
        self._rates: dict[tuple[str, str, int], _Rate] = {}
        self._since: dict[tuple[str, str], int] = {}
        for tenant, service, template, *rate in (state or {}).get("rates", ()):
            self._rates[tenant, service, template] = _Rate(*rate)
        for tenant, service, minute in (state or {}).get("since", ()):
            self._since[tenant, service] = minute

    def count(self, records: pl.DataFrame, now: int) -> list[Burst]:
        """Count the records of a batch; return the bursts of minutes that are over.

        Args:
            records: a GROUPED_LOGS frame.
            now: event time, nanoseconds.
        """
        if not self._least:
            return []
        found = (
            records.group_by(*_KEYS, (pl.col("ts") // MINUTE).alias("minute"))
            .agg(pl.len(), pl.first("body"), pl.first("trace_id"))
            .sort("minute", *_KEYS)
        )
        bursts = []
        for tenant, service, template, minute, count, body, trace_id in found.rows():
            key = (tenant, service, template)
            begun = self._since.setdefault((tenant, service), minute)
            self._since[tenant, service] = min(begun, minute)
            rate = self._rates.setdefault(key, _Rate(minute))
            if minute > rate.minute:
                bursts += self._close(key, rate, minute)
            # What is late counts with what comes now.
            rate.count += count
            rate.body, rate.trace_id = body[:1000], trace_id
        over = now // MINUTE - 1
        for key, rate in list(self._rates.items()):
            if rate.minute < over:
                bursts += self._close(key, rate, over)
                if rate.since > _QUIET:
                    del self._rates[key]
        return bursts

    def _close(self, key: tuple[str, str, int], rate: _Rate, minute: int) -> list[Burst]:
        """Judge the minute that a template is at, and go on to a later one."""
        mean, count = rate.mean, rate.count
        limit = max(self._least, mean * _TIMES, mean + _DEVIATIONS * math.sqrt(mean))
        known = rate.minute - self._since[key[0], key[1]] >= _KNOWN_MINUTES
        burst = known and count >= limit
        found = []
        if burst and not rate.bursting:
            at = rate.minute * MINUTE
            found.append(Burst(*key, at, count, mean, rate.body, rate.trace_id))
        if not burst:
            rate.mean += _FORGET * (count - mean) if known else (count - mean) / 2
        gone = minute - rate.minute - 1
        rate.mean *= (1 - _FORGET) ** gone
        rate.bursting = burst and not gone
        rate.since = gone if count else rate.since + gone + 1
        rate.minute, rate.count = minute, 0
        return found

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "rates": [
                [
                    *key,
                    rate.minute,
                    rate.count,
                    rate.mean,
                    rate.since,
                    rate.bursting,
                    rate.body,
                    rate.trace_id,
                ]
                for key, rate in self._rates.items()
            ],
            "since": [[*key, minute] for key, minute in self._since.items()],
        }
