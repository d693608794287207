"""Prometheus's native histograms, from spans and deltas to the bounds and weights of buckets.

What is valid is what Prometheus itself accepts (``Validate`` of its ``model/histogram``), and the
layout is that of its specification of native histograms.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from operators.decoders.nested import combine_hashes, offsets, owners
from operators.decoders.prometheus_metrics import (
    GAUGE_HISTOGRAM,
    SeriesColumns,
    Skipped,
    count_reasons,
    is_stale,
    nanoseconds,
)
from operators.distributions import NO_DISTRIBUTIONS, Distributions, exponential_bounds

__all__ = ["histograms_of"]

_CUSTOM: Final = -53
_COARSEST, _FINEST = -4, 8
_GAUGE: Final = 3  # a reset hint
_MARK: Final = np.uint64(0x9F54D6E1C0B3A785)  # keeps a series' histograms apart from its samples
_NEGATIVE, _ZERO, _POSITIVE = np.int8(-1), np.int8(0), np.int8(1)
_LARGEST: Final = 2.0**62


def histograms_of(
    series: SeriesColumns, lists: pa.ListArray
) -> tuple[Distributions, NDArray[np.intp], Skipped]:
    """Return the cumulative histograms of all series.

    Args:
        series: the series.
        lists: the native histograms of each.

    Returns:
        The distributions; the row in ``series`` of each; the histograms that are not among them,
        by reason.
    """
    histograms = lists.values
    if len(histograms) == 0:
        return NO_DISTRIBUTIONS, np.empty(0, np.intp), {}
    owner = owners(lists)
    sums = np.asarray(histograms.field("sum"))
    milliseconds = np.asarray(histograms.field("timestamp"))
    schema = np.asarray(histograms.field("schema"))
    custom = schema == _CUSTOM
    count, valid, segments = _buckets(histograms, custom, sums)

    gauge = (np.asarray(histograms.field("reset_hint")) == _GAUGE) | (
        series.type[owner] == GAUGE_HISTOGRAM
    )
    reasons = {
        "no_name": ~series.named[owner],
        "stale": is_stale(sums),
        "gauge_histogram": gauge,
        "no_time": milliseconds <= 0,
        "unsupported_schema": ~custom & ((schema < _COARSEST) | (schema > _FINEST)),
        "malformed_histogram": ~valid,
    }
    unusable = np.logical_or.reduce([series.refused[owner], *reasons.values()])
    skipped = count_reasons(reasons, ~series.refused[owner])
    kept = np.flatnonzero(~unusable)
    new_row = np.full(len(owner), -1)
    new_row[kept] = np.arange(len(kept))
    at, side, index, weight = segments
    rows = new_row[at]
    wanted = np.flatnonzero(rows >= 0)
    at, side, index, weight, rows = at[wanted], side[wanted], index[wanted], weight[wanted], rows[wanted]
    lower, upper = _bounds(histograms, custom, at, side, index)
    order = _order(rows, lower, upper)
    if order is not None:
        lower, upper, weight = lower[order], upper[order], weight[order]

    start = series.created[owner]
    own = np.asarray(histograms.field("start_timestamp"))
    start = np.where(own > 0, own, start)[kept]
    owner = owner[kept]
    unknown = np.full(len(kept), np.nan)
    distributions = Distributions(
        message=series.message[owner],
        raw=combine_hashes(series.hashes[owner], np.full(len(owner), _MARK)),
        ts=nanoseconds(milliseconds[kept]),
        start=nanoseconds(start),
        count=count[kept],
        # A histogram that observed NaN or infinities has no sum, and its buckets are good.
        sum=np.where(np.isfinite(sums[kept]), sums[kept], np.nan),
        min=unknown,
        max=unknown,
        offsets=np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(kept)))]),
        lower=lower,
        upper=upper,
        weight=weight,
    )
    return distributions, owner, skipped


Segments = tuple[NDArray[np.int64], NDArray[np.int8], NDArray[np.int64], NDArray[np.int64]]
"""Buckets that hold something: the histogram, the side of zero, the index there, the weight."""


def _buckets(
    histograms: pa.StructArray, custom: NDArray[np.bool_], sums: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_], Segments]:
    """Return the count of each histogram, whether it is valid, and the buckets of the valid."""
    # A float histogram is one that says its count as a float, as in Prometheus.
    is_float = np.asarray(histograms.field("count_float").is_valid())
    integer = np.asarray(histograms.field("count_int").fill_null(0))
    count, valid = _whole(is_float, integer, np.asarray(histograms.field("count_float").fill_null(0)))
    zero, fine = _whole(
        is_float,
        np.asarray(histograms.field("zero_count_int").fill_null(0)),
        np.asarray(histograms.field("zero_count_float").fill_null(0)),
    )
    threshold = np.asarray(histograms.field("zero_threshold"))
    negative = histograms.field("negative_spans")
    values, ordered = histograms.field("custom_values"), np.empty(0, np.bool_)
    bounds = np.asarray(values.values)
    sizes = np.diff(offsets(values))
    ordered = _ordered(offsets(values), bounds)
    # Where the schema has no use for a field, it must be empty.
    none_negative = np.diff(offsets(negative)) + np.diff(
        offsets(histograms.field("negative_deltas"))
    ) + np.diff(offsets(histograms.field("negative_counts"))) == 0
    valid &= fine & np.where(
        custom,
        (zero == 0) & (threshold == 0) & none_negative & ordered,
        (sizes == 0) & (threshold >= 0) & np.isfinite(threshold),
    )
    found = _segments(
        valid,
        is_float,
        np.isnan(sums),
        count,
        zero,
        np.where(custom, sizes, -1),
        *_side(histograms, "negative"),
        *_side(histograms, "positive"),
    )
    return count, valid, found


def _whole(
    is_float: NDArray[np.bool_], integers: NDArray[np.uint64], floats: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return counts as whole numbers, and which of them are any."""
    valid = np.where(
        is_float, (floats >= 0) & (floats <= _LARGEST), integers <= np.uint64(_LARGEST)
    )
    rounded = np.rint(np.where(valid & is_float, floats, 0)).astype(np.int64)
    return np.where(is_float, rounded, np.where(valid, integers, 0).astype(np.int64)), valid


def _side(histograms: pa.StructArray, side: str) -> tuple[NDArray[np.generic], ...]:
    """Return the buckets of one side of zero as the kernel takes them."""
    spans = histograms.field(f"{side}_spans")
    deltas = histograms.field(f"{side}_deltas")
    counts = histograms.field(f"{side}_counts")
    return (
        offsets(spans),
        np.asarray(spans.values.field("offset")),
        np.asarray(spans.values.field("length")),
        offsets(deltas),
        np.asarray(deltas.values),
        offsets(counts),
        np.asarray(counts.values),
    )


def _bounds(
    histograms: pa.StructArray,
    custom: NDArray[np.bool_],
    at: NDArray[np.int64],
    side: NDArray[np.int8],
    index: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the bounds of each bucket.

    Bucket ``i`` ends at ``base ** i``: it is bucket ``i - 1`` of OpenTelemetry, which begins
    there. Custom bucket ``i`` ends at the custom value ``i``.
    """
    schema = np.asarray(histograms.field("schema"))[at]
    own = custom[at]
    scale = np.where(own, 0, schema)
    near = exponential_bounds(scale, index - 1)
    far = exponential_bounds(scale, index)
    threshold = np.asarray(histograms.field("zero_threshold"))[at]
    lower = np.select([side == _ZERO, side == _NEGATIVE], [0.0 - threshold, -far], near)
    upper = np.select([side == _ZERO, side == _NEGATIVE], [threshold, -near], far)
    if own.any():
        values = histograms.field("custom_values")
        # An infinity before the first and after the last value of each histogram, as it reads.
        starts = offsets(values)
        numbers = np.insert(np.asarray(values.values), starts[1:], np.inf)
        place = starts[:-1][at] + at + index
        size = np.diff(starts)[at]
        index = np.where(own, np.clip(index, 0, size), 0)
        place = starts[:-1][at] + at + index
        lower = np.where(own, np.where(index == 0, -np.inf, numbers[place - 1]), lower)
        upper = np.where(own, numbers[place], upper)
    return lower, upper


def _order(
    rows: NDArray[np.int64], lower: NDArray[np.float64], upper: NDArray[np.float64]
) -> NDArray[np.intp] | None:
    """Return how to sort the buckets of each histogram, None if they are.

    They are, but where the zero bucket reaches into others.
    """
    falls = (lower[1:] < lower[:-1]) | ((lower[1:] == lower[:-1]) & (upper[1:] < upper[:-1]))
    if not (falls & (rows[1:] == rows[:-1])).any():
        return None
    return np.lexsort((upper, lower, rows))
