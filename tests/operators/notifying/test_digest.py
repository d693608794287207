"""Summaries at stated times: what they tell, and when they are due."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.notifying.digest import Digest
from operators.notifying.grouping import routing
from operators.notifying.holds import Holds
from operators.notifying.journal import record_value
from operators.notifying.matchers import parse_matchers
from operators.notifying.notifier import Notifier
from operators.notifying.silences import Silence
from sinks.notification_log import told_of
from tests.operators.notifying.samples import HOUR, MINUTE, SECOND, START, World, alert, route

BERLIN = ZoneInfo("Europe/Berlin")
TWO = Digest((15 * 60, 16 * 60))  # START is 14:13:20 UTC
DAY = 24 * HOUR
THREE_OCLOCK = START + 46 * MINUTE + 40 * SECOND
A, B = {"alertname": "A"}, {"alertname": "B"}


@settings(max_examples=100, deadline=None)
@given(
    st.datetimes(datetime(2026, 3, 20), datetime(2026, 11, 5)),
    st.sets(st.integers(0, 1439), min_size=1, max_size=3),
    st.sets(st.integers(0, 6)),
)
def test_between_two_stated_times_there_is_no_other(
    moment: datetime, minutes: set[int], days: set[int]
) -> None:
    digest = Digest(tuple(minutes), frozenset(days), BERLIN)
    now = round(moment.timestamp()) * SECOND
    before, after = digest.latest(now), digest.following(now)
    assert before <= now < after

    def wall(instant: int) -> datetime:
        return datetime.fromtimestamp(instant // SECOND, BERLIN)

    def is_stated(then: datetime) -> bool:
        on_the_day = not days or then.isoweekday() % 7 in days
        return on_the_day and then.hour * 60 + then.minute in minutes and not then.fold

    # Around a change of the clock a time may not be there, or be there twice: that is tested below.
    offsets = {wall(at).dst() for at in range(before - DAY, after + DAY, DAY // 4)}
    if len(offsets) > 1:
        return
    assert is_stated(wall(before))
    assert is_stated(wall(after))
    step = timedelta(minutes=1)
    then = wall(before).replace(second=0) + step
    while then < wall(after):
        assert not is_stated(then)
        then += step


def test_a_time_is_by_the_clock_of_its_place() -> None:
    digest = Digest((8 * 60,), frozenset({1}), BERLIN)  # Mondays at eight
    found = digest.following(round(datetime(2026, 10, 22, tzinfo=BERLIN).timestamp()) * SECOND)
    assert datetime.fromtimestamp(found // SECOND, ZoneInfo("UTC")).isoformat() == (
        "2026-10-26T07:00:00+00:00"  # the clocks went back the day before
    )
    # On 2026-03-29 there is no half past two: it is half past three, which is 01:30 UTC.
    early = Digest((2 * 60 + 30,), frozenset(), BERLIN)
    found = early.following(round(datetime(2026, 3, 29, tzinfo=BERLIN).timestamp()) * SECOND)
    assert datetime.fromtimestamp(found // SECOND, ZoneInfo("UTC")).isoformat() == (
        "2026-03-29T01:30:00+00:00"
    )


def digesting(digest: Digest = TWO) -> World:
    return World(replace(route(group_by=()), digest=digest))


def told(world: World, since: int = START) -> list[tuple[str, str]]:
    return [
        (
            note.reason.name,
            " ".join(f"{a.name} {'resolved' if a.resolved else 'firing'}" for a in note.alerts),
        )
        for note in world.receivers.told
    ]


def test_all_is_told_at_the_stated_times_also_what_came_and_went() -> None:
    world = digesting()
    world.happen(alert(A))
    world.wait_until(START + 20 * MINUTE)
    world.happen(alert(A, "resolved"), alert(B))
    world.wait_until(THREE_OCLOCK - 1)
    assert told(world) == []
    world.wait_until(THREE_OCLOCK + MINUTE)
    assert told(world) == [("DIGEST", "A resolved B firing")]
    world.wait_until(THREE_OCLOCK + 62 * MINUTE)
    assert told(world)[1:] == [("DIGEST", "B firing")]
    world.happen(alert(B, "resolved"))
    world.wait_until(THREE_OCLOCK + 49 * HOUR)
    assert told(world)[2:] == [("DIGEST", "B resolved")]


def test_a_receiver_that_was_down_gets_the_summary_when_it_is_back_and_once() -> None:
    world = digesting()
    world.receivers.down = {"ops/webhook[0]"}
    world.happen(alert(A))
    world.wait_until(THREE_OCLOCK + 12 * MINUTE)
    world.receivers.down = set()
    world.happen(alert(A, "resolved"))
    world.wait_until(THREE_OCLOCK + 59 * MINUTE)
    assert told(world) == [("DIGEST", "A resolved")]


@pytest.mark.parametrize("away", [MINUTE, 20 * MINUTE])
def test_a_summary_that_was_due_while_the_notifier_was_away_is_told_and_once(away: int) -> None:
    world = digesting()
    world.happen(alert(A))
    world.wait_until(THREE_OCLOCK - SECOND)
    world.clock.advance(away / SECOND)
    world.restart()
    world.wait_until(THREE_OCLOCK + 30 * MINUTE)
    world.restart()
    world.wait_until(THREE_OCLOCK + 59 * MINUTE)
    assert told(world) == [("DIGEST", "A firing")]


def test_a_digest_may_tell_what_was_held_back_and_why() -> None:
    world = World(
        replace(route(group_by=()), digest=replace(TWO, held_back=True)),
        holds=Holds,
    )
    silence = Silence("s", parse_matchers("alertname=A"), START, START + HOUR, "me", "", START)
    world.notifier.holds.silences.put(silence, START)
    world.happen(alert(A), alert(B))
    world.wait_until(THREE_OCLOCK + MINUTE)
    assert told(world) == [("DIGEST", "A firing B firing")]
    (note,) = world.receivers.told
    assert [one.annotations.get("held_back") for one in note.alerts] == ["silenced", None]


def test_a_summary_that_was_told_after_the_last_snapshot_is_not_told_again() -> None:
    world = digesting()
    world.happen(alert(A))
    world.wait_until(THREE_OCLOCK - SECOND)
    before = world.notifier.snapshot()
    world.wait_until(THREE_OCLOCK + SECOND)
    written = map(record_value, world.notifier.chronicle.records())
    told_since = [one for payload in written if (one := told_of(payload)) is not None]
    assert len(told_since) == len(world.receivers.told) == 1
    world.notifier = Notifier(
        routing(world.route), world.receivers, world.clock, resume=before, told=told_since
    )
    world.happen(alert(A))  # it is read again
    world.wait_until(THREE_OCLOCK + 59 * MINUTE)
    assert len(world.receivers.told) == 1
    world.wait_until(THREE_OCLOCK + 61 * MINUTE)
    assert len(world.receivers.told) == 2
