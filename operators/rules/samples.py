"""The recent samples of many series: for each a run of an arena, in the order of time."""

from __future__ import annotations

from typing import Final

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
_CLASSES: Final = 40


class SampleStore:
    """SampleStore by series: their times (ms since 1970) and values, and how long each keeps them.

    A series has a run of the arena, a power of two long. When it is full, what is older than the
    series has to keep goes; if that is nothing, the series gets a run of twice the length.
    """

    def __init__(self) -> None:
        self.ts = np.empty(1 << 12, np.int64)
        self.values = np.empty(1 << 12, np.float64)
        self._used = np.zeros(1, np.int64)
        self._free = np.full(_CLASSES, -1, np.int64)
        self.start = np.empty(0, np.int64)
        self.count = np.empty(0, np.int32)
        self._capacity = np.empty(0, np.int32)
        self.keep = np.empty(0, np.int64)
        """How long (ms) a series keeps its samples; 0 is for ever."""
        self.last_marker = np.empty(0, np.int64)
        """The time of a series' last staleness marker or histogram, else the smallest number."""

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
        begin = int(self._used[0])
        self._reserve(begin + more * _SMALLEST)
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
                rows, ts, values, at, self.ts, self.values, self._used, self._free,
                self.start, self.count, self._capacity, self.keep, self.last_marker,
            )  # fmt: skip
            duplicates += found
            if at == len(rows):
                return duplicates
            self._reserve(len(self.ts) * 2)

    def _reserve(self, size: int) -> None:
        if size <= len(self.ts):
            return
        capacity = 1 << (size - 1).bit_length()
        used = int(self._used[0])
        for name in ("ts", "values"):
            old = getattr(self, name)
            new = np.empty(capacity, old.dtype)
            new[:used] = old[:used]
            setattr(self, name, new)


@njit(cache=True, nogil=True, error_model="numpy")
def _append(  # noqa: PLR0912, PLR0915
    rows: NDArray[np.int32],
    new_ts: Longs,
    new_values: Floats,
    begin: int,
    ts: Longs,
    values: Floats,
    used: Longs,
    free: Longs,
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
            horizon = ts[first + n - 1] - keep[row]
            old = 0
            if keep[row] > 0:
                while old < n and ts[first + old] <= horizon:
                    old += 1
            if old * 4 >= n:
                for k in range(old, n):
                    ts[first + k - old] = ts[first + k]
                    values[first + k - old] = values[first + k]
                n -= old
                count[row] = n
            else:
                size = capacity[row] * 2
                klass = 0
                while (1 << klass) < size:
                    klass += 1
                place = free[klass]
                if place >= 0:
                    free[klass] = ts[place]
                elif used[0] + size <= len(ts):
                    place = used[0]
                    used[0] += size
                else:
                    return i, duplicates
                for k in range(n):
                    ts[place + k] = ts[first + k]
                    values[place + k] = values[first + k]
                ts[first] = free[klass - 1]
                free[klass - 1] = first
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
