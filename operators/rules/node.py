"""A node of a plan: what it keeps between ticks, and what it gives at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from operators.rules.errors import EvaluationError
from operators.rules.frame import Bools, InstantVector, Range
from operators.rules.label_sets import METADATA, LabelSets, groups_of
from operators.rules.plan import EvaluationPlan

__all__ = [
    "Dropping",
    "KeptByLabels",
    "Node",
    "RangeNode",
    "ScalarNode",
    "StringNode",
    "VectorNode",
    "check_distinct",
]

T = TypeVar("T")


class KeptByLabels(Generic[T]):
    """What is worked out from label sets, kept as long as the label sets stay the same objects."""

    def __init__(self, make: Callable[..., T]) -> None:
        self._make = make
        self._of: tuple[LabelSets, ...] = ()
        self._made: T | None = None

    def __call__(self, *sets: LabelSets) -> T:
        """Return it for these label sets."""
        same = len(sets) == len(self._of) and all(
            one is other for one, other in zip(sets, self._of, strict=True)
        )
        if not same or self._made is None:
            self._made = self._make(*sets)
            self._of = sets
        return self._made


class Node(ABC):
    """A part of an expression. Equal parts of expressions are one node.

    ``names`` are the metrics that it looks at, None if it may be any; a result of it holds until
    one of them gets a sample.
    """

    def __init__(self, plan: EvaluationPlan, *children: Node) -> None:
        self.plan = plan
        self.children = children
        self.names: frozenset[str] | None = frozenset()
        for child in children:
            mine, others = self.names, child.names
            self.names = None if mine is None or others is None else mine | others
        self._results: dict[int, tuple[int, Any]] = {}

    @abstractmethod
    def compute(self, time: int) -> Any:
        """Return the result at a time (ms)."""

    def at(self, time: int) -> Any:
        """Return the result at a time (ms); within one tick it is computed once."""
        plan = self.plan
        if plan.nested:
            return self.compute(time)
        version = plan.version_of(self.names)
        kept = self._results.get(time)
        if kept is not None and kept[0] == version:
            return kept[1]
        result = self.compute(time)
        if not self._results:
            plan.kept.append(self._results)
        self._results[time] = (version, result)
        return result


class VectorNode(Node):
    """A node that gives an instant vector."""

    def frame(self, time: int) -> InstantVector:
        """Return the instant vector at a time (ms)."""
        result: InstantVector = self.at(time)
        return result


class RangeNode(Node):
    """A node that gives a range vector."""

    def over(self, time: int) -> Range:
        """Return the range vector at a time (ms)."""
        result: Range = self.at(time)
        return result


class ScalarNode(Node):
    """A node that gives a number."""

    def number(self, time: int) -> float:
        """Return the number at a time (ms)."""
        result: float = self.at(time)
        return result


class StringNode(Node):
    """A node that is a text."""

    def __init__(self, plan: EvaluationPlan, text: str) -> None:
        super().__init__(plan)
        self.text = text

    def compute(self, time: int) -> str:
        """Return the text, which is the same at every time."""
        del time
        return self.text


class Dropping:
    """Takes the metric's name away from label sets, at once or at the end, as the plan says.

    Args:
        delayed: mark the names, so that they go away when the result is complete.
    """

    def __init__(self, delayed: bool) -> None:
        self._delayed = delayed
        self._kept = KeptByLabels(self._drop)

    def _drop(self, sets: LabelSets) -> tuple[LabelSets, NDArray[np.int32] | None]:
        if self._delayed:
            return sets.dropping(True), None
        dropped = sets.without(METADATA)
        groups, first = groups_of(dropped.signatures())
        return dropped, None if len(first) == dropped.size else groups

    def __call__(self, sets: LabelSets, present: Bools) -> LabelSets:
        """Return the label sets without names.

        Raises:
            EvaluationError: two that are present have become one.
        """
        dropped, groups = self._kept(sets)
        if groups is not None:
            check_distinct(groups, present)
        return dropped


def check_distinct(groups: NDArray[np.int32], present: Bools) -> None:
    """Raise `EvaluationError` if two label sets that are present are the same one."""
    there = groups[present]
    if len(there) and np.bincount(there).max() > 1:
        raise EvaluationError("vector cannot contain metrics with the same labelset")
