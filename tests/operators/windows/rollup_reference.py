"""The rollups of a list of points, worked out one point after the other: slow, and easy to check.

Nothing here comes from the code under test. It says in plain Python what the docstrings of
``operators.windows.sums`` and ``operators.windows.shard`` promise, and ``operators.contracts.frames`` define.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from math import ceil, fsum, inf
from typing import NamedTuple

GAUGE, DELTA, CUMULATIVE, DELTA_HISTOGRAM, CUMULATIVE_HISTOGRAM, SUMMARY = range(6)
RANKS = tuple(map(Fraction, ("0.5", "0.9", "0.95", "0.99")))

Bucket = tuple[float, float]
"""Lower and upper bound."""


class Point(NamedTuple):
    identity: int
    ts: int
    start: int
    value: float


class HistogramPoint(NamedTuple):
    """A histogram, or a summary: its buckets are quantiles and their values, and weigh nothing."""

    identity: int
    ts: int
    start: int
    count: int
    sum: float
    min: float | None
    max: float | None
    buckets: tuple[tuple[float, float, int], ...]


AnyPoint = Point | HistogramPoint


@dataclass(frozen=True)
class Stream:
    """What the registry knows of an identity."""

    series: int
    kind: int


@dataclass(frozen=True)
class Rollup:
    count: int
    sum: float | None
    min: float | None
    max: float | None
    last: float | None
    increase: float | None
    percentiles: tuple[float | None, ...] = (None,) * 4
    rate: float | None = None


class Rise(NamedTuple):
    """What a point adds to its sum, and the time that this covers; None where nobody says."""

    amount: float
    covers: int | None


def rate(rises: Iterable[tuple[int, Rise | None]], window: int) -> float | None:
    """Return the rate of rises of some identities, as ``operators.windows.rollups.rates`` says."""
    listed = [(identity, rise) for identity, rise in rises if rise is not None]
    if not listed:
        return None
    total = fsum(rise.amount for _, rise in listed)
    covers = [rise.covers for _, rise in listed]
    if None in covers:
        return total / (window / 1e9)
    time = sum(covers)
    if len({identity for identity, _ in listed}) > 1:
        time = max(min(time, window), *covers)
    return total / (time / 1e9) if time else None


def increases(points: Iterable[Point], horizon: int) -> list[Rise]:
    """Return what each point of one cumulative sum, in order of time, adds to its total."""
    added = []
    before: Point | None = None
    for point in points:
        known = 0 < point.start < point.ts
        if before is None:
            counts = known and point.ts - point.start <= horizon
            added.append(Rise(point.value, point.ts - point.start) if counts else Rise(0.0, 0))
        elif point.start != before.start and point.start >= before.ts:
            added.append(Rise(point.value, point.ts - point.start) if known else Rise(0.0, 0))
        elif point.value < before.value:
            added.append(Rise(point.value, point.ts - before.ts))
        else:
            added.append(Rise(point.value - before.value, point.ts - before.ts))
        before = point
    return added


def once(points: Iterable[Point], kind: int) -> list[Point]:
    """Return one point a time, in order: of several the largest. Deltas without a start all stay."""
    events = [point for point in points if kind == DELTA and point.start == 0]
    by_time: dict[int, Point] = {}
    for point in points:
        if kind == DELTA and point.start == 0:
            continue
        known = by_time.get(point.ts)
        if known is None or (point.value, point.start) > (known.value, known.start):
            by_time[point.ts] = point
    return sorted([*events, *by_time.values()], key=lambda p: (p.ts, -p.value, -p.start))


def is_overlap(point: AnyPoint, end: int) -> bool:
    """Whether a delta's interval overlaps one that ended at ``end``, and not for a wobbling clock."""
    reach = end - point.start
    return reach > 0 and (reach > 10**9 or reach * 2 >= point.ts - point.start)


def without_overlaps(points: Iterable[Point]) -> list[Point]:
    """Return the deltas whose interval does not reach into that of one kept before."""
    kept: list[Point] = []
    for point in points:
        before = kept[-1] if kept else None
        if before and before.start and point.start and is_overlap(point, before.ts):
            continue
        if before and before.ts == point.ts and point.start:
            continue
        kept.append(point)
    return kept


def rollups(
    points: Iterable[AnyPoint], streams: Mapping[int, Stream], window: int, horizon: int
) -> dict[tuple[int, int], Rollup]:
    """Return the rollups by series and start of the window."""
    numbers = [point for point in points if isinstance(point, Point)]
    histograms = [point for point in points if isinstance(point, HistogramPoint)]
    return {
        **number_rollups(numbers, streams, window, horizon),
        **histogram_rollups(histograms, streams, window, horizon),
    }


def number_rollups(
    points: Iterable[Point], streams: Mapping[int, Stream], window: int, horizon: int
) -> dict[tuple[int, int], Rollup]:
    """Return those of gauges and sums; percentiles are of the values themselves."""
    held: dict[tuple[int, int], list[tuple[Point, Rise | None]]] = defaultdict(list)
    for identity, of_one in groupby(sorted(points), key=lambda point: point.identity):
        stream = streams[identity]
        ordered = once(list(of_one), stream.kind)
        added: list[Rise | None]
        if stream.kind == CUMULATIVE:
            added = list(increases(ordered, horizon))
        elif stream.kind == DELTA:
            ordered = without_overlaps(ordered)
            added = [
                Rise(point.value, point.ts - point.start if 0 < point.start < point.ts else None)
                for point in ordered
            ]
        else:
            added = [None] * len(ordered)
        for point, rise in zip(ordered, added, strict=True):
            held[stream.series, point.ts // window * window].append((point, rise))
    found = {}
    for key, entries in held.items():
        values = [point.value for point, _ in entries]
        latest = max(point.ts for point, _ in entries)
        rises = [rise.amount for _, rise in entries if rise is not None]
        found[key] = Rollup(
            count=len(values),
            sum=fsum(values),
            min=min(values),
            max=max(values),
            last=max(point.value for point, _ in entries if point.ts == latest),
            increase=fsum(rises) if rises else None,
            percentiles=tuple(sorted(values)[ceil(rank * len(values)) - 1] for rank in RANKS),
            rate=rate(((point.identity, rise) for point, rise in entries), window),
        )
    return found


class Share(NamedTuple):
    """What one histogram adds to its window."""

    point: HistogramPoint
    count: int
    sum: Fraction
    buckets: Mapping[Bucket, int]
    covers: int | None


def shares(points: Iterable[HistogramPoint], kind: int, horizon: int) -> list[Share]:
    """Return what each accepted point of one histogram, in order of time, adds."""
    found: list[Share] = []
    before: HistogramPoint | None = None
    # Of two at one time the one with more observations stands.
    for point in sorted(points, key=lambda p: (p.ts, -p.count, -p.sum, -p.start)):
        known = 0 < point.start < point.ts
        since = point.ts - point.start if known else None
        whole = Share(point, point.count, Fraction(point.sum), buckets_of(point), since)
        nothing = Share(point, 0, Fraction(0), {}, 0)
        again = whole._replace(covers=point.ts - before.ts) if before else whole
        if kind == DELTA_HISTOGRAM:
            if before and point.start and point.ts == before.ts:
                continue
            if before and before.start and point.start and is_overlap(point, before.ts):
                continue
            found.append(whole)
        elif before is None:
            found.append(whole if known and point.ts - point.start <= horizon else nothing)
        elif point.ts == before.ts:
            continue
        elif point.start not in (0, before.start) and point.start >= before.ts:
            found.append(whole if known else nothing)
        elif point.count < before.count:
            found.append(again)
        else:
            found.append(difference(again, before, summary=kind == SUMMARY))
        before = point
    return found


def buckets_of(point: HistogramPoint) -> dict[Bucket, int]:
    return {(lower, upper): weight for lower, upper, weight in point.buckets}


def difference(whole: Share, before: HistogramPoint, *, summary: bool) -> Share:
    """Return what a cumulative histogram has more than the one before it."""
    left = dict(whole.buckets)
    less = whole._replace(
        count=whole.count - before.count, sum=whole.sum - Fraction(before.sum), buckets=left
    )
    if summary:
        return less
    fits = True
    for (lower, upper), weight in buckets_of(before).items():
        homes = [bucket for bucket in left if bucket[0] <= lower and upper <= bucket[1]]
        if homes:
            left[homes[0]] -= weight
            continue
        fits = False
        if not any(low < upper and high > lower for low, high in left):
            return whole  # what was there is gone: it began anew
    if any(weight < 0 for weight in left.values()):
        return whole
    return less if fits else Share(whole.point, 0, Fraction(0), {}, 0)


def histogram_rollups(
    points: Iterable[HistogramPoint], streams: Mapping[int, Stream], window: int, horizon: int
) -> dict[tuple[int, int], Rollup]:
    """Return those of histograms and summaries."""
    held: dict[tuple[int, int], list[Share]] = defaultdict(list)
    for identity, of_one in groupby(
        sorted(points, key=lambda point: point.identity), key=lambda point: point.identity
    ):
        stream = streams[identity]
        for share in shares(list(of_one), stream.kind, horizon):
            held[stream.series, share.point.ts // window * window].append(share)
    kinds = {stream.series: stream.kind for stream in streams.values()}
    return {key: histogram_rollup(entries, kinds[key[0]], window) for key, entries in held.items()}


def histogram_rollup(entries: list[Share], kind: int, window: int) -> Rollup:
    count = sum(share.count for share in entries)
    observing = [share.point for share in entries if share.count]
    least = most = None
    if kind == DELTA_HISTOGRAM and observing:
        least = min((p.min for p in observing if p.min is not None), default=None)
        most = max((p.max for p in observing if p.max is not None), default=None)
    merged: dict[Bucket, int] = defaultdict(int)
    for share in entries:
        for bucket, weight in share.buckets.items():
            merged[bucket] += weight
    if kind == SUMMARY:
        percentiles = last_of_summaries(entries)
    else:
        held = {bucket: weight for bucket, weight in merged.items() if weight}
        percentiles = tuple(quantile(held, rank, least, most) for rank in RANKS)
    return Rollup(
        count, float(sum(share.sum for share in entries)), least, most, None, count, percentiles,
        rate(
            ((share.point.identity, Rise(share.count, share.covers)) for share in entries), window
        ),
    )  # fmt: skip


def last_of_summaries(entries: list[Share]) -> tuple[float | None, ...]:
    """Return the quantiles of the newest point; several streams in one series have none."""
    newest = max((share.point for share in entries), key=lambda point: point.ts)
    told = {Fraction(str(rank)): value for rank, value, _ in newest.buckets}
    return tuple(told.get(rank) for rank in RANKS)


def quantile(
    buckets: Mapping[Bucket, int], rank: Fraction, least: float | None, most: float | None
) -> float | None:
    """Return where the cumulative distribution of all buckets reaches ``rank``."""
    if not buckets:
        return None
    # Buckets hold what is above their lower bound, up to the upper one; below zero it may be the
    # other way round. Extremes that they contradict are of some histograms only.
    if least is not None and any(upper < least for _, upper in buckets):
        least = None
    if most is not None and any(
        most < lower or (most == lower < upper and most >= 0) for lower, upper in buckets
    ):
        most = None
    segments = [(*ends(*bucket, least, most), weight) for bucket, weight in buckets.items()]
    target = rank * sum(buckets.values()) * (1 - Fraction(1, 10**12))

    def upto(x: Fraction, *, inclusive: bool) -> Fraction:
        total = Fraction(0)
        for low, high, weight in segments:
            if high < x or (high == x and (inclusive or low < high)):
                total += weight
            elif low < x:
                total += weight * (x - low) / (high - low)
        return total

    bounds = sorted({bound for low, high, _ in segments for bound in (low, high)})
    before = bounds[0]
    found = bounds[-1]
    for bound in bounds:
        if upto(bound, inclusive=True) >= target:
            below, reached = upto(before, inclusive=True), upto(bound, inclusive=False)
            found = bound
            if reached >= target and bound > before:
                found = before + (bound - before) * (target - below) / (reached - below)
            break
        before = bound
    value = float(found)
    value = value if least is None else max(value, least)
    return value if most is None else min(value, most)


def ends(
    lower: float, upper: float, least: float | None, most: float | None
) -> tuple[Fraction, Fraction]:
    """Return finite bounds, as Prometheus takes them where the extremes are not known."""
    if lower == -inf:
        lower = min(least, upper) if least is not None else (0.0 if upper > 0 else upper)
    if upper == inf:
        upper = max(most, lower) if most is not None else lower
    return Fraction(lower), Fraction(upper)
