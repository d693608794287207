"""A hash table in NumPy arrays: whole columns of keys are looked up and put in at once."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from operators.columns.read_only import read_only

__all__ = ["HashIndex", "numbered"]

_SMALLEST = 1 << 12
_FEW = _SMALLEST // 4


class HashIndex:
    """Maps ``uint64`` keys, well mixed already, to row numbers, by open addressing.

    The rows of keys that it meets for the first time are numbered in the order of meeting, so
    that they can index arrays. A sorted array would cost a binary search a key, a join would hash
    the whole table anew.
    """

    def __init__(self) -> None:
        self._keys = np.zeros(_SMALLEST, np.uint64)
        self._rows = np.full(_SMALLEST, -1, np.int32)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def find(self, keys: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Return the row of each key, -1 where there is none."""
        return _find(self._keys, self._rows, read_only(keys))

    def find_new(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the row of each key, -1 where there is none, and where each key without one is first."""
        rows = self.find(keys)
        without = np.flatnonzero(rows < 0)
        return rows, without[numbered(keys[without])[1]] if len(without) else without

    def keys(self) -> NDArray[np.uint64]:
        """Return all keys, by their rows."""
        used = self._rows >= 0
        keys = np.empty(self._size, np.uint64)
        keys[self._rows[used]] = self._keys[used]
        return keys

    def insert(self, keys: NDArray[np.uint64], rows: NDArray[np.int32]) -> None:
        """Put in keys that are distinct, and not in it yet."""
        self._reserve(len(keys))
        _insert(self._keys, self._rows, read_only(keys), rows)
        self._size += len(keys)

    def meet(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the row of each key, and where each is first that got the next row because it was new."""
        self._reserve(len(keys))
        rows, first = _meet(self._keys, self._rows, self._size, read_only(keys))
        self._size += len(first)
        return rows, first

    def number(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.int32], NDArray[np.uint64]]:
        """Return the row of each key, and the keys that got the next rows because they were new."""
        rows, first = self.meet(keys)
        return rows, keys[first]

    def _reserve(self, more: int) -> None:
        size = self._size + more
        if size * 2 <= len(self._keys):
            return
        used = self._rows >= 0
        keys, rows = self._keys[used], self._rows[used]
        capacity = 1 << max(12, (size * 2 - 1).bit_length())
        self._keys = np.zeros(capacity, np.uint64)
        self._rows = np.full(capacity, -1, np.int32)
        _insert(self._keys, self._rows, read_only(keys), rows)


def numbered(keys: NDArray[np.uint64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Number different keys as they come; return each row's number, and where each is first."""
    # A table with room for keys that all differ fits no cache, and few columns are like that.
    codes, first = np.empty(len(keys), np.int32), np.empty(_FEW, np.int64)
    count = _number_few(np.full(_SMALLEST, -1, np.int32), read_only(keys), codes, first)
    if count >= 0:
        return codes, first[:count].copy()
    return HashIndex().meet(keys)


@njit(cache=True, nogil=True)
def _find(
    table: NDArray[np.uint64], rows: NDArray[np.int32], keys: NDArray[np.uint64]
) -> NDArray[np.int32]:
    mask = np.uint64(len(table) - 1)
    found = np.empty(len(keys), np.int32)
    for i in range(len(keys)):
        key = keys[i]
        slot = key & mask
        while rows[slot] >= 0 and table[slot] != key:
            slot = (slot + np.uint64(1)) & mask
        found[i] = rows[slot]
    return found


@njit(cache=True, nogil=True)
def _insert(
    table: NDArray[np.uint64],
    rows: NDArray[np.int32],
    keys: NDArray[np.uint64],
    values: NDArray[np.int32],
) -> None:
    mask = np.uint64(len(table) - 1)
    for i in range(len(keys)):
        slot = keys[i] & mask
        while rows[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        table[slot] = keys[i]
        rows[slot] = values[i]


@njit(cache=True, nogil=True)
def _meet(
    table: NDArray[np.uint64], rows: NDArray[np.int32], size: int, keys: NDArray[np.uint64]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    mask = np.uint64(len(table) - 1)
    found = np.empty(len(keys), np.int32)
    first = np.empty(len(keys), np.int64)
    count = 0
    for i in range(len(keys)):
        key = keys[i]
        slot = key & mask
        while rows[slot] >= 0 and table[slot] != key:
            slot = (slot + np.uint64(1)) & mask
        if rows[slot] < 0:
            table[slot] = key
            rows[slot] = size + count
            first[count] = i
            count += 1
        found[i] = rows[slot]
    return found, first[:count].copy()


@njit(cache=True, nogil=True)
def _number_few(
    slots: NDArray[np.int32],
    keys: NDArray[np.uint64],
    codes: NDArray[np.int32],
    first: NDArray[np.int64],
) -> int:
    """Number keys as long as there is room in ``first``; return how many differ, else -1."""
    mask = np.uint64(len(slots) - 1)
    count = 0
    for i in range(len(keys)):
        key = keys[i]
        slot = key & mask
        while slots[slot] >= 0 and keys[first[slots[slot]]] != key:
            slot = (slot + np.uint64(1)) & mask
        if slots[slot] < 0:
            if count == len(first):
                return -1
            slots[slot] = count
            first[count] = i
            count += 1
        codes[i] = slots[slot]
    return count
