"""Prometheus samples as JSON: what prometheus-kafka-adapter writes with its format ``json``.

One sample a message; value and time are texts, and times are cut to whole seconds by the adapter:

    {"value":"456","timestamp":"1970-01-01T00:00:00Z","name":"foo","labels":{"__name__":"foo"}}

A sample has no type. By Prometheus's rules for names, what ends in ``_total``, ``_count``, ``_sum``
or ``_bucket`` is a counter, and rolled up as cumulative with an unknown start; all else is a gauge.
Staleness markers arrive as ``"NaN"`` and are skipped, as infinities are, as not finite.
"""

# ruff: noqa: PLR0911 -- each fault of a message ends its scan

from __future__ import annotations

from typing import Any, Final

import numpy as np

from operators.columns.scanning import MALFORMED, hash_range, inlined
from operators.contracts.frames import CUMULATIVE, GAUGE
from operators.decoders.json.messages import Format, JsonDecoder, Stream
from operators.decoders.json.page import (
    FULL,
    NOT_FINITE,
    ROWS,
    Page,
    add_row,
    kernel_of,
    note,
    or_doubtful,
)
from operators.decoders.json.scan import (
    ABSENT,
    ACCEPTED,
    key_table,
    members,
    scan_number,
    scan_text_number,
    skip_space,
)
from operators.decoders.json.times import scan_epoch, scan_rfc3339

__all__ = ["PrometheusJson"]

COUNTERS: Final = ("_total", "_count", "_sum", "_bucket")
"""Ends of the names of counters."""

_KEYS = key_table("value", "timestamp", "name", "labels")
_VALUE, _TIMESTAMP, _NAME, _LABELS = range(4)
_LABEL_KEYS = key_table("__name__")
_NO_OBJECT, _NO_VALUE, _NO_TIME, _NO_NAME, _NO_LABELS = range(2, 7)
_REASONS: Final = (
    "not a sample of Prometheus: no JSON object",
    'not a sample of Prometheus: its "value" is no number',
    'not a sample of Prometheus: its "timestamp" is no RFC 3339 time',
    'not a sample of Prometheus: no "name"',
    'not a sample of Prometheus: its "labels" are no object',
)


@inlined
def _value(page: Page) -> tuple[int, int, float, int]:
    """Return where the value that ``members`` has found begins and ends, the number, and its fate.

    The fate is ``MALFORMED`` if there is none, or it is no number.
    """
    first, last = page.found[_VALUE, 0], page.found[_VALUE, 1]
    if first == ABSENT:
        return first, last, 0.0, MALFORMED
    if page.buffer[first] != 34:
        number, fate = scan_number(page.buffer, first, last)
        return first, last, number, fate
    number, fate = scan_text_number(page.buffer, first + 1, last - 1)
    if not np.isfinite(number):
        fate = NOT_FINITE
    return first + 1, last - 1, number, fate


@inlined
def _is_named(page: Page) -> bool:
    """Tell whether a sample has a name: as a member, or as the label ``__name__``."""
    buffer, found, inner = page.buffer, page.found, page.inner
    if found[_NAME, 0] != ABSENT:
        return bool(buffer[found[_NAME, 0]] == 34)
    labels, end = found[_LABELS, 0], found[_LABELS, 1]
    members(buffer, labels, end, _LABEL_KEYS, inner, page.levels, page.parsed)
    return bool(inner[0, 0] != ABSENT and buffer[inner[0, 0]] == 34)


@inlined
def _read(page: Page, message: int, start: int, end: int) -> int:
    """Read one sample; return the status of the message."""
    buffer, found = page.buffer, page.found
    if page.used[ROWS] == len(page.rows):
        return FULL
    after = members(buffer, start, end, _KEYS, found, page.levels, page.parsed)
    if after < 0 or skip_space(buffer, after, end) != end:
        return or_doubtful(page, _NO_OBJECT)
    first, last, number, fate = _value(page)
    if fate == MALFORMED:
        return _NO_VALUE
    at, stop = found[_TIMESTAMP, 0], found[_TIMESTAMP, 1]
    if at == ABSENT:
        return _NO_TIME
    if buffer[at] == 34:
        ts, time_status = scan_rfc3339(buffer, at + 1, stop - 1)
    else:
        ts, time_status = scan_epoch(buffer, at, stop)
    if time_status == MALFORMED:
        return _NO_TIME
    labels = found[_LABELS, 0]
    if labels != ABSENT and buffer[labels] != 123 and buffer[labels] != 110:
        return _NO_LABELS
    if not _is_named(page):
        return _NO_NAME
    raw = hash_range(buffer, found[_NAME, 0], found[_NAME, 1], page.seed)
    raw = hash_range(buffer, labels, found[_LABELS, 1], raw)
    row = add_row(page, number, fate)
    note(row, message, ts, start, after, 0, raw)
    # Where the number stands: what is inexact is read again.
    row.field = first
    row.field_end = last
    return ACCEPTED


def _stream(document: Any, _: str, __: int) -> Stream:
    labels = document.get("labels") or {}
    name = document.get("name") or labels.get("__name__")
    if not isinstance(name, str):
        name = ""  # as it says itself, whatever stands among its labels
    kind = CUMULATIVE if name.endswith(COUNTERS) else GAUGE
    return Stream(name, kind, {key: labels[key] for key in labels if key != "__name__"})


class PrometheusJson(JsonDecoder):
    """Decodes one sample a message."""

    form = Format(kernel_of(_read), _REASONS, _stream)
