"""A compiled scan of OTLP logs in JSON: a row a record, its texts left where they are.

It reads what the collector writes: keys in lowerCamelCase, once each; bodies that are texts; attributes
that are texts, numbers and truths, each key once. The attributes of such a record are written as a flat
JSON object at once. A record with others is for a parser of JSON, and so is a message of which anything
else is not as expected: the scan says which ones.
"""

# ruff: noqa: PLR0911, PLR0912, PLR0915, PLR1714, SIM109, SIM110 -- a scanner is a list of cases

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
    skip_space,
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
_RECORD: Final = key_table(
    "timeUnixNano", "severityNumber", "severityText", "body", "attributes", "traceId", "spanId",
    "observedTimeUnixNano", "time_unix_nano", "severity_number", "severity_text", "trace_id", "span_id",
    "observed_time_unix_nano",
)  # fmt: skip
_TIME, _NUMBER, _TEXT, _BODY, _ATTRIBUTES, _TRACE, _SPAN, _OBSERVED = range(8)
_SNAKES: Final = 8
"""From here on keys are as the parser takes them too, but no collector writes them."""
_PAIR: Final = key_table("key", "value")
_VALUE: Final = key_table("stringValue", "intValue", "boolValue", "doubleValue")
_STRING: Final = 0
_INT: Final = 1
_BOOL: Final = 2
_SEED: Final = np.uint64(0x6C6A736F)
_MOST_ATTRIBUTES: Final = 256


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
def _value_of(buffer: NDArray[np.uint8], start: int, end: int) -> tuple[int, int, int, bool, int]:
    """Read an AnyValue that has one plain member.

    Returns:
        Its kind, -1 if it is any other; where the member's value begins and ends; whether that has
        escapes; where the AnyValue ends.
    """
    nothing = (-1, 0, 0, False, 0)
    if buffer[start] != 123:
        return nothing
    key, key_end, value, odd = first_member(buffer, start, end)
    if key < 0 or odd:
        return nothing
    kind = which_of(buffer, key, key_end, _VALUE)
    if kind < 0:
        return nothing
    byte = buffer[value]
    if byte == 123 or byte == 91 or byte == 110:
        return nothing
    if kind == _STRING and byte != 34:
        return nothing
    escaped = False
    if byte == 34:
        close, escaped = scan_string(buffer, value + 1, end)
        after = close + 1
    else:
        after = value
        while buffer[after] != 44 and buffer[after] != 125 and buffer[after] > 32:
            after += 1
    if kind == _INT and not _is_int(buffer, value, after):
        return nothing
    stop = skip_space(buffer, after, end)
    if buffer[stop] != 125:  # another member
        return nothing
    return kind, value, after, escaped, stop + 1


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
def _pair(
    buffer: NDArray[np.uint8], at: int, end: int, levels: NDArray[np.uint8]
) -> tuple[int, int, int, int, int, int]:
    """Read a checked attribute that is plain.

    Returns:
        Where its key begins and ends, quotation marks included; the kind of its value, and where
        that begins and ends; where the attribute ends, -1 if it is not plain.
    """
    nothing = (0, 0, 0, 0, 0, -1)
    if buffer[at] != 123:
        return nothing
    name, name_end, kind, value, value_end = -1, -1, -1, 0, 0
    key, key_end, place, odd = first_member(buffer, at, end)
    after = skip_space(buffer, at + 1, end)
    while key >= 0:
        if odd:
            return nothing
        which = which_of(buffer, key, key_end, _PAIR)
        if which == 0:
            if name >= 0 or buffer[place] != 34:
                return nothing
            close, escaped = scan_string(buffer, place + 1, end)
            if escaped:
                return nothing
            name, name_end, after = place, close + 1, close + 1
        elif which == 1:
            if kind >= 0:
                return nothing
            kind, value, value_end, _, after = _value_of(buffer, place, end)
            if kind < 0:
                return nothing
        else:
            after = skip_value(buffer, place, end, levels)
        after = skip_space(buffer, after, end)
        key, key_end, place, odd = next_member(buffer, after, end)
    if name < 0 or kind < 0:
        return nothing
    return name, name_end, kind, value, value_end, after + 1


@uncounted
def _plain_attributes(
    buffer: NDArray[np.uint8],
    start: int,
    end: int,
    hashes: NDArray[np.uint64],
    levels: NDArray[np.uint8],
) -> int:
    """Return where a checked list ends of which all attributes are plain, and each key is there once.

    -1 for any other value.
    """
    if buffer[start] != 91:
        return -1
    count = 0
    at = first_element(buffer, start, end)
    after = skip_space(buffer, start + 1, end)
    while at >= 0:
        key, key_end, _, _, _, after = _pair(buffer, at, end, levels)
        if after < 0 or count == _MOST_ATTRIBUTES:
            return -1
        mine = hash_range(buffer, key + 1, key_end - 1, _SEED)
        for other in range(count):
            if hashes[other] == mine:
                return -1
        hashes[count] = mine
        count += 1
        after = skip_space(buffer, after, end)
        at = next_element(buffer, after, end)
    return after + 1


@uncounted
def _record(
    buffer: NDArray[np.uint8],
    at: int,
    end: int,
    records: np.ndarray,
    row: int,
    seen: NDArray[np.bool_],
    levels: NDArray[np.uint8],
    hashes: NDArray[np.uint64],
) -> int:
    """Read a checked record into its row; return where it ends, -1 if the message is doubtful."""
    if buffer[at] != 123:
        return -1
    record = records[row]
    record.start = at
    record.ts, record.observed, record.severity = 0, 0, 0
    record.text, record.text_end, record.text_escaped = 0, 0, 0
    record.body, record.body_end, record.body_escaped = 0, 0, 0
    record.trace, record.trace_end, record.span, record.span_end = 0, 0, 0, 0
    record.attributes, record.attributes_end = 0, 0
    record.plain = True
    seen[:] = False
    key, key_end, value, odd = first_member(buffer, at, end)
    after = skip_space(buffer, at + 1, end)
    while key >= 0:
        if odd:
            return -1
        field = which_of(buffer, key, key_end, _RECORD)
        if field >= _SNAKES or (field >= 0 and seen[field]):
            return -1
        if field >= 0:
            seen[field] = True
        if field == _BODY:
            kind, start, stop, escaped, after = _value_of(buffer, value, end)
            if kind == _STRING:
                record.body, record.body_end = start + 1, stop - 1
                record.body_escaped = np.int64(escaped)
            else:
                record.plain = False
                if kind < 0:
                    after = skip_value(buffer, value, end, levels)
        elif field == _ATTRIBUTES:
            after = _plain_attributes(buffer, value, end, hashes, levels)
            if after >= 0:
                record.attributes, record.attributes_end = value, after
            else:
                record.plain = False
                after = skip_value(buffer, value, end, levels)
        elif field == _TEXT or field == _TRACE or field == _SPAN:
            if buffer[value] != 34:
                return -1
            close, escaped = scan_string(buffer, value + 1, end)
            after = close + 1
            if field == _TEXT:
                record.text, record.text_end = value + 1, close
                record.text_escaped = np.int64(escaped)
            elif escaped:
                return -1
            elif field == _TRACE:
                record.trace, record.trace_end = value + 1, close
            else:
                record.span, record.span_end = value + 1, close
        else:
            after = skip_value(buffer, value, end, levels)
            if field >= 0:
                number = _whole_number(buffer, value, after)
                if number < 0:
                    return -1
                if field == _TIME:
                    record.ts = number
                elif field == _OBSERVED:
                    record.observed = number
                elif number <= 24:
                    record.severity = number
        after = skip_space(buffer, after, end)
        key, key_end, value, odd = next_member(buffer, after, end)
    record.end = after + 1
    return after + 1


@uncounted
def _records(
    buffer: NDArray[np.uint8],
    at: int,
    end: int,
    records: np.ndarray,
    row: int,
    seen: NDArray[np.bool_],
    levels: NDArray[np.uint8],
    hashes: NDArray[np.uint64],
) -> tuple[int, int]:
    """Read a checked list of records; return the next row, and where it ends.

    The row is -1 if the message is doubtful, -2 if there is no room.
    """
    if buffer[at] != 91:
        return -1, 0
    after = skip_space(buffer, at + 1, end)
    at = first_element(buffer, at, end)
    while at >= 0:
        if row >= len(records):
            return -2, 0
        after = _record(buffer, at, end, records, row, seen, levels, hashes)
        if after < 0:
            return -1, 0
        row += 1
        after = skip_space(buffer, after, end)
        at = next_element(buffer, after, end)
    return row, after + 1


@uncounted
def _scoped(
    buffer: NDArray[np.uint8],
    at: int,
    end: int,
    records: np.ndarray,
    row: int,
    seen: NDArray[np.bool_],
    levels: NDArray[np.uint8],
    hashes: NDArray[np.uint64],
) -> tuple[int, int]:
    """Read the records of a scope, which is checked JSON; return as ``_records`` does."""
    if buffer[at] != 123:
        return -1, 0
    first = row
    scope, scope_end, listed = ABSENT, ABSENT, False
    key, key_end, value, odd = first_member(buffer, at, end)
    after = skip_space(buffer, at + 1, end)
    while key >= 0:
        if odd:
            return -1, 0
        which = which_of(buffer, key, key_end, _SCOPED)
        if which == 1:
            if listed:
                return -1, 0
            listed = True
            row, after = _records(buffer, value, end, records, row, seen, levels, hashes)
            if row < 0:
                return row, 0
        else:
            after = skip_value(buffer, value, end, levels)
            if which == 0:
                if scope != ABSENT or buffer[value] != 123:
                    return -1, 0
                scope, scope_end = value, after
            elif which == 2:
                return -1, 0
        after = skip_space(buffer, after, end)
        key, key_end, value, odd = next_member(buffer, after, end)
    for mine in range(first, row):
        records[mine].scope, records[mine].scope_end = scope, scope_end
    return row, after + 1


@uncounted
def _group(
    buffer: NDArray[np.uint8],
    at: int,
    end: int,
    records: np.ndarray,
    row: int,
    seen: NDArray[np.bool_],
    levels: NDArray[np.uint8],
    hashes: NDArray[np.uint64],
) -> tuple[int, int]:
    """Read the records of a resource, which is checked JSON; return as ``_records`` does."""
    if buffer[at] != 123:
        return -1, 0
    first = row
    resource, resource_end, listed = ABSENT, ABSENT, False
    key, key_end, value, odd = first_member(buffer, at, end)
    after = skip_space(buffer, at + 1, end)
    while key >= 0:
        if odd:
            return -1, 0
        which = which_of(buffer, key, key_end, _GROUP)
        if which == 1:
            if listed or buffer[value] != 91:
                return -1, 0
            listed = True
            after = skip_space(buffer, value + 1, end)
            scoped = first_element(buffer, value, end)
            while scoped >= 0:
                row, after = _scoped(buffer, scoped, end, records, row, seen, levels, hashes)
                if row < 0:
                    return row, 0
                after = skip_space(buffer, after, end)
                scoped = next_element(buffer, after, end)
            after += 1
        else:
            after = skip_value(buffer, value, end, levels)
            if which == 0:
                if resource != ABSENT or buffer[value] != 123:
                    return -1, 0
                resource, resource_end = value, after
            elif which == 2:
                return -1, 0
        after = skip_space(buffer, after, end)
        key, key_end, value, odd = next_member(buffer, after, end)
    if row == first:  # nothing tells whether its resource is right
        return -1, 0
    for mine in range(first, row):
        records[mine].resource, records[mine].resource_end = resource, resource_end
    return row, after + 1


@uncounted
def _message(
    buffer: NDArray[np.uint8],
    start: int,
    end: int,
    message: int,
    records: np.ndarray,
    row: int,
    found: NDArray[np.int64],
    seen: NDArray[np.bool_],
    levels: NDArray[np.uint8],
    hashes: NDArray[np.uint64],
) -> int:
    """Read the records of a message from ``row`` on; return the next row, -1 if it is doubtful,
    -2 if there is no room.

    All of it is checked first, and then walked once.
    """
    at = start
    while at < end and buffer[at] <= 32:
        at += 1
    after = members(buffer, at, end, _ROOT, found, levels, False)
    if after < 0 or found[1, 0] != ABSENT or found[0, 0] == ABSENT or buffer[found[0, 0]] != 91:
        return -1
    while after < end and buffer[after] <= 32:
        after += 1
    if after != end:
        return -1
    first = row
    group = first_element(buffer, found[0, 0], end)
    while group >= 0:
        row, after = _group(buffer, group, end, records, row, seen, levels, hashes)
        if row < 0:
            return row
        group = next_element(buffer, after, end)
    for mine in range(first, row):
        records[mine].message, records[mine].index = message, mine - first
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
    found = np.empty((4, 2), np.int64)
    seen = np.empty(_SNAKES, np.bool_)
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
            seen,
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
    levels = np.empty(MOST_LEVELS, np.uint8)
    filled = 0
    for row in range(len(starts)):
        end = ends[row]
        at = -1
        if end > starts[row]:
            at = first_element(buffer, starts[row], end)
        first = filled
        while at >= 0:
            key, key_end, kind, value, value_end, after = _pair(buffer, at, end, levels)
            out[filled] = 123 if filled == first else 44
            filled += 1
            for place in range(key, key_end):
                out[filled] = buffer[place]
                filled += 1
            out[filled] = 58
            filled += 1
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
