"""Durations are counted as a plain count by group and bucket would."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.contracts.distributions import exponential_bounds
from operators.traces.calls import MILLISECOND, SECOND, durations_of
from operators.traces.rows import ONE

BOUNDS = exponential_bounds(7, np.arange(-4000, 6001))
EDGES = st.builds(
    lambda power, step: max(int(2.0 ** (power / 128) * 1e6) + step, 0),
    st.integers(-2500, 2500),
    st.integers(-1, 1),
)
SPANS = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.integers(-2, 2**62) | st.integers(0, 2_000_000_000) | EDGES,
        st.just(ONE) | st.integers(ONE, 100 * ONE),
    ),
    max_size=60,
)


def bucket(duration: int, unit: float) -> int:
    """Return the bucket by a search among all bounds: each has its upper one and not its lower one."""
    return int(np.searchsorted(BOUNDS, duration / unit, side="left")) if duration > 0 else 0


@given(SPANS, st.sampled_from([MILLISECOND, SECOND]))
def test_each_group_has_its_buckets_in_order(spans, unit):
    groups, durations, weights = (
        np.array([span[at] for span in spans], np.int64) for at in range(3)
    )
    found = durations_of(groups, 5, durations, weights, unit)
    for group in range(5):
        mine = [(duration, weight) for of, duration, weight in spans if of == group]
        buckets: Counter[int] = Counter()
        for duration, weight in mine:
            buckets[bucket(duration, unit)] += weight
        span = slice(found.offsets[group], found.offsets[group + 1])
        assert found.bucket[span].tolist() == sorted(buckets)
        assert found.weight[span].tolist() == [buckets[each] for each in sorted(buckets)]
        assert found.count[group] == sum(weight for _, weight in mine)
        total = sum(duration * weight for duration, weight in mine)
        assert found.sum[group] == pytest.approx(total, rel=1e-15)
        if mine:
            assert found.least[group] == min(duration for duration, _ in mine)
            assert found.most[group] == max(0, *(duration for duration, _ in mine))
