"""What becomes of a trace, by all of its spans that are there."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.columns.compiling import compiled
from operators.traces.rows import FAILED

__all__ = ["DROPPED", "ERROR", "REASONS", "REST", "SENT", "SLOW", "foremost", "judge", "says_due"]  # fmt: skip

REASONS: Final = pl.Series(["", "error", "slow", "wanted", "rest"])
ERROR, SLOW, _WANTED, REST = 1, 2, 3, 4
SENT: Final = 18  # to the shard of its root operation, which decides
DROPPED: Final = 19
"""What is less than both is the reason for which a trace is kept."""


@compiled
def says_due(rows: np.ndarray, limit: int, oldest: int) -> NDArray[np.bool_]:
    """Return which spans say that their trace is decided: roots, and what has waited too long."""
    found = np.empty(len(rows), np.bool_)
    for number in range(len(rows)):
        row = rows[number]
        found[number] = row.ended < oldest or (row.ended < limit and row.parent == np.uint64(0))
    return found


@compiled
def judge(
    rows: np.ndarray,
    operations: NDArray[np.int32],
    trace: NDArray[np.int32],
    once: NDArray[np.bool_],
    wanted: NDArray[np.bool_],
    count: int,
    errors: bool,
    slow: int,
    window: int,
    age: int,
) -> tuple[
    NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]
]:
    """Return of each trace the reason for which it is kept, 0 without, its slot, the row of its root,
    its randomness, and how long it took.
    """
    fates = np.zeros(count, np.uint8)
    slots = np.zeros(count, np.int64)
    roots = np.full(count, -1, np.int64)
    begun = np.full(count, np.iinfo(np.int64).max, np.int64)
    ended = np.zeros(count, np.int64)
    randomness = np.zeros(count, np.int64)
    for number in range(len(rows)):
        if not once[number]:
            continue
        row, of = rows[number], trace[number]
        begun[of] = min(begun[of], row.begun)
        ended[of] = max(ended[of], row.ended)
        randomness[of] = max(randomness[of], row.randomness)
        if errors and row.status == FAILED:
            fates[of] = ERROR
        elif wanted[operations[number]] and fates[of] == 0:
            fates[of] = _WANTED
        # The first root; without any, the first span: in an order that does not depend on that of
        # their coming.
        other = roots[of]
        if other < 0:
            roots[of] = number
            continue
        best = rows[other]
        mine, theirs = row.parent != np.uint64(0), best.parent != np.uint64(0)
        if mine != theirs:
            if theirs:
                roots[of] = number
        elif (row.ended, row.span, row.kind) < (best.ended, best.span, best.kind):
            roots[of] = number
    for of in range(count):
        root = rows[roots[of]]
        slots[of] = root.ended - root.ended % window
        if root.parent != np.uint64(0):
            slots[of] += age
        if slow > 0 and ended[of] - begun[of] >= slow and fates[of] != ERROR:
            fates[of] = SLOW
    return fates, slots, roots, randomness, ended - begun


def foremost(
    slots: NDArray[np.int64],
    groups: NDArray[np.uint64],
    randomness: NDArray[np.int64],
    most: int,
) -> NDArray[np.int64]:
    """Return the elements of the largest randomness of each slot and group."""
    order = np.lexsort((-randomness, groups, slots))
    new = np.ones(len(order), np.bool_)
    new[1:] = (groups[order][1:] != groups[order][:-1]) | (slots[order][1:] != slots[order][:-1])
    first = np.flatnonzero(new)
    rank = np.arange(len(order)) - first[np.cumsum(new) - 1]
    found: NDArray[np.int64] = order[rank < most]
    return found
