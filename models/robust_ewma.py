"""An exponentially weighted control chart that an incident can't teach that it is normal."""

from __future__ import annotations

from math import sqrt
from typing import ClassVar, Final, Self

from models.base import Detector, Judgement

__all__ = ["RobustEwma"]

_TRUSTED: Final = 8
"""Values after which the band means something."""
_LEAST: Final = 1e-12
"""Least standard deviation, so that a series that is always zero has a band at all."""


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

    state_size: ClassVar[int] = 3

    def __init__(
        self, fading: float = 0.05, width: float = 5.0, clip: float = 2.0, floor: float = 0.02
    ) -> None:
        self.fading = fading
        self.width = width
        self.clip = clip
        self.floor = floor
        self._mean = 0.0
        self._variance = 0.0
        self._seen = 0.0
        self._deviation = _LEAST

    def judge(self, value: float) -> Judgement:
        """Judge a value; its score is the distance from the mean in half widths of the band."""
        mean, half = self._mean, self.width * self._deviation
        return Judgement(abs(value - mean) / half, mean, mean - half, mean + half)

    def learn(self, value: float) -> None:
        """Learn a value. At first it counts as in a plain mean, so that the start is forgotten."""
        self._seen += 1.0
        if self._seen == 1.0:
            self._mean = value
        else:
            step = value - self._mean
            weight = max(self.fading, 1.0 / self._seen)
            if self._seen > _TRUSTED:
                limit = self.clip * self._deviation
                step = limit if step > limit else -limit if step < -limit else step
            self._mean += weight * step
            self._variance = (1.0 - weight) * (self._variance + weight * step * step)
        # Once for learning it and for judging the next.
        self._deviation = max(sqrt(self._variance), self.floor * abs(self._mean), _LEAST)

    @property
    def state(self) -> tuple[float, ...]:
        """Mean, variance, and the number of values learned."""
        return self._mean, self._variance, self._seen

    def resume(self, state: tuple[float, ...]) -> Self:
        """Take up mean, variance and number."""
        self._mean, self._variance, self._seen = state
        self._deviation = max(sqrt(self._variance), self.floor * abs(self._mean), _LEAST)
        return self
