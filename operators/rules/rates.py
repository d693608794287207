"""``rate``, ``increase``, ``delta``, ``irate`` and ``idelta``, as Prometheus extrapolates them."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from operators.rules.frame import Bools, Floats

__all__ = ["extrapolated", "instant"]

Longs = NDArray[np.int64]


@njit(cache=True, nogil=True, error_model="numpy")
def extrapolated(
    ts: Longs,
    values: Floats,
    low: Longs,
    high: Longs,
    start: int,
    end: int,
    counter: bool,
    per_second: bool,
) -> tuple[Floats, Bools]:
    """Return the change over a range of each series, extrapolated to its bounds.

    The samples of a series are ``low`` to before ``high``; ``start`` and ``end`` are in ms. Of a
    ``counter``, a value less than the one before it is a reset. What is closer to a bound than
    1.1 sampling intervals reaches it; else half an interval is added. A counter does not become
    negative that way.
    """
    result = np.zeros(len(low))
    present = np.zeros(len(low), np.bool_)
    seconds = (end - start) / 1000.0
    for i in range(len(low)):
        a = low[i]
        b = high[i]
        if b - a < 2:
            continue
        first = values[a]
        change = values[b - 1] - first
        if counter:
            before = first
            for k in range(a + 1, b):
                if values[k] < before:
                    change += before
                before = values[k]
        to_start = (ts[a] - start) / 1000.0
        to_end = (end - ts[b - 1]) / 1000.0
        sampled = (ts[b - 1] - ts[a]) / 1000.0
        average = sampled / (b - a - 1)
        threshold = average * 1.1
        if to_start >= threshold:
            to_start = average / 2
        if counter and change > 0 and first >= 0:
            to_zero = sampled * (first / change)
            to_start = min(to_start, to_zero)
        if to_end >= threshold:
            to_end = average / 2
        factor = (sampled + to_start + to_end) / sampled
        if per_second:
            factor /= seconds
        result[i] = change * factor
        present[i] = True
    return result, present


@njit(cache=True, nogil=True, error_model="numpy")
def instant(
    ts: Longs, values: Floats, low: Longs, high: Longs, counter: bool
) -> tuple[Floats, Bools]:
    """Return the change between the last two samples of each series, of a counter per second."""
    result = np.zeros(len(low))
    present = np.zeros(len(low), np.bool_)
    for i in range(len(low)):
        b = high[i]
        if b - low[i] < 2:
            continue
        last = values[b - 1]
        before = values[b - 2]
        change = last
        if not (counter and last < before):
            change = last - before
        if counter:
            change /= (ts[b - 1] - ts[b - 2]) / 1000.0
        result[i] = change
        present[i] = True
    return result, present
