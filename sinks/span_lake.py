"""Kept spans in the lake: Parquet files by day of event time, the spans of a trace side by side.

As with rollups a replay may write a span again. ``read_spans`` gives it once, and compaction removes the
other; other readers take one of those with the same tenant, trace_id, span_id and kind.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from operators.contracts.clock import Clock
from operators.contracts.frames import SPANS, empty
from sinks.lake_files import (
    DAY,
    SPANS_KEPT,
    Day,
    days_between,
    is_final,
    scan,
    span_days,
    superseded_removed,
)
from sinks.lake_writer import LakeSettings, LakeWriter

__all__ = ["SpanLake", "read_spans"]


class SpanLake(LakeWriter):
    """Writes SPANS frames, and refuses nothing."""

    name = "lake_spans"

    def __init__(self, settings: LakeSettings, clock: Clock | None = None) -> None:
        super().__init__(settings, clock, span_days)

    def write(self, frame: pl.DataFrame) -> None:
        """Write a SPANS frame, a file for each day of event time."""
        day = pl.col("ended") // DAY * DAY
        groups = frame.with_columns(day=day).partition_by("day", as_dict=True)
        order = [by for by in SPANS_KEPT.order if by != "written"]
        of_days = (
            (Day.of_spans(self._path, int(start)), rows.sort(*order))
            for (start,), rows in groups.items()
        )
        # The middle one: a span whose clock runs ahead must not end the day of the others.
        middle = frame["ended"].quantile(0.5, "lower")
        self._write_days(of_days, int(middle or 0))


def read_spans(
    path: Path,
    *,
    since: int | None = None,
    until: int | None = None,
    tenant: str | None = None,
    trace: str | None = None,
) -> pl.LazyFrame:
    """Return the spans of the lake at ``path``: a SPANS frame with each span once.

    Collect it within ten minutes: files that compaction replaces stay at least so long.

    Args:
        path: the lake, as in ``sinks.lake.path``.
        since, until: only spans that ended in this span of time, ``until`` excluded; nanoseconds.
        tenant: only this tenant's.
        trace: only those of one trace, by its id.
    """
    chosen = []
    if since is not None:
        chosen.append(pl.col("ended") >= since)
    if until is not None:
        chosen.append(pl.col("ended") < until)
    if tenant is not None:
        chosen.append(pl.col("tenant") == tenant)
    if trace is not None:
        chosen.append(pl.col("trace_id") == trace)
    frames = []
    for _, live in days_between(span_days(path), since, until):
        rows = scan([part.path for part in live], SPANS_KEPT).filter(*chosen)
        if not is_final(live):
            rows = superseded_removed(rows, SPANS_KEPT)
        frames.append(rows.select(SPANS.names()))
    return pl.concat(frames) if frames else empty(SPANS).lazy()
