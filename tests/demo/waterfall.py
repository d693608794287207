"""The slowest request of the fault, as the report shows it: what it waited for, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from operators.traces.paths import Call, walk
from sinks.span_documents import span_document
from tests.demo.story import Fault

__all__ = ["Bar", "Waterfall", "slowest"]


@dataclass(frozen=True, slots=True)
class Bar:
    """A span: `left` and `width` are in hundredths of the whole, times in milliseconds."""

    name: str
    depth: int
    left: float
    width: float
    took: float
    path: float
    failed: bool
    longest: bool


@dataclass(frozen=True, slots=True)
class Waterfall:
    """A trace.

    Attributes:
        trace: its id.
        reason: why it was kept.
        took: milliseconds.
        kept: how many traces were kept in all.
        bars: its spans, parents first.
    """

    trace: str
    reason: str
    took: float
    kept: int
    bars: tuple[Bar, ...]


def slowest(spans: pl.DataFrame, fault: Fault) -> Waterfall | None:
    """Return the slowest trace of the fault that was kept, of all time if there is none.

    Args:
        spans: a SPANS frame of what was kept.
        fault: when there was cause for it.
    """
    roots = spans.filter(pl.col("parent_span_id") == "")
    if not roots.height:
        return None
    began, ended = (pl.lit((instant or 0) * 1e9) for instant in (fault.began, fault.ended))
    during = roots.filter((pl.col("ended") >= began) & (pl.col("begun") < ended))
    chosen = during if during.height else roots
    root = chosen.sort(pl.col("ended") - pl.col("begun"), "trace_id").row(-1, named=True)
    rows = spans.filter(pl.col("trace_id") == root["trace_id"]).rows(named=True)
    steps = walk(
        [Call(r["span_id"], r["parent_span_id"], r["begun"], r["ended"], r["kind"]) for r in rows]
    )
    whole = max(root["ended"] - root["begun"], 1)
    longest = max(step.path for step in steps)
    return Waterfall(
        trace=root["trace_id"],
        reason=root["reason"],
        took=whole / 1e6,
        kept=spans["trace_id"].n_unique(),
        bars=tuple(
            Bar(
                name=span_document(rows[step.index]).get("name", ""),
                depth=step.depth,
                left=100 * (rows[step.index]["begun"] - root["begun"]) / whole,
                width=max(
                    100 * (rows[step.index]["ended"] - rows[step.index]["begun"]) / whole, 0.4
                ),
                took=(rows[step.index]["ended"] - rows[step.index]["begun"]) / 1e6,
                path=step.path / 1e6,
                failed=rows[step.index]["status"] == 2,
                longest=step.path == longest,
            )
            for step in steps
        ),
    )
