"""Functions of range vectors, by name, and the node that applies one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from operators.rules import native
from operators.rules.errors import EvaluationError
from operators.rules.frame import Bools, Floats, InstantVector, Range
from operators.rules.node import Dropping, Node, VectorNode
from operators.rules.over_time import FOLDS, fold, linear, mad, quantile, smoothed
from operators.rules.plan import EvaluationPlan
from operators.rules.rates import extrapolated, instant

__all__ = ["RANGE_FUNCTIONS", "RangeFunction"]

_Result = tuple[Floats, Bools]


def _extrapolated(counter: bool, per_second: bool) -> Callable[..., _Result]:
    def apply(r: Range, time: int) -> _Result:
        del time
        return extrapolated(r.ts, r.values, r.low, r.high, r.start, r.end, counter, per_second)

    return apply


def _instant(counter: bool) -> Callable[..., _Result]:
    def apply(r: Range, time: int) -> _Result:
        del time
        return instant(r.ts, r.values, r.low, r.high, counter)

    return apply


def _fold(name: str) -> Callable[..., _Result]:
    number = FOLDS[name]

    def apply(r: Range, time: int) -> _Result:
        del time
        return fold(r.ts, r.values, r.low, r.high, number)

    return apply


def _quantile(r: Range, time: int, share: float) -> _Result:
    del time
    return quantile(r.values, r.low, r.high, share)


def _mad(r: Range, time: int) -> _Result:
    del time
    return mad(r.values, r.low, r.high)


def _deriv(r: Range, time: int) -> _Result:
    slopes, _, present = linear(r.ts, r.values, r.low, r.high, time, True)
    return slopes, present


def _predict_linear(r: Range, time: int, ahead: float) -> _Result:
    slopes, values, present = linear(r.ts, r.values, r.low, r.high, time, False)
    return slopes * ahead + values, present


def _smoothed(r: Range, time: int, factor: float, trend: float) -> _Result:
    del time
    for name, value in (("smoothing", factor), ("trend", trend)):
        if not 0 < value < 1:
            raise EvaluationError(f"invalid {name} factor. Expected: 0 < factor < 1, got: {value}")
    return smoothed(r.values, r.low, r.high, factor, trend)


RANGE_FUNCTIONS: Final[dict[str, Callable[..., _Result]]] = {
    "rate": _extrapolated(counter=True, per_second=True),
    "increase": _extrapolated(counter=True, per_second=False),
    "delta": _extrapolated(counter=False, per_second=False),
    "irate": _instant(counter=True),
    "idelta": _instant(counter=False),
    "deriv": _deriv,
    "predict_linear": _predict_linear,
    "quantile_over_time": _quantile,
    "mad_over_time": _mad,
    "double_exponential_smoothing": _smoothed,
    **{name: _fold(name) for name in FOLDS},
}
"""By name: a function of a range, the time of the evaluation and the other arguments."""

_KEEPS_NAME: Final = ("last_over_time", "first_over_time")


class RangeFunction(VectorNode):
    """A function of `RANGE_FUNCTIONS`, with its range and its numbers."""

    def __init__(self, plan: EvaluationPlan, function: str, over: Node, *numbers: Node) -> None:
        super().__init__(plan, over, *numbers)
        self.function = function
        self._apply = RANGE_FUNCTIONS[function]
        self._dropping = Dropping(plan.delayed_name_removal)

    def compute(self, time: int) -> InstantVector:
        """Return the number for each series that has enough samples."""
        over: Range = self.children[0].at(time)
        numbers = [float(child.at(time)) for child in self.children[1:]]
        if self.function == "quantile_over_time" and not 0 <= numbers[0] <= 1:
            self.plan.warn(f"quantile value should be between 0 and 1, got {numbers[0]:g}")
        with np.errstate(all="ignore"):
            values, present = self._apply(over, time, *numbers)
        objects = None
        if over.histograms:
            objects = native.over_range(self.plan, self.function, over, values, present)
        sets = over.sets
        if self.function not in _KEEPS_NAME:
            sets = self._dropping(sets, present)
        return InstantVector(sets, values, present, objects)
