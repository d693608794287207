"""The types of metric that OTLP has, and what each is rolled up as."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.scanning import compiled
from operators.contracts.frames import (
    CUMULATIVE,
    CUMULATIVE_HISTOGRAM,
    DELTA,
    DELTA_HISTOGRAM,
    GAUGE,
    SUMMARY,
)

__all__ = [
    "EXPONENTIAL_HISTOGRAM_TYPE",
    "GAUGE_TYPE",
    "HISTOGRAM_TYPE",
    "NO_RECORDED_VALUE",
    "SUMMARY_TYPE",
    "SUM_TYPE",
    "identify",
    "kind_of",
    "kinds_of",
    "only_rises",
]

# A type is the number of its field in the message Metric.
GAUGE_TYPE: Final = 5
SUM_TYPE: Final = 7
HISTOGRAM_TYPE: Final = 9
EXPONENTIAL_HISTOGRAM_TYPE: Final = 10
SUMMARY_TYPE: Final = 11

NO_RECORDED_VALUE: Final = 1
"""Bit of a data point's flags: a staleness marker."""

_DELTA_TEMPORALITY: Final = 1


@compiled
def kind_of(of_type: int, temporality: int, monotonic: int) -> int:
    """Return the kind that a metric is rolled up as.

    A cumulative sum that can fall is a gauge to us; a delta is summed whether it can or not.
    """
    delta = temporality == _DELTA_TEMPORALITY
    if of_type == SUM_TYPE:
        return DELTA if delta else CUMULATIVE if monotonic else GAUGE
    if of_type in (HISTOGRAM_TYPE, EXPONENTIAL_HISTOGRAM_TYPE):
        return DELTA_HISTOGRAM if delta else CUMULATIVE_HISTOGRAM
    return SUMMARY if of_type == SUMMARY_TYPE else GAUGE


@compiled
def only_rises(of_type: int, temporality: int, monotonic: int) -> bool:
    """Return whether a point of the metric can't be negative: the change of what only rises."""
    return of_type == SUM_TYPE and temporality == _DELTA_TEMPORALITY and monotonic != 0


@compiled
def identify(of_type: int, temporality: int, monotonic: int) -> int:
    """Return a number that tells apart what must not be one series, whatever it is rolled up as."""
    return of_type | monotonic << 4 | temporality << 5


@compiled
def kinds_of(
    types: NDArray[np.int64], temporalities: NDArray[np.int64], monotonic: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
    """Return the kind of each metric, and the number that identifies it."""
    kinds = np.empty(len(types), np.uint8)
    identifying = np.empty(len(types), np.uint64)
    for i in range(len(types)):
        rising = 1 if monotonic[i] else 0
        kinds[i] = kind_of(types[i], temporalities[i], rising)
        identifying[i] = identify(types[i], temporalities[i], rising)
    return kinds, identifying
