"""States of grouping and of courses, moved to other shards: as if services had always been of those."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.settings import Logs
from operators.contracts.clock import ManualClock
from operators.contracts.items import ExceptionCommand, Polled
from operators.contracts.service_changes import ServiceChange
from operators.contracts.watermark import Mark
from operators.logs import decoding
from operators.logs.courses.changing import ChangingLogic
from operators.logs.decoding import shard_of
from operators.logs.moving import moved_courses, moved_groups
from operators.logs.step import GroupingLogic
from tests.operators.logs.test_exceptions import JAVA
from tests.operators.logs.test_span_lines import AT, SECOND, WINDOW, lines_in, polled, reading
from tests.operators.logs.test_step import Chain

SHARDS = 4
SERVICES = [f"s{number}" for number in range(12)]

_line = st.builds(
    lambda service, level, word, number: (
        f'{{"timestamp":"2026-01-01T00:00:03Z","service":"{service}","level":"{level}","msg":"mode={word} was set to {number}"}}'
    ),
    st.sampled_from(SERVICES), st.sampled_from(["info", "error"]), st.sampled_from("abcdef"),
    st.integers(0, 99),
)  # fmt: skip
_trace = st.builds(
    lambda service: (
        f'{{"timestamp":"2026-01-01T00:00:03Z","service":"{service}","level":"error","msg":{_quoted(JAVA)}}}'
    ),
    st.sampled_from(SERVICES),
)


def _quoted(text: str) -> str:
    return '"' + text.replace("\n", "\\n").replace("\t", "\\t") + '"'


def content(states: dict[int, Any]) -> dict[int, Any]:
    """Return states of grouping without the order in which services came."""

    def without_order(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: without_order(each) for name, each in value.items()}
        if isinstance(value, (list, tuple)):
            return sorted((without_order(each) for each in value), key=repr)
        return value

    return {shard: without_order(state) for shard, state in states.items()}


def others() -> pytest.MonkeyPatch:
    """Have services on other shards, until it is undone."""
    patch = pytest.MonkeyPatch()
    patch.setattr(decoding, "shard_of_origin", lambda origin, shards: (origin >> 7) % shards)
    return patch


def grouped(lines: list[str]) -> Chain:
    chain = Chain(SHARDS, Logs(burst=2, sampling={"most": 2}))
    chain.feed(lines, "json")
    return chain


@settings(deadline=None, max_examples=10)
@given(st.lists(_line | _trace, min_size=1, max_size=30))
def test_grouping_is_then_as_if_services_had_always_been_there(lines):
    patch = others()
    try:
        before = grouped(lines)
    finally:
        patch.undo()
    after = grouped(lines)
    expected = {shard: logic.snapshot() for shard, logic in after.logics.items()}
    moved = moved_groups([logic.snapshot() for logic in before.logics.values()], SHARDS)
    assert content(moved) == content(expected)
    for state in moved.values():
        GroupingLogic(after.config, state)


def test_what_was_asked_of_exceptions_that_nobody_has_seen_goes_with_their_service():
    logic = GroupingLogic(Logs(), None)
    for service in SERVICES:
        command = ExceptionCommand(0, "default", service, "f" * 32, "ignore", AT, "ann")
        logic.on_batch([command])
    moved = moved_groups([logic.snapshot()], 5)
    found = {
        waiting["service"]: (shard, waiting["shard"])
        for shard, state in moved.items()
        for waiting in state["exceptions"]["waiting"]
    }
    assert found == {name: (shard_of("default", name, 5),) * 2 for name in SERVICES}


def logics(states: dict[int, Any]) -> list[ChangingLogic]:
    return [
        ChangingLogic(WINDOW, 1, 2 * SECOND, 30 * SECOND, ManualClock(), states.get(shard))
        for shard in range(SHARDS)
    ]


def lines_of(window: int) -> list[tuple[int, str, int, int, str]]:
    """Return what services log in spans of ten seconds; from the tenth on some take another course."""
    return [
        (at + step * 1000, service, at + number, 7, text)
        for number, service in enumerate(SERVICES)
        for at in range(AT + window * WINDOW, AT + (window + 1) * WINDOW, WINDOW // 4)
        for step, text in enumerate(
            ("begin", "threw") if window >= 10 and number % 3 == 0 else ("begin", "work", "done")
        )
    ]


def play(steps: list[ChangingLogic], first: int, last: int) -> list[ServiceChange]:
    """Return what logics tell of the lines of some windows, which a flow that was just started reads."""
    read, told = reading(SHARDS), []
    begin = Polled(0, "", [], np.empty(0, np.int32), np.empty(0, np.int64), {"logs/0": Mark.LIVE})
    polls = [begin, *(polled(lines_of(window), window) for window in range(first, last))]
    for item in (item for poll in polls for item in lines_in(read, poll)):
        told += [change for found in steps[item.shard].on_batch([item]) for change in found.changes]
    return sorted(told, key=repr)


@pytest.mark.parametrize("stop", [8, 12])
def test_courses_are_then_as_if_services_had_always_been_there(stop):
    patch = others()
    try:
        before = logics({})
        told_before = play(before, 0, stop)
    finally:
        patch.undo()
    same = logics({})
    assert told_before == play(same, 0, stop)
    states = moved_courses([logic.snapshot() for logic in before], SHARDS)
    restarted = logics(dict(enumerate(logic.snapshot() for logic in same)))
    expected = play(restarted, stop, 16)
    assert {change.service for change in expected} == {"s0", "s3", "s6", "s9"}
    assert play(logics(states), stop, 16) == expected
