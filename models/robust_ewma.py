"""An exponentially weighted control chart that an incident can't teach that it is normal."""

from __future__ import annotations

from math import sqrt
from typing import Final, Self

import numpy as np
import polars as pl
from numba import njit
from numba.extending import register_jitable
from numpy.typing import NDArray

from models.base import Bank, Detector, Judgement, State

__all__ = ["LEAST", "Numbers", "RobustEwma", "RobustEwmaBank", "judge_by_band", "learn_clipped"]

_TRUSTED: Final = 8
"""Values after which the band means something."""
LEAST: Final = 1e-12
"""Least standard deviation, so that a series that is always zero has a band at all."""
_CAP: Final = 20.0
"""Largest score: beyond, only the deviation of a quiet series is told."""
_HUGE: Final = 1e30
_FRESH: Final = (0.0, 0.0, 0.0, LEAST)
"""Mean, variance, number of values and deviation before any value."""

Numbers = tuple[float, float, float, float]

# The recurrences stand here once: the detector runs them in Python, its bank compiled.


def judge_by_band(mean: float, deviation: float, value: float, width: float) -> Numbers:
    """Return the score of a value, what is expected, and the band, so many deviations wide."""
    half = width * deviation
    return min(abs(value - mean) / half, _CAP), mean, mean - half, mean + half


def learn_clipped(
    mean: float,
    variance: float,
    seen: float,
    deviation: float,
    value: float,
    fading: float,
    clip: float,
    floor: float,
) -> Numbers:
    """Return mean, variance, number and deviation after a value, of which little is learned if it is far."""
    seen += 1.0
    if seen == 1.0 or abs(mean) > _HUGE * (abs(value) + 1.0):
        # The first, or what was learned came of a value that nothing measures: it begins anew.
        mean, variance, seen = value, 0.0, 1.0
    else:
        step = value - mean
        weight = max(fading, 1.0 / seen)
        if seen > _TRUSTED:
            limit = clip * deviation
            step = limit if step > limit else -limit if step < -limit else step
        mean += weight * step
        variance = (1.0 - weight) * (variance + weight * step * step)
    return mean, variance, seen, _deviation(mean, variance, floor)


def _deviation(mean: float, variance: float, floor: float) -> float:
    return max(sqrt(variance), floor * abs(mean), LEAST)


for _recurrence in (judge_by_band, learn_clipped, _deviation):
    register_jitable(_recurrence)


def _judge_then_learn(
    numbers: NDArray[np.float64],
    rows: NDArray[np.int32],
    values: NDArray[np.float64],
    fading: float,
    width: float,
    clip: float,
    floor: float,
    judgements: NDArray[np.float64],
) -> None:
    for at in range(len(rows)):
        row, value = rows[at], values[at]
        mean, variance = numbers[row, 0], numbers[row, 1]
        seen, deviation = numbers[row, 2], numbers[row, 3]
        score, expected, lower, upper = judge_by_band(mean, deviation, value, width)
        judgements[0, at] = score
        judgements[1, at] = expected
        judgements[2, at] = lower
        judgements[3, at] = upper
        judgements[4, at] = 0.0
        mean, variance, seen, deviation = learn_clipped(
            mean, variance, seen, deviation, value, fading, clip, floor
        )
        numbers[row, 0] = mean
        numbers[row, 1] = variance
        numbers[row, 2] = seen
        numbers[row, 3] = deviation


def _work_out_deviations(numbers: NDArray[np.float64], floor: float) -> None:
    for row in range(len(numbers)):
        numbers[row, 3] = _deviation(numbers[row, 0], numbers[row, 1], floor)


_judge_then_learn_compiled = njit(cache=True, nogil=True)(_judge_then_learn)
_work_out_deviations_compiled = njit(cache=True, nogil=True)(_work_out_deviations)


class RobustEwma(Detector):
    """Judges a value by its distance from a moving mean, in moving standard deviations.

    It learns at most ``clip`` deviations from the mean of any value, so that an outlier hardly
    widens the band, while a lasting change of level is accepted in the end. It knows no seasons
    and does not see a slow drift: use it for series that are steady within the hour.

    Parameters
    ----------
    fading
        Weight of the newest value; its memory is about ``2 / fading`` values.
    width
        Half the width of the band, in standard deviations.
    clip
        Largest deviation that is learned, in standard deviations.
    floor
        Least standard deviation, as a part of the mean's size: a series that never moved is not
        anomalous because it moves a little.

    Examples
    --------
    >>> detector = RobustEwma()
    >>> for value in [10.0, 11.0, 9.0, 10.5, 9.5] * 6:
    ...     detector.learn(value)
    >>> round(detector.judge(10.4).score, 2)
    0.12
    >>> round(detector.judge(20.0).score, 2)
    2.83

    References
    ----------
    S. W. Roberts, "Control Chart Tests Based on Geometric Moving Averages", Technometrics 1(3),
    1959. The recurrence of the variance: T. Finch, "Incremental calculation of weighted mean and
    variance", University of Cambridge, 2009.
    """

    def __init__(
        self, fading: float = 0.05, width: float = 5.0, clip: float = 2.0, floor: float = 0.02
    ) -> None:
        self.fading = fading
        self.width = width
        self.clip = clip
        self.floor = floor
        self._numbers = _FRESH

    def judge(self, value: float, time: int = 0) -> Judgement:  # noqa: ARG002
        """Judge a value; its score is the distance from the mean in half widths of the band."""
        mean, _, _, deviation = self._numbers
        return Judgement(*judge_by_band(mean, deviation, value, self.width))

    def learn(self, value: float, time: int = 0) -> None:  # noqa: ARG002
        """Learn a value. At first it counts as in a plain mean, so that the start is forgotten."""
        self._numbers = learn_clipped(*self._numbers, value, self.fading, self.clip, self.floor)

    @property
    def state(self) -> tuple[float, ...]:
        """Mean, variance, and the number of values learned."""
        return self._numbers[:3]

    def resume(self, state: State) -> Self:
        """Take up mean, variance and number."""
        mean, variance, seen = (float(number) for number in state)
        self._numbers = mean, variance, seen, _deviation(mean, variance, self.floor)
        return self

    def bank(self) -> RobustEwmaBank:
        """Return an empty bank of such detectors, 32 bytes each."""
        return RobustEwmaBank(self.fading, self.width, self.clip, self.floor)


class RobustEwmaBank(Bank):
    """Many ``RobustEwma``: an array of their numbers, and compiled passes over it."""

    def __init__(self, fading: float, width: float, clip: float, floor: float) -> None:
        self._fading = float(fading)
        self._width = float(width)
        self._clip = float(clip)
        self._floor = float(floor)
        self._numbers = np.empty((0, len(_FRESH)))

    def __len__(self) -> int:
        return len(self._numbers)

    def grow(self, count: int) -> None:
        """Add fresh rows."""
        self._numbers = np.concatenate([self._numbers, np.tile(_FRESH, (count, 1))])

    def judge_then_learn(
        self,
        rows: NDArray[np.int32],
        values: NDArray[np.float64],
        times: NDArray[np.int64],  # noqa: ARG002
    ) -> NDArray[np.float64]:
        """Judge and learn in one pass."""
        judgements = np.empty((len(Judgement._fields), len(values)))
        _judge_then_learn_compiled(
            self._numbers, rows, values, self._fading, self._width, self._clip, self._floor,
            judgements,
        )  # fmt: skip
        return judgements

    def put(self, rows: NDArray[np.intp], state: pl.Series) -> None:
        """Set these rows to such means, variances and numbers."""
        given = RobustEwmaBank(self._fading, self._width, self._clip, self._floor).resume(state)
        self._numbers[rows] = given._numbers

    def forget(self, rows: NDArray[np.intp]) -> None:
        """Set these rows back."""
        self._numbers[rows] = _FRESH

    def keep(self, rows: NDArray[np.intp]) -> None:
        """Keep only these rows."""
        self._numbers = self._numbers[rows]

    @property
    def state(self) -> pl.Series:
        """Mean, variance and number of values, a row each."""
        return pl.Series("state", self._numbers[:, :3].copy(), pl.Array(pl.Float64, 3))

    def resume(self, state: pl.Series) -> Self:
        """Take up means, variances and numbers."""
        self._numbers = np.empty((len(state), len(_FRESH)))
        self._numbers[:, :3] = state.to_numpy()
        _work_out_deviations_compiled(self._numbers, self._floor)
        return self
