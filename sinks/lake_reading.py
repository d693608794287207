"""Reading the lake: the rows of a span of event time, each of them once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from operators.contracts.frames import empty
from sinks.lake_files import Day, days_between, is_final, scan, superseded_removed

__all__ = ["rows_between"]


def rows_between(
    among: Iterable[Day], schema: pl.Schema, since: int | None, until: int | None, **same: Any
) -> pl.LazyFrame:
    """Return the rows of some days, as a frame of ``schema``.

    Args:
        among: days of one signal.
        schema: columns of its table, and ``window``.
        since, until: only rows whose time is in this span, ``until`` excluded; nanoseconds.
        same: only rows with a value, or one of a list, by column; None asks for nothing. They must be
            columns that are the same in all rows of an identity, as time is: rows that another
            supersedes are removed after that.
    """
    frames = []
    for day, live in days_between(among, since, until):
        time = pl.col(day.table.time)
        chosen = [
            pl.col(name).is_in(value) if isinstance(value, list) else pl.col(name) == value
            for name, value in same.items()
            if value is not None
        ]
        if since is not None:
            chosen.append(time >= since)
        if until is not None:
            chosen.append(time < until)
        rows = scan([part.path for part in live], day.table).filter(*chosen)
        rows = rows if is_final(live) else superseded_removed(rows, day.table)
        window = pl.lit(day.window, pl.Int64)
        frames.append(rows.with_columns(window=window).select(schema.names()))
    return pl.concat(frames) if frames else empty(schema).lazy()
