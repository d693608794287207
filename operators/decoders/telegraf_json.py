"""Telegraf metrics as JSON: its serializer ``json``, one metric a message or a batch of them.

    {"fields":{"f":30},"name":"docker","tags":{"host":"raynor"},"timestamp":1458229140}
    {"metrics":[{...},{...}]}

Every field that is a number is a point of the metric ``<name>_<field>``, or just ``<name>`` if the
field is ``value``, as with line protocol; and a gauge, since the format does not say what it is.
Booleans are 1 and 0. Texts and nested fields are skipped as ``text``. A timestamp is seconds since the epoch unless ``json_timestamp_units`` says
otherwise, which the number of its digits tells (``scan_epoch``), or RFC 3339, as which a
``json_timestamp_format`` is to be set.
"""

# ruff: noqa: PLR0911, PLR0912, PLR1714 -- each fault of a message ends its scan

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from operators.decoders.base import Decoded
from operators.decoders.json_messages import (
    FULL,
    NO_VALUE,
    TEXT,
    Format,
    Stream,
    decode_messages,
    note,
)
from operators.decoders.json_scan import (
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
from operators.decoders.json_times import scan_epoch, scan_rfc3339
from operators.decoders.scanning import INEXACT, MALFORMED, READ, Word, hash_range, uncounted
from operators.frames import GAUGE

__all__ = ["TelegrafJson"]

_KEYS = key_table("fields", "name", "tags", "timestamp", "metrics")
_FIELDS, _NAME, _TAGS, _TIMESTAMP, _METRICS = range(5)
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


class TelegrafJson:
    """Decodes one metric a message, or a batch."""

    def decode(self, values: Sequence[bytes]) -> Decoded:
        """Decode the numeric fields of a poll's metrics."""
        return decode_messages(values, _FORMAT)

    def compile_kernels(self) -> None:
        """Compile the loops, or load them from the disk, before there is a message to wait for it."""
        self.decode([])


@uncounted
def _metric(
    buffer: NDArray[np.uint8],
    start: int,
    end: int,
    message: int,
    row: int,
    parsed: bool,
    seed: Word,
    levels: NDArray[np.uint8],
    found: NDArray[np.int64],
    rows: NDArray[np.int64],
    raws: NDArray[np.uint64],
    values: NDArray[np.float64],
) -> tuple[int, int]:
    """Read one metric, where ``members`` has found its parts, into rows from ``row`` on.

    Returns:
        The next row, and a status.
    """
    fields, name, tags, time = (
        found[_FIELDS, 0],
        found[_NAME, 0],
        found[_TAGS, 0],
        found[_TIMESTAMP, 0],
    )
    if fields == ABSENT or buffer[fields] != 123:
        return row, _NO_FIELDS
    if name == ABSENT or buffer[name] != 34:
        return row, _NO_NAME
    if tags != ABSENT and buffer[tags] != 123 and buffer[tags] != 110:
        return row, _NO_TAGS
    if time == ABSENT:
        return row, _NO_TIME
    if buffer[time] == 34:
        ts, status = scan_rfc3339(buffer, time + 1, found[_TIMESTAMP, 1] - 1)
    else:
        ts, status = scan_epoch(buffer, time, found[_TIMESTAMP, 1])
    if status == MALFORMED:
        return row, _NO_TIME
    owner = hash_range(buffer, tags, found[_TAGS, 1], seed)
    owner = hash_range(buffer, name, found[_NAME, 1], owner)
    stop = found[_FIELDS, 1]
    first = row
    ascending = True
    last, last_end = 0, 0
    key, key_end, at, escaped = first_member(buffer, fields, stop)
    while key >= 0:
        if row == len(rows):
            return row, FULL
        after = skip_value(buffer, at, stop, levels)
        raw = hash_range(buffer, key, key_end, owner)
        if not parsed:
            # A field that stands twice is a parser's affair. Telegraf sorts them, so that each is
            # compared with the one before, and not with all.
            if escaped:
                return row, DOUBTFUL
            ascending = ascending and precedes(buffer, last, last_end, key, key_end)
            if not ascending:
                if row - first > _MOST_UNSORTED:
                    return row, DOUBTFUL
                for earlier in range(first, row):
                    if raws[earlier] == raw:
                        return row, DOUBTFUL
        byte = buffer[at]
        number, fate = 0.0, READ
        if byte == 45 or 48 <= byte <= 57:
            number, fate = scan_number(buffer, at, after)
            if fate == INEXACT:
                return row, DOUBTFUL
        elif byte == 116 or byte == 102:
            number = 1.0 if byte == 116 else 0.0
        else:
            fate = NO_VALUE if byte == 110 else TEXT
        raws[row] = raw
        values[row] = number
        note(rows, row, message, ts, start, end, key, key_end, 0, fate)
        row += 1
        last, last_end = key, key_end
        key, key_end, at, escaped = next_member(buffer, after, stop)
    return row, ACCEPTED


@uncounted
def _message(
    buffer: NDArray[np.uint8],
    start: int,
    end: int,
    message: int,
    row: int,
    parsed: bool,
    seed: Word,
    levels: NDArray[np.uint8],
    found: NDArray[np.int64],
    rows: NDArray[np.int64],
    raws: NDArray[np.uint64],
    values: NDArray[np.float64],
) -> tuple[int, int]:
    """Read a metric or a batch; return the next row, and a status."""
    after = members(buffer, start, end, _KEYS, found, levels, parsed)
    if after < 0 or skip_space(buffer, after, end) != end:
        return row, _NO_OBJECT if parsed else DOUBTFUL
    batch, batch_end = found[_METRICS, 0], found[_METRICS, 1]
    if batch == ABSENT:
        return _metric(
            buffer, start, after, message, row, parsed, seed, levels, found, rows, raws, values
        )
    if buffer[batch] != 91:
        return row, _NO_BATCH
    at = first_element(buffer, batch, batch_end)
    while at >= 0:
        after = members(buffer, at, batch_end, _KEYS, found, levels, parsed)
        if after < 0:
            return row, _NO_OBJECT if parsed else DOUBTFUL
        row, status = _metric(
            buffer, at, after, message, row, parsed, seed, levels, found, rows, raws, values
        )
        if status != ACCEPTED:
            return row, status
        at = next_element(buffer, after, batch_end)
    return row, ACCEPTED


@uncounted
def _kernel(
    buffer: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    parsed: bool,
    seed: Word,
    first: int,
    levels: NDArray[np.uint8],
    found: NDArray[np.int64],
    _: NDArray[np.int64],
    status: NDArray[np.uint8],
    filled: NDArray[np.int64],
    rows: NDArray[np.int64],
    raws: NDArray[np.uint64],
    values: NDArray[np.float64],
) -> int:
    """Read messages from ``first`` on, and return the one that there was no room for."""
    for message in range(first, len(bounds) - 1):
        end = bounds[message + 1]
        start = skip_space(buffer, bounds[message], end)
        row, code = _message(
            buffer, start, end, message, filled[0], parsed, seed, levels, found, rows, raws, values
        )
        if code == FULL:
            return message
        status[message] = code
        if code == ACCEPTED:
            filled[0] = row
    return len(bounds) - 1


def _stream(document: Any, field: str, _: int) -> Stream:
    name = document["name"] if field == "value" else f"{document['name']}_{field}"
    return Stream(name, GAUGE, document.get("tags") or {})


_FORMAT: Final = Format(_kernel, _REASONS, _stream)
