"""Points of histograms for the flow's tests, explicit and exponential ones."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

__all__ = ["Bucket", "HistogramPoint"]

Bucket = tuple[float, float]
"""Lower and upper bound; those at the ends of explicit histograms are infinite."""


@dataclass(frozen=True)
class HistogramPoint:
    """A point of a histogram; times in nanoseconds.

    Explicit: ``counts`` has one element more than ``bounds``. Exponential, if there is a ``scale``:
    ``positive`` and ``negative`` are counts by the index of their bucket.
    """

    name: str
    ts: int
    start: int
    kind: Literal["delta", "cumulative"]
    sum: float
    bounds: Sequence[float] = ()
    counts: Sequence[int] = ()
    scale: int | None = None
    positive: Mapping[int, int] = field(default_factory=dict)
    negative: Mapping[int, int] = field(default_factory=dict)
    zeros: int = 0
    min: float | None = None
    max: float | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    resource: Mapping[str, str] = field(default_factory=dict)
    scope: str = ""
    unit: str = ""

    @property
    def count(self) -> int:
        """How many observations it holds."""
        by_index = (*self.positive.values(), *self.negative.values())
        return sum(self.counts) + sum(by_index) + self.zeros

    def buckets(self) -> Counter[Bucket]:
        """Return the observations by bucket."""
        found: Counter[Bucket] = Counter()
        if self.scale is None:
            edges = itertools.pairwise([-math.inf, *self.bounds, math.inf])
            found.update(dict(zip(edges, self.counts, strict=True)))
        else:
            for index, count in self.positive.items():
                found[self._edge(index), self._edge(index + 1)] += count
            for index, count in self.negative.items():
                found[-self._edge(index + 1), -self._edge(index)] += count
            found[0.0, 0.0] += self.zeros
        return found

    def _edge(self, index: int) -> float:
        assert self.scale is not None
        return float(2.0 ** (index / 2**self.scale))

    def add_to(self, metric: Metric) -> Any:
        """Add it to a metric, its time and attributes aside, and return what it became there."""
        which = metric.histogram if self.scale is None else metric.exponential_histogram
        which.aggregation_temporality = (
            AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
            if self.kind == "delta"
            else AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
        )
        encoded: Any = which.data_points.add()
        encoded.count, encoded.sum = self.count, self.sum
        if self.min is not None:
            encoded.min = self.min
        if self.max is not None:
            encoded.max = self.max
        if self.scale is None:
            encoded.explicit_bounds.extend(self.bounds)
            encoded.bucket_counts.extend(self.counts)
            return encoded
        encoded.scale, encoded.zero_count = self.scale, self.zeros
        for side, counts in ((encoded.positive, self.positive), (encoded.negative, self.negative)):
            if counts:
                indexes = range(min(counts), max(counts) + 1)
                side.offset = indexes.start
                side.bucket_counts.extend(counts.get(index, 0) for index in indexes)
        return encoded
