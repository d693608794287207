"""Spans and deltas of native histograms, compiled: a loop over every bucket of a poll."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

__all__ = ["LARGEST_COUNT", "read_buckets"]

LARGEST_COUNT: Final = 1 << 62
"""The largest count of observations that is believed: sums of two fit an int64."""

_INVALID: Final = -1


@njit(cache=True, nogil=True)
def read_buckets(
    valid: Any,
    is_float: Any,
    no_sum: Any,
    count: Any,
    zero: Any,
    bounds: Any,
    below: Any,
    above: Any,
) -> Any:
    """Return the buckets that hold something, of each histogram from below zero to above.

    Args:
        valid: whether to read the histogram at all; what turns out not to be valid is unset.
        is_float: whether it has counts, and not deltas.
        no_sum: whether its sum is NaN, so that not every observation is in a bucket.
        count: its number of observations.
        zero: the number in its zero bucket.
        bounds: its number of custom bounds, -1 if its buckets are exponential.
        below: its negative buckets: where the spans of each histogram begin, their offsets, their
            lengths; where its deltas begin, the deltas; where its counts begin, the counts.
        above: the same of its positive buckets.

    Returns:
        The histogram, the side (-1, 0, 1), the index and the weight of each bucket.
    """
    most = len(valid) + len(below[4]) + len(below[6]) + len(above[4]) + len(above[6])
    histogram = np.empty(most, np.int64)
    side = np.empty(most, np.int8)
    index = np.empty(most, np.int64)
    weight = np.empty(most, np.int64)
    size = 0
    for row in range(len(valid)):
        if not valid[row]:
            continue
        begin = size
        limit = LARGEST_COUNT if is_float[row] else count[row]
        size, low = _read_side(row, is_float[row], limit, np.int64(-1), below, index, weight, size)
        index[begin:size] = index[begin:size][::-1].copy()
        weight[begin:size] = weight[begin:size][::-1].copy()
        side[begin:size] = -1
        if zero[row] > 0:
            side[size], index[size], weight[size] = 0, 0, zero[row]
            size += 1
        middle = size
        size, high = _read_side(row, is_float[row], limit, bounds[row], above, index, weight, size)
        side[middle:size] = 1
        histogram[begin:size] = row
        if min(low, high) == _INVALID:
            valid[row] = False
        elif not is_float[row]:
            # None is larger than ``count``, so taking them away cannot overflow.
            rest = count[row] - low - zero[row] - high
            valid[row] = rest == 0 or (no_sum[row] and rest > 0)
        if not valid[row]:
            size = begin
    return histogram[:size], side[:size], index[:size], weight[:size]


@njit(cache=True, nogil=True)
def _read_side(
    row: Any, is_float: Any, limit: Any, bounds: Any, side: Any, index: Any, weight: Any, size: Any
) -> Any:
    """Append the buckets of one side; return the new size and the total, -1 if it is invalid."""
    starts, gaps, lengths, delta_starts, deltas, count_starts, counts = side
    at, end = delta_starts[row], delta_starts[row + 1]
    if is_float:
        at, end = count_starts[row], count_starts[row + 1]
    position = np.int64(0)
    value = np.int64(0)
    total = np.int64(0)
    for span in range(starts[row], starts[row + 1]):
        gap, length = np.int64(gaps[span]), np.int64(lengths[span])
        # The first exponential span begins anywhere, every other one after the one before.
        backwards = gap < 0 and (bounds >= 0 or span > starts[row])
        if backwards or length > end - at:
            return size, _INVALID
        position += gap
        for _ in range(length):
            if is_float:
                if not 0 <= counts[at] <= limit:
                    return size, _INVALID
                value = np.int64(np.rint(counts[at]))
            else:
                value += deltas[at]
                if value < 0 or value > limit - total:
                    return size, _INVALID
                total += value
            if value > 0:
                index[size], weight[size] = position, value
                size += 1
            at += 1
            position += 1
    if at != end or (bounds >= 0 and position > bounds + 1):
        return size, _INVALID
    return size, total
