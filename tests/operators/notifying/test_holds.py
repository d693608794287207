"""What holds back alerts, what becomes of it, and the reason that is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from operators.notifying.acknowledgements import Acknowledgement
from operators.notifying.alert import Alert
from operators.notifying.command import (
    Command,
    alert_command,
    command_of,
    encode_command,
    silence_command,
)
from operators.notifying.dedup import Reason
from operators.notifying.escalation import Policy, only_on_call, with_escalations
from operators.notifying.grouping import Route, routing
from operators.notifying.holds import Holds
from operators.notifying.inhibition import Inhibitor, InhibitRule
from operators.notifying.intervals import TimeInterval
from operators.notifying.matchers import parse_matchers
from operators.notifying.notifier import Notifier
from operators.notifying.rotas import Rota
from operators.notifying.silences import Silence, Silences, UnknownSilence
from tests.operators.notifying.samples import HOUR, MINUTE, SECOND, START, World, alert, route

A = {"alertname": "A", "service": "shop"}
B = {"alertname": "B", "service": "shop"}


def silence(text: str, *, starts: int = START, lasts: int = HOUR, name: str = "s") -> Silence:
    return Silence(name, parse_matchers(text), starts, starts + lasts, "me", "known", START)


def told(world: World) -> list[tuple[str, list[str]]]:
    return [
        (n.reason.name, [f"{a.name} {'resolved' if a.resolved else 'firing'}" for a in n.alerts])
        for n in world.receivers.told
    ]


def reasons(world: World) -> list[Reason]:
    return [r.reason for r in world.notifier.chronicle.records() if r.outcome == "held"]


def test_what_is_silenced_is_told_when_the_silence_is_over() -> None:
    world = World()
    world.notifier.holds.silences.put(silence("alertname=A", lasts=20 * MINUTE), START)
    world.happen(alert(A), alert(B))
    world.wait_until(START + 10 * MINUTE)
    assert told(world) == [("FIRST", ["B firing"])]
    assert reasons(world) == [Reason.SILENCED, Reason.NOTHING_NEW]
    world.wait_until(START + 30 * MINUTE)
    assert told(world)[1:] == [("FIRST", ["A firing"])]


def test_silences_outlive_a_crash() -> None:
    world = World()
    world.notifier.holds.silences.put(silence("alertname=A"), START)
    world.restart()
    world.happen(alert(A))
    world.wait_until(START + 10 * MINUTE)
    assert told(world) == []


ENDS = {"never": [], "when_over": ["resolved"], "at_once": ["resolved"]}


@pytest.mark.parametrize(("ends", "expected"), ENDS.items(), ids=ENDS)
def test_the_end_of_what_was_silenced_is_told_if_that_is_asked_for(
    ends: Any, expected: list[str]
) -> None:
    world = World(holds=lambda: Holds(ends_of_held=ends))
    world.happen(alert(A))
    world.wait_until(START + MINUTE)
    world.notifier.holds.silences.put(silence("alertname=A"), world.clock.now())
    if ends == "at_once":
        world.wait_until(START + 10 * MINUTE)
    else:
        world.happen(alert(A, "resolved"))
        world.wait_until(START + 10 * MINUTE)
    assert [what for _, alerts in told(world)[1:] for what in alerts] == [
        f"A {word}" for word in expected
    ]


def test_silences_change_as_far_as_they_can_and_else_another_takes_their_place() -> None:
    silences = Silences()
    first = silences.put(silence("a=b"), START)
    longer = silence("a=b", lasts=2 * HOUR, name="new")
    assert silences.put(longer, START + SECOND, replaces="s").id == "s"
    other = silences.put(silence("a=c", name="other"), START + SECOND, replaces="s")
    assert other.id == "other"
    states = {one.id: one.state(START + MINUTE) for one in silences.all()}
    assert states == {"s": "expired", "other": "active"}
    assert first.ends_at == START + HOUR
    with pytest.raises(UnknownSilence):
        silences.put(silence("a=b", name="x"), START, replaces="nothing")
    silences.forget(START + 200 * HOUR)
    assert silences.all() == []


INHIBITS = {
    "the same value": ("service", {"service": "shop"}, {"service": "shop"}, True),
    "another value": ("service", {"service": "shop"}, {"service": "cart"}, False),
    "missing on both sides": ("zone", {}, {}, True),
    "missing and empty": ("zone", {"zone": ""}, {}, True),
    "missing on one side": ("zone", {"zone": "a"}, {}, False),
}


@pytest.mark.parametrize(("equal", "one", "other", "held"), INHIBITS.values(), ids=INHIBITS)
def test_a_missing_label_equals_an_empty_one(
    equal: str, one: dict[str, str], other: dict[str, str], held: bool
) -> None:
    rule = InhibitRule(parse_matchers("severity=page"), parse_matchers("severity=warn"), (equal,))
    source = alert({"alertname": "S", "severity": "page", **one})
    inhibitor = Inhibitor([rule], [source])
    target = {"alertname": "T", "severity": "warn", **other}
    assert inhibitor.inhibited_by(target, START) == (source.fingerprint if held else None)
    inhibitor.put(alert(source.labels, "resolved"))
    assert inhibitor.inhibited_by(target, START) is None


def test_an_alert_on_both_sides_of_a_rule_is_held_by_neither_itself_nor_its_like() -> None:
    both = parse_matchers("alertname=~A|B")
    inhibitor = Inhibitor([InhibitRule(both, both)], [alert(A), alert(B)])
    assert inhibitor.inhibited_by(A, START) is None
    assert inhibitor.inhibited_by(B, START) is None


def test_inhibition_holds_right_after_a_restart() -> None:
    rule = InhibitRule(parse_matchers("alertname=A"), parse_matchers("alertname=B"), ("service",))
    world = World(holds=lambda: Holds([rule]))
    world.happen(alert(A))
    world.wait_until(START + MINUTE)
    world.restart()
    world.happen(alert(B))
    world.wait_until(START + 10 * MINUTE)
    assert told(world) == [("FIRST", ["A firing"])]


def along(**more: Any) -> Route:
    made = route()
    return Route(**{**{name: getattr(made, name) for name in made.__slots__}, **more})


NOON = TimeInterval(times=((12 * 60, 13 * 60),))  # START is 14:13 UTC


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"mute": ("noon",)}, None),
        ({"mute": ("always",)}, Reason.MUTE_TIME),
        ({"active": ("noon",)}, Reason.INACTIVE_TIME),
        ({"active": ("noon", "always")}, None),
    ],
)
def test_times_hold_back_what_is_told_along_their_routes(
    more: dict[str, Any], expected: Reason | None
) -> None:
    times = {"noon": (NOON,), "always": (TimeInterval(),)}
    world = World(along(**more), holds=lambda: Holds(intervals=times))
    world.happen(alert(A))
    world.wait_until(START + MINUTE)
    assert reasons(world) == ([] if expected is None else [expected])


def obey(world: World, do: Any, alerts: Sequence[Alert], **more: Any) -> None:
    given = alert_command(
        f"c{world.clock.now()}{do}",
        "me",
        do,
        at=world.clock.now(),
        alerts=tuple(one.fingerprint for one in alerts),
        **more,
    )
    world.notifier.obey(command_of(encode_command(given)))


def test_what_is_acknowledged_is_not_repeated_but_news_and_its_end_are_told() -> None:
    world = World(route(group_by=(), repeat_interval=10 * MINUTE))
    world.happen(alert(A))
    world.wait_until(START + MINUTE)
    obey(world, "acknowledge", [alert(A)])
    world.wait_until(START + 40 * MINUTE)
    assert told(world) == [("FIRST", ["A firing"])]
    world.happen(alert(B))
    world.happen(alert(A, "resolved"))
    world.wait_until(START + 46 * MINUTE)
    assert told(world)[1:] == [("NEW_ALERTS", ["A resolved", "B firing"])]


def test_when_an_acknowledgement_runs_out_the_alert_is_told_again_at_once() -> None:
    world = World()
    world.happen(alert(A))
    world.wait_until(START + MINUTE)
    obey(world, "acknowledge", [alert(A)], seconds=3600)
    world.wait_until(START + 3 * HOUR)
    assert told(world)[1:] == [("ACKNOWLEDGEMENT_OVER", ["A firing"])]
    assert world.receivers.told[1].reason is Reason.ACKNOWLEDGEMENT_OVER


def test_what_is_snoozed_is_told_nobody_until_it_is_over_and_fires_again() -> None:
    world = World()
    world.happen(alert(A))
    obey(world, "snooze", [alert(A)])
    world.wait_until(START + HOUR)
    world.happen(alert(A, "resolved"))
    world.wait_until(START + 2 * HOUR)
    assert told(world) == []
    world.happen(alert(A, since=START + 2 * HOUR))
    world.wait_until(START + 3 * HOUR)
    assert told(world) == [("FIRST", ["A firing"])]


def test_a_command_that_is_read_again_changes_nothing() -> None:
    world = World()
    world.happen(alert(A))
    given = silence_command("c", "me", silence("alertname=A"), at=START)
    command = command_of(encode_command(given))
    world.notifier.obey(command)
    world.notifier.holds.silences.expire("s", world.clock.now())
    world.notifier.obey(command)
    assert [one.state(world.clock.now()) for one in world.notifier.holds.silences.all()] == [
        "expired"
    ]


def escalating(
    rotas: dict[str, Rota] | None = None, steps: int = 1, **more: Any
) -> tuple[World, Holds]:
    world = World(route(group_by=("alertname",)))
    step = along(
        id="escalation/x/0", key="escalation/x/0", receiver="boss", group_wait=10 * MINUTE,
        escalates=True, **more,
    )  # fmt: skip
    further = replace(
        step, id="escalation/x/1", key="escalation/x/1", receiver="boss of boss",
        group_wait=20 * MINUTE,
    )  # fmt: skip
    holds = Holds()
    holds.also(only_on_call(holds, rotas or {}))
    lead = with_escalations(routing(world.route), [Policy((), (step, further)[:steps])])
    world.notifier = Notifier(lead, world.receivers, world.clock, holds=holds)
    return world, holds


def receivers(world: World) -> list[tuple[str, int]]:
    return [(n.receiver, len(n.firing)) for n in world.receivers.told]


def test_what_nobody_acknowledges_escalates() -> None:
    world, _ = escalating()
    world.happen(alert(A))
    world.wait_until(START + 9 * MINUTE)
    assert receivers(world) == [("ops", 1)]
    world.wait_until(START + 11 * MINUTE)
    assert receivers(world) == [("ops", 1), ("boss", 1)]


@pytest.mark.parametrize(("most", "times"), [(0, 1), (2, 3), (None, 8)])
def test_a_step_is_taken_again_as_often_as_its_escalation_says(
    most: int | None, times: int
) -> None:
    world, _ = escalating(most_repeats=most, repeat_interval=HOUR, group_interval=MINUTE)
    world.happen(alert(A))
    for hour in range(1, 9):
        world.wait_until(START + hour * HOUR)
    assert [name for name, _ in receivers(world)].count("boss") == times


@pytest.mark.parametrize("how", ["acknowledged", "resolved"])
def test_an_escalation_ends_where_somebody_cares_or_all_is_well(how: str) -> None:
    world, holds = escalating()
    world.happen(alert(A))
    world.wait_until(START + 5 * MINUTE)
    if how == "resolved":
        world.happen(alert(A, "resolved"))
    else:
        cares = Acknowledgement(alert(A).fingerprint, "acknowledged", "me", "", START)
        holds.acknowledgements.put(cares)
    world.wait_until(START + 30 * MINUTE)
    assert "boss" not in [name for name, _ in receivers(world)]


def escalate(name: str, at: int) -> Command:
    command = alert_command(name, "me", "escalate", at=at, alerts=(alert(A).fingerprint,))
    return command_of(encode_command(command))


def test_somebody_may_take_the_next_step_at_once_and_only_that() -> None:
    world, holds = escalating(steps=2)
    world.happen(alert(A))
    world.wait_until(START + 2 * MINUTE)
    cares = Acknowledgement(alert(A).fingerprint, "acknowledged", "me", "", START)
    holds.acknowledgements.put(cares)
    first = escalate("1", world.clock.now())
    world.notifier.obey(first)
    world.wait_until(START + 3 * MINUTE)
    assert receivers(world) == [("ops", 1), ("boss", 1)]
    # After a crash the command is read again, by a notifier that knows nothing of it.
    del world.notifier.obeyed["1"]
    world.notifier.obey(first)
    world.wait_until(START + 4 * MINUTE)
    assert receivers(world) == [("ops", 1), ("boss", 1)]
    world.notifier.obey(escalate("2", world.clock.now()))
    world.wait_until(START + 5 * MINUTE)
    assert receivers(world) == [("ops", 1), ("boss", 1), ("boss of boss", 1)]
    world.notifier.obey(escalate("3", world.clock.now()))
    assert world.notifier.obeyed["3"] == "there is no further step for these alerts"
    world.happen(alert(A, "resolved"))
    world.notifier.obey(escalate("4", world.clock.now()))
    assert world.notifier.obeyed["4"] == "none of the alerts fires"


@pytest.mark.parametrize(("turn", "heard"), [("boss", True), ("other", False)])
def test_a_step_tells_whoever_is_on_call(turn: str, heard: bool) -> None:
    rota = Rota(["boss", "other"], START if turn == "boss" else START - 24 * HOUR, 24 * HOUR)
    world, _ = escalating({"week": rota}, rota="week")
    world.happen(alert(A))
    world.wait_until(START + 30 * MINUTE)
    assert ("boss" in [name for name, _ in receivers(world)]) == heard


def test_a_group_is_told_at_once_to_be_over_if_that_is_asked_for() -> None:
    world = World(prompt_resolves=True)
    world.happen(alert(A))
    world.wait_until(START + MINUTE)
    world.happen(alert(A, "resolved"))
    assert told(world)[1:] == [("ALL_RESOLVED", ["A resolved"])]


def test_old_alerts_do_not_wait_if_that_is_asked_for() -> None:
    world = World(waits_for_old=False)
    world.happen(alert(A, since=START - MINUTE))
    assert told(world) == [("FIRST", ["A firing"])]
