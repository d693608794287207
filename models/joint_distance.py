"""How far several signals lie, taken together, from what they usually are together."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from math import isfinite, nan, sqrt
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from river.base import AnomalyDetector

__all__ = ["JointDistance"]

_TRUSTED: Final = 30.0
"""Vectors after which a distance means something, and far ones are learned only in part."""
_WILD: Final = 1e6
"""No signal counts as further off than so many deviations: its square is a number still."""
Floats = NDArray[np.float64]


class _Measured(NamedTuple):
    """The present signals: their places, deviations, the matrix that whitens, and what it gives."""

    places: list[int]
    deviations: Floats
    root: Floats
    parts: Floats


class JointDistance(AnomalyDetector):
    """A Mahalanobis distance from moving means, by a moving covariance, of which an outlier teaches little.

    It sees what no signal shows alone: a load of the processor that does not fit the rate of
    requests. A signal that is missing is left out, as if it had never been asked for: the distance is
    that of the others. It knows no seasons; that several signals rise and fall together in the course
    of a day is what their covariance says. Signals should be on a scale on which they vary evenly, as
    logarithms of rates and durations do.

    The score is the distance as a normal deviate: 0 is as usual as possible, and it means the same
    whatever the number of signals. What is only better than usual adds nothing to it.

    Parameters
    ----------
    fading
        Weight of the newest vector; its memory is about ``1 / fading`` vectors. It has to be longer
        than a season for what belongs together to be learned over all of it.
    above
        Names of signals of which less than usual is no fault.
    shrink
        Part by which correlations are taken for smaller than they were seen.
    floor
        Least standard deviation, and the same as a part of the mean.

    Examples
    --------
    >>> import random
    >>> dice = random.Random(1)
    >>> model = JointDistance()
    >>> for _ in range(500):
    ...     load = dice.gauss(5.0, 1.0)
    ...     model.learn_one({"rate": load, "cpu": load + dice.gauss(0.0, 0.1)})
    >>> model.score_one({"rate": 6.0, "cpu": 6.0}) < 1.0
    True
    >>> model.score_one({"rate": 4.0, "cpu": 6.0}) > 5.0
    True
    >>> {name: round(part, 1) for name, part in model.contributions({"rate": 4.0, "cpu": 6.0}).items()}
    {'rate': 0.5, 'cpu': 0.5}

    References
    ----------
    P. H. Garthwaite, I. Koch, "Evaluating the contributions of individual variables to a quadratic
    form", Australian & New Zealand Journal of Statistics 58(1), 2016: parts of a distance that are its
    sum (their corr-max). N. A. Campbell, "Robust procedures in multivariate analysis I: Robust
    covariance estimation", Applied Statistics 29(3), 1980: outliers are drawn in. E. B. Wilson,
    M. M. Hilferty, "The distribution of chi-square", PNAS 17, 1931: a sum of squares as a normal
    deviate. T. Finch, "Incremental calculation of weighted mean and variance", University of
    Cambridge, 2009: the recurrence.
    """

    def __init__(
        self,
        fading: float = 1 / 1440,
        above: Sequence[str] | None = None,
        shrink: float = 0.01,
        floor: float = 0.01,
    ) -> None:
        self.fading = fading
        self.above = above
        self.shrink = shrink
        self.floor = floor
        self._names: list[Hashable] = []
        self._seen = np.zeros(0)
        self._mean = np.zeros(0)
        self._covariance = np.zeros((0, 0))
        self._looked: tuple[dict[Hashable, Any], _Measured | None] | None = None

    def score_one(self, x: Mapping[Hashable, Any]) -> float:
        """Return how far these signals are from what is usual, as a normal deviate; at first 0."""
        measured = self._measure(x)
        if measured is None:
            return 0.0
        parts = self._faults(measured)
        return _normal(float(parts @ parts), len(parts))

    def known(self, x: Mapping[Hashable, Any]) -> int:
        """Return how many of these signals were seen often enough to be judged."""
        measured = self._measure(x)
        return 0 if measured is None else len(measured.places)

    def learn_one(self, x: Mapping[Hashable, Any]) -> None:
        """Learn these signals; one that lies far out is drawn in to what is just unusual."""
        measured = self._measure(x)
        self._looked = None
        self._grow([name for name in x if name not in self._names])
        places = [at for at, name in enumerate(self._names) if _there(x, name)]
        values = np.array([float(x[self._names[at]]) for at in places])
        fresh = [at for at in places if not self._seen[at]]
        self._mean[fresh] = values[[places.index(at) for at in fresh]]
        self._seen[places] += 1.0
        steps = values - self._mean[places]
        if measured is not None:
            distance, size = float(measured.parts @ measured.parts), len(places)
            known = self._seen[places] > _TRUSTED
            most = size + 3.0 * sqrt(2.0 * size)
            if distance > most and len(measured.parts) == size:
                steps = np.where(known, steps * sqrt(most / distance), steps)
        weights = np.maximum(self.fading, 1.0 / self._seen[places])
        both = np.maximum.outer(weights, weights)
        self._mean[places] += weights * steps
        here = np.ix_(places, places)
        self._covariance[here] = (1.0 - both) * (
            self._covariance[here] + both * np.outer(steps, steps)
        )

    def contributions(self, x: Mapping[Hashable, Any]) -> dict[Hashable, float]:
        """Return the part of each signal in the squared distance; together they are 1.

        Empty where there is no distance yet, or none of it is a fault.
        """
        measured = self._measure(x)
        if measured is None:
            return {}
        squares = self._faults(measured) ** 2
        total = float(squares.sum())
        if not total:
            return {}
        return {
            self._names[at]: float(square) / total
            for at, square in zip(measured.places, squares, strict=True)
        }

    def expected(self, x: Mapping[Hashable, Any]) -> dict[Hashable, float]:
        """Return what each signal would be by all others that are there (its conditional mean)."""
        measured = self._measure(x)
        if measured is None:
            return {}
        inverse = measured.root @ measured.root
        pulled = (measured.root @ measured.parts) / np.diag(inverse)
        return {
            self._names[at]: float(x[self._names[at]]) - float(deviation * off)
            for at, deviation, off in zip(measured.places, measured.deviations, pulled, strict=True)
        }

    def begin_again(self) -> None:
        """Have what comes next count as what is usual, as at the beginning."""
        self._seen = np.minimum(self._seen, 1.0)
        self._looked = None

    def _measure(self, x: Mapping[Hashable, Any]) -> _Measured | None:
        """Measure signals; those that are judged and then learned are measured once."""
        if self._looked is None or self._looked[0] != x:
            self._looked = dict(x), self._measured(x)
        return self._looked[1]

    def _measured(self, x: Mapping[Hashable, Any]) -> _Measured | None:
        places = [
            at
            for at, name in enumerate(self._names)
            if self._seen[at] >= _TRUSTED and _there(x, name)
        ]
        if not places:
            return None
        mean = self._mean[places]
        covariance = self._covariance[np.ix_(places, places)]
        least = self.floor * np.maximum(np.abs(mean), 1.0)
        deviations = np.maximum(np.sqrt(np.diag(covariance)), least)
        off = np.array([float(x[self._names[at]]) for at in places]) - mean
        off = np.clip(off / deviations, -_WILD, _WILD)
        correlations = (1.0 - self.shrink) * covariance / np.outer(deviations, deviations)
        np.fill_diagonal(correlations, 1.0)
        values, vectors = np.linalg.eigh(correlations)
        # Pairs that were not always there together may make it indefinite.
        root = (vectors / np.sqrt(np.maximum(values, self.shrink))) @ vectors.T
        return _Measured(places, deviations, root, root @ off)

    def _faults(self, measured: _Measured) -> Floats:
        better = np.array([self._names[at] in (self.above or ()) for at in measured.places])
        return np.where(better & (measured.parts < 0.0), 0.0, measured.parts)

    def _grow(self, names: list[Hashable]) -> None:
        if not names:
            return
        more = len(names)
        self._names = self._names + names
        self._seen = np.concatenate([self._seen, np.zeros(more)])
        self._mean = np.concatenate([self._mean, np.zeros(more)])
        self._covariance = np.pad(self._covariance, (0, more))

    @property
    def state(self) -> list[Any]:
        """Names, how often each was seen, means, and the covariance row by row: plain data."""
        return [
            list(self._names),
            self._seen.tolist(),
            self._mean.tolist(),
            self._covariance.ravel().tolist(),
        ]

    def resume(self, state: Sequence[Any]) -> Self:
        """Take up what ``state`` gave, and return the model itself."""
        names, seen, mean, covariance = state
        self._looked = None
        self._names = list(names)
        self._seen, self._mean = np.array(seen, np.float64), np.array(mean, np.float64)
        self._covariance = np.array(covariance, np.float64).reshape(len(names), len(names))
        return self


def _there(x: Mapping[Hashable, Any], name: Hashable) -> bool:
    return isfinite(float(x.get(name, nan)))


def _normal(squares: float, size: int) -> float:
    """Return a sum of so many squares of normal deviates as one normal deviate (Wilson and Hilferty)."""
    spread = 2.0 / (9.0 * size)
    return float(((squares / size) ** (1.0 / 3.0) - (1.0 - spread)) / sqrt(spread))
