"""Reading this process's own metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.samples import Sample

__all__ = ["by_label", "total"]

_VALUES: Final = {Counter: "_total", Gauge: "", Histogram: "_count"}
"""What the name of the sample that counts ends with."""


def total(metric: Counter | Gauge | Histogram) -> float:
    """Return the sum over all labels; of a histogram, how many observations there were."""
    return sum(sample.value for sample in _samples(metric))


def by_label(metric: Counter | Gauge, label: str) -> dict[str, float]:
    """Return the sum for each value of ``label``."""
    sums: dict[str, float] = {}
    for sample in _samples(metric):
        sums[sample.labels[label]] = sums.get(sample.labels[label], 0.0) + sample.value
    return sums


def _samples(metric: Counter | Gauge | Histogram) -> Iterator[Sample]:
    for family in metric.collect():
        wanted = family.name + _VALUES[type(metric)]
        yield from (sample for sample in family.samples if sample.name == wanted)
