"""Which spans' lines are looked at where there are too many.

**What gives way is a function of the set.** Of a service and five seconds at most ``MOST_OF_SERVICE`` lines
are looked at: beyond them those of half of the spans, then of a quarter, chosen by the hash of their ids. A
worker that has enough by itself drops what can't be among them, and says so. Example: 10,000 lines in 2,000
spans come from two workers; an eighth of the spans stays, the same ones as if one worker had read all.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import compiled, leading_zeros
from operators.columns.hash_index import HashIndex

__all__ = [
    "MOST_OF_SERVICE",
    "SETTLES",
    "Levels",
    "SpanSampler",
    "origins_of",
    "slot_keys",
    "slots_of",
]

MOST_OF_SERVICE: Final = 2048

SETTLES: Final = 5_000_000_000
"""Nanoseconds after the end of a window in which spans that began within it are still read."""
Levels = tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]
"""Of which keys there are too many lines: keys, slots, and how many zeros the hash of a span has to begin with."""


class SpanSampler:
    """Chooses the spans of which lines are looked at, by a key (of service and window, say).

    Args:
        most: lines of a key.
        state: what ``snapshot`` gave.
    """

    def __init__(self, most: int, state: dict[str, Any] | None = None) -> None:
        self._most = most
        self._index = HashIndex()
        self._slots = np.empty(0, np.int64)
        self._counts = np.empty((0, 65), np.int64)  # lines by the zeros that their hash begins with
        self._levels = np.empty(0, np.int64)  # hashes with fewer zeros are not looked at
        if state is not None:
            self._restore(state)

    def admit(
        self, keys: NDArray[np.uint64], slots: NDArray[np.int64], spans: NDArray[np.uint64]
    ) -> NDArray[np.bool_]:
        """Return which lines may be among those that are looked at.

        Args:
            keys: of each line, well mixed.
            slots: event time of each line in steps, the same for a key; what ``forget`` goes by.
            spans: the hash of its span.
        """
        rows = self._number(keys, slots)
        return _admit(rows, _zeros(spans), self._counts, self._levels, self._most)

    def levels(self, keys: NDArray[np.uint64]) -> Levels | None:
        """Return which of some keys have too many lines, for ``raise_to``; None if none has."""
        rows = np.flatnonzero(self._levels)
        if not len(rows):
            return None
        rows = np.intersect1d(self._index.find(keys), rows)
        return self._index.keys()[rows], self._slots[rows], self._levels[rows]

    def raise_to(
        self, keys: NDArray[np.uint64], slots: NDArray[np.int64], levels: NDArray[np.int64]
    ) -> None:
        """Take up that another one has too many lines of some keys."""
        rows = self._number(keys, slots)
        np.maximum.at(self._levels, rows, levels)

    def _number(self, keys: NDArray[np.uint64], slots: NDArray[np.int64]) -> NDArray[np.int32]:
        rows, new = self._index.meet(keys)
        if more := len(new):
            self._slots = np.concatenate([self._slots, slots[new]])
            self._counts = np.concatenate([self._counts, np.zeros((more, 65), np.int64)])
            self._levels = np.concatenate([self._levels, np.zeros(more, np.int64)])
        return rows

    def still(self, keys: NDArray[np.uint64], spans: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which lines that were admitted are still among those that are looked at."""
        rows = self._index.find(keys)
        levels = np.where(rows >= 0, self._levels[rows], 0) if len(self._levels) else 0 * rows
        return _zeros(spans) >= levels

    def forget(self, before: int) -> None:
        """Forget keys of slots that begin before an event time."""
        kept = self._slots >= before
        if kept.all():
            return
        keys = self._index.keys()[kept]
        self._index = HashIndex()
        self._index.insert(keys, np.arange(len(keys), dtype=np.int32))
        self._slots, self._levels = self._slots[kept], self._levels[kept]
        self._counts = self._counts[kept]

    def snapshot(self) -> dict[str, bytes]:
        """Return plain data."""
        return {
            "keys": self._index.keys().tobytes(),
            "slots": self._slots.tobytes(),
            "counts": self._counts.tobytes(),
            "levels": self._levels.tobytes(),
        }

    def _restore(self, state: dict[str, bytes]) -> None:
        keys = np.frombuffer(state["keys"], np.uint64)
        self._index.insert(keys, np.arange(len(keys), dtype=np.int32))
        self._slots = np.frombuffer(state["slots"], np.int64).copy()
        self._counts = np.frombuffer(state["counts"], np.int64).reshape(-1, 65).copy()
        self._levels = np.frombuffer(state["levels"], np.int64).copy()


def slots_of(ts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the five seconds that each line is in, by their begin."""
    return np.asarray(ts - ts % SETTLES, np.int64)


def slot_keys(origins: NDArray[np.uint64], slots: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return a number of each service and slot, as well mixed as the numbers of services are."""
    spread = slots.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return np.asarray(origins ^ spread ^ (spread >> np.uint64(29)), np.uint64)


def origins_of(keys: NDArray[np.uint64], slots: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the numbers of the services that ``slot_keys`` were made of."""
    return slot_keys(keys, slots)  # what was mixed in once goes by being mixed in again


@compiled
def _admit(
    rows: NDArray[np.int32],
    zeros_of: NDArray[np.int64],
    counts: NDArray[np.int64],
    levels: NDArray[np.int64],
    most: int,
) -> NDArray[np.bool_]:
    """Count lines by the zeros that their hash begins with; return which are not above the level."""
    kept = np.empty(len(rows), np.bool_)
    above = np.zeros(len(levels), np.int64)
    for key in range(len(levels)):
        for zeros in range(levels[key], 65):
            above[key] += counts[key, zeros]
    for i in range(len(rows)):
        key = rows[i]
        zeros = zeros_of[i]
        if zeros < levels[key]:
            continue
        counts[key, zeros] += 1
        above[key] += 1
        while above[key] > most and levels[key] < 64:
            above[key] -= counts[key, levels[key]]
            levels[key] += 1
    for i in range(len(rows)):
        kept[i] = zeros_of[i] >= levels[rows[i]]
    return kept


@compiled
def _zeros(spans: NDArray[np.uint64]) -> NDArray[np.int64]:
    found = np.full(len(spans), 64, np.int64)
    for i in range(len(spans)):
        if spans[i]:
            found[i] = leading_zeros(spans[i])
    return found
