"""The table of active series does what a dictionary would, however its keys collide."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.cardinality.active_series import (
    ADMITTED,
    BEYOND_METRIC_LIMIT,
    BEYOND_TENANT_LIMIT,
    ActiveSeries,
)

# All of them want to stand at the two ends of the smallest table, 1024 slots long.
KEYS = [home + 1024 * turn for home in (1021, 1022, 1023, 0, 1) for turn in range(8)]

steps = st.one_of(
    st.tuples(st.just("admit"), st.lists(st.sampled_from(KEYS), max_size=30), st.integers(0, 50)),
    st.tuples(st.just("evict"), st.just([]), st.integers(0, 50)),
    st.tuples(st.just("restart"), st.just([]), st.just(0)),
)


@settings(deadline=None)
@given(
    steps=st.lists(steps, max_size=25),
    limit=st.integers(1, 50),
    metric_limit=st.integers(1, 20),
    metrics=st.integers(1, 4),
)
def test_it_agrees_with_a_dictionary(steps, limit, metric_limit, metrics):
    table = ActiveSeries()
    table.counts = np.zeros(metrics, np.int64)
    known: dict[int, int] = {}
    for step, keys, time in steps:
        if step == "admit":
            expected = []
            for key in keys:
                metric = key % metrics
                of_metric = sum(other % metrics == metric for other in known)
                if key in known:
                    known[key] = max(known[key], time)
                    expected.append(ADMITTED)
                elif of_metric >= metric_limit:
                    expected.append(BEYOND_METRIC_LIMIT)
                elif len(known) >= limit:
                    expected.append(BEYOND_TENANT_LIMIT)
                else:
                    known[key] = time
                    expected.append(ADMITTED)
            numbers = np.array([key % metrics for key in keys], np.int32)
            found = table.admit(np.array(keys, np.uint64), numbers, time, limit, metric_limit)
            assert found.tolist() == expected
        elif step == "evict":
            quiet = [key for key, seen in known.items() if seen < time]
            assert table.evict(time) == len(quiet)
            for key in quiet:
                del known[key]
        else:
            table = ActiveSeries.restore(table.snapshot(), metrics)
        assert len(table) == len(known)
        assert table.counts.tolist() == [
            sum(key % metrics == metric for key in known) for metric in range(metrics)
        ]


def test_it_grows_and_shrinks_with_a_hundred_thousand_series():
    series = np.random.default_rng(1).integers(0, 2**64, 100_000, dtype=np.uint64)
    numbers = np.zeros(len(series), np.int32)
    table = ActiveSeries()
    table.counts = np.zeros(1, np.int64)
    assert not table.admit(series, numbers, 1, 10**6, 10**6).any()
    assert not table.admit(series[:1000], numbers[:1000], 2, 10**6, 10**6).any()
    assert len(table) == len(np.unique(series))
    assert len(table.snapshot()) < 12 * len(series)
    table.evict(2)
    assert len(table) == 1000
    # Who is left is found, and nobody else.
    assert np.flatnonzero(table.admit(series, numbers, 3, 1000, 10**6) == ADMITTED).tolist() == (
        list(range(1000))
    )
