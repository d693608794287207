"""Protobuf on the wire, compiled: for what is not worth, or not safe, to be parsed as a whole."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

__all__ = ["LENGTH_DELIMITED", "content", "count_fields", "varint"]

LENGTH_DELIMITED: Final = 2
_VARINT, _FIXED_64, _FIXED_32 = 0, 1, 5


@njit(cache=True, nogil=True)
def content(data: Any, at: Any, end: Any, wire: Any) -> Any:
    """Return where the content of a field begins and ends, -1 if it does not end."""
    begin = at
    if wire == _VARINT:
        _, at = varint(data, at, end)
    elif wire == LENGTH_DELIMITED:
        length, begin = varint(data, at, end)
        at = np.int64(-1)
        if begin >= 0 and length <= np.uint64(end - begin):
            at = begin + np.int64(length)
    elif wire == _FIXED_64:
        at += 8
    elif wire == _FIXED_32:
        at += 4
    else:
        at = np.int64(-1)
    return begin, at


@njit(cache=True, nogil=True)
def varint(data: Any, at: Any, end: Any) -> Any:
    """Return the number at ``at`` and where it ends, -1 if it does not end."""
    value = np.uint64(0)
    shift = np.uint64(0)
    position = np.int64(at)
    while position < end and shift < 64:
        byte = np.uint64(data[position])
        position += 1
        value |= (byte & np.uint64(0x7F)) << shift
        if byte < 0x80:
            return value, position
        shift += np.uint64(7)
    return value, np.int64(-1)


@njit(cache=True, nogil=True)
def count_fields(data: Any) -> Any:
    """Return the number of fields of a message, and of what is delimited in it, one level down.

    It stops where the bytes are not protobuf.
    """
    fields = 0
    at, end = np.int64(0), np.int64(len(data))
    inner_end = np.int64(0)
    while 0 <= at < end:
        tag, at = varint(data, at, end)
        if at < 0:
            break
        fields += 1
        wire = np.int64(tag & np.uint64(7))
        start, after = content(data, at, end, wire)
        # Into a message of the first level, over everything else.
        if wire == LENGTH_DELIMITED and after > 0 and at >= inner_end:
            inner_end = after
            at = start
        else:
            at = after
    return fields
