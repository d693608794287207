"""A compiled scan of OTLP traces in protobuf: a row of numbers a span, its bytes left where they are.

Fields may come in any order, as the collector's writer begins with the last: the value of an attribute
before its key, spans before their resource.
"""

# ruff: noqa: PLR0911, PLR0912, PLR0915, PLR1714 -- a parser is a list of fields and errors

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import Word, compiled, fold, signed, uncounted
from operators.columns.memory import byte_at, word_at
from operators.decoders.protobuf.reading import (
    CUT_OFF,
    FIXED64,
    LENGTH,
    VARINT,
    WRONG_TYPE,
    hash_bytes,
    read_length,
    read_tag,
    read_varint,
    skip,
)

__all__ = ["KEY_SEED", "hashes_of_keys", "scan_traces"]

KEY_SEED: Final = np.uint64(0x747261636573)
_NAME_SEED: Final = np.uint64(0x6E616D65)
_VALUE_SEED: Final = np.uint64(0x76616C7565)
_RESOURCE_SEED: Final = np.uint64(0x7265736F)
_PRIME: Final = np.uint64(0x9E3779B97F4A7C15)

_CODE: Final = 3
_LARGEST_KIND: Final = 5
_LARGEST_STATUS: Final = 2
_LOWEST_BYTE: Final = np.uint64(255)
_LOWEST_56: Final = (1 << 56) - 1
_DIGITS: Final = 14


@compiled
def hashes_of_keys(buffer: NDArray[np.uint8], bounds: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the hash of each key, as the scan compares it. The buffer has ``PADDING``."""
    found = np.empty(len(bounds) - 1, np.uint64)
    base = buffer.ctypes.data
    for key in range(len(found)):
        found[key] = hash_bytes(base + bounds[key], base + bounds[key + 1], KEY_SEED)
    return found


@uncounted
def _number_at(at: int) -> Word:
    """Return eight bytes as a number, the first byte the highest."""
    word = word_at(at)
    word = (word & np.uint64(0x00FF00FF00FF00FF)) << np.uint64(8) | (
        word >> np.uint64(8)
    ) & np.uint64(0x00FF00FF00FF00FF)
    word = (word & np.uint64(0x0000FFFF0000FFFF)) << np.uint64(16) | (
        word >> np.uint64(16)
    ) & np.uint64(0x0000FFFF0000FFFF)
    return word << np.uint64(32) | word >> np.uint64(32)


@uncounted
def _hexadecimal(at: int, end: int) -> int:
    """Return up to fourteen digits as the first of a number of 56 bits, -1 if they are none."""
    if end <= at or end - at > _DIGITS:
        return -1
    number = 0
    for place in range(at, end):
        byte = byte_at(place)
        if 48 <= byte <= 57:
            digit = byte - 48
        elif 97 <= byte <= 102:
            digit = byte - 87
        else:
            return -1
        number = number << 4 | digit
    return number << (4 * (_DIGITS - (end - at)))


@uncounted
def _member(at: int, end: int, first: int, second: int) -> int:
    """Return the number behind a key of two letters in the ``ot`` entry of a tracestate, -1 without."""
    while at < end:
        stop = at
        while stop < end and byte_at(stop) != 44:
            stop += 1
        begin = at
        while begin < stop and (byte_at(begin) == 32 or byte_at(begin) == 9):
            begin += 1
        last = stop
        while last > begin and (byte_at(last - 1) == 32 or byte_at(last - 1) == 9):
            last -= 1
        if (
            last - begin > 3 and byte_at(begin) == 111 and byte_at(begin + 1) == 116
            and byte_at(begin + 2) == 61
        ):  # fmt: skip
            place = begin + 3
            while place < last:
                after = place
                while after < last and byte_at(after) != 59:
                    after += 1
                if (
                    after - place > 3 and byte_at(place) == first and byte_at(place + 1) == second
                    and byte_at(place + 2) == 58
                ):  # fmt: skip
                    return _hexadecimal(place + 3, after)
                place = after + 1
        at = stop + 1
    return -1


@uncounted
def _attribute(at: int, end: int, identifying: np.ndarray, likely: np.ndarray) -> tuple[Word, int]:
    """Return what a pair adds to the identity, 0 if it does not, and a position."""
    key, key_end, value, value_end = at, at, at, at
    while at < end:
        tag, at = read_tag(at, end)
        if at < 0:
            return np.uint64(0), at
        if tag == (1 << 3 | LENGTH):
            key, at = read_length(at, end)
            if at < 0:
                return np.uint64(0), at
            key_end = at
        elif tag == (2 << 3 | LENGTH):
            value, at = read_length(at, end)
            if at < 0:
                return np.uint64(0), at
            value_end = at
        elif tag >> 3 == 1 or tag >> 3 == 2:
            return np.uint64(0), WRONG_TYPE
        else:
            at = skip(tag, at, end)
            if at < 0:
                return np.uint64(0), at
    hashed = hash_bytes(key, key_end, KEY_SEED)
    if not likely[hashed & _LOWEST_BYTE]:
        return np.uint64(0), at
    for number in range(len(identifying)):
        if identifying[number] == hashed:
            return fold(hash_bytes(value, value_end, _VALUE_SEED) ^ hashed, _PRIME), at
    return np.uint64(0), at


@uncounted
def _span(
    base: int,
    at: int,
    end: int,
    rows: np.ndarray,
    number: int,
    identifying: np.ndarray,
    likely: np.ndarray,
) -> int:
    """Read a span into its row; return a position, negative if it is none."""
    row = rows[number]
    row.start, row.end = at - base, end - base
    row.trace_high, row.trace_low, row.span, row.parent = (
        np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
    )  # fmt: skip
    row.begun, row.ended, row.kind, row.status = 0, 0, 0, 0
    row.threshold, row.randomness = -1, -1
    name = np.uint64(0)
    attributes = np.uint64(0)
    while at < end:
        tag, at = read_tag(at, end)
        if at < 0:
            return at
        field = tag >> 3
        if field == 7 or field == 8:
            if tag & 7 != FIXED64:
                return WRONG_TYPE
            if end - at < 8:
                return CUT_OFF
            # A time past 2262 would be negative: it is no time.
            time = max(signed(word_at(at)), 0)
            at += 8
            if field == 7:
                row.begun = time
            else:
                row.ended = time
        elif field == 6:
            if tag & 7 != VARINT:
                return WRONG_TYPE
            value, at = read_varint(at, end)
            if at < 0:
                return at
            row.kind = 0
            if value <= np.uint64(_LARGEST_KIND):
                row.kind = np.uint8(value)
        elif (
            field == 1
            or field == 2
            or field == 3
            or field == 4
            or field == 5
            or field == 9
            or field == 15
        ):
            if tag & 7 != LENGTH:
                return WRONG_TYPE
            start, at = read_length(at, end)
            if at < 0:
                return at
            if field == 9:
                more, place = _attribute(start, at, identifying, likely)
                if place < 0:
                    return place
                attributes = attributes + more  # in any order
            elif field == 1:
                row.trace_high, row.trace_low = np.uint64(0), np.uint64(0)
                if at - start == 16:
                    row.trace_high = _number_at(start)
                    row.trace_low = _number_at(start + 8)
            elif field == 2:
                row.span = _number_at(start) if at - start == 8 else np.uint64(0)
            elif field == 4:
                row.parent = _number_at(start) if at - start == 8 else np.uint64(0)
            elif field == 5:
                name = hash_bytes(start, at, _NAME_SEED)
            elif field == 3:
                row.threshold = _member(start, at, 116, 104)
                row.randomness = _member(start, at, 114, 118)
            else:
                row.status = 0
                place = start
                while place < at:
                    inner, place = read_tag(place, at)
                    if place < 0:
                        return place
                    if inner == (_CODE << 3 | VARINT):
                        code, place = read_varint(place, at)
                        if place < 0:
                            return place
                        row.status = 0
                        if code <= np.uint64(_LARGEST_STATUS):
                            row.status = np.uint8(code)
                    else:
                        place = skip(inner, place, at)
                        if place < 0:
                            return place
        else:
            at = skip(tag, at, end)
            if at < 0:
                return at
    if row.randomness < 0:
        row.randomness = signed(row.trace_low & np.uint64(_LOWEST_56))
    row.valid = (row.trace_high != np.uint64(0) or row.trace_low != np.uint64(0)) and row.span != (
        np.uint64(0)
    )
    small = np.uint64(row.kind) << np.uint64(8) | np.uint64(row.status)
    row.raw = fold(name ^ small * _PRIME, attributes ^ _NAME_SEED)
    return at


@compiled
def scan_traces(
    base: int,
    entries: np.ndarray,
    resources: np.ndarray,
    rows: np.ndarray,
    identifying: NDArray[np.uint64],
    status: NDArray[np.int64],
) -> int:
    """Read entries into rows of spans; return how many those are.

    Args:
        base: address of the buffer.
        entries, resources: see ``groups_of``.
        rows: as many, which are filled.
        identifying: hashes of keys of attributes.
        status: by message; negative for the reason why one of its spans is none. A message with
            such a span has none.
    """
    # Most attributes identify nothing, which the last byte of a key's hash tells.
    likely = np.zeros(256, np.bool_)
    for number in range(len(identifying)):
        likely[identifying[number] & _LOWEST_BYTE] = True
    row = 0
    first = 0
    before = np.int64(-1)
    hashed = np.int64(-1)
    whose = np.uint64(0)
    for number in range(len(entries)):
        entry = entries[number]
        message = np.int64(entry.message)
        if message != before:
            before, first = message, row
        if status[message] < 0:
            continue
        read = _span(base, base + entry.start, base + entry.end, rows, row, identifying, likely)
        if read < 0:
            status[message] = read
            row = first
            continue
        if entry.resource != hashed:
            hashed = entry.resource
            resource = resources[hashed]
            whose = hash_bytes(base + resource.start, base + resource.end, _RESOURCE_SEED)
        rows[row].raw = fold(rows[row].raw ^ whose, _PRIME)
        rows[row].message = entry.message
        rows[row].resource, rows[row].scope = entry.resource, entry.scope
        row += 1
    return row
