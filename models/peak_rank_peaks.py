"""The largest peaks of each statistic of a series, and how a value ranks among them."""

from __future__ import annotations

from math import exp, log
from typing import Final

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from models.peak_rank_state import APART, BEGUN, NEWEST, NOW, ONCE, PEAK, PEAKS

__all__ = ["EARLY", "distance_for", "doubt_at", "evidence", "learn_peak"]

EARLY: Final = 20.0
"""Values at the beginning, of which any may be a record."""
_MARGIN: Final = 1.05
_BEYOND: Final = 2.0
_DOUBLE: Final = 2.0
_YOUNG: Final = 100.0
_KNOWN_AT: Final = 1 / 3
"""Part of the values between two alerts after which peaks tell enough: one anomalous value alone fires
nothing, so it may be reached more often."""
_TIE: Final = 1 - 1e-6


def evidence(stored: NDArray[np.float32], statistic: int, size: float, floor: float) -> float:
    """Return how a value of a statistic ranks among its peaks: 1 equals the record."""
    if size <= floor:
        return 0.0
    first = PEAK + statistic * PEAKS
    record = np.float64(stored[first]) * _MARGIN + floor
    if size > record:
        return 1.0 + _BEYOND * log(size / record)
    rank = 0
    while rank < PEAKS and np.float64(stored[first + rank]) >= _TIE * size:
        rank += 1
    return 1.0 - (rank + 1.0) / (PEAKS + 1.0) if rank < PEAKS else 0.0


def learn_peak(
    stored: NDArray[np.float32], statistic: int, size: float, floor: float, seen: float
) -> None:
    """Put a value among the peaks of its statistic, if it is one.

    Peaks are at least ``APART`` values apart. A value at most doubles the record, until such a
    value comes a second time: what happened twice is a habit.
    """
    first = PEAK + statistic * PEAKS
    if size <= np.float64(stored[first + PEAKS - 1]):
        return
    new = seen - np.float64(stored[BEGUN + statistic]) >= APART
    limit = _DOUBLE * (np.float64(stored[first]) + floor)
    if seen > EARLY and size > limit:
        if new:
            stored[ONCE + statistic] = stored[NOW + statistic]
            stored[NOW + statistic] = size
        elif size > np.float64(stored[NOW + statistic]):
            stored[NOW + statistic] = size
        size = max(limit, min(size, np.float64(stored[ONCE + statistic])))
    at = PEAKS - 1
    if not new:
        newest = np.float64(stored[NEWEST + statistic])
        if size <= newest:
            return
        at = 0
        while at < PEAKS - 1 and np.float64(stored[first + at]) != newest:
            at += 1
    while at > 0 and np.float64(stored[first + at - 1]) < size:
        stored[first + at] = stored[first + at - 1]
        at -= 1
    stored[first + at] = size
    stored[NEWEST + statistic] = size
    stored[BEGUN + statistic] = seen


def doubt_at(seen: float, patience: float) -> float:
    """Return by how much more evidence is wanted of a series that is young yet.

    Of noise a value is the record of ``seen`` with a probability of one in ``seen``, which is far
    too often as long as that is below the number of values between two alerts that are put up
    with. Where the tail is that of an exponential distribution, sizes beyond the record by a ratio
    are rarer by ``seen ** -(ratio - 1)``; solved for the evidence that comes as seldom as promised
    this is ``2 * log(patience / seen) / log(seen)`` beyond that of a record.

    Args:
        seen: values that were learned.
        patience: values between two alerts.
    """
    doubt = 1.0 / (seen / _YOUNG + 1.0)
    known = _KNOWN_AT * patience
    if 1.0 < seen < known:
        doubt += _BEYOND * log(known / seen) / log(seen)
    return doubt


def distance_for(stored: NDArray[np.float32], statistic: int, floor: float, wanted: float) -> float:
    """Return the size of a statistic whose evidence is ``wanted``, at least that of a record."""
    record = np.float64(stored[PEAK + statistic * PEAKS]) * _MARGIN + floor
    return record * exp(max((wanted - 1.0) / _BEYOND, 0.0))


for _part in (evidence, learn_peak, doubt_at, distance_for):
    register_jitable(_part)
