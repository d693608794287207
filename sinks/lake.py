"""The lake: rollups as Parquet files, for training, backtests and whoever else reads Parquet.

A write is files of its own, one for each window and day, on disk before it returns. A replay may
cut the same rows into other writes, so a point can be in several files: ``read_rollups`` gives it
once, as it was written last, and compaction removes the others. Other readers do likewise: of
rows with the same tenant, series, window and window_start the last by written, revision. The
highest revision would be wrong: after a crash a window whose late points were a revision before
may come out with them at once, and is then revision 0 again.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol

import polars as pl

from operators.clock import Clock, SystemClock
from operators.frames import SCORES, empty
from sinks.base import Destination, Unavailable
from sinks.lake_compaction import compact, merge_small
from sinks.lake_files import (
    DAY,
    FILE,
    Day,
    days,
    is_final,
    live_parts,
    scan,
    superseded_removed,
    write_part,
)

__all__ = ["Lake", "LakeSettings", "check", "compact", "read_rollups"]

_log = logging.getLogger(__name__)

_SETTLED: Final = 3_600_000_000_000
"""A day counts as finished when event time has gone on for an hour."""
_WAYS_OUT: Final = {
    errno.ENOSPC: "free some space, or point sinks.lake.path elsewhere",
    errno.EDQUOT: "raise the quota, or point sinks.lake.path elsewhere",
    errno.EROFS: "point sinks.lake.path to a place that can be written",
    errno.EACCES: "let this user write there, or point sinks.lake.path elsewhere",
    errno.EPERM: "let this user write there, or point sinks.lake.path elsewhere",
}


class LakeSettings(Protocol):
    """What the sink needs to know; ``flows.settings.Lake`` is one."""

    path: Path
    compact_files: int


class Lake(Destination):
    """Writes SCORES frames, refuses nothing, and keeps the number of files low."""

    name = "lake"

    def __init__(self, settings: LakeSettings, clock: Clock | None = None) -> None:
        self._path = settings.path.absolute()
        self._compact_files = settings.compact_files
        self._clock = clock or SystemClock()
        self._latest = 0
        self._finished = 0
        self._finisher = ThreadPoolExecutor(1, "lake")

    def write(self, frame: pl.DataFrame) -> None:
        """Write a SCORES frame, a file for each window and day."""
        now = self._clock.now()
        start = pl.col("window_start") // DAY * DAY
        groups = frame.with_columns(day=start).partition_by("window", "day", as_dict=True)
        written = []
        for (window, day_start), rows in groups.items():
            day = Day.of(self._path, window, day_start)
            try:
                write_part(
                    day.path,
                    rows.with_columns(written=pl.lit(now, pl.Int64)).select(FILE.names()),
                    "fresh",
                    now,
                )
            except OSError as error:
                raise _unavailable(self._path, error) from None
            written.append(day)
        self._tidy(written, frame)

    def close(self) -> None:
        """Wait until the days that were being finished are."""
        self._finisher.shutdown()

    def _tidy(self, written: Sequence[Day], frame: pl.DataFrame) -> None:
        """Merge what has become many files. Everything is confirmed by now: nothing may fail."""
        for day in written:
            try:
                merge_small(day, self._compact_files, self._clock)
            except (OSError, pl.exceptions.PolarsError) as error:
                _log.warning("lake: %s: could not merge files: %s", day.path, error)
        end = frame.select((pl.col("window_start") + pl.col("window")).max()).item() or 0
        self._latest = max(self._latest, end)
        settled = (self._latest - _SETTLED) // DAY * DAY
        if settled > self._finished:
            self._finished = settled
            # A large day takes a minute, for which the flow need not wait.
            job = self._finisher.submit(compact, self._path, settled, self._clock)
            job.add_done_callback(_report)


def _report(job: Future[int]) -> None:
    error = job.exception()
    if error is not None:
        _log.warning(
            "lake: could not finish a day, which stays in small files until the next: %s", error
        )


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
    chosen = []
    if since is not None:
        chosen.append(pl.col("window_start") >= since)
    if until is not None:
        chosen.append(pl.col("window_start") < until)
    if names is not None:
        chosen.append(pl.col("name").is_in(list(names)))
    if tenant is not None:
        chosen.append(pl.col("tenant") == tenant)
    frames = []
    for day in days(path):
        if window is not None and day.window != window:
            continue
        if (until is not None and day.start >= until) or (
            since is not None and day.start + DAY <= since
        ):
            continue
        live = live_parts(day.path)
        if not live:
            continue
        rows = scan([part.path for part in live]).filter(*chosen)
        # All of these choose whole points, so it does not matter that they come first.
        rows = rows if is_final(live) else superseded_removed(rows)
        frames.append(rows.with_columns(window=pl.lit(day.window, pl.Int64)).select(SCORES.names()))
    return pl.concat(frames) if frames else empty(SCORES).lazy()


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
        raise _unavailable(settings.path.absolute(), error) from None


def _unavailable(path: Path, error: OSError) -> Unavailable:
    way_out = _WAYS_OUT.get(error.errno or 0, "see to it that it can be written")
    return Unavailable(f"lake: {path}: {error.strerror or error}; {way_out}")
