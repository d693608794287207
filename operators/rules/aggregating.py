"""Aggregations: ``sum by (job) (…)`` and its like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from operators.rules import native
from operators.rules.errors import ExpressionError
from operators.rules.folding import FOLDED, folded
from operators.rules.frame import InstantVector
from operators.rules.grouping import Grouping
from operators.rules.node import Node, VectorNode
from operators.rules.over_time import quantile
from operators.rules.plan import EvaluationPlan

__all__ = ["Aggregation", "CountValues", "Quantile", "value_text"]


class Aggregation(VectorNode):
    """One number for each group: an aggregation of `FOLDED`."""

    def __init__(
        self, plan: EvaluationPlan, function: str, child: Node, labels: Sequence[str], without: bool
    ) -> None:
        super().__init__(plan, child)
        self.function = function
        self._grouping = Grouping(labels, without)

    def compute(self, time: int) -> InstantVector:
        """Return the number of each group that has a value."""
        frame: InstantVector = self.children[0].at(time)
        groups = self._grouping.groups(frame.sets)
        if frame.has_histograms():
            return native.aggregate(self.plan, self.function, frame, groups.of, groups.sets)
        values, present = folded(
            frame.values, frame.present, groups.of, groups.sets.size, FOLDED[self.function]
        )
        return InstantVector(groups.sets, values, present)


class Quantile(VectorNode):
    """``quantile(0.9, …)``: a quantile of the values of each group."""

    def __init__(
        self, plan: EvaluationPlan, share: Node, child: Node, labels: Sequence[str], without: bool
    ) -> None:
        super().__init__(plan, share, child)
        self._grouping = Grouping(labels, without)

    def compute(self, time: int) -> InstantVector:
        """Return the quantile of each group that has a value."""
        share: float = self.children[0].at(time)
        frame: InstantVector = self.children[1].at(time)
        if math.isnan(share) or not 0 <= share <= 1:
            self.plan.warn(f"quantile value should be between 0 and 1, got {share:g}")
        groups = self._grouping.groups(frame.sets)
        numbers = frame.numbers()
        if frame.has_histograms():
            self.plan.info("ignored histogram in quantile aggregation")
        there = groups.order[numbers[groups.order]]
        counts = np.bincount(groups.of[there], minlength=groups.sets.size)
        high = np.cumsum(counts)
        values, present = quantile(frame.values[there], high - counts, high, share)
        return InstantVector(groups.sets, values, present)


class CountValues(VectorNode):
    """``count_values("label", …)``: how many series of a group have each value."""

    def __init__(
        self, plan: EvaluationPlan, label: str, child: Node, labels: Sequence[str], without: bool
    ) -> None:
        super().__init__(plan, child)
        if not label or "\ufffd" in label:
            raise ExpressionError(f"{label!r} is no name of a label")
        self._label = label
        self._labels = tuple(labels) if without else (*labels, label)
        self._without = without

    def compute(self, time: int) -> InstantVector:
        """Return the numbers of series, by value."""
        frame: InstantVector = self.children[0].at(time)
        there = np.flatnonzero(frame.present)
        texts: list[str] = []
        for row in there:
            one = None if frame.histograms is None else frame.histograms[row]
            texts.append(value_text(frame.values[row]) if one is None else str(one))
        symbols = self.plan.store.symbols
        numbers = np.array([symbols.number(text) for text in texts], np.int32)
        sets = frame.sets.take(there).dropping(None).replace(self._label, numbers)
        groups = Grouping(self._labels, self._without).groups(sets)
        counts = np.bincount(groups.of, minlength=groups.sets.size).astype(np.float64)
        return InstantVector(groups.sets, counts, np.ones(groups.sets.size, np.bool_))


def value_text(value: float) -> str:
    """Return a number in digits, without an exponent, as short as it can be."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text: Any = np.format_float_positional(value, trim="-")
    return str(text)
