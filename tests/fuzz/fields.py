"""Damage to fields of protobuf at any depth, with the lengths of all messages around put right."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import compiled, signed
from tests.fuzz.splicing import below, repeat, splice

__all__ = ["change_field"]

_DEEPEST: Final = 16
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


@compiled
def _integer(text: NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """Return the integer at ``at`` and where it ends, -1 if it does not."""
    value = 0
    shift = 0
    while at < end and shift < 63:
        value |= (signed(text[at]) & 0x7F) << shift
        at += 1
        if text[at - 1] < 0x80:
            return value, at
        shift += 7
    return 0, -1


@compiled
def _field(text: NDArray[np.uint8], at: int, end: int) -> tuple[int, int, int, int]:
    """Return where a field's content is announced, begins and ends, and its wire type; or -1s."""
    tag, at = _integer(text, at, end)
    kind = tag & 7
    if at < 0 or tag < 8:
        return -1, -1, -1, -1
    stop = begin = announced = at
    if kind == _VARINT:
        _, stop = _integer(text, at, end)
    elif kind == _FIXED64:
        stop = at + 8
    elif kind == _FIXED32:
        stop = at + 4
    elif kind == _LENGTH:
        length, begin = _integer(text, at, end)
        stop = begin + length if begin >= 0 and 0 <= length <= end - begin else -1
    else:
        stop = -1
    if stop < 0 or stop > end:
        return -1, -1, -1, -1
    return announced, begin, stop, kind


@compiled
def _count(text: NDArray[np.uint8], at: int, end: int) -> int:
    """Return the number of fields of what may be a message, 0 if it is none."""
    count = 0
    while at < end:
        _, _, at, _ = _field(text, at, end)
        if at < 0:
            return 0
        count += 1
    return count


@compiled
def _descend(
    state: NDArray[np.uint64],
    text: NDArray[np.uint8],
    begin: int,
    end: int,
    path: NDArray[np.int64],
) -> tuple[int, int, int, int, int, int]:
    """Choose a field at a random depth.

    Returns its depth (-1 if there is no field); where it begins, where its content is announced,
    begins and ends; and its wire type. ``path`` is filled with the same of the fields around it:
    where the length is, and where the content begins and ends.
    """
    depth = 0
    while True:
        count = _count(text, begin, end)
        if count == 0:
            return -1, 0, 0, 0, 0, 0
        at = begin
        for _ in range(below(state, count)):
            _, _, at, _ = _field(text, at, end)
        announced, content, stop, kind = _field(text, at, end)
        deeper = (
            kind == _LENGTH
            and depth < _DEEPEST
            and below(state, 6)
            and _count(text, content, stop) > 0
        )
        if not deeper:
            return depth, at, announced, content, stop, kind
        path[depth, 0], path[depth, 1], path[depth, 2] = announced, content, stop
        depth += 1
        begin, end = content, stop


@compiled
def _write_integer(value: int, out: NDArray[np.uint8]) -> int:
    """Write an integer to the begin of ``out``, and return how many bytes it takes."""
    size = 0
    while value >= 0x80:
        out[size] = np.uint8(value & 0x7F | 0x80)
        value >>= 7
        size += 1
    out[size] = np.uint8(value)
    return size + 1


@compiled
def change_field(
    state: NDArray[np.uint64],
    work: NDArray[np.uint8],
    size: int,
    corpus: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    tokens: NDArray[np.uint8],
    token_bounds: NDArray[np.int64],
    scratch: NDArray[np.uint8],
    limit: int,
) -> int:
    """Remove, double, exchange or fill a field of a message; return the message's new size."""
    path = np.empty((_DEEPEST + 1, 3), np.int64)
    depth, at, announced, content, stop, kind = _descend(state, work, 0, size, path)
    if depth < 0:
        return size
    choice = below(state, 10)
    before = size
    room = limit - 10 * (depth + 1)
    if choice == 0:
        size = splice(work, size, at, stop - at, scratch, 0, 0, room)
    elif choice == 1:
        taken = stop - at
        scratch[:taken] = work[at:stop]
        times = room if below(state, 16) == 0 else 1 + below(state, 3)
        size = repeat(work, size, at, scratch, 0, taken, times, room)
    elif choice <= 4:
        # A field of another message, or of this one's elder, instead of it or before it.
        other = below(state, len(bounds) - 1)
        elsewhere = np.empty((_DEEPEST + 1, 3), np.int64)
        found, first, _, _, last, _ = _descend(
            state, corpus, bounds[other], bounds[other + 1], elsewhere
        )
        if found >= 0:
            removed = stop - at if choice <= 3 else 0
            size = splice(work, size, at, removed, corpus, first, last - first, room)
    elif choice == 5:
        # Another number or wire type.
        work[at] ^= np.uint8(1 << below(state, 7))
    else:
        token = below(state, len(token_bounds) - 1)
        source = token_bounds[token]
        taken = token_bounds[token + 1] - source
        if kind == _LENGTH:
            # Its content is a token, or holds one; now and then it is that token over and over.
            path[depth, 0], path[depth, 1], path[depth, 2] = announced, content, stop
            depth += 1
            begin = content + below(state, stop - content + 1)
            removed = stop - begin
            if choice <= 7:
                begin, removed = content, stop - content
            size = splice(work, size, begin, removed, tokens, source, taken, room)
            if below(state, 12) == 0:
                size = repeat(work, size, begin, tokens, source, taken, room, room)
        else:
            size = splice(work, size, content, stop - content, tokens, source, taken, room)
    grown = size - before
    for level in range(depth - 1, -1, -1):
        length = path[level, 2] - path[level, 1] + grown
        width = _write_integer(max(length, 0), scratch)
        old = path[level, 1] - path[level, 0]
        size = splice(work, size, path[level, 0], old, scratch, 0, width, limit)
        grown += width - old
    return size
