"""What the writers of the lake share: files of a day on disk, and few of them."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol

import polars as pl

from operators.contracts.clock import Clock, SystemClock
from sinks.base import Destination, Unavailable
from sinks.lake_compaction import compact, merge_small
from sinks.lake_files import DAY, Day, Table, write_part

__all__ = ["LakeSettings", "LakeWriter", "unavailable"]

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


class LakeWriter(Destination):
    """Writes a file for each day of a frame, and keeps the number of files low.

    Args:
        settings: where the lake is, and how many files a day may have.
        clock: says when files are written.
        among: yields the days of the signal.
    """

    def __init__(
        self, settings: LakeSettings, clock: Clock | None, among: Callable[[Path], Iterator[Day]]
    ) -> None:
        self._path = settings.path.absolute()
        self._compact_files = settings.compact_files
        self._clock = clock or SystemClock()
        self._among = among
        self._latest = 0
        self._finished = 0
        self._finisher = ThreadPoolExecutor(1, self.name.replace("_", "-"))

    def _write_by_day(
        self, frame: pl.DataFrame, table: Table, day_of: Callable[[Path, int], Day]
    ) -> None:
        """Write the rows of each day of event time in the order of their table.

        Args:
            frame: of the table's columns, but for ``written``.
            table: what they are.
            day_of: returns the directory for the day that begins at a time.
        """
        day = pl.col(table.time) // DAY * DAY
        groups = frame.with_columns(day=day).partition_by("day", as_dict=True)
        # All rows of a write have the same ``written``.
        order = [by for by in table.order if by != "written"]
        of_days = (
            (day_of(self._path, int(start)), rows.sort(*order)) for (start,), rows in groups.items()
        )
        # The middle one: a row whose clock runs ahead must not end the day of the others.
        middle = frame[table.time].quantile(0.5, "lower")
        self._write_days(of_days, int(middle or 0))

    def _write_days(self, frames: Iterable[tuple[Day, pl.DataFrame]], latest: int) -> None:
        """Write the rows of each day, then merge what has become many files.

        Args:
            frames: of the columns of the day's table, but for ``written``.
            latest: event time that the rows are up to.

        Raises:
            Unavailable: not all of it is on disk.
        """
        now = self._clock.now()
        written = []
        for day, rows in frames:
            stamped = rows.with_columns(written=pl.lit(now, pl.Int64))
            try:
                write_part(day.path, stamped.select(day.table.schema.names()), "fresh", now)
            except OSError as error:
                raise unavailable(self._path, error) from None
            written.append(day)
        # Everything is confirmed by now: nothing may fail.
        for day in written:
            try:
                merge_small(day, self._compact_files, self._clock)
            except (OSError, pl.exceptions.PolarsError) as error:
                _log.warning("lake: %s: could not merge files: %s", day.path, error)
        self._latest = max(self._latest, latest)
        settled = (self._latest - _SETTLED) // DAY * DAY
        if settled > self._finished:
            self._finished = settled
            # A large day takes a minute, for which the flow need not wait.
            job = self._finisher.submit(compact, self._path, settled, self._clock, self._among)
            job.add_done_callback(_report)

    def close(self) -> None:
        """Wait until the days that were being finished are."""
        self._finisher.shutdown()


def _report(job: Future[int]) -> None:
    """Say in the log when finishing a day failed; nothing waits for it."""
    error = job.exception()
    if error is not None:
        _log.warning(
            "lake: could not finish a day, which stays in small files until the next: %s", error
        )


def unavailable(path: Path, error: OSError) -> Unavailable:
    """Return the exception that says why the lake at ``path`` can't be written, and the way out."""
    way_out = _WAYS_OUT.get(error.errno or 0, "see to it that it can be written")
    return Unavailable(f"lake: {path}: {error.strerror or error}; {way_out}")
