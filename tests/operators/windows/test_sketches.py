"""Sketches: merged in any order they are the same, and their quantiles are those of the values.

The oracles are NumPy's ``quantile`` for values, Prometheus' own ``histogram_quantile`` for explicit
histograms (by ``promtool test rules``), and a cumulative distribution in exact fractions for what
overlaps.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.contracts.distributions import exponential_bounds
from operators.contracts.frames import QUANTILES
from operators.windows.sketches import (
    Sketches,
    concat_sketches,
    merge_sketches,
    of_values,
    quantiles,
)
from tests.operators.windows import rollup_reference as reference

relaxed = settings(deadline=None)  # the first call compiles


def sketch(
    *segments: tuple[float, float, int],
    owner: int = 0,
    stamp: int = 1,
    exponential: bool = False,
) -> Sketches:
    columns = np.array(segments, float).reshape(-1, 3).T
    return Sketches(
        np.array([owner], np.int32), np.array([stamp]), np.array([exponential]),
        np.array([0, len(segments)]),
        columns[0].copy(), columns[1].copy(), columns[2].astype(np.int64),
    )  # fmt: skip


def merged(*parts: Sketches, in_time: bool = True) -> Sketches:
    return merge_sketches(parts, in_time=in_time)


def same(one: Sketches, other: Sketches) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def of(values: list[float]) -> Sketches:
    array = np.array(values, float)
    return merged(of_values(np.zeros(len(array), np.int32), np.arange(len(array)), array))


def percentiles(found: Sketches, least: float = np.nan, most: float = np.nan) -> list[float]:
    return quantiles(found, np.array([least]), np.array([most]))[0].tolist()


exponents = st.floats(-300, 300)
magnitudes = st.builds(lambda sign, x: sign * 10.0**x, st.sampled_from([-1, 1]), exponents)
values_ = st.lists(st.one_of(st.just(0.0), magnitudes, st.floats(-100, 100)), min_size=1)


@st.composite
def segments_(draw: st.DrawFn) -> list[tuple[float, float, int]]:
    """Buckets of one producer: explicit ones of some bounds, or exponential ones of a scale."""
    if draw(st.booleans()):
        inner = sorted(draw(st.sets(st.integers(-20, 20), min_size=1, max_size=6)))
        bounds = [-inf, *map(float, inner), inf]
    else:
        scale = draw(st.integers(-1, 4))
        first = draw(st.integers(-8, 8))
        bounds = exponential_bounds(scale, np.arange(first, first + 7)).tolist()
    weights = [draw(st.integers(0, 5)) for _ in bounds[1:]]
    found = [
        (lower, upper, weight)
        for (lower, upper), weight in zip(pairwise(bounds), weights, strict=True)
        if weight
    ]
    return found or [(bounds[0], bounds[1], 1)]


@relaxed
@given(st.lists(segments_(), min_size=1, max_size=5), st.randoms())
def test_merging_is_exact_in_any_order_and_grouping(lists, random):
    parts = [sketch(*segments) for segments in lists]
    whole = merged(*parts)
    one_by_one = parts[0]
    for part in parts[1:]:
        one_by_one = merged(one_by_one, part)
    assert same(one_by_one, whole)
    random.shuffle(parts)
    assert same(merged(*parts), whole)
    assert same(merged(concat_sketches(parts), in_time=False), whole)
    assert whole.weight.sum() == sum(weight for segments in lists for *_, weight in segments)


@relaxed
@given(values_)
def test_percentiles_of_values_of_any_size_and_sign_are_within_one_percent(values):
    found = percentiles(of(values), min(values), max(values))
    expected = np.quantile(values, list(QUANTILES.values()), method="inverted_cdf")
    assert found == pytest.approx(expected.tolist(), rel=0.01, abs=0)


@relaxed
@given(values_, values_)
def test_a_sketch_of_values_does_not_depend_on_how_they_were_spread(one, other):
    apart, together = merged(of(one), of(other)), of(one + other)
    assert same(apart._replace(stamp=together.stamp), together)


@settings(relaxed, max_examples=50)
@given(st.lists(segments_(), min_size=1, max_size=4))
def test_percentiles_of_overlapping_buckets_are_those_of_the_sum_of_their_distributions(lists):
    found = percentiles(merged(*(sketch(*segments) for segments in lists)))
    total: dict[tuple[float, float], int] = {}
    for segments in lists:
        for lower, upper, weight in segments:
            total[lower, upper] = total.get((lower, upper), 0) + weight
    for value, rank in zip(found, reference.RANKS, strict=True):
        expected = reference.quantile(total, rank, None, None)
        assert value == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_known_extremes_bound_what_open_buckets_hold():
    open_ended = sketch((-inf, 1.0, 2), (1.0, 5.0, 1), (5.0, inf, 7))
    low, *_, high = percentiles(open_ended, least=-3.0, most=25.0)
    assert low == pytest.approx(5 + 20 * 2 / 7)
    assert high == pytest.approx(5 + 20 * 6.9 / 7)
    assert percentiles(sketch((-inf, inf, 4)), least=2.0, most=4.0)[0] == pytest.approx(3.0)


def test_of_summaries_the_newest_stands_and_several_at_once_have_none():
    old = sketch((0.5, 3.0, 0), (0.99, 9.0, 0), stamp=1)
    new = sketch((0.5, 4.0, 0), (0.9, 7.0, 0), stamp=2)
    for parts in ((old, new), (new, old)):
        p50, p90, *rest = percentiles(merged(*parts))
        assert (p50, p90) == (4.0, 7.0)
        assert np.isnan(rest).all()
    assert np.isnan(percentiles(merged(old, new, in_time=False))).all()


def test_infinite_values_are_the_largest_and_the_smallest():
    values = [-inf, 1.0, 2.0, inf]
    found = percentiles(of(values), -inf, inf)
    assert found[0] == pytest.approx(1.0, rel=0.01)
    assert found[3] == inf


EXPLICIT = {
    "a plain one": ((0.1, 0.5, 1.0, 5.0), (10, 30, 40, 15, 5)),
    "all in the first bucket, which begins at zero": ((0.1, 0.5), (7, 0, 0)),
    "the first bound is not above zero": ((-5.0, 0.0, 5.0), (3, 4, 0, 1)),
    "all above the highest bound": ((1.0, 2.0), (0, 0, 9)),
    "empty buckets in between": ((1.0, 2.0, 4.0, 8.0), (5, 0, 0, 5, 0)),
    "one observation": ((1.0, 2.0), (0, 1, 0)),
    "a rank that is exactly the end of a bucket": ((1.0, 2.0, 3.0), (50, 40, 5, 5)),
    "a single bound": ((2.5,), (3, 1)),
    "large counts": ((0.25, 2.5, 25.0), (123_456, 7_890_123, 456_789, 12_345)),
}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus' promtool is not here")
def test_one_explicit_histogram_has_the_quantiles_of_prometheus(tmp_path):
    """Our values stand as the expected ones in a test that Prometheus itself runs."""
    series, expectations = [], []
    for number, (bounds, counts) in enumerate(EXPLICIT.values()):
        edges = (-inf, *bounds, inf)
        segments = [
            (lower, upper, count)
            for (lower, upper), count in zip(pairwise(edges), counts, strict=True)
            if count
        ]
        upto = 0
        for upper, count in zip(edges[1:], counts, strict=True):
            upto += count
            le = "+Inf" if upper == inf else repr(upper)
            series.append({"series": f'h{number}_bucket{{le="{le}"}}', "values": str(upto)})
        for name, value in zip(QUANTILES, percentiles(sketch(*segments)), strict=True):
            expectations.append(
                {
                    "expr": f"abs(histogram_quantile({QUANTILES[name]}, h{number}_bucket) - {value})"
                    f" < bool 1e-9 * {1 + abs(value)}",
                    "eval_time": "0m",
                    "exp_samples": [{"labels": "{}", "value": 1}],
                }
            )
    file = tmp_path / "quantiles.json"  # JSON is YAML too
    test = {"interval": "1m", "input_series": series, "promql_expr_test": expectations}
    file.write_text(json.dumps({"rule_files": [], "evaluation_interval": "1m", "tests": [test]}))
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_oracle_for_overlapping_buckets_is_right_where_one_can_count():
    """Uniform over (0, 2], and over (1, 3]: half of all lies below 1.5."""
    assert reference.quantile({(0.0, 2.0): 10, (1.0, 3.0): 10}, Fraction(1, 2), None, None) == (
        pytest.approx(1.5)
    )


def native(
    positive: Sequence[int], negative: Sequence[int] = (), zeros: int = 0, threshold: float = 0.001
) -> Sketches:
    """A native histogram of schema 0 as Prometheus' tests write it: the first bucket ends at 1."""
    segments = [(2.0 ** (n - 1), 2.0**n, count) for n, count in enumerate(positive) if count]
    segments += [(-(2.0**n), -(2.0 ** (n - 1)), count) for n, count in enumerate(negative) if count]
    segments += [(-threshold, threshold, zeros)] if zeros else []
    return sketch(*sorted(segments), exponential=True)


ENGINE = {
    # Of promql/promqltest/testdata/native_histograms.test in Prometheus 3: the quantiles that its
    # engine gives, of which it has more than are computed here.
    "single_histogram": (native([1, 2, 1]), {"p50": 1.414213562373095}),
    "negative_histogram": (native([], [1, 2, 1]), {"p50": -1.414213562373095}),
    "single_zero_histogram": (native([], zeros=1, threshold=0.5), {"p50": 0.0}),
    "balanced_histogram": (native([1, 2, 1], [1, 2, 1]), {"p50": 0.5}),
    "histogram_quantile_1": (
        native([2, 3, 0, 1, 4], zeros=2),
        {"p50": 1.5874010519681994, "p90": 12.99603834169977, "p99": 15.67072476139083},
    ),
    "histogram_quantile_2": (
        native([], [2, 3, 0, 1, 4], zeros=2),
        {"p50": -1.5874010519681996, "p90": -0.0006, "p99": -0.00006},
    ),
}


@pytest.mark.parametrize("name", ENGINE)
def test_a_native_histogram_has_the_quantiles_of_prometheus_engine(name):
    histogram, expected = ENGINE[name]
    unknown = np.array([np.nan])
    found = dict(zip(QUANTILES, quantiles(histogram, unknown, unknown)[0].tolist(), strict=True))
    for quantile, value in expected.items():
        assert found[quantile] == pytest.approx(value, rel=1e-9, abs=1e-9)


def test_exponential_histograms_of_two_scales_are_interpolated_by_power_together():
    fine = sketch((1.0, 2.0**0.5, 1), (2.0**0.5, 2.0, 1), exponential=True)
    coarse = sketch((1.0, 2.0, 2), exponential=True)
    unknown = np.array([np.nan])
    both = merged(fine, coarse)
    assert both.exponential.tolist() == [True]
    # They say the same: a quarter lies below 2 to the power of one quarter.
    assert quantiles(both, unknown, unknown)[0][0] == pytest.approx(2.0**0.5)
    with_explicit = merged(both, sketch((1.0, 2.0, 4)))
    assert with_explicit.exponential.tolist() == [False]
    assert quantiles(with_explicit, unknown, unknown)[0][0] == pytest.approx(1.5, abs=0.1)


def test_a_quantile_of_very_many_segments_that_overlap_takes_no_time():
    size = 40_000
    edges = np.arange(size) * 2.0
    many = sketch(*zip(edges, edges + 2, [1] * size, strict=True))
    others = sketch(*zip(edges + 1, edges + 3, [1] * size, strict=True), owner=0)
    unknown = np.array([np.nan])
    quantiles(merged(sketch((0, 2, 1)), sketch((1, 3, 1))), unknown, unknown)  # compiles
    begin = time.process_time()
    found = quantiles(merged(many, others), unknown, unknown)[0]
    assert time.process_time() - begin < 2
    expected = [share * 2 * size + 0.5 for share in (0.5, 0.9, 0.95, 0.99)]
    assert found == pytest.approx(expected, abs=1)


def test_segments_that_begin_alike_are_sorted_whatever_their_number():
    size = 40_000
    upper = np.random.default_rng(3).permutation(size) + 1.0
    found = merged(sketch(*((-inf, end, 1) for end in upper)), sketch((-inf, 1.0, 1)))
    assert found.upper.tolist() == [float(end) for end in range(1, size + 1)]
    assert found.weight.tolist() == [2] + [1] * (size - 1)
