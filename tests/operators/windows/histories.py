"""Random histories of telemetry: points of all kinds, and the accidents on their way to windows."""

from collections import defaultdict
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from hypothesis import strategies as st

from operators.contracts.distributions import exponential_bounds
from tests.operators.windows.rollup_reference import (
    CUMULATIVE,
    CUMULATIVE_HISTOGRAM,
    DELTA,
    DELTA_HISTOGRAM,
    GAUGE,
    SUMMARY,
    AnyPoint,
    HistogramPoint,
    Point,
    Stream,
)
from tests.operators.windows.window_driver import Sizes

__all__ = ["Action", "Scenario", "identity", "scenarios"]

ORIGIN = 6000  # so that all start times are after the epoch
NUMBERS = (GAUGE, DELTA, CUMULATIVE)
HISTOGRAMS = (DELTA_HISTOGRAM, CUMULATIVE_HISTOGRAM, SUMMARY)
BOUNDS = (-inf, 1.0, 5.0, 10.0, 40.0, inf)


class Action(NamedTuple):
    """What happens next: ``what`` to ``partition``, a poll of ``points`` if it is "send"."""

    what: str
    partition: int = 0
    points: tuple[AnyPoint, ...] = ()


@dataclass
class Scenario:
    streams: dict[int, Stream]
    sizes: Sizes
    partitions: int
    readers: int
    withheld: set[int]
    actions: list[Action] = field(default_factory=list)


def identity(number: int) -> int:
    return (number + 1) * 0x9E3779B97F4A7C15 % 2**64


@st.composite
def streams_(draw: st.DrawFn, kinds: tuple[int, ...]) -> dict[int, Stream]:
    """Some identities; now and then those of a kind are written as one series."""
    found: dict[int, Stream] = {}
    for number in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(kinds))
        shared = kind != SUMMARY and draw(st.booleans())
        series = identity(100 + kind) if shared else identity(number)
        found[identity(number)] = Stream(series, kind)
    return found


@st.composite
def number_history(draw: st.DrawFn, name: int, kind: int, *, falls: bool) -> list[AnyPoint]:
    """Points in order of time; a counter restarts, with a start time or a fall."""
    points: list[AnyPoint] = []
    ts, value = ORIGIN + draw(st.integers(0, 30)), 0.0
    start = 0 if falls else draw(st.sampled_from([0, ts, ts - 1, ts - 50, ts - 5000]))
    for _ in range(draw(st.integers(0, 12))):
        if kind == CUMULATIVE:
            value += draw(st.integers(0, 9))
        else:
            value = draw(st.floats(-1e6, 1e6))
        points.append(Point(name, ts, start, value))
        step = draw(st.sampled_from([1, 1, 2, 5, 9, 30, 70]))
        if kind == CUMULATIVE and draw(st.integers(0, 4)) == 0:
            if falls:
                value = draw(st.integers(0, int(value)))
            else:
                start, value = draw(st.integers(ts, ts + step)), 0.0
        ts += step
    return points


class Producer:
    """Counts observations in explicit or exponential buckets, and may make the latter coarser."""

    def __init__(self, scale: int | None) -> None:
        self.scale = scale
        self.counts: dict[int, int] = defaultdict(int)

    def observe(self, bucket: int, times: int) -> None:
        self.counts[bucket % 5 if self.scale is None else bucket] += times

    def make_coarser(self) -> None:
        if self.scale is None:
            return
        self.scale -= 1
        counts, self.counts = self.counts, defaultdict(int)
        for bucket, count in counts.items():
            self.counts[bucket >> 1] += count

    def buckets(self) -> tuple[tuple[float, float, int], ...]:
        found = []
        for bucket, count in self.counts.items():
            if not count:
                continue
            if self.scale is None:
                lower, upper = BOUNDS[bucket], BOUNDS[bucket + 1]
            else:
                lower, upper = exponential_bounds(self.scale, [bucket, bucket + 1]).tolist()
            found.append((lower, upper, count))
        return tuple(sorted(found))


def extremes(buckets: tuple[tuple[float, float, int], ...]) -> tuple[float | None, float | None]:
    """Return values that may be the least and the most of what lies in buckets."""
    if not buckets:
        return None, None
    lower, upper = buckets[0][0], buckets[-1][1]
    return (0.5 if lower == -inf else lower), (80.0 if upper == inf else upper)


@st.composite
def histogram_history(draw: st.DrawFn, name: int, kind: int, *, falls: bool) -> list[AnyPoint]:
    """Histograms in order of time; the process restarts, and its scale falls."""
    points: list[AnyPoint] = []
    ts = ORIGIN + draw(st.integers(0, 30))
    start = 0 if falls else draw(st.sampled_from([0, ts, ts - 1, ts - 50, ts - 5000]))
    producer = Producer(draw(st.sampled_from([None, 0, 3])))
    count, total = 0, 0.0
    for _ in range(draw(st.integers(0, 10))):
        if kind == DELTA_HISTOGRAM:
            producer.counts.clear()
            count, total = 0, 0.0
        for _ in range(draw(st.integers(0, 3))):
            times = draw(st.integers(1, 4))
            producer.observe(draw(st.integers(-6, 12)), times)
            count += times
            total += times * draw(st.integers(-8, 8)) / 2
        buckets = producer.buckets()
        least = most = None
        if kind == DELTA_HISTOGRAM and draw(st.integers(0, 3)):
            least, most = extremes(buckets)
        if kind == SUMMARY:
            buckets = tuple((rank, ts + 100 * rank, 0) for rank in (0.5, 0.75, 0.99))
        points.append(HistogramPoint(name, ts, start, count, total, least, most, buckets))
        if draw(st.integers(0, 5)) == 0:
            producer.make_coarser()
        step = draw(st.sampled_from([1, 1, 2, 5, 9, 30, 70]))
        if kind == DELTA_HISTOGRAM:
            start = start and ts
        elif draw(st.integers(0, 4)) == 0:
            producer.counts.clear()
            count, total = 0, 0.0
            start = 0 if falls else draw(st.integers(ts, ts + step))
        ts += step
    return points


@st.composite
def scenarios(
    draw: st.DrawFn, kinds: tuple[int, ...] = NUMBERS + HISTOGRAMS, *, falls: bool = False
) -> Scenario:
    """Histories over one to three partitions, delivered out of order in random batches, with
    silences, restarts, pauses and names that come late."""
    streams = draw(streams_(kinds))
    sizes = Sizes(
        windows=draw(st.sampled_from([(10,), (10, 30), (10, 30, 60), (5, 10, 60)])),
        disorder=draw(st.sampled_from([0, 3, 15])),
        lateness=draw(st.sampled_from([0, 7, 40])),
        counter_horizon=draw(st.sampled_from([0, 20, 1000])),
        percentiles=draw(st.sampled_from(["", ".*"])),
    )
    points: list[AnyPoint] = []
    for name, stream in streams.items():
        history = number_history if stream.kind in NUMBERS else histogram_history
        points += draw(history(name, stream.kind, falls=falls))
    delays = st.just(0) if falls else st.sampled_from([0, 0, 0, 2, 10, 30, 100])
    # Producers that get no answer send again.
    points += [point for point in points if draw(st.integers(0, 7)) == 0]
    arrivals = sorted((point.ts + draw(delays), number) for number, point in enumerate(points))
    sent = [points[number] for _, number in arrivals]
    partitions = draw(st.integers(1, 3))
    scenario = Scenario(
        streams,
        sizes,
        partitions,
        draw(st.integers(1, partitions)),
        {name for name in streams if not falls and draw(st.integers(0, 5)) == 0},
    )
    # A producer writes a stream to one partition where order matters, else anywhere.
    home = {name: index % partitions for index, name in enumerate(streams)}
    whats = st.sampled_from(
        ["send"] * 8 + ["restart", "notify", "idle", "idle one", "replay", "tell", "wait"]
    )
    position = 0
    while position < len(sent):
        what = draw(whats)
        if what != "send":
            scenario.actions.append(Action(what, draw(st.integers(0, partitions - 1))))
            continue
        size = draw(st.integers(1, 8))
        by_partition = defaultdict(list)
        for point in sent[position : position + size]:
            anywhere = draw(st.integers(0, partitions - 1))
            by_partition[home[point.identity] if falls else anywhere].append(point)
        scenario.actions += [
            Action("send", partition, tuple(batch)) for partition, batch in by_partition.items()
        ]
        position += size
    return scenario
