"""JSON objects in columns of text: the members of two become those of one, by a compiled loop."""

# ruff: noqa: SIM110 -- a compiled loop

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import compiled, copy, uncounted
from operators.columns.messages import PADDING
from operators.columns.text_column import TextColumn, filled_texts

__all__ = ["differing", "joined_objects"]


def joined_objects(first: TextColumn, second: TextColumn, *, once: bool = False) -> TextColumn:
    """Return JSON objects with the members of both; an empty text has none.

    Args:
        first: objects.
        second: as many others, whose members come behind.
        once: leave the second out where its members are the last ones of the first already.
    """
    size = int((first.ends - first.starts).sum() + (second.ends - second.starts).sum())
    out = np.empty(size + len(first.starts) + PADDING, np.uint8)
    offsets = np.zeros(len(first.starts) + 1, np.int64)
    _join(*first, *second, once, out, offsets)
    return filled_texts(out, offsets)


def differing(texts: TextColumn, others: TextColumn) -> NDArray[np.bool_]:
    """Say which texts are not equal to the others."""
    return _differing(*texts, *others)


@uncounted
def _equal(
    buffer: NDArray[np.uint8], at: int, others: NDArray[np.uint8], place: int, size: int
) -> bool:
    for step in range(size):
        if buffer[at + step] != others[place + step]:
            return False
    return True


@uncounted
def _is_nothing(buffer: NDArray[np.uint8], start: int, end: int) -> bool:
    return bool(
        end == start or (end - start == 2 and buffer[start] == 123 and buffer[start + 1] == 125)
    )


@uncounted
def _is_within(
    buffer: NDArray[np.uint8], start: int, end: int,
    others: NDArray[np.uint8], first: int, last: int,
) -> bool:  # fmt: skip
    """Say whether an object is the other one, or its last members are the other's."""
    size, more = end - start, last - first
    if more > size:
        return False
    if more == size:
        return _equal(buffer, start, others, first, size)
    if not more or buffer[end - more] != 44:
        return False
    return _equal(buffer, end - more + 1, others, first + 1, more - 1)


@compiled
def _join(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64],
    others: NDArray[np.uint8], firsts: NDArray[np.int64], lasts: NDArray[np.int64],
    once: bool, out: NDArray[np.uint8], offsets: NDArray[np.int64],
) -> None:  # fmt: skip
    filled = 0
    target, here, there = out.ctypes.data, buffer.ctypes.data, others.ctypes.data
    for row in range(len(starts)):
        start, end, first, last = starts[row], ends[row], firsts[row], lasts[row]
        if once and _is_within(buffer, start, end, others, first, last):
            last = first
        if _is_nothing(buffer, start, end):
            copy(target + filled, there + first, last - first)
            filled += last - first
        elif _is_nothing(others, first, last):
            copy(target + filled, here + start, end - start)
            filled += end - start
        else:
            copy(target + filled, here + start, end - start)
            filled += end - start
            out[filled - 1] = 44
            copy(target + filled, there + first + 1, last - first - 1)
            filled += last - first - 1
        offsets[row + 1] = filled


@compiled
def _differing(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64],
    others: NDArray[np.uint8], firsts: NDArray[np.int64], lasts: NDArray[np.int64],
) -> NDArray[np.bool_]:  # fmt: skip
    found = np.empty(len(starts), np.bool_)
    for row in range(len(starts)):
        size = ends[row] - starts[row]
        found[row] = size != lasts[row] - firsts[row] or not _equal(
            buffer, starts[row], others, firsts[row], size
        )
    return found
