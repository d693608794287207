"""A forecast with an interval that holds: chosen and measured on the series' own past.

The past is forecast from several places in it, each time from what came before. Of the methods the
one with the least error there is taken; how far it was off, by how far ahead, is the interval.
Nothing is assumed of how errors are distributed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from flows.offline.forecasting.methods import METHODS, Values

__all__ = ["Crossing", "Forecast", "crossing", "forecast"]

_ORIGINS: Final = 12
_LEAST: Final = 4
"""Origins at least; with fewer nothing is known of the errors."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """How a series goes on, a value a step.

    Attributes:
        method: that was chosen.
        expected, lower, upper: each step; the interval holds nine of ten values.
        error: mean size of the method's errors in the past, and of the two simplest methods'.
    """

    method: str
    expected: Values
    lower: Values
    upper: Values
    error: float
    error_of_last: float
    error_of_season: float


@dataclass(frozen=True, slots=True)
class Crossing:
    """After how many steps a limit is reached: likely, at the earliest and at the latest.

    None is not within the steps that were forecast.
    """

    likely: float | None
    earliest: float | None
    latest: float | None


def forecast(past: Values, season: int, steps: int, coverage: float = 0.9) -> Forecast | None:
    """Return how a series goes on, or None if its past is too short to tell.

    Args:
        past: a value a step, without gaps.
        season: steps of a season; 1 if there is none.
        steps: how many are wanted.
        coverage: part of the values that the interval is to hold.
    """
    origins = _origins(len(past), season, steps)
    if len(origins) < _LEAST:
        return None
    errors: dict[str, NDArray[np.float64]] = {}
    for name, method in METHODS.items():
        found = np.full((len(origins), steps), np.nan)
        for number, origin in enumerate(origins):
            ahead = past[origin : origin + steps]
            found[number, : len(ahead)] = ahead - method(past[:origin], season, steps)[: len(ahead)]
        errors[name] = found
    sizes = {name: float(np.nanmean(np.abs(found))) for name, found in errors.items()}
    chosen = min(sizes, key=lambda name: sizes[name])
    expected = METHODS[chosen](past, season, steps)
    half = _half_widths(np.abs(errors[chosen]), coverage)
    return Forecast(
        chosen, expected, expected - half, expected + half, sizes[chosen], sizes["last"],
        sizes["season"],
    )  # fmt: skip


def _origins(length: int, season: int, steps: int) -> list[int]:
    """Return from where in the past it is forecast: evenly, and none before two seasons are known."""
    first = max(2 * season, length // 4, 8)
    last = length - max(steps // 2, 1)
    if last <= first:
        return []
    return sorted({int(place) for place in np.linspace(first, last, _ORIGINS)})


def _half_widths(sizes: NDArray[np.float64], coverage: float) -> Values:
    """Return how far values were off at each step ahead, in so many of a hundred cases.

    Errors at about the same distance are taken together; what is off grows with the distance.
    """
    steps = sizes.shape[1]
    found = np.empty(steps)
    for step in range(steps):
        around = max(1, step // 4)
        near = sizes[:, max(step - around, 0) : step + around + 1]
        near = near[~np.isnan(near)]
        if not len(near):
            found[step] = found[step - 1]
            continue
        # Few errors are independent of each other, and so few know the outermost badly.
        rank = min(coverage * (1 + 0.25 / len(sizes)), 1.0)
        found[step] = float(np.quantile(near, rank))
    return np.maximum.accumulate(found)


def crossing(found: Forecast, limit: float, *, above: bool = True) -> Crossing:
    """Return when a limit is reached; ``above`` says from which side it is a limit."""
    sign = 1.0 if above else -1.0
    outer, inner = (found.upper, found.lower) if above else (found.lower, found.upper)
    return Crossing(
        _first(sign * found.expected, sign * limit),
        _first(sign * outer, sign * limit),
        _first(sign * inner, sign * limit),
    )


def _first(values: Values, limit: float) -> float | None:
    reached = np.flatnonzero(values >= limit)
    if not len(reached):
        return None
    at = int(reached[0])
    if at == 0:
        return 1.0
    before, after = values[at - 1], values[at]
    return at + float((limit - before) / (after - before))
