"""One number of many: the aggregations ``sum``, ``avg`` and their like, in compiled loops."""

# ruff: noqa: PLR0912 -- a compiled loop is one long function; NaN is not equal to itself

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit

from operators.rules.frame import Bools, Floats
from operators.rules.label_sets import Ids
from operators.rules.sums import add

__all__ = ["FOLDED", "folded"]

FOLDED: Final = {
    name: number
    for number, name in enumerate(
        ("sum", "avg", "min", "max", "count", "group", "stdvar", "stddev")
    )
}
_SUM, _AVG, _MIN, _MAX, _COUNT, _GROUP, _STDVAR, _STDDEV = range(8)


@njit(cache=True, nogil=True, error_model="numpy")
def folded(
    values: Floats, present: Bools, groups: Ids, size: int, function: int
) -> tuple[Floats, Bools]:
    """Return for each group what the aggregation with this number of `FOLDED` gives."""
    result = np.zeros(size)
    seen = np.zeros(size, np.bool_)
    if function in (_COUNT, _GROUP):
        for i in range(len(values)):
            if present[i]:
                seen[groups[i]] = True
                result[groups[i]] += 1.0
        if function == _GROUP:
            result[:] = 1.0
    elif function == _MIN:
        for i in range(len(values)):
            if present[i]:
                g = groups[i]
                if not seen[g] or result[g] > values[i] or result[g] != result[g]:
                    result[g] = values[i]
                seen[g] = True
    elif function == _MAX:
        for i in range(len(values)):
            if present[i]:
                g = groups[i]
                if not seen[g] or result[g] < values[i] or result[g] != result[g]:
                    result[g] = values[i]
                seen[g] = True
    elif function == _SUM:
        lost = np.zeros(size)
        for i in range(len(values)):
            if present[i]:
                g = groups[i]
                if seen[g]:
                    result[g], lost[g] = add(values[i], result[g], lost[g])
                else:
                    result[g] = values[i]
                    seen[g] = True
        result += lost
    elif function == _AVG:
        _averages(values, present, groups, result, seen)
    else:
        _variances(values, present, groups, result, seen)
        if function == _STDDEV:
            result = np.sqrt(result)
    return result, seen


@njit(cache=True, nogil=True, error_model="numpy")
def _averages(values: Floats, present: Bools, groups: Ids, result: Floats, seen: Bools) -> None:
    """Add up and divide; a group whose sum overflows goes on with the mean, step by step."""
    size = len(result)
    lost = np.zeros(size)
    count = np.zeros(size)
    stepwise = np.zeros(size, np.bool_)
    for i in range(len(values)):
        if not present[i]:
            continue
        g = groups[i]
        count[g] += 1
        if not seen[g]:
            seen[g] = True
            result[g] = values[i]
            continue
        if not stepwise[g]:
            more, left = add(values[i], result[g], lost[g])
            if not math.isinf(more):
                result[g], lost[g] = more, left
                continue
            stepwise[g] = True
            result[g] /= count[g] - 1
            lost[g] /= count[g] - 1
        q = (count[g] - 1) / count[g]
        result[g], lost[g] = add(values[i] / count[g], q * result[g], q * lost[g])
    for g in range(size):
        if stepwise[g]:
            result[g] += lost[g]
        elif seen[g]:
            result[g] = result[g] / count[g] + lost[g] / count[g]


@njit(cache=True, nogil=True, error_model="numpy")
def _variances(values: Floats, present: Bools, groups: Ids, result: Floats, seen: Bools) -> None:
    size = len(result)
    count = np.zeros(size)
    mean = np.zeros(size)
    for i in range(len(values)):
        if not present[i]:
            continue
        g = groups[i]
        count[g] += 1
        if not seen[g]:
            seen[g] = True
            mean[g] = values[i]
            if values[i] != values[i] or math.isinf(values[i]):
                result[g] = np.nan
            continue
        delta = values[i] - mean[g]
        mean[g] += delta / count[g]
        result[g] += delta * (values[i] - mean[g])
    for g in range(size):
        if seen[g]:
            result[g] /= count[g]
