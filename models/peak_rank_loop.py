"""The loop of ``models.peak_rank``: what one series has to go through for one value.

All arithmetic is in float64, so that Python and the compiled loop say the same to the last bit.
"""

from __future__ import annotations

from math import exp, isnan, log
from typing import Any, Final

import numpy as np
from numba import njit
from numba.extending import register_jitable
from numpy.typing import NDArray

from models.peak_rank_patterns import learn_box, nearest_box
from models.peak_rank_peaks import EARLY, distance_for, doubt_at, evidence, learn_peak
from models.peak_rank_season import clock, season, turn_slot
from models.peak_rank_state import (
    CLIPPED,
    COUNTED,
    DEVIATION,
    LAST,
    LEAST,
    LEVEL,
    LEVEL_LOSS,
    LONGEST,
    MEAN,
    MEAN10,
    MEAN30,
    NO_QUANTUM,
    QUANTUM,
    RATIO,
    RUN,
    SEASON_LOSS,
    SEEN,
    STATISTICS,
    STILL,
    SUMMED,
    TEN,
    UNREST,
    UNRESTED,
    USED,
    fresh,
)  # fmt: skip

__all__ = ["judge_then_learn"]

_FADING: Final = 1 / 300
_CLIP: Final = 4.0
_FLOOR: Final = 0.005
_BEYOND: Final = 2.0
_ACCEPTED: Final = 12.0
_YOUNG: Final = 100.0
_RARE: Final = 1.5
_PART: Final = 0.02
_WIDE: Final = 10.0
_CAP: Final = 20.0
_WILD: Final = 1e4
_HUGE: Final = 1e30
_TINY: Final = 1e-12
_LEAST_RATIO: Final = 1e-300

Row = NDArray[np.float64]
Stored = NDArray[np.float32]


def _expected(numbers: Row, usual: float) -> tuple[float, float]:
    """Return what is expected, and how much of it is the season: as much as it was better."""
    mean, level_loss = np.float64(numbers[MEAN]), np.float64(numbers[LEVEL_LOSS])
    if isnan(usual) or level_loss <= 0.0:
        return mean, 0.0
    weight = max(1.0 - numbers[SEASON_LOSS] / level_loss, 0.0)
    return (mean if weight == 0.0 else weight * usual + (1.0 - weight) * mean), weight


def _quantum(numbers: Row, value: float) -> float:
    """Return what one event more or less comes to, where there are values of zero.

    The first event of a young series is no news: nobody knows yet how rare they are.
    """
    if numbers[LEAST] != 0.0:
        return 0.0
    if numbers[QUANTUM] < NO_QUANTUM:
        return _RARE * float(numbers[QUANTUM])
    return _RARE * max(value, 0.0) if numbers[SEEN] < _YOUNG else 0.0


def _distance(one: float, other: float) -> float:
    """Return by how many times two sizes differ, as a logarithm; a ratio may be too small for one."""
    return abs(log(max(one / other, _LEAST_RATIO)))


def _sizes(
    numbers: Row, value: float, expected: float, weight: float, part: float, by_ratio: bool, away: float
) -> Any:  # fmt: skip
    """Return the seven statistics of a value."""
    mean = numbers[MEAN]
    mean10 = numbers[MEAN10] + 0.1 * (value - numbers[MEAN10])
    level = abs(value - expected)
    unrest = numbers[UNRESTED] + 0.1 * (level - numbers[UNRESTED])
    ten = abs(mean10 - mean) * (1.0 - weight)
    ratio = step = ten_ratio = 0.0
    if by_ratio and value >= 0.0:
        ratio = _distance(value + part, expected + part)
        step = _distance(value + part, numbers[LAST] + part)
        ten_ratio = _distance(max(mean10, 0.0) + part, mean + part) * (1.0 - weight)
    return level, ratio, step, ten, ten_ratio, unrest, away


def _is_linear(statistic: int) -> bool:
    return statistic >= UNREST or statistic in (LEVEL, TEN)


def _joined(stored: Stored, sizes: Any, floor: float, least: float) -> tuple[float, int]:
    """Return the evidence of all statistics together, and which of them is the strongest."""
    total = strongest = 0.0
    reason = 0
    for statistic in range(STATISTICS):
        smallest = floor if _is_linear(statistic) else least
        found = evidence(stored, statistic, sizes[statistic], smallest)
        if found > strongest:
            strongest, reason = found, statistic
        total += found * found * found
    return (0.5 * total) ** (1.0 / 3.0), reason


def _stands_still(numbers: Row, value: float) -> float:
    """Return the evidence of a run of equal values that is longer than ever before."""
    run = numbers[RUN] + 1.0 if value == numbers[LAST] else 0.0
    usual = 3.0 * max(numbers[LONGEST], 4.0)
    if run <= usual or numbers[SEEN] <= _YOUNG or run >= 0.5 * numbers[SEEN]:
        return 0.0
    return 1.0 + _BEYOND * log(run / usual)


def _band(
    stored: Stored, expected: float, part: float, floor: float, least: float, by_ratio: bool, wanted: float
) -> tuple[float, float]:  # fmt: skip
    """Return where the level, or the ratio, would reach the threshold alone."""
    half = distance_for(stored, LEVEL, floor, wanted)
    lower, upper = expected - half, expected + half
    if by_ratio:
        half = distance_for(stored, RATIO, least, wanted)
        if half < 600.0:
            upper = min(upper, (expected + part) * exp(half) - part)
            lower = max(lower, (expected + part) * exp(-half) - part)
    return lower, upper


def _step(
    numbers: Row,
    stored: Stored,
    value: float,
    time: int,
    threshold: float,
    patience: float,
    learn: bool,
) -> tuple[float, float, float, float, float]:
    """Judge a value, and learn it if asked; return the fields of ``Judgement``."""
    seen = numbers[SEEN]
    weekend, hour = clock(time)
    if learn:
        turn_slot(numbers, stored, weekend, hour)
    if seen == 0.0:
        if learn:
            _begin(numbers, value)
        return 0.0, value, np.nan, np.nan, 0.0

    usual = season(stored, weekend, hour)
    expected, weight = _expected(numbers, usual)
    quantum = _quantum(numbers, value)
    plain = _FLOOR * abs(numbers[MEAN]) + _TINY
    floor = plain + quantum
    by_ratio = numbers[LEAST] >= 0.0 and numbers[MEAN] > 0.0 and expected > 0.0
    part = max(_PART * numbers[MEAN], quantum)
    least = _FLOOR + (log(1.0 + quantum / (expected + part)) if by_ratio else 0.0)
    mean10 = numbers[MEAN10] + 0.1 * (value - numbers[MEAN10])
    mean30 = numbers[MEAN30] + 0.03 * (value - numbers[MEAN30])
    sides = (value, mean10, mean30, numbers[LAST])
    away, nearest, taking = nearest_box(stored, sides, _WIDE * numbers[DEVIATION] + plain)
    sizes = _sizes(numbers, value, expected, weight, part, by_ratio, away)

    doubt = doubt_at(seen, patience)
    found, reason = _joined(stored, sizes, floor, least)
    found -= doubt
    still = _stands_still(numbers, value)
    if still > found:
        found, reason = still, STILL
    wanted = (threshold + doubt) * 2.0 ** (1.0 / 3.0)
    lower, upper = _band(stored, expected, part, floor, least, by_ratio, wanted)
    if (value < lower and (value < 0.0 or lower > 0.0)) or value > upper:
        found = max(found, threshold)
    if numbers[LEAST] >= 0.0:
        expected, lower, upper = max(expected, 0.0), max(lower, 0.0), max(upper, 0.0)
    score = 0.0 if found <= 0.0 else min(found / threshold, _CAP)
    if seen < EARLY:
        score, lower, upper = 0.0, np.nan, np.nan

    if learn and not _set_aside(numbers, stored, value, floor, weekend, hour):
        for statistic in range(STATISTICS):
            smallest = floor if _is_linear(statistic) else least
            learn_peak(stored, statistic, sizes[statistic], smallest, seen)
        learn_box(stored, sides, taking, seen)
        if nearest >= 0 and away == 0.0:
            stored[USED + nearest] = seen
        _learn(numbers, value, usual, mean10, mean30, sizes[UNREST])
    return score, expected, lower, upper, float(reason)


def _set_aside(
    numbers: Row, stored: Stored, value: float, floor: float, weekend: int, hour: float
) -> bool:  # fmt: skip
    """Return whether a value is not to be learned: nothing that is measured is so large.

    Should it stay, or what was learned have come of such a value, all begins anew.
    """
    mean = numbers[MEAN]
    far = abs(value - mean) > _WILD * (numbers[DEVIATION] + floor)
    wild = numbers[SEEN] > EARLY and abs(value) > _HUGE and far
    poisoned = abs(mean) > _HUGE * (max(abs(value), abs(numbers[LAST])) + 1.0)
    if not (wild or poisoned):
        return False
    numbers[CLIPPED] += 1.0
    if poisoned or numbers[CLIPPED] >= _ACCEPTED:
        _renew(numbers, stored)
        turn_slot(numbers, stored, weekend, hour)
        _begin(numbers, value)
    return True


def _begin(numbers: Row, value: float) -> None:
    """Learn the first value."""
    numbers[SEEN] = 1.0
    numbers[MEAN] = value
    numbers[MEAN10] = value
    numbers[MEAN30] = value
    numbers[LAST] = value
    numbers[LEAST] = value
    if value > 0.0:
        numbers[QUANTUM] = value
    numbers[SUMMED] = value
    numbers[COUNTED] = 1.0


def _learn(
    numbers: Row, value: float, usual: float, mean10: float, mean30: float, unrest: float
) -> None:  # fmt: skip
    """Learn any other value."""
    seen, mean = numbers[SEEN], numbers[MEAN]
    if value == numbers[LAST]:
        numbers[RUN] += 1.0
    else:
        numbers[LONGEST] = max(numbers[LONGEST] * 0.999, numbers[RUN])
        numbers[RUN] = 0.0
    if not isnan(usual):
        fading = max(_FADING, 1.0 / seen)
        numbers[LEVEL_LOSS] += fading * (abs(value - mean) - numbers[LEVEL_LOSS])
        numbers[SEASON_LOSS] += fading * (abs(value - usual) - numbers[SEASON_LOSS])
    _learn_level(numbers, value, mean10)
    numbers[MEAN10] = mean10
    numbers[MEAN30] = mean30
    numbers[UNRESTED] = unrest
    numbers[LAST] = value
    numbers[LEAST] = min(numbers[LEAST], value)
    if value > 0.0:
        numbers[QUANTUM] = min(numbers[QUANTUM], value)
    numbers[SUMMED] += value
    numbers[COUNTED] += 1.0
    numbers[SEEN] = seen + 1.0


def _learn_level(numbers: Row, value: float, mean10: float) -> None:
    """Move the level by at most a few deviations, until it is clear that the value stays."""
    mean, deviation = numbers[MEAN], numbers[DEVIATION]
    off = value - mean
    fading = max(_FADING, 1.0 / (numbers[SEEN] + 1.0))
    limit = _CLIP * deviation
    if numbers[SEEN] <= EARLY or abs(off) <= limit or limit == 0.0:
        numbers[CLIPPED] = 0.0
        numbers[MEAN] = mean + fading * off
        numbers[DEVIATION] = deviation + fading * (abs(off) - deviation)
        return
    side = 1.0 if off > 0.0 else -1.0
    numbers[CLIPPED] = numbers[CLIPPED] + side if numbers[CLIPPED] * side > 0.0 else side
    if abs(numbers[CLIPPED]) >= _ACCEPTED:
        numbers[MEAN] = mean10
        numbers[CLIPPED] = 0.0
        deviation *= 1.5
    else:
        numbers[MEAN] = mean + fading * side * limit
    numbers[DEVIATION] = deviation + fading * (limit - deviation)


_FRESH_NUMBERS, _FRESH_STORED = fresh()


def _renew(numbers: Row, stored: Stored) -> None:
    numbers[:] = _FRESH_NUMBERS
    stored[:] = _FRESH_STORED


for _part_of_it in (
    _expected, _quantum, _distance, _sizes, _is_linear, _joined, _stands_still, _band, _set_aside, _begin,
    _learn, _learn_level, _renew, _step,
):  # fmt: skip
    register_jitable(_part_of_it)


def _judge_then_learn(
    numbers: NDArray[np.float64],
    stored: NDArray[np.float32],
    rows: NDArray[np.int32],
    values: NDArray[np.float64],
    times: NDArray[np.int64],
    threshold: float,
    patience: float,
    learn: bool,
    judgements: NDArray[np.float64],
) -> None:
    for at in range(len(rows)):
        row = rows[at]
        score, expected, lower, upper, reason = _step(
            numbers[row], stored[row], values[at], times[at], threshold, patience, learn
        )
        judgements[0, at] = score
        judgements[1, at] = expected
        judgements[2, at] = lower
        judgements[3, at] = upper
        judgements[4, at] = reason


judge_then_learn = njit(cache=True, nogil=True)(_judge_then_learn)
