"""Merging the lake's many small files into few.

Two ways: files of a day that is still being written are merged with others of about their size,
as soon as there are many; a finished day becomes files that hold each point once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import polars as pl
from filelock import FileLock, Timeout

from operators.contracts.clock import Clock, SystemClock
from sinks.lake_files import (
    DAY,
    Day,
    LakeFile,
    days,
    is_final,
    live_parts,
    new_id,
    parts,
    replaced_by,
    scan,
    superseded_removed,
    write_part,
)

__all__ = ["GRACE", "compact", "finish_day", "merge_small", "remove_replaced"]

_log = logging.getLogger(__name__)

GRACE: Final = 600_000_000_000
"""How long replaced files stay for those who may be reading them: ten minutes."""
MERGED_ROWS: Final = 500_000
"""Files of a live day are merged up to this size."""
FINAL_ROWS: Final = 1_000_000
"""A finished day has files of about this size at most."""
_ABANDONED: Final = 86_400_000_000_000


def compact(
    lake: Path,
    until: int,
    clock: Clock | None = None,
    among: Callable[[Path], Iterator[Day]] = days,
) -> int:
    """Finish the days that end at or before ``until`` (event time) and are not finished yet.

    Args:
        lake: where it is.
        until: in nanoseconds.
        clock: says when files are written.
        among: yields the days of a signal; those of rollups.

    Returns:
        How many directories changed. Those that another process is at are left to it.
    """
    return sum(finish_day(day, clock) for day in among(lake) if day.start + DAY <= until)


def merge_small(day: Day, compact_files: int, clock: Clock | None = None) -> bool:
    """Merge files of about the same size, if there are ``compact_files`` of less than 500k rows."""
    now = (clock or SystemClock()).now()
    if len(parts(day.path)) < compact_files:
        return False
    lock = FileLock(day.path / ".lock")
    try:
        with lock.acquire(timeout=0):
            _sweep(day.path, now)
            most = MERGED_ROWS // day.table.heaviness
            small = [part for part in live_parts(day.path) if part.rows < most]
            if len(small) < compact_files:
                return False
            chosen = _alike(small, most)
            if len(chosen) < 2:
                return False
            rows = superseded_removed(scan([part.path for part in chosen], day.table), day.table)
            write_part(day.path, rows.collect(), "merged", now, replaces=chosen)
    except Timeout:  # somebody else is at it
        return False
    return True


def _alike(small: Sequence[LakeFile], most: int) -> list[LakeFile]:
    """Choose the smallest files, up to the one that is larger than those before together.

    So a row is rewritten a few times a day, however many writes there are.
    """
    chosen: list[LakeFile] = []
    total = 0
    for part in sorted(small, key=lambda part: part.rows):
        if total + part.rows > most or (len(chosen) > 1 and part.rows > 2 * total):
            break
        chosen.append(part)
        total += part.rows
    return chosen


def finish_day(day: Day, clock: Clock | None = None) -> bool:
    """Replace the files of a day by ones that hold each point once, if that is not so yet."""
    now = (clock or SystemClock()).now()
    lock = FileLock(day.path / ".lock")
    try:
        with lock.acquire(timeout=0):
            _sweep(day.path, now)
            live = live_parts(day.path)
            if not live or is_final(live):
                return False
            _write_final(day, live, now)
    except Timeout:
        return False
    return True


def _write_final(day: Day, live: list[LakeFile], now: int) -> None:
    """Write a day in slices of time, each of which fits in memory."""
    rows = scan([part.path for part in live], day.table)
    count = -(-sum(part.rows for part in live) // (FINAL_ROWS // day.table.heaviness))
    start = pl.col(day.table.time)
    first, last = (
        rows.select(start.min().alias("first"), start.max().alias("last")).collect().row(0)
    )
    slice_ = (start - first) * count // (last - first + 1)
    numbers = rows.select(slice_.alias("slice")).unique().sort("slice").collect()["slice"]
    identity = new_id()
    for position, number in enumerate(numbers):
        # The last one makes all of them count; before it the others are mere copies.
        replaces = live if position == len(numbers) - 1 else []
        part = superseded_removed(rows.filter(slice_ == number), day.table).collect()
        write_part(day.path, part, "final", now, f"{identity}.{position}", replaces)


def _sweep(directory: Path, now: int) -> None:
    """Remove files that were replaced long enough ago, and what crashes left unfinished."""
    found = {part.path.name: part for part in parts(directory)}
    for part in found.values():
        if part.written + GRACE <= now:
            for name in replaced_by(part):
                _remove(found, name)
    for path in directory.glob(".*.unfinished"):
        if path.stat().st_mtime_ns + _ABANDONED <= now:
            path.unlink(missing_ok=True)


def remove_replaced(directory: Path) -> None:
    """Remove all files that were replaced, also those that somebody may be reading.

    The caller holds the lock of the directory.
    """
    found = {part.path.name: part for part in parts(directory)}
    for part in list(found.values()):
        for name in replaced_by(part):
            _remove(found, name)


def _remove(found: dict[str, LakeFile], name: str) -> None:
    """Remove a replaced file, but first those that it replaces itself: it is what hides them."""
    part = found.get(name)
    if part is None or not part.path.exists():
        return
    for hidden in replaced_by(part):
        _remove(found, hidden)
    part.path.unlink(missing_ok=True)
