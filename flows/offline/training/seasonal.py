"""What is usual at each hour of the week, by group of series: the training of ``SeasonalBaseline``.

Series of one metric share a shape: each is put at its own median and spread, and quantiles of all are
regressed on the calendar by boosted trees (scikit-learn). So a series of which little is known has the
shape of its like. Whether the shape is its own is tried on time that comes after: one that is told no
better by it than by its median gets none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flows.offline.forecasting.steps import Past
from models.seasonal_baseline import HOURS

__all__ = ["HOUR", "NAME", "BadTraining", "baselines", "span"]

NAME: Final = "seasonal_baseline"
HOUR: Final = 3600 * 10**9
_QUANTILES: Final = (0.05, 0.5, 0.95)
_DEVIATIONS: Final = 2 * 1.6449
"""Standard deviations between the outer quantiles, where values are spread as a bell."""
_LEAST_HOURS: Final = 72
_WEEKLY: Final = 2 * HOURS
"""Hours from which on days of the week are told apart."""
_LEARNED: Final = 0.7
_BETTER: Final = 0.9
"""A shape is a series' own if it is off by no more than this part of what its median is."""
_MOST_ROWS: Final = 200_000
_EPOCH_DAY: Final = 3  # Thursday, where Monday is 0


class BadTraining(ValueError):
    """Nothing can be trained; one line that says why, and what to do."""


def span(pasts: Sequence[Past]) -> tuple[int, int]:
    """Return when the first of some series begins, and when the last one ends, in nanoseconds."""
    begins = [past.ends - len(past.values) * HOUR for past in pasts]
    return min(begins), max(past.ends for past in pasts)


def baselines(pasts: Iterable[Past], until: int) -> pl.DataFrame:
    """Return what ``SeasonalBaseline`` knows of series: ``series`` and ``detector``, a row each.

    Args:
        pasts: series by the hour.
        until: only what was before it is learned, in nanoseconds.

    Raises:
        BadTraining: scikit-learn is not installed, or no series is there for three days.
    """
    groups: dict[tuple[str, str], list[_Hours]] = defaultdict(list)
    for past in pasts:
        hours = _Hours.of(past, until)
        if hours is not None:
            groups[past.facts["tenant"], past.facts["name"]].append(hours)
    if not groups:
        raise BadTraining("no series is there for three days: a seasonal baseline needs as many")
    rows: list[tuple[int, NDArray[np.float64]]] = []
    for members in groups.values():
        rows += _of_group(members)
    return pl.DataFrame(
        {"series": [series for series, _ in rows], "detector": [state for _, state in rows]},
        schema={"series": pl.UInt64, "detector": pl.Array(pl.Float64, 3 + 2 * HOURS)},
    )


class _Hours:
    """One series: values at its own scale, and the hour of the epoch of each."""

    def __init__(
        self, series: int, numbers: NDArray[np.int64], middle: float, scale: float,
        values: NDArray[np.float64],
    ) -> None:  # fmt: skip
        self.series = series
        self.numbers = numbers
        self.middle, self.scale = middle, scale
        self.values = values

    @classmethod
    def of(cls, past: Past, until: int) -> _Hours | None:
        """Return it, or None if it is too short, or does not move."""
        first = past.ends // HOUR - len(past.values)
        count = min(len(past.values), until // HOUR - first)
        if count < _LEAST_HOURS:
            return None
        values = past.values[:count]
        middle = float(np.median(values))
        scale = float(np.median(np.abs(values - middle))) * 1.4826 or float(values.std())
        if scale <= 0.0:
            return None
        numbers = first + np.arange(count, dtype=np.int64)
        return cls(int(past.facts["series"]), numbers, middle, scale, (values - middle) / scale)


def _of_group(members: Sequence[_Hours]) -> list[tuple[int, NDArray[np.float64]]]:
    weekly = min(len(one.numbers) for one in members) >= _WEEKLY
    edges = [int(len(one.numbers) * _LEARNED) for one in members]
    early = _fitted(
        [(one.numbers[:edge], one.values[:edge]) for one, edge in zip(members, edges, strict=True)],
        (0.5,), weekly=weekly,
    )[0]  # fmt: skip
    # What has no such shape would blur that of the others.
    alike = {
        one.series
        for one, edge in zip(members, edges, strict=True)
        if _is_its_own(one, edge, early)
    }
    found = [(one.series, np.zeros(3 + 2 * HOURS)) for one in members]
    if not alike:
        return found
    whole = [(one.numbers, one.values) for one in members if one.series in alike]
    low, middle, high = _fitted(whole, _QUANTILES, weekly=weekly)
    spread = np.maximum(high - low, 0.0) / _DEVIATIONS
    for one, (_, state) in zip(members, found, strict=True):
        if one.series in alike:
            state[3 : 3 + HOURS] = one.middle + one.scale * middle
            state[3 + HOURS :] = one.scale * spread
    return found


def _is_its_own(one: _Hours, edge: int, shape: NDArray[np.float64]) -> bool:
    """Say whether the shape of the group tells what comes better than the median of what was."""
    later = one.values[edge:]
    told = shape[one.numbers[edge:] % HOURS]
    plain = np.abs(later - np.median(one.values[:edge])).mean()
    # How far the series has moved as a whole is followed online.
    left = later - told
    return bool(np.abs(left - np.median(left)).mean() <= _BETTER * plain)


def _fitted(
    parts: Sequence[tuple[NDArray[np.int64], NDArray[np.float64]]], quantiles: Sequence[float],
    *, weekly: bool,
) -> list[NDArray[np.float64]]:  # fmt: skip
    """Return the quantiles of values at each hour of the week."""
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor  # noqa: PLC0415 - it is optional
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError:
        raise BadTraining(
            f"detector={NAME} is trained by scikit-learn, which is not installed: "
            "`pip install scikit-learn`"
        ) from None
    numbers = np.concatenate([part[0] for part in parts])
    values = np.concatenate([part[1] for part in parts])
    every = max(1, len(numbers) // _MOST_ROWS)
    features, wanted = _calendar(numbers[::every], weekly=weekly), values[::every]
    grid = _calendar(np.arange(HOURS, dtype=np.int64), weekly=weekly)
    found = []
    # Of three features its threads do little, and wait for each other without rest.
    with threadpool_limits(1, "openmp"):
        for quantile in quantiles:
            model: Any = HistGradientBoostingRegressor(
                loss="quantile", quantile=quantile, max_iter=100, early_stopping=False,
                random_state=0,
            )  # fmt: skip
            found.append(np.asarray(model.fit(features, wanted).predict(grid), np.float64))
    return found


def _calendar(hours: NDArray[np.int64], *, weekly: bool) -> NDArray[np.float64]:
    """Return hour of the day, day of the week and whether that is of the weekend, a row an hour."""
    day = (hours // 24 + _EPOCH_DAY) % 7 if weekly else np.zeros_like(hours)
    return np.stack([hours % 24, day, day >= 5], axis=1).astype(np.float64)
