"""Data points of histograms and summaries in OTLP's JSON, as the records that both encodings share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from operators.columns.nested import combine_hashes, offsets, owners
from operators.decoders.otlp.distributions import (
    DISTRIBUTION,
    EXPLICIT,
    EXPONENTIAL,
    QUANTILES,
    UNREADABLE,
)
from operators.decoders.otlp.json_attributes import attribute_hashes
from operators.decoders.otlp.json_columns import doubles, integers, lists, unsigned

__all__ = ["DistributionColumns", "distribution_columns"]


@dataclass(frozen=True, slots=True)
class DistributionColumns:
    """DISTRIBUTION records, the counts and numbers they refer to, and the attributes of each."""

    points: NDArray[Any]
    counts: NDArray[np.uint64]
    numbers: NDArray[np.float64]
    attributes: list[pa.ListArray]


def distribution_columns(
    metrics: pa.StructArray, messages: NDArray[np.uint32], hashes: NDArray[np.uint64]
) -> DistributionColumns:
    """Lay out what is told of histograms and summaries.

    ``messages`` and ``hashes`` have the message and the raw identity of each metric.
    """
    arrays = _Arrays()
    shapes = {"histogram": EXPLICIT, "exponentialHistogram": EXPONENTIAL, "summary": QUANTILES}
    points: list[NDArray[Any]] = []
    attributes: list[pa.ListArray] = []
    for field, shape in shapes.items():
        if field not in metrics.type.names:
            continue
        listed = lists(metrics.field(field).field("dataPoints"))
        told = listed.values
        if not len(told):
            continue
        metric = owners(listed)
        attributes.append(lists(told.field("attributes")))
        of_shape = np.zeros(len(told), DISTRIBUTION)
        of_shape["shape"] = shape
        of_shape["metric"] = metric
        of_shape["message"] = messages[metric]
        of_shape["raw"] = combine_hashes(attribute_hashes(attributes[-1]), hashes[metric])
        _state(of_shape, told, shape)
        if shape == EXPLICIT:
            arrays.put_counts(of_shape, "positive", told.field("bucketCounts"))
            bounds = lists(told.field("explicitBounds"))
            arrays.put_numbers(of_shape, bounds, [doubles(bounds.values, np.nan)])
        elif shape == EXPONENTIAL:
            of_shape["scale"] = integers(told.field("scale"))
            of_shape["zero_count"] = unsigned(told.field("zeroCount"), UNREADABLE)
            of_shape["zero_threshold"] = doubles(told.field("zeroThreshold"), 0.0)
            for side in ("positive", "negative"):
                buckets = told.field(side)
                of_shape[f"{side}_offset"] = integers(buckets.field("offset"))
                arrays.put_counts(of_shape, side, buckets.field("bucketCounts"))
        else:
            quantiles = lists(told.field("quantileValues"))
            pairs = [doubles(quantiles.values.field(name), 0.0) for name in ("quantile", "value")]
            arrays.put_numbers(of_shape, quantiles, pairs)
        points.append(of_shape)
    return DistributionColumns(
        np.concatenate(points) if points else np.empty(0, DISTRIBUTION),
        np.concatenate([np.empty(0, np.uint64), *arrays.counts]),
        np.concatenate([np.empty(0), *arrays.numbers]),
        attributes,
    )


def _state(points: NDArray[Any], told: pa.StructArray, shape: int) -> None:
    """Fill in what the points of all shapes state."""
    flags = told.field("flags")
    points["flags"] = np.asarray(flags.fill_null(0)).astype(np.uint32)
    points["ts"] = unsigned(told.field("timeUnixNano"))
    points["start"] = unsigned(told.field("startTimeUnixNano"))
    points["count"] = unsigned(told.field("count"), UNREADABLE)
    # A summary's sum is not optional: where JSON leaves it out, it is 0.
    points["sum"] = doubles(told.field("sum"), 0.0 if shape == QUANTILES else np.nan)
    known = shape != QUANTILES
    points["min"] = doubles(told.field("min"), np.nan) if known else np.nan
    points["max"] = doubles(told.field("max"), np.nan) if known else np.nan


class _Arrays:
    """The arrays that the records refer to, in pieces; what is put in comes behind all before."""

    def __init__(self) -> None:
        self.counts: list[NDArray[np.uint64]] = []
        self.numbers: list[NDArray[np.float64]] = []

    def put_counts(self, points: NDArray[Any], side: str, array: pa.Array) -> None:
        """Put in lists of counts, of which each point has one."""
        listed = lists(array)
        at = offsets(listed) + sum(map(len, self.counts))
        points[side], points[f"{side}_end"] = at[:-1], at[1:]
        self.counts.append(unsigned(listed.values, UNREADABLE))

    def put_numbers(
        self, points: NDArray[Any], listed: pa.ListArray, columns: Sequence[NDArray[np.float64]]
    ) -> None:
        """Put in lists of as many numbers an element as there are ``columns``."""
        at = offsets(listed) * len(columns) + sum(map(len, self.numbers))
        points["numbers"], points["numbers_end"] = at[:-1], at[1:]
        self.numbers.append(np.stack(columns, axis=1).ravel())
