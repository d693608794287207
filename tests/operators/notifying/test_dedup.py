"""What counts as news, for an alert and for a group."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.notifying.arrivals import Arrival, Arrivals
from operators.notifying.dedup import LogEntry, Reason, reason_to_notify
from operators.notifying.flapping import Flapping
from operators.notifying.grouping import Integration
from operators.notifying.holds import Holds
from tests.operators.notifying.samples import MINUTE, OPS, SECOND, START, World, alert, route

NOW = START


def entry(firing: Iterable[int] = (), resolved: Iterable[int] = (), ago: int = 0) -> LogEntry:
    return LogEntry(NOW - ago, numbers(firing), numbers(resolved))


def numbers(of: Iterable[int]) -> frozenset[str]:
    return frozenset(map(str, of))


# The table is that of Alertmanager's own TestDedupStageNeedsUpdate (notify/notify_test.go, 0.34).
NEEDS_UPDATE = [
    ("no entry, some fire", None, {2, 3, 4}, {}, 0, False, True),
    ("no entry, none fires", None, {}, {2, 3, 4}, 0, False, False),
    ("other alerts fire", entry({1, 2, 3}), {2, 3, 4}, {}, 0, False, True),
    ("the entry is as old as time", entry({1, 2, 3}, ago=NOW), {1, 2, 3}, {}, 0, False, True),
    ("the same before repeat", entry({1, 2, 3}, ago=9), {1, 2, 3}, {}, 10, False, False),
    ("the same after repeat", entry({1, 2, 3}, ago=11), {1, 2, 3}, {}, 10, False, True),
    ("others resolved, none fires", entry((), {1, 2, 3}, ago=11), {}, {3, 4, 5}, 10, True, False),
    ("more resolved, not wanted", entry({1, 2}, {3}, ago=9), {1}, {2, 3}, 10, False, False),
    ("more resolved, wanted", entry({1, 2}, {3}, ago=9), {1}, {2, 3}, 10, True, True),
    ("all resolved, not wanted", entry({1, 2}, {3}, ago=9), {}, {1, 2, 3}, 10, False, True),
    ("all resolved, wanted", entry({1, 2}, {3}, ago=9), {}, {1, 2, 3}, 10, True, True),
]


@pytest.mark.parametrize(
    ("logged", "firing", "resolved", "repeat", "send_resolved", "expected"),
    [row[1:] for row in NEEDS_UPDATE],
    ids=[row[0] for row in NEEDS_UPDATE],
)
def test_a_group_is_news_when_it_is_to_alertmanager(
    logged: LogEntry | None,
    firing: Iterable[int],
    resolved: Iterable[int],
    repeat: int,
    send_resolved: bool,
    expected: bool,
) -> None:
    reason = reason_to_notify(
        logged,
        numbers(firing),
        numbers(resolved),
        send_resolved=send_resolved,
        repeat_interval=repeat,
        now=NOW,
    )
    assert reason.is_to_notify == expected


def test_a_group_of_which_all_was_told_to_be_over_begins_anew() -> None:
    reason = reason_to_notify(
        entry((), {1}), numbers({1}), numbers(()), send_resolved=True, repeat_interval=1, now=NOW
    )
    assert reason is Reason.FIRST


A = {"alertname": "A"}
FIRED = alert(A)
UPDATED = alert(A, annotations={"summary": "worse"})
RESOLVED = alert(A, "resolved")
LATER = alert(A, since=START + 10 * MINUTE)
LATER_RESOLVED = alert(A, "resolved", since=START + 10 * MINUTE)

ARRIVALS = {
    "the first": ([], FIRED, Arrival.FIRED),
    "the same twice": ([FIRED], FIRED, Arrival.REPEATED),
    "new annotations": ([FIRED], UPDATED, Arrival.UPDATED),
    "its end": ([FIRED], RESOLVED, Arrival.RESOLVED),
    "its end twice": ([FIRED, RESOLVED], RESOLVED, Arrival.REPEATED),
    "a replay of its start": ([FIRED, RESOLVED], FIRED, Arrival.OUT_OF_DATE),
    "the next episode": ([FIRED, RESOLVED], LATER, Arrival.FIRED),
    "the next episode, though no end came": ([FIRED], LATER, Arrival.UPDATED),
    "the end of the episode before": ([LATER], RESOLVED, Arrival.OUT_OF_DATE),
    "the start of the episode before": ([LATER], FIRED, Arrival.OUT_OF_DATE),
    "an end of a later episode": ([FIRED], LATER_RESOLVED, Arrival.RESOLVED),
    "an end without a start": ([], RESOLVED, Arrival.NEVER_FIRED),
    "a start after its end": ([RESOLVED], FIRED, Arrival.OUT_OF_DATE),
}


@pytest.mark.parametrize(("before", "then", "expected"), ARRIVALS.values(), ids=ARRIVALS)
def test_what_an_event_means(before: list, then: object, expected: Arrival) -> None:
    arrivals = Arrivals()
    for event in before:
        arrivals.admit(event)
    assert arrivals.admit(then) is expected


def test_what_has_ended_is_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operators.notifying.arrivals.REMEMBERED", 2)
    arrivals = Arrivals()
    for name in "ABC":
        arrivals.admit(alert({"alertname": name}))
        arrivals.admit(alert({"alertname": name}, "resolved"))
    assert len(arrivals.ended) == 2
    assert arrivals.admit(alert({"alertname": "C"})) is Arrival.OUT_OF_DATE
    assert arrivals.admit(alert({"alertname": "A"})) is Arrival.FIRED


SECOND_CHANNEL = Integration("ops/slack[1]", send_resolved=True)
FLAPPING = Flapping(2, 5 * MINUTE)
STEPS = st.one_of(
    st.tuples(st.sampled_from(["fire", "resolve"]), st.sampled_from("abcd")),
    st.tuples(st.just("wait"), st.integers(1, 900)),
    st.tuples(
        st.sampled_from(["down", "slow", "mute", "up"]), st.sampled_from([OPS, SECOND_CHANNEL])
    ),
    st.tuples(st.sampled_from(["restart", "crash"]), st.booleans()),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS, max_size=40), st.booleans(), st.sampled_from([None, FLAPPING]))
def test_whatever_happens_receivers_end_up_knowing_what_fires(
    steps: list, brief: bool, flapping: Flapping | None
) -> None:
    by_name = replace(route(integrations=(OPS, SECOND_CHANNEL)), flapping=flapping)
    by_host = replace(by_name, group_by=frozenset({"host"}))
    rules = [flapping] if flapping else []
    world = World(by_name, holds=lambda: Holds(tells_brief=brief, flapping=rules))
    truth: dict[str, int] = {}
    crashed = any(verb in ("restart", "crash") for verb, _ in steps)
    for verb, what in steps:
        if verb == "fire" and what not in truth:
            world.wait_until(world.clock.now() + SECOND)  # an episode is known by its start
            truth[what] = world.clock.now()
            world.happen(alert({"alertname": "A", "host": what}, since=truth[what]))
        elif verb == "resolve" and what in truth:
            since = truth.pop(what)
            world.happen(alert({"alertname": "A", "host": what}, "resolved", since=since))
        elif verb == "wait":
            world.wait_until(world.clock.now() + what * SECOND)
        elif verb in ("restart", "crash"):
            getattr(world, verb)(by_host if what else by_name)
        elif verb in ("down", "slow", "mute", "up"):
            world.receivers.down.discard(what.name)
            world.receivers.slow.discard(what.name)
            world.receivers.mute.discard(what.name)
            world.receivers.finish()
            if verb != "up":
                getattr(world.receivers, verb).add(what.name)
    world.receivers.down = world.receivers.slow = world.receivers.mute = set()
    world.receivers.finish()
    world.wait_until(world.clock.now() + 11 * MINUTE + (flapping.within if flapping else 0))

    for integration in (OPS, SECOND_CHANNEL):
        believed: set[str] = set()
        ever: set[str] = set()
        for notification in world.receivers.told:
            if notification.integration == integration.name:
                for told in notification.alerts:
                    host = told.labels["host"]
                    # After a crash nobody knows what was told last, so the end is told anyway.
                    assert not told.resolved or host in ever or crashed or brief, (
                        "never told to fire"
                    )
                    ever.add(host)
                    (believed.discard if told.resolved else believed.add)(host)
        assert believed == set(truth)
