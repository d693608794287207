"""Functions of labels: ``label_replace``, ``label_join``, sorting, ``absent``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np

from operators.rules.errors import ExpressionError
from operators.rules.frame import Bools, InstantVector, Range
from operators.rules.label_sets import METADATA, NAME, Ids, LabelSets, groups_of
from operators.rules.node import KeptByLabels, Node, VectorNode, check_distinct
from operators.rules.plan import EvaluationPlan
from operators.rules.selecting import LabelMatcher
from operators.templating.regular import compiled, expand
from operators.templating.values import TemplateError

__all__ = ["Absent", "LabelJoin", "LabelReplace", "SortedByLabel", "SortedVector"]

_DIGITS: Final = re.compile(r"(\d+)")


class _Relabelled(VectorNode):
    """Label sets with another value of one label, the numbers as they were."""

    def __init__(self, plan: EvaluationPlan, child: Node, label: str) -> None:
        super().__init__(plan, child)
        if not label or "\ufffd" in label:
            raise ExpressionError(f"{label!r} is no name of a label")
        self.label = label
        self._made = KeptByLabels(self._make)

    def values(self, sets: LabelSets) -> tuple[Ids, Bools]:
        """Return the values of the label, and which of them were given by the function."""
        raise NotImplementedError

    def _make(self, sets: LabelSets) -> tuple[LabelSets, Ids | None]:
        values, given = self.values(sets)
        made = sets.replace(self.label, values)
        if self.label == NAME and sets.dropped is not None:
            # A name that was given on purpose stays.
            made = made.dropping(sets.dropped & ~given)
        groups, first = groups_of(made.signatures())
        return made, None if len(first) == made.size else groups

    def compute(self, time: int) -> InstantVector:
        """Return the same numbers for the new label sets."""
        frame: InstantVector = self.children[0].at(time)
        sets, groups = self._made(frame.sets)
        if groups is not None:
            check_distinct(groups, frame.present)
        return frame._replace(sets=sets)


class LabelReplace(_Relabelled):
    """``label_replace(…, to, replacement, from, pattern)``.

    Raises:
        ExpressionError: RE2 refuses the pattern.
    """

    def __init__(
        self,
        plan: EvaluationPlan,
        child: Node,
        label: str,
        replacement: str,
        source: str,
        pattern: str,
    ) -> None:
        super().__init__(plan, child, label)
        try:
            self._pattern = compiled(f"^(?s:{pattern})$")
        except TemplateError as error:
            raise ExpressionError(str(error)) from None
        self._replacement = replacement
        self._source = source

    def values(self, sets: LabelSets) -> tuple[Ids, Bools]:
        """Return what the replacement makes of each value that matches."""
        symbols = self.plan.store.symbols
        source, old = sets.column(self._source), sets.column(self.label)
        numbers, places = np.unique(source, return_inverse=True)
        new = np.full(len(numbers), -1, np.int32)
        for i, number in enumerate(numbers):
            match = self._pattern.search(symbols.texts[number])
            if match is not None:
                new[i] = symbols.number(expand(match, self._replacement))
        given: Bools = new[places] >= 0
        return np.where(given, new[places], old).astype(np.int32), given


class LabelJoin(_Relabelled):
    """``label_join(…, to, separator, from, …)``."""

    def __init__(
        self, plan: EvaluationPlan, child: Node, label: str, separator: str, sources: Sequence[str]
    ) -> None:
        super().__init__(plan, child, label)
        self._separator = separator
        self._sources = tuple(sources)

    def values(self, sets: LabelSets) -> tuple[Ids, Bools]:
        """Return the values of the sources, joined."""
        symbols = self.plan.store.symbols
        given = np.ones(sets.size, np.bool_)
        if not self._sources or not sets.size:
            return np.zeros(sets.size, np.int32), given
        columns = np.stack([sets.column(source) for source in self._sources], axis=1)
        combinations, places = np.unique(columns, axis=0, return_inverse=True)
        new = [
            symbols.number(self._separator.join(symbols.texts[number] for number in one))
            for one in combinations
        ]
        return np.array(new, np.int32)[places.reshape(-1)], given


class SortedVector(VectorNode):
    """``sort`` and ``sort_desc``: what is NaN comes last."""

    def __init__(self, plan: EvaluationPlan, child: Node, descending: bool) -> None:
        super().__init__(plan, child)
        self._descending = descending

    def compute(self, time: int) -> InstantVector:
        """Return the frame with an order."""
        frame: InstantVector = self.children[0].at(time)
        if self.plan.step:
            self.plan.warn("sort is ineffective for range queries")
        present = frame.numbers()
        there = np.flatnonzero(present)
        values = frame.values[there]
        rank = -values if self._descending else values
        order = there[np.lexsort((there, np.where(np.isnan(rank), np.inf, rank), np.isnan(rank)))]
        return InstantVector(frame.sets, frame.values, present, None, order)


class SortedByLabel(VectorNode):
    """``sort_by_label`` and ``sort_by_label_desc``: digits in texts count as numbers."""

    def __init__(
        self, plan: EvaluationPlan, child: Node, labels: Sequence[str], descending: bool
    ) -> None:
        super().__init__(plan, child)
        self._labels = tuple(labels)
        self._descending = descending

    def compute(self, time: int) -> InstantVector:
        """Return the frame with an order."""
        frame: InstantVector = self.children[0].at(time)
        if self.plan.step:
            self.plan.warn("sort is ineffective for range queries")

        def key(row: int) -> list[list[tuple[int, int | str]]]:
            labels = frame.sets.labels(row)
            keys = [_natural(labels.get(name, "")) for name in self._labels]
            return [*keys, *(_natural(f"{name}\0{value}") for name, value in labels.items())]

        there = sorted(np.flatnonzero(frame.present).tolist(), key=key, reverse=self._descending)
        return frame._replace(order=np.array(there, np.int64))


def _natural(text: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in _DIGITS.split(text) if part]


class Absent(VectorNode):
    """``absent`` and ``absent_over_time``: one series if there is none.

    Args:
        plan: what it is part of.
        child: what may be absent.
        matchers: those of the selector, whose equalities become labels.
    """

    def __init__(self, plan: EvaluationPlan, child: Node, matchers: Sequence[LabelMatcher]) -> None:
        super().__init__(plan, child)
        labels: dict[str, str] = {}
        seen: set[str] = set()
        for matcher in matchers:
            if matcher.name in METADATA:
                continue
            if matcher.operator == "=" and matcher.name not in seen:
                labels[matcher.name] = matcher.value
                seen.add(matcher.name)
            else:
                labels.pop(matcher.name, None)
        self._sets = LabelSets.of(plan.store.symbols, [labels])

    def compute(self, time: int) -> InstantVector:
        """Return 1 if nothing is present."""
        result: InstantVector | Range = self.children[0].at(time)
        if isinstance(result, InstantVector):
            some = bool(result.present.any())
        else:
            some = bool((result.high > result.low).any()) or bool(result.histograms)
        return InstantVector(self._sets, np.ones(1), np.array([not some]))
