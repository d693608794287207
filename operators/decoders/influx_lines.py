"""The compiled scanner of InfluxDB line protocol: one pass over all messages of a poll.

The grammar is that of the format's own decoder (github.com/influxdata/line-protocol, file
line-protocol.ebnf)::

    measurement[,tag=value...] field=value[,field=value...] [timestamp]

Scanning goes from one delimiter to the next. Messages are joined by newlines, so that whatever a
message ends in, a name ends with it: only quoted strings, which may hold newlines, must look where
their message ends.
"""

# ruff: noqa: PLR0912, PLR0915 -- a scanner is one long loop

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.decoders.scanning import (
    INEXACT,
    READ,
    Word,
    compiled,
    first_not_utf8,
    hash_range,
    scan_digits,
    scan_float,
)

__all__ = ["CAUSES", "EMPTY", "name_lines", "number_ranges", "scan_lines", "sizes_of_names"]

_NEWLINE, _RETURN, _SPACE, _QUOTE, _HASH = 10, 13, 32, 34, 35
_PLUS, _COMMA, _MINUS, _POINT, _EQUALS, _BACKSLASH, _DELETE = 43, 44, 45, 46, 61, 92, 127
_SMALL_I, _SMALL_U, _UNDERSCORE = 105, 117, 95
_VALUE = np.frombuffer(b"value", np.uint8)

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
    _OPEN_STRING, _BAD_TIME, _CONTROL, _EMPTY,
) = range(len(CAUSES))  # fmt: skip


def _classes() -> NDArray[np.uint8]:
    """Return what each byte is to a name: 0 nothing special, more where a scan may have to stop."""
    classes = np.zeros(256, np.uint8)
    classes[_EQUALS] = 1
    classes[[_BACKSLASH, _SPACE, _COMMA, _DELETE, *range(32)]] = 2
    return classes


_CLASSES = _classes()
_KEY, _MEASUREMENT = 1, 2  # from which class on a scan stops: an equals sign is part of the latter


@compiled
def name_end(buffer: NDArray[np.uint8], at: int, stop: int) -> int:
    """Return where the name that begins at ``at`` ends: at a delimiter that is not escaped.

    A backslash escapes a comma, a space and, but in measurements, an equals sign. Before anything
    else, another backslash too, it stands for itself.
    """
    while True:
        while _CLASSES[buffer[at]] < stop:
            at += 1
        if buffer[at] != _BACKSLASH:
            return at
        after = buffer[at + 1]
        escapes = after in (_SPACE, _COMMA) or (after == _EQUALS and stop == _KEY)
        at += 2 if escapes else 1


@compiled
def _line_end(buffer: NDArray[np.uint8], at: int) -> int:
    """Return where the line after the one that ends at ``at`` begins, -1 if none ends there."""
    if buffer[at] == _NEWLINE:
        return at + 1
    if buffer[at] == _RETURN and buffer[at + 1] == _NEWLINE:
        return at + 2
    return -1


@compiled
def _is_control(byte: int) -> bool:
    return (byte < _SPACE and byte not in (_NEWLINE, _RETURN)) or byte == _DELETE


@compiled
def _word_end(buffer: NDArray[np.uint8], at: int) -> int:
    """Return where the letters from ``at`` on end."""
    while 97 <= buffer[at] | 32 <= 122:
        at += 1
    return at


@compiled
def _spells(buffer: NDArray[np.uint8], start: int, end: int, text: str) -> bool:
    """Say whether letters are ``text``, which is in lower case, in whatever case."""
    if end - start != len(text):
        return False
    same = True
    for place in range(len(text)):
        same = same and buffer[start + place] | 32 == ord(text[place])
    return same


@compiled
def _boolean(buffer: NDArray[np.uint8], start: int, end: int) -> int:
    """Return 1 for t, T, true, True or TRUE; 0 for the like of false; otherwise -1."""
    capitals = 0
    for place in range(start, end):
        capitals += buffer[place] < 97
    if capitals not in (0, end - start) and (capitals > 1 or buffer[start] >= 97):
        return -1
    if _spells(buffer, start, end, "t") or _spells(buffer, start, end, "true"):
        return 1
    if _spells(buffer, start, end, "f") or _spells(buffer, start, end, "false"):
        return 0
    return -1


@compiled
def _scan_integer(
    buffer: NDArray[np.uint8], start: int, end: int, negative: bool
) -> tuple[float, int, int]:
    """Read a magnitude of 63 bits and an i, or one of 64 bits and a u, as ``_scan_value`` does."""
    whole, stop, status = scan_digits(buffer, start, end)
    good = status == READ
    if buffer[stop] == _SMALL_I:
        # The magnitude of the least number is one more than that of the greatest.
        good = good and whole <= np.uint64(2**63) and (negative or whole < np.uint64(2**63))
    else:
        good = good and buffer[stop] == _SMALL_U and not negative
    number = float(whole)
    return (-number if negative else number), stop + 1, (READ if good else -1)


@compiled
def _scan_value(buffer: NDArray[np.uint8], start: int, end: int) -> tuple[float, int, int]:
    """Read a field value that is no string.

    Returns:
        The number, NaN for what is not finite; where the value ends; ``READ`` or ``INEXACT``,
        or -1 if it is no value.
    """
    at = start
    negative = buffer[at] == _MINUS
    if negative or buffer[at] == _PLUS:
        at += 1
    if 48 <= buffer[at] <= 57 or buffer[at] == _POINT:
        if at > start and not negative:
            return 0.0, at, -1
        number, stop, status = scan_float(buffer, start, end)
        if buffer[stop] == _SMALL_I or buffer[stop] == _SMALL_U:
            return _scan_integer(buffer, at, end, negative)
        if status == READ and not np.isfinite(number):
            number = np.nan
        return number, stop, (status if status in (READ, INEXACT) else -1)
    stop = _word_end(buffer, at)
    if at == start and stop > at:
        truth = _boolean(buffer, at, stop)
        if truth >= 0:
            return float(truth), stop, READ
    for text in ("nan", "inf", "infinity"):
        if _spells(buffer, at, stop, text):
            return np.nan, stop, READ
    return 0.0, stop, -1


@compiled
def scan_lines(
    buffer: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    seed: Word,
    ascii_only: bool,
    message: NDArray[np.uint32],
    raw: NDArray[np.uint64],
    ts: NDArray[np.int64],
    value: NDArray[np.float64],
    line_at: NDArray[np.int64],
    field_at: NDArray[np.int64],
    cause: NDArray[np.uint8],
    cause_at: NDArray[np.int64],
) -> tuple[int, int, int, int, int]:
    """Read all messages; what follows ``ascii_only`` is written to.

    Args:
        buffer: the messages, each followed by a newline, and padding.
        bounds: where each message begins, and one element more.
        seed: of the hashes.
        ascii_only: whether no byte of the buffer is above 127, so that it is UTF-8 at one glance.
        message, raw, ts, value: the columns of points, long enough for all.
        line_at: where the line of a point begins.
        field_at: where the key of its field begins.
        cause: of the rejection of a message, 0 if it is good.
        cause_at: where in the buffer it was met.

    Returns:
        The number of points; of fields that are text, that are not finite, and that stand in a
        line without a timestamp; and 1 if a value is NaN because it must be converted anew.
    """
    points = 0
    texts = 0
    odd = 0
    timeless = 0
    inexact = 0
    for index in range(len(bounds) - 1):
        at = bounds[index]
        end = bounds[index + 1] - 1
        first = points
        texts_here = 0
        odd_here = 0
        timeless_here = 0
        empty = True
        fault = _GOOD
        wrong = -1 if ascii_only else first_not_utf8(buffer, at, end)
        if wrong >= 0:
            fault = _NOT_UTF8
            at = wrong
        while at < end and fault == _GOOD:
            if buffer[at] == _SPACE:
                at += 1
                continue
            following = _line_end(buffer, at)
            if following >= 0:
                at = following
                continue
            empty = False
            if buffer[at] == _HASH:
                while buffer[at] != _NEWLINE:
                    at += 1
                continue

            # The measurement and its tags.
            line = at
            at = name_end(buffer, at, _MEASUREMENT)
            if at == line:
                fault = _CONTROL if _is_control(buffer[at]) else _NO_MEASUREMENT
                break
            while buffer[at] == _COMMA:
                start = at + 1
                at = name_end(buffer, start, _KEY)
                if at == start or buffer[at] != _EQUALS:
                    fault = _BAD_TAG
                    break
                start = at + 1
                at = name_end(buffer, start, _KEY)
                if at == start:
                    fault = _EMPTY_TAG
                    break
                if buffer[at] == _EQUALS:
                    fault = _BAD_TAG
                    break
            if buffer[at] != _SPACE or fault != _GOOD:
                if _is_control(buffer[at]):
                    fault = _CONTROL
                elif fault == _GOOD:
                    fault = _NO_FIELDS
                break
            identity = hash_range(buffer, line, at, seed)
            while buffer[at] == _SPACE:
                at += 1
            if _line_end(buffer, at) >= 0:
                fault = _NO_FIELDS
                break

            # The fields.
            of_line = points
            odd_in_line = 0
            while True:
                start = at
                at = name_end(buffer, start, _KEY)
                if at == start or buffer[at] != _EQUALS:
                    fault = _CONTROL if _is_control(buffer[at]) else _BAD_FIELD
                    break
                name_stop = at
                at += 1
                if buffer[at] == _QUOTE:
                    opened = at
                    at += 1
                    while at < end and buffer[at] != _QUOTE:
                        at += 2 if buffer[at] == _BACKSLASH else 1
                    if at >= end:
                        fault = _OPEN_STRING
                        at = opened
                        break
                    at += 1
                    texts_here += 1
                else:
                    number, stop, status = _scan_value(buffer, at, end)
                    if status < 0:
                        fault = _BAD_VALUE
                        break
                    at = stop
                    if status == INEXACT:
                        inexact = 1
                        number = np.nan
                    if status == READ and np.isnan(number):
                        odd_in_line += 1
                    else:
                        message[points] = index
                        raw[points] = hash_range(buffer, start, name_stop, identity)
                        value[points] = number
                        line_at[points] = line
                        field_at[points] = start
                        points += 1
                if buffer[at] != _COMMA:
                    break
                at += 1
            if fault != _GOOD:
                break
            odd_here += odd_in_line

            # The timestamp.
            spaced = buffer[at] == _SPACE
            while buffer[at] == _SPACE:
                at += 1
            following = _line_end(buffer, at)
            if following >= 0:
                timeless_here += points - of_line
                points = of_line
                at = following
                continue
            if not spaced:
                fault = _BAD_VALUE
                break
            start = at
            before = buffer[at] == _MINUS
            if before:
                at += 1
            instant, at, status = scan_digits(buffer, at, end)
            if (
                status != READ
                or instant > np.uint64(2**63)
                or (instant == np.uint64(2**63) and not before)
            ):
                fault = _BAD_TIME
                at = start
                break
            while buffer[at] == _SPACE:
                at += 1
            following = _line_end(buffer, at)
            if following < 0:
                fault = _BAD_TIME
                break
            at = following
            moment = np.int64(instant)
            if before:
                moment = -moment
            for point in range(of_line, points):
                ts[point] = moment
        if empty and fault == _GOOD:
            fault = _EMPTY
        cause[index] = fault
        if fault == _GOOD:
            texts += texts_here
            odd += odd_here
            timeless += timeless_here
        else:
            cause_at[index] = at
            points = first
    return points, texts, odd, timeless, inexact


@compiled
def number_ranges(
    buffer: NDArray[np.uint8],
    field_at: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> None:
    """Write where the float values of the fields at ``field_at`` start and end."""
    for row in range(len(field_at)):
        start = name_end(buffer, field_at[row], _KEY) + 1
        # Its digits ended it before, so they do here.
        _, end, _ = scan_float(buffer, start, len(buffer))
        starts[row] = start
        ends[row] = end


@compiled
def sizes_of_names(
    buffer: NDArray[np.uint8], line_at: NDArray[np.int64], field_at: NDArray[np.int64]
) -> tuple[int, int, int]:
    """Return how much ``name_lines`` writes at most: of tags, bytes of names, and bytes of tags."""
    tags = 0
    names = 0
    texts = 0
    for row in range(len(line_at)):
        start = line_at[row]
        at = name_end(buffer, start, _MEASUREMENT)
        names += at - start + 1 + name_end(buffer, field_at[row], _KEY) - field_at[row]
        start = at
        while buffer[at] == _COMMA:
            at = name_end(buffer, name_end(buffer, at + 1, _KEY) + 1, _KEY)
            tags += 1
        texts += at - start
    return tags, names, texts


@compiled
def _unescape(
    buffer: NDArray[np.uint8], start: int, end: int, stop: int, out: NDArray[np.uint8], to: int
) -> int:
    """Write a name without its escapes to ``out`` from ``to`` on, and return where it ends."""
    at = start
    while at < end:
        if buffer[at] == _BACKSLASH and at + 1 < end:
            after = buffer[at + 1]
            if after in (_SPACE, _COMMA) or (after == _EQUALS and stop == _KEY):
                at += 1
        out[to] = buffer[at]
        at += 1
        to += 1
    return to


@compiled
def name_lines(
    buffer: NDArray[np.uint8],
    line_at: NDArray[np.int64],
    field_at: NDArray[np.int64],
    names: NDArray[np.uint8],
    name_ends: NDArray[np.int64],
    owners: NDArray[np.uint32],
    keys: NDArray[np.uint8],
    key_ends: NDArray[np.int64],
    values: NDArray[np.uint8],
    value_ends: NDArray[np.int64],
) -> None:
    """Write the metric names and the tags of lines that were read before.

    Args:
        buffer: as ``scan_lines`` read it.
        line_at, field_at: one element a name asked for.
        names, keys, values: the texts, one after the other.
        name_ends, key_ends, value_ends: where each one ends; the element at 0 is that of none.
        owners: the row of each tag.
    """
    name_to = 0
    key_to = 0
    value_to = 0
    tag = 0
    for row in range(len(line_at)):
        at = name_end(buffer, line_at[row], _MEASUREMENT)
        name_to = _unescape(buffer, line_at[row], at, _MEASUREMENT, names, name_to)
        start = field_at[row]
        end = name_end(buffer, start, _KEY)
        bare = end - start == len(_VALUE)
        for place in range(len(_VALUE)):
            bare = bare and buffer[start + place] == _VALUE[place]
        if not bare:
            names[name_to] = _UNDERSCORE
            name_to = _unescape(buffer, start, end, _KEY, names, name_to + 1)
        name_ends[row + 1] = name_to
        while buffer[at] == _COMMA:
            start = at + 1
            at = name_end(buffer, start, _KEY)
            key_to = _unescape(buffer, start, at, _KEY, keys, key_to)
            start = at + 1
            at = name_end(buffer, start, _KEY)
            value_to = _unescape(buffer, start, at, _KEY, values, value_to)
            owners[tag] = row
            tag += 1
            key_ends[tag] = key_to
            value_ends[tag] = value_to
