"""Kept spans in the lake: Parquet files by day of event time, the spans of a trace side by side.

As with rollups a replay may write a span again. ``read_spans`` gives it once, and compaction removes the
other; other readers take one of those with the same tenant, trace_id, span_id and kind.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from operators.contracts.clock import Clock
from operators.contracts.frames import SPANS
from sinks.lake_files import SPANS_KEPT, Day, span_days
from sinks.lake_reading import rows_between
from sinks.lake_writer import LakeSettings, LakeWriter

__all__ = ["SpanLake", "read_spans"]


class SpanLake(LakeWriter):
    """Writes SPANS frames, and refuses nothing."""

    name = "lake_spans"

    def __init__(self, settings: LakeSettings, clock: Clock | None = None) -> None:
        super().__init__(settings, clock, span_days)

    def write(self, frame: pl.DataFrame) -> None:
        """Write a SPANS frame, a file for each day of event time."""
        self._write_by_day(frame, SPANS_KEPT, Day.of_spans)


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
    same = {"tenant": tenant, "trace_id": trace}
    return rows_between(span_days(path), SPANS, since, until, **same)
