"""The levels of OTLP's metrics in protobuf, and the columns that a scan of them fills."""

# ruff: noqa: PLR1714, SIM109 -- a parser is a list of fields and errors

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.columns.scanning import compiled
from operators.decoders.otlp.kinds import (
    EXPONENTIAL_HISTOGRAM_TYPE,
    GAUGE_TYPE,
    HISTOGRAM_TYPE,
    SUM_TYPE,
    SUMMARY_TYPE,
)
from operators.decoders.protobuf.reading import LENGTH, read_length, read_tag, skip

__all__ = [
    "COUNTERS",
    "COUNTS",
    "DISTRIBUTIONS",
    "FIRST",
    "METRIC",
    "METRICS",
    "MIX",
    "NEGATIVE",
    "NOT_FINITE",
    "NO_TIME",
    "NO_VALUE",
    "NUMBERS",
    "POINTS",
    "RESOURCES",
    "SCOPES",
    "SECOND",
    "SKIPPED",
    "STALE",
    "UNUSUAL",
    "Columns",
    "is_data",
    "next_field",
]

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
        ("type", np.uint8),  # see ``kinds``
    ],
    align=True,
)
"""A metric: who it is of, where its texts lie in the buffer, and where its points begin."""

# Rows of the counters.
RESOURCES: Final = 0
SCOPES: Final = 1
METRICS: Final = 2
POINTS: Final = 3
DISTRIBUTIONS: Final = 4
COUNTS: Final = 5
NUMBERS: Final = 6
STALE: Final = 7
NO_VALUE: Final = 8
NOT_FINITE: Final = 9
NO_TIME: Final = 10
NEGATIVE: Final = 11
UNUSUAL: Final = 12
COUNTERS: Final = 13
SKIPPED: Final = {
    "stale": STALE, "no_value": NO_VALUE, "not_finite": NOT_FINITE, "no_time": NO_TIME,
    "negative_delta": NEGATIVE,
}  # fmt: skip

# Tags of nested messages: ResourceMetrics, Resource and so on down to data points are field 1 of
# their parents, ScopeMetrics and Metric are field 2.
FIRST: Final = 1 << 3 | LENGTH
SECOND: Final = 2 << 3 | LENGTH

MIX: Final = np.uint64(0x589965CC75374CC3)


class Columns(NamedTuple):
    """The arrays that the scan fills.

    Two columns with a start and an end in the buffer have ``resources`` and ``scopes``, as they
    come, ``at`` for number points and ``distribution_at`` for the others. ``message`` to ``at``
    have a row a number point; ``distributions`` refer to ``counts`` and ``numbers``. From their end
    on, the columns of number points have those that are stale or not finite, the last one first:
    ``start`` is then the row of the metric.
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


@compiled
def next_field(at: int, end: int, tag: int) -> tuple[int, int]:
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
def is_data(tag: int) -> bool:
    """Tell whether a tag is one of the oneof ``data`` of Metric."""
    number = tag >> 3
    known = (
        number == GAUGE_TYPE or number == SUM_TYPE or number == HISTOGRAM_TYPE
        or number == EXPONENTIAL_HISTOGRAM_TYPE or number == SUMMARY_TYPE
    )  # fmt: skip
    return known and tag & 7 == LENGTH
