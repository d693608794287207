"""Addresses of the internet in a column of text, truncated by a compiled loop.

Where truncation is all that is asked for, lines of web servers, each of which has one, cost little.
"""

# ruff: noqa: PLR0911, PLR0912, PLR1714 -- a scanner is a list of cases

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from operators.columns.compiling import compiled, signed, uncounted
from operators.columns.text_column import TextColumn

__all__ = ["public_address_end", "truncated"]

_WORD: Final = np.array(
    [48 <= code <= 57 or 65 <= code <= 90 or 97 <= code <= 122 or code == 95 for code in range(256)]
)
_LONGEST: Final = 15


@uncounted
def public_address_end(buffer: NDArray[np.uint8], start: int, at: int, end: int) -> tuple[int, int]:
    """Find the IPv4 address that begins with the digit at ``at`` of ``buffer[start:end]``.

    It must stand apart, as ``sensitive.Kind.apart`` has it, and be of the internet: of no network
    that is private, shared, for tests or documentation (RFC 6890).

    Returns:
        Where its last part begins, and where it ends; -1 for both if there is none.
    """
    if at > start:
        before = buffer[at - 1]
        if _WORD[before] or before == 45:
            return -1, -1
        if before == 46 and at - 1 > start and _WORD[buffer[at - 2]]:
            return -1, -1
    parts = 0
    first, second, third, last, number = 0, 0, 0, at, 0
    place = at
    while True:
        begin = place
        number = 0
        while place < end and 48 <= buffer[place] <= 57 and place - begin < 4:
            number = number * 10 + signed(buffer[place]) - 48
            place += 1
        size = place - begin
        if size == 0 or size > 3 or number > 255 or (size > 1 and buffer[begin] == 48):
            return -1, -1
        if parts == 0:
            first = number
        elif parts == 1:
            second = number
        elif parts == 2:
            third = number
        parts += 1
        if parts == 4:
            last = begin
            break
        if place >= end or buffer[place] != 46:
            return -1, -1
        place += 1
    if place < end:
        after = buffer[place]
        if _WORD[after]:
            return -1, -1
        if (after == 46 or after == 45) and place + 1 < end and _WORD[buffer[place + 1]]:
            return -1, -1
    if first in (0, 10, 127) or first >= 240:
        return -1, -1
    private = (first == 192 and second == 168) or (first == 172 and 16 <= second <= 31)
    private = private or (first == 169 and second == 254) or (first == 100 and 64 <= second <= 127)
    reserved = first == 192 and second == 0 and (third == 2 or third == 0)
    reserved = reserved or (first == 198 and (second == 18 or second == 19))
    reserved = reserved or (first == 198 and second == 51 and third == 100)
    if private or reserved or (first == 203 and second == 0 and third == 113):
        return -1, -1
    return last, place


@compiled
def _truncate(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    out: NDArray[np.uint8],
    offsets: NDArray[np.int64],
) -> int:
    filled = 0
    found = 0
    for row in range(len(starts)):
        start, end = starts[row], ends[row]
        at = start
        while at < end:
            byte = buffer[at]
            if 48 <= byte <= 57 and (at == start or not _WORD[buffer[at - 1]]):
                last, after = public_address_end(buffer, start, at, end)
                if after > 0:
                    for place in range(at, last):
                        out[filled] = buffer[place]
                        filled += 1
                    out[filled] = 48
                    filled += 1
                    found += 1
                    at = after
                    continue
            out[filled] = byte
            filled += 1
            at += 1
        offsets[row + 1] = filled
    return found


def truncated(column: TextColumn) -> tuple[pl.Series, int]:
    """Return the texts with 0 for the last part of each address, and how many addresses there were."""
    out = np.empty(int((column.ends - column.starts).sum()), np.uint8)
    offsets = np.zeros(len(column.starts) + 1, np.int64)
    found = _truncate(column.buffer, column.starts, column.ends, out, offsets)
    array = pa.Array.from_buffers(
        pa.large_string(), len(column.starts), [None, pa.py_buffer(offsets), pa.py_buffer(out)]
    )
    return pl.Series(array), int(found)
