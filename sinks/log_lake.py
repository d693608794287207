"""Records of logs in the lake: Parquet files by day of event time, for searches over a long time.

As with rollups a replay may write a record again. ``read_logs`` gives it once, and compaction removes
the other; other readers take one of those with the same topic, partition, offset, index and ts.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from operators.contracts.clock import Clock
from operators.contracts.frames import GROUPED_LOGS
from sinks.lake_files import LOGS, Day, log_days
from sinks.lake_reading import rows_between
from sinks.lake_writer import LakeSettings, LakeWriter

__all__ = ["LogLake", "read_logs"]


class LogLake(LakeWriter):
    """Writes GROUPED_LOGS frames, and refuses nothing."""

    name = "lake_logs"

    def __init__(self, settings: LakeSettings, clock: Clock | None = None) -> None:
        super().__init__(settings, clock, log_days)

    def write(self, frame: pl.DataFrame) -> None:
        """Write a GROUPED_LOGS frame, a file for each day of event time."""
        self._write_by_day(frame, LOGS, Day.of_logs)


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
    same = {"tenant": tenant, "service": service}
    return rows_between(log_days(path), GROUPED_LOGS, since, until, **same)
