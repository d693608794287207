"""The files of the lake: where they are, what they are called, and which of them count.

``<lake>/signal=rollups/window=10s/day=2026-11-23/<kind>-<written>-<rows>-<id>.parquet``
``<lake>/signal=logs/day=2026-11-23/<kind>-<written>-<rows>-<id>.parquet``
``<lake>/signal=spans/day=2026-11-23/<kind>-<written>-<rows>-<id>.parquet``

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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

import polars as pl

from operators.contracts.durations import DurationError, format_duration, parse_duration
from operators.contracts.frames import GROUPED_LOGS, SCORES, SPANS
from sinks.versions import POINTS_OF

__all__ = [
    "DAY",
    "LOGS",
    "ROLLUPS",
    "SPANS_KEPT",
    "Day",
    "LakeFile",
    "Table",
    "days",
    "days_between",
    "is_final",
    "live_parts",
    "log_days",
    "parts",
    "replaced_by",
    "scan",
    "span_days",
    "superseded_removed",
    "write_part",
]

DAY: Final = 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class Table:
    """What files of one signal hold.

    Attributes:
        schema: the columns of a file; ``written`` says when the row was.
        time: the column that says which day a row is of, in nanoseconds.
        identity: the columns that say which of several rows are the same.
        order: what rows are sorted by, of the same ones the one that counts last.
        heaviness: how many rollups a row is as large as: files have so many times fewer rows.
    """

    schema: pl.Schema
    time: str
    identity: tuple[str, ...]
    order: tuple[str | pl.Expr, ...]
    heaviness: int = 1


ROLLUPS: Final = Table(
    pl.Schema(
        {name: kind for name, kind in SCORES.items() if name != "window"} | {"written": pl.Int64()}
    ),
    "window_start",
    ("tenant", "series", "window_start"),
    ("name", "tenant", "series", "window_start", POINTS_OF, "written", "revision"),
)
"""Rollups: of a point the row of the most points counts, of those the one that was written last.

The window is in the path alone, so that other readers may take it from there as a partition. The rows
of a series come out together, in the order of time: they compress well like that.
"""

LOGS: Final = Table(
    pl.Schema({**GROUPED_LOGS, "written": pl.Int64()}),
    "ts",
    ("topic", "partition", "offset", "index", "ts"),
    ("ts", "topic", "partition", "offset", "index", "written"),
    heaviness=4,
)
"""Records of logs, by time: where a message was and the time tell a record from all others."""

SPANS_KEPT: Final = Table(
    pl.Schema({**SPANS, "written": pl.Int64()}),
    "ended",
    ("tenant", "trace_id", "span_id", "kind"),
    ("tenant", "trace_id", "span_id", "kind", "written"),
    heaviness=8,
)
"""Spans that are kept, by the day in which they ended; those of a trace stand together."""

Kind = Literal["fresh", "merged", "final"]
_NAME: Final = re.compile(r"(fresh|merged|final)-(\d+)-(\d+)-([0-9a-f]{12})(?:\.\d+)?\.parquet")
_REPLACES: Final = "headrace.replaces"


@dataclass(frozen=True, slots=True)
class Day:
    """The directory of one day: of one window's rollups, or of the records of logs or the spans (window 0)."""

    path: Path
    window: int
    start: int
    table: Table = ROLLUPS

    @classmethod
    def of(cls, lake: Path, window: int, start: int) -> Day:
        """Return the directory of rollups for the day that begins at ``start`` (nanoseconds)."""
        path = lake / "signal=rollups" / f"window={format_duration(window)}" / _day_name(start)
        return cls(path, window, start)

    @classmethod
    def of_logs(cls, lake: Path, start: int) -> Day:
        """Return the directory of records for the day that begins at ``start`` (nanoseconds)."""
        return cls(lake / "signal=logs" / _day_name(start), 0, start, LOGS)

    @classmethod
    def of_spans(cls, lake: Path, start: int) -> Day:
        """Return the directory of spans for the day that begins at ``start`` (nanoseconds)."""
        return cls(lake / "signal=spans" / _day_name(start), 0, start, SPANS_KEPT)


def _day_name(start: int) -> str:
    return f"day={datetime.fromtimestamp(start // 1_000_000_000, UTC).date().isoformat()}"


@dataclass(frozen=True, slots=True)
class LakeFile:
    """A file. Those of kind ``final`` that came together have the same id."""

    path: Path
    kind: Kind
    written: int
    rows: int
    id: str


def days(lake: Path) -> Iterator[Day]:
    """Yield the directories of rollups that there are, by window and day."""
    for path in sorted((lake / "signal=rollups").glob("window=*/day=*")):
        try:
            window = parse_duration(path.parent.name.removeprefix("window="))
        except DurationError:
            continue
        if (start := _start_of(path)) is not None:
            yield Day(path, window, start)


def log_days(lake: Path) -> Iterator[Day]:
    """Yield the directories of records of logs that there are, by day."""
    return _days_of(lake / "signal=logs", LOGS)


def span_days(lake: Path) -> Iterator[Day]:
    """Yield the directories of spans that there are, by day."""
    return _days_of(lake / "signal=spans", SPANS_KEPT)


def _days_of(signal: Path, table: Table) -> Iterator[Day]:
    for path in sorted(signal.glob("day=*")):
        if (start := _start_of(path)) is not None:
            yield Day(path, 0, start, table)


def _start_of(path: Path) -> int | None:
    try:
        day = date.fromisoformat(path.name.removeprefix("day="))
    except ValueError:
        return None
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000_000


def parts(day: Path) -> list[LakeFile]:
    """Return all files of a directory, those that were replaced as well."""
    found = []
    for entry in os.scandir(day):
        if match := _NAME.fullmatch(entry.name):
            kind, written, rows, identity = match.groups()
            found.append(LakeFile(day / entry.name, kind, int(written), int(rows), identity))  # type: ignore[arg-type]
    return sorted(found, key=lambda part: part.path.name)


def live_parts(day: Path) -> list[LakeFile]:
    """Return the files of a directory that count: those that no other replaces."""
    while True:
        found = parts(day)
        try:
            gone = {name for part in found for name in replaced_by(part)}
        except FileNotFoundError:  # removed since we looked
            continue
        return [part for part in found if part.path.name not in gone]


def days_between(
    among: Iterable[Day], since: int | None, until: int | None
) -> Iterator[tuple[Day, list[LakeFile]]]:
    """Yield the days that have something of a span of event time, with their live files.

    Args:
        among: days.
        since, until: nanoseconds, ``until`` excluded; all without them.
    """
    for day in among:
        begins_after = until is not None and day.start >= until
        ended_before = since is not None and day.start + DAY <= since
        if not begins_after and not ended_before and (live := live_parts(day.path)):
            yield day, live


def replaced_by(part: LakeFile) -> Sequence[str]:
    """Return the names of the files that ``part`` replaces."""
    return () if part.kind == "fresh" else _replaces(part.path)


@lru_cache(maxsize=4096)
def _replaces(path: Path) -> tuple[str, ...]:
    return tuple(json.loads(pl.read_parquet_metadata(path).get(_REPLACES, "[]")))


def is_final(live: Sequence[LakeFile]) -> bool:
    """Say whether these files hold each point once, so that nobody needs to look for doubles."""
    return len({part.id for part in live}) == 1 and all(part.kind == "final" for part in live)


def scan(paths: Sequence[Path], table: Table = ROLLUPS) -> pl.LazyFrame:
    """Return the rows of files, whichever version of Headrace wrote them."""
    return pl.scan_parquet(
        list(paths),
        schema=dict(table.schema),
        glob=False,
        hive_partitioning=False,
        missing_columns="insert",
        extra_columns="ignore",
    )


def superseded_removed(rows: pl.LazyFrame, table: Table = ROLLUPS) -> pl.LazyFrame:
    """Keep of each identity the row that counts, see ``Table``.

    A write of one moment keeps its order.
    """
    last = pl.any_horizontal(pl.col(name) != pl.col(name).shift(-1) for name in table.identity)
    ordered = rows.sort(*table.order, maintain_order=True)
    return ordered.filter(last.fill_null(value=True))


def write_part(
    day: Path,
    rows: pl.DataFrame,
    kind: Kind,
    written: int,
    identity: str = "",
    replaces: Sequence[LakeFile] = (),
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
