"""What a model of several features is given of one series: a small named set."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, pi, sin, sqrt
from typing import Final

__all__ = ["FEATURES", "Features", "UnknownFeature"]

_DAY: Final = 86_400 * 10**9
_WEEK: Final = 7 * _DAY
_MONDAY: Final = 3 * _DAY
"""1 January 1970 was a Thursday."""
_FADING: Final = 0.1

FEATURES: Final = (
    "value", "difference", "ratio", "rolling_mean", "rolling_deviation", "day_sine", "day_cosine",
    "week_sine", "week_cosine",
)  # fmt: skip
"""``difference`` is that to the value before, ``ratio`` is that as a part of the larger of the two;
the rolling ones are over some twenty values, exponentially; the others say where in the day and in
the week (UTC) the time lies."""


class UnknownFeature(ValueError):
    """A name that is not in ``FEATURES``."""


class Features:
    """The chosen features of one series' values, as they come.

    Args:
        names: in ``FEATURES``.

    Raises:
        UnknownFeature: a name is not there.
    """

    def __init__(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in FEATURES:
                raise UnknownFeature(
                    f'there is no feature "{name}" (there are: {", ".join(FEATURES)})'
                )
        self._names = tuple(names)
        self._numbers = (0.0, 0.0, 0.0, 0.0)  # values seen, the last, rolling mean and variance

    def of(self, value: float, time: int) -> dict[str, float]:
        """Return the features of a value at a time, in nanoseconds. Changes nothing."""
        seen, last, mean, variance = self._numbers
        if not seen:
            last = mean = value
        larger = max(abs(value), abs(last))
        day = 2 * pi * (time % _DAY) / _DAY
        week = 2 * pi * ((time + _MONDAY) % _WEEK) / _WEEK
        known = {
            "value": value,
            "difference": value - last,
            "ratio": (value - last) / larger if larger else 0.0,
            "rolling_mean": mean,
            "rolling_deviation": sqrt(variance),
            "day_sine": sin(day),
            "day_cosine": cos(day),
            "week_sine": sin(week),
            "week_cosine": cos(week),
        }
        return {name: known[name] for name in self._names}

    def learn(self, value: float) -> None:
        """Take a value up into what is rolling."""
        seen, _, mean, variance = self._numbers
        if not seen:
            self._numbers = (1.0, value, value, 0.0)
            return
        off = value - mean
        self._numbers = (
            seen + 1.0,
            value,
            mean + _FADING * off,
            (1.0 - _FADING) * (variance + _FADING * off * off),
        )

    @property
    def state(self) -> tuple[float, ...]:
        """Four numbers."""
        return self._numbers

    def resume(self, state: Sequence[float]) -> None:
        """Take up such numbers."""
        seen, last, mean, variance = (float(number) for number in state)
        self._numbers = seen, last, mean, variance
