"""What fires and resolves again and again is told as one that flaps, and told when it calms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.notifying.acknowledgements import Acknowledgement
from operators.notifying.flapping import Flapping, Flaps
from operators.notifying.grouping import Integration
from operators.notifying.holds import Holds
from operators.notifying.matchers import parse_matchers
from operators.notifying.silences import Silence
from tests.operators.notifying.samples import HOUR, MINUTE, START, World, alert, route

A = {"alertname": "A"}
B = {"alertname": "B"}
RULE = Flapping(4, 10 * MINUTE)


def flaps_as_defined(changes: list[int], rule: Flapping, now: int) -> bool:
    """Read the definition aloud: too many changes at some time, and never calm since."""
    for position, change in enumerate(changes):
        recent = [one for one in changes[: position + 1] if one > change - rule.within]
        since = [*changes[position:], now]
        gaps = [later - earlier for earlier, later in pairwise(since)]
        if len(recent) > rule.changes and all(gap < rule.within for gap in gaps):
            return True
    return False


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 8), max_size=30),
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 20)), min_size=1, max_size=3),
    st.integers(0, 25),
    st.integers(0, 30),
)
def test_flapping_is_what_it_is_defined_as_also_after_a_restart(
    gaps: list[int], rules: list[tuple[int, int]], later: int, restart: int
) -> None:
    given_rules = [Flapping(*rule) for rule in rules]
    flaps, changes, now = Flaps(given_rules), [], 0
    for number, gap in enumerate(gaps):
        if number == restart:
            state = flaps.snapshot()
            flaps = Flaps(given_rules)
            flaps.resume(state)
        now += gap
        changes.append(now)
        flaps.change("a", now, now)
    now += later
    if later % 2:
        flaps.forget(now)
    for rule in given_rules:
        assert flaps.flaps("a", rule, now) == flaps_as_defined(changes, rule, now)


def test_a_change_without_a_time_of_its_own_counts_as_now_and_never_goes_back() -> None:
    flaps = Flaps([Flapping(1, 10)])
    flaps.change("a", 500, 100)  # says it is of the future
    assert not flaps.flaps("a", Flapping(1, 10), 100)
    flaps.change("a", 3, 105)  # says it is of before that
    assert flaps.flaps("a", Flapping(1, 10), 109)
    assert not flaps.flaps("a", Flapping(1, 10), 110)


def flapping_world(send_resolved: bool = True) -> World:
    integration = Integration("ops/webhook[0]", send_resolved)
    along = replace(route(integrations=(integration,)), flapping=RULE)
    return World(along, holds=lambda: Holds(flapping=[RULE]))


def flap(world: World, minutes: range, between: Callable[[], None] = lambda: None) -> None:
    """Let A change every minute: fire at even ones, resolve at odd ones."""
    for minute in minutes:
        at = START + minute * MINUTE
        world.wait_until(at)
        if minute % 2 == 0:
            world.happen(alert(A, since=at))
        else:
            world.happen(alert(A, "resolved", since=at - MINUTE, until=at))
        between()


def told(world: World) -> list[tuple[str, str, str]]:
    return [
        (
            note.reason.name,
            "resolved" if one.resolved else "firing",
            one.annotations.get("flapping", ""),
        )
        for note in world.receivers.told
        for one in note.alerts
        if one.name == "A"
    ]


FLAPS = ("FLAPPING", "firing", "more than 4 changes within 10m")


@pytest.mark.parametrize(
    ("last", "after"),
    [(8, ("ALL_RESOLVED", "resolved", "")), (9, ("CALMED", "firing", ""))],
    ids=["it ends", "it goes on to fire"],
)
@pytest.mark.parametrize("crashes", ["never", "restart", "crash"])
def test_one_that_flaps_is_told_once_and_again_when_it_has_calmed(
    last: int, after: tuple[str, str, str], crashes: str
) -> None:
    world = flapping_world()
    again = (lambda: None) if crashes == "never" else getattr(world, crashes)
    flap(world, range(last), again)
    world.wait_until(START + 15 * MINUTE)
    assert told(world) == [("FIRST", "firing", ""), FLAPS]
    world.wait_until(START + 30 * MINUTE)
    assert told(world)[2:] == [after]


def test_a_receiver_that_wants_no_ends_hears_of_the_next_episode() -> None:
    world = flapping_world(send_resolved=False)
    flap(world, range(8))
    world.wait_until(START + 60 * MINUTE)
    world.happen(alert(A, since=world.clock.now()))
    world.wait_until(START + 70 * MINUTE)
    assert told(world) == [("FIRST", "firing", ""), FLAPS, ("FIRST", "firing", "")]


def test_what_flaps_is_silenced_like_any_other_and_told_afterwards() -> None:
    world = flapping_world()
    silence = Silence("s", parse_matchers("alertname=A"), START, START + HOUR, "me", "", START)
    world.notifier.holds.silences.put(silence, START)
    flap(world, range(60))
    assert told(world) == []
    flap(world, range(60, 68))
    assert told(world) == [("FIRST", *FLAPS[1:])]


def test_who_cares_about_one_that_flaps_does_so_until_it_is_calm_and_over() -> None:
    world = flapping_world()
    flap(world, range(7))
    name = alert(A).fingerprint
    cares = world.notifier.holds.acknowledgements
    cares.put(Acknowledgement(name, "acknowledged", "me", "", world.clock.now()))
    flap(world, range(7, 12))
    assert cares.of(name, world.clock.now()) is not None
    world.happen(alert(B))
    world.wait_until(START + 40 * MINUTE)
    assert cares.of(name, world.clock.now()) is None


def test_every_change_of_one_that_flaps_counts_under_that_reason() -> None:
    world = flapping_world()
    flap(world, range(30))
    report = world.notifier.chronicle.noise.report()
    assert report["by_reason"]["damped"] > 15
    assert report["notifications"] == 2
