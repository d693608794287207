"""A compiled scan of the lines of syslog, in the formats of RFC 5424 and of RFC 3164.

Most lines are plain: what stands before the message is ASCII that can be printed, and has neither
quotation marks nor backslashes but in structured data. Their fields are read in one pass, and written
as the JSON object that they become. A line of which anything is otherwise is left to the regular
expression of ``operators.logs.parsing.lines``.
"""

# ruff: noqa: PLR0911, PLR0912, PLR1714, SIM102 -- a scanner is one long list of cases

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import compiled, uncounted
from operators.columns.text_column import TextColumn, filled_texts
from operators.logs.parsing.lines import facility_names

__all__ = ["SyslogLines", "scan_syslog_lines"]

_KEYS: Final = (
    b'"syslog.facility":"', b'"host.name":"', b'"syslog.appname":"', b'"syslog.procid":"',
    b'"syslog.msgid":"', b'"syslog.structured_data":"',
)  # fmt: skip
_FACILITY, _HOST, _APP, _PROCESS, _ID, _DATA = range(6)
_WRITTEN: Final = np.frombuffer(b"".join(_KEYS), np.uint8)
_BOUNDS: Final = np.cumsum([0, *map(len, _KEYS)])
_FACILITIES: Final = np.frombuffer("".join(facility_names()).encode(), np.uint8)
_FACILITY_BOUNDS: Final = np.cumsum([0, *map(len, facility_names())])
_ROOM: Final = int(_BOUNDS[-1]) + 2 * len(_KEYS) + max(map(len, facility_names())) + 8
"""Bytes that the object of a line has beside the texts in it."""
_VALID: Final = 192
"""Priorities are less."""

# Ranges of a line that are noted, where each begins and ends.
_TIME_AT, _APP_AT, _MESSAGE_AT = 0, 2, 4


class SyslogLines(NamedTuple):
    """What plain lines say; an element a line.

    Attributes:
        priority: -1 where the line is not plain.
        times: where the time of each stands in the same buffer; empty without one.
        app: the same of the name of the program.
        message: the same of what stands behind all that.
        attributes: JSON objects; empty where the line is not plain.
    """

    priority: NDArray[np.int32]
    times: TextColumn
    app: TextColumn
    message: TextColumn
    attributes: TextColumn


def scan_syslog_lines(column: TextColumn) -> SyslogLines:
    """Read the lines that are plain."""
    size = len(column.starts)
    priority = np.full(size, -1, np.int32)
    spans = np.zeros((6, size), np.int64)
    offsets = np.zeros(size + 1, np.int64)
    out = np.empty(2 * int((column.ends - column.starts).sum()) + _ROOM * size + 16, np.uint8)
    _scan(column.buffer, column.starts, column.ends, priority, spans, out, offsets)
    return SyslogLines(
        priority,
        TextColumn(column.buffer, spans[_TIME_AT], spans[_TIME_AT + 1]),
        TextColumn(column.buffer, spans[_APP_AT], spans[_APP_AT + 1]),
        TextColumn(column.buffer, spans[_MESSAGE_AT], spans[_MESSAGE_AT + 1]),
        filled_texts(out, offsets),
    )


@uncounted
def _is_plain(byte: int) -> bool:
    return bool(32 < byte < 127 and byte != 34 and byte != 92)


@uncounted
def _word_end(buffer: NDArray[np.uint8], at: int, end: int) -> int:
    """Return where a word ends that a blank follows, -1 if it is none or not plain."""
    first = at
    while at < end and _is_plain(buffer[at]):
        at += 1
    return at if at > first and at < end and buffer[at] == 32 else -1


@uncounted
def _data_end(buffer: NDArray[np.uint8], at: int, end: int) -> int:
    """Return where structured data ends, -1 if it is none or not plain."""
    if at < end and buffer[at] == 45:
        return at + 1
    first = at
    while at < end and buffer[at] == 91:
        at += 1
        while at < end and buffer[at] != 93:
            if buffer[at] == 92:
                at += 1
                if at >= end:
                    return -1
            if buffer[at] < 32 or buffer[at] > 126:
                return -1
            at += 1
        if at >= end:
            return -1
        at += 1
    return at if at > first else -1


@uncounted
def _put(
    out: NDArray[np.uint8], at: int, key: int, buffer: NDArray[np.uint8], start: int, end: int
) -> int:
    """Write a member that says something, a comma before it if it is not the first."""
    if end == start or (end - start == 1 and buffer[start] == 45):
        return at
    if out[at - 1] != 123:
        out[at] = 44
        at += 1
    for place in range(_BOUNDS[key], _BOUNDS[key + 1]):
        out[at] = _WRITTEN[place]
        at += 1
    for place in range(start, end):
        if buffer[place] == 34 or buffer[place] == 92:
            out[at] = 92
            at += 1
        out[at] = buffer[place]
        at += 1
    out[at] = 34
    return at + 1


@uncounted
def _put_facility(out: NDArray[np.uint8], at: int, facility: int) -> int:
    out[at] = 123
    at += 1
    for place in range(_BOUNDS[_FACILITY], _BOUNDS[_FACILITY + 1]):
        out[at] = _WRITTEN[place]
        at += 1
    for place in range(_FACILITY_BOUNDS[facility], _FACILITY_BOUNDS[facility + 1]):
        out[at] = _FACILITIES[place]
        at += 1
    out[at] = 34
    return at + 1


@uncounted
def _note(
    buffer: NDArray[np.uint8], start: int, end: int, spans: NDArray[np.int64], kind: int, row: int
) -> None:
    """Note a range that says something."""
    if end - start != 1 or buffer[start] != 45:
        spans[kind, row] = start
        spans[kind + 1, row] = end


@uncounted
def _note_message(
    buffer: NDArray[np.uint8], start: int, end: int, spans: NDArray[np.int64], row: int
) -> None:
    """Note the range of the message, without the mark of UTF-8 that it may begin with."""
    if end - start >= 3 and buffer[start] == 0xEF:
        if buffer[start + 1] == 0xBB and buffer[start + 2] == 0xBF:
            start += 3
    spans[_MESSAGE_AT, row] = start
    spans[_MESSAGE_AT + 1, row] = end


@uncounted
def _new_line(
    buffer: NDArray[np.uint8], at: int, end: int, row: int, facility: int,
    spans: NDArray[np.int64], out: NDArray[np.uint8], filled: int,
) -> int:  # fmt: skip
    """Read what stands behind the version of RFC 5424; return where its members end, or -1."""
    time = at
    time_end = _word_end(buffer, time, end)
    host = time_end + 1
    host_end = _word_end(buffer, host, end) if time_end >= 0 else -1
    app = host_end + 1
    app_end = _word_end(buffer, app, end) if host_end >= 0 else -1
    process = app_end + 1
    process_end = _word_end(buffer, process, end) if app_end >= 0 else -1
    name = process_end + 1
    name_end = _word_end(buffer, name, end) if process_end >= 0 else -1
    if name_end < 0:
        return -1
    data = name_end + 1
    data_end = _data_end(buffer, data, end)
    if data_end < 0 or (data_end < end and buffer[data_end] != 32):
        return -1
    _note(buffer, time, time_end, spans, _TIME_AT, row)
    _note(buffer, app, app_end, spans, _APP_AT, row)
    _note_message(buffer, min(data_end + 1, end), end, spans, row)
    filled = _put_facility(out, filled, facility)
    filled = _put(out, filled, _HOST, buffer, host, host_end)
    filled = _put(out, filled, _APP, buffer, app, app_end)
    filled = _put(out, filled, _PROCESS, buffer, process, process_end)
    filled = _put(out, filled, _ID, buffer, name, name_end)
    return _put(out, filled, _DATA, buffer, data, data_end)


@uncounted
def _is_digit(byte: int) -> bool:
    return bool(48 <= byte <= 57)


@uncounted
def _old_time_end(buffer: NDArray[np.uint8], at: int, end: int) -> int:
    """Return where the time of RFC 3164 ends, or that of RFC 3339, which a blank follows; -1 otherwise."""
    if end - at < 16:
        return -1
    if _is_digit(buffer[at]):
        for place in range(10):
            hyphen = place == 4 or place == 7
            if hyphen != (buffer[at + place] == 45) or hyphen == _is_digit(buffer[at + place]):
                return -1
        if buffer[at + 10] != 84 or not _is_plain(buffer[at + 11]):
            return -1
        return _word_end(buffer, at + 11, end)
    if not (65 <= buffer[at] <= 90 and 97 <= buffer[at + 1] <= 122 and 97 <= buffer[at + 2] <= 122):
        return -1
    if buffer[at + 3] != 32 or not (buffer[at + 4] == 32 or _is_digit(buffer[at + 4])):
        return -1
    if not _is_digit(buffer[at + 5]) or buffer[at + 6] != 32:
        return -1
    for place in range(at + 7, at + 15):
        if not 48 <= buffer[place] <= 58:
            return -1
    at += 15
    if buffer[at] == 46:
        at += 1
        if at >= end or not _is_digit(buffer[at]):
            return -1
        while at < end and _is_digit(buffer[at]):
            at += 1
    return at if at < end and buffer[at] == 32 else -1


@uncounted
def _is_of_name(byte: int) -> bool:
    """Say whether a character is of those that names of programs have: ``[A-Za-z0-9_./-]``."""
    return bool(97 <= (byte | 32) <= 122 or 45 <= byte <= 57 or byte == 95)


@uncounted
def _old_line(
    buffer: NDArray[np.uint8], at: int, end: int, row: int, facility: int,
    spans: NDArray[np.int64], out: NDArray[np.uint8], filled: int,
) -> int:  # fmt: skip
    """Read what stands behind the priority of RFC 3164; return where its members end, or -1."""
    time = at
    time_end = _old_time_end(buffer, at, end)
    if time_end < 0:
        return -1
    at = time_end + 1
    host = at
    while at < end and _is_plain(buffer[at]) and buffer[at] != 58 and buffer[at] != 91:
        at += 1
    if at < end and buffer[at] != 32 and buffer[at] != 58 and buffer[at] != 91:
        return -1
    host_end = host
    if at < end and buffer[at] == 32 and at > host:
        host_end = at
        at += 1
    else:
        at = host
    message = at
    app = at
    while at < end and _is_of_name(buffer[at]):
        at += 1
    app_end = app
    process, process_end = at, at
    if at > app and at < end:
        after = at
        if buffer[at] == 91:
            process = at + 1
            after = process
            while after < end and buffer[after] != 93:
                if buffer[after] != 32 and not _is_plain(buffer[after]):
                    return -1
                after += 1
            process_end = after
            after += 1
        if after < end and buffer[after] == 58:
            app_end = at
            message = after + 1
            message += message < end and buffer[message] == 32
        else:
            process_end = process
    _note(buffer, time, time_end, spans, _TIME_AT, row)
    _note(buffer, app, app_end, spans, _APP_AT, row)
    _note_message(buffer, message, end, spans, row)
    filled = _put_facility(out, filled, facility)
    filled = _put(out, filled, _HOST, buffer, host, host_end)
    filled = _put(out, filled, _APP, buffer, app, app_end)
    return _put(out, filled, _PROCESS, buffer, process, process_end)


@compiled
def _scan(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    priority: NDArray[np.int32],
    spans: NDArray[np.int64],
    out: NDArray[np.uint8],
    offsets: NDArray[np.int64],
) -> None:
    filled = 0
    for row in range(len(starts)):
        at, end = starts[row], ends[row]
        number = 0
        after = -1
        first = at + 1
        if at < end and buffer[at] == 60:
            at = first
            while at < end and at - first < 3 and _is_digit(buffer[at]):
                number = 10 * number + buffer[at] - 48
                at += 1
            if at > first and at < end and buffer[at] == 62 and number < _VALID:
                at += 1
                if at + 1 < end and buffer[at] == 49 and buffer[at + 1] == 32:
                    after = _new_line(buffer, at + 2, end, row, number >> 3, spans, out, filled)
                else:
                    after = _old_line(buffer, at, end, row, number >> 3, spans, out, filled)
        if after >= 0:
            priority[row] = number
            out[after] = 125
            filled = after + 1
        offsets[row + 1] = filled
