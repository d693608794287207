"""Metrics of Vector as JSON: its codecs ``json`` and ``native_json``, one metric a message.

    {"name":"foos","namespace":"vector","tags":{"key1":"v"},"timestamp":"2018-11-14T08:09:10Z",
     "kind":"incremental","counter":{"value":100.0}}
    {"metric":{...}}

The metric is ``<namespace>_<name>``. What it holds becomes:

====================  =============================================================================
counter               a delta if it is incremental, cumulative with an unknown start if absolute
gauge                 a gauge; an incremental one is a change, and a delta: what a window tells is
                      by how much it changed
set                   a gauge: how many values it has (each is there once)
distribution          a histogram whose segments are the samples themselves, weighted by their
                      rates; of what came since the last if it is incremental, else cumulative
aggregated_histogram  a histogram, as above; its buckets do not include those below them
aggregated_summary    a summary
sketch                is skipped, and counted
====================  =============================================================================

A tag with several values is a label with their JSON array, sorted; one without a value (``null``)
is as good as absent, as it is to Vector where it writes single values. Without a timestamp a
metric is skipped. Infinite and undefined values are ``null`` in JSON, and skipped as not finite.
"""

# ruff: noqa: PLR0911, PLR0912, PLR0915, PLR1714, SIM109 -- each fault of a message ends its scan

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from operators.decoders.base import Decoded
from operators.decoders.json_messages import (
    FULL,
    NO_TIME,
    NO_VALUE,
    NOT_FINITE,
    SKETCH,
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
    key_table,
    members,
    next_element,
    scan_number,
    scan_text_number,
    skip_space,
    skip_value,
    which_of,
)
from operators.decoders.json_times import scan_rfc3339
from operators.decoders.scanning import INEXACT, MALFORMED, READ, Word, fold, hash_range, uncounted
from operators.frames import (
    CUMULATIVE,
    CUMULATIVE_HISTOGRAM,
    DELTA,
    DELTA_HISTOGRAM,
    GAUGE,
    SUMMARY,
)

__all__ = ["VectorJson"]

_KEYS = key_table(
    "metric", "name", "namespace", "tags", "timestamp", "kind", "counter", "gauge", "set",
    "distribution", "aggregated_histogram", "aggregated_summary", "sketch",
)  # fmt: skip
(
    _METRIC, _NAME, _NAMESPACE, _TAGS, _TIMESTAMP, _KIND, _COUNTER, _GAUGE, _SET,
    _DISTRIBUTION, _HISTOGRAM, _SUMMARY, _SKETCH,
) = range(13)  # fmt: skip
_PARTS = key_table("value", "values", "samples", "buckets", "quantiles", "count", "sum")
_VALUE, _VALUES, _SAMPLES, _BUCKETS, _QUANTILES, _COUNT, _SUM = range(7)
_KINDS = key_table("incremental", "absolute")
# Of an element: where it lies, and how much of it.
_SAMPLE = key_table("value", "rate")
_BUCKET = key_table("upper_limit", "count")
_QUANTILE = key_table("quantile", "value")
_ODD: Final = np.uint64(0x9E37_79B9_7F4A_7C15)
_NO_OBJECT, _NO_NAME, _NO_TAGS, _NO_TIMESTAMP, _NO_KIND, _NO_CONTENT, _NO_NUMBER, _NO_ORDER = range(
    2, 10
)
_REASONS: Final = (
    "not a metric of Vector: no JSON object",
    'not a metric of Vector: its "name" or "namespace" is no text',
    'not a metric of Vector: its "tags" are no object',
    'not a metric of Vector: its "timestamp" is no RFC 3339 time',
    'not a metric of Vector: its "kind" is neither "absolute" nor "incremental"',
    "not a metric of Vector: neither a counter nor a gauge nor any other of its kinds is in it",
    "not a metric of Vector: what it holds is not the numbers that it should be",
    'not a metric of Vector: its "buckets" are out of order, or more than its "count"',
)


class VectorJson:
    """Decodes one metric a message."""

    def decode(self, values: Sequence[bytes]) -> Decoded:
        """Decode the metrics of a poll; sketches are counted as skipped."""
        return decode_messages(values, _FORMAT)

    def compile_kernels(self) -> None:
        """Compile the loops, or load them from the disk, before there is a message to wait for it."""
        self.decode([])


@uncounted
def _number(buffer: NDArray[np.uint8], at: int, after: int) -> tuple[float, int]:
    """Read a number; null is not a number."""
    if at == ABSENT:
        return 0.0, MALFORMED
    if buffer[at] == 110:
        return np.nan, READ
    if buffer[at] == 34:
        return scan_text_number(buffer, at + 1, after - 1)
    return scan_number(buffer, at, after)


@uncounted
def _whole(buffer: NDArray[np.uint8], at: int, after: int) -> tuple[int, int]:
    """Read a number of observations."""
    number, status = _number(buffer, at, after)
    if not 0 <= number <= 2.0**53 or number != np.floor(number):
        return 0, MALFORMED
    return int(number), status


@uncounted
def _kind_of(kind: int, absolute: bool) -> int:
    """Return the kind of a frame that a kind of Vector's is."""
    if kind == _COUNTER:
        return CUMULATIVE if absolute else DELTA
    if kind == _GAUGE:
        return GAUGE if absolute else DELTA
    if kind == _SET:
        return GAUGE
    if kind == _SUMMARY:
        return SUMMARY
    return CUMULATIVE_HISTOGRAM if absolute else DELTA_HISTOGRAM


@uncounted
def _length(buffer: NDArray[np.uint8], start: int, end: int, levels: NDArray[np.uint8]) -> int:
    """Return the number of elements of a checked array."""
    at = first_element(buffer, start, end)
    count = 0
    while at > 0:
        count += 1
        at = next_element(buffer, skip_value(buffer, at, end, levels), end)
    return count


@uncounted
def _segments(
    buffer: NDArray[np.uint8],
    start: int,
    end: int,
    kind: int,
    count: int,
    parsed: bool,
    levels: NDArray[np.uint8],
    found: NDArray[np.int64],
    segment: int,
    numbers: NDArray[np.float64],
    bounds: NDArray[np.float64],
    weights: NDArray[np.int64],
) -> tuple[int, int]:
    """Read samples, buckets or quantiles into segments from ``segment`` on.

    ``numbers`` are the row's: sum, min, max and count are written for samples.

    Returns:
        The next segment, and a status, which is that of the message.
    """
    last = -np.inf
    held = 0
    total, least, most = 0.0, np.inf, -np.inf
    at = first_element(buffer, start, end)
    while at > 0:
        if segment >= len(weights) - 1:
            return segment, FULL
        if kind == _DISTRIBUTION:
            after = members(buffer, at, end, _SAMPLE, found, levels, parsed)
        elif kind == _HISTOGRAM:
            after = members(buffer, at, end, _BUCKET, found, levels, parsed)
        else:
            after = members(buffer, at, end, _QUANTILE, found, levels, parsed)
        if after < 0:
            return segment, _NO_NUMBER if parsed else DOUBTFUL
        place, status = _number(buffer, found[0, 0], found[0, 1])
        if kind == _SUMMARY:
            amount, second = _number(buffer, found[1, 0], found[1, 1])
            weight = 0
        else:
            weight, second = _whole(buffer, found[1, 0], found[1, 1])
            amount = 0.0
        if status == MALFORMED or second == MALFORMED:
            return segment, _NO_NUMBER
        if status == INEXACT or second == INEXACT:
            return segment, DOUBTFUL
        if kind == _SUMMARY:
            if not 0 <= place <= 1:
                return segment, _NO_NUMBER
            if np.isfinite(amount):
                bounds[segment, 0], bounds[segment, 1] = place, amount
                weights[segment] = 0
                segment += 1
        elif kind == _HISTOGRAM:
            if np.isnan(place):
                place = np.inf  # JSON has no other way to say so
            if place <= last:
                return segment, _NO_ORDER
            if weight > 0:
                bounds[segment, 0], bounds[segment, 1] = last, place
                weights[segment] = weight
                segment += 1
            last = place
        else:
            if not np.isfinite(place):
                return segment, _NO_NUMBER
            if weight > 0:
                bounds[segment, 0], bounds[segment, 1] = place, place
                weights[segment] = weight
                segment += 1
                total += place * weight
                least, most = min(least, place), max(most, place)
        held += weight
        if held > 2**53:
            return segment, _NO_NUMBER  # the count is a double on its way
        at = next_element(buffer, after, end)
    if kind == _HISTOGRAM:
        if held > count or (held < count and last == np.inf):
            return segment, _NO_ORDER
        if held < count:
            if segment >= len(weights) - 1:
                return segment, FULL
            bounds[segment, 0], bounds[segment, 1] = last, np.inf
            weights[segment] = count - held
            segment += 1
    elif kind == _DISTRIBUTION:
        numbers[0], numbers[1], numbers[2], numbers[3] = total, least, most, held
    return segment, ACCEPTED


@uncounted
def _message(
    buffer: NDArray[np.uint8],
    start: int,
    end: int,
    message: int,
    parsed: bool,
    seed: Word,
    levels: NDArray[np.uint8],
    found: NDArray[np.int64],
    inner: NDArray[np.int64],
    filled: NDArray[np.int64],
    rows: NDArray[np.int64],
    raws: NDArray[np.uint64],
    values: NDArray[np.float64],
    histograms: NDArray[np.int64],
    histogram_raws: NDArray[np.uint64],
    numbers: NDArray[np.float64],
    bounds: NDArray[np.float64],
    weights: NDArray[np.int64],
) -> int:
    """Read a metric behind what is ``filled``, and return its status."""
    row, histogram, segment = filled[0], filled[1], filled[2]
    if row >= len(rows) or histogram >= len(histograms):
        return FULL
    after = members(buffer, start, end, _KEYS, found, levels, parsed)
    if after < 0 or skip_space(buffer, after, end) != end:
        return _NO_OBJECT if parsed else DOUBTFUL
    if found[_METRIC, 0] != ABSENT:
        start, end = found[_METRIC, 0], found[_METRIC, 1]
        after = members(buffer, start, end, _KEYS, found, levels, parsed)
        if after < 0:
            return _NO_OBJECT if parsed else DOUBTFUL

    name, space, tags = found[_NAME, 0], found[_NAMESPACE, 0], found[_TAGS, 0]
    if name == ABSENT or buffer[name] != 34:
        return _NO_NAME
    if space != ABSENT and buffer[space] != 34 and buffer[space] != 110:
        return _NO_NAME
    if tags != ABSENT and buffer[tags] != 123 and buffer[tags] != 110:
        return _NO_TAGS
    time = found[_TIMESTAMP, 0]
    timeless = time == ABSENT or buffer[time] == 110
    ts = 0
    if not timeless:
        if buffer[time] != 34:
            return _NO_TIMESTAMP
        ts, status = scan_rfc3339(buffer, time + 1, found[_TIMESTAMP, 1] - 1)
        if status == MALFORMED:
            return _NO_TIMESTAMP
    at = found[_KIND, 0]
    if at == ABSENT or buffer[at] != 34:
        return _NO_KIND
    temporality = which_of(buffer, at + 1, found[_KIND, 1] - 1, _KINDS)
    if temporality < 0:
        return _NO_KIND
    absolute = temporality == 1
    kind = 0
    for each in range(_COUNTER, _SKETCH + 1):
        if found[each, 0] != ABSENT:
            if kind != 0:
                return _NO_CONTENT
            kind = each
    if kind == 0 or buffer[found[kind, 0]] != 123:
        return _NO_CONTENT

    detail = _kind_of(kind, absolute)
    raw = hash_range(buffer, name, found[_NAME, 1], seed)
    raw = hash_range(buffer, space, found[_NAMESPACE, 1], raw)
    raw = hash_range(buffer, tags, found[_TAGS, 1], raw)
    raw = fold(raw ^ np.uint64(detail), _ODD)
    content, content_end = found[kind, 0], found[kind, 1]
    if members(buffer, content, content_end, _PARTS, inner, levels, parsed) < 0:
        return DOUBTFUL
    number, fate = 0.0, READ
    if kind == _SKETCH:
        fate = SKETCH
    elif kind == _COUNTER or kind == _GAUGE:
        number, fate = _number(buffer, inner[_VALUE, 0], inner[_VALUE, 1])
        if fate == MALFORMED:
            return _NO_NUMBER
        if fate == INEXACT:
            return DOUBTFUL
        fate = READ if np.isfinite(number) else NOT_FINITE
    elif kind == _SET:
        if inner[_VALUES, 0] == ABSENT or buffer[inner[_VALUES, 0]] != 91:
            return _NO_NUMBER
        number = np.float64(_length(buffer, inner[_VALUES, 0], inner[_VALUES, 1], levels))
    else:
        part = _SAMPLES
        count = 0
        if kind != _DISTRIBUTION:
            part = _BUCKETS if kind == _HISTOGRAM else _QUANTILES
            count, status = _whole(buffer, inner[_COUNT, 0], inner[_COUNT, 1])
            total, total_status = _number(buffer, inner[_SUM, 0], inner[_SUM, 1])
            if status == MALFORMED or total_status == MALFORMED:
                return _NO_NUMBER
            if total_status == INEXACT:
                return DOUBTFUL
            numbers[histogram, 0] = total if np.isfinite(total) else np.nan
            numbers[histogram, 1] = np.nan
            numbers[histogram, 2] = np.nan
            numbers[histogram, 3] = count
        if inner[part, 0] == ABSENT or buffer[inner[part, 0]] != 91:
            return _NO_NUMBER
        last, status = _segments(
            buffer, inner[part, 0], inner[part, 1], kind, count, parsed, levels, found, segment,
            numbers[histogram], bounds, weights,
        )  # fmt: skip
        if status != ACCEPTED:
            return status
        if kind == _DISTRIBUTION and last == segment:
            fate = NO_VALUE
        elif not timeless:
            numbers[histogram, 4] = last - segment
            histogram_raws[histogram] = raw
            note(histograms, histogram, message, ts, start, after, 0, 0, detail, READ)
            filled[1] = histogram + 1
            filled[2] = last
            return ACCEPTED
    raws[row] = raw
    values[row] = number
    note(rows, row, message, ts, start, after, 0, 0, detail, NO_TIME if timeless else fate)
    filled[0] = row + 1
    return ACCEPTED


@uncounted
def _kernel(
    buffer: NDArray[np.uint8],
    ends: NDArray[np.int64],
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
    histograms: NDArray[np.int64],
    histogram_raws: NDArray[np.uint64],
    numbers: NDArray[np.float64],
    bounds: NDArray[np.float64],
    weights: NDArray[np.int64],
) -> int:
    """Read messages from ``first`` on, and return the one that there was no room for."""
    for message in range(first, len(ends) - 1):
        end = ends[message + 1]
        start = skip_space(buffer, ends[message], end)
        code = _message(
            buffer, start, end, message, parsed, seed, levels, found, inner, filled, rows, raws, values,
            histograms, histogram_raws, numbers, bounds, weights,
        )  # fmt: skip
        if code == FULL:
            return message
        status[message] = code
    return len(ends) - 1


def _stream(document: Any, _: str, kind: int) -> Stream:
    space = document.get("namespace")
    name = f"{space}_{document['name']}" if space else document["name"]
    tags = document.get("tags") or {}
    return Stream(name, kind, {key: _of_tag(value) for key, value in tags.items()})


def _of_tag(value: Any) -> Any:
    """Return the one value of a tag, or the sorted list of them."""
    if not isinstance(value, list):
        return value
    several = sorted({each for each in value if isinstance(each, str)})
    return several if len(several) > 1 else next(iter(several), None)


_FORMAT: Final = Format(_kernel, _REASONS, _stream, histograms=True)
