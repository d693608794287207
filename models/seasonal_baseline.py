"""What is usual at this hour of the week, learned offline, and a control chart of what is left."""

from __future__ import annotations

from math import sqrt
from typing import Final, Self

import numpy as np
import polars as pl
from numba import njit
from numba.extending import register_jitable
from numpy.typing import NDArray

from models.base import Bank, Detector, Judgement, State
from models.robust_ewma import LEAST, Numbers, judge_by_band, learn_clipped

__all__ = ["HOURS", "SeasonalBaseline", "SeasonalBaselineBank"]

HOURS: Final = 168
"""Of a week, from Thursday 00:00 UTC on, as the Unix epoch begins."""
_HOUR: Final = 3_600_000_000_000
_LEVEL: Final = 3
"""Numbers that are learned online: mean, variance and number of what is left."""
_SIZE: Final = _LEVEL + 2 * HOURS
_FRESH: Final = (0.0,) * _SIZE

# The recurrences stand here once: the detector runs them in Python, its bank compiled.


def _between(numbers: NDArray[np.float64], first: int, time: int) -> float:
    """Return what a row of hours says of a time, by a line between two of them."""
    hour = time // _HOUR
    part = (time - hour * _HOUR) / _HOUR
    before = numbers[first + hour % HOURS]
    after = numbers[first + (hour + 1) % HOURS]
    found: float = before + part * (after - before)
    return found


def _spread(variance: float, usual: float, expected: float, floor: float) -> float:
    return max(sqrt(variance), usual, floor * abs(expected), LEAST)


for _recurrence in (_between, _spread):
    register_jitable(_recurrence)


def _judge_then_learn(
    numbers: NDArray[np.float64],
    rows: NDArray[np.int32],
    values: NDArray[np.float64],
    times: NDArray[np.int64],
    fading: float,
    width: float,
    clip: float,
    floor: float,
    judgements: NDArray[np.float64],
) -> None:
    for at in range(len(rows)):
        mine, value, time = numbers[rows[at]], values[at], times[at]
        profile = _between(mine, 3, time)
        expected = profile + mine[0]
        spread = _spread(mine[1], _between(mine, 3 + HOURS, time), expected, floor)
        score, middle, lower, upper = judge_by_band(expected, spread, value, width)
        judgements[0, at] = score
        judgements[1, at] = middle
        judgements[2, at] = lower
        judgements[3, at] = upper
        judgements[4, at] = 0.0
        mean, variance, seen, _ = learn_clipped(
            mine[0], mine[1], mine[2], spread, value - profile, fading, clip, 0.0
        )
        mine[0] = mean
        mine[1] = variance
        mine[2] = seen


_judge_then_learn_compiled = njit(cache=True, nogil=True)(_judge_then_learn)


class SeasonalBaseline(Detector):
    """Judges a value by its distance from what is usual at this hour of the week.

    What is usual, and how far values are spread about it, is trained offline and does not change;
    ``headrace retrain`` makes it. How far the series as a whole has moved from it is followed as
    ``RobustEwma`` follows a mean. Without training it is that detector. Use it for series of people's
    days and weeks; what is new in the calendar, such as a holiday, is unusual to it.

    Parameters
    ----------
    fading
        Weight of the newest value in the level; its memory is about ``2 / fading`` values.
    width
        Half the width of the band, in standard deviations.
    clip
        Largest deviation that the level learns, in standard deviations.
    floor
        Least standard deviation, as a part of what is expected.

    Examples
    --------
    >>> day = [0.0] * 8 + [50.0] * 10 + [0.0] * 6
    >>> detector = SeasonalBaseline(floor=0.0).resume([10.0, 1.0, 100.0, *day * 7, *[1.0] * 168])
    >>> noon, night = 12 * 3_600_000_000_000, 3 * 3_600_000_000_000
    >>> detector.judge(60.0, noon).score, detector.judge(60.0, night).score
    (0.0, 10.0)

    References
    ----------
    The profile is of quantile regression: R. Koenker, G. Bassett, "Regression Quantiles",
    Econometrica 46(1), 1978.
    """

    def __init__(
        self, fading: float = 0.05, width: float = 5.0, clip: float = 2.0, floor: float = 0.02
    ) -> None:
        self.fading = fading
        self.width = width
        self.clip = clip
        self.floor = floor
        self._numbers = np.array(_FRESH)

    def _at(self, time: int) -> tuple[float, float, float]:
        """Return the profile at a time, what is expected, and the deviation."""
        profile = _between(self._numbers, _LEVEL, time)
        mean, variance = self._numbers[:2].tolist()
        usual = _between(self._numbers, _LEVEL + HOURS, time)
        expected = float(profile) + mean
        return float(profile), expected, float(_spread(variance, usual, expected, self.floor))

    def judge(self, value: float, time: int = 0) -> Judgement:
        """Judge a value; its score is the distance from what is expected in half widths of the band."""
        _, expected, spread = self._at(time)
        return Judgement(*judge_by_band(expected, spread, value, self.width))

    def learn(self, value: float, time: int = 0) -> None:
        """Learn how far the series is from its profile; the profile stays."""
        profile, _, spread = self._at(time)
        mean, variance, seen = self._numbers[:_LEVEL].tolist()
        learned: Numbers = learn_clipped(
            mean, variance, seen, spread, value - profile, self.fading, self.clip, 0.0
        )
        self._numbers[:_LEVEL] = learned[:_LEVEL]

    @property
    def state(self) -> tuple[float, ...]:
        """Mean, variance and number of what is left; the profile; the deviation of each hour."""
        return tuple(self._numbers.tolist())

    def resume(self, state: State) -> Self:
        """Take up such numbers."""
        self._numbers = np.array([float(number) for number in state])
        return self

    def bank(self) -> SeasonalBaselineBank:
        """Return an empty bank of such detectors, 2.7 KB each."""
        return SeasonalBaselineBank(self.fading, self.width, self.clip, self.floor)


class SeasonalBaselineBank(Bank):
    """Many ``SeasonalBaseline``: an array of their numbers, and compiled passes over it."""

    def __init__(self, fading: float, width: float, clip: float, floor: float) -> None:
        self._parameters = float(fading), float(width), float(clip), float(floor)
        self._numbers = np.empty((0, _SIZE))

    def __len__(self) -> int:
        return len(self._numbers)

    def grow(self, count: int) -> None:
        """Add fresh rows."""
        self._numbers = np.concatenate([self._numbers, np.zeros((count, _SIZE))])

    def judge_then_learn(
        self, rows: NDArray[np.int32], values: NDArray[np.float64], times: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Judge and learn in one pass."""
        judgements = np.empty((len(Judgement._fields), len(values)))
        fading, width, clip, floor = self._parameters
        _judge_then_learn_compiled(
            self._numbers, rows, values, times, fading, width, clip, floor, judgements
        )
        return judgements

    def put(self, rows: NDArray[np.intp], state: pl.Series) -> None:
        """Set these rows to such numbers."""
        self._numbers[rows] = state.to_numpy()

    def forget(self, rows: NDArray[np.intp]) -> None:
        """Set these rows back."""
        self._numbers[rows] = 0.0

    def keep(self, rows: NDArray[np.intp]) -> None:
        """Keep only these rows."""
        self._numbers = self._numbers[rows]

    @property
    def state(self) -> pl.Series:
        """The numbers, a row each."""
        return pl.Series("state", self._numbers.copy(), pl.Array(pl.Float64, _SIZE))

    def resume(self, state: pl.Series) -> Self:
        """Take up such numbers."""
        self._numbers = state.to_numpy().copy().reshape(len(state), _SIZE)
        return self
