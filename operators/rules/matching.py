"""Operators between instant vectors: which series of one side belongs to which of the other."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.rules import native
from operators.rules.arithmetic import ARITHMETIC, calculate, compare
from operators.rules.errors import EvaluationError
from operators.rules.frame import Bools, Floats, InstantVector
from operators.rules.grammar import TRIMS
from operators.rules.label_sets import METADATA, NAME, Ids, LabelSets, groups_of
from operators.rules.node import KeptByLabels, Node, VectorNode, check_distinct
from operators.rules.plan import EvaluationPlan

__all__ = ["Matching", "SetOperation", "VectorOperation"]

Rows = NDArray[np.int64]


class Matching(NamedTuple):
    """How series of two sides are matched.

    ``labels`` are those that have to be equal (``on``), or those that need not be. ``many`` says
    which side may have many series for one of the other: ``left``, ``right`` or neither.
    ``include`` are the labels that come from the one side. ``fill_left`` and ``fill_right`` stand
    in for the value of a series that is not there; with ``group_right`` it is the side of many
    series that is the left one to Prometheus, and so to ``fill_left``.
    """

    labels: tuple[str, ...] = ()
    on: bool = False
    many: str = ""
    include: tuple[str, ...] = ()
    fill_left: float | None = None
    fill_right: float | None = None

    def signatures(self, sets: LabelSets) -> NDArray[np.uint64]:
        """Return what has to be equal, as numbers."""
        if self.on:
            return sets.signatures_of(self.labels)
        return sets.signatures_of((*self.labels, NAME), others=True)

    def only(self, sets: LabelSets) -> LabelSets:
        """Return the labels that have to be equal."""
        return sets.keep(self.labels) if self.on else sets.without((*self.labels, *METADATA))

    def groups(self, left: LabelSets, right: LabelSets) -> tuple[Ids, Ids, int]:
        """Return the group of each series of both sides, and the number of groups."""
        both = np.concatenate([self.signatures(left), self.signatures(right)])
        groups, first = groups_of(both)
        return groups[: left.size], groups[left.size :], len(first)


class _Pairs(NamedTuple):
    """The series of the many side, each with its partner, and the labels of the results."""

    many: Rows
    one: Rows  # -1 where the one side is filled in.
    sets: LabelSets
    alike: Ids | None  # Groups of results with the same labels, if there are such.


class VectorOperation(VectorNode):
    """An arithmetic operator or a comparison between two instant vectors."""

    def __init__(
        self,
        plan: EvaluationPlan,
        operator: str,
        left: Node,
        right: Node,
        matching: Matching,
        returns_bool: bool,
    ) -> None:
        super().__init__(plan, left, right)
        self.operator = operator
        self.matching = matching
        self.returns_bool = returns_bool
        self._fills = matching.fill_left is not None or matching.fill_right is not None
        self._groups = KeptByLabels(matching.groups)
        self._single = KeptByLabels(self._partner)
        self._static = KeptByLabels(self._pairs_of_all)
        self._last: tuple[LabelSets, LabelSets, Rows, Rows, _Pairs] | None = None

    def compute(self, time: int) -> InstantVector:
        """Return the results of all pairs."""
        left: InstantVector = self.children[0].at(time)
        right: InstantVector = self.children[1].at(time)
        many, one = (right, left) if self.matching.many == "right" else (left, right)
        if not self._fills and (partner := self._single(many.sets, one.sets)) is not None:
            del partner
            pairs = self._static(many.sets, one.sets)
        else:
            pairs = self._pairs_of_present(many, one)
        return self._result(many, one, pairs)

    def _partner(self, many: LabelSets, one: LabelSets) -> Rows | None:
        """Return the row of the one side for each group, if there is never more than one."""
        _, of_one, number = self._groups(many, one)
        if len(of_one) and np.bincount(of_one, minlength=number).max() > 1:
            return None
        slots = np.full(number, -1, np.int64)
        slots[of_one] = np.arange(one.size)
        return slots

    def _pairs_of_all(self, many: LabelSets, one: LabelSets) -> _Pairs:
        of_many, _, _ = self._groups(many, one)
        slots = self._single(many, one)
        assert slots is not None
        partner = slots[of_many]
        rows = np.flatnonzero(partner >= 0)
        return self._labelled(many, one, rows, partner[rows])

    def _pairs_of_present(self, many: InstantVector, one: InstantVector) -> _Pairs:
        """Return the pairs of what is present, which is not the same at every time."""
        of_many, of_one, number = self._groups(many.sets, one.sets)
        none = np.zeros(0, np.int64)
        fill_many, fill_one = self.matching.fill_left, self.matching.fill_right
        lacking = not many.present.any() or not one.present.any()
        if lacking and not self._fills:
            return self._remembered(many.sets, one.sets, none, none)
        there = np.flatnonzero(one.present)
        if len(there) and np.bincount(of_one[there]).max() > 1:
            side = "left" if self.matching.many == "right" else "right"
            raise EvaluationError(
                f"found duplicate series for the match group on the {side} hand-side of the"
                " operation: many-to-many matching not allowed: matching labels must be unique"
                " on one side"
            )
        slots = np.full(number, -1, np.int64)
        slots[of_one[there]] = there
        rows = np.flatnonzero(many.present)
        partner = slots[of_many[rows]]
        if fill_one is None:
            rows, partner = rows[partner >= 0], partner[partner >= 0]
        if fill_many is not None:
            matched = np.zeros(number, np.bool_)
            matched[of_many[many.present]] = True
            left_over = there[~matched[of_one[there]]]
            # The place of a series that is filled in on the many side is below -1.
            rows = np.concatenate([rows, -2 - left_over])
            partner = np.concatenate([partner, left_over])
        return self._remembered(many.sets, one.sets, rows, partner)

    def _remembered(self, many: LabelSets, one: LabelSets, rows: Rows, partner: Rows) -> _Pairs:
        last = self._last
        if (
            last is not None
            and last[0] is many
            and last[1] is one
            and np.array_equal(last[2], rows)
            and np.array_equal(last[3], partner)
        ):
            return last[4]
        pairs = self._labelled(many, one, rows, partner)
        self._last = (many, one, rows, partner, pairs)
        return pairs

    def _labelled(self, many: LabelSets, one: LabelSets, rows: Rows, partner: Rows) -> _Pairs:
        matching = self.matching
        filled = rows < -1
        sets = many.take(np.where(filled, 0, rows)) if many.size else one.take(partner)
        if filled.any():
            own = sets.take(np.flatnonzero(~filled))
            sets = own.plus(matching.only(one.take(partner[filled])))
        drops = self.operator in ARITHMETIC or (
            self.returns_bool and not self.plan.delayed_name_removal
        )
        if drops:
            sets = sets.without(METADATA)
        if not matching.many:
            sets = sets.keep(matching.labels) if matching.on else sets.without(matching.labels)
        for name in matching.include:
            given = np.zeros(len(rows), np.int32)
            known = partner >= 0
            given[known] = one.column(name)[partner[known]]
            if not known.all():
                given[~known] = matching.only(many).column(name)[rows[~known]]
            sets = sets.replace(name, given)
        sets = sets.dropping(True if self.returns_bool and self.plan.delayed_name_removal else None)
        groups, first = groups_of(sets.signatures())
        return _Pairs(rows, partner, sets, None if len(first) == len(rows) else groups)

    def _values(self, frame: InstantVector, rows: Rows, fill: float | None) -> tuple[Floats, Bools]:
        if fill is None:
            return frame.values[rows], frame.present[rows]
        known = rows >= 0
        values = np.full(len(rows), fill)
        present = np.ones(len(rows), np.bool_)
        values[known] = frame.values[rows[known]]
        present[known] = frame.present[rows[known]]
        return values, present

    def _result(self, many: InstantVector, one: InstantVector, pairs: _Pairs) -> InstantVector:
        matching = self.matching
        swapped = matching.many == "right"
        values_many, present = self._values(many, pairs.many, matching.fill_left)
        values_one, there = self._values(one, pairs.one, matching.fill_right)
        present = present & there
        left, right = (values_one, values_many) if swapped else (values_many, values_one)
        if not matching.many:
            self._check_single(pairs, present)
        elif pairs.alike is not None:
            of = pairs.alike[present]
            if len(of) and np.bincount(of).max() > 1:
                raise EvaluationError(
                    "multiple matches for labels: grouping labels must ensure unique matches"
                )
        objects: Any = None
        if many.has_histograms() or one.has_histograms() or self.operator in TRIMS:
            hists = [
                native.taken(frame, rows) for frame, rows in ((many, pairs.many), (one, pairs.one))
            ]
            left_hists, right_hists = reversed(hists) if swapped else hists
            result, keep, objects = native.combine(
                self.plan, self.operator, left, right, left_hists, right_hists, present
            )
        elif self.operator in ARITHMETIC:
            return self._checked(pairs, calculate(self.operator, left, right), present, None)
        else:
            result, keep = left, compare(self.operator, left, right)
        if self.returns_bool:
            if objects is not None:
                present = present & native.comparable(self.operator, left_hists, right_hists)
                objects = None
            return self._checked(pairs, keep.astype(np.float64), present, None)
        return self._checked(pairs, result, present & keep, objects)

    def _check_single(self, pairs: _Pairs, present: Bools) -> None:
        """Raise if two series of the left side have the same partner."""
        partner = pairs.one[present & (pairs.one >= 0)]
        if len(partner) and np.bincount(partner).max() > 1:
            raise EvaluationError(
                "multiple matches for labels: many-to-one matching must be explicit"
                " (group_left/group_right)"
            )

    def _checked(
        self, pairs: _Pairs, values: Floats, present: Bools, objects: Any
    ) -> InstantVector:
        if pairs.alike is not None and not self.plan.delayed_name_removal:
            check_distinct(pairs.alike, present)
        return InstantVector(pairs.sets, values, present, objects)


class SetOperation(VectorNode):
    """``and``, ``or`` and ``unless``."""

    def __init__(
        self, plan: EvaluationPlan, operator: str, left: Node, right: Node, matching: Matching
    ) -> None:
        super().__init__(plan, left, right)
        self.operator = operator
        self._groups = KeptByLabels(matching.groups)
        self._both = KeptByLabels(LabelSets.plus)
        self._same = KeptByLabels(_same)

    def compute(self, time: int) -> InstantVector:
        """Return the series of the left side, or of both."""
        left: InstantVector = self.children[0].at(time)
        right: InstantVector = self.children[1].at(time)
        of_left, of_right, number = self._groups(left.sets, right.sets)
        there = np.zeros(number, np.bool_)
        if self.operator == "or":
            there[of_left[left.present]] = True
            more = right.present & ~there[of_right]
            sets = self._both(left.sets, right.sets)
            objects = None
            if left.histograms is not None or right.histograms is not None:
                objects = np.concatenate([native.objects_of(left), native.objects_of(right)])
            present = np.concatenate([left.present, more])
            groups = self._same(sets)
            if groups is not None and not self.plan.delayed_name_removal:
                check_distinct(groups, present)
            return InstantVector(
                sets, np.concatenate([left.values, right.values]), present, objects
            )
        there[of_right[right.present]] = True
        matched = there[of_left]
        keep = matched if self.operator == "and" else ~matched
        return left._replace(present=left.present & keep, order=None)


def _same(sets: LabelSets) -> Ids | None:
    groups, first = groups_of(sets.signatures())
    return None if len(first) == sets.size else groups
