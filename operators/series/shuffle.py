"""Spreading the points of a poll over the shards: only then do they cross workers."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from operators.columns.read_only import read_only
from operators.contracts.distributions import Distributions
from operators.contracts.items import Observed, Samples

__all__ = ["spread", "spread_distributions"]


def spread(
    rows: NDArray[np.int32],
    ts: NDArray[np.int64],
    start: NDArray[np.int64],
    value: NDArray[np.float64],
    identities: NDArray[np.uint64],
    shard_of: NDArray[np.int32],
    shards: int,
) -> tuple[Samples, NDArray[np.int64]]:
    """Sort points by shard, in the order of their coming.

    Args:
        rows: of each point, the row in ``identities`` and ``shard_of``.
        ts, start, value: of each point.

    Returns:
        Samples, and where in it each shard's begin, and the last one's end.
    """
    found: tuple[Samples, NDArray[np.int64]] = _spread(
        rows, read_only(ts), read_only(start), read_only(value), identities, shard_of, shards
    )
    return found


@njit(cache=True, nogil=True)
def _spread(
    rows: NDArray[np.int32],
    ts: NDArray[np.int64],
    start: NDArray[np.int64],
    value: NDArray[np.float64],
    identities: NDArray[np.uint64],
    shard_of: NDArray[np.int32],
    shards: int,
) -> tuple[Samples, NDArray[np.int64]]:
    bounds = np.zeros(shards + 1, np.int64)
    for i in range(len(rows)):
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
) -> dict[int, Observed]:
    """Return the histograms and summaries of each shard that has some."""
    found = {}
    shard = shard_of[rows]
    sizes = np.diff(points.offsets)
    for index in np.unique(shard):
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
            points.exponential[chosen],
            np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes[chosen]))),
            points.lower[inside],
            points.upper[inside],
            points.weight[inside],
        )
    return found
