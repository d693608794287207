"""Sampling: of lines that repeat only the first of each minute are stored, and how many there were.

A record that is stored stands for itself, or for all that were left out: its ``weight``. So the sum of
weights is the number of records, whatever is left out; counts of records are made before anything is.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

import polars as pl

from operators.contracts.frames import GROUPED_LOGS
from operators.logs.parsing.severities import NAMES

__all__ = ["MINUTE", "Sampler"]

MINUTE: Final = 60_000_000_000
_KEYS: Final = ("tenant", "service", "template")


class Sampler:
    """Chooses what is stored of the records of one shard.

    Args:
        most: records of a template in a minute of event time that are stored.
        below: severity from which on all are stored, whatever their number.
        state: what ``snapshot`` gave.
    """

    def __init__(self, most: int, below: int, state: list[Any] | None = None) -> None:
        self._most = most
        self._below = below
        # By template: its latest minute, how many came in it, how many were left out, of what severity.
        self._minutes: dict[tuple[str, str, int], tuple[int, int, int, int]] = {
            (row[0], row[1], row[2]): (row[3], row[4], row[5], row[6]) for row in state or ()
        }
        self._told: list[tuple[tuple[str, str, int], int, int, int]] = []

    def choose(self, records: pl.DataFrame) -> pl.DataFrame:
        """Return the records to store, of those of a batch."""
        plain = (pl.col("severity") < self._below) & (pl.col("exception") == "")
        timed = records.with_columns(minute=pl.col("ts") // MINUTE)
        repeated = timed.filter(plain)
        found = (
            repeated.group_by(*_KEYS, "minute")
            .agg(pl.len(), pl.max("severity"))
            .sort("minute", *_KEYS)
        )
        already = [
            self._see((tenant, service, template), minute, count, severity)
            for tenant, service, template, minute, count, severity in found.rows()
        ]
        on = (*_KEYS, "minute")
        limits = found.select(*on, already=pl.Series(already, dtype=pl.Int64))
        rank = pl.int_range(pl.len()).over(*on)
        kept = (
            repeated.join(limits, on=on, how="left", maintain_order="left")
            .filter(rank + pl.col("already") < self._most)
            .select(records.columns)
        )
        return pl.concat([records.filter(~plain), kept])

    def _see(self, key: tuple[str, str, int], minute: int, count: int, severity: int) -> int:
        """Count records of a template; return how many there were before in its minute."""
        before, seen, left_out, worst = self._minutes.get(key, (minute, 0, 0, 0))
        if minute > before:
            self._tell(key)
            seen, left_out, worst = 0, 0, 0
        # What is late counts with what comes now.
        stored = min(count, max(0, self._most - seen))
        self._minutes[key] = (
            max(minute, before), seen + count, left_out + count - stored, max(worst, severity)
        )  # fmt: skip
        return seen

    def _tell(self, key: tuple[str, str, int]) -> None:
        minute, _, left_out, severity = self._minutes.pop(key)
        if left_out:
            self._told.append((key, minute, left_out, severity))

    def tell(self, until: int, text_of: Callable[[str, str, int], str]) -> pl.DataFrame:
        """Return a GROUPED_LOGS frame with a record for each template of which some were left out.

        Args:
            until: event time, nanoseconds; minutes that end later wait.
            text_of: the text of a template.
        """
        for key, (minute, *_) in list(self._minutes.items()):
            if (minute + 1) * MINUTE <= until:
                self._tell(key)
        told, self._told = self._told, []
        rows = [
            _record(key, minute, count, severity, text_of(*key))
            for key, minute, count, severity in told
        ]
        return pl.DataFrame(rows, schema=GROUPED_LOGS, orient="row")

    def snapshot(self) -> list[Any]:
        """Return plain data."""
        return [[*key, *values] for key, values in self._minutes.items()]


def _record(
    key: tuple[str, str, int], minute: int, count: int, severity: int, text: str
) -> list[Any]:
    # Of a minute that is told of twice, as some came late, the two are told apart by their numbers.
    tenant, service, template = key
    whose = blake2b(f"{tenant}\0{service}".encode(), digest_size=8).hexdigest()
    name = NAMES.get(max((n for n in NAMES if n <= severity), default=0), "")
    ts = (minute + 1) * MINUTE - 1
    row = {
        "topic": f"sampled.{whose}.{template:016x}", "partition": 0, "offset": minute, "index": count % 2**32,
        "tenant": tenant, "ts": ts, "observed": ts, "severity": severity, "severity_text": name,
        "service": service, "body": text, "attributes": '{"headrace.left_out":%d}' % count,  # noqa: UP031
        "resource": "", "scope": "", "trace_id": "", "span_id": "", "marks": 0, "shape": 0,
        "template": template, "exception": "", "weight": count,
    }  # fmt: skip
    return [row[name] for name in GROUPED_LOGS]
