"""The series that a tenant has now: a hash table in arrays, worked on by compiled loops."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

__all__ = ["ADMITTED", "BEYOND_METRIC_LIMIT", "BEYOND_TENANT_LIMIT", "ActiveSeries"]

ADMITTED: Final = 0
BEYOND_METRIC_LIMIT: Final = 1
BEYOND_TENANT_LIMIT: Final = 2

_SMALLEST: Final = 1 << 10
_FULL: Final = 0.7
_ROWS: Final = pl.Schema({"series": pl.UInt64, "metric": pl.Int32, "seen": pl.Int64})


class ActiveSeries:
    """Series by their id, each with its metric's number and when it was last named.

    A slot takes 20 bytes and at most 70 % of them are in use, so a series takes 29 to 58 bytes.

    Attributes:
        counts: number of series of each metric.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(0, np.int64)
        self._size = 0
        self._allocate(_SMALLEST)

    def _allocate(self, capacity: int) -> None:
        self._keys = np.zeros(capacity, np.uint64)
        self._seen = np.zeros(capacity, np.int64)
        self._metrics = np.full(capacity, -1, np.int32)  # -1 is a free slot

    def __len__(self) -> int:
        return self._size

    def admit(
        self,
        series: NDArray[np.uint64],
        metrics: NDArray[np.int32],
        seen: int,
        limit: int,
        metric_limit: int,
    ) -> NDArray[np.uint8]:
        """Mark what is known as seen, and take in what is new as far as the limits let it.

        Args:
            series: one element a row, in the order in which they are to be taken in.
            metrics: the metric's number of each, less than ``len(counts)``.
            seen: nanoseconds; a series never goes back to an earlier time.
            limit: of all series.
            metric_limit: of the series of one metric.

        Returns:
            What became of each row: ``ADMITTED``, ``BEYOND_METRIC_LIMIT``, ``BEYOND_TENANT_LIMIT``.
        """
        verdicts = np.zeros(len(series), np.uint8)
        row = 0
        while True:
            row, self._size = _admit(
                series, metrics, row, seen, limit, metric_limit, int(len(self._keys) * _FULL),
                self._size, self._keys, self._seen, self._metrics, self.counts, verdicts,
            )  # fmt: skip
            if row == len(series):
                return verdicts
            self._grow()

    def _grow(self) -> None:
        series, metrics, seen = self._rows()
        self._allocate(2 * len(self._keys))
        _place(series, metrics, seen, self._keys, self._seen, self._metrics)

    def evict(self, before: int) -> int:
        """Forget the series last seen before ``before``; return how many."""
        evicted = _evict(before, self._keys, self._seen, self._metrics, self.counts)
        self._size -= evicted
        return evicted

    def renumber(self, numbers: NDArray[np.int32], count: int) -> None:
        """Give metric ``i`` the number ``numbers[i]``; -1 for those without a series."""
        used = self._metrics >= 0
        self._metrics[used] = numbers[self._metrics[used]]
        kept = numbers >= 0
        counts = np.zeros(count, np.int64)
        counts[numbers[kept]] = self.counts[kept]
        self.counts = counts

    def _rows(self) -> tuple[NDArray[np.uint64], NDArray[np.int32], NDArray[np.int64]]:
        used = self._metrics >= 0
        return self._keys[used], self._metrics[used], self._seen[used]

    def snapshot(self) -> bytes:
        """Return the series as Arrow IPC: about 10 bytes each, more if many metrics are mixed."""
        rows = dict(zip(_ROWS, self._rows(), strict=True))
        return pl.DataFrame(rows, schema=_ROWS).write_ipc_stream(None, compression="lz4").getvalue()

    @classmethod
    def restore(cls, snapshot: bytes, metrics: int) -> ActiveSeries:
        """Return what ``snapshot`` gave; ``metrics`` is the number of metrics."""
        frame = pl.read_ipc_stream(snapshot)
        found = cls()
        found._size = frame.height
        found._allocate(max(_SMALLEST, 1 << int(frame.height / _FULL).bit_length()))
        series, numbers, seen = (frame[name].to_numpy() for name in _ROWS)
        _place(series, numbers, seen, found._keys, found._seen, found._metrics)
        found.counts = np.bincount(numbers, minlength=metrics)
        return found


@njit(cache=True, nogil=True)
def _admit(
    series: NDArray[np.uint64],
    wanted: NDArray[np.int32],
    row: int,
    now: int,
    limit: int,
    metric_limit: int,
    room: int,
    size: int,
    keys: NDArray[np.uint64],
    seen: NDArray[np.int64],
    metrics: NDArray[np.int32],
    counts: NDArray[np.int64],
    verdicts: NDArray[np.uint8],
) -> tuple[int, int]:
    """Go on from ``row`` until the table is full; return the next row, and the table's size."""
    mask = np.uint64(len(keys) - 1)
    while row < len(series):
        key = series[row]
        slot = key & mask
        while metrics[slot] >= 0 and keys[slot] != key:
            slot = (slot + np.uint64(1)) & mask
        if metrics[slot] >= 0:
            seen[slot] = max(seen[slot], now)
        elif counts[wanted[row]] >= metric_limit:
            verdicts[row] = BEYOND_METRIC_LIMIT
        elif size >= limit:
            verdicts[row] = BEYOND_TENANT_LIMIT
        elif size >= room:
            break  # the caller makes room, and goes on with this row
        else:
            keys[slot], seen[slot], metrics[slot] = key, now, wanted[row]
            counts[wanted[row]] += 1
            size += 1
        row += 1
    return row, size


@njit(cache=True, nogil=True)
def _place(
    series: NDArray[np.uint64],
    wanted: NDArray[np.int32],
    times: NDArray[np.int64],
    keys: NDArray[np.uint64],
    seen: NDArray[np.int64],
    metrics: NDArray[np.int32],
) -> None:
    """Put in series that are distinct, and not in it yet."""
    mask = np.uint64(len(keys) - 1)
    for row in range(len(series)):
        slot = series[row] & mask
        while metrics[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        keys[slot], seen[slot], metrics[slot] = series[row], times[row], wanted[row]


@njit(cache=True, nogil=True)
def _evict(
    before: int,
    keys: NDArray[np.uint64],
    seen: NDArray[np.int64],
    metrics: NDArray[np.int32],
    counts: NDArray[np.int64],
) -> int:
    """Free slots, and move up what stands behind them: no tombstones (Knuth, TAOCP 6.4, R)."""
    mask = len(keys) - 1
    evicted = 0
    for slot in range(len(keys)):
        while metrics[slot] >= 0 and seen[slot] < before:
            counts[metrics[slot]] -= 1
            evicted += 1
            hole = slot
            metrics[hole] = -1
            following = (hole + 1) & mask
            while metrics[following] >= 0:
                home = np.int64(keys[following] & np.uint64(mask))
                if ((following - home) & mask) >= ((following - hole) & mask):
                    keys[hole], seen[hole] = keys[following], seen[following]
                    metrics[hole] = metrics[following]
                    metrics[following] = -1
                    hole = following
                following = (following + 1) & mask
    return evicted
