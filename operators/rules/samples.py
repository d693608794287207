"""The recent samples of many series: for each a run of an arena, in the order of time."""

from __future__ import annotations

from typing import Final, Protocol
from weakref import WeakSet

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["HISTOGRAM", "STALE", "STALE_BITS", "SampleStore"]

Longs = NDArray[np.int64]
Floats = NDArray[np.float64]

STALE_BITS: Final = 0x7FF0000000000002
STALE: Final = float(np.array([STALE_BITS], np.uint64).view(np.float64)[0])
"""The value that says that a series ended, as Prometheus marks it."""
HISTOGRAM: Final = 0x7FFE
"""The upper 16 bits of a value that stands for a native histogram; the others are its number."""

_SMALLEST: Final = 8
_SLACK: Final = 4
"""One part in so many of the arena is left free when it is made anew, for series that grow."""


class ArenaReader(Protocol):
    """Somebody that refers to the arena."""

    def forget(self) -> None:
        """Refer to it no more."""


class SampleStore:
    """Samples by series: their times (ms since 1970) and values, and how long each keeps them.

    A series has a run of the arena. When it is full, what is older than the series has to keep
    goes; if that is less than a quarter, the series gets a longer run, of what it is going to need
    by the distances of its samples so far. Runs that were left are in the way until the arena is
    full: then it is made anew without them. All series of a scrape grow at the same time, so that
    places that one has left would hardly ever suit another one.
    """

    def __init__(self) -> None:
        self.ts = np.empty(0, np.int64)
        self.values = np.empty(0, np.float64)
        self._used = np.zeros(1, np.int64)
        self.start = np.empty(0, np.int64)
        self.count = np.empty(0, np.int32)
        self._capacity = np.empty(0, np.int32)
        self.keep = np.empty(0, np.int64)
        """How long (ms) a series keeps its samples; 0 is for ever."""
        self.last_marker = np.empty(0, np.int64)
        """The time of a series' last staleness marker or histogram, else the smallest number."""
        self.readers: WeakSet[ArenaReader] = WeakSet()
        """Those that refer to the arena, and stop to before it is made anew."""

    def __len__(self) -> int:
        return len(self.start)

    @property
    def nbytes(self) -> int:
        """The memory of the arena that is in use, in bytes."""
        return int(self._used[0]) * 16

    def grow(self, size: int) -> None:
        """Make room for series up to this number of them."""
        more = size - len(self.start)
        if more <= 0:
            return
        if int(self._used[0]) + more * _SMALLEST > len(self.ts):
            self._make_anew(more * _SMALLEST)
        begin = int(self._used[0])
        self._used[0] = begin + more * _SMALLEST
        starts = begin + np.arange(more, dtype=np.int64) * _SMALLEST
        self.start = np.concatenate([self.start, starts])
        self.count = np.concatenate([self.count, np.zeros(more, np.int32)])
        self._capacity = np.concatenate([self._capacity, np.full(more, _SMALLEST, np.int32)])
        self.keep = np.concatenate([self.keep, np.zeros(more, np.int64)])
        smallest = np.full(more, np.iinfo(np.int64).min)
        self.last_marker = np.concatenate([self.last_marker, smallest])

    def append(self, rows: NDArray[np.int32], ts: Longs, values: Floats) -> int:
        """Put in samples of any order; of two of the same time the first one stays.

        Returns: the number of those that were there already.
        """
        at = duplicates = 0
        while True:
            at, found = _append(
                rows, ts, values, at, self.ts, self.values, self._used, self.start,
                self.count, self._capacity, self.keep, self.last_marker,
            )  # fmt: skip
            duplicates += found
            if at == len(rows):
                return duplicates
            self._make_anew(int(_wanted(self.ts, self.start, self.count, self.keep, rows[at])))

    def _make_anew(self, more: int) -> None:
        """Move all runs to a new arena with room for so many samples more.

        Those that are full become longer on the way.
        """
        for reader in list(self.readers):
            reader.forget()
        capacity = _capacities(self.ts, self.start, self.count, self._capacity, self.keep)
        ends = np.cumsum(capacity, dtype=np.int64)
        used = int(ends[-1]) if len(ends) else 0
        size = used + max(used // _SLACK, more, 1 << 12)
        start = ends - capacity
        # One after the other, so that not all four are there at the same time.
        ts, values = np.empty(size, np.int64), np.empty(size, np.float64)
        _move(self.ts, ts, self.start, start, self.count)
        self.ts = ts
        _move(self.values, values, self.start, start, self.count)
        self.values = values
        self.start, self._capacity = start, capacity
        self._used[0] = used


@njit(cache=True, nogil=True, error_model="numpy")
def _wanted(ts: Longs, start: Longs, count: NDArray[np.int32], keep: Longs, row: int) -> int:
    """Return how long the run of a series that is full should be.

    A third more than it keeps at the mean distance of its samples, so that a quarter of it has
    become old when it is full. A few samples don't tell for sure: it is four times as long at most.
    """
    n = int(count[row])
    first = start[row]
    size = 2 * n
    if keep[row] > 0 and n > 1:
        needed = int(keep[row]) * (n - 1) // int(ts[first + n - 1] - ts[first]) + 1
        size = min(-(-needed * 4 // 3), 4 * n)
    size = max(size, n + n // 4, _SMALLEST)
    return (size + 3) // 4 * 4


@njit(cache=True, nogil=True, error_model="numpy")
def _capacities(
    ts: Longs, start: Longs, count: NDArray[np.int32], capacity: NDArray[np.int32], keep: Longs
) -> NDArray[np.int32]:
    """Return the lengths of runs, of those that are full new ones."""
    made = capacity.copy()
    for row in range(len(made)):
        n = count[row]
        if n == capacity[row] and _old(ts, start, count, keep, row) * 4 < n:
            made[row] = _wanted(ts, start, count, keep, row)
    return made


@njit(cache=True, nogil=True, error_model="numpy")
def _old(ts: Longs, start: Longs, count: NDArray[np.int32], keep: Longs, row: int) -> int:
    """Return how many samples a series does not have to keep any more."""
    old = 0
    if keep[row] > 0:
        first = start[row]
        horizon = ts[first + count[row] - 1] - keep[row]
        while old < count[row] and ts[first + old] <= horizon:
            old += 1
    return old


@njit(cache=True, nogil=True, error_model="numpy")
def _move(
    old: Longs | Floats, new: Longs | Floats, start: Longs, to: Longs, count: NDArray[np.int32]
) -> None:
    """Copy what a column of the arena holds to another one."""
    for row in range(len(start)):
        for k in range(count[row]):
            new[to[row] + k] = old[start[row] + k]


@njit(cache=True, nogil=True, error_model="numpy")
def _append(
    rows: NDArray[np.int32],
    new_ts: Longs,
    new_values: Floats,
    begin: int,
    ts: Longs,
    values: Floats,
    used: Longs,
    start: Longs,
    count: NDArray[np.int32],
    capacity: NDArray[np.int32],
    keep: Longs,
    last_marker: Longs,
) -> tuple[int, int]:
    """Put in samples from ``begin`` on; return at which it stopped because the arena is full."""
    bits = new_values.view(np.uint64)
    duplicates = 0
    for i in range(begin, len(rows)):
        row = rows[i]
        time = new_ts[i]
        first = start[row]
        n = count[row]
        if n == capacity[row]:
            old = _old(ts, start, count, keep, row)
            if old * 4 >= n:
                for k in range(old, n):
                    ts[first + k - old] = ts[first + k]
                    values[first + k - old] = values[first + k]
                n -= old
                count[row] = n
            else:
                size = _wanted(ts, start, count, keep, row)
                place = used[0]
                if place + size > len(ts):
                    return i, duplicates
                used[0] += size
                for k in range(n):
                    ts[place + k] = ts[first + k]
                    values[place + k] = values[first + k]
                first = place
                start[row] = first
                capacity[row] = size
        place = first + n
        while place > first and ts[place - 1] > time:
            place -= 1
        if place > first and ts[place - 1] == time:
            duplicates += 1
            continue
        for k in range(first + n, place, -1):
            ts[k] = ts[k - 1]
            values[k] = values[k - 1]
        ts[place] = time
        values[place] = new_values[i]
        count[row] = n + 1
        marked = bits[i] == np.uint64(0x7FF0000000000002)
        if (marked or (bits[i] >> np.uint64(48)) == np.uint64(0x7FFE)) and last_marker[row] < time:
            last_marker[row] = time
    return len(rows), duplicates
