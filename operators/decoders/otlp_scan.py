"""One pass over OTLP metrics in protobuf: what each data point holds, and the hash of who it is of.

The scan follows the nesting (resources, scopes, metrics, data points) and reads the bytes of a
point once. What identifies a series is hashed as it stands on the wire and not decoded: names and
attributes are read where they are, in the poll's buffer, for identities that are new.

A message that is not of the format leaves nothing behind. As generated parsers do, a field that
stands twice counts with its last value, messages merge, and of a oneof the last one wins; a known
field of another wire type is refused, as prost refuses it.
"""

# ruff: noqa: PLR0911, PLR0912, PLR0915, PLR1714, SIM109 -- a parser is a list of fields and errors

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.decoders import protobuf
from operators.decoders.otlp_distributions import (
    DISTRIBUTION,
    EXPLICIT,
    EXPONENTIAL,
    QUANTILES,
)
from operators.decoders.otlp_kinds import (
    EXPONENTIAL_HISTOGRAM_TYPE,
    GAUGE_TYPE,
    HISTOGRAM_TYPE,
    NO_RECORDED_VALUE,
    SUM_TYPE,
    SUMMARY_TYPE,
    identify,
    kind_of,
)
from operators.decoders.protobuf import (
    CUT_OFF,
    FIXED64,
    LENGTH,
    NOT_UTF8,
    VARINT,
    WRONG_TYPE,
    double_at,
    hash_bytes,
    read_length,
    read_tag,
    read_varint,
    signed,
    skip,
    valid_utf8,
    word_at,
    zigzag,
)
from operators.decoders.scanning import Word, compiled, fold

__all__ = ["ATTRIBUTES_FIELD", "REASONS", "Columns", "Scan", "scan"]

METRIC: Final = np.dtype(
    [
        ("message", np.uint32),
        ("kind", np.uint8),
        ("resource", np.int64),  # rows of the poll's resources and scopes
        ("scope", np.int64),
        ("name", np.int64),
        ("name_end", np.int64),
        ("unit", np.int64),
        ("unit_end", np.int64),
        ("first_point", np.int64),  # row among the number points
    ],
    align=True,
)

EMPTY: Final = -100
NOTHING: Final = -101
REASONS: Final[Mapping[int, str]] = {
    **protobuf.REASONS,
    EMPTY: "empty message",
    NOTHING: "no resource metrics in it",
}

ATTRIBUTES_FIELD: Final = {"number": 7, EXPLICIT: 9, EXPONENTIAL: 1, QUANTILES: 7}
"""Number of the field that holds the attributes of a data point."""

# Rows of the counters.
_RESOURCES: Final = 0
_SCOPES: Final = 1
_METRICS: Final = 2
_POINTS: Final = 3
_DISTRIBUTIONS: Final = 4
_COUNTS: Final = 5
_NUMBERS: Final = 6
_STALE: Final = 7
_NO_VALUE: Final = 8
_NOT_FINITE: Final = 9
_NO_TIME: Final = 10
_COUNTERS: Final = 11
_SKIPPED: Final = {
    "stale": _STALE, "no_value": _NO_VALUE, "not_finite": _NOT_FINITE, "no_time": _NO_TIME
}  # fmt: skip

# Tags of nested messages: ResourceMetrics, Resource and so on down to data points are field 1 of
# their parents, ScopeMetrics and Metric are field 2.
_FIRST: Final = 1 << 3 | LENGTH
_SECOND: Final = 2 << 3 | LENGTH

_NUMBER_ATTRIBUTES: Final = 7 << 3 | LENGTH
_NUMBER_FLAGS: Final = 8 << 3 | VARINT

_LATEST: Final = np.uint64(2**63 - 1)
_SEED: Final = np.uint64(0x2545F4914F6CDD1D)
_MIX: Final = np.uint64(0x589965CC75374CC3)


class Columns(NamedTuple):
    """The arrays that the scan fills.

    Two columns with a start and an end in the buffer have ``resources`` and ``scopes``, as they
    come, ``at`` for number points and ``distribution_at`` for the others. ``message`` to ``at``
    have a row a number point; ``distributions`` refer to ``counts`` and ``numbers``.
    """

    resources: NDArray[np.int64]
    scopes: NDArray[np.int64]
    metrics: NDArray[Any]
    message: NDArray[np.uint32]
    raw: NDArray[np.uint64]
    ts: NDArray[np.int64]
    start: NDArray[np.int64]
    value: NDArray[np.float64]
    at: NDArray[np.int64]
    distributions: NDArray[Any]
    distribution_at: NDArray[np.int64]
    counts: NDArray[np.uint64]
    numbers: NDArray[np.float64]


class Scan(NamedTuple):
    """What a poll held.

    ``status`` is 0 or a key of ``REASONS`` for each message; ``skipped`` counts number points that
    carry no value, by reason.
    """

    status: NDArray[np.int64]
    skipped: dict[str, int]
    columns: Columns


def scan(buffer: NDArray[np.uint8], bounds: NDArray[np.int64]) -> Scan:
    """Scan the messages that lie between ``bounds`` in ``buffer``, padded as ``joined`` does."""
    room = np.zeros(_COUNTERS, np.int64)
    base = buffer.ctypes.data
    _measure(base, bounds, room)
    points = int(room[_POINTS])
    columns = Columns(
        resources=np.empty((int(room[_RESOURCES]), 2), np.int64),
        scopes=np.empty((int(room[_SCOPES]), 2), np.int64),
        metrics=np.empty(int(room[_METRICS]), METRIC),
        message=np.empty(points, np.uint32),
        raw=np.empty(points, np.uint64),
        ts=np.empty(points, np.int64),
        start=np.empty(points, np.int64),
        value=np.empty(points),
        at=np.empty((points, 2), np.int64),
        distributions=np.empty(int(room[_DISTRIBUTIONS]), DISTRIBUTION),
        distribution_at=np.empty((int(room[_DISTRIBUTIONS]), 2), np.int64),
        counts=np.empty(int(room[_COUNTS]), np.uint64),
        numbers=np.empty(int(room[_NUMBERS])),
    )
    status = np.zeros(len(bounds) - 1, np.int64)
    used = np.zeros(_COUNTERS, np.int64)
    _scan(base, bounds, columns, used, status)
    sizes: tuple[int, ...] = (
        _RESOURCES, _SCOPES, _METRICS, *[_POINTS] * 6, _DISTRIBUTIONS, _DISTRIBUTIONS, _COUNTS,
        _NUMBERS,
    )  # fmt: skip
    arrays: tuple[NDArray[Any], ...] = tuple(columns)
    filled = [array[: used[size]] for array, size in zip(arrays, sizes, strict=True)]
    skipped = {name: int(used[row]) for name, row in _SKIPPED.items() if used[row]}
    return Scan(status, skipped, Columns(*filled))


@compiled
def _next(at: int, end: int, tag: int) -> tuple[int, int]:
    """Return where the content of the next field with ``tag`` begins and ends.

    Both are negative if there is none, or the message is not well formed.
    """
    while at < end:
        found, at = read_tag(at, end)
        if at < 0:
            break
        if found == tag:
            return read_length(at, end)
        at = skip(found, at, end)
        if at < 0:
            break
    return -1, -1


@compiled
def _measure(base: int, bounds: NDArray[np.int64], room: NDArray[np.int64]) -> None:
    """Count what the scan may meet: in a message that is not of the format, rather too much."""
    for i in range(len(bounds) - 1):
        resource, resource_end = _next(base + bounds[i], base + bounds[i + 1], _FIRST)
        while resource >= 0:
            room[_RESOURCES] += 1
            scope, scope_end = _next(resource, resource_end, _SECOND)
            while scope >= 0:
                room[_SCOPES] += 1
                metric, metric_end = _next(scope, scope_end, _SECOND)
                while metric >= 0:
                    room[_METRICS] += 1
                    _measure_metric(metric, metric_end, room)
                    metric, metric_end = _next(metric_end, scope_end, _SECOND)
                scope, scope_end = _next(scope_end, resource_end, _SECOND)
            resource, resource_end = _next(resource_end, base + bounds[i + 1], _FIRST)


@compiled
def _measure_metric(at: int, end: int, room: NDArray[np.int64]) -> None:
    while at < end:
        tag, at = read_tag(at, end)
        if at < 0:
            return
        if not _is_data(tag):
            at = skip(tag, at, end)
            if at < 0:
                return
            continue
        data, at = read_length(at, end)
        if at < 0:
            return
        point, point_end = _next(data, at, _FIRST)
        while point >= 0:
            if tag >> 3 <= SUM_TYPE:
                room[_POINTS] += 1
            else:
                room[_DISTRIBUTIONS] += 1
                size = point_end - point
                # A bucket of an exponential histogram takes a byte at least, other counts and
                # bounds eight; an empty quantile takes two, and is two numbers.
                room[_COUNTS] += size if tag >> 3 == EXPONENTIAL_HISTOGRAM_TYPE else size // 8
                room[_NUMBERS] += size if tag >> 3 == SUMMARY_TYPE else size // 8
            point, point_end = _next(point_end, at, _FIRST)


@compiled
def _is_data(tag: int) -> bool:
    """Tell whether a tag is one of the oneof ``data`` of Metric."""
    number = tag >> 3
    known = (
        number == GAUGE_TYPE or number == SUM_TYPE or number == HISTOGRAM_TYPE
        or number == EXPONENTIAL_HISTOGRAM_TYPE or number == SUMMARY_TYPE
    )  # fmt: skip
    return known and tag & 7 == LENGTH


@compiled
def _scan(
    base: int,
    bounds: NDArray[np.int64],
    columns: Columns,
    used: NDArray[np.int64],
    status: NDArray[np.int64],
) -> None:
    before = np.zeros(_COUNTERS, np.int64)
    for message in range(len(bounds) - 1):
        _set(before, used)
        begin, end = base + bounds[message], base + bounds[message + 1]
        failed = _check_message(begin, end)
        if not failed:
            failed = _scan_message(base, begin, end, message, columns, used)
        if failed:
            status[message] = failed
            _set(used, before)


@compiled
def _set(counters: NDArray[np.int64], to: NDArray[np.int64]) -> None:
    for row in range(_COUNTERS):
        counters[row] = to[row]


@compiled
def _check_message(at: int, end: int) -> int:
    """Check the fields of MetricsData itself; return 0, or the reason why it is none."""
    if at == end:
        return EMPTY
    resources = 0
    while at < end:
        tag, at = read_tag(at, end)
        if at < 0:
            return at
        if tag >> 3 == 1 and tag != _FIRST:
            return WRONG_TYPE
        at = skip(tag, at, end)
        if at < 0:
            return at
        resources += 1 if tag == _FIRST else 0
    return 0 if resources else NOTHING


@compiled
def _scan_message(
    base: int,
    begin: int,
    end: int,
    message: int,
    columns: Columns,
    used: NDArray[np.int64],
) -> int:
    """Scan MetricsData; return 0, or the reason why it is none.

    All levels down to the metrics are loops in this one function: the arrays of ``columns`` are
    not handed on where there are many points.
    """
    before = np.zeros(_COUNTERS, np.int64)
    resource, resource_end = _next(begin, end, _FIRST)
    while resource >= 0:
        start, stop, failed = _find_header(resource, resource_end)
        if failed:
            return failed
        row = used[_RESOURCES]
        columns.resources[row, 0], columns.resources[row, 1] = start - base, stop - base
        used[_RESOURCES] += 1
        of_resource = hash_bytes(start, stop, _SEED)
        scope, scope_end = _next(resource, resource_end, _SECOND)
        while scope >= 0:
            start, stop, failed = _find_header(scope, scope_end)
            if failed:
                return failed
            row = used[_SCOPES]
            columns.scopes[row, 0], columns.scopes[row, 1] = start - base, stop - base
            used[_SCOPES] += 1
            of_scope = hash_bytes(start, stop, of_resource)
            at, metric_end = _next(scope, scope_end, _SECOND)
            while at >= 0:
                metric, failed = _read_metric(at, metric_end, of_scope)
                if failed:
                    return failed
                row = used[_METRICS]
                columns.metrics[row].message = message
                columns.metrics[row].kind = metric.kind
                columns.metrics[row].resource = used[_RESOURCES] - 1
                columns.metrics[row].scope = used[_SCOPES] - 1
                columns.metrics[row].name = metric.name - base
                columns.metrics[row].name_end = metric.name_end - base
                columns.metrics[row].unit = metric.unit - base
                columns.metrics[row].unit_end = metric.unit_end - base
                columns.metrics[row].first_point = used[_POINTS]
                used[_METRICS] += 1

                of_type = 0
                if metric.turns > 1:
                    _set(before, used)
                while at < metric_end:
                    tag, at = read_tag(at, metric_end)
                    if not _is_data(tag):
                        at = skip(tag, at, metric_end)
                        continue
                    data, at = read_length(at, metric_end)
                    if of_type != tag >> 3:
                        # Another one of the oneof: what stood there before does not count.
                        of_type = tag >> 3
                        if metric.turns > 1:
                            _set(used, before)
                    point, point_end = _next(data, at, _FIRST)
                    while point >= 0:
                        if of_type <= SUM_TYPE:
                            number, failed = _read_number(point, point_end, metric.hash)
                            if number.skipped:
                                used[number.skipped] += 1
                            elif not failed:
                                row = used[_POINTS]
                                columns.message[row] = message
                                columns.raw[row] = number.raw
                                columns.ts[row] = number.ts
                                columns.start[row] = number.start
                                columns.value[row] = number.value
                                columns.at[row, 0] = point - base
                                columns.at[row, 1] = point_end - base
                                used[_POINTS] = row + 1
                        else:
                            row = used[_DISTRIBUTIONS]
                            columns.distributions[row].message = message
                            columns.distribution_at[row, 0] = point - base
                            columns.distribution_at[row, 1] = point_end - base
                            failed = _scan_distribution(
                                point, point_end, of_type, metric.hash, columns, used
                            )
                        if failed:
                            return failed
                        point, point_end = _next(point_end, at, _FIRST)
                at, metric_end = _next(metric_end, scope_end, _SECOND)
            scope, scope_end = _next(scope_end, resource_end, _SECOND)
        resource, resource_end = _next(resource_end, end, _FIRST)
    return 0


@compiled
def _find_header(at: int, end: int) -> tuple[int, int, int]:
    """Return where the last field 1 begins and ends (0 and 0 without), and a reason or 0.

    Both ResourceMetrics and ScopeMetrics have a header as field 1 and their children as field 2.
    """
    first = first_end = 0
    while at < end:
        tag, at = read_tag(at, end)
        if at < 0:
            return 0, 0, at
        if tag == _FIRST:
            first, at = read_length(at, end)
            first_end = at
        elif tag >> 3 <= 2 and tag != _SECOND:
            return 0, 0, WRONG_TYPE
        else:
            at = skip(tag, at, end)
        if at < 0:
            return 0, 0, at
    return first, first_end, 0


class _Metric(NamedTuple):
    """What a metric says of all its points; addresses of texts, 0 where there is none."""

    name: int
    name_end: int
    unit: int
    unit_end: int
    kind: int
    hash: Word
    turns: int  # 1, unless the oneof holds one thing and then another


@compiled
def _read_metric(at: int, end: int, mixed: Word) -> tuple[_Metric, int]:
    """Read the header of a metric; return it, and 0 or the reason why it is none.

    ``mixed`` is the hash of resource and scope.
    """
    name = name_end = unit = unit_end = at
    of_type = temporality = monotonic = turns = failed = 0
    while at < end and not failed:
        tag, at = read_tag(at, end)
        if at < 0:
            failed = at
            break
        number = tag >> 3
        known = _is_data(number << 3 | LENGTH) or number == 1 or number == 3
        if known and tag & 7 != LENGTH:
            failed = WRONG_TYPE
            break
        if not known:
            at = skip(tag, at, end)
            failed = min(at, 0)
            continue
        start, at = read_length(at, end)
        if at < 0:
            failed = at
        elif number == 1 or number == 3:
            if not valid_utf8(start, at):
                failed = NOT_UTF8
            if number == 1:
                name, name_end = start, at
            else:
                unit, unit_end = start, at
        else:
            if number != of_type:
                of_type, temporality, monotonic = number, 0, 0
                turns += 1
            temporality, monotonic, failed = _header(start, at, of_type, temporality, monotonic)
    mixed = hash_bytes(name, name_end, mixed)
    mixed = hash_bytes(unit, unit_end, mixed)
    mixed = fold(mixed ^ np.uint64(identify(of_type, temporality, monotonic)), _MIX)
    kind = kind_of(of_type, temporality, monotonic)
    return _Metric(name, name_end, unit, unit_end, kind, mixed, turns), failed


@compiled
def _header(
    at: int, end: int, of_type: int, temporality: int, monotonic: int
) -> tuple[int, int, int]:
    """Read what a sum or histogram says of all its points; the third number is a reason or 0."""
    while at < end:
        tag, at = read_tag(at, end)
        if at < 0:
            return 0, 0, at
        number = tag >> 3
        if number == 1 and tag & 7 != LENGTH:
            return 0, 0, WRONG_TYPE
        tells = (number == 2 and of_type != GAUGE_TYPE and of_type != SUMMARY_TYPE) or (
            number == 3 and of_type == SUM_TYPE
        )
        if tells:
            if tag & 7 != VARINT:
                return 0, 0, WRONG_TYPE
            value, at = read_varint(at, end)
            if number == 2:
                temporality = signed(value & np.uint64(0xFFFFFFFF))
            else:
                monotonic = 1 if value else 0
        else:
            at = skip(tag, at, end)
        if at < 0:
            return 0, 0, at
    return temporality, monotonic, 0


class _Number(NamedTuple):
    """A data point of a gauge or sum; ``skipped`` is the counter of the reason, or 0."""

    skipped: int
    raw: Word
    ts: int
    start: int
    value: float


@compiled
def _read_number(at: int, end: int, mixed: Word) -> tuple[_Number, int]:
    """Read a NumberDataPoint; return it, and 0 or the reason why it is none.

    ``mixed`` is the hash of the metric.
    """
    ts: Word = np.uint64(0)
    start: Word = np.uint64(0)
    value = np.nan
    flags = has_value = failed = 0
    while at < end:
        tag, at = read_tag(at, end)
        if at < 0:
            failed = at
            break
        number = tag >> 3
        if tag == _NUMBER_ATTRIBUTES:
            attribute, at = read_length(at, end)
            if at >= 0:
                mixed = fold(mixed ^ hash_bytes(attribute, at, _SEED), _MIX)
        elif tag & 7 == FIXED64 and (2 <= number <= 4 or number == 6):
            if end - at < 8:
                failed = CUT_OFF
                break
            word = word_at(at)
            if number == 3:
                ts = word
            elif number == 2:
                start = word
            else:
                has_value = 1
                value = double_at(at) if number == 4 else float(signed(word))
            at += 8
        elif tag == _NUMBER_FLAGS:
            word, at = read_varint(at, end)
            flags = signed(word & np.uint64(NO_RECORDED_VALUE))
        elif 2 <= number <= 8 and number != 5:
            at = WRONG_TYPE
        else:
            at = skip(tag, at, end)
        if at < 0:
            failed = at
            break

    skipped = 0
    if failed:
        pass
    elif flags:
        skipped = _STALE
    elif not has_value:
        skipped = _NO_VALUE
    elif not np.isfinite(value):
        skipped = _NOT_FINITE
    elif ts == np.uint64(0):
        skipped = _NO_TIME
    # Past 2262 an int64 would turn negative; such a time is refused as future all the same.
    times = signed(min(ts, _LATEST)), signed(min(start, _LATEST))
    return _Number(skipped, mixed, times[0], times[1], value), failed


@compiled
def _scan_distribution(
    begin: int,
    end: int,
    of_type: int,
    mixed: Word,
    columns: Columns,
    used: NDArray[np.int64],
) -> int:
    """Scan a data point of a histogram or summary; return 0, or the reason why it is none.

    ``mixed`` is the hash of the metric.

    Times, count and sum have the same numbers in all three messages, the others do not.
    """
    explicit, exponential = of_type == HISTOGRAM_TYPE, of_type == EXPONENTIAL_HISTOGRAM_TYPE
    attributes = 9 if explicit else 1 if exponential else 7
    minimum = 11 if explicit else 12 if exponential else 0
    point = columns.distributions[used[_DISTRIBUTIONS]]
    point.shape = EXPLICIT if explicit else EXPONENTIAL if exponential else QUANTILES
    point.flags = 0
    point.ts = point.start = point.count = point.zero_count = np.uint64(0)
    point.min = point.max = np.nan
    point.sum = 0.0 if of_type == SUMMARY_TYPE else np.nan  # a summary's is not optional
    point.positive, point.numbers = used[_COUNTS], used[_NUMBERS]
    point.scale = point.positive_offset = point.negative_offset = 0
    point.zero_threshold = 0.0
    at = begin
    while at < end:
        tag, at = read_tag(at, end)
        if at < 0:
            return at
        number = tag >> 3
        if number == attributes:
            if tag & 7 != LENGTH:
                return WRONG_TYPE
            attribute, at = read_length(at, end)
            if at < 0:
                return at
            mixed = fold(mixed ^ hash_bytes(attribute, at, _SEED), _MIX)
        elif (
            2 <= number <= 5
            or (minimum and (number == minimum or number == minimum + 1))
            or (exponential and (number == 7 or number == 14))
        ):
            if tag & 7 != FIXED64:
                return WRONG_TYPE
            if end - at < 8:
                return CUT_OFF
            if number == 2:
                point.start = word_at(at)
            elif number == 3:
                point.ts = word_at(at)
            elif number == 4:
                point.count = word_at(at)
            elif number == 5:
                point.sum = double_at(at)
            elif number == 7:
                point.zero_count = word_at(at)
            elif number == 14:
                point.zero_threshold = double_at(at)
            elif number == minimum:
                point.min = double_at(at)
            else:
                point.max = double_at(at)
            at += 8
        elif number == (8 if of_type == SUMMARY_TYPE else 10) or (exponential and number == 6):
            if tag & 7 != VARINT:
                return WRONG_TYPE
            word, at = read_varint(at, end)
            if at < 0:
                return at
            if number == 6:
                point.scale = zigzag(word)
            else:
                point.flags = word & np.uint64(0xFFFFFFFF)
        elif explicit and (number == 6 or number == 7):
            at = _doubles_or_counts(tag, at, end, columns, used)
            if at < 0:
                return at
        elif number == 6:  # of a summary
            if tag & 7 != LENGTH:
                return WRONG_TYPE
            quantile, at = read_length(at, end)
            if at < 0:
                return at
            failed = _quantile(quantile, at, columns, used)
            if failed:
                return failed
        elif exponential and (number == 8 or number == 9):
            if tag & 7 != LENGTH:
                return WRONG_TYPE
            at = read_length(at, end)[1]
            if at < 0:
                return at
        else:
            at = skip(tag, at, end)
            if at < 0:
                return at
    if exponential:
        point.positive_offset, failed = _buckets(begin, end, 8, columns, used)
        point.positive_end = point.negative = used[_COUNTS]
        if not failed:
            point.negative_offset, failed = _buckets(begin, end, 9, columns, used)
        if failed:
            return failed
    else:
        point.positive_end = point.negative = used[_COUNTS]
    point.negative_end, point.numbers_end = used[_COUNTS], used[_NUMBERS]
    point.raw = mixed
    point.metric = used[_METRICS] - 1
    used[_DISTRIBUTIONS] += 1
    return 0


@compiled
def _doubles_or_counts(
    tag: int,
    at: int,
    end: int,
    columns: Columns,
    used: NDArray[np.int64],
) -> int:
    """Read counts (field 6) or bounds (7) of an explicit histogram, packed or one alone."""
    if tag & 7 == LENGTH:
        at, stop = read_length(at, end)
        if at < 0:
            return at
        if (stop - at) % 8:
            return CUT_OFF
    elif tag & 7 == FIXED64:
        stop = at + 8
        if stop > end:
            return CUT_OFF
    else:
        return WRONG_TYPE
    while at < stop:
        if tag >> 3 == 6:
            columns.counts[used[_COUNTS]] = word_at(at)
            used[_COUNTS] += 1
        else:
            columns.numbers[used[_NUMBERS]] = double_at(at)
            used[_NUMBERS] += 1
        at += 8
    return at


@compiled
def _quantile(at: int, end: int, columns: Columns, used: NDArray[np.int64]) -> int:
    """Read a ValueAtQuantile; return 0, or the reason why it is none."""
    quantile = value = 0.0
    while at < end:
        tag, at = read_tag(at, end)
        if at < 0:
            return at
        if tag >> 3 <= 2:
            if tag & 7 != FIXED64:
                return WRONG_TYPE
            if end - at < 8:
                return CUT_OFF
            if tag >> 3 == 1:
                quantile = double_at(at)
            else:
                value = double_at(at)
            at += 8
        else:
            at = skip(tag, at, end)
            if at < 0:
                return at
    row = used[_NUMBERS]
    columns.numbers[row], columns.numbers[row + 1] = quantile, value
    used[_NUMBERS] += 2
    return 0


@compiled
def _buckets(
    at: int,
    end: int,
    side: int,
    columns: Columns,
    used: NDArray[np.int64],
) -> tuple[int, int]:
    """Read the Buckets in field ``side``; return their offset, and 0 or a reason."""
    offset = 0
    buckets, stop = _next(at, end, side << 3 | LENGTH)
    while buckets >= 0:
        at = buckets
        while at < stop:
            tag, at = read_tag(at, stop)
            if at < 0:
                return 0, at
            if tag == (1 << 3 | VARINT):
                word, at = read_varint(at, stop)
                offset = zigzag(word)
            elif tag == (2 << 3 | VARINT) or tag == (2 << 3 | LENGTH):
                last = at
                if tag & 7 == LENGTH:
                    at, last = read_length(at, stop)
                # Alone, a count is the one integer that stands here.
                alone = tag & 7 == VARINT
                while at >= 0 and (at < last or alone):
                    word, at = read_varint(at, stop if alone else last)
                    if at >= 0:
                        columns.counts[used[_COUNTS]] = word
                        used[_COUNTS] += 1
                    alone = False
            elif tag >> 3 <= 2:
                return 0, WRONG_TYPE
            else:
                at = skip(tag, at, stop)
            if at < 0:
                return 0, at
        buckets, stop = _next(stop, end, side << 3 | LENGTH)
    return offset, 0
