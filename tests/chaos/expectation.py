"""What the rollups of a stream ought to be, computed without any of the flow's code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import polars as pl

from tests.chaos.stream import Stream
from tests.flows.expectation import differences, from_load, from_points
from tests.flows.histogram_expectation import PERCENTILES, from_histogram_points
from tests.flows.histograms import HistogramPoint
from tests.flows.telemetry import SECOND, Point

__all__ = ["WINDOWS", "expected_rollups", "rollup_differences"]

PERCENTILE_ERROR: Final = 1e-8
"""Ranks are rounded in their twelfth digit, and a bucket may hold one of thousands: where the
quantile lies at a bound, it may be found beside it, at 0 too."""
WINDOWS: Final = {"10s": 10 * SECOND, "1m": 60 * SECOND}


def expected_rollups(stream: Stream, window: int) -> pl.DataFrame:
    """Return the rollups of all that was written, in the columns of ``flows.expectation``, and percentiles."""
    points = list(_once(stream.points))
    numbers = [point for point in points if isinstance(point, Point)]
    observed = [point for point in points if isinstance(point, HistogramPoint)]
    return pl.concat(
        [
            from_load(stream.load, window),
            from_points(numbers, window),
            from_histogram_points(observed, window),
        ],
        how="diagonal",  # numbers have no percentiles
    )


def rollup_differences(found: pl.DataFrame, expected: pl.DataFrame) -> str:
    """Say how rollups differ, whatever their revisions: those depend on when what came."""
    zero = pl.lit(0, pl.Int64).alias("revision")
    return differences(
        found.with_columns(zero),
        expected.with_columns(zero),
        dict.fromkeys(PERCENTILES, PERCENTILE_ERROR),
    )


def _once(points: Iterable[Point | HistogramPoint]) -> Iterator[Point | HistogramPoint]:
    seen = set()
    for point in points:
        labels = (frozenset(point.resource.items()), frozenset(point.attributes.items()))
        identity = (point.name, point.unit, point.kind, point.scope, *labels, point.ts)
        if identity not in seen:
            seen.add(identity)
            yield point
