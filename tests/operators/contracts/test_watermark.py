"""Event time advances with the slowest partition that may still bring something."""

import random

import pytest

from operators.contracts.watermark import UNKNOWN, Mark, Watermark

A, B = "t/0", "t/1"


def announced(*partitions: str, disorder: int = 0) -> Watermark:
    watermark = Watermark(1, disorder)
    watermark.update(0, {}, dict.fromkeys(partitions, Mark.LIVE))
    return watermark


def test_the_slowest_partition_says_how_far_time_is():
    watermark = announced(A, B, disorder=5)
    watermark.update(0, {A: 100, B: 40}, {})
    assert watermark.value == 35


def test_it_never_falls():
    watermark = announced(A)
    watermark.update(0, {A: 100}, {})
    watermark.update(0, {A: 20}, {})
    assert watermark.value == 100


def test_a_partition_that_brought_nothing_yet_holds_time_back():
    watermark = announced(A, B)
    watermark.update(0, {A: 100}, {})
    assert watermark.value == UNKNOWN


def test_time_waits_until_every_reader_has_named_its_partitions():
    watermark = Watermark(2, 0)
    watermark.update(0, {A: 100}, {A: Mark.LIVE})
    assert watermark.value == UNKNOWN
    assert not watermark.silent
    watermark.update(1, {}, {})  # it owns none
    assert watermark.value == 100


@pytest.mark.parametrize("mark", [Mark.IDLE, Mark.ENDED])
def test_a_partition_without_more_to_come_lets_the_others_go_on(mark):
    watermark = announced(A, B)
    watermark.update(0, {A: 100, B: 40}, {})
    watermark.update(0, {}, {B: mark})
    assert watermark.value == 100
    assert not watermark.silent


def test_an_idle_partition_holds_time_back_again_when_data_comes():
    watermark = announced(A, B)
    watermark.update(0, {A: 100, B: 40}, {B: Mark.IDLE})
    watermark.update(0, {B: 50}, {})
    watermark.update(0, {A: 200}, {})
    assert watermark.value == 100  # what was reached while B was idle stays
    watermark.update(0, {B: 150}, {})
    assert watermark.value == 150


def test_when_all_are_silent_time_stands_where_the_furthest_left_it():
    watermark = announced(A, B, disorder=10)
    watermark.update(0, {A: 100, B: 40}, {})
    watermark.update(0, {}, {A: Mark.IDLE, B: Mark.ENDED})
    assert watermark.silent
    assert watermark.value == 90


def test_data_and_the_mark_that_it_was_the_last_may_come_together():
    watermark = announced(A)
    watermark.update(0, {A: 100}, {A: Mark.ENDED})
    assert watermark.silent


def test_no_partitions_at_all_is_not_silence():
    watermark = Watermark(1, 0)
    watermark.update(0, {}, {})
    assert not watermark.silent
    assert watermark.value == UNKNOWN


def test_a_new_partition_does_not_turn_time_back():
    watermark = announced(A)
    watermark.update(0, {A: 100}, {})
    watermark.update(0, {}, {B: Mark.LIVE})
    watermark.update(0, {A: 300}, {})
    assert watermark.value == 100
    watermark.update(0, {B: 250}, {})
    assert watermark.value == 250


def test_after_a_restart_time_stands_still_until_the_readers_have_spoken():
    before = Watermark(2, 0)
    before.update(0, {A: 100}, {A: Mark.LIVE})
    before.update(1, {B: 90}, {B: Mark.LIVE})
    after = Watermark(2, 0, before.snapshot())
    assert after.value == 90
    after.update(0, {A: 500}, {A: Mark.LIVE})
    assert after.value == 90
    after.update(1, {}, {B: Mark.LIVE})
    assert after.value == 90  # B still has only shown 90
    after.update(1, {B: 400}, {})
    assert after.value == 400


def test_a_partition_that_is_not_read_any_more_does_not_hold_back_time_after_a_restart():
    before = announced(A, "dropped/0")
    before.update(0, {A: 100, "dropped/0": 90}, {})
    after = Watermark(1, 0, before.snapshot())
    after.update(0, {A: 500}, {A: Mark.LIVE})
    assert after.value == 500


def bounded(*partitions: str) -> Watermark:
    """With a bound of 30 and a patience of 5 seconds."""
    watermark = Watermark(1, 0, bound=30, patience=5.0)
    watermark.update(0, {}, dict.fromkeys(partitions, Mark.CAUGHT_UP))
    return watermark


def test_a_partition_that_was_read_to_its_end_and_is_far_behind_holds_nobody_back():
    watermark = bounded(A, B)
    watermark.update(0, {A: 100, B: 60}, {}, now=1.0)
    assert watermark.value == 60
    watermark.update(0, {A: 110}, {}, now=5.9)
    assert watermark.value == 60, "whoever writes to both writes to one after the other"
    watermark.update(0, {A: 120}, {}, now=6.1)
    assert watermark.value == 120
    assert watermark.left_behind == {B}
    watermark.update(0, {B: 115}, {}, now=7.0)
    watermark.update(0, {A: 140}, {}, now=8.0)
    assert watermark.value == 120, "it keeps up, so it is waited for again"
    assert not watermark.left_behind


def test_a_partition_that_is_a_little_behind_is_waited_for():
    watermark = bounded(A, B)
    for second in range(100):
        watermark.update(0, {A: 100 + second, B: 70 + second}, {}, now=float(second))
    assert watermark.value == 169


def test_a_backlog_is_waited_for_however_far_behind_it_is():
    watermark = bounded(A, B)
    watermark.update(0, {}, {B: Mark.LIVE})
    for second in range(0, 1000, 10):
        watermark.update(0, {A: 100_000 + second, B: second}, {}, now=float(second))
    assert watermark.value == 990


def test_a_random_stream_is_followed_as_the_definition_says():
    """The minimum over live partitions of the largest time seen, and never less than before."""
    source = random.Random(7)
    watermark = announced("p/0", "p/1", "p/2", disorder=3)
    seen = {f"p/{n}": UNKNOWN for n in range(3)}
    marks = dict.fromkeys(seen, Mark.LIVE)
    expected = UNKNOWN
    for _ in range(2000):
        name = source.choice(sorted(seen))
        if source.random() < 0.2:
            marks[name] = source.choice(list(Mark))
            watermark.update(0, {}, {name: marks[name]})
        else:
            ts = source.randrange(1000)
            seen[name] = max(seen[name], ts)
            if marks[name] is not Mark.CAUGHT_UP:
                marks[name] = Mark.LIVE
            watermark.update(0, {name: ts}, {})
        live = [seen[each] for each in seen if marks[each] in (Mark.LIVE, Mark.CAUGHT_UP)]
        expected = max(expected, (min(live) if live else max(seen.values())) - 3)
        assert watermark.value == expected
        assert watermark.silent == (not live)
