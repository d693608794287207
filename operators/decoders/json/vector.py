"""Metrics of Vector as JSON: its codecs ``json`` and ``native_json``, one metric a message.

    {"name":"foos","namespace":"vector","tags":{"key1":"v"},"timestamp":"2018-11-14T08:09:10Z",
     "kind":"incremental","counter":{"value":100.0}}
    {"metric":{...}}

The metric is ``<namespace>_<name>``. What it holds becomes:

====================  =============================================================================
counter               a delta if it is incremental, cumulative with an unknown start if absolute;
                      a negative delta is skipped, as a counter does not fall
gauge                 a gauge; an incremental one is a change, and a delta: what a window tells is
                      by how much it changed. Both of one name are two series, told apart by the
                      label ``metric_kind``
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

# ruff: noqa: PLR0911, PLR0912, PLR1714 -- each fault of a message ends its scan

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.scanning import (
    INEXACT,
    MALFORMED,
    READ,
    Word,
    fold,
    hash_range,
    inlined,
    uncounted,
)
from operators.contracts.frames import (
    CUMULATIVE,
    CUMULATIVE_HISTOGRAM,
    DELTA,
    DELTA_HISTOGRAM,
    GAUGE,
    SUMMARY,
)
from operators.decoders.json.messages import Format, JsonDecoder, Stream
from operators.decoders.json.page import (
    FULL,
    HISTOGRAMS,
    NEGATIVE,
    NO_TIME,
    NO_VALUE,
    NOT_FINITE,
    ROWS,
    SEGMENTS,
    SKETCH,
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
    key_table,
    members,
    next_element,
    scan_number,
    scan_text_number,
    skip_space,
    skip_value,
    which_of,
)
from operators.decoders.json.times import scan_rfc3339

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
_MOST_OBSERVATIONS: Final = 2**53
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


@inlined
def _is_count(number: float) -> bool:
    """Tell whether a number can be one of observations: whole, and exact as a double."""
    return 0 <= number <= _MOST_OBSERVATIONS and number == np.floor(number)


@inlined
def _kind_of(content: int, absolute: bool) -> int:
    """Return the kind of a frame that a kind of Vector's is."""
    if content == _COUNTER:
        return CUMULATIVE if absolute else DELTA
    if content == _GAUGE:
        return GAUGE if absolute else DELTA
    if content == _SET:
        return GAUGE
    if content == _SUMMARY:
        return SUMMARY
    return CUMULATIVE_HISTOGRAM if absolute else DELTA_HISTOGRAM


@inlined
def _length(page: Page, start: int, end: int) -> int:
    """Return the number of elements of a checked array."""
    at = first_element(page.buffer, start, end)
    count = 0
    while at > 0:
        count += 1
        at = next_element(page.buffer, skip_value(page.buffer, at, end, page.levels), end)
    return count


@inlined
def _add_segment(page: Page, lower: float, upper: float, weight: int) -> None:
    segment = page.segments[page.used[SEGMENTS]]
    segment.lower = lower
    segment.upper = upper
    segment.weight = weight
    page.used[SEGMENTS] += 1


@inlined
def _add_sample(page: Page, histogram: Any, place: float, weight: int) -> int:
    """Add a sample, which is a segment of its own; return the status of the message."""
    if not np.isfinite(place):
        return _NO_NUMBER
    if weight > 0:
        _add_segment(page, place, place, weight)
        histogram.sum += place * weight
        histogram.min = min(histogram.min, place)
        histogram.max = max(histogram.max, place)
        histogram.count += weight
    return ACCEPTED


@inlined
def _add_bucket(page: Page, below: float, limit: float, weight: int) -> int:
    """Add the bucket that ends at ``limit``, where the one before it ends at ``below``."""
    if limit <= below:
        return _NO_ORDER
    if weight > 0:
        _add_segment(page, below, limit, weight)
    return ACCEPTED


@inlined
def _add_quantile(page: Page, quantile: float, value: float) -> int:
    if not 0 <= quantile <= 1:
        return _NO_NUMBER
    if np.isfinite(value):
        _add_segment(page, quantile, value, 0)
    return ACCEPTED


@inlined
def _add_rest(page: Page, below: float, rest: int) -> int:
    """Add what a histogram counts beyond its last bucket; return the status of the message."""
    if rest < 0 or (rest > 0 and below == np.inf):
        return _NO_ORDER
    if rest > 0:
        _add_segment(page, below, np.inf, rest)
    return ACCEPTED


@inlined
def _segments(page: Page, histogram: Any, content: int, start: int, end: int) -> int:
    """Read an array of samples, buckets or quantiles; return the status of the message.

    Args:
        page: whose segments are added to.
        histogram: the record that they are of. Samples are summed up in it.
        content: what kind of metric they are in.
        start, end: the array.
    """
    buffer, found = page.buffer, page.found
    below = -np.inf  # where the bucket before ends
    held = 0
    at = first_element(buffer, start, end)
    while at > 0:
        if page.used[SEGMENTS] >= len(page.segments) - 1:  # one more for the rest
            return FULL
        if content == _DISTRIBUTION:
            after = members(buffer, at, end, _SAMPLE, found, page.levels, page.parsed)
        elif content == _HISTOGRAM:
            after = members(buffer, at, end, _BUCKET, found, page.levels, page.parsed)
        else:
            after = members(buffer, at, end, _QUANTILE, found, page.levels, page.parsed)
        if after < 0:
            return or_doubtful(page, _NO_NUMBER)
        place, place_status = _number(buffer, found[0, 0], found[0, 1])
        amount, amount_status = _number(buffer, found[1, 0], found[1, 1])
        if place_status == MALFORMED or amount_status == MALFORMED:
            return _NO_NUMBER
        if place_status == INEXACT or amount_status == INEXACT:
            return DOUBTFUL
        if content == _SUMMARY:
            status = _add_quantile(page, place, amount)
        else:
            held += int(amount) if _is_count(amount) else _MOST_OBSERVATIONS + 1
            if held > _MOST_OBSERVATIONS:
                return _NO_NUMBER  # the count is a double on its way
            if content == _DISTRIBUTION:
                status = _add_sample(page, histogram, place, int(amount))
            else:
                limit = np.inf if np.isnan(place) else place  # JSON has no other way to say so
                status = _add_bucket(page, below, limit, int(amount))
                below = limit
        if status != ACCEPTED:
            return status
        at = next_element(buffer, after, end)
    return _add_rest(page, below, histogram.count - held) if content == _HISTOGRAM else ACCEPTED


@inlined
def _distribution(page: Page, histogram: Any, content: int) -> int:
    """Read a distribution, histogram or summary, whose parts are in ``page.inner``.

    Returns:
        The status of the message. Fills in the histogram's numbers, and adds its segments.
    """
    buffer, inner = page.buffer, page.inner
    part = _SAMPLES
    histogram.count = 0
    histogram.sum, histogram.min, histogram.max = 0.0, np.inf, -np.inf  # a sum over the samples
    if content != _DISTRIBUTION:
        part = _BUCKETS if content == _HISTOGRAM else _QUANTILES
        count, count_status = _number(buffer, inner[_COUNT, 0], inner[_COUNT, 1])
        total, total_status = _number(buffer, inner[_SUM, 0], inner[_SUM, 1])
        if count_status == MALFORMED or not _is_count(count) or total_status == MALFORMED:
            return _NO_NUMBER
        if total_status == INEXACT:
            return DOUBTFUL
        histogram.count = int(count)
        histogram.sum, histogram.min, histogram.max = total, np.nan, np.nan
    if inner[part, 0] == ABSENT or buffer[inner[part, 0]] != 91:
        return _NO_NUMBER
    first = page.used[SEGMENTS]
    status = _segments(page, histogram, content, inner[part, 0], inner[part, 1])
    histogram.segments = page.used[SEGMENTS] - first
    return status


@inlined
def _single(page: Page, content: int) -> tuple[float, int, int]:
    """Read a counter, gauge, set or sketch, whose parts are in ``page.inner``.

    Returns:
        Its value, what becomes of it, and the status of the message.
    """
    buffer, inner = page.buffer, page.inner
    if content == _SKETCH:
        return 0.0, SKETCH, ACCEPTED
    if content == _SET:
        start, end = inner[_VALUES, 0], inner[_VALUES, 1]
        if start == ABSENT or buffer[start] != 91:
            return 0.0, READ, _NO_NUMBER
        return float(_length(page, start, end)), READ, ACCEPTED
    number, status = _number(buffer, inner[_VALUE, 0], inner[_VALUE, 1])
    if status == MALFORMED:
        return 0.0, READ, _NO_NUMBER
    if status == INEXACT:
        return 0.0, READ, DOUBTFUL
    return number, (READ if np.isfinite(number) else NOT_FINITE), ACCEPTED


@inlined
def _find_metric(page: Page, start: int, end: int) -> tuple[int, int]:
    """Have ``members`` find the parts of a metric, which may be the one member of an object.

    Returns:
        Where it begins and ends; it ends at -1 if it is no object, or doubtful.
    """
    buffer, found = page.buffer, page.found
    after = members(buffer, start, end, _KEYS, found, page.levels, page.parsed)
    if after < 0 or skip_space(buffer, after, end) != end:
        return start, -1
    if found[_METRIC, 0] != ABSENT:
        start, end = found[_METRIC, 0], found[_METRIC, 1]
        after = members(buffer, start, end, _KEYS, found, page.levels, page.parsed)
    return start, after


@inlined
def _check_names(buffer: NDArray[np.uint8], found: NDArray[np.int64]) -> int:
    """Return ``ACCEPTED``, or what is wrong with name, namespace or tags."""
    name, space, tags = found[_NAME, 0], found[_NAMESPACE, 0], found[_TAGS, 0]
    if name == ABSENT or buffer[name] != 34:
        return _NO_NAME
    if space != ABSENT and buffer[space] != 34 and buffer[space] != 110:
        return _NO_NAME
    if tags != ABSENT and buffer[tags] != 123 and buffer[tags] != 110:
        return _NO_TAGS
    return ACCEPTED


@inlined
def _moment(buffer: NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """Return the timestamp; and ``READ``, ``MALFORMED``, or ``NO_TIME`` where there is none."""
    if at == ABSENT or buffer[at] == 110:
        return 0, NO_TIME
    if buffer[at] != 34:
        return 0, MALFORMED
    return scan_rfc3339(buffer, at + 1, end - 1)


@inlined
def _temporality(buffer: NDArray[np.uint8], at: int, end: int) -> int:
    """Return 0 for what is incremental, 1 for what is absolute, -1 for anything else."""
    if at == ABSENT or buffer[at] != 34:
        return -1
    return which_of(buffer, at + 1, end - 1, _KINDS)


@inlined
def _content(buffer: NDArray[np.uint8], found: NDArray[np.int64]) -> int:
    """Return what a metric holds, as a number of a key; 0 if that is none or several things."""
    content = 0
    for each in range(_COUNTER, _SKETCH + 1):
        if found[each, 0] != ABSENT:
            if content != 0:
                return 0
            content = each
    return content if content and buffer[found[content, 0]] == 123 else 0


@inlined
def _identity(page: Page, kind: int) -> Word:
    """Return the hash of all that identifies a series: its names, its tags, its kind."""
    found = page.found
    raw = page.seed
    for part in range(_NAME, _TAGS + 1):
        raw = hash_range(page.buffer, found[part, 0], found[part, 1], raw)
    return fold(raw ^ np.uint64(kind), _ODD)


@inlined
def _read(page: Page, message: int, start: int, end: int) -> int:
    """Read one metric; return the status of the message."""
    buffer, found, used = page.buffer, page.found, page.used
    if used[ROWS] >= len(page.rows) or used[HISTOGRAMS] >= len(page.histograms):
        return FULL
    start, after = _find_metric(page, start, end)
    if after < 0:
        return or_doubtful(page, _NO_OBJECT)
    status = _check_names(buffer, found)
    if status != ACCEPTED:
        return status
    ts, time_status = _moment(buffer, found[_TIMESTAMP, 0], found[_TIMESTAMP, 1])
    if time_status == MALFORMED:
        return _NO_TIMESTAMP
    temporality = _temporality(buffer, found[_KIND, 0], found[_KIND, 1])
    if temporality < 0:
        return _NO_KIND
    content = _content(buffer, found)
    if content == 0:
        return _NO_CONTENT
    kind = _kind_of(content, temporality == 1)
    raw = _identity(page, kind)
    place, place_end = found[content, 0], found[content, 1]
    if members(buffer, place, place_end, _PARTS, page.inner, page.levels, page.parsed) < 0:
        return DOUBTFUL

    number, fate = 0.0, READ
    if _DISTRIBUTION <= content <= _SUMMARY:
        histogram = page.histograms[used[HISTOGRAMS]]
        first = used[SEGMENTS]
        status = _distribution(page, histogram, content)
        if status != ACCEPTED:
            return status
        fate = NO_VALUE if content == _DISTRIBUTION and used[SEGMENTS] == first else READ
        if fate == READ and time_status == READ:
            note(histogram, message, ts, start, after, kind, raw)
            used[HISTOGRAMS] += 1
            return ACCEPTED
        used[SEGMENTS] = first  # it is skipped, and a row says so
    else:
        number, fate, status = _single(page, content)
        if status != ACCEPTED:
            return status
        if content == _COUNTER and kind == DELTA and number < 0:
            fate = NEGATIVE
    row = add_row(page, number, NO_TIME if time_status == NO_TIME else fate)
    note(row, message, ts, start, after, kind, raw)
    return ACCEPTED


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


class VectorJson(JsonDecoder):
    """Decodes one metric a message; sketches are counted as skipped."""

    form = Format(kernel_of(_read), _REASONS, _stream, histograms=True)
