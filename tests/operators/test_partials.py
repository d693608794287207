"""A poll of points becomes runs, which stand for their points exactly."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.frames import PARTIALS, POINTS
from operators.partials import partial_rows, pre_aggregate, split_by_shard
from tests.operators.rollup_reference import CUMULATIVE, DELTA, GAUGE, Point, Stream
from tests.operators.window_driver import partials_of

STREAMS = {11: Stream(1, GAUGE), 22: Stream(2, DELTA), 33: Stream(3, CUMULATIVE)}


def runs(points: list[Point], window: int = 10) -> list[dict[str, object]]:
    return partials_of(points, STREAMS, window).sort("identity", "first_ts", "last_ts").to_dicts()


def test_the_points_of_a_series_and_window_become_one_row():
    points = [Point(11, 12, 0, 5.0), Point(11, 18, 0, -1.0), Point(11, 15, 0, 3.0)]
    assert runs(points) == [
        {
            "identity": 11, "window_start": 10, "start": 0, "count": 3, "sum": 7.0, "min": -1.0,
            "max": 5.0, "first_ts": 12, "first": 5.0, "last_ts": 18, "last": -1.0,
        }
    ]  # fmt: skip


def test_a_window_begins_at_a_multiple_of_its_length_and_ends_before_the_next():
    found = runs([Point(11, ts, 0, 1.0) for ts in (9, 10, 19, 20)])
    assert [(row["window_start"], row["count"]) for row in found] == [(0, 1), (10, 2), (20, 1)]


@pytest.mark.parametrize("kind", [11, 22])
def test_only_counters_are_cut_where_they_fall_or_start_anew(kind):
    points = [Point(kind, 11, 0, 5.0), Point(kind, 12, 0, 1.0), Point(kind, 13, 12, 2.0)]
    assert len(runs(points)) == 1


def test_a_counter_is_cut_where_it_falls_and_where_its_start_changes():
    values = [(11, 5, 3.0), (12, 5, 4.0), (13, 5, 1.0), (14, 13, 2.0), (15, 13, 6.0)]
    found = runs([Point(33, ts, start, value) for ts, start, value in values])
    assert [(row["first_ts"], row["last_ts"]) for row in found] == [(11, 12), (13, 13), (14, 15)]


def test_no_points_give_no_runs():
    frame, rows = pre_aggregate(
        pl.DataFrame(schema=POINTS), np.empty(0, np.int32), np.empty(0, np.uint64),
        np.empty(0, np.uint8), 10,
    )  # fmt: skip
    assert frame.schema == PARTIALS
    assert frame.height == len(rows) == 0


points_ = st.builds(
    Point,
    st.sampled_from(list(STREAMS)),
    st.integers(0, 60),
    st.sampled_from([0, 5, 20]),
    st.integers(-50, 50).map(float),
)


@given(st.lists(points_, max_size=40))
def test_runs_stand_for_every_point_and_no_run_of_a_counter_holds_a_reset(points):
    found = runs(points)
    assert sum(row["count"] for row in found) == len(points)
    for identity, stream in STREAMS.items():
        of_one = sorted(p for p in points if p.identity == identity)
        rows = [row for row in found if row["identity"] == identity]
        for start in {p.ts // 10 * 10 for p in of_one}:
            values = [p.value for p in of_one if p.ts // 10 * 10 == start]
            inside = [row for row in rows if row["window_start"] == start]
            assert sum(row["sum"] for row in inside) == sum(values)
            assert min(row["min"] for row in inside) == min(values)
            assert max(row["max"] for row in inside) == max(values)
            if stream.kind != CUMULATIVE:
                assert len(inside) == 1
        for row in rows:
            if stream.kind == CUMULATIVE:
                assert (row["first"], row["last"]) == (row["min"], row["max"])


def test_many_series_are_told_apart_also_past_the_numbers_of_sixteen_bits():
    count = 70_000
    order = np.random.default_rng(1).permutation(count * 2)
    rows = (order % count).astype(np.int32)
    frame = pl.DataFrame(
        {
            "message": rows,
            "raw": rows,
            "ts": order // count,
            "start": rows * 0,
            "value": order * 1.0,
        },
        schema=POINTS,
    )
    identities = np.arange(count, dtype=np.uint64) * np.uint64(3)
    found, of = pre_aggregate(frame, rows, identities, np.zeros(count, np.uint8), 10)
    assert found.height == count
    np.testing.assert_array_equal(found["identity"], identities[of])
    assert found.sort("identity")["first"].to_list() == [float(n) for n in range(count)]
    assert found.sort("identity")["last"].to_list() == [float(n + count) for n in range(count)]
    assert partial_rows(found) == 2 * count


def test_each_shard_gets_the_rows_of_its_series_in_their_order():
    frame = pl.DataFrame({"n": range(6)})
    series = np.array([5, 2**64 - 1, 8, 5, 1, 8], np.uint64)
    parts = dict(split_by_shard(frame, series, 4))
    assert {shard: part["n"].to_list() for shard, part in parts.items()} == {
        0: [2, 5], 1: [0, 3, 4], 3: [1],
    }  # fmt: skip


def test_no_rows_go_to_no_shard():
    assert list(split_by_shard(pl.DataFrame({"n": []}), np.empty(0, np.uint64), 4)) == []
