"""Histograms as Prometheus sends them: each bucket, the count and the sum as a series of its own."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

import polars as pl
from hypothesis import strategies as st

from operators.contracts.frames import BUCKET, COUNT, PARTS, SERIES, SUM, TOGETHER
from tests.operators.windows.histories import ORIGIN, Action, Scenario, identity
from tests.operators.windows.rollup_reference import (
    CUMULATIVE,
    CUMULATIVE_HISTOGRAM,
    HistogramPoint,
    Point,
    Stream,
)
from tests.operators.windows.window_driver import Driver, Sizes, series_of

__all__ = ["BOUNDS", "ClassicDriver", "PartStream", "classic_scenarios", "histogram", "named", "parts_of", "streams_of"]  # fmt: skip

BOUNDS = (1.0, 5.0, 10.0, inf)
_PLACES = 16  # identities that a histogram takes: itself, its count and sum, and its buckets


@dataclass(frozen=True)
class PartStream(Stream):
    """A part; ``alone`` is the series that it is without buckets."""

    part: int
    bound: float
    whole: int
    alone: int


def streams_of(number: int, series: int, bounds: Sequence[float] = BOUNDS) -> dict[int, PartStream]:
    """Return what the registry knows of the parts of the histogram of a number."""
    first = number * _PLACES
    totals = {
        identity(first + place): PartStream(
            series, CUMULATIVE, part, inf, identity(first), identity(1000 * part + number)
        )
        for place, part in enumerate((COUNT, SUM), 1)
    }
    buckets = {
        identity(first + 3 + place): PartStream(
            series, CUMULATIVE_HISTOGRAM, BUCKET, bound, identity(first), series
        )
        for place, bound in enumerate(bounds)
    }
    return {**totals, **buckets}


def parts_of(
    point: HistogramPoint, streams: dict[int, PartStream], without: Iterable[object] = ()
) -> list[Point]:
    """Return the parts of a histogram; ``without`` are bounds, and "count" and "sum"."""
    found = []
    for name, stream in streams.items():
        if stream.whole != point.identity:
            continue
        value = {COUNT: float(point.count), SUM: point.sum}.get(stream.part)
        label = {COUNT: "count", SUM: "sum"}.get(stream.part, stream.bound)
        if value is None:
            value = float(sum(weight for _, high, weight in point.buckets if high <= stream.bound))
        if label not in without:
            found.append(Point(name, point.ts, point.start, value))
    return found


def histogram(
    number: int, ts: int, start: int, counts: Sequence[int], bounds: Sequence[float] = BOUNDS
) -> HistogramPoint:
    """Return an explicit histogram; its sum is twice its number of observations."""
    buckets = tuple(
        (*edges, weight)
        for edges, weight in zip(pairwise((-inf, *bounds)), counts, strict=True)
        if weight
    )
    name, count = identity(number * _PLACES), sum(counts)
    return HistogramPoint(name, ts, start, count, 2.0 * count, None, None, buckets)


class ClassicDriver(Driver):
    """A shard that is told which of its streams are parts."""

    def tell(self, identities: Iterable[int] | None = None) -> None:
        """Name identities, and the histograms that they are parts of."""
        fresh = sorted(set(identities or ()) - self.named)
        self.named |= set(fresh)
        if fresh:
            self.hear(named({each: self.streams[each] for each in fresh}))


def named(streams: dict[int, Stream]) -> pl.DataFrame:
    """Return a frame of SERIES and PARTS."""
    parts = [stream for stream in streams.values() if isinstance(stream, PartStream)]
    wholes = {part.whole: part.series for part in parts if part.part == BUCKET}
    frame = series_of(
        streams | {whole: Stream(of, CUMULATIVE_HISTOGRAM) for whole, of in wholes.items()}
    )
    rows = []
    for name, series, kind in frame.select("identity", "series", "kind").iter_rows():
        stream = streams.get(name)
        if isinstance(stream, PartStream):
            alone = (stream.alone, f"series-{stream.alone}", kind)
            rows.append((stream.part, stream.bound, stream.whole, *alone))
        else:
            part = TOGETHER if name in wholes else 0
            rows.append((part, inf, name, series, f"series-{series}", kind))
    beside = pl.DataFrame(rows, schema=PARTS, orient="row")
    return pl.concat([frame, beside], how="horizontal").cast(pl.Schema({**SERIES, **PARTS}))


@st.composite
def history(draw: st.DrawFn, number: int) -> list[HistogramPoint]:
    """Histograms in order of time; the process restarts, with a start time or without."""
    points: list[HistogramPoint] = []
    ts = ORIGIN + draw(st.integers(0, 30))
    start = draw(st.sampled_from([0, ts - 1, ts - 50, ts - 5000]))
    counts = [0] * len(BOUNDS)
    for _ in range(draw(st.integers(1, 8))):
        for bucket in draw(st.lists(st.integers(0, len(BOUNDS) - 1), max_size=4)):
            counts[bucket] += draw(st.integers(1, 4))
        points.append(histogram(number, ts, start, counts))
        step = draw(st.sampled_from([1, 2, 5, 9, 30, 70]))
        if draw(st.integers(0, 4)) == 0:
            counts = [0] * len(BOUNDS)
            start = start and draw(st.integers(ts, ts + step))
        ts += step
    return points


@st.composite
def classic_scenarios(draw: st.DrawFn, *, ordered: bool) -> tuple[Scenario, list[HistogramPoint]]:
    """Parts in random batches over partitions, with pauses, silences and restarts; what they are of.

    Args:
        draw: of Hypothesis.
        ordered: scrapes come in order of time, each in any split, and windows fold behind them;
            else everything comes in any order, and no window ends.
    """
    streams: dict[int, Stream] = {}
    points: list[HistogramPoint] = []
    shared = identity(7777)
    for number in range(draw(st.integers(1, 3))):
        series = draw(st.sampled_from([shared, identity(7000 + number)]))
        streams |= streams_of(number, series)
        points += draw(history(number))
    sizes = Sizes(
        windows=draw(st.sampled_from([(10,), (10, 30, 60)])),
        lateness=draw(st.sampled_from([0, 7, 40])) if ordered else 10**6,
        counter_horizon=draw(st.sampled_from([0, 20, 1000])),
    )
    times: dict[int, list[Point]] = defaultdict(list)
    for point in points:
        times[point.ts if ordered else 0] += parts_of(point, streams)  # type: ignore[arg-type]
    partitions = draw(st.integers(1, 3))
    scenario = Scenario(streams, sizes, partitions, draw(st.integers(1, partitions)), set())
    shuffle = draw(st.randoms(use_true_random=False))
    whats = ["restart", "notify", "replay", "idle", "idle one"]
    for at in sorted(times):
        parts = times[at]
        parts += [part for part in parts if shuffle.random() < 0.1]  # sent again
        shuffle.shuffle(parts)
        while parts:
            size = shuffle.choice([1, 3, 10, 40])
            batch, parts = parts[:size], parts[size:]
            scenario.actions.append(Action("send", shuffle.randrange(partitions), tuple(batch)))
            if shuffle.random() < 0.3:
                what = shuffle.choice(whats)
                scenario.actions.append(Action(what, shuffle.randrange(partitions)))
    return scenario, points
