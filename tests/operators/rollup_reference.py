"""The rollups of a list of points, worked out one point after the other: slow, and easy to check.

Nothing here comes from the code under test. It says in plain Python what the docstrings of
``operators.sums`` and ``operators.shard`` promise, and ``operators.frames`` define.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from math import fsum
from typing import NamedTuple

GAUGE, DELTA, CUMULATIVE = 0, 1, 2


class Point(NamedTuple):
    identity: int
    ts: int
    start: int
    value: float


@dataclass(frozen=True)
class Stream:
    """What the registry knows of an identity."""

    series: int
    kind: int


@dataclass(frozen=True)
class Rollup:
    count: int
    sum: float
    min: float
    max: float
    last: float
    increase: float | None


def increases(points: Iterable[Point], horizon: int) -> list[float]:
    """Return what each point of one cumulative sum, in order of time, adds to its total."""
    added = []
    before: Point | None = None
    for point in points:
        known = 0 < point.start < point.ts
        if before is None:
            counts = known and point.ts - point.start <= horizon
            added.append(point.value if counts else 0.0)
        elif point.start != before.start and point.start >= before.ts:
            added.append(point.value if known else 0.0)
        elif point.value < before.value:
            added.append(point.value)
        else:
            added.append(point.value - before.value)
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


def without_overlaps(points: Iterable[Point]) -> list[Point]:
    """Return the deltas whose interval does not reach into that of one kept before."""
    kept: list[Point] = []
    for point in points:
        before = kept[-1] if kept else None
        if before and before.start and point.start and point.start < before.ts:
            continue
        if before and before.ts == point.ts and point.start:
            continue
        kept.append(point)
    return kept


def rollups(
    points: Iterable[Point], streams: Mapping[int, Stream], window: int, horizon: int
) -> dict[tuple[int, int], Rollup]:
    """Return the rollups by series and start of the window."""
    held: dict[tuple[int, int], list[tuple[Point, float | None]]] = defaultdict(list)
    for identity, of_one in groupby(sorted(points), key=lambda point: point.identity):
        stream = streams[identity]
        ordered = once(list(of_one), stream.kind)
        added: list[float | None]
        if stream.kind == CUMULATIVE:
            added = list(increases(ordered, horizon))
        elif stream.kind == DELTA:
            ordered = without_overlaps(ordered)
            added = [point.value for point in ordered]
        else:
            added = [None] * len(ordered)
        for point, increase in zip(ordered, added, strict=True):
            held[stream.series, point.ts // window * window].append((point, increase))
    found = {}
    for key, entries in held.items():
        values = [point.value for point, _ in entries]
        latest = max(point.ts for point, _ in entries)
        rises = [increase for _, increase in entries if increase is not None]
        found[key] = Rollup(
            count=len(values),
            sum=fsum(values),
            min=min(values),
            max=max(values),
            last=max(point.value for point, _ in entries if point.ts == latest),
            increase=fsum(rises) if rises else None,
        )
    return found
