"""Quantiles and shares of classic histograms, whose buckets are series with a label ``le``."""

# ruff: noqa: PLR0124 -- a compiled loop is one long function; NaN is not equal to itself

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from operators.rules import native
from operators.rules.frame import Bools, Floats, InstantVector
from operators.rules.label_sets import LabelSets, groups_of
from operators.rules.node import Dropping, KeptByLabels, Node, VectorNode, check_distinct
from operators.rules.plan import EvaluationPlan
from operators.templating.formatting import sprintf

__all__ = ["HistogramQuantiles", "HistogramShare"]

Longs = NDArray[np.int64]


class _Buckets(NamedTuple):
    sets: LabelSets  # A row for each histogram: the labels without ``le``.
    order: Longs  # The rows of buckets, by histogram and bound.
    bounds: Floats  # The upper bounds, in that order.
    begins: Longs  # Where each histogram begins in ``order``, and the end.
    bad: bool  # A series has no bound.


class HistogramShare(VectorNode):
    """``histogram_quantile(q, …)`` and ``histogram_fraction(lower, upper, …)``."""

    def __init__(self, plan: EvaluationPlan, function: str, child: Node, *numbers: Node) -> None:
        super().__init__(plan, child, *numbers)
        self.function = function
        self._buckets = KeptByLabels(self._group)
        self._dropping = Dropping(plan.delayed_name_removal)
        self._both = KeptByLabels(LabelSets.plus)

    def _group(self, sets: LabelSets) -> _Buckets:
        texts = self.plan.store.symbols.texts
        le = sets.column("le")
        numbers, places = np.unique(le, return_inverse=True)
        bounds = np.array([_bound(texts[number]) for number in numbers], np.float64)
        bounds = bounds[places] if len(le) else np.zeros(0)
        known = np.flatnonzero(~np.isnan(bounds))
        groups, first = groups_of(sets.signatures_of(("le",), others=True)[known])
        order = np.lexsort((bounds[known], groups))
        begins = np.searchsorted(groups[order], np.arange(len(first) + 1))
        rows = known[order]
        kept = sets.take(known[first]).without(("le",))
        return _Buckets(kept, rows, bounds[rows], begins, len(known) < sets.size)

    def compute(self, time: int) -> InstantVector:
        """Return the quantile or share of each histogram."""
        frame: InstantVector = self.children[0].at(time)
        numbers = [float(child.at(time)) for child in self.children[1:]]
        if self.function == "histogram_quantile" and not 0 <= numbers[0] <= 1:
            self.plan.warn(f"quantile value should be between 0 and 1, got {numbers[0]:g}")
        buckets = self._buckets(frame.sets)
        there = frame.numbers()
        if buckets.bad and native.lacks_bounds(frame):
            self.plan.warn("bucket label le is missing or has a malformed value")
        arguments = (there, buckets.order, buckets.bounds, buckets.begins)
        if self.function == "histogram_quantile":
            values, present, forced = _quantiles(frame.values, *arguments, numbers[0])
            if forced:
                self.plan.info("input to histogram_quantile needed to be fixed for monotonicity")
        else:
            values, present = _shares(frame.values, *arguments, numbers[0], numbers[1])
        sets = buckets.sets
        if frame.has_histograms():
            more, also = native.share(self.plan, self.function, frame, numbers)
            mixed = self._mixed(buckets, frame, present, also)
            present = present & ~mixed[0]
            also = also & ~mixed[1]
            sets = self._both(sets, frame.sets)
            values, present = np.concatenate([values, more]), np.concatenate([present, also])
        return InstantVector(self._dropping(sets, present), values, present)

    def _mixed(
        self, buckets: _Buckets, frame: InstantVector, present: Bools, also: Bools
    ) -> tuple[Bools, Bools]:
        """Return which classic and native histograms have the same labels: they have no result."""
        classic = buckets.sets.signatures()
        natives = frame.sets.signatures()
        one = present & np.isin(classic, natives[also])
        two = also & np.isin(natives, classic[present])
        if one.any():
            self.plan.warn("vector contains a mix of classic and native histograms")
        return one, two


class HistogramQuantiles(VectorNode):
    """``histogram_quantiles(…, "q", 0.5, 0.9)``: several quantiles, told apart by a label."""

    def __init__(self, plan: EvaluationPlan, child: Node, label: str, *numbers: Node) -> None:
        shares = [HistogramShare(plan, "histogram_quantile", child, one) for one in numbers]
        super().__init__(plan, *shares)
        self._numbers = numbers
        self._label = label

    def compute(self, time: int) -> InstantVector:
        """Return each quantile of each histogram."""
        symbols = self.plan.store.symbols
        sets: LabelSets | None = None
        parts: list[InstantVector] = [child.at(time) for child in self.children]
        for frame, number in zip(parts, self._numbers, strict=True):
            text = symbols.number(_quantile_text(number.at(time)))
            one = frame.sets.replace(self._label, np.full(frame.sets.size, text, np.int32))
            sets = one if sets is None else sets.plus(one)
        assert sets is not None
        values = np.concatenate([frame.values for frame in parts])
        present = np.concatenate([frame.present for frame in parts])
        check_distinct(groups_of(sets.signatures())[0], present)
        return InstantVector(sets, values, present)


def _quantile_text(number: float) -> str:
    """Return a number as OpenMetrics writes it: what is whole has a fraction, too."""
    text = sprintf("%g", [float(number)])
    return text if any(c in text for c in ".eNI") else f"{text}.0"


def _bound(text: str) -> float:
    try:
        return float(text) if text.strip() == text and "_" not in text else math.nan
    except ValueError:
        return math.nan


@njit(cache=True, nogil=True, error_model="numpy")
def _merged(
    values: Floats, present: Bools, rows: Longs, bounds: Floats, a: int, b: int
) -> tuple[Floats, Floats]:
    """Return the bounds and counts of one histogram; buckets of the same bound are added up."""
    upper = np.empty(b - a)
    count = np.empty(b - a)
    n = 0
    for k in range(a, b):
        if not present[rows[k]]:
            continue
        if n and upper[n - 1] == bounds[k]:
            count[n - 1] += values[rows[k]]
        else:
            upper[n] = bounds[k]
            count[n] = values[rows[k]]
            n += 1
    return upper[:n], count[:n]


@njit(cache=True, nogil=True, error_model="numpy")
def _monotonic(count: Floats) -> bool:
    """Make counts grow with the bound; say whether that changed more than rounding does."""
    forced = False
    before = count[0]
    for k in range(1, len(count)):
        now = count[k]
        if now == before:
            continue
        total = abs(now) + abs(before)
        small = abs(now - before)
        close = small < 1e-12 * 2.2250738585072014e-308
        if total > 0 and now != 0 and before != 0 and total >= 2.2250738585072014e-308:
            close = small / min(total, 1.7976931348623157e308) < 1e-12
        if close:
            count[k] = before
        elif now < before:
            count[k] = before
            forced = True
        else:
            before = now
    return forced


@njit(cache=True, nogil=True, error_model="numpy")
def _quantiles(
    values: Floats, present: Bools, rows: Longs, bounds: Floats, begins: Longs, q: float
) -> tuple[Floats, Bools, bool]:
    result = np.zeros(len(begins) - 1)
    seen = np.zeros(len(begins) - 1, np.bool_)
    any_forced = False
    for i in range(len(begins) - 1):
        upper, count = _merged(values, present, rows, bounds, begins[i], begins[i + 1])
        n = len(upper)
        if not n:
            continue
        seen[i] = True
        if q != q:
            result[i] = np.nan
            continue
        if q < 0 or q > 1:
            result[i] = -np.inf if q < 0 else np.inf
            continue
        if upper[n - 1] != np.inf:
            result[i] = np.nan
            continue
        any_forced |= _monotonic(count)
        total = count[n - 1]
        if n < 2 or total == 0:
            result[i] = np.nan
            continue
        rank = q * total
        place = 0
        while place < n - 1 and not count[place] >= rank:
            place += 1
        if place == n - 1:
            result[i] = upper[n - 2]
        elif place == 0 and upper[0] <= 0:
            result[i] = upper[0]
        else:
            start = 0.0
            inside = count[place]
            if place > 0:
                start = upper[place - 1]
                inside -= count[place - 1]
                rank -= count[place - 1]
            result[i] = start + (upper[place] - start) * (rank / inside)
    return result, seen, any_forced


@njit(cache=True, nogil=True, error_model="numpy")
def _rank(upper: Floats, count: Floats, bound: float) -> float:
    """Return how many observations are below a bound, linear inside of a bucket."""
    before = 0.0
    low = 0.0 if upper[0] > 0 else -np.inf
    for i in range(len(upper)):
        if i > 0:
            low = upper[i - 1]
        if low >= bound:
            return before
        if upper[i] > bound:
            if low == -np.inf:
                return float(count[i])
            return float(before + (count[i] - before) * (bound - low) / (upper[i] - low))
        before = count[i]
    return np.inf


@njit(cache=True, nogil=True, error_model="numpy")
def _shares(
    values: Floats,
    present: Bools,
    rows: Longs,
    bounds: Floats,
    begins: Longs,
    lower: float,
    higher: float,
) -> tuple[Floats, Bools]:
    result = np.zeros(len(begins) - 1)
    seen = np.zeros(len(begins) - 1, np.bool_)
    for i in range(len(begins) - 1):
        upper, count = _merged(values, present, rows, bounds, begins[i], begins[i + 1])
        n = len(upper)
        if not n:
            continue
        seen[i] = True
        total = count[n - 1]
        if upper[n - 1] != np.inf or total == 0 or lower != lower or higher != higher:
            result[i] = np.nan
        elif lower < higher:
            below = min(_rank(upper, count, lower), total)
            result[i] = (min(_rank(upper, count, higher), total) - below) / total
    return result, seen
