"""Ways to guess how a series goes on. Each is given its past, and gives as many steps as are asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["METHODS", "Values"]

Values = NDArray[np.float64]
Method = Callable[[Values, int, int], Values]
"""The past, the steps of a season (1 if there is none), and how many steps are wanted."""


def _last(past: Values, season: int, steps: int) -> Values:  # noqa: ARG001
    return np.full(steps, past[-1])


def _season(past: Values, season: int, steps: int) -> Values:
    return np.resize(past[-season:], steps)


def _line(past: Values, season: int, steps: int) -> Values:
    """The usual step of the past, by the median of slopes: a clean-up does not turn it."""
    half = max(len(past) // 2, 1)
    slope = float(np.median(past[half:] - past[: len(past) - half])) / half
    level = float(np.mean(past[-season:])) + slope * (min(season, len(past)) - 1) / 2
    line: Values = level + slope * np.arange(1, steps + 1, dtype=np.float64)
    return line


def _line_and_season(past: Values, season: int, steps: int) -> Values:
    if season == 1 or len(past) < 2 * season:
        return _line(past, 1, steps)
    whole = past[len(past) % season :].reshape(-1, season)
    shape = np.median(whole - whole.mean(axis=1, keepdims=True), axis=0)
    return _line(past, season, steps) + np.resize(shape, steps)


METHODS: Final[Mapping[str, Method]] = {
    "last": _last,
    "season": _season,
    "line": _line,
    "line and season": _line_and_season,
}
"""By name: the last value; the last season; a straight line; a line with the usual season.

The theta methods of statsforecast and statsmodels, and the latter's structural model, were measured
beside them on made capacity series and on NAB's by the hour. Chosen among them too, they improved
nothing, at thirty to a hundred times the time.
"""
