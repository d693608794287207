"""What a Kafka client says over and over is in the log once a minute."""

from __future__ import annotations

import logging

from flows.process.repeats import Repeats
from operators.contracts.clock import ManualClock


def lines(repeats: Repeats, text: str, name: str = "operators.kafka.clients") -> list[str]:
    record = logging.LogRecord(name, logging.ERROR, "", 0, text, (), None)
    return [record.getMessage()] if repeats.filter(record) else []


def test_lines_that_differ_in_numbers_only_are_said_once_a_minute_and_counted() -> None:
    clock = ManualClock()
    repeats = Repeats(clock.monotonic)
    said = []
    for second in range(61):
        for producer in range(3):
            said += lines(
                repeats,
                f"FAIL [headrace#producer-{producer}]: refused (after {second}ms in CONNECT)",
            )
        clock.advance(1)
    assert said == [
        "FAIL [headrace#producer-0]: refused (after 0ms in CONNECT)",
        "FAIL [headrace#producer-0]: refused (after 60ms in CONNECT) (and 179 more like it since)",
    ]


def test_other_lines_and_what_others_say_pass() -> None:
    repeats = Repeats(ManualClock().monotonic)
    assert lines(repeats, "refused")
    assert lines(repeats, "timed out")
    assert lines(repeats, "gap at 3", "operators.kafka.gaps")
    assert lines(repeats, "gap at 4", "operators.kafka.gaps")
