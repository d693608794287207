"""Sums and rates of native histograms, against sums of fractions and cases worked out by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.rules.evaluator import Evaluator
from operators.rules.native_histogram import CUSTOM, IncompatibleError, NativeHistogram, summed
from operators.rules.store import SeriesStore
from operators.rules.trimming import trimmed

VALUES = st.floats(-1e30, 1e30)
HISTOGRAMS = st.builds(
    NativeHistogram,
    schema=st.just(0),
    count=VALUES,
    sum=VALUES,
    zero_count=VALUES,
    positive=st.dictionaries(st.integers(-2, 2), VALUES),
    negative=st.dictionaries(st.integers(-2, 2), VALUES),
)


@given(st.lists(HISTOGRAMS, min_size=1, max_size=5), st.booleans())
def test_a_sum_is_that_of_the_numbers_and_is_rounded_once(hists, mean):
    made = summed(hists, mean=mean)
    by = len(hists) if mean else 1

    def expected(values):
        return float(sum(map(Fraction, values))) / by

    assert made.count == expected(one.count for one in hists)
    assert made.sum == expected(one.sum for one in hists)
    for side in ("positive", "negative"):
        indexes = {index for one in hists for index in getattr(one, side)}
        found = {
            index: expected(getattr(one, side).get(index, 0.0) for one in hists)
            for index in indexes
        }
        assert getattr(made, side) == {index: value for index, value in found.items() if value}
    assert summed(hists[::-1], mean=mean).same(made)


def test_a_mean_is_one_though_the_sum_is_too_large_and_mixed_buckets_have_none():
    large = NativeHistogram(count=1.5e308, positive={0: 1.5e308})
    assert summed([large, large], mean=True).count == pytest.approx(1.5e308)
    assert summed([large, large]).count == math.inf
    with pytest.raises(IncompatibleError):
        summed([large, NativeHistogram(CUSTOM, 1, bounds=(1.0,))])


COUNTS = st.floats(0, 1e6)
TRIMMED = st.builds(
    lambda zero, positive, negative: NativeHistogram(
        schema=1,
        count=math.fsum([zero, *positive.values(), *negative.values()]),
        sum=1.0,
        zero_threshold=0.1,
        zero_count=zero,
        positive=positive,
        negative=negative,
    ),
    COUNTS,
    st.dictionaries(st.integers(-3, 9), COUNTS),
    st.dictionaries(st.integers(-3, 9), COUNTS),
)


@given(TRIMMED, st.floats(-40, 40))
def test_what_is_below_and_above_a_value_are_the_shares_of_it(histogram, at):
    below, above = (trimmed(histogram, at, below=side) for side in (True, False))
    share = histogram.fraction(-math.inf, at) if histogram.count else 0.0
    near = {"rel": 1e-6, "abs": 1e-6 * max(histogram.count, 1e-300)}
    assert below.count == pytest.approx(share * histogram.count, **near)
    assert below.count + above.count == pytest.approx(histogram.count, **near)


def test_what_came_before_a_reset_counts_for_its_time_alone():
    store = SeriesStore()
    (row,) = store.rows([{"__name__": "h"}])
    before = NativeHistogram(CUSTOM, 30, 3, positive={0: 30}, bounds=(5.0,))
    after = NativeHistogram(0, 6, 9, positive={1: 6})
    store.append_histogram(int(row), 15_000, before)
    store.append_histogram(int(row), 45_000, after)
    plan = Evaluator(store)
    (found,) = plan.expression("increase(h[1m])").at(60_000).histograms
    # Half an interval and more at both ends: 30 s of samples stand for 60 s.
    assert (found.count, found.sum, found.positive) == (12, 18, {1: 12})
    assert not plan.notes
