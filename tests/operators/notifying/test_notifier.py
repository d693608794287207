"""When receivers are told, and what: scenarios that read as what happens.

Each line is a time and an event, or a time and what a receiver is then told; a scenario lists
everything that is told. ``A1`` and ``A2`` are alerts of group A, ``B1`` is one of group B. The
times are those of Alertmanager's defaults: group_wait 30s, group_interval 5m, repeat_interval 4h.
"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.contracts.alert import Status
from operators.contracts.clock import ManualClock
from operators.contracts.durations import parse_duration
from operators.notifying.alert import Alert
from operators.notifying.grouping import Integration, routing
from operators.notifying.journal import Told, record_value
from operators.notifying.notification import Notification
from operators.notifying.notifier import Notifier
from sinks.notification_log import told_of
from tests.operators.notifying.samples import (
    MINUTE,
    OPS,
    SECOND,
    START,
    Receivers,
    World,
    alert,
    route,
)

SCENARIOS = {
    "a group is told after group_wait, whole": """
        0s     A1 fires
        10s    A2 fires
        30s    told  first notification: A1 firing, A2 firing
    """,
    "groups do not wait for each other": """
        0s     A1 fires
        10s    B1 fires
        30s    told  first notification: A1 firing
        40s    told  first notification: B1 firing
    """,
    "a new alert is told with its group after group_interval": """
        0s     A1 fires
        30s    told  first notification: A1 firing
        1m     A2 fires
        5m30s  told  new alerts added: A1 firing, A2 firing
    """,
    "a resolved alert is told once, and then forgotten": """
        0s     A1 fires
        0s     A2 fires
        30s    told  first notification: A1 firing, A2 firing
        1m     A1 resolves
        5m30s  told  some alerts resolved: A1 resolved, A2 firing
        6m     A3 fires
        10m30s told  new alerts added: A2 firing, A3 firing
    """,
    "the last to resolve ends the group": """
        0s     A1 fires
        30s    told  first notification: A1 firing
        2m     A1 resolves
        5m30s  told  all alerts resolved: A1 resolved
    """,
    "what has resolved within group_wait is not told": """
        0s     A1 fires
        10s    A1 resolves
        30m    nothing
    """,
    "what comes and goes between two notifications is told to be over while others fire": """
        0s     A1 fires
        30s    told  first notification: A1 firing
        1m     A2 fires
        2m     A2 resolves
        5m30s  told  some alerts resolved: A1 firing, A2 resolved
        30m    nothing
    """,
    "what resolves and fires again between two notifications is not told": """
        0s     A1 fires
        30s    told  first notification: A1 firing
        1m     A1 resolves
        2m     A1 fires
        30m    nothing
    """,
    "what fires again after it was told to be over waits as a new group": """
        0s     A1 fires
        30s    told  first notification: A1 firing
        2m     A1 resolves
        5m30s  told  all alerts resolved: A1 resolved
        6m     A1 fires
        6m30s  told  first notification: A1 firing
    """,
    "without news a group is told again at the flush after the repeat_interval": """
        0s     A1 fires
        30s    told  first notification: A1 firing
        4h5m30s  told  repeat interval elapsed: A1 firing
        8h10m30s told  repeat interval elapsed: A1 firing
        9h     nothing
    """,
    "news starts the repeat_interval anew": """
        0s     A1 fires
        30s    told  first notification: A1 firing
        2h     A2 fires
        2h30s  told  new alerts added: A1 firing, A2 firing
        6h5m30s told  repeat interval elapsed: A1 firing, A2 firing
    """,
    "an event that is repeated changes nothing": """
        0s     A1 fires
        10s    A1 fires again
        30s    told  first notification: A1 firing
        1m     A1 fires again
        30m    nothing
    """,
    "events that are replayed from the start change nothing": """
        0s     A1 fires
        30s    told  first notification: A1 firing
        2m     A1 resolves
        5m30s  told  all alerts resolved: A1 resolved
        10m    A1 fires again
        12m    A1 resolves again
        30m    nothing
    """,
    "what was never heard to fire does not resolve": """
        0s     A1 resolves
        30m    nothing
    """,
    "while a receiver is down nothing is lost": """
        0s     A1 fires
        30s    told  first notification: A1 firing
        1m     the receiver is down
        2m     A1 resolves
        3m     A2 fires
        11m    the receiver is up
        15m30s told  new alerts added: A1 resolved, A2 firing
    """,
    "a resolve that could not be told is told when the receiver is back": """
        0s     A1 fires
        30s    told  first notification: A1 firing
        1m     the receiver is down
        2m     A1 resolves
        21m    the receiver is up
        25m30s told  all alerts resolved: A1 resolved
    """,
    "what fires and resolves while the receiver is down is not told": """
        0s     the receiver is down
        0s     A1 fires
        6m     A1 resolves
        7m     the receiver is up
        30m    nothing
    """,
    "what may have been told is told to be over": """
        0s     the receiver takes what it is sent, but its answers are lost
        0s     A1 fires
        30s    told  first notification: A1 firing
        1m     the receiver is up
        2m     A1 resolves
        5m30s  told  all alerts resolved: A1 resolved
    """,
    "what may have been told is told again while it fires": """
        0s     the receiver takes what it is sent, but its answers are lost
        0s     A1 fires
        30s    told  first notification: A1 firing
        1m     the receiver is up
        5m30s  told  first notification: A1 firing
        30m    nothing
    """,
    "a restart changes nothing": """
        0s     A1 fires
        10s    restart
        30s    told  first notification: A1 firing
        1m     restart
        2m     A1 resolves
        3m     restart
        5m30s  told  all alerts resolved: A1 resolved
        6m     restart
        30m    nothing
    """,
    "what came due while it was away waits for the topic to be read": """
        0s     A1 fires
        30s    told  first notification: A1 firing
        1m     it goes away
        7h     it comes back
        7h10s  A1 resolves
        7h30s  told  all alerts resolved: A1 resolved
    """,
    "a restart does not forget what has ended": """
        0s     A1 fires
        30s    told  first notification: A1 firing
        2m     A1 resolves
        5m30s  told  all alerts resolved: A1 resolved
        6m     restart
        7m     A1 fires again
        30m    nothing
    """,
}

WITHOUT_RESOLVED = {
    "resolved alerts are left out for a receiver that does not want them": """
        0s     A1 fires
        0s     A2 fires
        30s    told  first notification: A1 firing, A2 firing
        1m     A1 resolves
        6m     A3 fires
        10m30s told  new alerts added: A2 firing, A3 firing
        11m    A2 resolves
        12m    A3 resolves
        1h     nothing
    """,
    "its groups end all the same": """
        0s     A1 fires
        30s    told  first notification: A1 firing
        1m     A1 resolves
        6m     A1 fires
        6m30s  told  first notification: A1 firing
    """,
}


def instant(text: str) -> int:
    return START + parse_duration(text)


def spoken(notification: Notification) -> str:
    alerts = sorted(
        f"{alert.labels['host']} {'resolved' if alert.resolved else 'firing'}"
        for alert in notification.alerts
    )
    return f"{notification.reason.value}: {', '.join(alerts)}"


class Scenario(World):
    """Plays a scenario and hears what is told."""

    def play(self, text: str) -> tuple[list[str], list[str]]:
        """Return what is told, and what was to be told."""
        heard: list[str] = []
        expected: list[str] = []
        self.episode: dict[str, int] = {}
        for line in text.strip().splitlines():
            time, _, what = line.strip().partition(" ")
            what = what.strip()
            self.pass_time(instant(time), heard)
            if what.startswith("told "):
                expected.append(f"{time} {what.removeprefix('told ').strip()}")
            else:
                self.act(what)
                self.hear(heard, self.clock.now())
        return heard, expected

    def pass_time(self, until: int, heard: list[str]) -> None:
        while (wake := self.notifier.next_wake()) is not None and wake <= until:
            self.wait_until(max(wake, self.clock.now()))
            self.hear(heard, self.clock.now())
        self.wait_until(until)

    def hear(self, heard: list[str], now: int) -> None:
        seconds = (now - START) // SECOND
        hours, minutes = seconds // 3600, seconds % 3600 // 60
        parts = [f"{hours}h"] * (hours > 0) + [f"{minutes}m"] * (minutes > 0)
        time = "".join(parts + [f"{seconds % 60}s"] * (seconds % 60 > 0 or not parts))
        heard.extend(f"{time} {spoken(notification)}" for notification in self.receivers.told)
        self.receivers.told.clear()

    def act(self, what: str) -> None:
        if match := re.fullmatch(r"(([AB])\d) (fires|resolves)( again)?", what):
            host, group, verb, again = match.groups()
            if verb == "fires" and not again:
                self.episode[host] = self.clock.now()
            since = self.episode.setdefault(host, self.clock.now())
            status = "firing" if verb == "fires" else "resolved"
            labels = {"alertname": group, "host": host}
            self.happen(alert(labels, status, since=since))
        elif what == "restart":
            self.restart()
        elif what == "it goes away":
            self.away = self.notifier.snapshot()
            self.notifier = Notifier(routing(self.route), self.receivers, self.clock)
        elif what == "it comes back":
            self.notifier = Notifier(
                routing(self.route), self.receivers, self.clock, resume=self.away
            )
        elif what == "the receiver is down":
            self.receivers.down = {OPS.name}
        elif what == "the receiver takes what it is sent, but its answers are lost":
            self.receivers.mute = {OPS.name}
        elif what == "the receiver is up":
            self.receivers.down = self.receivers.mute = set()
        else:
            assert what == "nothing", what


@pytest.mark.parametrize("text", SCENARIOS.values(), ids=SCENARIOS)
def test_as_people_expect(text: str) -> None:
    heard, expected = Scenario().play(text)
    assert heard == expected


@pytest.mark.parametrize("text", WITHOUT_RESOLVED.values(), ids=WITHOUT_RESOLVED)
def test_as_people_expect_without_resolved(text: str) -> None:
    along = route(integrations=(replace(OPS, send_resolved=False),))
    heard, expected = Scenario(along).play(text)
    assert heard == expected


def one(name: str, **labels: str) -> Alert:
    return alert({"alertname": name, **labels})


def test_three_dots_make_each_alert_a_group_of_its_own() -> None:
    world = World(route(group_by=("...",)))
    world.happen(one("A", host="1"), one("A", host="2"))
    world.wait_until(START + MINUTE)
    told = [(n.group_key, len(n.alerts)) for n in world.receivers.told]
    assert told == [
        ('{}:{alertname="A", host="1"}', 1),
        ('{}:{alertname="A", host="2"}', 1),
    ]


def test_without_group_by_all_alerts_are_one_group() -> None:
    world = World(route(group_by=()))
    world.happen(one("A"), one("B"))
    world.wait_until(START + MINUTE)
    assert [(n.group_key, len(n.alerts)) for n in world.receivers.told] == [("{}:{}", 2)]


def test_a_group_wait_of_nothing_tells_at_once_but_a_poll_together() -> None:
    world = World(route(group_wait=0))
    world.happen(one("A", host="1"), one("A", host="2"))
    assert [len(n.alerts) for n in world.receivers.told] == [2]


def test_an_alert_is_over_when_the_end_that_its_event_gave_has_come() -> None:
    world = World()
    world.happen(alert({"alertname": "A"}, until=START + 2 * MINUTE))
    world.wait_until(START + 10 * MINUTE)
    assert [spoken_status(n) for n in world.receivers.told] == [["firing"], ["resolved"]]


def spoken_status(notification: Notification) -> list[str]:
    return ["resolved" if told.resolved else "firing" for told in notification.alerts]


def test_an_update_is_what_the_next_notification_says() -> None:
    world = World()
    world.happen(alert({"alertname": "A"}, annotations={"summary": "bad"}))
    world.happen(alert({"alertname": "A"}, annotations={"summary": "worse"}))
    world.wait_until(START + MINUTE)
    (told,) = world.receivers.told
    assert told.alerts[0].annotations == {"summary": "worse"}


SLOW = Integration("ops/slack[1]", send_resolved=True)


def test_a_slow_channel_holds_up_neither_the_other_nor_the_next_flush() -> None:
    world = World(route(integrations=(OPS, SLOW)))
    world.receivers.slow = {SLOW.name}
    world.happen(one("A", host="1"))
    world.wait_until(START + MINUTE)
    world.happen(one("A", host="2"))
    world.wait_until(START + 6 * MINUTE)
    assert [(n.integration, len(n.alerts)) for n in world.receivers.told] == [
        (OPS.name, 1),
        (OPS.name, 2),
    ]


def test_a_slow_channel_is_told_at_once_what_it_missed_meanwhile() -> None:
    world = World(route(integrations=(OPS, SLOW)))
    world.receivers.slow = {SLOW.name}
    world.happen(one("A", host="1"))
    world.wait_until(START + MINUTE)
    world.happen(one("A", host="2"))
    world.wait_until(START + 6 * MINUTE)
    world.receivers.told.clear()
    world.receivers.slow = set()
    world.receivers.finish()
    world.notifier.settle()
    assert [(n.integration, len(n.alerts)) for n in world.receivers.told] == [
        (SLOW.name, 1),
        (SLOW.name, 2),
    ]


def test_an_alert_that_resolves_while_its_first_notification_is_under_way_is_told_to_be_over() -> (
    None
):
    world = World()
    world.receivers.slow = {OPS.name}
    world.happen(one("A"))
    world.wait_until(START + MINUTE)
    world.happen(alert({"alertname": "A"}, "resolved"))
    world.receivers.finish()
    world.receivers.slow = set()
    world.wait_until(START + 10 * MINUTE)
    assert [spoken(n).split(":")[0] for n in map(with_host, world.receivers.told)] == [
        "first notification",
        "all alerts resolved",
    ]


def with_host(notification: Notification) -> Notification:
    named = tuple(replace(a, labels={**a.labels, "host": "-"}) for a in notification.alerts)
    return replace(notification, alerts=named)


def test_a_delivery_may_take_as_long_as_a_group_waits_for_its_next() -> None:
    world = World(route(group_interval=2 * MINUTE))
    world.happen(one("A"))
    world.wait_until(START + MINUTE)
    assert world.receivers.patience == 120.0


def test_a_delivery_may_take_ten_seconds_however_short_the_interval() -> None:
    world = World(route(group_interval=SECOND))
    world.happen(one("A"))
    world.wait_until(START + MINUTE)
    assert world.receivers.patience == 10.0


def test_what_is_under_way_at_a_crash_is_sent_again_and_only_that() -> None:
    world = World(route(integrations=(OPS, SLOW)))
    world.receivers.slow = {SLOW.name}
    world.happen(one("A"))
    world.wait_until(START + MINUTE)
    world.receivers.slow = set()
    world.receivers.told.clear()
    world.restart()
    world.wait_until(START + 2 * MINUTE)
    assert [n.integration for n in world.receivers.told] == [SLOW.name]


def test_the_end_of_a_run_tells_what_waits_and_waits_for_what_is_slow() -> None:
    world = World(route(integrations=(OPS, SLOW)))
    world.receivers.slow = {SLOW.name}
    world.happen(one("A"))
    assert world.notifier.finish() == []
    assert [n.integration for n in world.receivers.told] == [OPS.name, SLOW.name]


def test_the_end_of_a_run_says_what_could_not_be_told() -> None:
    world = World()
    world.receivers.down = {OPS.name}
    world.happen(one("A"))
    assert [report.failure for report in world.notifier.finish()] == ["it is down"]


def test_new_routes_do_not_tell_old_news_nor_forget_to_tell_its_end() -> None:
    world = World(route(group_by=("alertname",)))
    world.happen(one("A", host="1"), one("A", host="2"))
    world.wait_until(START + MINUTE)
    world.receivers.told.clear()
    world.restart(route(group_by=("host",)))
    world.happen(alert({"alertname": "A", "host": "1"}, "resolved"))
    world.wait_until(START + 20 * MINUTE)
    assert [(n.group_key, spoken(n)) for n in world.receivers.told] == [
        ('{}:{host="1"}', "all alerts resolved: 1 resolved"),
    ]


def test_a_snapshot_is_not_changed_by_what_happens_after_it() -> None:
    world = World()
    world.happen(one("A"))
    taken = world.notifier.snapshot()
    before = repr(taken)
    world.happen(one("A", host="2"), one("B"))
    world.wait_until(START + 10 * MINUTE)
    world.happen(alert({"alertname": "A"}, "resolved"))
    assert repr(taken) == before


def test_state_of_another_version_stops_the_start() -> None:
    state = World().notifier.snapshot()
    state["version"] = 2
    with pytest.raises(RuntimeError, match="notifications of version 2, this Headrace reads 1"):
        World(resume=state)


def test_a_group_that_is_over_leaves_nothing_behind() -> None:
    world = World()
    world.happen(one("A"))
    world.wait_until(START + MINUTE)
    world.happen(alert({"alertname": "A"}, "resolved"))
    world.wait_until(START + 10 * MINUTE)
    assert world.notifier.snapshot()["groups"] == ()
    assert world.notifier.next_wake() is None


@given(
    life=st.lists(
        st.tuples(
            st.integers(0, 90), st.sampled_from("AB"), st.sampled_from(("firing", "resolved"))
        ),
        min_size=1,
        max_size=12,
    ),
    pauses=st.lists(st.integers(0, 90), min_size=12, max_size=12),
)
def test_what_was_told_since_the_snapshot_is_not_told_again_however_slowly_it_is_read_again(
    life: list[tuple[int, str, Status]], pauses: list[int]
) -> None:
    """As after kill -9: the snapshot is of before it all, the events come again one after another.

    What came and went too fast to be told may be told now, if its events come with a pause between.
    """
    along = route(integrations=(OPS, SLOW), group_wait=SECOND, group_interval=5 * SECOND)
    clock, receivers = ManualClock(START), Receivers()
    started: dict[str, int] = {}
    records: list[Told] = []

    def run(notifier: Notifier, seconds: int) -> None:
        for _ in range(seconds):
            clock.advance(1)
            notifier.settle()
            notifier.flush_due()
            notifier.settle()
            payloads = [record_value(record) for record in notifier.chronicle.records()]
            records.extend(filter(None, map(told_of, payloads)))

    events = []
    notifier = Notifier(routing(along), receivers, clock)
    empty = notifier.snapshot()
    for pause, name, status in life:
        if status == "firing" or name not in started:
            started[name] = clock.now()
        events.append(alert({"alertname": name}, status, since=started[name]))
        notifier.receive(events[-1:])
        run(notifier, pause)
    run(notifier, 60)
    again = Notifier(routing(along), receivers, clock, resume=empty, told=tuple(records))
    for read, pause in zip(events, pauses, strict=False):
        again.receive([read])
        run(again, pause)
    run(again, 60)
    told = [
        (notification.integration, one.name, one.starts_at, one.resolved)
        for notification in receivers.told
        for one in notification.alerts
    ]
    assert len(set(told)) == len(told)
