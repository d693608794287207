"""Dead letters are said once a minute a reason, and the newest is kept."""

from __future__ import annotations

from operators.contracts.clock import ManualClock
from operators.contracts.refusals import Refusals


def test_a_reason_is_said_once_a_minute_with_how_many_there_were(caplog):
    clock = ManualClock()
    refusals = Refusals(clock.monotonic)
    for second in range(61):
        refusals.note("input", "telegraf", f"telegraf 0:{second}", f"byte {second} is wrong", 2)
        clock.advance(1)
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "2 dead letters of input (the newest: telegraf 0:0): byte 0 is wrong",
        "120 dead letters of input (the newest: telegraf 0:60): byte 60 is wrong",
    ]


def test_other_reasons_topics_and_origins_are_said_at_once(caplog):
    refusals = Refusals(ManualClock().monotonic)
    refusals.note("input", "a", "a 0:1", "no JSON")
    refusals.note("input", "b", "b 0:1", "no JSON")
    refusals.note("input", "a", "a 0:2", "no UTF-8")
    refusals.note("influxdb", "", "", "no JSON")
    assert len(caplog.records) == 4


def test_the_newest_is_kept_in_one_short_line():
    refusals = Refusals(ManualClock().monotonic)
    assert refusals.newest is None
    refusals.note("input", "a", "a 0:1", "no JSON")
    refusals.note("input", "a", "a 0:2", "two\nlines" + "." * 1000)
    assert refusals.newest is not None
    assert refusals.newest.place == "a 0:2"
    assert refusals.newest.reason.startswith("two lines.")
    assert len(refusals.newest.reason) == 300
