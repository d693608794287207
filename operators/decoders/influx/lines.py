"""The compiled scanner of InfluxDB line protocol: one pass over all messages of a poll.

The grammar is that of the format's own reader (github.com/influxdata/line-protocol, file
line-protocol.ebnf)::

    measurement[,tag=value...] field=value[,field=value...] [timestamp]

Scanning goes from one delimiter to the next. Messages are joined by newlines, so that whatever a
message ends in, a name ends with it: only quoted strings, which may hold newlines, must look where
their message ends.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.columns.scanning import (
    INEXACT,
    READ,
    Word,
    hash_range,
    inlined,
    scan_digits,
    signed,
    uncounted,
)
from operators.columns.utf8 import first_not_utf8
from operators.decoders.influx.names import KEY, MEASUREMENT, name_end
from operators.decoders.influx.values import scan_value

__all__ = ["CAUSES", "EMPTY", "LinePoints", "Skipped", "scan_lines"]

_NEWLINE, _RETURN, _SPACE, _QUOTE, _HASH = 10, 13, 32, 34, 35
_COMMA, _MINUS, _EQUALS, _BACKSLASH, _DELETE = 44, 45, 61, 92, 127

EMPTY: Final = "empty message"
CAUSES: Final = (
    "",
    "not UTF-8",
    "no measurement",
    "a tag must be a key, an equals sign and a value",
    "a tag without a value",
    "no fields",
    "a field must be a key, an equals sign and a value",
    "not a field value",
    "a string without its closing quote",
    "not a timestamp",
    "a control character",
    EMPTY,
)
"""Why a message is refused, by the number that ``scan_lines`` gives."""
(
    _GOOD, _NOT_UTF8, _NO_MEASUREMENT, _BAD_TAG, _EMPTY_TAG, _NO_FIELDS, _BAD_FIELD, _BAD_VALUE,
    _OPEN_STRING, _BAD_TIME, _CONTROL, _NOTHING,
) = range(len(CAUSES))  # fmt: skip


class LinePoints(NamedTuple):
    """The columns that are filled: one element a field that is a number."""

    message: NDArray[np.uint32]
    raw: NDArray[np.uint64]
    ts: NDArray[np.int64]
    value: NDArray[np.float64]
    line_at: NDArray[np.int64]  # where in the buffer its line begins
    field_at: NDArray[np.int64]  # where the key of its field begins


class Skipped(NamedTuple):
    """Numbers of fields that give no point, by reason."""

    text: int
    not_finite: int
    no_time: int


@inlined
def _after_line(buffer: NDArray[np.uint8], at: int) -> int:
    """Return where the line after the one that ends at ``at`` begins, -1 if none ends there."""
    if buffer[at] == _NEWLINE:
        return at + 1
    if buffer[at] == _RETURN and buffer[at + 1] == _NEWLINE:
        return at + 2
    return -1


@inlined
def _after_spaces(buffer: NDArray[np.uint8], at: int) -> int:
    while buffer[at] == _SPACE:
        at += 1
    return at


@inlined
def _or_control(byte: int, fault: int) -> int:
    """Return the fault of a control character, if ``byte`` is one, else ``fault``."""
    control = (byte < _SPACE and byte not in (_NEWLINE, _RETURN)) or byte == _DELETE
    return _CONTROL if control else fault


@inlined
def _series_end(buffer: NDArray[np.uint8], start: int) -> tuple[int, int]:
    """Return where a measurement and its tags end, or what is wrong and where."""
    at = name_end(buffer, start, MEASUREMENT)
    if at == start:
        return at, _or_control(buffer[at], _NO_MEASUREMENT)
    while buffer[at] == _COMMA:
        key = at + 1
        at = name_end(buffer, key, KEY)
        if at == key or buffer[at] != _EQUALS:
            return at, _or_control(buffer[at], _BAD_TAG)
        value = at + 1
        at = name_end(buffer, value, KEY)
        if at == value:
            return at, _or_control(buffer[at], _EMPTY_TAG)
        if buffer[at] == _EQUALS:
            return at, _BAD_TAG
    if buffer[at] != _SPACE:
        return at, _or_control(buffer[at], _NO_FIELDS)
    return at, _GOOD


@inlined
def _string_end(buffer: NDArray[np.uint8], start: int, end: int) -> int:
    """Return where the string that begins at ``start`` ends, -1 if it does not before ``end``."""
    at = start + 1
    while at < end and buffer[at] != _QUOTE:
        at += 2 if buffer[at] == _BACKSLASH else 1
    return at + 1 if at < end else -1


@inlined
def _scan_fields(
    buffer: NDArray[np.uint8],
    start: int,
    end: int,
    identity: Word,
    raw: NDArray[np.uint64],
    values: NDArray[np.float64],
    field_at: NDArray[np.int64],
    count: int,
) -> tuple[int, int, int, int, int, bool]:
    """Read the fields of a line, and write those that are numbers to the columns from ``count`` on.

    ``identity`` is the hash of measurement and tags.

    Returns:
        Where the fields end, or what is wrong and where (two elements); how many points there are
        now; how many fields are text, and how many are not finite; and whether a value is ``NaN``
        because it must be converted anew.
    """
    texts, odd, inexact = 0, 0, False
    key = start
    while True:
        at = name_end(buffer, key, KEY)
        if at == key or buffer[at] != _EQUALS:
            return at, _or_control(buffer[at], _BAD_FIELD), count, texts, odd, inexact
        value = at + 1
        if buffer[value] == _QUOTE:
            stop = _string_end(buffer, value, end)
            if stop < 0:
                return value, _OPEN_STRING, count, texts, odd, inexact
            texts += 1
        else:
            number, stop, status = scan_value(buffer, value, end)
            if status < 0:
                return value, _BAD_VALUE, count, texts, odd, inexact
            if status == READ and np.isnan(number):
                odd += 1
            else:
                if status == INEXACT:
                    inexact = True
                    number = np.nan
                raw[count] = hash_range(buffer, key, at, identity)
                values[count] = number
                field_at[count] = key
                count += 1
        if buffer[stop] != _COMMA:
            fault = _GOOD if buffer[stop] in (_SPACE, _NEWLINE, _RETURN) else _BAD_VALUE
            return stop, fault, count, texts, odd, inexact
        key = stop + 1


@inlined
def _scan_time(buffer: NDArray[np.uint8], start: int, end: int) -> tuple[int, int, int]:
    """Read a timestamp and what ends its line: return it, where the next line begins, the fault."""
    negative = buffer[start] == _MINUS
    number, at, status = scan_digits(buffer, start + negative, end)
    if (
        status != READ
        or number > np.uint64(2**63)
        or (number == np.uint64(2**63) and not negative)
    ):  # fmt: skip
        return 0, start, _BAD_TIME
    following = _after_line(buffer, _after_spaces(buffer, at))
    if following < 0:
        return 0, start, _BAD_TIME
    ts = signed(number)  # of 2**63 it is the least number, as it should be
    return (-ts if negative else ts), following, _GOOD


@uncounted
def scan_lines(  # noqa: PLR0912, PLR0915
    buffer: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    seed: Word,
    ascii_only: bool,
    points: LinePoints,
    cause: NDArray[np.uint8],
    cause_at: NDArray[np.int64],
) -> tuple[int, Skipped, bool]:
    """Read all messages.

    Args:
        buffer: the messages, each followed by a newline, and padding.
        bounds: where each message begins, and one element more.
        seed: of the hashes.
        ascii_only: whether no byte of the buffer is above 127, so that it is UTF-8 at one glance.
        points: columns to be filled, long enough for all.
        cause: to be filled: why each message is refused, 0 if it is good.
        cause_at: to be filled: where in the buffer that was met.

    Returns:
        The number of points; what gave none; whether there are points whose value is NaN because
        it must be converted anew.
    """
    # Taken out once: each time costs the counting of a reference, which is atomic.
    message, raw, moments, values, line_at, field_at = points
    base = buffer.ctypes.data
    count = 0
    all_texts, all_odd, all_timeless, inexact = 0, 0, 0, False
    for index in range(len(bounds) - 1):
        at, end = bounds[index], bounds[index + 1] - 1
        first = count
        texts, odd, timeless, empty, fault = 0, 0, 0, True, _GOOD
        wrong = -1 if ascii_only else first_not_utf8(base + at, base + end)
        if wrong >= 0:
            at, fault = wrong - base, _NOT_UTF8
        while fault == _GOOD:
            at = _after_spaces(buffer, at)
            if at >= end:
                break
            following = _after_line(buffer, at)
            if following >= 0:
                at = following
                continue
            empty = False
            if buffer[at] == _HASH:
                while buffer[at] != _NEWLINE:
                    at += 1
                continue

            line = at
            at, fault = _series_end(buffer, line)
            if fault != _GOOD:
                break
            identity = hash_range(buffer, line, at, seed)
            at = _after_spaces(buffer, at)
            if _after_line(buffer, at) >= 0:
                fault = _NO_FIELDS
                break
            of_line = count
            at, fault, count, texts_here, odd_here, inexact_here = _scan_fields(
                buffer, at, end, identity, raw, values, field_at, count
            )
            if fault != _GOOD:
                break
            texts += texts_here
            odd += odd_here
            at = _after_spaces(buffer, at)
            following = _after_line(buffer, at)
            if following >= 0:
                timeless += count - of_line
                count = of_line
                at = following
                continue
            ts, at, fault = _scan_time(buffer, at, end)
            inexact = inexact or inexact_here
            for point in range(of_line, count):
                message[point] = index
                moments[point] = ts
                line_at[point] = line
        if empty and fault == _GOOD:
            fault = _NOTHING
        cause[index] = fault
        if fault == _GOOD:
            all_texts += texts
            all_odd += odd
            all_timeless += timeless
        else:
            cause_at[index] = at
            count = first
    return count, Skipped(all_texts, all_odd, all_timeless), inexact
