"""The stream: what is written to the input topic, second by second of event time.

Three kinds of messages, of which everything can be computed again:

==========  ===================================================================================
load        one of ``bench.load.Load`` a second, for the volume
awkward     counters and histograms that start anew (said or unsaid), deltas, gauges; disordered,
            late, doubled
scored      gauges that step up now and then, in order and on time: scoring depends on the order
==========  ===================================================================================

A part for another kind of metric is a function in ``PARTS``; what it yields is expected by
``tests.flows.expectation.from_points``, or ``tests.flows.histogram_expectation`` if they are
histograms.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from bench.load import Load
from tests.chaos import histograms
from tests.flows.histograms import HistogramPoint
from tests.flows.telemetry import SECOND, Point, encode

BEGIN: Final = 1_700_000_000
"""Seconds; of the load, and so of all."""
WINDOW: Final = 10
"""Seconds of the finest window."""
DISORDER: Final = 2.0
LATEST: Final = 40
"""Seconds that a late message is late at most."""
SKEW: Final = (0, 4, 9, 2)
"""Seconds that partitions are behind, by number."""

HOSTS: Final = 20
FIRST_STEP, EVERY, LENGTH = 24, 20, 4
"""Each host's first step in windows, how often it steps, and for how long.

The hosts step one after the other, so from the first step on there is always one that does.
"""

Part = Callable[[int, random.Random], Iterable[Point | HistogramPoint]]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message, and the second of event time at which it is written."""

    at: int
    partition: int
    payload: bytes


class Stream:
    """Makes the messages of one second after the other.

    Attributes:
        partitions: over which they are spread; may grow.
        seconds: that were made.
        points: the awkward and the scored ones that were made, each as often as it was written.
    """

    def __init__(self, seed: str, series: int, partitions: int) -> None:
        self.partitions = partitions
        self.seconds = 0
        self.points: list[Point | HistogramPoint] = []
        self._series = series
        self._random = random.Random(seed)
        # It ends when the rounds do; ``load`` says what it was.
        self._load = Load(series=series, seconds=10**9, begin=BEGIN).messages()
        self._parts = [part() for part in PARTS]

    @property
    def load(self) -> Load:
        """The load that was made."""
        return Load(series=self._series, seconds=self.seconds, begin=BEGIN)

    def second(self) -> Iterator[Outgoing]:
        """Yield the messages of the next second."""
        self.seconds += 1
        now = self.seconds
        for _ in range(self._series // 800):
            yield self._out(next(self._load))
        awkward = [point for part in self._parts for point in part(BEGIN + now, self._random)]
        self.points += awkward
        message = encode(awkward)
        late = self._random.random() < 0.06
        yield self._out(message, self._random.randint(4, LATEST) if late else 0)
        if self._random.random() < 0.1:
            self.points += awkward
            yield self._out(message, self._random.randint(0, LATEST // 2))
        if now % WINDOW == 1:
            scored = list(_scored(now // WINDOW))
            self.points += scored
            yield Outgoing(now, 0, encode(scored))

    def _out(self, payload: bytes, later: int = 0) -> Outgoing:
        """Choose the partition; a producer of some partitions is behind those of others."""
        partition = self._random.randrange(self.partitions)
        return Outgoing(self.seconds + SKEW[partition % len(SKEW)] + later, partition, payload)


def is_anomalous(window: int, host: int) -> bool:
    """Say whether a host's gauge is up in a window."""
    since = window - FIRST_STEP - host
    return since >= 0 and since % EVERY < LENGTH


def _scored(window: int) -> Iterator[Point]:
    """Yield a point a host, so that no sum of floats depends on an order."""
    for host in range(HOSTS):
        yield Point(
            name="chaos.scored",
            ts=(BEGIN + window * WINDOW + 1) * SECOND,
            value=10 + math.sin(window + host) + (100 if is_anomalous(window, host) else 0),
            attributes={"host": f"h{host:02}"},
        )


@dataclass
class _Counter:
    value: float
    start: int
    marked: bool = field(default=True)


def _counters() -> Part:
    """Cumulative sums: one starts anew and says so, one only falls, one never says its start."""
    counters = {
        (name, number): _Counter(0.0, 0 if name == "chaos.no_start" else (BEGIN - 5) * SECOND)
        for name in ("chaos.marked", "chaos.unmarked", "chaos.no_start")
        for number in range(3)
    }

    def points(now: int, choice: random.Random) -> Iterator[Point]:
        for (name, number), counter in counters.items():
            if choice.random() < 1 / 40:
                counter.value = 0.0
                if name == "chaos.marked":
                    counter.start = now * SECOND - SECOND // 4
            counter.value += choice.randint(1, 9) * (number + 1)
            yield Point(
                name=name,
                ts=_moment(now, choice),
                value=counter.value,
                kind="cumulative",
                start=counter.start,
                attributes={"number": str(number)},
                resource={"service.name": "chaos"},
            )

    return points


def _deltas() -> Part:
    """Delta sums, each point of which says the span that it is of."""

    def points(now: int, choice: random.Random) -> Iterator[Point]:
        for number in range(3):
            yield Point(
                name="chaos.delta",
                ts=_moment(now, choice),
                value=float(choice.randint(0, 50)),
                kind="delta",
                start=(now - 1) * SECOND,
                attributes={"number": str(number)},
            )

    return points


def _gauges() -> Part:
    """Gauges; some points of a second are older than ones of the second before."""
    number = count()

    def points(now: int, choice: random.Random) -> Iterator[Point]:
        for host in range(4):
            # Whole nanoseconds of its own, so that no two points of a series are at one time.
            back = choice.randint(0, round((DISORDER - 0.5) * 1e6)) * 1000 + next(number) % 1000
            yield Point(
                name="chaos.disordered",
                ts=now * SECOND - back,
                value=choice.uniform(-5, 5),
                attributes={"host": str(host)},
            )

    return points


def _moment(now: int, choice: random.Random) -> int:
    """Return a time within the second's first half, so that each follows the one before."""
    return now * SECOND + choice.randrange(SECOND // 2)


PARTS: Final[tuple[Callable[[], Part], ...]] = (
    _counters, _deltas, _gauges, *histograms.PARTS
)  # fmt: skip
"""What awkward messages are made of."""
