"""Functions of each value of an instant vector on its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from operators.rules.calendar import PARTS
from operators.rules.frame import Bools, Floats, InstantVector
from operators.rules.node import Dropping, Node, VectorNode
from operators.rules.plan import EvaluationPlan

__all__ = ["EACH", "Clamp", "DatePart", "Elementwise", "Round"]

EACH: Final[dict[str, Callable[[Floats], Floats]]] = {
    "abs": np.abs,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "deg": lambda values: values * 180 / np.pi,
    "exp": np.exp,
    "floor": np.floor,
    "ln": np.log,
    "log10": np.log10,
    "log2": np.log2,
    "rad": lambda values: values * np.pi / 180,
    "sgn": np.sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
}


class _OfNumbers(VectorNode):
    """A function that leaves native histograms out and drops the metric's name."""

    def __init__(self, plan: EvaluationPlan, *children: Node) -> None:
        super().__init__(plan, *children)
        self._dropping = Dropping(plan.delayed_name_removal)

    def made(self, frame: InstantVector, values: Floats, present: Bools) -> InstantVector:
        """Return the result."""
        return InstantVector(self._dropping(frame.sets, present), values, present)


class Elementwise(_OfNumbers):
    """A function of `EACH`."""

    def __init__(
        self, plan: EvaluationPlan, function: Callable[[Floats], Floats], child: Node
    ) -> None:
        super().__init__(plan, child)
        self._function = function

    def compute(self, time: int) -> InstantVector:
        """Return what the function makes of each number."""
        frame: InstantVector = self.children[0].at(time)
        with np.errstate(all="ignore"):
            values = self._function(frame.values)
        return self.made(frame, values, frame.numbers())


class DatePart(_OfNumbers):
    """``hour(…)`` and its like; without an argument, of the time of the evaluation."""

    def __init__(self, plan: EvaluationPlan, part: str, children: Sequence[Node]) -> None:
        super().__init__(plan, *children)
        self._part = PARTS[part]

    def compute(self, time: int) -> InstantVector:
        """Return the part of each date."""
        if not self.children:
            values = self._part(np.array([time // 1000], np.float64))
            return InstantVector(self.plan.no_labels, values, np.ones(1, np.bool_))
        frame: InstantVector = self.children[0].at(time)
        return self.made(frame, self._part(np.trunc(frame.values)), frame.numbers())


class Clamp(_OfNumbers):
    """``clamp``, ``clamp_min`` and ``clamp_max``; a bound that is None does not bound."""

    def __init__(
        self, plan: EvaluationPlan, child: Node, lowest: Node | None, highest: Node | None
    ) -> None:
        super().__init__(plan, *(node for node in (child, lowest, highest) if node))
        self._lowest = lowest
        self._highest = highest

    def compute(self, time: int) -> InstantVector:
        """Return each number, or the bound that it is beyond; nothing if the bounds are crossed."""
        frame: InstantVector = self.children[0].at(time)
        lowest: float = self._lowest.at(time) if self._lowest else -np.inf
        highest: float = self._highest.at(time) if self._highest else np.inf
        present = frame.numbers()
        if highest < lowest:
            present = np.zeros(len(present), np.bool_)
        values = np.maximum(lowest, np.minimum(highest, frame.values))
        return self.made(frame, values, present)


class Round(_OfNumbers):
    """``round(…, to)``: the nearest multiple; halves go up."""

    def __init__(self, plan: EvaluationPlan, child: Node, nearest: Node | None) -> None:
        super().__init__(plan, *(node for node in (child, nearest) if node))

    def compute(self, time: int) -> InstantVector:
        """Return the rounded numbers."""
        frame: InstantVector = self.children[0].at(time)
        nearest: float = self.children[1].at(time) if len(self.children) > 1 else 1.0
        with np.errstate(all="ignore"):
            inverse = np.float64(1.0) / nearest
            values = np.floor(frame.values * inverse + 0.5) / inverse
        return self.made(frame, values, frame.numbers())
