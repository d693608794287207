"""Spreading points over shards: each point is in one place."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.contracts.distributions import Distributions
from operators.series.shuffle import spread, spread_distributions

SHARDS = 3
relaxed = settings(deadline=None)  # the first call compiles

points_ = st.lists(
    st.tuples(st.integers(0, 4), st.integers(-20, 120), st.floats(allow_nan=False)), max_size=30
)
registry_ = st.lists(st.integers(0, SHARDS - 1), min_size=5, max_size=5)


def identities() -> np.ndarray:
    return np.arange(5, dtype=np.uint64) * 1000


@relaxed
@given(points_, registry_)
def test_every_point_is_in_the_shard_of_its_series_in_order(points, shard_of):
    rows = np.array([row for row, *_ in points], np.int32)
    ts = np.array([at for _, at, _ in points], np.int64)
    value = np.array([number for *_, number in points], float)
    samples, bounds = spread(
        rows, ts, ts - 1, value, identities(), np.array(shard_of, np.int32), SHARDS
    )
    assert bounds[0] == 0
    assert bounds[-1] == len(samples.ts) == len(points)
    for shard in range(SHARDS):
        mine = slice(bounds[shard], bounds[shard + 1])
        found = zip(*(column[mine].tolist() for column in samples), strict=True)
        assert list(found) == [
            (row * 1000, at, at - 1, number) for row, at, number in points if shard_of[row] == shard
        ]


@relaxed
@given(points_, registry_)
def test_histograms_keep_their_buckets_on_the_way(points, shard_of):
    size = len(points)
    rows = np.array([row for row, *_ in points], np.int32)
    ts = np.array([at for _, at, _ in points], np.int64)
    sizes = [row + 1 for row in rows.tolist()]  # so many buckets
    edges = np.arange(sum(sizes), dtype=float)
    numbers = np.arange(size, dtype=float)
    distributions = Distributions(
        np.zeros(size, np.uint32), rows.astype(np.uint64), ts, ts, ts, numbers, numbers, numbers,
        np.zeros(size, np.bool_),
        np.cumsum([0, *sizes]), edges, edges + 1, np.arange(sum(sizes)),
    )  # fmt: skip
    found = spread_distributions(distributions, rows, identities(), np.array(shard_of, np.int32))
    chosen = list(range(size))
    assert sorted(found) == sorted({shard_of[rows[number]] for number in chosen})
    for shard, observed in found.items():
        mine = [number for number in chosen if shard_of[rows[number]] == shard]
        assert observed.sum.tolist() == mine
        for place, number in enumerate(mine):
            inside = slice(observed.offsets[place], observed.offsets[place + 1])
            begin = sum(sizes[:number])
            expected = list(range(begin, begin + sizes[number]))
            assert observed.lower[inside].tolist() == expected
            assert observed.weight[inside].tolist() == expected
