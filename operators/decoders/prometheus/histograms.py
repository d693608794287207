"""Prometheus's native histograms, from spans and deltas to the bounds and weights of buckets.

What is valid is what Prometheus itself accepts (``Validate`` of its ``model/histogram``), and the
layout is that of its specification of native histograms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from operators.columns.nested import combine_hashes, offsets, owners
from operators.contracts.decoder import Buckets
from operators.contracts.distributions import NO_DISTRIBUTIONS, Distributions, exponential_bounds
from operators.contracts.frames import POINTS, empty
from operators.decoders.prometheus.buckets import LARGEST_COUNT, read_buckets
from operators.decoders.prometheus.metrics import (
    GAUGE_HISTOGRAM,
    SeriesColumns,
    Skipped,
    count_reasons,
    is_stale,
    nanoseconds,
)

__all__ = ["HistogramColumns", "histograms_of"]

_CUSTOM: Final = -53
_COARSEST, _FINEST = -4, 8
_GAUGE: Final = 3  # a reset hint
_MARK: Final = np.uint64(0x9F54D6E1C0B3A785)  # keeps a series' histograms apart from its samples
_END: Final = np.uint64(0xE7037ED1A0B428DB)  # and its ends, which are described as samples are
_FEW: Final = 256
_PARTS: Final = ("spans", "deltas", "counts")


@dataclass(frozen=True, slots=True)
class FilledBuckets:
    """Buckets that hold something, sorted by histogram: one element a bucket in every array.

    ``side`` is -1 for negative values, 0 for the zero bucket, and 1.
    """

    histogram: NDArray[np.int64]
    side: NDArray[np.int8]
    index: NDArray[np.int64]
    weight: NDArray[np.int64]

    def of(self, wanted: NDArray[np.bool_]) -> FilledBuckets:
        """Return the buckets of the histograms that are wanted."""
        rows = np.flatnonzero(wanted[self.histogram])
        return FilledBuckets(
            self.histogram[rows], self.side[rows], self.index[rows], self.weight[rows]
        )


@dataclass(frozen=True, slots=True)
class HistogramColumns:
    """The native histograms of a poll.

    Attributes:
        distributions: those that can be used.
        owner: the row in ``SeriesColumns`` of each.
        skipped: the others, by reason.
        ends: a POINTS frame of those that only say that their series ended.
        of_end: the row in ``SeriesColumns`` of each end.
        buckets: gives all buckets of those with custom ones.
    """

    distributions: Distributions = NO_DISTRIBUTIONS
    owner: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    skipped: Skipped = field(default_factory=dict)
    ends: pl.DataFrame = field(default_factory=lambda: empty(POINTS))
    of_end: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    buckets: Callable[[NDArray[np.intp]], Buckets] | None = None


def histograms_of(series: SeriesColumns, lists: pa.ListArray) -> HistogramColumns:
    """Return the cumulative histograms of all series.

    Args:
        series: the series.
        lists: the native histograms of each.
    """
    histograms = lists.values
    if len(histograms) == 0:
        return HistogramColumns()
    owner = owners(lists)
    sums = np.asarray(histograms.field("sum"))
    milliseconds = np.asarray(histograms.field("timestamp"))
    schema = np.asarray(histograms.field("schema"))
    custom = schema == _CUSTOM
    count, valid, buckets = _buckets(histograms, custom, sums)

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
    ended = np.flatnonzero(
        reasons["stale"] & ~reasons["no_name"] & ~reasons["no_time"] & ~series.refused[owner]
    )
    if len(kept) < len(owner):
        buckets = buckets.of(~unusable)
    lower, upper = _bounds(histograms, custom, buckets)
    rows = (np.cumsum(~unusable) - 1)[buckets.histogram]
    weight = buckets.weight
    order = _order(rows, lower, upper)
    if order is not None:
        lower, upper, weight = lower[order], upper[order], weight[order]

    start = series.created[owner]
    own = np.asarray(histograms.field("start_timestamp"))
    start = np.where(own > 0, own, start)[kept]
    of_end, owner = owner[ended], owner[kept]
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
        exponential=~custom[kept],
        offsets=np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(kept)))]),
        lower=lower,
        upper=upper,
        weight=weight,
    )
    ends = pl.DataFrame(
        {
            "message": series.message[of_end],
            "raw": combine_hashes(series.hashes[of_end], np.full(len(of_end), _END)),
            "ts": nanoseconds(milliseconds[ended]),
            "start": np.zeros(len(ended), np.int64),
            "value": sums[ended],
        },
        schema=POINTS,
    )
    whole = partial(_whole_buckets, histograms.field("custom_values"), kept, buckets)
    return HistogramColumns(
        distributions, owner, skipped, ends, of_end, whole if custom[kept].any() else None
    )


def _whole_buckets(
    values: pa.ListArray, kept: NDArray[np.intp], buckets: FilledBuckets, rows: NDArray[np.intp]
) -> Buckets:
    """Return all buckets of histograms with custom ones, at some rows of those that are kept."""
    at = kept[rows]
    starts = offsets(values)
    bounds = np.diff(starts)[at]
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(bounds + 1)])
    upper = np.full(int(ends[-1]), np.inf)
    within = np.arange(int(bounds.sum())) - np.repeat(np.cumsum(bounds) - bounds, bounds)
    upper[np.repeat(ends[:-1], bounds) + within] = np.asarray(values.values)[
        np.repeat(starts[:-1][at], bounds) + within
    ]
    place = np.full(len(values), -1)
    place[at] = np.arange(len(at))
    mine = np.flatnonzero(place[buckets.histogram] >= 0)
    count = np.zeros(len(upper), np.int64)
    count[ends[place[buckets.histogram[mine]]] + buckets.index[mine]] = buckets.weight[mine]
    total = np.concatenate([np.zeros(1, np.int64), np.cumsum(count)])
    below = total[1:] - np.repeat(total[ends[:-1]], bounds + 1)
    return Buckets(ends, upper, below)


def _buckets(
    histograms: pa.StructArray, custom: NDArray[np.bool_], sums: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_], FilledBuckets]:
    """Return the count of each histogram, whether it is valid, and the buckets of the valid."""
    # A float histogram is one that says its count as a float, as in Prometheus.
    is_float = np.asarray(histograms.field("count_float").is_valid())
    count, countable = _whole(histograms, "count", is_float)
    zero, zero_countable = _whole(histograms, "zero_count", is_float)
    threshold = np.asarray(histograms.field("zero_threshold"))
    bounds = histograms.field("custom_values")
    size = np.diff(offsets(bounds))
    nothing_negative = np.logical_and.reduce(
        [np.diff(offsets(histograms.field(f"negative_{part}"))) == 0 for part in _PARTS]
    )
    # What a schema has no use for must not be there.
    valid = countable & zero_countable
    valid &= np.where(
        custom,
        (zero == 0) & (threshold == 0) & nothing_negative & _rising(offsets(bounds), bounds.values),
        (size == 0) & (threshold >= 0) & np.isfinite(threshold),
    )
    buckets = read_buckets(
        valid,
        is_float,
        np.isnan(sums),
        count,
        zero,
        np.where(custom, size, -1),
        _side(histograms, "negative"),
        _side(histograms, "positive"),
    )
    return count, valid, FilledBuckets(*buckets)


def _whole(
    histograms: pa.StructArray, field: str, is_float: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return counts as whole numbers, and which of them are counts at all."""
    floats = np.asarray(histograms.field(f"{field}_float").fill_null(0))
    integers = np.asarray(histograms.field(f"{field}_int").fill_null(0))
    valid = np.where(
        is_float, (floats >= 0) & (floats <= LARGEST_COUNT), integers <= np.uint64(LARGEST_COUNT)
    )
    rounded = np.rint(np.where(valid & is_float, floats, 0)).astype(np.int64)
    return np.where(is_float, rounded, np.where(valid, integers, 0).astype(np.int64)), valid


def _rising(starts: NDArray[np.int64], values: pa.Array) -> NDArray[np.bool_]:
    """Return for each list whether its values rise, and end before infinity."""
    numbers = np.asarray(values)
    falls = ~(numbers < np.inf)  # NaN, too
    falls[1:] |= ~(numbers[1:] > numbers[:-1]) & ~np.isin(np.arange(1, len(numbers)), starts)
    rising: NDArray[np.bool_] = np.diff(np.concatenate([[0], np.cumsum(falls)])[starts]) == 0
    return rising


def _side(histograms: pa.StructArray, side: str) -> tuple[NDArray[Any], ...]:
    """Return the spans, deltas and counts of one side of zero as the kernel takes them."""
    spans, deltas, counts = (histograms.field(f"{side}_{part}") for part in _PARTS)
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
    histograms: pa.StructArray, custom: NDArray[np.bool_], buckets: FilledBuckets
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the bounds of each bucket.

    Bucket ``i`` ends at ``base ** i``: it is bucket ``i - 1`` of OpenTelemetry, which begins
    there. Custom bucket ``i`` ends at the custom value ``i``.
    """
    at, side, index = buckets.histogram, buckets.side, buckets.index
    own = custom[at]
    near, far = _ends(np.where(own, 0, np.asarray(histograms.field("schema"))[at]), index)
    threshold = np.asarray(histograms.field("zero_threshold"))[at]
    below, zero = side < 0, side == 0
    lower = np.select([zero, below], [0.0 - threshold, -far], near)
    upper = np.select([zero, below], [threshold, -near], far)
    if own.any():
        values = histograms.field("custom_values")
        starts = offsets(values)
        # After the last value of each histogram is infinity, which ends its last bucket.
        numbers = np.insert(np.asarray(values.values), starts[1:], np.inf)
        place = starts[at[own]] + at[own] + index[own]
        lower[own] = np.where(index[own] == 0, -np.inf, numbers[place - 1])
        upper[own] = numbers[place]
    return lower, upper


def _ends(
    scale: NDArray[np.int32], index: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where the bucket before each one ends, and where it ends itself.

    The buckets of a poll are many, and those of one scale the same few again and again.
    """
    near, far = np.empty(len(index)), np.empty(len(index))
    for one in range(_COARSEST, _FINEST + 1):
        rows = np.flatnonzero(scale == one)
        if not len(rows):
            continue
        at = index[rows]
        least, most = int(at.min()) - 1, int(at.max())
        if most - least > len(rows) + _FEW:
            near[rows], far[rows] = exponential_bounds(one, at - 1), exponential_bounds(one, at)
            continue
        ends = exponential_bounds(one, np.arange(least, most + 1))
        near[rows], far[rows] = ends[at - 1 - least], ends[at - least]
    return near, far


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
