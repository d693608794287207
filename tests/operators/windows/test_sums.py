"""What a counter adds to its total, from the texts that say so, whatever batches it came in.

- OpenTelemetry, metrics data model, "Resets and Gaps", "Cumulative streams: handling unknown
  start time" and "inserting true reset points".
- Prometheus, ``promql/testdata/functions.test``: the series of "Tests for increase()" and of
  "Testdata for resets()". Its own numbers are for evenly spaced points without extrapolation.
"""

import time
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.contracts.watermark import Mark
from operators.windows.sums import Points, sort_points
from tests.operators.windows import rollup_reference as reference
from tests.operators.windows.rollup_reference import CUMULATIVE, DELTA, GAUGE, Point, Stream
from tests.operators.windows.window_driver import Driver, Sizes

ONE = 1
WIDE = 10**6
HORIZON = 1000

# start, ts, value of each point, and what it adds.
TABLE = {
    "a start before the first point is a true reset: it counts from zero": [
        (100, 110, 7, 7), (100, 120, 9, 2), (100, 130, 9, 0),
    ],
    "a start equal to the point's time is unknown: it adds nothing, the next counts from it": [
        (110, 110, 500, 0), (110, 120, 503, 3), (110, 130, 504, 1),
    ],
    "no start time at all is unknown too": [
        (0, 110, 500, 0), (0, 120, 503, 3),
    ],
    "a new start is a reset, also if the value did not fall": [
        (100, 110, 5, 5), (115, 120, 6, 6), (115, 130, 8, 2),
    ],
    "a new start at the very time of the last point is a reset": [
        (100, 110, 5, 5), (110, 120, 6, 6),
    ],
    "a reset after which the start is unknown adds nothing at first": [
        (100, 110, 5, 5), (120, 120, 6, 0), (120, 130, 10, 4),
    ],
    "a gap is bridged: what was counted meanwhile is counted where it shows": [
        (100, 110, 5, 5), (100, 900, 105, 100),
    ],
    "a gap with a restart in it counts what the new total shows": [
        (100, 110, 50, 50), (800, 900, 30, 30),
    ],
    "two restarts, one after the other": [
        (100, 110, 5, 5), (112, 115, 4, 4), (118, 120, 3, 3),
    ],
    "a start that jitters backwards is no reset": [
        (100, 110, 5, 5), (99, 120, 8, 3), (100, 130, 9, 1),
    ],
    "a start that is lost on the way is no reset": [
        (100, 110, 5, 5), (0, 120, 8, 3),
    ],
    "a fall without a new start is a reset from zero": [
        (0, 110, 50, 0), (0, 120, 60, 10), (0, 130, 4, 4), (0, 140, 9, 5),
    ],
    "a fall to zero adds nothing": [
        (0, 110, 50, 0), (0, 120, 0, 0), (0, 130, 3, 3),
    ],
    "a counter that started long ago and is met only now adds nothing at first": [
        (100, 100 + HORIZON + 1, 10**9, 0), (100, 100 + HORIZON + 11, 10**9 + 2, 2),
    ],
    "one that started just within the horizon counts from zero": [
        (100, 100 + HORIZON, 42, 42),
    ],
}  # fmt: skip

PROMETHEUS = {
    # load 5m; http_requests{path="/foo"} 0+10x10; increase(...[50m]) at 50m is 100
    "a steady counter": ([10 * n for n in range(11)], 100),
    # http_requests{path="/bar"} 0+10x5 0+10x5; increase(...[50m]) at 50m is 90
    "a counter that is reset": ([*range(0, 51, 10), *range(0, 41, 10)], 90),
    # resets(): {path="/foo"} 1 2 3 0 1 0 0 1 2 0 has three; rises of 2, 1 and 2 between them
    "three resets": ([1, 2, 3, 0, 1, 0, 0, 1, 2, 0], 5),
    # {path="/bar"} 1 2 3 4 5 1 2 3 4 5 has one: 4, then 1 from zero, then 4
    "one reset to one": ([1, 2, 3, 4, 5, 1, 2, 3, 4, 5], 9),
    "a step": ([0, 0, 0, 0, 0, 1, 1, 1, 1, 1], 1),
}


def whole(
    batches: list[list[Point]],
    *,
    kind: int = CUMULATIVE,
    horizon: int = HORIZON,
    window: int = WIDE,
) -> Driver:
    """Bring points of one identity in ``batches`` to a shard, to their end."""
    streams = {ONE: Stream(ONE, kind)}
    driver = Driver(Sizes(windows=(window,), counter_horizon=horizon, disorder=window), streams)
    driver.send(marks={"t/0": Mark.LIVE})
    for batch in batches:
        driver.send(batch)
    driver.send(marks={"t/0": Mark.ENDED})
    return driver


def added(batches: list[list[Point]], *, kind: int = CUMULATIVE) -> float:
    """Return the increase of points of one identity that came in ``batches``."""
    return float(whole(batches, kind=kind).final(WIDE)[ONE, 0].increase or 0.0)


def split(points: list[Point], cuts: int) -> list[list[Point]]:
    """Cut a list at the places where ``cuts`` has a bit."""
    places = [0, *(n for n in range(1, len(points)) if cuts >> (n - 1) & 1), len(points)]
    return [points[begin:end] for begin, end in pairwise(places)]


@pytest.mark.parametrize("name", TABLE)
def test_a_counter_adds_what_the_data_model_says_in_whatever_batches(name):
    points = [Point(ONE, ts, start, value) for start, ts, value, _ in TABLE[name]]
    for upto in range(1, len(points) + 1):
        expected = sum(entry[3] for entry in TABLE[name][:upto])
        for cuts in range(2 ** (upto - 1)):
            assert added(split(points[:upto], cuts)) == expected


@pytest.mark.parametrize("name", PROMETHEUS)
def test_a_counter_without_start_times_adds_what_prometheus_says(name):
    values, expected = PROMETHEUS[name]
    points = [Point(ONE, 300 * n + 300, 0, value) for n, value in enumerate(values)]
    for cuts in [*range(0, 2 ** (len(points) - 1), 37), -1]:
        assert added(split(points, cuts)) == expected


def test_a_reset_is_seen_also_after_runs_that_overlapped():
    """The points at 2 and 5 came late; what the counter fell from is the one at 9."""
    early = [Point(ONE, 1, 0, 1), Point(ONE, 9, 0, 100)]
    between = [Point(ONE, 2, 0, 10), Point(ONE, 5, 0, 50)]
    after = [Point(ONE, 12, 0, 80), Point(ONE, 15, 0, 90)]
    assert added([early, between, after]) == 99 + 90
    assert added([between, early, after]) == 99 + 90


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 20)), min_size=1, max_size=12), st.data()
)
def test_any_in_order_counter_adds_the_same_in_any_batches(steps, data):
    points, ts = [], 100
    for step, value in steps:
        ts += step
        points.append(Point(ONE, ts, 0, value))
    expected = sum(rise.amount for rise in reference.increases(points, HORIZON))
    assert added(split(points, data.draw(st.integers(0, 2 ** len(points))))) == expected


DELTAS = {
    # start, ts, value of each point, and what it adds
    "deltas that follow each other all count": [(100, 110, 5, 5), (110, 120, 7, 7)],
    "a delta that reaches into the one before is an overlap": [
        (100, 110, 5, 5), (105, 115, 3, 0), (110, 120, 7, 7),
    ],
    "one that reaches back a little is of a clock that wobbles": [
        (100, 110, 5, 5), (106, 120, 7, 7), (119, 130, 1, 1),
    ],
    "one that reaches back by half of itself is an overlap": [
        (100, 110, 5, 5), (105, 115, 7, 0), (109, 111, 1, 0),
    ],
    "one that ended before it counts, though it came later": [
        (110, 120, 7, 7), (100, 110, 5, 5),
    ],
    "the same delta sent twice counts once": [(100, 110, 5, 5), (100, 110, 5, 0)],
    "deltas without a start time are events: all of them count": [
        (0, 110, 5, 5), (0, 110, 5, 5), (0, 111, 1, 1),
    ],
    "a gap between deltas stays a gap": [(100, 110, 5, 5), (150, 160, 7, 7)],
}  # fmt: skip


@pytest.mark.parametrize("name", DELTAS)
def test_a_delta_sum_adds_what_the_data_model_says_in_any_order(name):
    entries = DELTAS[name]
    expected = sum(entry[3] for entry in entries)
    points = [Point(ONE, ts, start, value) for start, ts, value, _ in entries]
    for order in permutations(points):
        for cuts in range(2 ** (len(points) - 1)):
            assert added(split(list(order), cuts), kind=DELTA) == expected


@pytest.mark.parametrize("kind", [GAUGE, CUMULATIVE])
def test_of_two_points_at_one_time_one_counts_and_the_larger(kind):
    for values in ([3.0, 5.0], [5.0, 3.0]):
        driver = whole([[Point(ONE, 110, 100, value)] for value in values], kind=kind)
        rollup = driver.final(WIDE)[ONE, 0]
        assert (rollup.count, rollup.sum, rollup.last) == (1, 5.0, 5.0)


def test_a_writer_that_was_superseded_adds_nothing():
    """Two processes under one name: the older one goes on for a while."""
    second = 10**9
    points = [
        Point(ONE, 100 * second, 10 * second, 1000.0),
        Point(ONE, 105 * second, 101 * second, 5.0),  # the new process: a reset
        Point(ONE, 110 * second, 10 * second, 1004.0),
        Point(ONE, 115 * second, 101 * second, 9.0),
    ]
    driver = whole([points], horizon=500 * second, window=1000 * second)
    rollup = driver.final(1000 * second)[ONE, 0]
    assert (rollup.increase, rollup.count) == (1000 + 5 + 4, 3)


def test_the_kind_says_what_an_increase_is():
    points = [Point(ONE, 110, 100, 2.0), Point(ONE, 120, 110, 4.0)]
    for kind, expected in ((GAUGE, None), (DELTA, 6.0)):
        assert whole([points], kind=kind).final(WIDE)[ONE, 0].increase == expected


def test_sums_lose_nothing_to_rounding():
    """A plain sum of these is 0."""
    points = [Point(ONE, ts, 0, value) for ts, value in enumerate([1.0, 1e100, 1.0, -1e100], 1)]
    assert whole([points], kind=GAUGE).final(WIDE)[ONE, 0].sum == 2.0


def test_an_exporter_slower_than_the_window_has_the_right_rate_in_it():
    """10 a second, exported once a minute as the OpenTelemetry SDK does, in windows of 10 s and 2 m."""
    second = 10**9
    minutes = [Point(ONE, minute * 60 * second, second, 600 * minute) for minute in range(1, 9)]
    streams = {ONE: Stream(ONE, CUMULATIVE)}
    driver = Driver(Sizes(windows=(10 * second, 120 * second), disorder=0), streams)
    driver.send(marks={"t/0": Mark.LIVE})
    driver.send(minutes)
    driver.send(marks={"t/0": Mark.ENDED})
    fine, coarse = (driver.final(size * second) for size in (10, 120))
    assert [round(rollup.rate or 0, 9) for rollup in fine.values()] == [0.0] + [10.0] * 7
    assert [rollup.increase for rollup in fine.values()] == [0.0] + [600.0] * 7
    assert sum(rollup.increase or 0 for rollup in coarse.values()) == 4200.0
    assert [rollup.rate for rollup in coarse.values()] == [None] + [pytest.approx(10.0)] * 4


def test_exporters_that_share_a_series_have_the_sum_of_their_rates():
    second = 10**9
    streams = {identity: Stream(1, CUMULATIVE) for identity in range(1, 31)}
    driver = Driver(Sizes(windows=(10 * second, 60 * second), disorder=60 * second), streams)
    driver.send(marks={"t/0": Mark.LIVE})
    for minute in range(8):  # 10 a second each, a minute apart, one after the other
        for identity in streams:
            at = (118 + minute * 60 + 2 * identity) * second
            driver.send([Point(identity, at, 0, 600.0 * minute)])
    driver.send(marks={"t/0": Mark.ENDED})
    coarse = driver.final(60 * second)
    inside = [rollup.rate for (_, start), rollup in coarse.items() if 180 <= start // second < 420]
    assert inside == pytest.approx([300.0] * 4)


def test_very_many_events_of_one_time_are_put_in_order_in_no_time():
    size = 100_000
    value = np.random.default_rng(5).permutation(size).astype(float)
    same = np.full(size, 7, np.int64)
    events = Points(np.zeros(size, np.int32), same, same * 0, value)
    sort_points(Points._make(column[:50] for column in events), 1)  # compiles
    begin = time.process_time()
    found = sort_points(events, 1)
    assert time.process_time() - begin < 1
    assert found.value.tolist() == list(range(size - 1, -1, -1))
