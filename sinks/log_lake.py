"""Records of logs in the lake: Parquet files by day of event time, for searches over a long time.

As with rollups a replay may write a record again. ``read_logs`` gives it once, and compaction removes
the other; other readers take one of those with the same topic, partition, offset, index and ts.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from operators.contracts.clock import Clock
from operators.contracts.frames import GROUPED_LOGS, empty
from sinks.lake_files import (
    DAY,
    LOGS,
    Day,
    days_between,
    is_final,
    log_days,
    scan,
    superseded_removed,
)
from sinks.lake_writer import LakeSettings, LakeWriter

__all__ = ["LogLake", "read_logs"]


class LogLake(LakeWriter):
    """Writes GROUPED_LOGS frames, and refuses nothing."""

    name = "lake_logs"

    def __init__(self, settings: LakeSettings, clock: Clock | None = None) -> None:
        super().__init__(settings, clock, log_days)

    def write(self, frame: pl.DataFrame) -> None:
        """Write a GROUPED_LOGS frame, a file for each day of event time."""
        groups = frame.with_columns(day=pl.col("ts") // DAY * DAY).partition_by("day", as_dict=True)
        order = [by for by in LOGS.order if by != "written"]  # which is the same for all of a write
        of_days = (
            (Day.of_logs(self._path, int(start)), rows.sort(*order))
            for (start,), rows in groups.items()
        )
        # The middle one: a record whose clock runs ahead must not end the day of the others.
        middle = frame["ts"].quantile(0.5, "lower")
        self._write_days(of_days, int(middle or 0))


def read_logs(
    path: Path,
    *,
    since: int | None = None,
    until: int | None = None,
    tenant: str | None = None,
    service: str | None = None,
) -> pl.LazyFrame:
    """Return the records of the lake at ``path``: a GROUPED_LOGS frame with each record once.

    Collect it within ten minutes: files that compaction replaces stay at least so long.

    Args:
        path: the lake, as in ``sinks.lake.path``.
        since, until: only records of this span of event time, ``until`` excluded; nanoseconds.
        tenant: only this tenant's.
        service: only this service's.
    """
    chosen = []
    if since is not None:
        chosen.append(pl.col("ts") >= since)
    if until is not None:
        chosen.append(pl.col("ts") < until)
    if tenant is not None:
        chosen.append(pl.col("tenant") == tenant)
    if service is not None:
        chosen.append(pl.col("service") == service)
    frames = []
    for _, live in days_between(log_days(path), since, until):
        rows = scan([part.path for part in live], LOGS).filter(*chosen)
        if not is_final(live):
            rows = superseded_removed(rows, LOGS)
        frames.append(rows.select(GROUPED_LOGS.names()))
    return pl.concat(frames) if frames else empty(GROUPED_LOGS).lazy()
