"""The canonical form of labels: a JSON object with sorted keys, and hashes that are the same anywhere.

Names are made once for each new identity, and there may be a million new ones at once, after a
restart. So labels are sorted, hashed and written by compiled loops over the bytes of all of them.

The hash is 64 bits of a fixed construction with a fixed seed (``decoders.scanning.hash_range``):
series ids are stored, so it must not change from one version or machine to another.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from operators.columns.messages import PADDING
from operators.columns.read_only import read_only
from operators.columns.scanning import fold, hash_range

__all__ = ["LabelColumn", "combined", "hashes", "label_hashes", "label_objects", "texts"]

_FEW: Final = 32  # labels that are sorted by insertion
_SEED: Final = np.uint64(0x48656164726163E5)
_QUOTE, _BACKSLASH, _SPACE, _COLON, _COMMA, _U = 34, 92, 32, 58, 44, 117
_OPEN, _CLOSE, _ZERO = 123, 125, 48
_HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
_SHORT: Final = np.zeros(32, np.uint8)
for _code, _letter in ((8, b"b"), (9, b"t"), (10, b"n"), (12, b"f"), (13, b"r")):
    _SHORT[_code] = _letter[0]


class LabelColumn(NamedTuple):
    """A column of strings: the n-th is ``data[offsets[n]:offsets[n + 1]]``, in UTF-8."""

    offsets: NDArray[np.int64]
    data: NDArray[np.uint8]


def texts(column: pl.Series) -> LabelColumn:
    """Return the bytes of a column of strings without nulls."""
    array = column.to_arrow().cast(pa.large_string())
    if not len(array):
        return LabelColumn(read_only(np.zeros(1, np.int64)), np.zeros(PADDING, np.uint8))
    _, offsets, data = array.buffers()
    first = array.offset
    bounds = np.frombuffer(offsets, np.int64)[first : first + len(array) + 1]
    size = int(bounds[-1])
    padded = np.zeros(size + PADDING, np.uint8)
    if size:
        padded[:size] = np.frombuffer(data, np.uint8, size)
    return LabelColumn(bounds, padded)


def hashes(column: pl.Series) -> NDArray[np.uint64]:
    """Return a hash of each string."""
    return _hashes(texts(column), _SEED)


def combined(*parts: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return one hash of several, row by row; their order counts."""
    mixed = np.full(len(parts[0]), _SEED)
    for part in parts:
        mixed = _mixed(mixed, part)
    return mixed


def label_hashes(
    bounds: NDArray[np.int64], rows: NDArray[np.int64], keys: LabelColumn, values: LabelColumn
) -> NDArray[np.uint64]:
    """Return a hash of each set of labels; their order does not count, of one key the last does.

    Args:
        bounds: the labels of owner ``n`` are at ``rows[bounds[n]:bounds[n + 1]]``.
        rows: which of ``keys`` and ``values`` a label is.
        keys, values: texts.
    """
    return _label_hashes(bounds, _sorted(bounds, rows, keys), keys, values, _SEED)


def label_objects(
    bounds: NDArray[np.int64], rows: NDArray[np.int64], keys: LabelColumn, values: LabelColumn
) -> pl.Series:
    """Return each set of labels as a JSON object with sorted keys; empty values are left out.

    Of one key the last counts. The arguments are those of ``label_hashes``.
    """
    order = _sorted(bounds, rows, keys)
    sizes = _sizes(bounds, order, keys, values)
    offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
    data = _written(bounds, order, keys, values, offsets)
    array = pa.LargeStringArray.from_buffers(len(sizes), pa.py_buffer(offsets), pa.py_buffer(data))
    return pl.Series(pl.from_arrow(array))


@njit(cache=True, nogil=True)
def _hashes(column: LabelColumn, seed: np.uint64) -> NDArray[np.uint64]:
    found = np.empty(len(column.offsets) - 1, np.uint64)
    for n in range(len(found)):
        found[n] = hash_range(column.data, column.offsets[n], column.offsets[n + 1], seed)
    return found


@njit(cache=True, nogil=True)
def _mixed(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.uint64]:
    found = np.empty(len(a), np.uint64)
    for n in range(len(a)):
        found[n] = fold(a[n] ^ np.uint64(0xA0761D6478BD642F), b[n] ^ np.uint64(0xE7037ED1A0B428DB))
    return found


@njit(cache=True, nogil=True)
def _before(keys: LabelColumn, a: int, b: int) -> bool:
    """Say whether key ``a`` comes before key ``b`` by its bytes."""
    i, j = keys.offsets[a], keys.offsets[b]
    end_i, end_j = keys.offsets[a + 1], keys.offsets[b + 1]
    while i < end_i and j < end_j:
        if keys.data[i] != keys.data[j]:
            return bool(keys.data[i] < keys.data[j])
        i += 1
        j += 1
    return bool(i == end_i and j < end_j)


@njit(cache=True, nogil=True)
def _merge_sort(order: NDArray[np.int64], keys: LabelColumn) -> None:
    """Sort rows by key, in place; equal ones stay in their order."""
    size = len(order)
    source, target = order, np.empty_like(order)
    width = 1
    while width < size:
        for begin in range(0, size, 2 * width):
            middle, end = min(begin + width, size), min(begin + 2 * width, size)
            left, right = begin, middle
            for at in range(begin, end):
                if left < middle and (
                    right == end or not _before(keys, source[right], source[left])
                ):
                    target[at] = source[left]
                    left += 1
                else:
                    target[at] = source[right]
                    right += 1
        source, target = target, source
        width *= 2
    order[:] = source.copy()


@njit(cache=True, nogil=True)
def _sorted(
    bounds: NDArray[np.int64], rows: NDArray[np.int64], keys: LabelColumn
) -> NDArray[np.int64]:
    """Return ``rows`` with those of each owner sorted by key, and -1 for all but a key's last."""
    order = rows.copy()
    for owner in range(len(bounds) - 1):
        begin, end = bounds[owner], bounds[owner + 1]
        if end - begin > _FEW:
            _merge_sort(order[begin:end], keys)
        for i in range(begin + 1, end):
            row = order[i]
            k = i - 1
            while k >= begin and _before(keys, row, order[k]):
                order[k + 1] = order[k]
                k -= 1
            order[k + 1] = row
        for i in range(begin, end - 1):
            if not _before(keys, order[i], order[i + 1]):
                order[i] = -1
    return order


@njit(cache=True, nogil=True)
def _label_hashes(
    bounds: NDArray[np.int64],
    order: NDArray[np.int64],
    keys: LabelColumn,
    values: LabelColumn,
    seed: np.uint64,
) -> NDArray[np.uint64]:
    found = np.empty(len(bounds) - 1, np.uint64)
    for owner in range(len(found)):
        mixed = seed
        for i in range(bounds[owner], bounds[owner + 1]):
            row = order[i]
            if row < 0:
                continue
            key = hash_range(keys.data, keys.offsets[row], keys.offsets[row + 1], seed)
            value = hash_range(values.data, values.offsets[row], values.offsets[row + 1], key)
            mixed = fold(mixed ^ key, value ^ np.uint64(0xE7037ED1A0B428DB))
        found[owner] = mixed
    return found


@njit(cache=True, nogil=True)
def _width(column: LabelColumn, row: int) -> int:
    """Return how many bytes a string takes as JSON, with its quotes."""
    size = 2
    for i in range(column.offsets[row], column.offsets[row + 1]):
        byte = column.data[i]
        if byte in (_QUOTE, _BACKSLASH):
            size += 2
        elif byte >= _SPACE:
            size += 1
        else:
            size += 2 if _SHORT[byte] else 6
    return size


@njit(cache=True, nogil=True)
def _sizes(
    bounds: NDArray[np.int64], order: NDArray[np.int64], keys: LabelColumn, values: LabelColumn
) -> NDArray[np.int64]:
    found = np.empty(len(bounds) - 1, np.int64)
    for owner in range(len(found)):
        size = 0
        for i in range(bounds[owner], bounds[owner + 1]):
            row = order[i]
            if row >= 0 and values.offsets[row] < values.offsets[row + 1]:
                size += _width(keys, row) + _width(values, row) + 2  # a colon and a comma
        found[owner] = size + 1 if size else 2
    return found


@njit(cache=True, nogil=True)
def _put(column: LabelColumn, row: int, data: NDArray[np.uint8], at: int) -> int:
    data[at] = _QUOTE
    at += 1
    for i in range(column.offsets[row], column.offsets[row + 1]):
        byte = column.data[i]
        if byte in (_QUOTE, _BACKSLASH):
            data[at], data[at + 1] = _BACKSLASH, byte
            at += 2
        elif byte >= _SPACE:
            data[at] = byte
            at += 1
        elif _SHORT[byte]:
            data[at], data[at + 1] = _BACKSLASH, _SHORT[byte]
            at += 2
        else:
            data[at], data[at + 1], data[at + 2], data[at + 3] = _BACKSLASH, _U, _ZERO, _ZERO
            data[at + 4], data[at + 5] = _HEX[byte >> 4], _HEX[byte & 15]
            at += 6
    data[at] = _QUOTE
    return at + 1


@njit(cache=True, nogil=True)
def _written(
    bounds: NDArray[np.int64],
    order: NDArray[np.int64],
    keys: LabelColumn,
    values: LabelColumn,
    offsets: NDArray[np.int64],
) -> NDArray[np.uint8]:
    data = np.empty(offsets[-1], np.uint8)
    for owner in range(len(bounds) - 1):
        at = offsets[owner]
        data[at] = _OPEN
        at += 1
        for i in range(bounds[owner], bounds[owner + 1]):
            row = order[i]
            if row < 0 or values.offsets[row] == values.offsets[row + 1]:
                continue
            at = _put(keys, row, data, at)
            data[at] = _COLON
            at = _put(values, row, data, at + 1)
            data[at] = _COMMA
            at += 1
        if data[at - 1] == _COMMA:
            at -= 1
        data[at] = _CLOSE
    return data
