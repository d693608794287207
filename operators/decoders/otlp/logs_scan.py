"""A compiled scan of OTLP logs in protobuf: a row a record, its texts left where they are.

A record's attributes are written as a flat JSON object at once, as long as their values are texts,
whole numbers and truths. What has others (numbers with a fraction, lists, bytes) is for a parser:
the scan says which records that is.
"""

# ruff: noqa: PLR0911, PLR0912, PLR0915, PLR1714 -- a parser is a list of fields and errors

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import compiled, signed, uncounted
from operators.columns.memory import byte_at, word_at
from operators.decoders.protobuf.reading import (
    CUT_OFF,
    LENGTH,
    VARINT,
    WRONG_TYPE,
    read_length,
    read_tag,
    read_varint,
    skip,
)

__all__ = ["RECORD", "scan_logs", "write_attributes"]

RECORD: Final = np.dtype(
    [
        ("message", np.uint32),
        ("index", np.uint32),
        ("resource", np.int64),  # rows of the poll's resources and scopes, -1 if there is none
        ("scope", np.int64),
        ("start", np.int64),  # of the record, in the buffer
        ("end", np.int64),
        ("ts", np.int64),
        ("observed", np.int64),
        ("severity", np.int64),
        ("text", np.int64),
        ("text_end", np.int64),
        ("body", np.int64),
        ("body_end", np.int64),
        ("trace", np.int64),
        ("trace_end", np.int64),
        ("span", np.int64),
        ("span_end", np.int64),
        ("plain", np.bool_),  # no parser is needed
    ],
    align=True,
)

_FIXED64: Final = 1


@uncounted
def _record(base: int, at: int, end: int, records: np.ndarray, row: int) -> int:
    """Read a record into its row; return a position, negative if it is none."""
    record = records[row]
    record.start, record.end = at - base, end - base
    record.ts, record.observed, record.severity = 0, 0, 0
    record.text, record.text_end = 0, 0
    record.body, record.body_end = 0, 0
    record.trace, record.trace_end, record.span, record.span_end = 0, 0, 0, 0
    record.plain = True
    while at < end:
        tag, at = read_tag(at, end)
        if at < 0:
            return at
        if tag == (1 << 3 | _FIXED64) or tag == (11 << 3 | _FIXED64):
            if end - at < 8:
                return CUT_OFF
            number = max(signed(word_at(at)), 0)
            at += 8
            if tag >> 3 == 1:
                record.ts = number
            else:
                record.observed = number
        elif tag == (2 << 3 | VARINT):
            value, at = read_varint(at, end)
            if at < 0:
                return at
            record.severity = 0
            if value <= np.uint64(24):
                record.severity = signed(value)
        elif tag == (3 << 3 | LENGTH):
            start, at = read_length(at, end)
            if at < 0:
                return at
            record.text, record.text_end = start - base, at - base
        elif tag == (9 << 3 | LENGTH):
            start, at = read_length(at, end)
            if at < 0:
                return at
            record.trace, record.trace_end = start - base, at - base
        elif tag == (10 << 3 | LENGTH):
            start, at = read_length(at, end)
            if at < 0:
                return at
            record.span, record.span_end = start - base, at - base
        elif tag == (5 << 3 | LENGTH):
            start, at = read_length(at, end)
            if at < 0:
                return at
            place = start
            record.body, record.body_end = 0, 0
            while place < at:
                inner, place = read_tag(place, at)
                if place < 0:
                    return place
                if inner == (1 << 3 | LENGTH):
                    begin, place = read_length(place, at)
                    if place < 0:
                        return place
                    record.body, record.body_end = begin - base, place - base
                else:
                    record.plain = False
                    place = skip(inner, place, at)
                    if place < 0:
                        return place
        elif tag == (6 << 3 | LENGTH):
            start, at = read_length(at, end)
            if at < 0:
                return at
            kind = _kind(start, at)
            if kind < 0:
                return kind
            if kind > 3:
                record.plain = False
        elif tag >> 3 in (1, 2, 3, 5, 6, 9, 10, 11):
            return WRONG_TYPE
        else:
            at = skip(tag, at, end)
            if at < 0:
                return at
    return at


@uncounted
def _kind(at: int, end: int) -> int:
    """Return the field of a pair's value that is set, 0 if none is, a negative number if it is no pair."""
    kind = 0
    while at < end:
        tag, at = read_tag(at, end)
        if at < 0:
            return at
        if tag == (2 << 3 | LENGTH):
            place, at = read_length(at, end)
            if at < 0:
                return at
            while place < at:
                inner, place = read_tag(place, at)
                if place < 0:
                    return place
                kind = inner >> 3
                place = skip(inner, place, at)
                if place < 0:
                    return place
        else:
            at = skip(tag, at, end)
            if at < 0:
                return at
    return kind


@compiled
def scan_logs(
    base: int, entries: np.ndarray, records: np.ndarray, status: NDArray[np.int64]
) -> int:
    """Read entries into records; return how many those are.

    Args:
        base: address of the buffer.
        entries: see ``groups_of``.
        records: as many rows, which are filled.
        status: by message; negative for the reason why one of its records is none. A message with
            such a record has none.
    """
    row = 0
    first = 0
    before = np.int64(-1)
    for number in range(len(entries)):
        entry = entries[number]
        message = np.int64(entry.message)
        if message != before:
            before, first = message, row
        if status[message] < 0:
            continue
        read = _record(base, base + entry.start, base + entry.end, records, row)
        if read < 0:
            status[message] = read
            row = first
            continue
        records[row].message, records[row].index = entry.message, row - first
        records[row].resource, records[row].scope = entry.resource, entry.scope
        row += 1
    return row


@uncounted
def _quoted(at: int, end: int, out: NDArray[np.uint8], filled: int) -> int:
    """Write a text as a JSON string, and return how far ``out`` is filled."""
    out[filled] = 34
    filled += 1
    while at < end:
        byte = byte_at(at)
        at += 1
        if byte >= 32 and byte != 34 and byte != 92:
            out[filled] = byte
            filled += 1
            continue
        out[filled] = 92
        filled += 1
        if byte == 34 or byte == 92:
            out[filled] = byte
            filled += 1
        elif byte == 10:
            out[filled] = 110
            filled += 1
        elif byte == 9:
            out[filled] = 116
            filled += 1
        elif byte == 13:
            out[filled] = 114
            filled += 1
        else:
            out[filled] = 117
            out[filled + 1] = 48
            out[filled + 2] = 48
            out[filled + 3] = 48 + (byte >> 4)
            low = byte & 15
            out[filled + 4] = low + (48 if low < 10 else 87)
            filled += 5
    out[filled] = 34
    return filled + 1


@uncounted
def _whole(number: int, out: NDArray[np.uint8], filled: int) -> int:
    """Write a whole number in decimal digits."""
    if number == 0:
        out[filled] = 48
        return filled + 1
    rest = np.uint64(number)
    if number < 0:
        out[filled] = 45
        filled += 1
        rest = np.uint64(0) - rest
    first = filled
    while rest > np.uint64(0):
        out[filled] = np.uint8(np.uint64(48) + rest % np.uint64(10))
        rest //= np.uint64(10)
        filled += 1
    low, high = first, filled - 1
    while low < high:
        out[low], out[high] = out[high], out[low]
        low += 1
        high -= 1
    return filled


@uncounted
def _pair(at: int, end: int, out: NDArray[np.uint8], filled: int, first: int) -> int:
    """Write a pair as a member of an object that begins at ``first``; one without a value is none."""
    key, key_end, value, value_end = at, at, at, at
    while at < end:
        tag, at = read_tag(at, end)
        if tag == (1 << 3 | LENGTH):
            key, at = read_length(at, end)
            key_end = at
        elif tag == (2 << 3 | LENGTH):
            value, at = read_length(at, end)
            value_end = at
        else:
            at = skip(tag, at, end)
    before = filled
    out[filled] = 123 if filled == first else 44
    filled = _quoted(key, key_end, out, filled + 1)
    out[filled] = 58
    filled += 1
    there = False
    begin = filled
    at = value
    while at < value_end:
        tag, at = read_tag(at, value_end)
        if tag == (1 << 3 | LENGTH):
            start, at = read_length(at, value_end)
            filled = _quoted(start, at, out, begin)
            there = True
        elif tag == (2 << 3 | VARINT) or tag == (3 << 3 | VARINT):
            number, at = read_varint(at, value_end)
            if tag >> 3 == 3:
                filled = _whole(signed(number), out, begin)
            elif number != np.uint64(0):
                out[begin], out[begin + 1], out[begin + 2], out[begin + 3] = 116, 114, 117, 101
                filled = begin + 4
            else:
                out[begin], out[begin + 1], out[begin + 2], out[begin + 3] = 102, 97, 108, 115
                out[begin + 4] = 101
                filled = begin + 5
            there = True
        else:
            at = skip(tag, at, value_end)
    return filled if there else before


@compiled
def write_attributes(
    base: int,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    field: int,
    out: NDArray[np.uint8],
    offsets: NDArray[np.int64],
) -> None:
    """Write the pairs in a field of messages as JSON objects, one a message; without any it is empty.

    The messages were scanned, and need no parser. ``out`` has room for six times their bytes.
    """
    filled = 0
    for row in range(len(starts)):
        first = filled
        at, end = base + starts[row], base + ends[row]
        while at < end:
            tag, at = read_tag(at, end)
            if tag == (field << 3 | LENGTH):
                start, at = read_length(at, end)
                filled = _pair(start, at, out, filled, first)
            else:
                at = skip(tag, at, end)
        if filled > first:
            out[filled] = 125
            filled += 1
        offsets[row + 1] = filled
