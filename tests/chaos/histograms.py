"""Histograms of the stream: explicit deltas, explicit cumulative and exponential cumulative ones.

What is observed are multiples of 1/1024, so that sums are exact in whatever order they are added.
Each part holds some points back until the next second, after newer ones: as late as the disorder
that the flow allows, less half a second.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from tests.flows.histograms import HistogramPoint
from tests.flows.telemetry import SECOND

__all__ = ["PARTS"]

Part = Callable[[int, random.Random], Iterator[HistogramPoint]]

SERIES: Final = 3
INSTANCES: Final = 2
"""Of each series of explicit cumulative histograms: identities whose points go into one row."""
BOUNDS: Final = (0.5, 1.0, 2.5, 5.0, 10.0, 25.0)
BELOW_ZERO: Final = (-4.0, 0.0, 4.0)
"""Bounds for values of both signs; of the series with the number 2."""
SCALE: Final = 3
HELD_BACK: Final = 0.2
RESET: Final = 1 / 40


def _deltas() -> Part:
    """Explicit deltas: one says its extremes, one does now and then, one has values below zero."""
    ends: dict[int, int] = {}

    def points(now: int, choice: random.Random) -> Iterator[HistogramPoint]:
        for number in range(SERIES):
            values = _values(number, choice)
            says = bool(values) and (number != 1 or choice.random() < 0.9)
            bounds = BELOW_ZERO if number == 2 else BOUNDS
            ts = _moment(now, choice)
            yield HistogramPoint(
                name="chaos.histogram.delta",
                ts=ts,
                start=ends.get(number, (now - 1) * SECOND),
                kind="delta",
                sum=sum(values),
                bounds=bounds,
                counts=_explicit(values, bounds),
                min=min(values) if says else None,
                max=max(values) if says else None,
                attributes={"number": str(number)},
            )
            ends[number] = ts

    return _disordered(points)


@dataclass
class _Total:
    """What was observed since ``start``."""

    start: int
    values: list[float] = field(default_factory=list)

    def grow(self, number: int, now: int, choice: random.Random, *, says: bool) -> None:
        """Add a second's observations; it may start anew before them, and say so or not."""
        if choice.random() < RESET:
            self.values.clear()
            if says:
                self.start = now * SECOND - SECOND // 4
        self.values += _values(number, choice)


def _cumulative() -> Part:
    """Explicit cumulative ones that start anew: some say so, of others some bucket falls."""
    totals: dict[tuple[str, int, int], _Total] = {}

    def points(now: int, choice: random.Random) -> Iterator[HistogramPoint]:
        for name in ("chaos.histogram.marked", "chaos.histogram.unmarked"):
            for number in range(SERIES):
                for instance in range(INSTANCES):
                    key = (name, number, instance)
                    says = name == "chaos.histogram.marked"
                    total = totals.setdefault(key, _Total((now - 5) * SECOND))
                    total.grow(number, now, choice, says=says)
                    bounds = BELOW_ZERO if number == 2 else BOUNDS
                    yield HistogramPoint(
                        name=name,
                        ts=_moment(now, choice),
                        start=total.start,
                        kind="cumulative",
                        sum=sum(total.values),
                        bounds=bounds,
                        counts=_explicit(total.values, bounds),
                        attributes={"number": str(number)},
                        # No label: that of the series is the service alone.
                        resource={"service.name": "chaos", "service.instance.id": str(instance)},
                    )

    return _disordered(points)


def _exponential() -> Part:
    """Exponential cumulative ones, all of one scale; their buckets move as new ones are needed."""
    totals: dict[int, _Total] = {}

    def points(now: int, choice: random.Random) -> Iterator[HistogramPoint]:
        for number in range(SERIES):
            total = totals.setdefault(number, _Total((now - 5) * SECOND))
            total.grow(number, now, choice, says=True)
            yield HistogramPoint(
                name="chaos.histogram.exponential",
                ts=_moment(now, choice),
                start=total.start,
                kind="cumulative",
                sum=sum(total.values),
                scale=SCALE,
                positive=Counter(_index(value) for value in total.values if value > 0),
                negative=Counter(_index(-value) for value in total.values if value < 0),
                zeros=total.values.count(0.0),
                # Extremes of cumulative points are of all since the start, and not of a window.
                min=min(total.values, default=None),
                max=max(total.values, default=None),
                attributes={"number": str(number)},
            )

    return _disordered(points)


def _values(number: int, choice: random.Random) -> list[float]:
    """Return what is observed in a second, which may be nothing."""
    many = choice.choice((0, 1, 3, 7 * (number + 1)))
    values = [round(choice.lognormvariate(1, 1.2) * 1024) / 1024 for _ in range(many)]
    if number == 2:
        values = [value * choice.choice((-1, 0, 1)) + 0.0 for value in values]
    return values


def _explicit(values: list[float], bounds: tuple[float, ...]) -> list[int]:
    """Return the counts of buckets; a bound belongs to the bucket below it."""
    found = Counter(bisect_left(bounds, value) for value in values)
    return [found[index] for index in range(len(bounds) + 1)]


def _index(value: float) -> int:
    """Return the exponential bucket; a bound belongs to the bucket below it."""
    return math.ceil(math.log2(value) * 2**SCALE) - 1


def _disordered(part: Part) -> Part:
    """Hold some points back, until after those of the next second."""
    held: list[HistogramPoint] = []

    def points(now: int, choice: random.Random) -> Iterator[HistogramPoint]:
        before = held.copy()
        held.clear()
        fresh = list(part(now, choice))
        choice.shuffle(fresh)
        for point in fresh:
            if choice.random() < HELD_BACK:
                held.append(point)
            else:
                yield point
        yield from before

    return points


def _moment(now: int, choice: random.Random) -> int:
    """Return a time within the second's first half, so that each follows the one before."""
    return now * SECOND + choice.randrange(SECOND // 2)


PARTS: Final = (_deltas, _cumulative, _exponential)
