"""The computation that the flow's rollups of histograms are compared with, by hand."""

from __future__ import annotations

from fractions import Fraction
from math import inf

import pytest

from tests.flows.histogram_expectation import exponential_quantile, from_histogram_points, quantile
from tests.flows.histograms import Bucket, HistogramPoint
from tests.flows.telemetry import SECOND, decode_histograms, encode

WINDOW = 10 * SECOND
# testhistogram_bucket of Prometheus' promql/promqltest/testdata/histograms.test, and its answers.
POSITIVE = {(-inf, 0.1): 50, (0.1, 0.2): 20, (0.2, 1.0): 40, (1.0, inf): 10}
NEGATIVE = {(-inf, -0.2): 10, (-0.2, -0.1): 10, (0.3, inf): 10}
BEGIN = 1_700_000_000 * SECOND


def cumulative(second: int, start: int, counts: tuple[int, ...], total: float) -> HistogramPoint:
    return HistogramPoint(
        name="h", ts=BEGIN + second * SECOND, start=BEGIN + start * SECOND, kind="cumulative",
        sum=total, bounds=(1.0, 2.0), counts=counts,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("buckets", "rank", "expected"),
    [
        (POSITIVE, "0.2", 0.048),
        (POSITIVE, "0.5", 0.15),
        (POSITIVE, "0.8", 0.72),
        (NEGATIVE, "0.2", -0.2),
        (NEGATIVE, "0.5", -0.15),
        (NEGATIVE, "0.8", 0.3),
    ],
)
def test_a_quantile_is_what_prometheus_makes_of_the_buckets(
    buckets: dict[Bucket, int], rank: str, expected: float
) -> None:
    assert quantile(buckets, Fraction(rank), None, None) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("rank", "expected"),
    [  # single_histogram of Prometheus' native_histograms.test: {sum:5, count:4, buckets:[1 2 1]}
        ("0.25", 1.0), ("0.5", 2**0.5), ("0.75", 2.0), ("0.9", 2 * 2**0.6),
    ],
)  # fmt: skip
def test_a_quantile_of_exponential_buckets_is_what_prometheus_makes_of_them(
    rank: str, expected: float
) -> None:
    buckets = {(0.5, 1.0): 1, (1.0, 2.0): 2, (2.0, 4.0): 1}
    found = exponential_quantile(buckets, Fraction(rank), None, None)
    assert found == pytest.approx(expected, rel=1e-12)


def test_open_ends_reach_to_the_extremes_where_they_are_known() -> None:
    buckets = {(-inf, 1.0): 2, (1.0, inf): 2}
    assert quantile(buckets, Fraction("0.25"), 0.5, 3.0) == 0.75
    assert quantile(buckets, Fraction("0.75"), 0.5, 3.0) == 2.0
    assert quantile(buckets, Fraction("0.75"), None, None) == 1.0
    assert quantile({(-inf, -1.0): 2}, Fraction("0.5"), None, None) == -1.0
    assert quantile({}, Fraction("0.5"), None, None) is None


def test_cumulative_points_add_what_they_have_more_and_all_of_it_after_a_reset() -> None:
    points = [
        cumulative(1, 0, (1, 0, 0), 0.5),
        cumulative(5, 0, (1, 2, 0), 3.5),  # two more
        cumulative(8, 6, (3, 0, 1), 6.0),  # said to be new: all four
        cumulative(12, 6, (2, 3, 1), 7.0),  # a bucket fell: all six
    ]
    first, second = from_histogram_points(reversed(points), WINDOW).sort("time").rows(named=True)
    assert (first["count"], first["sum"], first["increase"], first["rate"]) == (7, 9.5, 7.0, 1.0)
    assert (first["p50"], first["mean"]) == (0.875, pytest.approx(9.5 / 7))
    assert (second["count"], second["sum"], second["min"]) == (6, 7.0, None)


def test_the_message_holds_what_the_points_say() -> None:
    explicit = cumulative(1, 0, (1, 2, 3), 11.5)
    exponential = HistogramPoint(
        name="e", ts=BEGIN, start=BEGIN - 1, kind="cumulative", sum=2.0, scale=0,
        positive={-2: 1, 1: 2}, negative={0: 4}, zeros=5,
    )  # fmt: skip
    found = list(decode_histograms(encode([explicit, exponential])))
    assert [(point.count, point.sum) for point in found] == [(6, 11.5), (12, 2.0)]
    assert exponential.buckets() == {
        (0.25, 0.5): 1, (2.0, 4.0): 2, (-2.0, -1.0): 4, (0.0, 0.0): 5
    }  # fmt: skip
