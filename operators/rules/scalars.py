"""Operators of which at least one side is a number, and conversions between the two."""

from __future__ import annotations

import math

import numpy as np

from operators.rules import native
from operators.rules.arithmetic import ARITHMETIC, calculate, compare
from operators.rules.frame import InstantVector
from operators.rules.grammar import TRIMS
from operators.rules.node import Dropping, Node, ScalarNode, VectorNode
from operators.rules.plan import EvaluationPlan

__all__ = [
    "EvaluationTime",
    "MixedOperation",
    "Negation",
    "NegativeNumber",
    "NumberOperation",
    "QueryTime",
    "ScalarOf",
    "Time",
    "VectorOf",
]


class NumberOperation(ScalarNode):
    """An operator between two numbers; a comparison gives 1 or 0."""

    def __init__(self, plan: EvaluationPlan, operator: str, left: Node, right: Node) -> None:
        super().__init__(plan, left, right)
        self._operator = operator

    def compute(self, time: int) -> float:
        """Return the result."""
        left: float = self.children[0].at(time)
        right: float = self.children[1].at(time)
        apply = calculate if self._operator in ARITHMETIC else compare
        return float(apply(self._operator, left, right))


class NegativeNumber(ScalarNode):
    """``-`` before a number."""

    def compute(self, time: int) -> float:
        """Return the number with the other sign."""
        value: float = self.children[0].at(time)
        return -value


class MixedOperation(VectorNode):
    """An operator between an instant vector and a number.

    Args:
        plan: what it is part of.
        operator: the operator.
        left: the left side.
        right: the right side; one of the two is a number.
        returns_bool: a comparison gives 1 or 0 instead of keeping or leaving out.
    """

    def __init__(
        self, plan: EvaluationPlan, operator: str, left: Node, right: Node, returns_bool: bool
    ) -> None:
        super().__init__(plan, left, right)
        self._operator = operator
        self._number_left = isinstance(left, ScalarNode)
        self._returns_bool = returns_bool
        self._dropping = Dropping(plan.delayed_name_removal)

    def compute(self, time: int) -> InstantVector:
        """Return the results."""
        vector, scalar = self.children[::-1] if self._number_left else self.children
        frame: InstantVector = vector.at(time)
        number: float = scalar.at(time)
        sides = (number, frame.values) if self._number_left else (frame.values, number)
        arithmetic = self._operator in ARITHMETIC
        if frame.has_histograms() or self._operator in TRIMS:
            frame = native.with_number(
                self.plan, self._operator, frame, number, self._number_left, self._returns_bool
            )
            if not arithmetic and not self._returns_bool:
                return frame
        elif arithmetic:
            frame = frame._replace(values=calculate(self._operator, *sides))
        else:
            keep = compare(self._operator, *sides)
            if not self._returns_bool:
                return frame._replace(present=frame.present & keep, order=None)
            frame = frame._replace(values=keep.astype(np.float64))
        return frame._replace(sets=self._dropping(frame.sets, frame.present), order=None)


class Negation(VectorNode):
    """``-`` before an instant vector."""

    def __init__(self, plan: EvaluationPlan, child: Node) -> None:
        super().__init__(plan, child)
        self._dropping = Dropping(plan.delayed_name_removal)

    def compute(self, time: int) -> InstantVector:
        """Return the values with the other sign."""
        frame: InstantVector = self.children[0].at(time)
        sets = self._dropping(frame.sets, frame.present)
        objects = native.scaled(frame.histograms, -1.0)
        return InstantVector(sets, -frame.values, frame.present, objects)


class ScalarOf(ScalarNode):
    """``scalar(…)``: the value of the only series, NaN if there is not exactly one."""

    def compute(self, time: int) -> float:
        """Return the number."""
        frame: InstantVector = self.children[0].at(time)
        there = np.flatnonzero(frame.numbers())
        return float(frame.values[there[0]]) if len(there) == 1 else math.nan


class VectorOf(VectorNode):
    """``vector(…)``: a series without labels."""

    def compute(self, time: int) -> InstantVector:
        """Return the one series."""
        value: float = self.children[0].at(time)
        return InstantVector(
            self.plan.no_labels, np.array([value], np.float64), np.ones(1, np.bool_)
        )


class Time(ScalarNode):
    """``time()``: the time of the evaluation, in seconds."""

    def compute(self, time: int) -> float:
        """Return the seconds since 1970."""
        return time / 1000.0


class QueryTime(ScalarNode):
    """``start()``, ``end()``, ``step()`` and ``range()``: the bounds of a query, in seconds."""

    def __init__(self, plan: EvaluationPlan, which: str) -> None:
        super().__init__(plan)
        self._which = which

    def compute(self, time: int) -> float:
        """Return the seconds, which are the same at every time of a query."""
        del time
        plan = self.plan
        milliseconds = {
            "start": plan.start,
            "end": plan.end,
            "step": plan.step,
            "range": plan.end - plan.start,
        }
        return milliseconds[self._which] / 1000.0


class EvaluationTime(VectorNode):
    """``timestamp(…)`` of what is not a selector: the time of the evaluation for each series."""

    def __init__(self, plan: EvaluationPlan, child: Node) -> None:
        super().__init__(plan, child)
        self._dropping = Dropping(plan.delayed_name_removal)

    def compute(self, time: int) -> InstantVector:
        """Return the time in seconds for each series that is present."""
        frame: InstantVector = self.children[0].at(time)
        sets = self._dropping(frame.sets, frame.present)
        return InstantVector(sets, np.full(sets.size, time / 1000.0), frame.present)
