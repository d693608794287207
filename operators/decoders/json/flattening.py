"""JSON objects as members: one row a value, with the path of keys that leads to it.

Logs of any shape come so into columns without an object of Python for each: a compiled walk notes
where values stand, and hashes the keys on the way to them. A path is spelled out once for all its
values. ``{"a": {"b": 1}}`` and ``{"a.b": 1}`` have the same path, ``a.b``.
"""

# ruff: noqa: PLR0912, PLR0915, PLR1714 -- a walk is one long loop

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from operators.columns.compiling import Word, compiled, copy, inlined, uncounted
from operators.columns.hash_index import numbered
from operators.columns.messages import PADDING
from operators.columns.scanning import hash_range
from operators.columns.text_column import TextColumn, filled_texts, texts_at
from operators.decoders.json.scan import (
    MOST_LEVELS,
    first_member,
    next_member,
    scan_string,
    skip_space,
    skip_value,
)

__all__ = [
    "ARRAY", "COMPLETE", "CUT", "ESCAPED", "LITERAL", "NOT_JSON", "NULL", "NUMBER", "TEXT", "Members",
    "flatten", "gathered", "texts_of_members", "unescaped", "written",
]  # fmt: skip

# What a value is.
TEXT: Final = 0
ESCAPED: Final = 1
"""A text with escapes."""
NUMBER: Final = 2
LITERAL: Final = 3
NULL: Final = 4
ARRAY: Final = 5
"""An array, an empty object, or one that lies too deep: its JSON is the value."""
_OBJECT: Final = 6

# What a row is.
COMPLETE: Final = 0
NOT_JSON: Final = 1
CUT: Final = 2
"""Only its first members are there, or some lie so deep that they were left together."""

# Columns of a member. Ranges are of the buffer, texts without quotation marks.
_OWNER: Final = 0
_KEY: Final = 1
_KEY_END: Final = 2
_VALUE: Final = 3
_VALUE_END: Final = 4
_KIND: Final = 5
_PARENT: Final = 6
_COLUMNS: Final = 7

_DEEPEST: Final = 16
_MOST: Final = 512
"""Members of one object."""
_SEED: Final = np.uint64(0x6D656D62)


@dataclass(frozen=True, slots=True)
class Members:
    """The values of some objects, in the order in which they stand.

    Attributes:
        buffer: where they are.
        owner: by value, the row of its object.
        spans: by value, where it begins and ends.
        kind: by value, what it is.
        path: by value, the number of its path.
        paths: the paths.
        status: by row, ``COMPLETE``, ``NOT_JSON`` or ``CUT``.
    """

    buffer: NDArray[np.uint8]
    owner: NDArray[np.int64]
    spans: NDArray[np.int64]
    kind: NDArray[np.int64]
    path: NDArray[np.int64]
    paths: Sequence[str]
    status: NDArray[np.uint8]


def flatten(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> Members:
    """Return the members of JSON objects.

    Args:
        buffer: their bytes, and ``PADDING``.
        starts: where each begins, white space included.
        ends: where each ends. What is no object of JSON has no members.
    """
    room = 16 * len(starts) + _MOST
    status = np.zeros(len(starts), np.uint8)
    rows = np.empty((room, _COLUMNS), np.int64)
    hashes = np.empty(room, np.uint64)
    filled, done = 0, 0
    while True:
        filled, done = _walk(buffer, starts, ends, done, rows, hashes, filled, status)
        if done == len(starts):
            break
        rows = np.concatenate([rows, np.empty_like(rows)])
        hashes = np.concatenate([hashes, np.empty_like(hashes)])
    rows, hashes = rows[:filled], hashes[:filled]
    values = rows[:, _KIND] != _OBJECT
    path, firsts = numbered(hashes[values])
    kept = rows[values]
    paths = [_path(buffer, rows, place) for place in np.flatnonzero(values)[firsts].tolist()]
    return Members(
        buffer,
        kept[:, _OWNER],
        np.ascontiguousarray(kept[:, _VALUE : _VALUE_END + 1]),
        kept[:, _KIND],
        path.astype(np.int64),
        paths,
        status,
    )


def _path(buffer: NDArray[np.uint8], rows: NDArray[np.int64], place: int) -> str:
    keys: list[str] = []
    while place >= 0:
        key = buffer[rows[place, _KEY] : rows[place, _KEY_END]].tobytes()
        keys.append(orjson.loads(b'"%b"' % key) if b"\\" in key else key.decode())
        place = int(rows[place, _PARENT])
    return ".".join(reversed(keys))


@uncounted
def _walk_one(
    buffer: NDArray[np.uint8],
    start: int,
    end: int,
    owner: int,
    rows: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    filled: int,
    stack: NDArray[np.int64],
    levels: NDArray[np.uint8],
) -> tuple[int, bool]:
    """Note the members of a checked object; return how many there are of all, and whether it was cut."""
    depth = 0
    stack[0] = -1
    first = filled
    cut = False
    key, key_end, value, _ = first_member(buffer, start, end)
    at = start + 1
    while True:
        if key < 0:
            # The object ends here, and what it is in goes on.
            if depth == 0:
                return filled, cut
            depth -= 1
            at = skip_space(buffer, at, end) + 1
            key, key_end, value, _ = next_member(buffer, at, end)
            continue
        if filled - first >= _MOST:
            return filled, True
        parent = stack[depth]
        seed: Word = _SEED
        if parent >= 0:
            seed = hashes[parent]
        rows[filled, _OWNER] = owner
        rows[filled, _KEY] = key
        rows[filled, _KEY_END] = key_end
        rows[filled, _PARENT] = parent
        hashes[filled] = hash_range(buffer, key, key_end, seed)
        byte = buffer[value]
        if (
            byte == 123
            and depth + 1 < _DEEPEST
            and buffer[skip_space(buffer, value + 1, end)] != 125
        ):
            rows[filled, _VALUE] = value
            rows[filled, _VALUE_END] = value
            rows[filled, _KIND] = _OBJECT
            depth += 1
            stack[depth] = filled
            filled += 1
            at = value + 1
            key, key_end, value, _ = first_member(buffer, value, end)
            continue
        if byte == 34:
            close, escaped = scan_string(buffer, value + 1, end)
            rows[filled, _VALUE] = value + 1
            rows[filled, _VALUE_END] = close
            rows[filled, _KIND] = ESCAPED if escaped else TEXT
            at = close + 1
        else:
            at = skip_value(buffer, value, end, levels)
            rows[filled, _VALUE] = value
            rows[filled, _VALUE_END] = at
            kind = NUMBER
            if byte == 123 or byte == 91:
                kind = ARRAY
                cut = cut or (byte == 123 and at - value > 2)
            elif byte == 116 or byte == 102:
                kind = LITERAL
            elif byte == 110:
                kind = NULL
            rows[filled, _KIND] = kind
        filled += 1
        key, key_end, value, _ = next_member(buffer, at, end)


@compiled
def _walk(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    row: int,
    rows: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    filled: int,
    status: NDArray[np.uint8],
) -> tuple[int, int]:
    """Walk objects from ``row`` on while there is room; return what is filled, and what was done."""
    levels = np.empty(MOST_LEVELS, np.uint8)
    stack = np.empty(_DEEPEST, np.int64)
    while row < len(starts):
        if filled + _MOST + 1 > len(rows):
            break
        end = ends[row]
        at = skip_space(buffer, starts[row], end)
        status[row] = NOT_JSON
        if at < end and buffer[at] == 123:
            after = skip_value(buffer, at, end, levels)
            if after > 0 and skip_space(buffer, after, end) == end:
                filled, cut = _walk_one(buffer, at, after, row, rows, hashes, filled, stack, levels)
                status[row] = CUT if cut else COMPLETE
        row += 1
    return filled, row


@inlined
def _hex(byte: int) -> int:
    if byte <= 57:
        return byte - 48
    return (byte | 32) - 87


@inlined
def _unit(buffer: NDArray[np.uint8], at: int) -> int:
    """Return the code unit whose four hexadecimal digits begin at ``at``."""
    code = 0
    for place in range(at, at + 4):
        code = code * 16 + _hex(np.int64(buffer[place]))  # type: ignore[arg-type]
    return code


@uncounted
def _unescape(
    buffer: NDArray[np.uint8], at: int, end: int, out: NDArray[np.uint8], filled: int
) -> int:
    """Write a checked text without its escapes, and return how far ``out`` is filled."""
    target, source = out.ctypes.data, buffer.ctypes.data
    while at < end:
        first = at
        while at < end and buffer[at] != 92:
            at += 1
        copy(target + filled, source + first, at - first)
        filled += at - first
        if at == end:
            break
        byte = buffer[at + 1]
        if byte != 117:
            plain = byte
            if byte == 110:
                plain = np.uint8(10)
            elif byte == 116:
                plain = np.uint8(9)
            elif byte == 114:
                plain = np.uint8(13)
            elif byte == 98:
                plain = np.uint8(8)
            elif byte == 102:
                plain = np.uint8(12)
            out[filled] = plain
            filled += 1
            at += 2
            continue
        code = _unit(buffer, at + 2)
        at += 6
        if 0xD800 <= code <= 0xDBFF:
            code = 0x10000 + ((code - 0xD800) << 10) + (_unit(buffer, at + 2) - 0xDC00)
            at += 6
        if code < 0x80:
            out[filled] = code
            filled += 1
        elif code < 0x800:
            out[filled] = 0xC0 | code >> 6
            out[filled + 1] = 0x80 | code & 0x3F
            filled += 2
        elif code < 0x10000:
            out[filled] = 0xE0 | code >> 12
            out[filled + 1] = 0x80 | code >> 6 & 0x3F
            out[filled + 2] = 0x80 | code & 0x3F
            filled += 3
        else:
            out[filled] = 0xF0 | code >> 18
            out[filled + 1] = 0x80 | code >> 12 & 0x3F
            out[filled + 2] = 0x80 | code >> 6 & 0x3F
            out[filled + 3] = 0x80 | code & 0x3F
            filled += 4
    return filled


@compiled
def _copy_texts(
    buffer: NDArray[np.uint8],
    spans: NDArray[np.int64],
    kinds: NDArray[np.int64],
    chosen: NDArray[np.int64],
    out: NDArray[np.uint8],
    offsets: NDArray[np.int64],
) -> None:
    filled = 0
    for row in range(len(chosen)):
        member = chosen[row]
        if member >= 0:
            start, end = spans[member, 0], spans[member, 1]
            if kinds[member] == ESCAPED:
                filled = _unescape(buffer, start, end, out, filled)
            else:
                copy(out.ctypes.data + filled, buffer.ctypes.data + start, end - start)
                filled += end - start
        offsets[row + 1] = filled


def gathered(members: Members, chosen: NDArray[np.int64]) -> pl.Series:
    """Return values as text: of each row the member that is chosen, null where that is -1."""
    buffer, starts, ends = texts_of_members(members, chosen)
    offsets = np.append(starts, ends[-1:] if len(ends) else 0)
    valid = pa.py_buffer(np.packbits(chosen >= 0, bitorder="little"))
    array = pa.Array.from_buffers(
        pa.large_string(), len(chosen), [valid, pa.py_buffer(offsets), pa.py_buffer(buffer)]
    )
    return pl.Series(array)


def texts_of_members(members: Members, chosen: NDArray[np.int64]) -> TextColumn:
    """Return values as text: of each row the member that is chosen, empty where that is -1."""
    lengths = (
        (members.spans[:, 1] - members.spans[:, 0])[chosen] if len(members.spans) else chosen * 0
    )
    lengths = np.where(chosen >= 0, lengths, 0)
    out = np.empty(int(lengths.sum()) + PADDING, np.uint8)
    offsets = np.zeros(len(chosen) + 1, np.int64)
    _copy_texts(members.buffer, members.spans, members.kind, chosen, out, offsets)
    return filled_texts(out, offsets)


def unescaped(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> pl.Series:
    """Return checked texts of JSON, without quotation marks, with their escapes resolved."""
    spans = np.stack([starts, ends], 1)
    out = np.empty(int((ends - starts).sum()) + PADDING, np.uint8)
    offsets = np.zeros(len(starts) + 1, np.int64)
    kinds = np.full(len(starts), ESCAPED, np.int64)
    _copy_texts(buffer, spans, kinds, np.arange(len(starts)), out, offsets)
    return texts_at(*filled_texts(out, offsets))


@compiled
def _write_objects(
    buffer: NDArray[np.uint8],
    owner: NDArray[np.int64],
    spans: NDArray[np.int64],
    kinds: NDArray[np.int64],
    path: NDArray[np.int64],
    kept: NDArray[np.bool_],
    keys: NDArray[np.uint8],
    key_bounds: NDArray[np.int64],
    out: NDArray[np.uint8],
    offsets: NDArray[np.int64],
) -> None:
    filled = 0
    member = 0
    for row in range(len(offsets) - 1):
        first = filled
        while member < len(owner) and owner[member] == row:
            if kept[member]:
                out[filled] = 123 if filled == first else 44
                filled += 1
                for at in range(key_bounds[path[member]], key_bounds[path[member] + 1]):
                    out[filled] = keys[at]
                    filled += 1
                text = kinds[member] <= ESCAPED
                if text:
                    out[filled] = 34
                    filled += 1
                start, size = spans[member, 0], spans[member, 1] - spans[member, 0]
                copy(out.ctypes.data + filled, buffer.ctypes.data + start, size)
                filled += size
                if text:
                    out[filled] = 34
                    filled += 1
            member += 1
        if filled > first:
            out[filled] = 125
            filled += 1
        offsets[row + 1] = filled


def written(members: Members, kept: NDArray[np.bool_]) -> TextColumn:
    """Return the members that are kept as JSON objects, flat: one text a row, empty without any.

    Values stand in it as they were written; null is left out.
    """
    kept = kept & (members.kind != NULL)
    names = [orjson.dumps(path) + b":" for path in members.paths]
    key_bounds = np.zeros(len(names) + 1, np.int64)
    np.cumsum([len(name) for name in names], out=key_bounds[1:])
    keys = np.frombuffer(b"".join(names) or b"\0", np.uint8)
    sizes = (members.spans[:, 1] - members.spans[:, 0]) + 4
    if names:
        sizes = sizes + np.diff(key_bounds)[members.path]
    rows = len(members.status)
    out = np.empty(int(sizes[kept].sum()) + 2 * rows + PADDING, np.uint8)
    offsets = np.zeros(rows + 1, np.int64)
    _write_objects(
        members.buffer, members.owner, members.spans, members.kind, members.path, kept, keys,
        key_bounds, out, offsets,
    )  # fmt: skip
    return filled_texts(out, offsets)
