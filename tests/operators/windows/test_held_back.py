"""A partition that holds windows back is named."""

from __future__ import annotations

from prometheus_client import REGISTRY

from operators.contracts.clock import ManualClock
from operators.contracts.watermark import Mark, Watermark
from operators.windows.delays import delays, note_delays
from operators.windows.held_back import HeldBack

SECOND = 1_000_000_000


def held(partition: str) -> float | None:
    return REGISTRY.get_sample_value("headrace_held_back_seconds", {"partition": partition})


def test_the_slowest_partition_is_named_once_it_has_held_all_others_for_the_idle_timeout(caplog):
    clock = ManualClock()
    looking = HeldBack(30 * SECOND, clock)
    watermark = Watermark(1, 0)
    live = {"slow/0": Mark.LIVE, "fast/0": Mark.LIVE}
    watermark.update(0, {"slow/0": 100 * SECOND, "fast/0": 105 * SECOND}, live)
    looking.look(watermark)
    clock.advance(60)
    looking.look(watermark)
    assert "waiting" not in caplog.text, "five seconds apart is no trouble"
    watermark.update(0, {"fast/0": 200 * SECOND}, {})
    looking.look(watermark)
    clock.advance(29)
    looking.look(watermark)
    assert "waiting" not in caplog.text
    clock.advance(2)
    for _ in range(5):
        looking.look(watermark)
    assert caplog.text.count("waiting for partition slow/0 for 31 s: it is 100 s behind") == 1
    assert held("slow/0") == 31
    watermark.update(0, {}, {"slow/0": Mark.IDLE})
    looking.look(watermark)
    assert held("slow/0") == 0


def test_a_partition_that_brought_no_point_yet_is_named_too(caplog):
    clock = ManualClock()
    looking = HeldBack(30 * SECOND, clock)
    watermark = Watermark(1, 0)
    marks = {"mute/1": Mark.LIVE, "fast/1": Mark.LIVE}
    watermark.update(0, {"fast/1": 105 * SECOND}, marks)
    looking.look(watermark)
    clock.advance(31)
    looking.look(watermark)
    assert "waiting for partition mute/1 for 31 s: it is without a point yet" in caplog.text


def test_a_partition_alone_holds_nobody_back(caplog):
    clock = ManualClock()
    looking = HeldBack(30 * SECOND, clock)
    watermark = Watermark(1, 0)
    watermark.update(0, {"only/0": 5 * SECOND}, {"only/0": Mark.LIVE})
    for _ in range(3):
        clock.advance(60)
        looking.look(watermark)
    assert not caplog.records


def test_where_time_goes_adds_up_to_the_delay_of_a_window():
    """A window ends at 100 s and closes at 131 s: 2 s of reading, 20 of partitions, and so on."""
    watermark = Watermark(1, 5 * SECOND)
    marks = {"slow/2": Mark.LIVE, "fast/2": Mark.LIVE}
    watermark.update(0, {"slow/2": 109 * SECOND, "fast/2": 129 * SECOND}, marks)

    window = (100 * SECOND, 5 * SECOND, 131 * SECOND)
    found = delays(watermark, *window)
    assert found == {
        "reading": 2 * SECOND, "partitions": 20 * SECOND, "disorder": 5 * SECOND,
        "steps": 4 * SECOND,
    }  # fmt: skip
    assert sum(found.values()) == (131 - 100) * SECOND

    def counted(part: str) -> float:
        labels = {"part": part}
        return REGISTRY.get_sample_value("headrace_window_delay_seconds_count", labels) or 0.0

    before = {part: counted(part) for part in found}
    note_delays(watermark, *window)
    assert {part: counted(part) - before[part] for part in found} == dict.fromkeys(found, 1.0)
