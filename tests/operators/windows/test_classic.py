"""Buckets, count and sum of a classic histogram come to what the same data as one histogram does."""

from itertools import permutations
from math import inf

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from operators.contracts.watermark import Mark
from operators.windows.histograms import NO_HISTOGRAMS
from operators.windows.late import late_frame
from operators.windows.names import Names
from operators.windows.sums import Points
from tests.operators.windows import rollup_reference as reference
from tests.operators.windows.classic_parts import (
    BOUNDS,
    ClassicDriver,
    classic_scenarios,
    histogram,
    named,
    parts_of,
    streams_of,
)
from tests.operators.windows.rollup_reference import (
    CUMULATIVE_HISTOGRAM,
    Point,
    Rollup,
    Stream,
)
from tests.operators.windows.test_step import Play, assert_equal
from tests.operators.windows.window_driver import Sizes

X, WINDOW = 500, 10
STREAMS = streams_of(0, X)
COUNT_ALONE, SUM_ALONE = (stream.alone for stream in list(STREAMS.values())[:2])
slow = settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@slow
@given(st.booleans().flatmap(lambda ordered: classic_scenarios(ordered=ordered)))
def test_parts_in_any_split_order_and_partition_are_the_histogram_they_were(drawn):
    scenario, points = drawn
    played = Play(scenario, ClassicDriver)
    assert played.late == 0
    streams = {
        part.whole: Stream(part.series, CUMULATIVE_HISTOGRAM) for part in scenario.streams.values()
    }
    for window in scenario.sizes.windows:
        expected = reference.rollups(points, streams, window, scenario.sizes.counter_horizon)
        found = played.driver.final(window)
        # A scrape that came in pieces, while all was silent, may have shown counters; none is left.
        assert {key for key, rollup in found.items() if rollup.count} <= expected.keys()
        for key, rollup in expected.items():
            assert_equal(found[key], rollup, Stream(key[0], CUMULATIVE_HISTOGRAM), scenario.sizes)


def driver(*batches: list[Point], lateness: int = 0) -> ClassicDriver:
    """Bring batches to a shard."""
    found = ClassicDriver(Sizes(windows=(WINDOW,), lateness=lateness), STREAMS)
    found.send(marks={"t/0": Mark.LIVE})
    for batch in batches:
        found.send(batch)
        found.notify()
    return found


def final(*batches: list[Point], lateness: int = 0) -> dict[tuple[int, int], Rollup]:
    """Return the rollups of batches, after the last of them."""
    played = driver(*batches, lateness=lateness)
    played.send(marks={"t/0": Mark.ENDED})
    return played.final(WINDOW)


def scrape(ts: int, *counts: int, without: tuple[object, ...] = (), start: int = 0) -> list[Point]:
    return parts_of(histogram(0, ts, start, counts), STREAMS, without)


def test_a_bucket_that_is_missing_makes_one_of_two_and_loses_no_observation():
    found = final(
        scrape(100, 0, 0, 0, 0), scrape(111, 4, 4, 0, 0, without=(1.0,)),
        scrape(122, 4, 8, 2, 0), scrape(133, 4, 8, 2, 10, without=(inf,)),
    )  # fmt: skip
    assert [found[X, at].count for at in (100, 110, 120, 130)] == [0, 8, 6, 10]
    assert found[X, 110].percentiles[0] == pytest.approx(2.5)  # eight from 0 to 5
    # Four from 0 to 5, since nobody knows how many of the eight were below 1; two from 5 to 10.
    assert found[X, 120].percentiles[:2] == pytest.approx((3.75, 8.5))
    assert found[X, 130].percentiles[0] == 10.0  # the count stood for the bucket without a bound


def test_a_scrape_without_a_total_waits_for_the_next():
    found = final(
        scrape(100, 1, 0, 0, 0), scrape(111, 3, 0, 0, 0, without=(inf, "count")),
        scrape(122, 7, 0, 0, 0),
    )  # fmt: skip
    assert (X, 110) not in found
    assert found[X, 120].count == 6
    assert found[X, 120].rate == pytest.approx(6 / 22e-9)


def test_what_is_in_a_coarser_window_since_it_was_shown_empty_comes_out_after_a_restart():
    """A bucket alone shows nothing; its histogram is whole only when all has gone silent again."""
    sizes = Sizes(windows=(WINDOW, 3 * WINDOW), lateness=10 * WINDOW)
    found = ClassicDriver(sizes, STREAMS)
    points = scrape(100, 0, 0, 0, 0)
    alone = [point for point in points if STREAMS[point.identity].bound == BOUNDS[1]]
    found.send(alone, marks={"t/0": Mark.LIVE})
    found.send(marks={"t/0": Mark.IDLE})
    assert found.rows == []
    found.send([point for point in points if point not in alone])
    found.notify()
    found.restart()
    found.send(marks={"t/0": Mark.IDLE})
    assert found.final(WINDOW).keys() == {(X, 100)}
    assert found.final(3 * WINDOW).keys() == {(X, 90)}


def test_without_a_sum_there_is_none_and_no_mean_where_it_is_needed():
    found = final(
        scrape(100, 1, 0, 0, 0), scrape(111, 3, 0, 0, 0, without=("sum",)),
        scrape(122, 7, 0, 0, 0), scrape(133, 8, 0, 0, 0),
    )  # fmt: skip
    assert [found[X, at].count for at in (110, 120, 130)] == [2, 4, 1]
    assert [found[X, at].sum for at in (110, 120, 130)] == [None, None, 2.0]


def test_a_reset_counts_from_zero_and_so_does_a_new_start():
    found = final(scrape(100, 5, 5, 0, 0), scrape(111, 2, 1, 0, 0))
    assert found[X, 110].count == 3
    found = final(scrape(100, 1, 0, 0, 0, start=50), scrape(111, 2, 1, 0, 0, start=105))
    assert (found[X, 100].count, found[X, 110].count) == (1, 3)


def test_a_late_part_revises_its_window_and_those_after_it():
    part, *rest = scrape(111, 4, 4, 0, 0)
    bucket = next(each for each in rest if STREAMS[each.identity].bound == BOUNDS[0])
    rest.remove(bucket)
    first, last = scrape(100, 0, 0, 0, 0), scrape(122, 4, 4, 0, 1)
    played = driver(first, [part, *rest], last, scrape(135, 4, 4, 0, 1), [bucket], lateness=100)
    played.notify()
    before, after = played.revisions[WINDOW, X, 110]
    assert (before.count, after.count) == (8, 8)
    assert before.percentiles[0] == pytest.approx(2.5)
    assert after.percentiles[0] == pytest.approx(1.0)


def test_a_count_whose_buckets_come_late_is_no_counter_any_more():
    parts = scrape(105, 1, 0, 0, 0)
    late = [part for part in parts if STREAMS[part.identity].bound < inf]
    totals = [part for part in parts if part.identity in list(STREAMS)[:2]]
    played = driver(totals, scrape(125, 3, 0, 0, 0), parts, lateness=100)
    assert late
    assert [each.count for each in played.revisions[WINDOW, COUNT_ALONE, 100]] == [1, 0]
    assert played.final(WINDOW)[X, 100].count == 0  # its first
    played.send(scrape(145, 4, 0, 0, 0))
    assert played.final(WINDOW)[X, 120].count == 2
    assert {key[0] for key, rollup in played.final(WINDOW).items() if rollup.count} == {X}


def test_a_count_and_a_sum_without_buckets_stay_counters():
    buckets = BOUNDS
    found = final(*(scrape(ts, ts, 0, 0, 0, without=buckets) for ts in (100, 111, 122)))
    assert {key[0] for key in found} == {COUNT_ALONE, SUM_ALONE}
    assert found[COUNT_ALONE, 110].increase == 11
    assert found[SUM_ALONE, 120].increase == 22


def test_from_its_first_scrape_on_a_histogram_has_its_count_also_where_buckets_are_lost():
    found = final(
        scrape(100, 1, 0, 0, 0, without=BOUNDS), scrape(111, 3, 0, 0, 0),
        scrape(122, 5, 0, 0, 0, without=BOUNDS), scrape(133, 9, 0, 0, 0),
    )  # fmt: skip
    assert sorted(at for series, at in found if series == COUNT_ALONE) == [100]
    assert [(at, found[X, at].count) for series, at in sorted(found) if series == X] == [
        (110, 0), (130, 6),
    ]  # fmt: skip


def test_bounds_that_change_with_a_restart_are_told_apart():
    other = (0.5, 5.0, 20.0, inf)
    streams = streams_of(0, X, (*BOUNDS, *other[:-1]))
    of_bound = {each.bound: name for name, each in streams.items() if each.bound < inf}

    def only(points: list[Point], bounds: tuple[float, ...]) -> list[Point]:
        kept = {of_bound[bound] for bound in bounds if bound < inf}
        return [
            each for each in points if each.identity in kept or streams[each.identity].bound == inf
        ]

    old = [histogram(0, ts, 0, counts) for ts, counts in ((100, (5, 0, 0, 0)), (111, (5, 9, 0, 0)))]
    new = histogram(0, 122, 0, (2, 1, 0, 1), other)
    found = ClassicDriver(Sizes(windows=(WINDOW,)), streams)
    found.send(marks={"t/0": Mark.LIVE})
    for point, bounds in ((old[0], BOUNDS), (old[1], BOUNDS), (new, other)):
        found.send(only(parts_of(point, streams), bounds))
    found.send(marks={"t/0": Mark.ENDED})
    expected = reference.rollups(
        [*old, new], {old[0].identity: Stream(X, CUMULATIVE_HISTOGRAM)}, WINDOW, 1000
    )
    for key, rollup in expected.items():
        assert_equal(found.final(WINDOW)[key], rollup, Stream(X, CUMULATIVE_HISTOGRAM), found.sizes)


def test_a_native_histogram_beside_the_classic_one_counts_once():
    points = [
        histogram(0, ts, 0, counts) for ts, counts in ((100, (1, 0, 0, 0)), (111, (4, 0, 2, 0)))
    ]
    native = list(points)
    classic = [parts_of(point, STREAMS) for point in points]
    for batches in permutations([native, *classic]):
        streams = {**STREAMS, points[0].identity: Stream(X, CUMULATIVE_HISTOGRAM)}
        played = ClassicDriver(Sizes(windows=(WINDOW,), disorder=100), streams)
        played.send(marks={"t/0": Mark.LIVE})
        for batch in batches:
            played.send(batch)
        played.send(marks={"t/0": Mark.ENDED})
        assert played.final(WINDOW)[X, 110].count == 5


def test_what_falls_with_its_bound_is_raised_and_fractions_are_rounded():
    bound = {each.bound: name for name, each in STREAMS.items() if each.part == 1}

    def raw(ts: int, *values: float) -> list[Point]:
        return [
            Point(name, ts, 0, value) for name, value in zip(bound.values(), values, strict=True)
        ]

    found = final(raw(100, 0, 0, 0, 0), raw(111, 4.2, 3.9, 6.0, 6.0))
    assert found[X, 110].count == 6
    assert found[X, 110].percentiles[0] == pytest.approx(0.75)  # three of the four below 1
    negative = final(raw(100, 0, 0, 0, 0), raw(111, -1.0, 0, 0, 0), raw(122, 1, 1, 1, 1))
    assert sorted(at for _, at in negative) == [100, 120]


def test_a_histogram_that_goes_quiet_is_forgotten_with_all_its_parts():
    played = ClassicDriver(Sizes(windows=(WINDOW,), evict_after=100), STREAMS)
    played.send(marks={"t/0": Mark.LIVE})
    other = streams_of(1, X + 1)
    played.streams = {**STREAMS, **other}
    for ts in range(100, 900, 9):
        points = scrape(ts, ts, 0, 0, 0) if ts < 300 else []
        played.send([*points, *parts_of(histogram(1, ts, 0, (ts, 0, 0, 0)), other)])
        played.notify()
    names = played.logic._shard.names
    assert names.rows == 1 + len(other)
    assert len(names.parts.home) == 1
    assert played.final(WINDOW)[X + 1, 800].count > 0


def test_a_part_that_is_too_late_is_told_as_it_was_sent():
    names = Names()
    names.name(named(STREAMS), 0)
    points = scrape(100, 1, 0, 0, 0)
    rows = names.number(np.array([each.identity for each in points], np.uint64), 0)
    values = np.array([each.value for each in points])
    times = np.zeros(len(points), np.int64)
    frame = late_frame(Points(rows, times, times, values), NO_HISTOGRAMS, names)
    alone = [f"series-{COUNT_ALONE}", f"series-{SUM_ALONE}"]
    assert frame["name"].to_list() == [*alone, *[f"series-{X}_bucket"] * 4]
    bounds = ('{"le":"1.0"}', '{"le":"5.0"}', '{"le":"10.0"}', '{"le":"+Inf"}')
    assert frame["labels"].to_list() == ["{}", "{}", *bounds]
