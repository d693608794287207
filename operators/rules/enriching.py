"""``info()``: labels of info metrics, as ``target_info``, added to series of the same target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.rules.errors import EvaluationError
from operators.rules.frame import InstantVector
from operators.rules.label_sets import METADATA, NAME, Ids, LabelSets, groups_of
from operators.rules.node import KeptByLabels, Node, VectorNode, check_distinct
from operators.rules.plan import EvaluationPlan
from operators.rules.selecting import LabelMatcher
from operators.rules.selectors import InstantSelector

__all__ = ["TARGET", "Info", "name_matchers"]

TARGET: Final = "target_info"
_IDENTIFYING: Final = ("instance", "job")

Rows = NDArray[np.int64]


def name_matchers(matchers: Sequence[LabelMatcher]) -> list[LabelMatcher]:
    """Return the conditions on an info metric's name: by default it is ``target_info``."""
    named = [matcher for matcher in matchers if matcher.name == NAME]
    if not named:
        return [LabelMatcher(NAME, "=", TARGET)]
    if all(matcher.operator in ("!=", "!~") for matcher in named):
        return [LabelMatcher(NAME, "=~", ".+_info"), *named]
    return named


class Info(VectorNode):
    """``info(…, {…})``.

    Args:
        plan: what it is part of.
        child: the series that get labels.
        selector: the info series.
        matchers: the conditions of the second argument, about names and labels.
    """

    def __init__(
        self,
        plan: EvaluationPlan,
        child: Node,
        selector: InstantSelector,
        matchers: Sequence[LabelMatcher],
    ) -> None:
        super().__init__(plan, child, selector)
        self._selector = selector
        self._names = name_matchers(matchers)
        self._data = [matcher for matcher in matchers if matcher.name != NAME]
        self._needed = not all(matcher.accepts("") for matcher in self._data)
        self._is_info = KeptByLabels(self._infos)
        self._groups = KeptByLabels(self._group)
        self._last: tuple[LabelSets, LabelSets, list[Rows], LabelSets, Ids | None] | None = None

    def _infos(self, sets: LabelSets) -> NDArray[np.bool_]:
        """Return which series are info series themselves: they stay as they are."""
        column = sets.column(NAME)
        texts = sets.symbols.texts
        said = {
            int(number): all(matcher.accepts(texts[number]) for matcher in self._names)
            for number in np.unique(column)
        }
        return np.array([said[int(number)] for number in column], np.bool_)

    def _group(self, base: LabelSets, info: LabelSets) -> tuple[Ids, Ids, int]:
        both = [sets.signatures_of(_IDENTIFYING) for sets in (base, info)]
        groups, first = groups_of(np.concatenate(both))
        return groups[: base.size], groups[base.size :], len(first)

    def compute(self, time: int) -> InstantVector:
        """Return the series with the labels of their target.

        Raises:
            EvaluationError: two info series of one target are equally new, or say different
                things in the same label.
        """
        base: InstantVector = self.children[0].at(time)
        info, when = self._selector.timed(time)
        if info.has_histograms():
            raise EvaluationError("info sample should be float")
        ignored = self._is_info(base.sets)
        partners = self._partners(base, info, when, ignored)
        sets, alike = self._labelled(base.sets, info.sets, partners)
        present = base.present
        if self._needed:
            found = ignored.copy()
            for partner in partners:
                found |= partner >= 0
            present = present & found
        if alike is not None:
            check_distinct(alike, present)
        return base._replace(sets=sets, present=present, order=None)

    def _partners(
        self,
        base: InstantVector,
        info: InstantVector,
        when: NDArray[np.int64],
        ignored: NDArray[np.bool_],
    ) -> list[Rows]:
        """Return for each info metric the row of each series' info series, -1 if there is none."""
        of_base, of_info, number = self._groups(base.sets, info.sets)
        identified = np.zeros(base.sets.size, np.bool_)
        for name in _IDENTIFYING:
            identified |= base.sets.column(name) > 0
        metric = info.sets.column(NAME)
        there = np.flatnonzero(info.present)
        partners = []
        for name in np.unique(metric[there]):
            rows = there[metric[there] == name]
            rows = rows[np.lexsort((when[rows], of_info[rows]))]
            groups = of_info[rows]
            same = (groups[1:] == groups[:-1]) & (when[rows][1:] == when[rows][:-1])
            newest = np.ones(len(rows), np.bool_)
            newest[:-1] = groups[1:] != groups[:-1]
            if (same & newest[1:]).any():
                raise EvaluationError("found duplicate series for info metric")
            slots = np.full(number, -1, np.int64)
            slots[groups[newest]] = rows[newest]
            partner = slots[of_base]
            partner[~identified | ignored] = -1
            partners.append(partner)
        return partners

    def _labelled(
        self, base: LabelSets, info: LabelSets, partners: list[Rows]
    ) -> tuple[LabelSets, Ids | None]:
        last = self._last
        if (
            last is not None
            and last[0] is base
            and last[1] is info
            and len(last[2]) == len(partners)
            and all(np.array_equal(a, b) for a, b in zip(last[2], partners, strict=True))
        ):
            return last[3], last[4]
        symbols = base.symbols
        wanted = {symbols.find(matcher.name) for matcher in self._data}
        away = {symbols.find(name) for name in METADATA}
        columns = dict(base.columns)
        for number, ids in info.columns.items():
            if number in away or (wanted and number not in wanted):
                continue
            given = np.zeros(base.size, np.int32)
            for partner in partners:
                values = np.where(partner >= 0, ids[partner], 0).astype(np.int32)
                if ((given > 0) & (values > 0) & (given != values)).any():
                    raise EvaluationError(f"conflicting label: {symbols.texts[number]}")
                given = np.where(given > 0, given, values)
            own = columns.get(number, np.zeros(base.size, np.int32))
            columns[number] = np.where(own > 0, own, given)
        sets = LabelSets(symbols, base.size, columns, base.dropped)
        groups, first = groups_of(sets.signatures())
        alike = None if len(first) == sets.size else groups
        self._last = (base, info, partners, sets, alike)
        return sets, alike
