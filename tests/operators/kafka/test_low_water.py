"""The low-water mark: nothing that an open window needs lies before it."""

from hypothesis import given
from hypothesis import strategies as st

from operators.contracts.watermark import UNKNOWN
from operators.kafka.low_water import LowWater


def test_the_mark_stays_where_a_partition_began_while_nothing_is_frozen():
    low_water = LowWater()
    low_water.begin("t/0", 7)
    low_water.note("t/0", 9, 100)
    assert low_water.offset("t/0", UNKNOWN) == 7


def test_polls_whose_times_are_all_frozen_need_not_be_read_again():
    low_water = LowWater()
    low_water.begin("t/0", 0)
    for offset, latest in ((10, 100), (20, 200), (30, 300)):
        low_water.note("t/0", offset, latest)
    assert low_water.offset("t/0", 100) == 0
    assert low_water.offset("t/0", 101) == 10
    assert low_water.offset("t/0", 250) == 20
    assert low_water.offset("t/0", 10**9) == 30


def test_an_old_poll_behind_a_new_one_waits_for_it():
    low_water = LowWater()
    low_water.begin("t/0", 0)
    low_water.note("t/0", 10, 500)
    low_water.note("t/0", 20, 100)
    assert low_water.offset("t/0", 400) == 0


def test_what_was_reached_never_falls_back():
    low_water = LowWater()
    low_water.freeze(200, 150)
    low_water.freeze(100, 50)  # another shard, which is not so far
    assert low_water.reached == (200, 150)


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 100)), max_size=20),
    st.lists(st.integers(0, 120), max_size=6),
)
def test_every_offset_before_the_mark_holds_only_frozen_times(polls, frozen):
    low_water = LowWater()
    low_water.begin("t/0", 0)
    end, times = 0, {}
    for size, latest in polls:
        times.update(dict.fromkeys(range(end, end + size), latest))
        end += size
        low_water.note("t/0", end, latest)
    before = 0
    for limit in sorted(frozen):
        mark = low_water.offset("t/0", limit)
        assert mark >= before
        assert all(times[offset] < limit for offset in range(mark))
        assert mark == end or any(times[offset] >= limit for offset in times if offset >= mark)
        before = mark
