"""Counting: from the spans of some windows to calls, errors and durations.

All is counted in whole numbers, so no order matters; the sum of durations in two of them, since 64 bits hold a
year of spans, or a second of one that stands for thirty million. Durations are in buckets 0.54 % wide, those of an
exponential histogram of scale 7, in milliseconds.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import compiled, fold, inlined
from operators.contracts.distributions import exponential_bounds
from operators.traces.rows import ONE

__all__ = ["MILLISECOND", "SECOND", "Durations", "buckets_of", "durations_of", "unique"]

_SCALE: Final = 7
_FIRST: Final = -4000  # below 2**-30 s, the bucket of a nanosecond
_LAST: Final = 6000
_BOUNDS: Final = exponential_bounds(_SCALE, np.arange(_FIRST, _LAST + 1))
_STEPS: Final = np.floor(np.log2(1 + np.arange(256) / 256) * 128).astype(np.int64)
"""The bucket, of the 128 from a power of two to the next, in which each of 256 even parts begins."""
_CODES: Final = 1 << 14
"""More than there are buckets."""
_LOW: Final = 30
_LOWEST: Final = (1 << _LOW) - 1
"""Sums are kept as a number of 30 bits, and what is above it."""
_FIRST_HALF: Final = np.uint64(0xA0761D6478BD642F)
_SECOND_HALF: Final = np.uint64(0xE7037ED1A0B428DB)
MILLISECOND: Final = 1e6
SECOND: Final = 1e9
"""Nanoseconds of the units in which durations are told."""


class Durations(NamedTuple):
    """How long the spans of each group took; a group is a number below ``len(count)``.

    ``count`` is in parts of ``ONE``, ``sum`` in nanoseconds times that, rounded once, ``least`` and ``most`` in
    nanoseconds. The buckets of group ``g`` are ``offsets[g]:offsets[g + 1]``.
    """

    count: NDArray[np.int64]  # type: ignore[assignment]  # hides tuple.count, which nobody calls
    sum: NDArray[np.float64]
    least: NDArray[np.int64]
    most: NDArray[np.int64]
    offsets: NDArray[np.int64]
    bucket: NDArray[np.int32]
    weight: NDArray[np.int64]


@compiled
def unique(
    rows: np.ndarray, operations: NDArray[np.int32], tenants: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Return the first row of each trace, span and kind of a tenant.

    Of several that differ the one that took longest stands, then that of the larger operation: which
    it is does not depend on their order. Client and server may share an id, as Zipkin has it.

    Args:
        rows: spans.
        operations: of each, the number of its operation.
        tenants: of each operation.
    """
    size = 1
    while size < 2 * len(rows) + 2:
        size *= 2
    table = np.full(size, -1, np.int64)
    chosen = np.empty(len(rows), np.int64)
    count = 0
    mask = np.uint64(size - 1)
    for number in range(len(rows)):
        row = rows[number]
        # Of all that tells spans apart, since whoever sends them chooses their ids.
        low = row.trace_low ^ np.uint64(row.kind) ^ _FIRST_HALF
        slot = fold(low, row.span ^ row.trace_high * _SECOND_HALF) & mask
        while table[slot] >= 0:
            other = rows[chosen[table[slot]]]
            if (
                other.span == row.span and other.trace_low == row.trace_low
                and other.trace_high == row.trace_high and other.kind == row.kind
                and tenants[operations[chosen[table[slot]]]] == tenants[operations[number]]
            ):  # fmt: skip
                break
            slot = (slot + np.uint64(1)) & mask
        if table[slot] < 0:
            table[slot] = count
            chosen[count] = number
            count += 1
            continue
        other = rows[chosen[table[slot]]]
        mine, theirs = row.ended - row.begun, other.ended - other.begun
        if mine > theirs or (mine == theirs and row.operation > other.operation):
            chosen[table[slot]] = number
    return chosen[:count]


def durations_of(
    groups: NDArray[np.integer[Any]],
    count: int,
    durations: NDArray[np.int64],
    weights: NDArray[np.int64],
    unit: float = MILLISECOND,
) -> Durations:
    """Count spans by group.

    Args:
        groups: the group of each span, below ``count``.
        durations: nanoseconds.
        weights: how many each stands for, in parts of ``ONE``.
        unit: nanoseconds of the unit that buckets are of.
    """
    return _counted(
        np.ascontiguousarray(groups, np.int32), count, durations, weights, unit, _BOUNDS, _STEPS
    )


@inlined
def _code(duration: int, unit: float, bounds: NDArray[np.float64], steps: NDArray[np.int64]) -> int:
    """Return the bucket of a duration: 0 of none, else its index in ``bounds`` and one."""
    if duration <= 0:
        return 0
    value = duration / unit
    bits = np.float64(value).view(np.int64)
    code = ((bits >> 52) - 1023) * 128 + steps[bits >> 44 & 255] - _FIRST
    # That is the bucket of a number a little below. The bounds alone decide.
    while bounds[code + 1] < value:
        code += 1
    while bounds[code] >= value:
        code -= 1
    return code + 1  # type: ignore[no-any-return]


@compiled
def _counted(
    groups: NDArray[np.int32],
    count: int,
    durations: NDArray[np.int64],
    weights: NDArray[np.int64],
    unit: float,
    bounds: NDArray[np.float64],
    steps: NDArray[np.int64],
) -> Durations:
    size = len(groups)
    high, low = np.zeros(count, np.int64), np.zeros(count, np.int64)
    found = Durations(
        np.zeros(count, np.int64), np.zeros(count, np.float64),
        np.full(count, np.iinfo(np.int64).max, np.int64), np.zeros(count, np.int64),
        np.zeros(count + 1, np.int64), np.empty(size, np.int32), np.empty(size, np.int64),
    )  # fmt: skip
    codes = np.empty(size, np.int32)
    room = np.zeros(count + 1, np.int64)  # where the buckets of each group may begin
    for number in range(size):
        group, duration = groups[number], durations[number]
        found.count[group] += weights[number]
        below = low[group] + weights[number] * (duration & _LOWEST)
        low[group] = below & _LOWEST
        high[group] += weights[number] * (duration >> _LOW) + (below >> _LOW)
        found.least[group] = min(found.least[group], duration)
        found.most[group] = max(found.most[group], duration)
        room[group + 1] += 1
        codes[number] = _code(duration, unit, bounds, steps)
    for group in range(count):
        found.sum[group] = np.float64(high[group]) * (_LOWEST + 1) + np.float64(low[group])
        room[group + 1] += room[group]
    ordered = _in_order(codes)  # so each group meets its buckets in their order
    bucket, weight = np.empty(size, np.int32), np.empty(size, np.int64)
    ends = room[:-1].copy()
    for turn in range(size):
        number = ordered[turn]
        group = groups[number]
        end = ends[group]
        if end > room[group] and bucket[end - 1] == codes[number]:
            weight[end - 1] += weights[number]
            continue
        bucket[end], weight[end] = codes[number], weights[number]
        ends[group] += 1
    used = 0
    for group in range(count):
        for at in range(room[group], ends[group]):
            found.bucket[used], found.weight[used] = bucket[at], weight[at]
            used += 1
        found.offsets[group + 1] = used
    return Durations(
        found.count, found.sum, found.least, found.most, found.offsets,
        found.bucket[:used].copy(), found.weight[:used].copy(),
    )  # fmt: skip


@compiled
def _in_order(codes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the numbers of the elements in the order of their codes, by counting."""
    least, most = _CODES, 0
    for code in codes:
        least, most = min(least, code), max(most, code)
    place = np.zeros(max(most - least, 0) + 2, np.int32)
    for code in codes:
        place[code - least + 1] += 1
    for code in range(1, len(place)):
        place[code] += place[code - 1]
    ordered = np.empty(len(codes), np.int32)
    for number in range(len(codes)):
        code = codes[number] - least
        ordered[place[code]] = number
        place[code] += 1
    return ordered


def buckets_of(
    found: Durations,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return lower and upper bounds and weights of all buckets, in whole spans; none is empty."""
    code = found.bucket.astype(np.int64)
    some = code > 0
    lower, upper = np.zeros(len(code)), np.zeros(len(code))
    lower[some], upper[some] = _BOUNDS[code[some] - 1], _BOUNDS[code[some]]
    return lower, upper, np.maximum((found.weight + ONE // 2) // ONE, 1)
