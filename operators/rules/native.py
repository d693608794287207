"""Native histograms in frames. They are few, so each is a Python object, apart from the numbers."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.rules.arithmetic import ARITHMETIC, calculate, compare
from operators.rules.folding import FOLDED, folded
from operators.rules.frame import Bools, Floats, InstantVector, Range
from operators.rules.grammar import TRIMS
from operators.rules.label_sets import Ids, LabelSets
from operators.rules.native_histogram import (
    COUNTER_RESET,
    GAUGE,
    NOT_RESET,
    IncompatibleError,
    NativeHistogram,
    summed,
)
from operators.rules.plan import EvaluationPlan
from operators.rules.trimming import trimmed

__all__ = [
    "aggregate",
    "combine",
    "comparable",
    "lacks_bounds",
    "objects_of",
    "over_range",
    "scaled",
    "share",
    "taken",
    "with_number",
]

Objects = NDArray[np.object_]
_MIXED = "a mix of floats and histograms was encountered"


def objects_of(frame: InstantVector) -> Objects:
    """Return the histograms of a frame, None for each number."""
    if frame.histograms is not None:
        return frame.histograms
    return np.full(len(frame.values), None, np.object_)


def taken(frame: InstantVector, rows: NDArray[np.int64]) -> Objects:
    """Return the histograms of some rows, None for each number and each row below 0."""
    found = np.full(len(rows), None, np.object_)
    known = rows >= 0
    found[known] = objects_of(frame)[rows[known]]
    return found


def scaled(objects: Objects | None, factor: float) -> Objects | None:
    """Return histograms with everything in them multiplied."""
    if objects is None:
        return None
    made = np.full(len(objects), None, np.object_)
    for row, one in enumerate(objects):
        if one is not None:
            made[row] = one.scaled(factor)
    return made


def lacks_bounds(frame: InstantVector) -> bool:
    """Return whether a number is present that has no bound of a bucket."""
    le = frame.sets.column("le")
    texts = frame.sets.symbols.texts
    for row in np.flatnonzero(frame.numbers()):
        try:
            float(texts[le[row]])
        except ValueError:
            return True
    return False


def share(
    plan: EvaluationPlan, function: str, frame: InstantVector, numbers: list[float]
) -> tuple[Floats, Bools]:
    """Return a quantile, or a share between two bounds, of each native histogram."""
    values = np.zeros(frame.sets.size)
    present = np.zeros(frame.sets.size, np.bool_)
    for row in np.flatnonzero(frame.present):
        one: NativeHistogram | None = objects_of(frame)[row]
        if one is None:
            continue
        if math.isnan(one.sum) and one.count > sum(c for _, _, c in one.buckets()):
            plan.info(f"input to {function} has NaN observations")
        values[row] = (
            one.quantile(numbers[0])
            if function == "histogram_quantile"
            else one.fraction(numbers[0], numbers[1])
        )
        present[row] = True
    return values, present


def aggregate(
    plan: EvaluationPlan, function: str, frame: InstantVector, groups: Ids, sets: LabelSets
) -> InstantVector:
    """Return an aggregation of a frame in which some values are native histograms."""
    values = np.zeros(sets.size)
    present = np.zeros(sets.size, np.bool_)
    objects = np.full(sets.size, None, np.object_)
    found = objects_of(frame)
    members: dict[int, list[int]] = {}
    for row in np.flatnonzero(frame.present):
        members.setdefault(int(groups[row]), []).append(int(row))
    for group, rows in members.items():
        hists = [found[row] for row in rows if found[row] is not None]
        numbers = [row for row in rows if found[row] is None]
        if function in ("count", "group"):
            values[group] = len(rows) if function == "count" else 1.0
            present[group] = True
        elif function in ("sum", "avg"):
            if hists and numbers:
                plan.warn(f"{_MIXED} in an aggregation")
                continue
            if hists:
                objects[group] = _total(plan, hists, mean=function == "avg")
                present[group] = objects[group] is not None
        elif hists:
            plan.info(f"ignored histogram in {function} aggregation")
    # Groups of numbers alone are added up as everywhere.
    if function not in ("count", "group"):
        mixed = np.zeros(sets.size, np.bool_)
        if function in ("sum", "avg"):
            for group, rows in members.items():
                mixed[group] = any(found[row] is not None for row in rows)
        there = frame.numbers() & ~mixed[groups]
        more, also = folded(frame.values, there, groups, sets.size, FOLDED[function])
        values, present = np.where(also, more, values), present | also
    return InstantVector(sets, values, present, objects)


def _note_bounds(plan: EvaluationPlan, hists: list[NativeHistogram], operation: str) -> None:
    if all(one.is_custom for one in hists) and len({one.bounds for one in hists}) > 1:
        plan.info(f"mismatched custom buckets were reconciled during {operation}")


def _note_resets(plan: EvaluationPlan, hists: list[NativeHistogram], operation: str) -> None:
    if {one.hint for one in hists} >= {COUNTER_RESET, NOT_RESET}:
        plan.warn(f"conflicting counter resets during histogram {operation}")


def _total(
    plan: EvaluationPlan, hists: list[NativeHistogram], *, mean: bool
) -> NativeHistogram | None:
    """Return the sum of histograms, or their mean; None if they can't be added up."""
    _note_bounds(plan, hists, "aggregation")
    _note_resets(plan, hists, "aggregation")
    try:
        return summed(hists, mean=mean)
    except IncompatibleError as error:
        plan.warn(str(error))
        return None


def with_number(
    plan: EvaluationPlan,
    operator: str,
    frame: InstantVector,
    number: float,
    number_left: bool,
    as_bool: bool,
) -> InstantVector:
    """Return an operator between an instant vector with native histograms and a number."""
    sides = (number, frame.values) if number_left else (frame.values, number)
    present = frame.numbers().copy()
    objects = np.full(frame.sets.size, None, np.object_)
    if operator in ARITHMETIC:
        values = calculate(operator, *sides)
    elif operator in TRIMS:
        if present.any():
            plan.info(f"incompatible sample types encountered for binary operator {operator}")
        values, present = frame.values, np.zeros(len(present), np.bool_)
    else:
        keep = compare(operator, *sides)
        values = keep.astype(np.float64) if as_bool else frame.values
        if not as_bool:
            present &= keep
    for row in np.flatnonzero(frame.present & ~frame.numbers()):
        one: NativeHistogram = objects_of(frame)[row]
        if operator == "*" or (operator == "/" and not number_left):
            objects[row] = one.scaled(number, divide=operator == "/").compact()
            present[row] = True
        elif operator in TRIMS and not number_left:
            objects[row] = trimmed(one, number, below=operator == "</")
            present[row] = True
        else:
            plan.info(f"incompatible sample types encountered for binary operator {operator}")
    return InstantVector(frame.sets, values, present, objects)


def comparable(operator: str, left: Objects, right: Objects) -> Bools:
    """Return which pairs a comparison is about: two numbers, or, for equality, two histograms."""
    return np.array(
        [(a is None) == (b is None) and (a is None or operator in ("==", "!="))
         for a, b in zip(left, right, strict=True)], np.bool_)  # fmt: skip


def combine(
    plan: EvaluationPlan,
    operator: str,
    left: Floats,
    right: Floats,
    left_hists: Objects,
    right_hists: Objects,
    present: Bools,
) -> tuple[Floats, Bools, Objects]:
    """Return an operator between pairs of values of which some are native histograms.

    Returns: the numbers, which pairs have a result, and the histograms.
    """
    objects = np.full(len(left), None, np.object_)
    if operator in ARITHMETIC:
        values, keep = calculate(operator, left, right), np.ones(len(left), np.bool_)
    elif operator in TRIMS:
        values, keep = left, np.zeros(len(left), np.bool_)
    else:
        values, keep = left, compare(operator, left, right)
    for row in np.flatnonzero(present):
        one, two = left_hists[row], right_hists[row]
        if one is None and two is None and operator not in TRIMS:
            continue
        if one is not None and two is not None and operator in ("==", "!="):
            keep[row] = one.same(two) == (operator == "==")
            objects[row] = one
            continue
        try:
            made = _of_pair(plan, operator, one, two, float(left[row]), float(right[row]))
        except IncompatibleError as error:
            plan.warn(str(error))
            keep[row] = False
            continue
        if made is None:
            plan.info(f"incompatible sample types encountered for binary operator {operator}")
        keep[row] = made is not None
        objects[row] = None if made is None else made.compact()
    return values, keep, objects


def _of_pair(
    plan: EvaluationPlan,
    operator: str,
    one: NativeHistogram | None,
    two: NativeHistogram | None,
    left: float,
    right: float,
) -> NativeHistogram | None:
    """Return an operator between two values of which one at least is a histogram; None is none."""
    if one is not None and two is not None:
        if operator not in ("+", "-"):
            return None
        done = "addition" if operator == "+" else "subtraction"
        _note_bounds(plan, [one, two], done)
        _note_resets(plan, [one, two], done)
        made = one.plus(two, 1.0 if operator == "+" else -1.0)
        return replace(made, hint=GAUGE) if operator == "-" else made
    if operator == "*":
        return one.scaled(right) if one is not None else two.scaled(left) if two else None
    if operator == "/" and one is not None:
        return one.scaled(right, divide=True)
    if operator in TRIMS and one is not None:
        return trimmed(one, right, below=operator == "</")
    return None


def over_range(
    plan: EvaluationPlan, function: str, over: Range, values: Floats, present: Bools
) -> Objects:
    """Work out a function of a range for the series that have native histograms in it.

    ``values`` and ``present`` have the results for numbers, and are changed in place.
    """
    objects = np.full(over.sets.size, None, np.object_)
    for row, found in over.histograms.items():
        numbers = int(over.high[row] - over.low[row])
        times = over.ts[over.low[row] : over.high[row]]
        if function in ("count_over_time", "present_over_time"):
            values[row] = len(found) + numbers if function == "count_over_time" else 1.0
            present[row] = True
        elif function in ("last_over_time", "first_over_time"):
            place = -1 if function == "last_over_time" else 0
            newer = not numbers or (found[place][0] > times[place]) == (place == -1)
            if newer:
                objects[row] = found[place][1]
                present[row] = True
        elif function in ("changes", "resets"):
            values[row] = _steps(function, over, row, found)
            present[row] = True
        elif function in ("irate", "idelta") and (kinds := _last_two(times, found)) != (1, 1):
            if kinds != (0, 0) and len(kinds) == 2:
                plan.warn(f"{_MIXED} in {function}")
                present[row] = False
        elif function in ("rate", "increase", "delta", "irate", "idelta", "sum_over_time",
                          "avg_over_time"):  # fmt: skip
            if numbers and function not in ("irate", "idelta"):
                plan.warn(f"{_MIXED} in {function}")
                present[row] = False
                continue
            made = _of_histograms(plan, function, over, found)
            present[row] = made is not None
            objects[row] = made
        elif function in ("ts_of_first_over_time", "ts_of_last_over_time"):
            place = -1 if function == "ts_of_last_over_time" else 0
            pick = max if place == -1 else min
            time = found[place][0] if not numbers else pick(found[place][0], int(times[place]))
            values[row] = time / 1000.0
            present[row] = True
        elif numbers:
            plan.info(
                f"ignored histograms in a range containing both floats and histograms in {function}"
            )
    return objects


def _last_two(times: NDArray[np.int64], found: list[tuple[int, Any]]) -> tuple[int, ...]:
    """Return of the last two samples whether they are native histograms."""
    merged = [*((int(t), 0) for t in times[-2:]), *((t, 1) for t, _ in found[-2:])]
    return tuple(kind for _, kind in sorted(merged)[-2:])


def _steps(function: str, over: Range, row: int, found: list[tuple[int, Any]]) -> float:
    span = range(int(over.low[row]), int(over.high[row]))
    samples: list[tuple[int, Any]] = [(int(over.ts[k]), float(over.values[k])) for k in span]
    merged = sorted([*samples, *found], key=lambda sample: sample[0])
    number = 0
    for (_, before), (_, now) in pairwise(merged):
        if isinstance(before, float) and isinstance(now, float):
            number += (
                now < before
                if function == "resets"
                else now != before and not (math.isnan(now) and math.isnan(before))
            )
        elif isinstance(before, float) or isinstance(now, float):
            number += 1
        else:
            number += now.is_reset_after(before) if function == "resets" else not now.same(before)
    return float(number)


def _of_histograms(
    plan: EvaluationPlan, function: str, over: Range, found: list[tuple[int, Any]]
) -> NativeHistogram | None:
    hists = [one for _, one in found]
    if function in ("sum_over_time", "avg_over_time"):
        return _total(plan, hists, mean=function == "avg_over_time")
    if len(hists) < 2:
        return None
    try:
        if function in ("irate", "idelta"):
            return _instant(plan, function, found)
        return _extrapolated(plan, function, over, found)
    except IncompatibleError as error:
        plan.warn(str(error))
        return None


def _instant(
    plan: EvaluationPlan, function: str, found: list[tuple[int, Any]]
) -> NativeHistogram | None:
    (before_time, before), (time, last) = found[-2:]
    counter = function == "irate"
    if any((one.hint == GAUGE) == counter for one in (before, last)):
        plan.warn(f"this native histogram metric is {'not ' if counter else ''}a counter")
    made: NativeHistogram = last
    if not (counter and last.is_reset_after(before)):
        _note_bounds(plan, [before, last], "subtraction")
        made = last.plus(before, -1.0)
    if counter:
        made = made.scaled((time - before_time) / 1000.0, divide=True)
    return replace(made.compact(), hint=GAUGE)


def _extrapolated(
    plan: EvaluationPlan, function: str, over: Range, found: list[tuple[int, Any]]
) -> NativeHistogram:
    counter = function != "delta"
    hists: list[NativeHistogram] = [one for _, one in found]
    if any((one.hint == GAUGE) == counter for one in hists):
        plan.warn(f"this native histogram metric is {'not ' if counter else ''}a counter")
    # Where a counter began anew right after the first one, that counts for its time alone.
    anew = counter and hists[1].is_reset_after(hists[0])
    counted = hists[1:] if anew else hists
    _note_bounds(plan, counted, "subtraction")
    coarsest = counted[0]
    for one in counted[1:]:
        coarsest = coarsest.aligned(one)[0]
    change = hists[-1].aligned(coarsest)[0]
    if not anew:
        change = change.plus(hists[0], -1.0)
    if counter:
        for before, now in pairwise(counted):
            if now.is_reset_after(before):
                change = change.plus(before)
    first, last = found[0][0], found[-1][0]
    to_start, to_end = (first - over.start) / 1000.0, (over.end - last) / 1000.0
    sampled = (last - first) / 1000.0
    average = sampled / (len(found) - 1)
    if to_start >= average * 1.1:
        to_start = average / 2
    if counter and change.count > 0 and hists[0].count >= 0:
        to_start = min(to_start, sampled * (hists[0].count / change.count))
    if to_end >= average * 1.1:
        to_end = average / 2
    factor = (sampled + to_start + to_end) / sampled
    if function == "rate":
        factor /= (over.end - over.start) / 1000.0
    return replace(change.scaled(factor).compact(), hint=GAUGE)
