"""The files of the lake: where they are, what they are called, and which of them count.

``<lake>/signal=rollups/window=10s/day=2026-11-23/<kind>-<written>-<rows>-<id>.parquet``

===========  ==================================================================
``fresh``    one write
``merged``   several files of a day, without what was superseded
``final``    one of the files that hold a whole finished day, without overlap
===========  ==================================================================

A file never changes. A merged one names the files that it replaces in its own metadata, so that
it takes their place in the moment it appears; they are removed later, when nobody reads them any
more. A crash in between leaves nothing twice and nothing out.
"""

from __future__ import annotations

import io
import json
import os
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

import polars as pl

from operators.durations import DurationError, format_duration, parse_duration
from operators.frames import SCORES

__all__ = [
    "DAY",
    "FILE",
    "Day",
    "Part",
    "days",
    "is_final",
    "live_parts",
    "parts",
    "replaced_by",
    "scan",
    "superseded_removed",
    "write_part",
]

DAY: Final = 86_400_000_000_000
FILE: Final = pl.Schema(
    {name: kind for name, kind in SCORES.items() if name != "window"} | {"written": pl.Int64()}
)
"""The columns of a file: those of SCORES, less the window, and when the row was written.

The window is in the path alone, so that other readers may take it from there as a partition.
"""

Kind = Literal["fresh", "merged", "final"]
_NAME: Final = re.compile(r"(fresh|merged|final)-(\d+)-(\d+)-([0-9a-f]{12})(?:\.\d+)?\.parquet")
_REPLACES: Final = "headrace.replaces"
_POINT: Final = ("tenant", "series", "window_start")


@dataclass(frozen=True, slots=True)
class Day:
    """The directory of one window's rollups of one day."""

    path: Path
    window: int
    start: int

    @classmethod
    def of(cls, lake: Path, window: int, start: int) -> Day:
        """Return the directory for the day that begins at ``start`` (nanoseconds)."""
        day = datetime.fromtimestamp(start // 1_000_000_000, UTC).date().isoformat()
        path = lake / "signal=rollups" / f"window={format_duration(window)}" / f"day={day}"
        return cls(path, window, start)


@dataclass(frozen=True, slots=True)
class Part:
    """A file. Those of kind ``final`` that came together have the same id."""

    path: Path
    kind: Kind
    written: int
    rows: int
    id: str


def days(lake: Path) -> Iterator[Day]:
    """Yield the directories that there are, by window and day."""
    for path in sorted((lake / "signal=rollups").glob("window=*/day=*")):
        try:
            window = parse_duration(path.parent.name.removeprefix("window="))
            day = date.fromisoformat(path.name.removeprefix("day="))
        except (DurationError, ValueError):
            continue
        start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000_000
        yield Day(path, window, start)


def parts(day: Path) -> list[Part]:
    """Return all files of a directory, those that were replaced as well."""
    found = []
    for entry in os.scandir(day):
        if match := _NAME.fullmatch(entry.name):
            kind, written, rows, identity = match.groups()
            found.append(Part(day / entry.name, kind, int(written), int(rows), identity))  # type: ignore[arg-type]
    return sorted(found, key=lambda part: part.path.name)


def live_parts(day: Path) -> list[Part]:
    """Return the files of a directory that count: those that no other replaces."""
    while True:
        found = parts(day)
        try:
            gone = {name for part in found for name in replaced_by(part)}
        except FileNotFoundError:  # removed since we looked
            continue
        return [part for part in found if part.path.name not in gone]


def replaced_by(part: Part) -> Sequence[str]:
    """Return the names of the files that ``part`` replaces."""
    return () if part.kind == "fresh" else _replaces(part.path)


@lru_cache(maxsize=4096)
def _replaces(path: Path) -> tuple[str, ...]:
    return tuple(json.loads(pl.read_parquet_metadata(path).get(_REPLACES, "[]")))


def is_final(live: Sequence[Part]) -> bool:
    """Say whether these files hold each point once, so that nobody needs to look for doubles."""
    return len({part.id for part in live}) == 1 and all(part.kind == "final" for part in live)


def scan(paths: Sequence[Path]) -> pl.LazyFrame:
    """Return the rows of files, whichever version of Headrace wrote them."""
    return pl.scan_parquet(
        list(paths),
        schema=dict(FILE),
        glob=False,
        hive_partitioning=False,
        missing_columns="insert",
        extra_columns="ignore",
    )


def superseded_removed(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Keep of each point what was written last, and of that the highest revision.

    The rows of a series come out together, in the order of time: they compress well like that.
    """
    last = pl.any_horizontal(pl.col(name) != pl.col(name).shift(-1) for name in _POINT)
    ordered = rows.sort("name", *_POINT, "written", "revision")
    return ordered.filter(last.fill_null(value=True))


def write_part(
    day: Path,
    rows: pl.DataFrame,
    kind: Kind,
    written: int,
    identity: str = "",
    replaces: Sequence[Part] = (),
) -> Path:
    """Write a file so that it is there whole and lasting, or not at all.

    Raises:
        OSError: it can't be written; what was begun is removed.
    """
    buffer = io.BytesIO()
    names = json.dumps([part.path.name for part in replaces])
    rows.write_parquet(buffer, compression="zstd", metadata={_REPLACES: names})
    name = f"{kind}-{written}-{rows.height}-{identity or new_id()}.parquet"
    path = day / name
    unfinished = day / f".{name}.unfinished"
    _make(day)
    try:
        with unfinished.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    _sync(day)
    return path


def new_id() -> str:
    """Return what makes the name of a file its own."""
    return uuid.uuid4().hex[:12]


def _make(directory: Path) -> None:
    """Create a directory so that it outlasts a power cut."""
    if directory.is_dir():
        return
    _make(directory.parent)
    directory.mkdir(exist_ok=True)
    _sync(directory.parent)


def _sync(directory: Path) -> None:
    """Make the names in a directory last."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
