"""Label sets in groups, by some of their labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.rules.label_sets import METADATA, Ids, LabelSets, groups_of
from operators.rules.node import KeptByLabels

__all__ = ["Grouping", "LabelGroups"]


class LabelGroups(NamedTuple):
    """Label sets in groups."""

    of: Ids  # The group of each row.
    sets: LabelSets  # The labels of each group.
    order: NDArray[np.int64]  # The rows, group after group.
    bounds: NDArray[np.int64]  # Where each group begins in ``order``, and the end.


class Grouping:
    """Puts label sets into groups by some labels, or by all but some (``without``)."""

    def __init__(self, labels: Sequence[str], without: bool) -> None:
        self.labels = tuple(labels)
        self.without = without
        self.groups = KeptByLabels(self._group)

    def _group(self, sets: LabelSets) -> LabelGroups:
        if self.without:
            away = (*self.labels, *METADATA)
            groups, first = groups_of(sets.signatures_of(away, others=True))
            kept = sets.take(first).without(away)
        else:
            groups, first = groups_of(sets.signatures_of(self.labels))
            kept = sets.take(first).keep(self.labels)
        if sets.dropped is not None:
            marks = np.zeros(len(first), np.bool_)
            marks[groups[sets.dropped]] = True
            kept = kept.dropping(marks)
        order = np.argsort(groups, kind="stable")
        bounds = np.searchsorted(groups[order], np.arange(len(first) + 1))
        return LabelGroups(groups, kept, order, bounds)
