"""Prometheus samples as JSON: what prometheus-kafka-adapter writes with its format ``json``.

One sample a message; value and time are texts, and times are cut to whole seconds by the adapter:

    {"value":"456","timestamp":"1970-01-01T00:00:00Z","name":"foo","labels":{"__name__":"foo"}}

A sample has no type. By Prometheus's rules for names, what ends in ``_total``, ``_count``, ``_sum``
or ``_bucket`` is a counter, and rolled up as cumulative with an unknown start; all else is a gauge.
Staleness markers arrive as ``"NaN"`` and are skipped, as infinities are, as not finite.
"""

# ruff: noqa: ARG001, PLR0911, PLR0912 -- all kernels have these arguments; each fault of a message ends its scan

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from operators.decoders.base import Decoded
from operators.decoders.json_messages import (
    NOT_FINITE,
    Format,
    Stream,
    decode_messages,
    note,
)
from operators.decoders.json_scan import (
    ABSENT,
    ACCEPTED,
    DOUBTFUL,
    key_table,
    members,
    scan_number,
    scan_text_number,
    skip_space,
)
from operators.decoders.json_times import scan_epoch, scan_rfc3339
from operators.decoders.scanning import MALFORMED, Word, hash_range, uncounted
from operators.frames import CUMULATIVE, GAUGE

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


class PrometheusJson:
    """Decodes one sample a message."""

    def decode(self, values: Sequence[bytes]) -> Decoded:
        """Decode the samples of a poll."""
        return decode_messages(values, _FORMAT)

    def compile_kernels(self) -> None:
        """Compile the loops, or load them from the disk, before there is a message to wait for it."""
        self.decode([])


@uncounted
def _sample(
    buffer: NDArray[np.uint8],
    start: int,
    end: int,
    message: int,
    row: int,
    parsed: bool,
    seed: Word,
    levels: NDArray[np.uint8],
    found: NDArray[np.int64],
    inner: NDArray[np.int64],
    rows: NDArray[np.int64],
    raws: NDArray[np.uint64],
    values: NDArray[np.float64],
) -> int:
    """Read one message into the row ``row``, and return its status."""
    after = members(buffer, start, end, _KEYS, found, levels, parsed)
    if after < 0 or skip_space(buffer, after, end) != end:
        return _NO_OBJECT if parsed else DOUBTFUL
    first, last = found[_VALUE, 0], found[_VALUE, 1]
    if first == ABSENT:
        return _NO_VALUE
    if buffer[first] == 34:
        first, last = first + 1, last - 1
        number, fate = scan_text_number(buffer, first, last)
        if not np.isfinite(number):
            fate = NOT_FINITE
    else:
        number, fate = scan_number(buffer, first, last)
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
    labels, labels_end = found[_LABELS, 0], found[_LABELS, 1]
    if labels != ABSENT and buffer[labels] != 123 and buffer[labels] != 110:
        return _NO_LABELS
    name = found[_NAME, 0]
    if name == ABSENT:
        members(buffer, labels, labels_end, _LABEL_KEYS, inner, levels, parsed)
        if inner[0, 0] == ABSENT or buffer[inner[0, 0]] != 34:
            return _NO_NAME
    elif buffer[name] != 34:
        return _NO_NAME
    raw = hash_range(buffer, name, found[_NAME, 1], seed)
    raws[row] = hash_range(buffer, labels, labels_end, raw)
    values[row] = number
    note(rows, row, message, ts, start, after, first, last, 0, fate)
    return ACCEPTED


@uncounted
def _kernel(
    buffer: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    parsed: bool,
    seed: Word,
    first: int,
    levels: NDArray[np.uint8],
    found: NDArray[np.int64],
    inner: NDArray[np.int64],
    status: NDArray[np.uint8],
    filled: NDArray[np.int64],
    rows: NDArray[np.int64],
    raws: NDArray[np.uint64],
    values: NDArray[np.float64],
) -> int:
    """Read all messages: there is room for one row each."""
    row = 0
    for message in range(len(bounds) - 1):
        end = bounds[message + 1]
        start = skip_space(buffer, bounds[message], end)
        status[message] = _sample(
            buffer, start, end, message, row, parsed, seed, levels, found, inner, rows, raws, values
        )
        row += status[message] == ACCEPTED
    filled[0] = row
    return len(bounds) - 1


def _stream(document: Any, _: str, __: int) -> Stream:
    labels = document.get("labels") or {}
    name = document.get("name") or labels.get("__name__")
    if not isinstance(name, str):
        name = ""  # as it says itself, whatever stands among its labels
    kind = CUMULATIVE if name.endswith(COUNTERS) else GAUGE
    return Stream(name, kind, {key: labels[key] for key in labels if key != "__name__"})


_FORMAT: Final = Format(_kernel, _REASONS, _stream)
