"""What the rollups of a stream ought to be, computed without any of the flow's code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import polars as pl

from tests.chaos.stream import Stream
from tests.flows.expectation import differences, from_load, from_points
from tests.flows.telemetry import SECOND, Point

__all__ = ["WINDOWS", "expected_rollups", "rollup_differences"]

DUPLICATES_COUNT_ONCE = True
"""Whether points of the same identity and time are one, however often they are written."""
WINDOWS: Final = {"10s": 10 * SECOND, "1m": 60 * SECOND}


def expected_rollups(stream: Stream, window: int) -> pl.DataFrame:
    """Return the rollups of all that was written, in the columns of ``flows.expectation``."""
    points: Iterable[Point] = stream.points
    if DUPLICATES_COUNT_ONCE:
        points = _once(points)
    return pl.concat([from_load(stream.load, window), from_points(points, window)])


def rollup_differences(found: pl.DataFrame, expected: pl.DataFrame) -> str:
    """Say how rollups differ, whatever their revisions: those depend on when what came."""
    zero = pl.lit(0, pl.Int64).alias("revision")
    return differences(found.with_columns(zero), expected.with_columns(zero))


def _once(points: Iterable[Point]) -> Iterator[Point]:
    seen = set()
    for point in points:
        labels = (frozenset(point.resource.items()), frozenset(point.attributes.items()))
        identity = (point.name, point.unit, point.kind, point.scope, *labels, point.ts)
        if identity not in seen:
            seen.add(identity)
            yield point
