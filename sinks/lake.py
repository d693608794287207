"""The lake: rollups as Parquet files, for training, backtests and whoever else reads Parquet.

A write is files of its own, one for each window and day, on disk before it returns. A replay may
cut the same rows into other writes, so a point can be in several files: ``read_rollups`` gives it
once, and compaction removes the others. Other readers do likewise: of rows with the same tenant,
series, window and window_start that of the most points (``count``; 0 for histograms and summaries,
where it is something else), of those the last by written, revision. So what a flow wrote that had
lost a part of its points replaces nothing. The highest revision would be wrong: after a crash a
window whose late points were a revision before may come out with them at once, and is then revision
0 again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from operators.contracts.clock import Clock
from operators.contracts.frames import SCORES
from sinks.lake_compaction import compact
from sinks.lake_files import DAY, Day, days
from sinks.lake_reading import rows_between
from sinks.lake_writer import LakeSettings, LakeWriter, unavailable

__all__ = ["Lake", "LakeSettings", "check", "compact", "read_rollups"]


class Lake(LakeWriter):
    """Writes SCORES frames, and refuses nothing."""

    name = "lake"

    def __init__(self, settings: LakeSettings, clock: Clock | None = None) -> None:
        super().__init__(settings, clock, days)

    def write(self, frame: pl.DataFrame) -> None:
        """Write a SCORES frame, a file for each window and day."""
        start = pl.col("window_start") // DAY * DAY
        groups = frame.with_columns(day=start).partition_by("window", "day", as_dict=True)
        of_days = (
            (Day.of(self._path, window, day), rows) for (window, day), rows in groups.items()
        )
        end = frame.select((pl.col("window_start") + pl.col("window")).max()).item() or 0
        self._write_days(of_days, end)


def read_rollups(
    path: Path,
    *,
    window: int | None = None,
    since: int | None = None,
    until: int | None = None,
    names: Sequence[str] | None = None,
    tenant: str | None = None,
) -> pl.LazyFrame:
    """Return the rollups of the lake at ``path``: a SCORES frame with each point once.

    Collect it within ten minutes: files that compaction replaces stay at least so long.

    Args:
        path: the lake, as in ``sinks.lake.path``.
        window: only rollups of this length, in nanoseconds.
        since, until: only windows that start in this span, ``until`` excluded; nanoseconds.
        names: only these metrics.
        tenant: only this tenant's.
    """
    wanted = (day for day in days(path) if window is None or day.window == window)
    of = None if names is None else list(names)
    return rows_between(wanted, SCORES, since, until, tenant=tenant, name=of)


def check(settings: LakeSettings) -> None:
    """Make sure that the lake can be written.

    Raises:
        Unavailable: it can't; the message says why, and what to do.
    """
    trial = settings.path.absolute() / ".trial"
    try:
        trial.parent.mkdir(parents=True, exist_ok=True)
        trial.write_bytes(b"trial")
        trial.unlink()
    except OSError as error:
        raise unavailable(settings.path.absolute(), error) from None
