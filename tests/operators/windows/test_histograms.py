"""What a histogram adds to its window, from the texts that say so, whatever batches it came in.

OpenTelemetry, metrics data model: "Resets and Gaps", "Cumulative streams: handling unknown start
time", "Overlap", "Histogram", and "ExponentialHistogram: Producer expectations", by which a
producer may lower its scale at any time.
"""

from itertools import pairwise, permutations
from math import inf

import pytest

from operators.contracts.distributions import exponential_bounds
from operators.contracts.watermark import Mark
from tests.operators.windows.rollup_reference import (
    CUMULATIVE_HISTOGRAM,
    DELTA_HISTOGRAM,
    SUMMARY,
    HistogramPoint,
    Rollup,
    Stream,
)
from tests.operators.windows.window_driver import Driver, Sizes

ONE = 1
WIDE = 10**6
HORIZON = 1000
SECOND = 10**9
Segments = tuple[tuple[float, float, int], ...]


def explicit(*counts: int, bounds: tuple[float, ...] = (1.0, 5.0, 10.0)) -> Segments:
    edges = (-inf, *bounds, inf)
    return tuple(
        (lower, upper, count)
        for (lower, upper), count in zip(pairwise(edges), counts, strict=True)
        if count
    )


def exponential(scale: int, offset: int, *counts: int, zeros: int = 0) -> Segments:
    edges = exponential_bounds(scale, range(offset, offset + len(counts) + 1)).tolist()
    zero = ((0.0, 0.0, zeros),) if zeros else ()
    found = ((*edge, count) for edge, count in zip(pairwise(edges), counts, strict=True) if count)
    return (*zero, *found)


# start, ts and buckets of each point, and how many observations it adds.
CUMULATIVE = {
    "a start before the first point is a true reset: it counts from zero": [
        (100, 110, explicit(1, 2, 0, 0), 3), (100, 120, explicit(1, 3, 1, 0), 2),
    ],
    "a start equal to the point's time is unknown: it adds nothing, the next counts from it": [
        (110, 110, explicit(9, 9, 9, 9), 0), (110, 120, explicit(9, 9, 9, 10), 1),
    ],
    "no start time at all is unknown too": [
        (0, 110, explicit(9, 9, 9, 9), 0), (0, 120, explicit(9, 10, 9, 9), 1),
    ],
    "a new start is a reset, also if no bucket fell": [
        (100, 110, explicit(1, 0, 0, 0), 1), (115, 120, explicit(2, 1, 0, 0), 3),
    ],
    "a reset after which the start is unknown adds nothing at first": [
        (100, 110, explicit(5, 0, 0, 0), 5), (120, 120, explicit(0, 7, 0, 0), 0),
        (120, 130, explicit(0, 9, 0, 0), 2),
    ],
    "fewer observations without a new start are a reset": [
        (100, 110, explicit(5, 5, 0, 0), 10), (100, 120, explicit(2, 1, 0, 0), 3),
    ],
    "a bucket that fell is a reset, also if there are more observations": [
        (100, 110, explicit(5, 5, 0, 0), 10), (100, 120, explicit(4, 9, 0, 0), 13),
    ],
    "a bucket that emptied is one too": [
        (100, 110, explicit(5, 0, 0, 0), 5), (100, 120, explicit(0, 0, 8, 0), 8),
    ],
    "a gap is bridged": [
        (100, 110, explicit(5, 0, 0, 0), 5), (100, 900, explicit(5, 100, 0, 0), 100),
    ],
    "the same point twice counts once": [
        (100, 110, explicit(5, 0, 0, 0), 5), (100, 110, explicit(5, 0, 0, 0), 0),
    ],
    "a histogram that began long ago and is met only now adds nothing at first": [
        (100, 101 + HORIZON, explicit(5, 0, 0, 0), 0), (100, 102 + HORIZON, explicit(5, 1, 0, 0), 1),
    ],
    "finer bounds than before say nothing of what was observed meanwhile": [
        (100, 110, explicit(0, 4, 0, 0), 4),
        (100, 120, explicit(0, 3, 3, 0, bounds=(1.0, 3.0, 5.0)), 0),
        (100, 130, explicit(0, 3, 5, 0, bounds=(1.0, 3.0, 5.0)), 2),
    ],
    "coarser bounds than before hold the old buckets": [
        (100, 110, explicit(1, 4, 0, 0), 5), (100, 120, explicit(6, 2, 0, bounds=(5.0, 10.0)), 3),
    ],
    "a lower scale holds the old buckets": [
        (100, 110, exponential(1, 0, 1, 1, 2), 4), (100, 120, exponential(0, 0, 2, 3), 1),
        (100, 130, exponential(-1, 0, 6), 1),
    ],
    "a higher scale comes with a restart only, and says nothing without a start": [
        (100, 110, exponential(0, 0, 4), 4), (100, 120, exponential(1, 0, 3, 3), 0),
        (125, 130, exponential(2, 0, 1, 0, 1), 2),
    ],
    "an exponential histogram's reset counts before its old peak is passed": [
        (100, 110, exponential(3, 5, 50), 50), (115, 120, exponential(3, 9, 2), 2),
        (115, 130, exponential(3, 9, 3), 1),
    ],
    "a bucket that is new": [
        (100, 110, exponential(0, -2, 3, 2), 5), (100, 120, exponential(0, -2, 3, 2, 0, 4), 4),
    ],
    "zeros go on": [
        (100, 110, exponential(0, 0, 1, zeros=3), 4), (100, 120, exponential(0, 0, 2, zeros=7), 5),
    ],
    "an empty histogram goes on too": [
        (100, 110, (), 0), (100, 120, explicit(0, 2, 0, 0), 2), (100, 130, explicit(0, 2, 0, 0), 0),
    ],
}  # fmt: skip

DELTAS = {
    "deltas that follow each other all count": [
        (100, 110, explicit(1, 0, 0, 0), 1), (110, 120, explicit(0, 2, 0, 0), 2),
    ],
    "deltas of different scales add up": [
        (100, 110, exponential(4, 0, 1, 1), 2), (110, 120, exponential(1, 0, 2), 2),
    ],
    "a delta that reaches into the one before is an overlap": [
        (100, 110, explicit(1, 0, 0, 0), 1), (105, 115, explicit(0, 2, 0, 0), 0),
        (110, 120, explicit(0, 0, 3, 0), 3),
    ],
    "the same delta sent twice counts once": [
        (100, 110, explicit(1, 0, 0, 0), 1), (100, 110, explicit(1, 0, 0, 0), 0),
    ],
    "deltas without a start time are events: all of them count": [
        (0, 110, explicit(1, 0, 0, 0), 1), (0, 110, explicit(1, 0, 0, 0), 1),
    ],
}  # fmt: skip


def point(start: int, ts: int, buckets: Segments, **more: float) -> HistogramPoint:
    count = sum(weight for *_, weight in buckets)
    return HistogramPoint(
        ONE, ts, start, count, 2.0 * count, more.get("least"), more.get("most"), buckets
    )


def whole(batches: list[list[HistogramPoint]], kind: int, window: int = WIDE) -> Rollup:
    """Bring points of one identity in ``batches`` to a shard, to their end."""
    sizes = Sizes(windows=(window,), counter_horizon=HORIZON, disorder=window)
    driver = Driver(sizes, {ONE: Stream(ONE, kind)})
    driver.send(marks={"t/0": Mark.LIVE})
    for batch in batches:
        driver.send(batch)
    driver.send(marks={"t/0": Mark.ENDED})
    return driver.final(window)[ONE, 0]


@pytest.mark.parametrize("name", CUMULATIVE)
def test_a_cumulative_histogram_adds_what_the_data_model_says_in_whatever_batches(name):
    points = [point(*entry[:3]) for entry in CUMULATIVE[name]]
    for upto in range(1, len(points) + 1):
        expected = sum(entry[3] for entry in CUMULATIVE[name][:upto])
        together = whole([points[:upto]], CUMULATIVE_HISTOGRAM)
        one_by_one = whole([[each] for each in points[:upto]], CUMULATIVE_HISTOGRAM)
        backwards = whole([[each] for each in reversed(points[:upto])], CUMULATIVE_HISTOGRAM)
        assert (together.count, together.sum, together.increase) == (
            expected, 2.0 * expected, expected
        )  # fmt: skip
        assert together == one_by_one == backwards


@pytest.mark.parametrize("name", DELTAS)
def test_a_delta_histogram_adds_what_the_data_model_says_in_any_order(name):
    entries = DELTAS[name]
    for order in permutations([point(*entry[:3]) for entry in entries]):
        for batches in ([list(order)], [[each] for each in order]):
            assert whole(batches, DELTA_HISTOGRAM).count == sum(entry[3] for entry in entries)


def test_a_writer_that_was_superseded_adds_nothing():
    times = [
        (10, 100, (9, 0, 0, 0)), (101, 105, (0, 2, 0, 0)), (10, 110, (9, 1, 0, 0)),
        (101, 115, (0, 3, 0, 0)),
    ]  # fmt: skip
    points = [point(a * SECOND, b * SECOND, explicit(*counts)) for a, b, counts in times]
    assert whole([points], CUMULATIVE_HISTOGRAM, 1000 * SECOND).count == 0 + 2 + 1


def test_one_that_began_before_the_last_point_of_the_old_one_is_a_reset():
    times = [(10, 100, (2, 0, 0, 0)), (95, 105, (3, 0, 0, 0))]
    points = [point(a * SECOND, b * SECOND, explicit(*counts)) for a, b, counts in times]
    assert whole([points], CUMULATIVE_HISTOGRAM, 1000 * SECOND).count == 3


def test_of_two_different_points_at_one_time_one_counts_whichever_came_first():
    few, many = point(100, 110, explicit(1, 0, 0, 0)), point(100, 110, explicit(0, 3, 0, 0))
    other = many._replace(sum=9.0)
    expected = whole([[few, many, other]], CUMULATIVE_HISTOGRAM)
    assert (expected.count, expected.sum) == (3, 9.0)
    for order in permutations([few, many, other]):
        assert whole([[each] for each in order], CUMULATIVE_HISTOGRAM) == expected


def test_the_extremes_of_a_window_are_of_those_histograms_that_say_theirs():
    one = point(100, 110, explicit(1, 0, 0, 0), least=0.5, most=0.75)
    two = point(110, 120, explicit(0, 0, 0, 2), least=20.0, most=30.0)
    silent = point(120, 130, explicit(0, 1, 0, 0))
    nothing = point(130, 140, ())
    known = whole([[one, two, nothing]], DELTA_HISTOGRAM)
    assert (known.min, known.max) == (0.5, 30.0)
    for order in permutations([one, two, silent]):
        partly = whole([[*order]], DELTA_HISTOGRAM)
        assert (partly.min, partly.max) == (0.5, 30.0)
    assert whole([[silent]], DELTA_HISTOGRAM).min is None


def test_extremes_that_are_not_of_all_do_not_bend_percentiles():
    low = point(100, 110, explicit(9, 0, 0, 0))
    middle = point(110, 120, explicit(0, 0, 1, 0), least=6.0, most=7.0)
    high = point(120, 130, explicit(0, 0, 0, 9))
    for order in permutations([low, middle, high]):
        found = whole([[*order]], DELTA_HISTOGRAM)
        assert (found.min, found.max) == (6.0, 7.0)
        assert found.percentiles[0] == pytest.approx(7.5)  # and not 7
    assert whole([[low, middle]], DELTA_HISTOGRAM).percentiles[0] == pytest.approx(5 / 9)
    assert whole([[middle, high]], DELTA_HISTOGRAM).percentiles[0] == 10.0


def test_a_summary_counts_like_a_sum_and_shows_its_newest_quantiles():
    def summary(start: int, ts: int, count: int, median: float) -> HistogramPoint:
        return HistogramPoint(ONE, ts, start, count, 2.0 * count, None, None, ((0.5, median, 0),))

    points = [summary(100, 110, 5, 1.0), summary(100, 120, 7, 2.0), summary(125, 130, 3, 4.0)]
    for order in permutations(points):
        rollup = whole([[each] for each in order], SUMMARY)
        assert (rollup.count, rollup.sum, rollup.increase) == (10, 20.0, 10)
        assert rollup.percentiles == (4.0, None, None, None)
