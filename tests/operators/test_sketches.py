"""Sketches: merged in any order they are the same, and their quantiles are those of the values.

The oracles are NumPy's ``quantile`` for values, Prometheus' own ``histogram_quantile`` for explicit
histograms (by ``promtool test rules``), and a cumulative distribution in exact fractions for what
overlaps.
"""

import json
import shutil
import subprocess
from fractions import Fraction
from itertools import pairwise
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.distributions import exponential_bounds
from operators.frames import QUANTILES
from operators.sketches import Sketches, concat_sketches, merge_sketches, of_values, quantiles
from tests.operators import rollup_reference as reference

relaxed = settings(deadline=None)  # the first call compiles


def sketch(*segments: tuple[float, float, int], owner: int = 0, stamp: int = 1) -> Sketches:
    columns = np.array(segments, float).reshape(-1, 3).T
    return Sketches(
        np.array([owner], np.int32), np.array([stamp]), np.array([0, len(segments)]),
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
