"""A compiled scan of OTLP logs in JSON: a row a record, its texts left where they are.

It reads what the collector writes: keys in lowerCamelCase, once each; bodies that are texts; attributes
that are texts, numbers and truths, each key once. The attributes of such a record are written as a flat
JSON object at once. A record with others is for a parser of JSON, and so is a message of which anything
else is not as expected: the scan says which ones.
"""

# ruff: noqa: PLR0911, PLR0912, PLR1714, SIM110 -- a scanner is a list of cases

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import compiled, uncounted
from operators.columns.scanning import hash_range
from operators.decoders.json.scan import (
    ABSENT,
    MOST_LEVELS,
    first_element,
    first_member,
    key_table,
    members,
    next_element,
    next_member,
    scan_string,
    skip_value,
    which_of,
)

__all__ = ["PLAIN", "RECORD", "scan_json_logs", "write_json_attributes"]

PLAIN: Final = 0
"""Status of a message: all of its records are rows."""
_DOUBTFUL: Final = 1

RECORD: Final = np.dtype(
    [
        ("message", np.uint32),
        ("index", np.uint32),
        ("resource", np.int64),  # range of the resource, 0 if there is none
        ("resource_end", np.int64),
        ("scope", np.int64),
        ("scope_end", np.int64),
        ("start", np.int64),  # of the record
        ("end", np.int64),
        ("ts", np.int64),
        ("observed", np.int64),
        ("severity", np.int64),
        # Of texts, without quotation marks, and whether they have escapes.
        ("text", np.int64),
        ("text_end", np.int64),
        ("text_escaped", np.int64),
        ("body", np.int64),
        ("body_end", np.int64),
        ("body_escaped", np.int64),
        ("trace", np.int64),
        ("trace_end", np.int64),
        ("span", np.int64),
        ("span_end", np.int64),
        ("attributes", np.int64),
        ("attributes_end", np.int64),
        ("plain", np.bool_),  # no parser is needed
    ],
    align=True,
)

_ROOT: Final = key_table("resourceLogs", "resource_logs")
_GROUP: Final = key_table("resource", "scopeLogs", "scope_logs")
_SCOPED: Final = key_table("scope", "logRecords", "log_records")
# Longer keys than the table takes are told by their length.
_RECORD: Final = key_table(
    "timeUnixNano", "severityNumber", "severityText", "body", "attributes", "traceId", "spanId",
    "observedTimeUnixNano", "time_unix_nano", "severity_number", "severity_text", "trace_id", "span_id",
)  # fmt: skip
_TIME, _NUMBER, _TEXT, _BODY, _ATTRIBUTES, _TRACE, _SPAN, _OBSERVED = range(8)
_SNAKES: Final = 8
_SNAKE_OBSERVED: Final = 23  # bytes of observed_time_unix_nano, which is more than a table takes
_PAIR: Final = key_table("key", "value")
_VALUE: Final = key_table("stringValue", "intValue", "boolValue", "doubleValue")
_STRING: Final = 0
_INT: Final = 1
_BOOL: Final = 2
_SEED: Final = np.uint64(0x6C6A736F)
_MOST_ATTRIBUTES: Final = 256


@uncounted
def _is_list(buffer: NDArray[np.uint8], at: int) -> bool:
    return bool(buffer[at] == 91)


@uncounted
def _whole_number(buffer: NDArray[np.uint8], start: int, end: int) -> int:
    """Return a number of at most 18 digits, or the text of one; -1 for what is none."""
    if buffer[start] == 34:
        start += 1
        end -= 1
    if end <= start or end - start > 19:
        return -1
    number: Any = 0
    for at in range(start, end):
        digit = np.int64(buffer[at]) - 48
        if digit < 0 or digit > 9:
            return -1
        if number > 922337203685477579:
            return -1
        number = number * 10 + digit
    return int(number)


@uncounted
def _value_of(buffer: NDArray[np.uint8], start: int, end: int) -> tuple[int, int, int]:
    """Return the kind of an AnyValue that has one plain member, -1 otherwise, and where that is."""
    if buffer[start] != 123:
        return -1, 0, 0
    key, key_end, value, escaped = first_member(buffer, start, end)
    if key < 0 or escaped:
        return -1, 0, 0
    kind = which_of(buffer, key, key_end, _VALUE)
    if kind < 0:
        return -1, 0, 0
    byte = buffer[value]
    if byte == 123 or byte == 91 or byte == 110:
        return -1, 0, 0
    if kind == _STRING and byte != 34:
        return -1, 0, 0
    if byte == 34:
        close, _ = scan_string(buffer, value + 1, end)
        after = close + 1
    else:
        after = value
        while buffer[after] != 44 and buffer[after] != 125 and buffer[after] > 32:
            after += 1
    if kind == _INT and not _is_int(buffer, value, after):
        return -1, 0, 0
    further, _, _, _ = next_member(buffer, after, end)
    if further >= 0:
        return -1, 0, 0
    return kind, value, after


@uncounted
def _is_int(buffer: NDArray[np.uint8], start: int, end: int) -> bool:
    """Say whether a value is a whole number, or the text of one, of at most 18 digits."""
    if buffer[start] == 34:
        start += 1
        end -= 1
    if start < end and buffer[start] == 45:
        start += 1
    size = end - start
    if size < 1 or size > 18 or (buffer[start] == 48 and size > 1):
        return False
    for at in range(start, end):
        if buffer[at] < 48 or buffer[at] > 57:
            return False
    return True


@uncounted
def _plain_attributes(
    buffer: NDArray[np.uint8],
    start: int,
    end: int,
    hashes: NDArray[np.uint64],
    found: NDArray[np.int64],
    levels: NDArray[np.uint8],
) -> bool:
    """Say whether all attributes are plain, and each key is there once."""
    if buffer[start] != 91:
        return False
    count = 0
    at = first_element(buffer, start, end)
    while at >= 0:
        after = members(buffer, at, end, _PAIR, found, levels, False)
        if after < 0 or found[0, 0] == ABSENT or found[1, 0] == ABSENT or count == _MOST_ATTRIBUTES:
            return False
        if buffer[found[0, 0]] != 34:
            return False
        close, escaped = scan_string(buffer, found[0, 0] + 1, end)
        if escaped:
            return False
        kind, _, _ = _value_of(buffer, found[1, 0], found[1, 1])
        if kind < 0:
            return False
        mine = hash_range(buffer, found[0, 0] + 1, close, _SEED)
        for other in range(count):
            if hashes[other] == mine:
                return False
        hashes[count] = mine
        count += 1
        at = next_element(buffer, after, end)
    return True


@uncounted
def _text_of(
    buffer: NDArray[np.uint8], found: NDArray[np.int64], row: int
) -> tuple[int, int, bool, bool]:
    """Return the range of a text, whether it has escapes, and whether it is none but should be one."""
    start, end = found[row, 0], found[row, 1]
    if start == ABSENT:
        return 0, 0, False, False
    if buffer[start] != 34:
        return 0, 0, False, True
    _, escaped = scan_string(buffer, start + 1, end)
    return start + 1, end - 1, escaped, False


@uncounted
def _record(
    buffer: NDArray[np.uint8],
    at: int,
    end: int,
    records: np.ndarray,
    row: int,
    found: NDArray[np.int64],
    pair: NDArray[np.int64],
    levels: NDArray[np.uint8],
    hashes: NDArray[np.uint64],
) -> int:
    """Read a record into its row; return where it ends, -1 if the message is doubtful."""
    after = members(buffer, at, end, _RECORD, found, levels, False)
    if after < 0:
        return -1
    for snake in range(_SNAKES, _SNAKES + 5):
        if found[snake, 0] != ABSENT:
            return -1
    key, key_end, value, _ = first_member(buffer, at, after)
    while key >= 0:
        if key_end - key == _SNAKE_OBSERVED and buffer[key] == 111 and buffer[key + 8] == 95:
            return -1
        key, key_end, value, _ = next_member(
            buffer, skip_value(buffer, value, after, levels), after
        )
    record = records[row]
    record.start, record.end = at, after
    record.ts, record.observed, record.severity = 0, 0, 0
    for field in (_TIME, _OBSERVED, _NUMBER):
        if found[field, 0] == ABSENT:
            continue
        number = _whole_number(buffer, found[field, 0], found[field, 1])
        if number < 0:
            return -1
        if field == _TIME:
            record.ts = number
        elif field == _OBSERVED:
            record.observed = number
        elif number <= 24:
            record.severity = number
    start, stop, escaped, odd = _text_of(buffer, found, _TEXT)
    if odd:
        return -1
    record.text, record.text_end, record.text_escaped = start, stop, np.int64(escaped)
    start, stop, escaped, odd = _text_of(buffer, found, _TRACE)
    if odd or escaped:
        return -1
    record.trace, record.trace_end = start, stop
    start, stop, escaped, odd = _text_of(buffer, found, _SPAN)
    if odd or escaped:
        return -1
    record.span, record.span_end = start, stop
    record.plain = True
    record.body, record.body_end, record.body_escaped = 0, 0, 0
    if found[_BODY, 0] != ABSENT:
        kind, value, stop = _value_of(buffer, found[_BODY, 0], found[_BODY, 1])
        if kind == _STRING:
            _, escaped = scan_string(buffer, value + 1, stop)
            record.body, record.body_end = value + 1, stop - 1
            record.body_escaped = np.int64(escaped)
        else:
            record.plain = False
    record.attributes, record.attributes_end = 0, 0
    if found[_ATTRIBUTES, 0] != ABSENT:
        start, stop = found[_ATTRIBUTES, 0], found[_ATTRIBUTES, 1]
        if _plain_attributes(buffer, start, stop, hashes, pair, levels):
            record.attributes, record.attributes_end = start, stop
        else:
            record.plain = False
    return after


@uncounted
def _message(
    buffer: NDArray[np.uint8],
    start: int,
    end: int,
    message: int,
    records: np.ndarray,
    row: int,
    found: NDArray[np.int64],
    pair: NDArray[np.int64],
    levels: NDArray[np.uint8],
    hashes: NDArray[np.uint64],
) -> int:
    """Read the records of a message from ``row`` on; return the next row, -1 if it is doubtful,
    -2 if there is no room."""
    at = start
    while at < end and buffer[at] <= 32:
        at += 1
    after = members(buffer, at, end, _ROOT, found, levels, False)
    if (
        after < 0
        or found[1, 0] != ABSENT
        or found[0, 0] == ABSENT
        or not _is_list(buffer, found[0, 0])
    ):
        return -1
    while after < end and buffer[after] <= 32:
        after += 1
    if after != end:
        return -1
    groups_end = found[0, 1]
    index = 0
    group = first_element(buffer, found[0, 0], groups_end)
    while group >= 0:
        after_group = members(buffer, group, groups_end, _GROUP, found, levels, False)
        if after_group < 0 or found[2, 0] != ABSENT:
            return -1
        resource, resource_end = found[0, 0], found[0, 1]
        if resource != ABSENT and buffer[resource] != 123:
            return -1
        scopes, scopes_end = found[1, 0], found[1, 1]
        first = row
        if scopes != ABSENT and not _is_list(buffer, scopes):
            return -1
        scoped = -1
        if scopes != ABSENT:
            scoped = first_element(buffer, scopes, scopes_end)
        while scoped >= 0:
            after_scoped = members(buffer, scoped, scopes_end, _SCOPED, found, levels, False)
            if after_scoped < 0 or found[2, 0] != ABSENT:
                return -1
            scope, scope_end = found[0, 0], found[0, 1]
            if scope != ABSENT and buffer[scope] != 123:
                return -1
            listed, listed_end = found[1, 0], found[1, 1]
            if listed != ABSENT and not _is_list(buffer, listed):
                return -1
            at = -1
            if listed != ABSENT:
                at = first_element(buffer, listed, listed_end)
            while at >= 0:
                if row >= len(records):
                    return -2
                after_record = _record(
                    buffer, at, listed_end, records, row, found, pair, levels, hashes
                )
                if after_record < 0:
                    return -1
                record = records[row]
                record.message, record.index = message, index
                record.resource, record.resource_end = resource, resource_end
                record.scope, record.scope_end = scope, scope_end
                row += 1
                index += 1
                at = next_element(buffer, after_record, listed_end)
            scoped = next_element(buffer, after_scoped, scopes_end)
        if row == first:  # nothing tells whether its resource is right
            return -1
        group = next_element(buffer, after_group, groups_end)
    return row


@compiled
def scan_json_logs(
    buffer: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    records: np.ndarray,
    status: NDArray[np.uint8],
    filled: NDArray[np.int64],
) -> int:
    """Scan messages while there is room.

    Args:
        buffer: the messages, and ``PADDING``.
        bounds: where each begins, and the last ends.
        records: rows of ``RECORD``, written to.
        status: by message, ``PLAIN`` or not, written to.
        filled: how many rows are filled, and how many messages were scanned.

    Returns:
        How many messages were scanned so far.
    """
    found = np.empty((16, 2), np.int64)
    pair = np.empty((4, 2), np.int64)
    levels = np.empty(MOST_LEVELS, np.uint8)
    hashes = np.empty(_MOST_ATTRIBUTES, np.uint64)
    while filled[1] < len(bounds) - 1:
        message = filled[1]
        row = _message(
            buffer,
            bounds[message],
            bounds[message + 1],
            message,
            records,
            filled[0],
            found,
            pair,
            levels,
            hashes,
        )
        if row == -2:
            break
        status[message] = _DOUBTFUL if row < 0 else PLAIN
        if row >= 0:
            filled[0] = row
        filled[1] += 1
    return int(filled[1])


@compiled
def write_json_attributes(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    out: NDArray[np.uint8],
    offsets: NDArray[np.int64],
) -> None:
    """Write lists of plain attributes as flat JSON objects.

    Args:
        buffer: the messages, and ``PADDING``.
        starts: where each list begins; an empty range has none.
        ends: where each ends.
        out: room, not less than the lists take.
        offsets: where each object begins, and the last ends, written to.
    """
    found = np.empty((4, 2), np.int64)
    levels = np.empty(MOST_LEVELS, np.uint8)
    filled = 0
    for row in range(len(starts)):
        end = ends[row]
        at = -1
        if end > starts[row]:
            at = first_element(buffer, starts[row], end)
        first = filled
        while at >= 0:
            after = members(buffer, at, end, _PAIR, found, levels, False)
            out[filled] = 123 if filled == first else 44
            filled += 1
            for place in range(found[0, 0], found[0, 1]):
                out[filled] = buffer[place]
                filled += 1
            out[filled] = 58
            filled += 1
            kind, value, value_end = _value_of(buffer, found[1, 0], found[1, 1])
            if kind == _INT and buffer[value] == 34:
                value += 1
                value_end -= 1
            for place in range(value, value_end):
                out[filled] = buffer[place]
                filled += 1
            at = next_element(buffer, after, end)
        if filled > first:
            out[filled] = 125
            filled += 1
        offsets[row + 1] = filled
