"""What rollups of histograms ought to be, computed without any of the flow's code.

``from_histogram_points`` goes from one point to the next, in the words of OpenTelemetry's data
model ("Histogram", "Resets and gaps"); percentiles are taken of the merged buckets, in fractions,
by the linear interpolation of Prometheus' ``histogram_quantile``.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

import polars as pl

from tests.flows.expectation import (
    HORIZON,
    RESOURCE_LABELS,
    SCHEMA,
    Risen,
    rate,
    series_key,
    with_service,
)
from tests.flows.histograms import Bucket, HistogramPoint

__all__ = ["PERCENTILES", "exponential_quantile", "from_histogram_points", "quantile"]

PERCENTILES: Final = {"p50": "0.5", "p90": "0.9", "p95": "0.95", "p99": "0.99"}
_SCHEMA: Final = SCHEMA | dict.fromkeys(PERCENTILES, pl.Float64)


@dataclass(frozen=True)
class _Share:
    """What a point adds to its window."""

    point: HistogramPoint
    sum: float
    buckets: Counter[Bucket]
    covers: int | None
    stream: int = 0


def from_histogram_points(points: Iterable[HistogramPoint], window: int) -> pl.DataFrame:
    """Return the rollups of these points, with percentiles. None overlaps, each is there once."""
    identities: dict[object, list[HistogramPoint]] = defaultdict(list)
    for point in points:
        labels = (frozenset(point.resource.items()), frozenset(point.attributes.items()))
        identities[point.name, point.unit, point.kind, point.scope, *labels].append(point)
    cells: dict[tuple[str, int], list[_Share]] = defaultdict(list)
    for number, stream in enumerate(identities.values()):
        stream.sort(key=lambda point: point.ts)
        for each in _shares(stream):
            share = replace(each, stream=number)
            point = share.point
            tags = {k: v for k, v in point.resource.items() if k in RESOURCE_LABELS}
            key = series_key(point.name, with_service(tags | point.attributes))
            cells[key, point.ts // window * window].append(share)
    rows = [
        {"series": series, "time": start} | _fields(cell, window)
        for (series, start), cell in cells.items()
    ]
    return pl.DataFrame(rows, schema=_SCHEMA)


def _shares(stream: Sequence[HistogramPoint]) -> Iterator[_Share]:
    """Yield what each point of one stream, in order of time, adds."""
    for before, point in itertools.pairwise([None, *stream]):
        assert point is not None
        known_start = 0 < point.start < point.ts
        since = point.ts - point.start if known_start else None
        whole = _Share(point, point.sum, point.buckets(), since)
        if point.kind == "delta":
            yield whole
        elif before is None:
            assert 0 < point.start < point.ts <= point.start + HORIZON
            yield whole
        elif point.start != before.start:
            assert before.ts <= point.start < point.ts
            yield whole
        else:
            more = point.buckets()
            more.subtract(before.buckets())
            # A bucket that fell is a reset that the producer did not tell.
            fell = min(more.values()) < 0
            covers = point.ts - before.ts
            yield (
                replace(whole, covers=covers)
                if fell
                else _Share(point, point.sum - before.sum, more, covers)
            )


def _fields(cell: Sequence[_Share], window: int) -> dict[str, Any]:
    merged: Counter[Bucket] = Counter()
    for share in cell:
        merged.update(share.buckets)
    count = merged.total()
    total = math.fsum(share.sum for share in cell)
    observing = [share.point for share in cell if share.buckets.total()]
    least, most = _extremes(observing)
    native = all(point.scale is not None for point in observing)
    found = exponential_quantile if native else quantile
    return {
        "count": count, "sum": total, "min": least, "max": most,
        "mean": total / count if count else None,
        "increase": float(count), "revision": 0,
        "rate": rate(
            [Risen(s.stream, s.point, s.buckets.total(), s.covers) for s in cell], window
        ),
    } | {
        name: found(merged, Fraction(rank), least, most) for name, rank in PERCENTILES.items()
    }  # fmt: skip


def _extremes(observing: Sequence[HistogramPoint]) -> tuple[float | None, float | None]:
    """Return the least and the largest observation of the deltas that say them."""
    deltas = [point for point in observing if point.kind == "delta"]
    return (
        min((point.min for point in deltas if point.min is not None), default=None),
        max((point.max for point in deltas if point.max is not None), default=None),
    )


def quantile(
    buckets: Mapping[Bucket, int], rank: Fraction, least: float | None, most: float | None
) -> float | None:
    """Return the quantile of buckets beside each other; None if there are no observations.

    The first bucket in which the cumulative count reaches the rank has it, at the same share of
    its width as of its count. Open ends: the extremes where they are known; else 0, or the lowest
    bound if that is not above 0, and the highest bound. Known extremes are not passed either, if
    they may be those of all: no bucket lies beyond them.
    """
    held = sorted((bucket, count) for bucket, count in buckets.items() if count)
    if least is not None and held and held[0][0][1] < least:
        least = None
    if most is not None and held:
        highest = held[-1][0][0]
        most = None if highest > most or highest == most >= 0 else most
    target = rank * sum(count for _, count in held)
    below = 0
    for (lower, upper), count in held:
        if below + count < target:
            below += count
            continue
        low, high = lower, upper
        if lower == -math.inf:
            low = min(0.0, upper) if least is None else min(least, upper)
            low = upper if upper <= 0 and least is None else low
        if upper == math.inf:
            high = lower if most is None else max(most, lower)
        share = (target - below) / count
        value = float(Fraction(low) + (Fraction(high) - Fraction(low)) * share)
        value = value if least is None else max(value, least)
        return value if most is None else min(value, most)
    return None


def exponential_quantile(
    buckets: Mapping[Bucket, int], rank: Fraction, least: float | None, most: float | None
) -> float | None:
    """Return the quantile of exponential buckets, as Prometheus 3 has it of native histograms.

    Below half it counts from the lowest bucket up, else from the highest down. Inside a bucket that
    does not touch zero the value is exponential in the share of its count.
    """
    held = sorted((bucket, count) for bucket, count in buckets.items() if count)
    if not held:
        return None
    upwards = rank < Fraction(1, 2)
    target = (rank if upwards else 1 - rank) * sum(count for _, count in held)
    reached = 0
    lower, upper, count = 0.0, 0.0, 0
    for bucket, count in held if upwards else reversed(held):
        (lower, upper), reached = bucket, reached + count
        if reached >= target:
            break
    share = float((target - reached + count if upwards else reached - target) / count)
    if lower <= 0 <= upper:
        value = lower + (upper - lower) * share
    else:
        value = lower * (upper / lower) ** share
    value = value if least is None else max(value, least)
    return value if most is None else min(value, most)
