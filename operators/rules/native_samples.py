"""Native histograms on their way to rules: a list of numbers each, in the column of a frame.

Of exponential buckets the list is 0, the count, the sum, and the lower bound, the upper bound and the
count of each bucket that holds something. Of custom buckets, as explicit histograms are to
Prometheus, it is 1, the count, the sum, and each bound, the infinite one last, with how many
observations lie at or below it. A list becomes an object where rules keep samples, and not before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from operators.contracts.decoder import Buckets
from operators.contracts.distributions import Distributions
from operators.rules.native_histogram import CUSTOM, NativeHistogram

__all__ = ["histogram_of", "native_lists"]

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

_HEAD: Final = 3
_OF_SEGMENT: Final = 3
_OF_BUCKET: Final = 2
_FINEST: Final = 8
"""The finest schema of Prometheus: what is finer is merged on the way in."""


def native_lists(
    points: Distributions,
    rows: Rows,
    buckets: Callable[[Rows], Buckets] | None,
    *,
    no_sum: float = math.nan,
) -> pl.Series:
    """Return the lists of some histograms.

    Args:
        points: the data points of a poll.
        rows: which of them; explicit ones only where there are ``buckets``.
        buckets: gives all buckets of explicit histograms.
        no_sum: the sum of those that say none.
    """
    exponential = points.exponential[rows]
    segments = np.diff(points.offsets)[rows]
    explicit = rows[~exponential]
    whole = buckets(explicit) if buckets is not None and len(explicit) else None
    sizes = _HEAD + _OF_SEGMENT * segments
    if whole is not None:
        sizes[~exponential] = _HEAD + _OF_BUCKET * np.diff(whole.offsets)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    values = np.empty(int(offsets[-1]))
    at = offsets[:-1]
    values[at] = ~exponential
    values[at + 1] = points.count[rows]
    sums = points.sum[rows]
    values[at + 2] = np.where(np.isnan(sums), no_sum, sums)
    chosen = rows[exponential]
    to = _places(at[exponential], segments[exponential], _OF_SEGMENT)
    start = points.offsets[:-1][chosen]
    inside = _places(start - _HEAD, segments[exponential], 1)
    for number, column in enumerate((points.lower, points.upper, points.weight)):
        values[to + number] = column[inside]
    if whole is not None:
        to = _places(at[~exponential], np.diff(whole.offsets), _OF_BUCKET)
        values[to], values[to + 1] = whole.upper, whole.count
    lists = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values))
    return pl.Series(pl.from_arrow(lists), dtype=pl.List(pl.Float64))


def _places(begins: NDArray[np.int64], sizes: NDArray[np.int64], step: int) -> NDArray[np.int64]:
    """Return where the parts of each list stand, the first one behind its head."""
    within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.repeat(begins + _HEAD, sizes) + step * within


def histogram_of(numbers: Floats) -> NativeHistogram:
    """Return the histogram of a list."""
    custom, count, total = numbers[:_HEAD].tolist()
    rest = numbers[_HEAD:]
    if custom:
        held = np.diff(rest[1::_OF_BUCKET], prepend=0.0)
        full = np.flatnonzero(held)
        return NativeHistogram(
            CUSTOM,
            count,
            total,
            positive=dict(zip(full.tolist(), held[full].tolist(), strict=True)),
            bounds=tuple(rest[:-_OF_BUCKET:_OF_BUCKET].tolist()),
        )
    lower, upper, held = rest[0::_OF_SEGMENT], rest[1::_OF_SEGMENT], rest[2::_OF_SEGMENT]
    zero = lower == -upper
    schema = _schema(lower, upper)
    sides = []
    for ends, chosen in ((upper, ~zero & (upper > 0)), (-lower, ~zero & (upper <= 0))):
        # Bounds are powers of the base, to the last bits; past all doubles is 2**1024.
        exponents = np.minimum(np.log2(ends[chosen]), 1024.0)
        index = np.rint(exponents * 2.0**schema).astype(np.int64)
        sides.append(dict(zip(index.tolist(), held[chosen].tolist(), strict=True)))
    made = NativeHistogram(
        schema,
        count,
        total,
        float(upper[zero].max(initial=0.0)),
        float(held[zero].sum()),
        sides[0],
        sides[1],
    )
    return made.coarser(_FINEST) if schema > _FINEST else made


def _schema(lower: Floats, upper: Floats) -> int:
    """Return the schema of which there are buckets; the finest if all are empty but that of zero."""
    near, far = np.minimum(abs(lower), abs(upper)), np.maximum(abs(lower), abs(upper))
    # A bound that no double can be is no power any more.
    normal = (near >= np.finfo(np.float64).tiny) & np.isfinite(far) & (lower != -upper)
    if not normal.any():
        return _FINEST
    at = int(np.argmax(normal))
    return round(-math.log2(math.log2(far[at] / near[at])))
