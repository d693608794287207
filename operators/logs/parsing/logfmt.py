"""Lines of ``key=value`` pairs (logfmt) as members, as those of JSON objects are."""

# ruff: noqa: PLR0911, PLR0912, PLR0915, PLR1714, SIM102 -- a scanner is one long loop

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import compiled, uncounted
from operators.columns.hash_index import numbered
from operators.columns.scanning import hash_range
from operators.decoders.json.flattening import (
    COMPLETE,
    ESCAPED,
    LITERAL,
    NOT_JSON,
    NUMBER,
    TEXT,
    Members,
)

__all__ = ["pairs_of"]

_MOST: Final = 128
_SEED: Final = np.uint64(0x706169)
_LEAST: Final = 2


def pairs_of(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> Members:
    """Return the pairs of each line; the status is ``NOT_JSON`` where it is anything but pairs.

    There must be two at least. Values may be quoted, with escapes as in JSON.
    """
    room = 16 * len(starts) + _MOST
    status = np.zeros(len(starts), np.uint8)
    rows, hashes = np.empty((room, 6), np.int64), np.empty(room, np.uint64)
    filled, done = 0, 0
    while True:
        filled, done = _scan(buffer, starts, ends, done, rows, hashes, filled, status)
        if done == len(starts):
            break
        rows = np.concatenate([rows, np.empty_like(rows)])
        hashes = np.concatenate([hashes, np.empty_like(hashes)])
    rows = rows[:filled]
    path, firsts = numbered(hashes[:filled])
    keys = [buffer[a:b].tobytes().decode(errors="replace") for a, b in rows[firsts, 1:3].tolist()]
    spans = np.ascontiguousarray(rows[:, 3:5])
    return Members(buffer, rows[:, 0], spans, rows[:, 5], path.astype(np.int64), keys, status)


@uncounted
def _is_number(buffer: NDArray[np.uint8], start: int, end: int) -> bool:
    """Say whether a value is a number as JSON writes it, of at most 15 digits."""
    at = start
    if at < end and buffer[at] == 45:
        at += 1
    first = at
    points = 0
    while at < end:
        byte = buffer[at]
        if byte == 46 and at > first and at + 1 < end and points == 0:
            points += 1
        elif byte < 48 or byte > 57:
            return False
        at += 1
    whole = at - first
    if whole == 0 or whole > 15:
        return False
    return bool(buffer[first] != 48 or whole == 1 or buffer[first + 1] == 46)


@uncounted
def _line(
    buffer: NDArray[np.uint8],
    at: int,
    end: int,
    owner: int,
    rows: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    filled: int,
) -> int:
    """Note the pairs of a line; return what is filled, or -1 if it is anything else."""
    first = filled
    while True:
        while at < end and buffer[at] <= 32:
            at += 1
        if at >= end:
            return filled if filled - first >= _LEAST else -1
        if filled - first >= _MOST:
            return -1
        key = at
        while at < end and buffer[at] > 32 and buffer[at] != 61 and buffer[at] != 34:
            byte = buffer[at] | 32
            plain = 97 <= byte <= 122 or 48 <= buffer[at] <= 57
            if (
                not plain
                and byte != 46
                and byte != 45
                and buffer[at] != 95
                and byte != 47
                and byte != 64
            ):
                return -1
            at += 1
        if at >= end or buffer[at] != 61 or at == key:
            return -1
        key_end = at
        at += 1
        kind = TEXT
        start = at
        if at < end and buffer[at] == 34:
            start = at + 1
            at += 1
            while at < end and buffer[at] != 34:
                if buffer[at] < 32:
                    return -1
                if buffer[at] == 92:
                    kind = ESCAPED
                    following = buffer[at + 1]
                    if (
                        following != 34
                        and following != 92
                        and following != 110
                        and following != 116
                        and (following != 114)
                    ):
                        return -1
                    at += 1
                at += 1
            if at >= end:
                return -1
            stop = at
            at += 1
            if at < end and buffer[at] > 32:
                return -1
        else:
            while at < end and buffer[at] > 32:
                if buffer[at] == 34 or buffer[at] == 92:
                    return -1
                at += 1
            stop = at
            if _is_number(buffer, start, stop):
                kind = NUMBER
            elif stop - start == 4 and buffer[start] == 116 and buffer[start + 1] == 114:
                if buffer[start + 2] == 117 and buffer[start + 3] == 101:
                    kind = LITERAL
        rows[filled, 0] = owner
        rows[filled, 1] = key
        rows[filled, 2] = key_end
        rows[filled, 3] = start
        rows[filled, 4] = stop
        rows[filled, 5] = kind
        hashes[filled] = hash_range(buffer, key, key_end, _SEED)
        filled += 1


@compiled
def _scan(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    row: int,
    rows: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    filled: int,
    status: NDArray[np.uint8],
) -> tuple[int, int]:
    while row < len(starts) and filled + _MOST + 1 <= len(rows):
        after = _line(buffer, starts[row], ends[row], row, rows, hashes, filled)
        status[row] = NOT_JSON if after < 0 else COMPLETE
        filled = max(after, filled)
        row += 1
    return filled, row
