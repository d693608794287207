"""What a counter adds to its total, from the texts that say so, whatever batches it came in.

- OpenTelemetry, metrics data model, "Resets and Gaps", "Cumulative streams: handling unknown
  start time" and "inserting true reset points".
- Prometheus, ``promql/testdata/functions.test``: the series of "Tests for increase()" and of
  "Testdata for resets()". Its own numbers are for evenly spaced points without extrapolation.
"""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.frames import CUMULATIVE, DELTA, GAUGE
from operators.rollups import increases, merge, rollup_frame, with_increase
from tests.operators import rollup_reference as reference
from tests.operators.rollup_reference import Point, Stream
from tests.operators.window_driver import partials_of

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


def added(batches: list[list[Point]], horizon: int = HORIZON) -> float:
    """Return the increase of points of one counter that came in ``batches``."""
    streams = {ONE: Stream(ONE, CUMULATIVE)}
    runs = [partials_of(batch, streams, WIDE) for batch in batches if batch]
    columns = {
        name: np.concatenate([run[name].to_numpy() for run in runs]) for name in runs[0].columns
    }
    order = np.lexsort((columns["last_ts"], columns["first_ts"], columns["identity"]))
    return float(
        increases({name: values[order] for name, values in columns.items()}, horizon).sum()
    )


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


def test_the_overlap_of_one_counter_does_not_reach_into_the_next():
    streams = {1: Stream(1, CUMULATIVE), 2: Stream(2, CUMULATIVE)}
    points = [Point(1, 1, 0, 5), Point(1, 900, 0, 50), Point(2, 3, 1, 7)]
    late = [Point(1, 4, 0, 6), Point(2, 5, 1, 9)]
    runs = [partials_of(batch, streams, WIDE) for batch in (points, late)]
    columns = {
        name: np.concatenate([run[name].to_numpy() for run in runs]) for name in runs[0].columns
    }
    order = np.lexsort((columns["last_ts"], columns["first_ts"], columns["identity"]))
    rows = {name: values[order] for name, values in columns.items()}
    rise = increases(rows, HORIZON)
    assert rise[rows["identity"] == 1].sum() == 45
    assert rise[rows["identity"] == 2].sum() == 9


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 20)), min_size=1, max_size=12), st.data()
)
def test_any_in_order_counter_adds_the_same_in_any_batches(steps, data):
    points, ts = [], 100
    for step, value in steps:
        ts += step
        points.append(Point(ONE, ts, 0, value))
    expected = sum(reference.increases(points, HORIZON))
    assert added(split(points, data.draw(st.integers(0, 2 ** len(points))))) == expected


def test_no_runs_add_nothing():
    empty = np.empty(0)
    assert (
        len(
            increases(
                dict.fromkeys(("identity", "start", "first_ts", "first", "last_ts", "last"), empty),
                1,
            )
        )
        == 0
    )


def test_the_kind_says_what_an_increase_is():
    runs = {
        "identity": np.array([1, 2, 3], np.uint64), "start": np.array([1, 1, 1]),
        "sum": np.array([5.0, 6.0, 7.0]), "first_ts": np.array([2, 2, 2]),
        "first": np.array([1.0, 1.0, 1.0]), "last_ts": np.array([3, 3, 3]),
        "last": np.array([4.0, 5.0, 6.0]),
    }  # fmt: skip
    found = with_increase(runs, np.array([GAUGE, DELTA, CUMULATIVE], np.uint8), HORIZON)
    np.testing.assert_array_equal(found, [np.nan, 6.0, 6.0])


def rows(**columns: list[float]) -> dict[str, np.ndarray]:
    size = len(columns["series"])
    usual = {
        "window_start": [0] * size, "count": [1] * size, "sum": [0.0] * size, "min": [0.0] * size,
        "max": [0.0] * size, "last_ts": [1] * size, "last": [0.0] * size,
        "increase": [np.nan] * size, "revision": [0] * size, "dirty": [False] * size,
    }  # fmt: skip
    return {name: np.array(values) for name, values in (usual | columns).items()}


def test_rows_of_a_series_and_window_merge_into_one():
    merged = merge(
        rows(
            series=[2, 1, 1], window_start=[0, 0, 0], count=[1, 2, 3], sum=[1.0, 2.0, 3.0],
            min=[1.0, -2.0, 0.0], max=[1.0, 2.0, 3.0], last_ts=[5, 9, 7], last=[1.0, 4.0, 8.0],
            increase=[np.nan, 1.0, 2.0], revision=[0, 1, 3], dirty=[False, False, True],
        ),
        "series",
    )  # fmt: skip
    assert {name: values.tolist() for name, values in merged.items() if name != "increase"} == {
        "series": [1, 2], "window_start": [0, 0], "count": [5, 1], "sum": [5.0, 1.0],
        "min": [-2.0, 1.0], "max": [3.0, 1.0], "last_ts": [9, 5], "last": [4.0, 1.0],
        "revision": [3, 0], "dirty": [True, False],
    }  # fmt: skip
    np.testing.assert_array_equal(merged["increase"], [3.0, np.nan])


def test_rows_merge_into_the_coarser_window_that_holds_theirs():
    merged = merge(
        rows(series=[1, 1, 1], window_start=[10, 20, 30], sum=[1.0, 2.0, 4.0]), "series", 30
    )
    assert merged["window_start"].tolist() == [0, 30]
    assert merged["sum"].tolist() == [3.0, 4.0]


def test_of_two_last_points_at_the_same_time_the_larger_counts_whatever_came_first():
    for values in ([3.0, -4.0], [-4.0, 3.0]):
        assert merge(rows(series=[1, 1], last=values), "series")["last"].tolist() == [3.0]


def test_a_gauge_has_no_increase_and_no_rate():
    names = {name: pl.Series([name, name]) for name in ("tenant", "name", "labels", "unit", "kind")}
    merged = rows(series=[1, 2], count=[2, 4], sum=[3.0, 6.0], increase=[np.nan, 6.0])
    frame = rollup_frame(merged, names, 60 * 10**9)
    assert frame["increase"].to_list() == [None, 6.0]
    assert frame["rate"].to_list() == [None, 0.1]
    assert frame["mean"].to_list() == [1.5, 1.5]
