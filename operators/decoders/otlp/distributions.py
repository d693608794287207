"""Data points of OTLP's histograms and summaries, judged and laid out as ``Distributions``.

Both encodings write them down in the same way: a record a point, whose buckets are ranges of two
arrays that all points share. What the comments of OTLP's metrics.proto forbid is ``malformed``:
buckets that do not add up to the count, bounds that do not rise, quantiles outside of 0 to 1. So
is what no double can be in: a bucket beyond its range that is not empty.
"""

# ruff: noqa: PLR0912 -- one loop lays out three shapes

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.scanning import compiled
from operators.contracts.decoder import NO_ENDS, Buckets, Ends
from operators.contracts.distributions import NO_DISTRIBUTIONS, Distributions, exponential_bounds

__all__ = [
    "DISTRIBUTION",
    "EXPLICIT",
    "EXPONENTIAL",
    "QUANTILES",
    "UNREADABLE",
    "buckets_of",
    "distributions_of",
    "ends_of",
]

EXPLICIT: Final = 0
EXPONENTIAL: Final = 1
QUANTILES: Final = 2

UNREADABLE: Final = 2**64 - 1
"""A count that is no number; being larger than any that is allowed, it is malformed."""

DISTRIBUTION: Final = np.dtype(
    [
        ("shape", np.int64),  # EXPLICIT, EXPONENTIAL or QUANTILES
        ("message", np.uint32),
        ("flags", np.uint32),
        ("raw", np.uint64),
        ("metric", np.int64),  # row among those of the poll
        ("ts", np.uint64),
        ("start", np.uint64),
        ("count", np.uint64),
        ("sum", np.float64),  # NaN where it is absent, as min and max
        ("min", np.float64),
        ("max", np.float64),
        ("positive", np.int64),  # counts of all buckets, or of those above zero
        ("positive_end", np.int64),
        ("negative", np.int64),
        ("negative_end", np.int64),
        ("numbers", np.int64),  # bounds; or quantiles, each with its value behind it
        ("numbers_end", np.int64),
        ("scale", np.int64),
        ("zero_count", np.uint64),
        ("zero_threshold", np.float64),
        ("positive_offset", np.int64),  # index of the first bucket
        ("negative_offset", np.int64),
    ]
)
"""One data point, as its producer tells it."""

_FINE: Final = 0
_STALE: Final = 1
_MALFORMED: Final = 2
_NO_TIME: Final = 3
_REASONS: Final = {_STALE: "stale", _MALFORMED: "malformed", _NO_TIME: "no_time"}

_NO_RECORDED_VALUE: Final = 1  # bit of the flags: a staleness marker
_COARSEST: Final = -10
_FINEST: Final = 20
_LATEST: Final = np.uint64(2**63 - 1)
_LARGEST_EXPONENT: Final = 1024  # 2**1024 is past all doubles
_SMALLEST_EXPONENT: Final = -1075  # 2**-1075 rounds to 0


def distributions_of(
    found: NDArray[Any], counts: NDArray[np.uint64], numbers: NDArray[np.float64]
) -> tuple[Distributions, NDArray[np.intp], dict[str, int]]:
    """Return the data points that can be used.

    Args:
        found: DISTRIBUTION records.
        counts: of buckets; the records say whose.
        numbers: bounds, or quantiles and their values; the records say whose.

    Returns:
        The data points; the row in ``found`` of each; how many others there are, by reason.
    """
    if not len(found):
        return NO_DISTRIBUTIONS, np.empty(0, np.intp), {}
    reasons = np.zeros(len(found), np.uint8)
    sizes = np.zeros(len(found), np.int64)
    buckets = _judge(found, counts, numbers, reasons, sizes)
    tally = np.bincount(reasons, minlength=_NO_TIME + 1)
    skipped = {name: int(tally[reason]) for reason, name in _REASONS.items() if tally[reason]}
    kept = np.flatnonzero(reasons == _FINE)
    records = found[kept]

    scale, index = np.empty((2, buckets), np.int64)
    _index_buckets(records, counts, scale, index)
    low, high = exponential_bounds(scale, index), exponential_bounds(scale, index + 1)
    offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes[kept])))
    lower, upper = np.empty((2, int(offsets[-1])))
    weight = np.zeros(int(offsets[-1]), np.int64)
    _lay_out(records, counts, numbers, low, high, offsets, lower, upper, weight)
    return (
        Distributions(
            message=np.ascontiguousarray(records["message"]),
            raw=np.ascontiguousarray(records["raw"]),
            # Past 2262 an int64 would turn negative; such a time is refused as future all the same.
            ts=np.minimum(records["ts"], _LATEST).view(np.int64),
            start=np.minimum(records["start"], _LATEST).view(np.int64),
            count=records["count"].astype(np.int64),
            sum=_finite(records["sum"]),
            min=_finite(records["min"]),
            max=_finite(records["max"]),
            exponential=records["shape"] == EXPONENTIAL,
            offsets=offsets,
            lower=lower,
            upper=upper,
            weight=weight,
        ),
        kept,
        skipped,
    )


def buckets_of(
    found: NDArray[Any],
    kept: NDArray[np.intp],
    counts: NDArray[np.uint64],
    numbers: NDArray[np.float64],
    rows: NDArray[np.intp],
) -> Buckets:
    """Return all buckets of the explicit histograms at ``rows`` of the data points that were kept.

    The other arguments are those of ``distributions_of``, and what it gave.
    """
    records = found[kept[rows]]
    bounds = records["numbers_end"] - records["numbers"]
    # An infinite bound is the end already.
    last = numbers[np.maximum(records["numbers_end"] - 1, 0)] if len(numbers) else np.zeros(0)
    infinite = (bounds > 0) & np.isposinf(last if len(numbers) else np.zeros(len(records)))
    sizes = bounds + 1 - infinite
    offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
    upper = np.full(int(offsets[-1]), np.inf)
    count = np.zeros(int(offsets[-1]), np.int64)
    _fill_buckets(records, counts, numbers, offsets, upper, count)
    return Buckets(offsets, upper, count)


def ends_of(
    found: NDArray[Any], counts: NDArray[np.uint64], numbers: NDArray[np.float64]
) -> tuple[Ends, NDArray[np.intp]]:
    """Return the data points that say that their series ended, and the row in ``found`` of each.

    The arguments are those of ``distributions_of``.
    """
    ended = (found["flags"] & np.uint32(_NO_RECORDED_VALUE)) != 0
    rows = np.flatnonzero(ended & (found["ts"] != 0)) if ended.any() else np.empty(0, np.intp)
    if not len(rows):
        return NO_ENDS, rows
    records = found[rows]
    explicit = np.flatnonzero(records["shape"] == EXPLICIT)
    summary = records["shape"] == QUANTILES
    told = records["numbers_end"] - records["numbers"]
    whole = buckets_of(found, rows, counts, numbers, explicit)
    sizes = np.where(summary, told // 2, 0)
    sizes[explicit] = np.diff(whole.offsets)
    offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
    owner = np.repeat(np.arange(len(rows)), sizes)
    within = np.arange(len(owner)) - offsets[owner]
    bounds = np.empty(len(owner))
    of_summary = summary[owner]
    bounds[~of_summary] = whole.upper
    first = records["numbers"][owner[of_summary]]
    bounds[of_summary] = numbers[first + 2 * within[of_summary]]
    ends = Ends(
        np.ascontiguousarray(records["message"]),
        np.ascontiguousarray(records["raw"]),
        np.minimum(records["ts"], _LATEST).view(np.int64),
        records["shape"] == EXPONENTIAL,
        summary,
        offsets,
        bounds,
    )
    return ends, rows


@compiled
def _fill_buckets(
    records: NDArray[Any],
    counts: NDArray[np.uint64],
    numbers: NDArray[np.float64],
    offsets: NDArray[np.int64],
    upper: NDArray[np.float64],
    count: NDArray[np.int64],
) -> None:
    for i in range(len(records)):
        point = records[i]
        below = np.uint64(0)
        for number in range(offsets[i + 1] - offsets[i] - 1):
            if point.positive + number < point.positive_end:
                below += counts[point.positive + number]
            upper[offsets[i] + number] = numbers[point.numbers + number]
            count[offsets[i] + number] = np.int64(below)
        count[offsets[i + 1] - 1] = np.int64(point.count)


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return NaN, which says nothing, for what is infinite, with which nobody can reckon."""
    return np.where(np.isfinite(values), values, np.nan)


@compiled
def _judge(
    found: NDArray[Any],
    counts: NDArray[np.uint64],
    numbers: NDArray[np.float64],
    reasons: NDArray[np.uint8],
    sizes: NDArray[np.int64],
) -> int:
    """Note why a point can't be used, and how many segments each has that can.

    Returns the number of exponential buckets of those that can, the zero buckets aside.
    """
    buckets = 0
    for i in range(len(found)):
        point = found[i]
        if point.flags & np.uint32(_NO_RECORDED_VALUE):
            reasons[i] = _STALE
            continue
        size = 0
        if point.count > np.uint64(2**63 - 1):
            size = -1
        elif point.shape == EXPLICIT:
            size = _explicit_size(point, counts, numbers)
        elif point.shape == EXPONENTIAL:
            size = _exponential_size(point, counts)
        else:
            size = _quantiles_size(point, numbers)
        if size < 0:
            reasons[i] = _MALFORMED
        elif point.ts == np.uint64(0):
            reasons[i] = _NO_TIME
        else:
            sizes[i] = size
            if point.shape == EXPONENTIAL:
                buckets += size - (1 if point.zero_count else 0)
    return buckets


@compiled
def _explicit_size(point: Any, counts: NDArray[np.uint64], numbers: NDArray[np.float64]) -> int:
    """Return the number of buckets that are not empty, -1 if the point is malformed."""
    bounds = point.numbers_end - point.numbers
    if point.positive_end == point.positive and bounds == 0:
        return 1 if point.count else 0
    if point.positive_end - point.positive != bounds + 1:
        return -1
    size = 0
    rest = point.count
    lower = -np.inf
    for number in range(bounds + 1):
        upper = numbers[point.numbers + number] if number < bounds else np.inf
        # Only an infinite bound may equal its neighbour, the end: then nothing lies between.
        rises = lower < upper or (lower == upper and number in (0, bounds))
        count = counts[point.positive + number]
        if not rises or count > rest or (count and lower == upper):
            return -1
        rest -= count
        size += 1 if count else 0
        lower = upper
    return size if rest == np.uint64(0) else -1


@compiled
def _exponential_size(point: Any, counts: NDArray[np.uint64]) -> int:
    """Return the number of buckets that are not empty, -1 if the point is malformed."""
    if point.scale < _COARSEST or point.scale > _FINEST or point.zero_count > point.count:
        return -1
    if not (0 <= point.zero_threshold < np.inf):
        return -1
    size = 1 if point.zero_count else 0
    rest = point.count - point.zero_count
    # Exponents of the bounds count in units of 1 / 2**scale where the scale is positive.
    unit = np.int64(1) << max(point.scale, 0)
    coarser = max(-point.scale, 0)
    for side in range(2):
        begin, end, offset = (
            (point.negative, point.negative_end, point.negative_offset)
            if side
            else (point.positive, point.positive_end, point.positive_offset)
        )
        for place in range(begin, end):
            count = counts[place]
            if count > rest:
                return -1
            if count:
                index = offset + (place - begin)
                if index << coarser >= _LARGEST_EXPONENT * unit:
                    return -1
                if (index + 1) << coarser <= _SMALLEST_EXPONENT * unit:
                    return -1
                size += 1
            rest -= count
    return size if rest == np.uint64(0) else -1


@compiled
def _quantiles_size(point: Any, numbers: NDArray[np.float64]) -> int:
    """Return the number of quantiles with a value, -1 if the point is malformed."""
    size = 0
    before = -1.0
    for place in range(point.numbers, point.numbers_end, 2):
        quantile = numbers[place]
        if not (before < quantile and 0 <= quantile <= 1):
            return -1
        before = quantile
        # Of a summary of nothing, clients tell quantiles that are NaN.
        size += 1 if np.isfinite(numbers[place + 1]) else 0
    return size


@compiled
def _index_buckets(
    records: NDArray[Any],
    counts: NDArray[np.uint64],
    scale: NDArray[np.int64],
    index: NDArray[np.int64],
) -> None:
    """Write down the exponential buckets that are not empty, from the lowest one of each point."""
    to = 0
    for i in range(len(records)):
        point = records[i]
        if point.shape == EXPONENTIAL:
            for place in range(point.negative_end - 1, point.negative - 1, -1):
                if counts[place]:
                    scale[to] = point.scale
                    index[to] = point.negative_offset + (place - point.negative)
                    to += 1
            for place in range(point.positive, point.positive_end):
                if counts[place]:
                    scale[to] = point.scale
                    index[to] = point.positive_offset + (place - point.positive)
                    to += 1


@compiled
def _lay_out(
    records: NDArray[Any],
    counts: NDArray[np.uint64],
    numbers: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    offsets: NDArray[np.int64],
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
    weight: NDArray[np.int64],
) -> None:
    """Fill in the segments. ``low`` and ``high`` are those of the buckets as indexed."""
    bucket = 0
    for i in range(len(records)):
        point = records[i]
        to = offsets[i]
        if point.shape == QUANTILES:
            for place in range(point.numbers, point.numbers_end, 2):
                if np.isfinite(numbers[place + 1]):
                    lower[to], upper[to] = numbers[place], numbers[place + 1]
                    to += 1
        elif point.shape == EXPLICIT:
            bounds = point.numbers_end - point.numbers
            if point.positive_end == point.positive and point.count:
                lower[to], upper[to], weight[to] = -np.inf, np.inf, point.count
            for place in range(point.positive, point.positive_end):
                number = place - point.positive
                if counts[place]:
                    lower[to] = numbers[point.numbers + number - 1] if number else -np.inf
                    upper[to] = numbers[point.numbers + number] if number < bounds else np.inf
                    weight[to] = counts[place]
                    to += 1
        else:
            # 0.0 - x instead of -x: there is one zero only.
            zero = 0.0 - point.zero_threshold
            waiting = point.zero_count > np.uint64(0)
            for place in range(point.negative_end - 1, point.negative - 1, -1):
                if counts[place]:
                    begin, end = 0.0 - high[bucket], 0.0 - low[bucket]
                    if waiting and (zero < begin or (zero == begin and point.zero_threshold < end)):
                        lower[to], upper[to] = zero, point.zero_threshold
                        weight[to] = point.zero_count
                        waiting = False
                        to += 1
                    lower[to], upper[to], weight[to] = begin, end, counts[place]
                    bucket += 1
                    to += 1
            if waiting:
                lower[to], upper[to] = zero, point.zero_threshold
                weight[to] = point.zero_count
                to += 1
            for place in range(point.positive, point.positive_end):
                if counts[place]:
                    lower[to], upper[to], weight[to] = low[bucket], high[bucket], counts[place]
                    bucket += 1
                    to += 1
