"""Telegraf metrics as JSON: its serializer ``json``, one metric a message or a batch of them.

    {"fields":{"f":30},"name":"docker","tags":{"host":"raynor"},"timestamp":1458229140}
    {"metrics":[{...},{...}]}

Every field that is a number is a point of the metric ``<name>_<field>``, or just ``<name>`` if the
field is ``value``, as with line protocol; and a gauge, since the format does not say what it is.
Booleans are 1 and 0. Texts and nested fields are skipped as ``text``. A timestamp is seconds since the epoch unless ``json_timestamp_units`` says
otherwise, which the number of its digits tells (``scan_epoch``), or RFC 3339, as which a
``json_timestamp_format`` is to be set.
"""

# ruff: noqa: PLR1714 -- each fault of a message ends its scan

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.scanning import INEXACT, MALFORMED, READ, Word, hash_range, inlined
from operators.contracts.frames import GAUGE
from operators.decoders.json.messages import Format, JsonDecoder, Stream
from operators.decoders.json.page import (
    FULL,
    NO_VALUE,
    ROWS,
    TEXT,
    Page,
    add_row,
    kernel_of,
    note,
    or_doubtful,
)
from operators.decoders.json.scan import (
    ABSENT,
    ACCEPTED,
    DOUBTFUL,
    first_element,
    first_member,
    key_table,
    members,
    next_element,
    next_member,
    precedes,
    scan_number,
    skip_space,
    skip_value,
)
from operators.decoders.json.times import scan_epoch, scan_rfc3339

__all__ = ["TelegrafJson"]

_KEYS = key_table("fields", "name", "tags", "timestamp", "metrics")
_FIELDS, _NAME, _TAGS, _TIME, _METRICS = range(5)
_MOST_UNSORTED: Final = 64
_NO_OBJECT, _NO_FIELDS, _NO_NAME, _NO_TAGS, _NO_TIME, _NO_BATCH = range(2, 8)
_REASONS: Final = (
    "not a metric of Telegraf: no JSON object",
    'not a metric of Telegraf: its "fields" are no object',
    'not a metric of Telegraf: its "name" is no text',
    'not a metric of Telegraf: its "tags" are no object',
    'not a metric of Telegraf: its "timestamp" is no epoch and no RFC 3339 time',
    'not a batch of Telegraf: its "metrics" are no array',
)


@inlined
def _value(buffer: NDArray[np.uint8], at: int, after: int) -> tuple[float, int]:
    """Return the number that the value of a field is, and its fate."""
    byte = buffer[at]
    if byte == 45 or 48 <= byte <= 57:
        return scan_number(buffer, at, after)
    if byte == 116 or byte == 102:
        return (1.0 if byte == 116 else 0.0), READ
    return 0.0, NO_VALUE if byte == 110 else TEXT


@inlined
def _is_among(rows: NDArray[Any], first: int, end: int, raw: Word) -> bool:
    """Tell whether one of the rows has an identity."""
    found = False
    for row in range(first, end):
        found = found or rows[row].raw == raw
    return found


@inlined
def _fields(page: Page, message: int, start: int, end: int, ts: int, owner: Word) -> int:
    """Read the fields of the metric between ``start`` and ``end``; return the message's status.

    A field that stands twice is a parser's affair. Telegraf sorts fields, so each is compared with
    the one before, and with all only in objects that are not sorted.
    """
    buffer = page.buffer
    stop = page.found[_FIELDS, 1]
    first = page.used[ROWS]
    ascending = True
    last, last_end = 0, 0
    key, key_end, at, escaped = first_member(buffer, page.found[_FIELDS, 0], stop)
    while key >= 0:
        if page.used[ROWS] == len(page.rows):
            return FULL
        after = skip_value(buffer, at, stop, page.levels)
        raw = hash_range(buffer, key, key_end, owner)
        if not page.parsed:
            if escaped:
                return DOUBTFUL
            ascending = ascending and precedes(buffer, last, last_end, key, key_end)
            row = page.used[ROWS]
            if not ascending and (
                row - first > _MOST_UNSORTED or _is_among(page.rows, first, row, raw)
            ):
                return DOUBTFUL
        number, fate = _value(buffer, at, after)
        if fate == INEXACT:
            return DOUBTFUL
        added = add_row(page, number, fate)
        note(added, message, ts, start, end, 0, raw)
        added.field = key
        added.field_end = key_end
        last, last_end = key, key_end
        key, key_end, at, escaped = next_member(buffer, after, stop)
    return ACCEPTED


@inlined
def _metric(page: Page, message: int, start: int, end: int) -> int:
    """Read the metric between ``start`` and ``end``, where ``members`` has found its parts.

    Returns:
        The status of the message.
    """
    buffer, found = page.buffer, page.found
    fields, name, tags, time = found[_FIELDS, 0], found[_NAME, 0], found[_TAGS, 0], found[_TIME, 0]
    if fields == ABSENT or buffer[fields] != 123:
        return _NO_FIELDS
    if name == ABSENT or buffer[name] != 34:
        return _NO_NAME
    if tags != ABSENT and buffer[tags] != 123 and buffer[tags] != 110:
        return _NO_TAGS
    if time == ABSENT:
        return _NO_TIME
    if buffer[time] == 34:
        ts, status = scan_rfc3339(buffer, time + 1, found[_TIME, 1] - 1)
    else:
        ts, status = scan_epoch(buffer, time, found[_TIME, 1])
    if status == MALFORMED:
        return _NO_TIME
    owner = hash_range(buffer, tags, found[_TAGS, 1], page.seed)
    owner = hash_range(buffer, name, found[_NAME, 1], owner)
    return _fields(page, message, start, end, ts, owner)


@inlined
def _read(page: Page, message: int, start: int, end: int) -> int:
    """Read a metric or a batch; return the status of the message."""
    buffer = page.buffer
    after = members(buffer, start, end, _KEYS, page.found, page.levels, page.parsed)
    if after < 0 or skip_space(buffer, after, end) != end:
        return or_doubtful(page, _NO_OBJECT)
    batch, batch_end = page.found[_METRICS, 0], page.found[_METRICS, 1]
    if batch != ABSENT and buffer[batch] != 91:
        return _NO_BATCH
    at = start if batch == ABSENT else first_element(buffer, batch, batch_end)
    while at >= 0:
        if batch != ABSENT:
            after = members(buffer, at, batch_end, _KEYS, page.found, page.levels, page.parsed)
            if after < 0:
                return or_doubtful(page, _NO_OBJECT)
        status = _metric(page, message, at, after)
        if status != ACCEPTED:
            return status
        at = -1 if batch == ABSENT else next_element(buffer, after, batch_end)
    return ACCEPTED


def _stream(document: Any, field: str, _: int) -> Stream:
    name = document["name"] if field == "value" else f"{document['name']}_{field}"
    return Stream(name, GAUGE, document.get("tags") or {})


class TelegrafJson(JsonDecoder):
    """Decodes one metric a message, or a batch."""

    form = Format(kernel_of(_read), _REASONS, _stream)
