"""One pass over OTLP metrics in protobuf: what each data point holds, and the hash of who it is of.

The scan follows the nesting (resources, scopes, metrics, data points) and reads the bytes of a
point once. What identifies a series is hashed as it stands on the wire and not decoded: names and
attributes are read where they are, in the poll's buffer, for identities that are new.

A message that is not of the format leaves nothing behind. As in generated parsers, a field that
stands twice counts with its last value, the points of equal types of a metric add up, and of a
oneof the last one wins. Of two resources or scopes the last one counts, where parsers merge them;
and a known field of another wire type is refused, as Go's and Rust's do, where others read over it.
"""

# ruff: noqa: PLR0912, PLR0915, PLR1714 -- a parser is a list of fields and errors

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.columns.scanning import Word, compiled
from operators.decoders.otlp.aggregate import scan_distribution
from operators.decoders.otlp.distributions import DISTRIBUTION, EXPLICIT, EXPONENTIAL, QUANTILES
from operators.decoders.otlp.kinds import EXPONENTIAL_HISTOGRAM_TYPE, SUM_TYPE, SUMMARY_TYPE
from operators.decoders.otlp.levels import (
    COUNTERS,
    COUNTS,
    DISTRIBUTIONS,
    FIRST,
    METRIC,
    METRICS,
    NEGATIVE,
    NOT_FINITE,
    NUMBERS,
    POINTS,
    RESOURCES,
    SCOPES,
    SECOND,
    SKIPPED,
    STALE,
    UNUSUAL,
    Columns,
    is_data,
    next_field,
)
from operators.decoders.otlp.metric import find_header, read_metric
from operators.decoders.otlp.number import read_number
from operators.decoders.protobuf.reading import REASONS as ENCODING_REASONS
from operators.decoders.protobuf.reading import WRONG_TYPE, hash_bytes, read_length, read_tag, skip

__all__ = ["ATTRIBUTES_FIELD", "REASONS", "Scan", "scan"]


_MARKER: Final = float(np.array([0x7FF0000000000002], np.uint64).view(np.float64)[0])
"""Prometheus' staleness marker, which is what a point without a value is there."""

# Chosen anew for each process, so that nobody can write two series whose hashes are the same.
_SEED: Final = np.uint64(secrets.randbits(64))

EMPTY: Final = -100
NOTHING: Final = -101
REASONS: Final[Mapping[int, str]] = {
    **ENCODING_REASONS,
    EMPTY: "empty message",
    NOTHING: "no resource metrics in it",
}
"""Why a message, or what is in it, is not of the format; keys are negative."""

ATTRIBUTES_FIELD: Final = {"number": 7, EXPLICIT: 9, EXPONENTIAL: 1, QUANTILES: 7}
"""Number of the field that holds the attributes of a data point."""


class Scan(NamedTuple):
    """What a poll held.

    ``status`` is 0 or a key of ``REASONS`` for each message; ``skipped`` counts number points that
    carry no value, by reason. ``unusual`` has those that are stale or not finite, in the columns of
    number points: ``start`` is the row of the metric.
    """

    status: NDArray[np.int64]
    skipped: dict[str, int]
    columns: Columns
    unusual: Columns


def scan(buffer: NDArray[np.uint8], bounds: NDArray[np.int64]) -> Scan:
    """Scan the messages that lie between ``bounds`` in ``buffer``, padded as ``joined`` does."""
    room = np.zeros(COUNTERS, np.int64)
    base = buffer.ctypes.data
    measure(base, bounds, room)
    points = int(room[POINTS])
    columns = Columns(
        resources=np.empty((int(room[RESOURCES]), 2), np.int64),
        scopes=np.empty((int(room[SCOPES]), 2), np.int64),
        metrics=np.empty(int(room[METRICS]), METRIC),
        message=np.empty(points, np.uint32),
        raw=np.empty(points, np.uint64),
        ts=np.empty(points, np.int64),
        start=np.empty(points, np.int64),
        value=np.empty(points),
        at=np.empty((points, 2), np.int64),
        distributions=np.empty(int(room[DISTRIBUTIONS]), DISTRIBUTION),
        distribution_at=np.empty((int(room[DISTRIBUTIONS]), 2), np.int64),
        counts=np.empty(int(room[COUNTS]), np.uint64),
        numbers=np.empty(int(room[NUMBERS])),
    )
    status = np.zeros(len(bounds) - 1, np.int64)
    used = np.zeros(COUNTERS, np.int64)
    _scan(base, bounds, _SEED, columns, used, status)
    sizes: tuple[int, ...] = (
        RESOURCES, SCOPES, METRICS, *[POINTS] * 6, DISTRIBUTIONS, DISTRIBUTIONS, COUNTS,
        NUMBERS,
    )  # fmt: skip
    arrays: tuple[NDArray[Any], ...] = tuple(columns)
    filled = [array[: used[size]] for array, size in zip(arrays, sizes, strict=True)]
    skipped = {name: int(used[row]) for name, row in SKIPPED.items() if used[row]}
    found = Columns(*filled)
    last = int(used[UNUSUAL])
    unusual = found._replace(
        **{
            name: getattr(columns, name)[points - last :][::-1]
            for name in ("message", "raw", "ts", "start", "value", "at")
        }
    )
    return Scan(status, skipped, found, unusual)


@compiled
def measure(base: int, bounds: NDArray[np.int64], room: NDArray[np.int64]) -> None:
    """Count what the scan may meet: in a message that is not of the format, rather too much."""
    for i in range(len(bounds) - 1):
        resource, resource_end = next_field(base + bounds[i], base + bounds[i + 1], FIRST)
        while resource >= 0:
            room[RESOURCES] += 1
            scope, scope_end = next_field(resource, resource_end, SECOND)
            while scope >= 0:
                room[SCOPES] += 1
                metric, metric_end = next_field(scope, scope_end, SECOND)
                while metric >= 0:
                    room[METRICS] += 1
                    _measure_metric(metric, metric_end, room)
                    metric, metric_end = next_field(metric_end, scope_end, SECOND)
                scope, scope_end = next_field(scope_end, resource_end, SECOND)
            resource, resource_end = next_field(resource_end, base + bounds[i + 1], FIRST)


@compiled
def _measure_metric(at: int, end: int, room: NDArray[np.int64]) -> None:
    while at < end:
        tag, at = read_tag(at, end)
        if at < 0:
            return
        if not is_data(tag):
            at = skip(tag, at, end)
            if at < 0:
                return
            continue
        data, at = read_length(at, end)
        if at < 0:
            return
        point, point_end = next_field(data, at, FIRST)
        while point >= 0:
            if tag >> 3 <= SUM_TYPE:
                room[POINTS] += 1
            else:
                room[DISTRIBUTIONS] += 1
                size = point_end - point
                # A bucket of an exponential histogram takes a byte at least, other counts and
                # bounds eight; an empty quantile takes two, and is two numbers.
                room[COUNTS] += size if tag >> 3 == EXPONENTIAL_HISTOGRAM_TYPE else size // 8
                room[NUMBERS] += size if tag >> 3 == SUMMARY_TYPE else size // 8
            point, point_end = next_field(point_end, at, FIRST)


@compiled
def _scan(
    base: int,
    bounds: NDArray[np.int64],
    seed: Word,
    columns: Columns,
    used: NDArray[np.int64],
    status: NDArray[np.int64],
) -> None:
    before = np.zeros(COUNTERS, np.int64)
    for message in range(len(bounds) - 1):
        _set(before, used)
        begin, end = base + bounds[message], base + bounds[message + 1]
        failed = _check_message(begin, end)
        if not failed:
            failed = _scan_message(base, begin, end, message, seed, columns, used)
        if failed:
            status[message] = failed
            _set(used, before)


@compiled
def _set(counters: NDArray[np.int64], to: NDArray[np.int64]) -> None:
    for row in range(COUNTERS):
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
        if tag >> 3 == 1 and tag != FIRST:
            return WRONG_TYPE
        at = skip(tag, at, end)
        if at < 0:
            return at
        resources += 1 if tag == FIRST else 0
    return 0 if resources else NOTHING


@compiled
def _scan_message(
    base: int,
    begin: int,
    end: int,
    message: int,
    seed: Word,
    columns: Columns,
    used: NDArray[np.int64],
) -> int:
    """Scan MetricsData; return 0, or the reason why it is none.

    All levels down to the metrics are loops in this one function: the arrays of ``columns`` are
    not handed on where there are many points.
    """
    before = np.zeros(COUNTERS, np.int64)
    resource, resource_end = next_field(begin, end, FIRST)
    while resource >= 0:
        start, stop, failed = find_header(resource, resource_end)
        if failed:
            return failed
        row = used[RESOURCES]
        columns.resources[row, 0], columns.resources[row, 1] = start - base, stop - base
        used[RESOURCES] += 1
        of_resource = hash_bytes(start, stop, seed)
        scope, scope_end = next_field(resource, resource_end, SECOND)
        while scope >= 0:
            start, stop, failed = find_header(scope, scope_end)
            if failed:
                return failed
            row = used[SCOPES]
            columns.scopes[row, 0], columns.scopes[row, 1] = start - base, stop - base
            used[SCOPES] += 1
            of_scope = hash_bytes(start, stop, of_resource)
            at, metric_end = next_field(scope, scope_end, SECOND)
            while at >= 0:
                metric, failed = read_metric(at, metric_end, of_scope)
                if failed:
                    return failed
                row = used[METRICS]
                columns.metrics[row].message = message
                columns.metrics[row].kind = metric.kind
                columns.metrics[row].resource = used[RESOURCES] - 1
                columns.metrics[row].scope = used[SCOPES] - 1
                columns.metrics[row].name = metric.name - base
                columns.metrics[row].name_end = metric.name_end - base
                columns.metrics[row].unit = metric.unit - base
                columns.metrics[row].unit_end = metric.unit_end - base
                columns.metrics[row].first_point = used[POINTS]
                columns.metrics[row].type = metric.of_type
                used[METRICS] += 1

                of_type = 0
                if metric.turns > 1:
                    _set(before, used)
                while at < metric_end:
                    tag, at = read_tag(at, metric_end)
                    if not is_data(tag):
                        at = skip(tag, at, metric_end)
                        continue
                    data, at = read_length(at, metric_end)
                    if of_type != tag >> 3:
                        # Another one of the oneof: what stood there before does not count.
                        of_type = tag >> 3
                        if metric.turns > 1:
                            _set(used, before)
                    point, point_end = next_field(data, at, FIRST)
                    while point >= 0:
                        if of_type <= SUM_TYPE:
                            number, failed = read_number(point, point_end, metric.hash)
                            if number.skipped:
                                used[number.skipped] += 1
                                if (
                                    number.skipped == STALE or number.skipped == NOT_FINITE
                                ) and number.ts > 0:
                                    used[UNUSUAL] += 1
                                    row = len(columns.message) - used[UNUSUAL]
                                    columns.message[row] = message
                                    columns.raw[row] = number.raw
                                    columns.ts[row] = number.ts
                                    columns.start[row] = used[METRICS] - 1
                                    columns.value[row] = number.value
                                    if number.skipped == STALE:
                                        columns.value[row] = _MARKER
                                    columns.at[row, 0] = point - base
                                    columns.at[row, 1] = point_end - base
                            elif metric.rises and number.value < 0 and not failed:
                                used[NEGATIVE] += 1
                            elif not failed:
                                row = used[POINTS]
                                columns.message[row] = message
                                columns.raw[row] = number.raw
                                columns.ts[row] = number.ts
                                columns.start[row] = number.start
                                columns.value[row] = number.value
                                columns.at[row, 0] = point - base
                                columns.at[row, 1] = point_end - base
                                used[POINTS] = row + 1
                        else:
                            row = used[DISTRIBUTIONS]
                            columns.distributions[row].message = message
                            columns.distribution_at[row, 0] = point - base
                            columns.distribution_at[row, 1] = point_end - base
                            failed = scan_distribution(
                                point, point_end, of_type, metric.hash, columns, used
                            )
                        if failed:
                            return failed
                        point, point_end = next_field(point_end, at, FIRST)
                at, metric_end = next_field(metric_end, scope_end, SECOND)
            scope, scope_end = next_field(scope_end, resource_end, SECOND)
        resource, resource_end = next_field(resource_end, end, FIRST)
    return 0
