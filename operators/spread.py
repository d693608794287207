"""Spreading the points of a poll over the shards: only then do they cross workers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from operators.distributions import Distributions

__all__ = [
    "NO_SAMPLES",
    "Observed",
    "Samples",
    "Survey",
    "spread",
    "spread_distributions",
    "survey",
]


class Samples(NamedTuple):
    """Number points on their way to a shard: one element a point in every array."""

    identity: NDArray[np.uint64]
    ts: NDArray[np.int64]
    start: NDArray[np.int64]
    value: NDArray[np.float64]


class Observed(NamedTuple):
    """Histograms and summaries on their way to a shard; see ``Distributions``."""

    identity: NDArray[np.uint64]
    ts: NDArray[np.int64]
    start: NDArray[np.int64]
    count: NDArray[np.int64]  # type: ignore[assignment]  # hides tuple.count, which nobody calls
    sum: NDArray[np.float64]
    min: NDArray[np.float64]
    max: NDArray[np.float64]
    offsets: NDArray[np.int64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    weight: NDArray[np.int64]


NO_SAMPLES = Samples(
    np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
)


class Survey(NamedTuple):
    """What times a poll holds.

    Attributes:
        largest: by place, the latest time that is not ahead; UNKNOWN-like minimum if there is none.
        ahead: by message, how many of its points are ahead of the limit.
    """

    largest: NDArray[np.int64]
    ahead: NDArray[np.int64]


@njit(cache=True, nogil=True)
def survey(
    ts: NDArray[np.int64],
    message: NDArray[np.uint32],
    places: NDArray[np.int64],
    count: int,
    limit: int,
) -> Survey:
    """Look at the times of points.

    Args:
        ts, message: of each point.
        places: of each message, which of ``count`` partitions it came from.
        limit: a later time is ahead.
    """
    largest = np.full(count, np.iinfo(np.int64).min, np.int64)
    ahead = np.zeros(len(places), np.int64)
    for i in range(len(ts)):
        if ts[i] > limit:
            ahead[message[i]] += 1
        elif ts[i] > largest[places[message[i]]]:
            largest[places[message[i]]] = ts[i]
    return Survey(largest, ahead)


@njit(cache=True, nogil=True)
def spread(
    rows: NDArray[np.int32],
    ts: NDArray[np.int64],
    start: NDArray[np.int64],
    value: NDArray[np.float64],
    identities: NDArray[np.uint64],
    shard_of: NDArray[np.int32],
    shards: int,
    limit: int,
) -> tuple[Samples, NDArray[np.int64]]:
    """Sort points by shard, in the order of their coming; those later than ``limit`` are left out.

    Args:
        rows: of each point, the row in ``identities`` and ``shard_of``.
        ts, start, value: of each point.

    Returns:
        Samples, and where in it each shard's begin, and the last one's end.
    """
    bounds = np.zeros(shards + 1, np.int64)
    for i in range(len(rows)):
        if ts[i] <= limit:
            bounds[shard_of[rows[i]] + 1] += 1
    for shard in range(shards):
        bounds[shard + 1] += bounds[shard]
    place = bounds[:-1].copy()
    size = bounds[shards]
    samples = Samples(
        np.empty(size, np.uint64),
        np.empty(size, np.int64),
        np.empty(size, np.int64),
        np.empty(size),
    )
    for i in range(len(rows)):
        if ts[i] > limit:
            continue
        row = rows[i]
        at = place[shard_of[row]]
        place[shard_of[row]] = at + 1
        samples.identity[at] = identities[row]
        samples.ts[at] = ts[i]
        samples.start[at] = start[i]
        samples.value[at] = value[i]
    return samples, bounds


def spread_distributions(
    points: Distributions,
    rows: NDArray[np.int32],
    identities: NDArray[np.uint64],
    shard_of: NDArray[np.int32],
    limit: int,
) -> dict[int, Observed]:
    """Return the histograms and summaries of each shard that has some."""
    found = {}
    shard = np.where(points.ts <= limit, shard_of[rows], -1)
    sizes = np.diff(points.offsets)
    for index in np.unique(shard[shard >= 0]):
        chosen = shard == index
        inside = np.repeat(chosen, sizes)
        found[int(index)] = Observed(
            identities[rows[chosen]],
            points.ts[chosen],
            points.start[chosen],
            points.count[chosen],
            points.sum[chosen],
            points.min[chosen],
            points.max[chosen],
            np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes[chosen]))),
            points.lower[inside],
            points.upper[inside],
            points.weight[inside],
        )
    return found
