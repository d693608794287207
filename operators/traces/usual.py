"""How long traces of an operation usually take, so that a slow one is told by its own operation.

Durations are counted by root operation in *blocks* of event time, a twelfth of what is looked back on, in
buckets 0.54 % wide. What is slow in a block is told by the blocks before it, which are complete by then: it
does not change within a block, and which batches, partitions or restarts traces came in can't matter. Each
shard of traces knows those of its own: every trace id is as likely in each.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.hash_index import HashIndex
from operators.traces.calls import MILLISECOND, buckets_of, durations_of
from operators.traces.rows import ONE

__all__ = ["UsualDurations"]

_BLOCKS: Final = 12
_BEYOND: Final = 3
"""So many traces of the past have to be beyond a quantile, else it is not known."""
_NEVER: Final = 2**62


class UsualDurations:
    """What is known of one shard.

    Args:
        quantile: between 0 and 1; a trace that took longer than this share of those before it is slow.
        history: nanoseconds that are looked back on.
        window: length of slots, of which a block is a multiple.
        state: what ``snapshot`` gave.
    """

    def __init__(
        self, quantile: float, history: int, window: int, state: dict[str, Any] | None = None
    ) -> None:
        self._quantile = quantile
        self._block = max(-(-history // (_BLOCKS * window)), 1) * window
        self._counted: dict[int, NDArray[Any]] = {}
        self._newest = -_NEVER
        if state is not None and state["block"] == self._block:
            self._newest = state["newest"]
            self._counted = {
                start: np.frombuffer(content, _COUNT) for start, content in state["counted"].items()
            }
        self._known = -_NEVER  # the block that ``_limits`` are of
        self._index = HashIndex()
        self._limits = np.empty(0, np.int64)

    def snapshot(self) -> dict[str, Any]:
        """Return plain data: what was counted in each block."""
        return {
            "block": self._block,
            "newest": self._newest,
            "counted": {start: counted.tobytes() for start, counted in self._counted.items()},
        }

    def slow(
        self, slots: NDArray[np.int64], groups: NDArray[np.uint64], durations: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Return which traces are slow, and count them all for those that come after.

        Args:
            slots: where each belongs; no earlier ones may follow but late ones, which count nowhere.
            groups: the root operation of each.
            durations: nanoseconds.
        """
        found = np.zeros(len(slots), np.bool_)
        blocks = slots // self._block
        for block in np.unique(blocks).tolist():
            mine = np.flatnonzero(blocks == block)
            self._learn(block)
            at = self._index.find(groups[mine])
            there = at >= 0
            found[mine[there]] = durations[mine[there]] > self._limits[at[there]]
            if block >= self._newest:
                self._newest = block
                self._count(block, groups[mine], durations[mine])
        return found

    def _count(self, block: int, groups: NDArray[np.uint64], durations: NDArray[np.int64]) -> None:
        some, number = np.unique(groups, return_inverse=True)
        counted = durations_of(
            number, len(some), durations, np.full(len(number), ONE, np.int64), MILLISECOND
        )
        _, upper, weight = buckets_of(counted)
        more = np.empty(len(weight), _COUNT)
        more["group"] = np.repeat(some, np.diff(counted.offsets))
        more["upto"] = np.floor(upper * MILLISECOND)
        more["count"] = weight
        before = self._counted.get(block)
        self._counted[block] = more if before is None else _together([before, more])
        for old in [each for each in self._counted if each < block - _BLOCKS]:
            del self._counted[old]

    def _learn(self, block: int) -> None:
        """Work out what is slow in a block."""
        if block == self._known:
            return
        self._known = block
        self._index = HashIndex()
        past = [self._counted[b] for b in sorted(self._counted) if block - _BLOCKS <= b < block]
        if not past:
            self._limits = np.empty(0, np.int64)
            return
        counted = _together(past)
        groups, first = np.unique(counted["group"], return_index=True)
        totals = np.add.reduceat(counted["count"], first)
        below = np.cumsum(counted["count"])
        before = below[first] - counted["count"][first]
        # The first bucket up to which the share is reached; what is above its bound is slow.
        wanted = before + np.ceil(self._quantile * totals).astype(np.int64)
        at = np.searchsorted(below, np.maximum(wanted, before + 1))
        enough = totals * (1 - self._quantile) >= _BEYOND * (1 - 1e-9)
        self._limits = counted["upto"][at][enough]
        self._index.insert(groups[enough], np.arange(int(enough.sum()), dtype=np.int32))


_COUNT: Final = np.dtype([("group", np.uint64), ("upto", np.int64), ("count", np.int64)])
"""So many traces of an operation took up to so many nanoseconds, and longer than the bucket before."""


def _together(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Return counts in order, of the same bucket as one."""
    rows = np.concatenate(parts)
    rows = rows[np.lexsort((rows["upto"], rows["group"]))]
    new = np.ones(len(rows), np.bool_)
    new[1:] = (rows["group"][1:] != rows["group"][:-1]) | (rows["upto"][1:] != rows["upto"][:-1])
    first = np.flatnonzero(new)
    found = rows[first].copy()
    found["count"] = np.add.reduceat(rows["count"], first)
    return found
