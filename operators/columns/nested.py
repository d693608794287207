"""Walking nested Arrow arrays by their offsets, instead of exploding rows.

An OTLP message is lists in lists: resources, scopes, metrics, data points. Flattened, each level
is one array, and where a child belongs is a number in an array of parents.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["combine_hashes", "hash_values", "join_bytes", "offsets", "owners"]

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_FINALISER = np.uint64(0xD6E8FEB86659FD93)
_SHIFT = np.uint64(32)


def offsets(lists: pa.ListArray) -> NDArray[np.int64]:
    """Return where each list begins in ``lists.values``, and where the last one ends."""
    return np.asarray(lists.offsets).astype(np.int64)


def owners(lists: pa.ListArray) -> NDArray[np.int64]:
    """Return for each element of ``lists.values`` the row of ``lists`` that it belongs to."""
    starts = offsets(lists)
    return np.repeat(np.arange(len(lists)), np.diff(starts))


def join_bytes(lists: pa.ListArray) -> pa.BinaryArray:
    """Return one value a row: the bytes of its list's elements, one after the other.

    They are neighbours in the child's buffer already, so only new offsets are made. ``lists``
    is as a decoder made it: no nulls and no slice of another array.
    """
    child = lists.values
    if len(child) == 0:
        return pa.array([b""] * len(lists), pa.binary())
    bounds = np.frombuffer(child.buffers()[1], np.int32, len(child) + 1)
    joined = np.ascontiguousarray(bounds[np.asarray(lists.offsets)])
    return pa.BinaryArray.from_buffers(
        pa.binary(), len(lists), [None, pa.py_buffer(joined), child.buffers()[2]]
    )


def hash_values(values: pa.Array) -> NDArray[np.uint64]:
    """Return a hash of each value: the same within this process, not from one to the next."""
    return pl.Series(pl.from_arrow(values)).hash().to_numpy()


def combine_hashes(*hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return one hash of several, row by row; their order counts, and every bit is mixed."""
    mixed = hashes[0]
    for further in hashes[1:]:
        mixed = (mixed * _MULTIPLIER) ^ further
        mixed = (mixed ^ (mixed >> _SHIFT)) * _FINALISER
        mixed = mixed ^ (mixed >> _SHIFT)
    return mixed
