"""``topk``, ``bottomk``, ``limitk`` and ``limit_ratio``: some of the series of each group, as they are.

Which of several equal values are picked is decided by a heap, in the order of the labels, exactly
as in Prometheus. A ratio of the series is picked by the hash that Prometheus has of their labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from operators.rules.errors import EvaluationError
from operators.rules.frame import Floats, InstantVector
from operators.rules.grouping import Grouping
from operators.rules.label_hashes import prometheus_hashes
from operators.rules.label_sets import Ids, LabelSets
from operators.rules.node import KeptByLabels, Node, VectorNode
from operators.rules.plan import EvaluationPlan

__all__ = ["PICKED", "LimitRatio", "Picking"]

Longs = NDArray[np.int64]

PICKED: Final = ("topk", "bottomk", "limitk")


class Picking(VectorNode):
    """A function of `PICKED`."""

    def __init__(
        self,
        plan: EvaluationPlan,
        function: str,
        number: Node,
        child: Node,
        labels: Sequence[str],
        without: bool,
    ) -> None:
        super().__init__(plan, number, child)
        self.function = function
        self._grouping = Grouping(labels, without)
        self._by_labels = KeptByLabels(_by_labels)

    def compute(self, time: int) -> InstantVector:
        """Return the series that are picked, and their order.

        Raises:
            EvaluationError: the number of series that are wanted is none.
        """
        wanted: float = self.children[0].at(time)
        frame: InstantVector = self.children[1].at(time)
        if math.isnan(wanted):
            raise EvaluationError("Parameter value is NaN")
        if not frame.present.any():
            return frame._replace(order=np.zeros(0, np.int64))
        if abs(wanted) >= 1 << 63:
            side = "overflows" if wanted > 0 else "underflows"
            raise EvaluationError(f"Scalar value {wanted:g} {side} int64")
        number = min(int(wanted), frame.sets.size)
        present = np.zeros(frame.sets.size, np.bool_)
        if number < 1:
            return InstantVector(
                frame.sets, frame.values, present, frame.histograms, np.zeros(0, np.int64)
            )
        groups = self._grouping.groups(frame.sets)
        candidates = frame.present
        if self.function != "limitk" and frame.has_histograms():
            self.plan.info(f"ignored histogram in {self.function} aggregation")
            candidates = frame.numbers()
        rows = self._by_labels(frame.sets)
        rows = rows[candidates[rows]]
        if self.function == "limitk":
            picked = _first(rows, groups.of, groups.sets.size, number)
        else:
            values = frame.values if self.function == "topk" else -frame.values
            sizes = np.minimum(np.bincount(groups.of[rows], minlength=groups.sets.size), number)
            begins = np.concatenate([[0], np.cumsum(sizes)])
            picked = _heaps(values, rows, groups.of, begins)
            found = values[picked]
            order = np.where(np.isnan(found), np.inf, -found)
            picked = picked[np.lexsort((order, np.isnan(found), groups.of[picked]))]
        present[picked] = True
        return InstantVector(frame.sets, frame.values, present, frame.histograms, picked)


class LimitRatio(VectorNode):
    """``limit_ratio``: series by how far the hash of their labels is on the way from 0 to 2**64.

    A ratio from 0 on has those that are before it, a negative one those that are not before 1 plus it.
    """

    def __init__(
        self,
        plan: EvaluationPlan,
        ratio: Node,
        child: Node,
        labels: Sequence[str],
        without: bool,
    ) -> None:
        super().__init__(plan, ratio, child)
        self._grouping = Grouping(labels, without)
        self._by_labels = KeptByLabels(_by_labels)
        self._offsets = KeptByLabels(_offsets)

    def compute(self, time: int) -> InstantVector:
        """Return the series that are picked, and their order.

        Raises:
            EvaluationError: the ratio is NaN.
        """
        ratio: float = self.children[0].at(time)
        frame: InstantVector = self.children[1].at(time)
        if math.isnan(ratio):
            raise EvaluationError("Ratio value is NaN")
        nearest = min(1.0, max(-1.0, ratio))
        if ratio != nearest:
            self.plan.warn(
                f"ratio value should be between -1 and 1, got {ratio:g}, capping to {nearest:g}"
            )
        offsets = self._offsets(frame.sets)
        if nearest == 0:  # also if it is -0
            wanted = np.zeros(frame.sets.size, np.bool_)
        else:
            wanted = offsets < nearest if nearest > 0 else offsets >= 1.0 + nearest
        present = frame.present & wanted
        rows = self._by_labels(frame.sets)
        rows = rows[present[rows]]
        groups = self._grouping.groups(frame.sets)
        sizes = np.bincount(groups.of[rows], minlength=groups.sets.size)
        begins = np.concatenate([[0], np.cumsum(sizes)])
        values = np.where(frame.numbers(), frame.values, 0.0)
        picked = _heaps(values, rows, groups.of, begins)
        return InstantVector(frame.sets, frame.values, present, frame.histograms, picked)


def _offsets(sets: LabelSets) -> Floats:
    """Return how far each hash is on the way from 0 to 2**64."""
    return prometheus_hashes(sets).astype(np.float64) / 2.0**64


def _by_labels(sets: LabelSets) -> Longs:
    """Return the rows in the order of their labels."""
    texts = sets.symbols.texts
    columns = sorted((texts[number], ids) for number, ids in sets.columns.items())
    keys: list[list[str]] = [[] for _ in range(sets.size)]
    for name, ids in columns:
        for row in np.flatnonzero(ids):
            keys[row] += name, texts[ids[row]]
    return np.array(sorted(range(sets.size), key=keys.__getitem__), np.int64)


@njit(cache=True, nogil=True, error_model="numpy")
def _first(rows: Longs, groups: Ids, size: int, number: int) -> Longs:
    picked = np.empty(len(rows), np.int64)
    counts = np.zeros(size, np.int64)
    n = 0
    for row in rows:
        if counts[groups[row]] < number:
            counts[groups[row]] += 1
            picked[n] = row
            n += 1
    return picked[:n].copy()


@njit(cache=True, nogil=True, error_model="numpy")
def _less(one: float, other: float) -> bool:
    """Return whether a value comes before another one in a heap: NaN comes before all."""
    return math.isnan(one) or one < other


@njit(cache=True, nogil=True, error_model="numpy")
def _heaps(values: Floats, rows: Longs, groups: Ids, begins: Longs) -> Longs:
    """Return the rows of the largest values of each group, as many as its heap has places."""
    heap = np.empty(begins[-1], np.int64)
    counts = np.zeros(len(begins) - 1, np.int64)
    for row in rows:
        g = groups[row]
        base = begins[g]
        n = counts[g]
        size = begins[g + 1] - base
        if n < size:
            j = n
            heap[base + j] = row
            counts[g] = n + 1
            while j > 0:
                i = (j - 1) // 2
                if not _less(values[heap[base + j]], values[heap[base + i]]):
                    break
                heap[base + i], heap[base + j] = heap[base + j], heap[base + i]
                j = i
            continue
        least = values[heap[base]]
        if not (least < values[row] or (math.isnan(least) and not math.isnan(values[row]))):
            continue
        heap[base] = row
        i = 0
        while True:
            j = 2 * i + 1
            if j >= size:
                break
            if j + 1 < size and _less(values[heap[base + j + 1]], values[heap[base + j]]):
                j += 1
            if not _less(values[heap[base + j]], values[heap[base + i]]):
                break
            heap[base + i], heap[base + j] = heap[base + j], heap[base + i]
            i = j
    return heap
