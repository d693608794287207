"""Reading this process's own metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.samples import Sample

__all__ = ["Means", "by_label", "total"]

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


class Means:
    """Means of a histogram's observations since the last call, by a label."""

    def __init__(self, metric: Histogram, label: str) -> None:
        self._metric = metric
        self._label = label
        self._before: dict[str, tuple[float, float]] = {}

    def since_then(self) -> dict[str, float]:
        """Return the means of those that were observed."""
        sums: dict[str, list[float]] = {}
        for family in self._metric.collect():
            for sample in family.samples:
                if sample.name.endswith(("_sum", "_count")):
                    numbers = sums.setdefault(sample.labels[self._label], [0.0, 0.0])
                    numbers[sample.name.endswith("_count")] += sample.value
        means = {}
        for name, (total_now, count_now) in sums.items():
            total_then, count_then = self._before.get(name, (0.0, 0.0))
            if count_now > count_then:
                means[name] = (total_now - total_then) / (count_now - count_then)
            self._before[name] = (total_now, count_now)
        return means


def _samples(metric: Counter | Gauge | Histogram) -> Iterator[Sample]:
    for family in metric.collect():
        wanted = family.name + _VALUES[type(metric)]
        yield from (sample for sample in family.samples if sample.name == wanted)
