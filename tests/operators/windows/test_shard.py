"""What a reader of rollups sees over time: revisions, silences, and series that go quiet."""

import pytest

from operators.contracts.clock import ManualClock
from operators.contracts.items import Admitted, ShardBatch
from operators.contracts.watermark import UNKNOWN, Mark
from operators.kafka.low_water import LowWater
from operators.windows.step import WindowLogic
from tests.operators.windows.rollup_reference import (
    CUMULATIVE,
    CUMULATIVE_HISTOGRAM,
    GAUGE,
    HistogramPoint,
    Point,
    Stream,
)
from tests.operators.windows.window_driver import Driver, Sizes, samples_of, series_of

PLACE = "t/0"
LIVE, IDLE, ENDED = ({PLACE: mark} for mark in (Mark.LIVE, Mark.IDLE, Mark.ENDED))
STREAMS = {7: Stream(7, GAUGE), 8: Stream(8, CUMULATIVE), 9: Stream(9, GAUGE)}


def driver(**sizes: object) -> Driver:
    made = Driver(Sizes(**({"windows": (10,)} | sizes)), STREAMS)
    made.send(marks=LIVE)
    return made


def gauge(*times: int, value: float = 1.0, identity: int = 7) -> list[Point]:
    return [Point(identity, ts, 0, value) for ts in times]


def histogram(ts: int, *, upper: float) -> HistogramPoint:
    """One observation between 1 and ``upper``, made since 99."""
    return HistogramPoint(7, ts, 99, 1, 1.5, None, None, ((1.0, upper, 1),))


def counts(made: Driver, window: int, start: int, series: int = 7) -> list[int]:
    """Return the count of each revision of a rollup, in the order they came."""
    return [seen.count for seen in made.revisions.get((window, series, start), [])]


def test_a_window_comes_out_when_the_watermark_passes_its_end_and_not_before():
    made = driver(disorder=5)
    made.send(gauge(101, 114))
    made.notify()
    assert counts(made, 10, 100) == []
    made.send(gauge(115))
    made.notify()
    assert counts(made, 10, 100) == [1]
    assert counts(made, 10, 110) == []


def test_what_comes_within_lateness_is_a_revision_of_the_whole_window():
    made = driver(lateness=30)
    made.send(gauge(101, 102, 120))
    made.notify()
    made.send(gauge(103, value=5.0))
    made.notify()
    assert counts(made, 10, 100) == [2, 3]
    assert made.final(10)[7, 100].max == 5.0
    assert made.late == 0


def test_a_window_can_change_until_lateness_has_passed_since_its_end():
    made = driver(lateness=30)
    made.send(gauge(101, 139))
    made.notify()
    made.send(gauge(102))  # the watermark is 139, one before the end of lateness
    made.notify()
    assert counts(made, 10, 100) == [1, 2]
    made.send(gauge(140))
    made.send(gauge(103))
    assert made.late == 1
    assert counts(made, 10, 100) == [1, 2]


def test_a_late_histogram_that_moves_only_the_percentiles_is_a_revision_too():
    """The observation was one of the wider bucket; the late point says which part of it."""
    made = Driver(Sizes(windows=(10, 30), lateness=30), {7: Stream(7, CUMULATIVE_HISTOGRAM)})
    made.send(marks=LIVE)
    made.send([histogram(102, upper=4.0), histogram(130, upper=4.0)])
    made.notify()
    made.send([histogram(101, upper=2.0)])
    made.notify()
    for window, start in ((10, 100), (30, 90)):
        seen = made.revisions[window, 7, start]
        assert [rollup.count for rollup in seen] == [1, 1]
        assert [rollup.percentiles[0] for rollup in seen] == pytest.approx([2.5, 1.5])


def test_a_late_window_of_its_own_is_no_revision():
    made = driver(lateness=30)
    made.send(gauge(101, 125))
    made.notify()
    made.send(gauge(112))
    made.notify()
    assert counts(made, 10, 110) == [1]


def test_only_windows_that_changed_come_out_again():
    made = driver(lateness=50)
    made.send(gauge(101, 111, 121, 140) + gauge(101, identity=9))
    made.notify()
    made.send(gauge(112))
    made.notify()
    assert counts(made, 10, 100) == counts(made, 10, 120) == counts(made, 10, 100, 9) == [1]
    assert counts(made, 10, 110) == [1, 2]


def test_a_late_point_of_a_counter_revises_its_window_and_the_next():
    made = driver(lateness=50)
    made.send(
        [
            Point(8, 101, 0, 10.0),
            Point(8, 111, 0, 30.0),
            Point(8, 131, 0, 40.0),
            Point(8, 149, 0, 41.0),
        ]
    )
    made.notify()
    assert made.final(10)[8, 110].increase == 20
    made.send([Point(8, 109, 0, 25.0)])
    made.notify()
    assert made.final(10)[8, 100].increase == 15
    assert made.final(10)[8, 110].increase == 5
    assert counts(made, 10, 130, 8) == [1]


def test_the_coarser_windows_above_a_changed_one_come_out_again_too():
    made = driver(windows=(10, 30, 60), lateness=100)
    made.send(gauge(121, 151, 185))
    made.notify()
    made.send(gauge(125))
    made.send(gauge(220))
    made.notify()
    assert counts(made, 30, 120) == counts(made, 10, 120) == [1, 2]
    assert counts(made, 60, 120) == [2, 3]
    assert counts(made, 30, 150) == [1]


def test_in_silence_what_is_open_is_shown_and_later_data_revises_it():
    made = driver(windows=(10, 60))
    made.send(gauge(121))
    made.send(marks=IDLE)
    assert counts(made, 10, 120) == counts(made, 60, 120) == [1]
    made.send(gauge(122))
    made.send(gauge(131, 185))
    made.notify()
    assert counts(made, 10, 120) == [1, 2]
    assert counts(made, 60, 120) == [1, 3]
    assert made.late == 0


def test_silence_without_anything_new_shows_nothing_again():
    made = driver()
    made.send(gauge(121))
    for _ in range(3):
        made.send(marks=IDLE)
    assert counts(made, 10, 120) == [1]


def test_the_end_closes_everything_at_once():
    made = driver(windows=(10, 60, 600))
    made.send(gauge(121, 199))
    made.send(marks=ENDED)
    assert {window for window, _, _ in made.revisions} == {10, 60, 600}
    assert all(len(seen) == 1 for seen in made.revisions.values())


def test_time_waits_for_the_slower_partition():
    made = Driver(Sizes(windows=(10,)), STREAMS)
    made.send(marks={"t/0": Mark.LIVE, "t/1": Mark.LIVE})
    made.send(gauge(101, 500), partition="t/0")
    made.notify()
    assert made.revisions == {}
    made.send(gauge(102, 130), partition="t/1")
    made.notify()
    assert counts(made, 10, 100) == [2]
    assert made.late == 0


def test_a_restart_in_mid_window_loses_nothing():
    made = driver(windows=(10, 60), lateness=100)
    made.send([Point(8, 121, 0, 10.0), Point(8, 131, 0, 30.0)])
    made.restart()
    made.send(marks=LIVE)
    made.send([Point(8, 141, 0, 35.0), Point(8, 235, 0, 40.0)])
    made.notify()
    assert made.final(60)[8, 120].increase == 25
    made.restart()
    made.send(marks=LIVE)
    made.send([Point(8, 135, 0, 31.0)])
    made.notify()
    assert made.final(10)[8, 130].increase == 21
    assert [seen.count for seen in made.revisions[60, 8, 120]] == [3, 4]


def test_a_quiet_series_keeps_its_name_until_its_coarsest_window_is_out():
    """However short evict_after is: the day's rollup needs the labels, too."""
    made = driver(windows=(10, 60), evict_after=5)
    made.send(gauge(121) + gauge(121, identity=9))
    for ts in range(130, 260, 5):
        made.send(gauge(ts, identity=9))
        made.notify()
    assert counts(made, 60, 120) == [1]


def test_a_counter_that_was_forgotten_begins_anew_and_its_history_is_no_event():
    made = Driver(Sizes(windows=(10,), evict_after=50), STREAMS, rename=True)
    made.send([Point(8, 101, 0, 10.0), Point(8, 105, 0, 30.0)], marks=LIVE)
    for ts in range(110, 300, 10):
        made.send(gauge(ts))
        made.notify()
    made.send([Point(8, 301, 0, 900.0), Point(8, 305, 0, 907.0)])
    made.send(marks=ENDED)
    assert made.final(10)[8, 100].increase == 20
    assert made.final(10)[8, 300].increase == 7


def test_a_shard_forgets_what_is_quiet():
    made = driver(evict_after=50)
    made.send(gauge(101) + gauge(101, identity=9))
    for ts in range(110, 200, 10):
        made.send(gauge(ts))
        made.notify()
    assert made.logic._shard.names.owners == 1


def test_points_that_come_before_their_name_wait_for_it():
    made = Driver(Sizes(windows=(10,)), STREAMS, withheld={7})
    made.send(gauge(101, 125) + gauge(101, identity=9), marks=LIVE)
    made.notify()
    assert made.revisions == {}
    made.tell()
    made.notify()
    assert counts(made, 10, 100) == counts(made, 10, 100, 9) == [1]


def test_windows_wait_ten_seconds_for_names_and_then_go_on_without_them():
    made = Driver(Sizes(windows=(10, 60), lateness=100), STREAMS, withheld={7})
    made.send(gauge(101, 185) + gauge(101, identity=9), marks=LIVE)
    made.notify()
    made.notify(11)
    assert counts(made, 10, 100, 9) == [1]
    assert counts(made, 10, 100) == []
    made.tell()
    made.notify()
    assert counts(made, 10, 100) == counts(made, 60, 60) == [1]
    assert counts(made, 10, 100, 9) == [1]


def test_a_name_that_comes_after_a_restart_brings_out_what_waited_for_it():
    """The window was closed without the series; what is read again must not pass for emitted."""
    made = Driver(Sizes(windows=(10, 60), lateness=100), STREAMS, withheld={7})
    made.send(gauge(101, 185) + gauge(101, identity=9), marks=LIVE)
    made.notify()
    made.notify(11)
    made.restart()
    made.tell()
    made.send(marks=LIVE)
    made.notify()
    assert counts(made, 10, 100) == counts(made, 60, 60) == [1]
    assert counts(made, 10, 100, 9) == [1]


def test_what_is_refused_does_not_come_out_and_is_not_late():
    made = Driver(Sizes(windows=(10,), lateness=100), STREAMS)
    made.refuse(7)
    made.send(gauge(101, 125) + gauge(101, 125, identity=9), marks=LIVE)
    made.notify()
    assert counts(made, 10, 100) == []
    assert counts(made, 10, 100, 9) == [1]
    made.tell()  # a place is free
    made.send(gauge(126, 145))
    made.notify()
    assert counts(made, 10, 120) == [1]
    assert made.late == 0


def test_what_came_out_of_a_series_stands_when_it_is_refused_later():
    made = driver(windows=(10, 60), lateness=100)
    made.send(gauge(101, 125) + gauge(101, 125, identity=9))
    made.notify()
    made.refuse(7)
    made.send(gauge(102, identity=9))
    made.send(gauge(130, 185))
    made.send(marks=ENDED)
    assert counts(made, 10, 100) == [1]
    assert counts(made, 10, 100, 9) == [1, 2]
    assert made.final(60)[7, 60].count == 1


def test_a_window_below_one_that_was_shown_comes_out_after_a_restart():
    """Silence showed the window at 120; then one before it opened, above the watermark."""
    made = driver(disorder=15)
    made.send(gauge(121))
    made.send(marks=IDLE)
    assert counts(made, 10, 120) == [1]
    made.send(gauge(112))
    made.restart()
    made.send(marks=LIVE)
    made.send(gauge(150))
    made.notify()
    assert counts(made, 10, 110) == [1]
    assert counts(made, 10, 120) == [1, 1]  # shown early, and whole


def test_a_series_that_joined_a_shown_window_is_in_it_after_a_restart():
    made = driver(windows=(10, 60))
    made.send(gauge(121))
    made.send(marks=IDLE)
    made.send(gauge(125, identity=9) + gauge(131))
    made.restart()
    made.send(marks=LIVE)
    made.send(marks=ENDED)
    assert made.final(60)[9, 120].count == 1
    assert made.final(60)[7, 120].count == 2


def test_what_is_put_off_during_a_replay_survives_another_restart():
    """A reader without a replay brings a late point while the other one still replays."""
    places = {"t/0": Mark.LIVE}, {"t/1": Mark.LIVE}
    made = Driver(Sizes(windows=(10,), lateness=100), STREAMS, readers=2)
    for reader, marks in enumerate(places):
        made.send(marks=marks, reader=reader)
    made.send(gauge(101, 125), partition="t/0")
    made.send(gauge(125, identity=9), partition="t/1", reader=1)
    made.notify()
    assert counts(made, 10, 100) == [1]
    made.restart()
    made.send(gauge(102), partition="t/1", marks=places[1], reader=1)
    made.restart()
    for reader, marks in enumerate(places):
        made.send(marks=marks, reader=reader)
    made.notify()
    assert counts(made, 10, 100)[-1] == 2


def two_shards(sizes: Sizes, readers: int = 1) -> tuple[LowWater, list[WindowLogic]]:
    low_water = LowWater()
    logics = [WindowLogic(sizes, readers, ManualClock(), None, low_water) for _ in range(2)]
    return low_water, logics


def shard_batch(
    points: list[Point], marks: dict[str, Mark], *, place: str = "t/0", passed: int = UNKNOWN
) -> ShardBatch:
    largest = {place: max(point.ts for point in points)} if points else {}
    reader = int(place[-1])
    return ShardBatch(0, reader, largest, marks, samples=samples_of(points), passed=passed)


def test_all_shards_are_equally_far_at_a_snapshot():
    """Lateness is no multiple of the window, and only the first shard has something due at 128."""
    low_water, (one, two) = two_shards(Sizes(windows=(10,), lateness=7))
    named = Admitted(0, "default", series_of(STREAMS))
    for logic in (one, two):
        logic.on_batch([named, shard_batch([], LIVE)])
    two.on_batch([shard_batch(gauge(119, 121), {})])
    one.on_batch([ShardBatch(0, 0, {"t/0": 121})])
    one.on_batch([shard_batch(gauge(115, 128), {})])
    two.on_batch([ShardBatch(0, 0, {"t/0": 128})])
    for logic in (one, two):
        logic.snapshot()
    assert low_water.reached == (128, 120)
    assert two._shard.frozen == 120


def test_a_reader_frees_only_what_all_shards_have_finished():
    """The shards get the items of two readers in different orders: one sees a partition come back
    from idleness before, and one after, the other partition moved on."""
    low_water, (one, two) = two_shards(Sizes(windows=(10,)), readers=2)
    named = Admitted(0, "default", series_of(STREAMS))
    for logic in (one, two):
        logic.on_batch(
            [
                named,
                shard_batch([], {"t/0": Mark.LIVE}),
                shard_batch([], {"t/1": Mark.LIVE}, place="t/1"),
            ]
        )
        logic.on_batch([shard_batch(gauge(101), {"t/0": Mark.IDLE})])
    back = shard_batch(gauge(150, identity=9), {"t/0": Mark.LIVE})
    far = shard_batch(gauge(1000), {"t/1": Mark.LIVE}, place="t/1")
    one.on_batch([far, back])
    two.on_batch([back, far])
    watermark, frozen = low_water.reached
    assert (watermark, frozen) == (1000, 1000)
    assert two._shard.frozen < frozen, "it knows of nothing that would let it go on"
    told = shard_batch([], {}, passed=watermark)  # the next item of any reader
    for logic in (one, two):
        logic.on_batch([told])
        logic.snapshot()
    assert two._shard.frozen == frozen


def whole(made: Driver, window: int, start: int) -> list[tuple[int, bool]]:
    """Return the count of each revision, and whether it says that it is the first whole one."""
    return [
        (row["count"], row["whole"])
        for row in made.rows
        if (row["window"], row["window_start"]) == (window, start)
    ]


def test_what_was_shown_early_comes_out_again_once_it_is_whole():
    """So scoring learns the whole window, as it does where nothing was ever silent."""
    made = driver(windows=(10, 30), lateness=60)
    made.send(gauge(121, 132), marks=IDLE)
    assert whole(made, 10, 120) == [(1, True)]
    assert whole(made, 10, 130) == [(1, False)]
    made.send(gauge(133, 151))
    made.notify()
    assert whole(made, 10, 130) == [(1, False), (2, True)]
    assert whole(made, 30, 120) == [(2, False), (3, True)]
    made.send(gauge(134))
    made.notify()
    assert whole(made, 10, 130)[2:] == [(3, False)]


def test_it_does_so_if_nothing_changed_and_also_after_a_restart():
    made = driver(lateness=60)
    made.send(gauge(132), marks=IDLE)
    made.restart()
    made.send(gauge(151))
    made.notify()
    assert whole(made, 10, 130) == [(1, False), (1, True)]


def test_at_the_end_of_the_input_all_is_whole():
    made = driver(windows=(10, 30))
    made.send(gauge(121, 132), marks=ENDED)
    assert whole(made, 10, 130) == [(1, True)]
    assert whole(made, 30, 120) == [(2, True)]
