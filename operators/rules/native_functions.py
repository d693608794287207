"""Functions that make a number of each native histogram."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from operators.rules import native
from operators.rules.frame import InstantVector
from operators.rules.native_histogram import NativeHistogram
from operators.rules.node import Dropping, Node, VectorNode
from operators.rules.plan import EvaluationPlan

__all__ = ["FROM_HISTOGRAM", "FromHistogram"]

FROM_HISTOGRAM: Final[dict[str, Callable[[NativeHistogram], float]]] = {
    "histogram_count": lambda one: one.count,
    "histogram_sum": lambda one: one.sum,
    "histogram_avg": lambda one: one.sum / one.count if one.count else math.nan,
    "histogram_stdvar": NativeHistogram.variance,
    "histogram_stddev": lambda one: math.sqrt(one.variance()),
}


class FromHistogram(VectorNode):
    """A function of `FROM_HISTOGRAM`; values that are numbers are left out."""

    def __init__(self, plan: EvaluationPlan, function: str, child: Node) -> None:
        super().__init__(plan, child)
        self._function = FROM_HISTOGRAM[function]
        self._dropping = Dropping(plan.delayed_name_removal)

    def compute(self, time: int) -> InstantVector:
        """Return the number of each histogram."""
        frame: InstantVector = self.children[0].at(time)
        present = frame.present & ~frame.numbers()
        values = np.zeros(frame.sets.size)
        objects = native.objects_of(frame)
        for row in np.flatnonzero(present):
            values[row] = self._function(objects[row])
        return InstantVector(self._dropping(frame.sets, present), values, present)
