"""The leaves of an expression: selectors, subqueries, numbers and texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.rules.frame import InstantVector, Range
from operators.rules.label_sets import NAME, LabelSets, groups_of
from operators.rules.native_histogram import GAUGE, UNKNOWN
from operators.rules.node import Dropping, KeptByLabels, Node, RangeNode, ScalarNode, VectorNode
from operators.rules.plan import EvaluationPlan
from operators.rules.selecting import LabelMatcher, Selection

__all__ = [
    "At",
    "InstantSelector",
    "Number",
    "RangeSelector",
    "Subquery",
    "TimestampOf",
    "inputs_of",
]

At = int | str | None
"""The time of ``@`` in ms, ``start``, ``end``, or None if there is no ``@``."""


class _Timed(Node):
    """A node with ``offset`` and ``@``."""

    def __init__(self, plan: EvaluationPlan, offset: int, at: At, *children: Node) -> None:
        super().__init__(plan, *children)
        self.offset = offset
        self.fixed = at

    def moved(self, time: int) -> int:
        """Return the time (ms) that is meant at an evaluation's time."""
        if self.fixed is None:
            return time - self.offset
        if isinstance(self.fixed, int):
            return self.fixed - self.offset
        return (self.plan.start if self.fixed == "start" else self.plan.end) - self.offset


class _Selecting(_Timed):
    def __init__(
        self,
        plan: EvaluationPlan,
        matchers: Sequence[LabelMatcher],
        length: int,
        offset: int,
        at: At,
        selection: Selection,
    ) -> None:
        super().__init__(plan, offset, at)
        self.matchers = tuple(matchers)
        self.length = length
        names = [m.value for m in matchers if m.name == NAME and m.operator == "="]
        self.names = frozenset(names[:1]) if names else None
        self.selection = selection

    def at_last(self, time: int) -> InstantVector:
        """Return the last value of each series in the lookback, or in the range if that is longer."""
        self.selection.refresh()
        return self.selection.at(self.moved(time), max(self.length, self.plan.lookback))[0]


class InstantSelector(_Selecting, VectorNode):
    """``metric{label="value"}``: the last value of each series, not older than the lookback."""

    def compute(self, time: int) -> InstantVector:
        """Return the values at a time (ms)."""
        return self.timed(time)[0]

    def timed(self, time: int) -> tuple[InstantVector, NDArray[np.int64]]:
        """Return the values at a time (ms), and the times of the samples."""
        self.selection.refresh()
        return self.selection.at(self.moved(time), self.plan.lookback)


class RangeSelector(_Selecting, RangeNode):
    """``metric{label="value"}[5m]``: the samples after the start of the range, to its end."""

    def compute(self, time: int) -> Range:
        """Return the samples of the range that ends at a time (ms)."""
        self.selection.refresh()
        end = self.moved(time)
        return self.selection.over(end - self.length, end)


class TimestampOf(VectorNode):
    """``timestamp(selector)``: the times of the samples, in seconds."""

    def __init__(self, plan: EvaluationPlan, selector: InstantSelector) -> None:
        super().__init__(plan, selector)
        self._selector = selector
        self._dropping = Dropping(plan.delayed_name_removal)

    def compute(self, time: int) -> InstantVector:
        """Return the times of the last samples."""
        frame, when = self._selector.timed(time)
        sets = self._dropping(frame.sets, frame.present)
        return InstantVector(sets, when / 1000.0, frame.present)


class Number(ScalarNode):
    """A number."""

    def __init__(self, plan: EvaluationPlan, value: float) -> None:
        super().__init__(plan)
        self.value = value

    def compute(self, time: int) -> float:
        """Return the number, which is the same at every time."""
        del time
        return self.value


class Subquery(_Timed, RangeNode):
    """``expression[1h:1m]``: an expression at each multiple of a step within a range."""

    def __init__(
        self, plan: EvaluationPlan, child: Node, length: int, step: int, offset: int, at: At
    ) -> None:
        super().__init__(plan, offset, at, child)
        self.length = length
        self.step = step
        self._union = KeptByLabels(_union)

    def compute(self, time: int) -> Range:
        """Return the values of the expression at the steps within the range."""
        end = self.moved(time)
        begin = end - self.length
        first = self.step * (begin // self.step) + self.step
        times = list(range(first, end + 1, self.step))
        frames: list[InstantVector] = []
        plan = self.plan
        child = self.children[0]
        plan.nested += 1
        try:
            for at in times:
                value = child.at(at)
                frames.append(value if isinstance(value, InstantVector) else _constant(plan, value))
        finally:
            plan.nested -= 1
        distinct: list[LabelSets] = []
        for frame in frames:
            if not any(frame.sets is one for one in distinct):
                distinct.append(frame.sets)
        if not distinct:
            sets = LabelSets(plan.store.symbols, 0, {})
            none = np.zeros(0, np.int64)
            return Range(sets, none, np.zeros(0), none, none, begin, end, {})
        sets, places = self._union(*distinct)
        values = np.zeros((sets.size, len(times)))
        present = np.zeros((sets.size, len(times)), np.bool_)
        found: dict[int, list[tuple[int, Any]]] = {}
        for column, frame in enumerate(frames):
            which = next(i for i, one in enumerate(distinct) if one is frame.sets)
            rows = places[which][frame.present]
            numbers = frame.numbers()
            values[places[which][numbers], column] = frame.values[numbers]
            present[places[which][numbers], column] = True
            if frame.histograms is not None:
                for row, one in zip(rows, frame.histograms[frame.present], strict=True):
                    if one is not None:
                        # What was known of a reset held for another sample before it.
                        kept = one if one.hint == GAUGE else replace(one, hint=UNKNOWN)
                        found.setdefault(int(row), []).append((times[column], kept))
        counts = present.sum(axis=1)
        high = np.cumsum(counts)
        ts = np.broadcast_to(np.array(times, np.int64), present.shape)[present]
        return Range(sets, ts, values[present], high - counts, high, begin, end, found)


def inputs_of(node: Node) -> list[_Selecting]:
    """Return the selectors of an expression, but for those that say what is missing."""
    if isinstance(node, _Selecting):
        return [node]
    if type(node).__name__ == "Absent":
        return []
    return [found for child in node.children for found in inputs_of(child)]


def _union(*distinct: LabelSets) -> tuple[LabelSets, list[NDArray[np.int64]]]:
    """Return all label sets, each once, and where those of each argument are among them."""
    if len(distinct) == 1:
        return distinct[0], [np.arange(distinct[0].size)]
    everything = distinct[0]
    for sets in distinct[1:]:
        everything = everything.plus(sets)
    groups, first = groups_of(everything.signatures())
    places = []
    at = 0
    for sets in distinct:
        places.append(groups[at : at + sets.size].astype(np.int64))
        at += sets.size
    return everything.take(first), places


def _constant(plan: EvaluationPlan, value: float) -> InstantVector:
    return InstantVector(plan.no_labels, np.array([value]), np.ones(1, np.bool_))
