"""Functions of the samples of a range: ``avg_over_time`` and its like, a compiled loop each.

Every one takes the samples of each series (``low`` to before ``high``) and gives a number for
those that have enough of them. Values are compared and added up in the order of time, as
Prometheus does it.
"""

# ruff: noqa: PLR0912, PLR0915, PLR0124 -- compiled loops; NaN is what is not equal to itself

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from operators.rules.frame import Bools, Floats
from operators.rules.sums import add

__all__ = [
    "FOLDS",
    "fold",
    "linear",
    "mad",
    "quantile",
    "smoothed",
]

Longs = NDArray[np.int64]

FOLDS = {
    name: number
    for number, name in enumerate(
        (
            "count_over_time",
            "sum_over_time",
            "avg_over_time",
            "min_over_time",
            "max_over_time",
            "last_over_time",
            "first_over_time",
            "present_over_time",
            "stdvar_over_time",
            "stddev_over_time",
            "changes",
            "resets",
            "ts_of_min_over_time",
            "ts_of_max_over_time",
            "ts_of_first_over_time",
            "ts_of_last_over_time",
        )
    )
}
(
    _COUNT, _SUM, _AVG, _MIN, _MAX, _LAST, _FIRST, _PRESENT, _STDVAR, _STDDEV, _CHANGES, _RESETS,
    _TS_MIN, _TS_MAX, _TS_FIRST, _TS_LAST,
) = range(16)  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def fold(ts: Longs, values: Floats, low: Longs, high: Longs, function: int) -> tuple[Floats, Bools]:
    """Return for each series what the function with this number of `FOLDS` gives."""
    result = np.zeros(len(low))
    present = np.zeros(len(low), np.bool_)
    for i in range(len(low)):
        a = low[i]
        b = high[i]
        if a >= b:
            continue
        present[i] = True
        if function == _COUNT:
            result[i] = b - a
        elif function == _PRESENT:
            result[i] = 1.0
        elif function == _LAST:
            result[i] = values[b - 1]
        elif function == _FIRST:
            result[i] = values[a]
        elif function == _SUM:
            total, lost = 0.0, 0.0
            for k in range(a, b):
                total, lost = add(values[k], total, lost)
            result[i] = total if math.isinf(total) else total + lost
        elif function == _AVG:
            result[i] = _mean(values, a, b)
        elif function == _MIN:
            best = values[a]
            for k in range(a, b):
                if values[k] < best or best != best:
                    best = values[k]
            result[i] = best
        elif function == _MAX:
            best = values[a]
            for k in range(a, b):
                if values[k] > best or best != best:
                    best = values[k]
            result[i] = best
        elif function == _TS_MIN:
            place = a
            for k in range(a, b):
                if values[k] <= values[place] or values[place] != values[place]:
                    place = k
            result[i] = ts[place] / 1000.0
        elif function == _TS_MAX:
            place = a
            for k in range(a, b):
                if values[k] >= values[place] or values[place] != values[place]:
                    place = k
            result[i] = ts[place] / 1000.0
        elif function == _TS_FIRST:
            result[i] = ts[a] / 1000.0
        elif function == _TS_LAST:
            result[i] = ts[b - 1] / 1000.0
        elif function in (_STDVAR, _STDDEV):
            variance = _variance(values, a, b)
            result[i] = variance if function == _STDVAR else math.sqrt(variance)
        elif function == _CHANGES:
            number = 0
            for k in range(a + 1, b):
                same = values[k] == values[k - 1]
                both = values[k] != values[k] and values[k - 1] != values[k - 1]
                number += not same and not both
            result[i] = number
        elif function == _RESETS:
            number = 0
            for k in range(a + 1, b):
                number += values[k] < values[k - 1]
            result[i] = number
    return result, present


@njit(cache=True, nogil=True, error_model="numpy")
def _mean(values: Floats, a: int, b: int) -> float:
    """Return the mean by way of the sum, or, where that overflows, step by step."""
    total, lost = values[a], 0.0
    mean = 0.0
    count = 1.0
    stepwise = False
    for k in range(a + 1, b):
        count = float(k - a + 1)
        if not stepwise:
            more, left = add(values[k], total, lost)
            if not math.isinf(more):
                total, lost = more, left
                continue
            stepwise = True
            mean = total / (count - 1)
            lost /= count - 1
        q = (count - 1) / count
        mean, lost = add(values[k] / count, q * mean, q * lost)
    if stepwise:
        return mean + lost
    return float(total / count + lost / count)


@njit(cache=True, nogil=True, error_model="numpy")
def _variance(values: Floats, a: int, b: int) -> float:
    count = 0.0
    mean, lost_mean = 0.0, 0.0
    aux, lost_aux = 0.0, 0.0
    for k in range(a, b):
        count += 1
        delta = values[k] - (mean + lost_mean)
        mean, lost_mean = add(delta / count, mean, lost_mean)
        aux, lost_aux = add(delta * (values[k] - (mean + lost_mean)), aux, lost_aux)
    return (aux + lost_aux) / count


@njit(cache=True, nogil=True, error_model="numpy")
def _of_sorted(ordered: Floats, q: float) -> float:
    n = len(ordered)
    if n == 0 or q != q:
        return np.nan
    if q < 0:
        return -np.inf
    if q > 1:
        return np.inf
    rank = q * (n - 1)
    lower = max(0.0, math.floor(rank))
    upper = min(n - 1.0, lower + 1)
    weight = rank - math.floor(rank)
    if weight == 0:
        return float(ordered[int(lower)])
    return float(ordered[int(lower)] * (1 - weight) + ordered[int(upper)] * weight)


@njit(cache=True, nogil=True, error_model="numpy")
def _sorted(values: Floats) -> Floats:
    """Return numbers from small to large, those that are NaN first."""
    ordered = np.empty(len(values))
    nans = 0
    for value in values:
        if value != value:
            nans += 1
    ordered[:nans] = np.nan
    rest = np.empty(len(values) - nans)
    at = 0
    for value in values:
        if value == value:
            rest[at] = value
            at += 1
    rest.sort()
    ordered[nans:] = rest
    return ordered


@njit(cache=True, nogil=True, error_model="numpy")
def quantile(values: Floats, low: Longs, high: Longs, q: float) -> tuple[Floats, Bools]:
    """Return a quantile of the values of each series, interpolated between two of them."""
    result = np.zeros(len(low))
    present = np.zeros(len(low), np.bool_)
    for i in range(len(low)):
        if low[i] < high[i]:
            result[i] = _of_sorted(_sorted(values[low[i] : high[i]]), q)
            present[i] = True
    return result, present


@njit(cache=True, nogil=True, error_model="numpy")
def mad(values: Floats, low: Longs, high: Longs) -> tuple[Floats, Bools]:
    """Return the median absolute deviation of the values of each series."""
    result = np.zeros(len(low))
    present = np.zeros(len(low), np.bool_)
    for i in range(len(low)):
        if low[i] < high[i]:
            window = values[low[i] : high[i]]
            median = _of_sorted(_sorted(window), 0.5)
            result[i] = np.nan
            if not np.isnan(window).any():
                result[i] = _of_sorted(_sorted(np.abs(window - median)), 0.5)
            present[i] = True
    return result, present


@njit(cache=True, nogil=True, error_model="numpy")
def linear(
    ts: Longs, values: Floats, low: Longs, high: Longs, at: int, of_first: bool
) -> tuple[Floats, Floats, Bools]:
    """Return the slope (per second) and the value at a time of each series, by least squares.

    Args:
        ts: times in ms.
        values: values.
        low: the first sample of each series.
        high: the one after the last.
        at: the time (ms) of the value that is wanted.
        of_first: take the time of the first sample instead.
    """
    slopes = np.zeros(len(low))
    intercepts = np.zeros(len(low))
    present = np.zeros(len(low), np.bool_)
    for i in range(len(low)):
        a = low[i]
        b = high[i]
        if b - a < 2:
            continue
        origin = ts[a] if of_first else at
        n = 0.0
        x, cx, y, cy, xy, cxy, xx, cxx = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        first = values[a]
        constant = True
        for k in range(a, b):
            if constant and k > a and values[k] != first:
                constant = False
            n += 1.0
            t = (ts[k] - origin) / 1e3
            x, cx = add(t, x, cx)
            y, cy = add(values[k], y, cy)
            xy, cxy = add(t * values[k], xy, cxy)
            xx, cxx = add(t * t, xx, cxx)
        present[i] = True
        if constant:
            slopes[i] = np.nan if math.isinf(first) else 0.0
            intercepts[i] = np.nan if math.isinf(first) else first
            continue
        x += cx
        y += cy
        xy += cxy
        xx += cxx
        cov = xy - x * y / n
        var = xx - x * x / n
        slopes[i] = cov / var
        intercepts[i] = y / n - slopes[i] * x / n
    return slopes, intercepts, present


@njit(cache=True, nogil=True, error_model="numpy")
def smoothed(
    values: Floats, low: Longs, high: Longs, factor: float, trend: float
) -> tuple[Floats, Bools]:
    """Return the last value of each series by double exponential smoothing."""
    result = np.zeros(len(low))
    present = np.zeros(len(low), np.bool_)
    for i in range(len(low)):
        a = low[i]
        b = high[i]
        if b - a < 2:
            continue
        s0 = 0.0
        s1 = values[a]
        slope = values[a + 1] - values[a]
        for k in range(a + 1, b):
            if k > a + 1:
                slope = trend * (s1 - s0) + (1 - trend) * slope
            s0, s1 = s1, factor * values[k] + (1 - factor) * (s1 + slope)
        result[i] = s1
        present[i] = True
    return result, present
