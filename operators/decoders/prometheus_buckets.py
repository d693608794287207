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
def read_buckets(  # noqa: PLR0914
    valid: Any,
    is_float: Any,
    no_sum: Any,
    count: Any,
    zero: Any,
    bounds: Any,
    low_starts: Any,
    low_gaps: Any,
    low_lengths: Any,
    low_delta_starts: Any,
    low_deltas: Any,
    low_count_starts: Any,
    low_counts: Any,
    starts: Any,
    gaps: Any,
    lengths: Any,
    delta_starts: Any,
    deltas: Any,
    count_starts: Any,
    counts: Any,
) -> Any:
    """Return the buckets that hold something, of each histogram from below zero to above.

    Args:
        valid: whether to read the histogram at all; what turns out not to be valid is unset.
        is_float: whether it has counts, and not deltas.
        no_sum: whether its sum is NaN, so that not every observation is in a bucket.
        count: its number of observations.
        zero: the number in its zero bucket.
        bounds: its number of custom bounds, -1 if its buckets are exponential.
        low_starts: where the spans of negative buckets of each histogram begin.
        low_gaps: the offsets of these spans.
        low_lengths: their lengths.
        low_delta_starts: where its deltas begin.
        low_deltas: each the difference from the bucket before.
        low_count_starts: where its counts begin.
        low_counts: the absolute counts.
        starts: from here on, the same of the positive buckets.
        gaps: as above.
        lengths: as above.
        delta_starts: as above.
        deltas: as above.
        count_starts: as above.
        counts: as above.

    Returns:
        The histogram, the side (-1, 0, 1), the index and the weight of each bucket.
    """
    most = len(valid) + len(low_deltas) + len(low_counts) + len(deltas) + len(counts)
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
        size, below = _read_side(
            row, is_float[row], limit, np.int64(-1), low_starts, low_gaps, low_lengths,
            low_delta_starts, low_deltas, low_count_starts, low_counts, index, weight, size,
        )  # fmt: skip
        index[begin:size] = index[begin:size][::-1].copy()
        weight[begin:size] = weight[begin:size][::-1].copy()
        side[begin:size] = -1
        if zero[row] > 0:
            side[size], index[size], weight[size] = 0, 0, zero[row]
            size += 1
        above_zero = size
        size, above = _read_side(
            row, is_float[row], limit, bounds[row], starts, gaps, lengths,
            delta_starts, deltas, count_starts, counts, index, weight, size,
        )  # fmt: skip
        side[above_zero:size] = 1
        histogram[begin:size] = row
        if below == _INVALID or above == _INVALID:
            valid[row] = False
        elif not is_float[row]:
            # Each is at most ``count``, so taking them away one by one cannot overflow.
            rest = count[row] - below - zero[row] - above
            valid[row] = rest == 0 or (no_sum[row] and rest > 0)
        if not valid[row]:
            size = begin
    return histogram[:size], side[:size], index[:size], weight[:size]


@njit(cache=True, nogil=True)
def _read_side(
    row: Any,
    is_float: Any,
    limit: Any,
    bounds: Any,
    starts: Any,
    gaps: Any,
    lengths: Any,
    delta_starts: Any,
    deltas: Any,
    count_starts: Any,
    counts: Any,
    index: Any,
    weight: Any,
    size: Any,
) -> Any:
    """Append the buckets of one side; return the new size and the total, -1 if it is invalid."""
    if is_float:
        at, end = count_starts[row], count_starts[row + 1]
    else:
        at, end = delta_starts[row], delta_starts[row + 1]
    position = np.int64(0)
    value = np.int64(0)
    total = np.int64(0)
    for span in range(starts[row], starts[row + 1]):
        gap, length = np.int64(gaps[span]), np.int64(lengths[span])
        # The first exponential span begins anywhere, every other one after the one before.
        if gap < 0 and (bounds >= 0 or span > starts[row]):
            return size, _INVALID
        if length > end - at:
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
