"""The notifier's state and its clockwork, without Bytewax: alerts in, notifications out.

Groups are told as Alertmanager tells them: first after ``group_wait``, then, if there is news,
every ``group_interval``, and without news every ``repeat_interval``; or at the times of a digest. These are times of this
machine's clock, not of events. A group without alerts goes on being due until the next round of
maintenance, as Alertmanager's do; an alert that comes meanwhile waits for the group's next flush.
One rule can be left out (``waits_for_old``): Alertmanager does not wait for a group whose first
alert started longer than ``group_wait`` ago, since it forgets its groups when it restarts. Ours
come back from the snapshot, and ``startsAt`` is event time, some windows old as a rule: nothing
would ever wait for its group.

**Nothing here blocks.** Notifications are handed to a ``Courier``, and the log is written when its
report comes in. A group has at most one delivery per integration under way; one that is given up
is made anew, from what is true then, at the group's next flush. So a receiver that is slow or
down delays nobody else, and misses nothing but what has both fired and resolved while it was down.

**Told at least once.** What is not confirmed counts as not told, in snapshots too, so a crash
repeats what was under way and nothing else. But it counts as *perhaps* told as well: when it is
over the receiver is told so, or it might believe for ever that it fires. What was told after the
last snapshot is on the notifications topic, and is read from there (``told``).
"""

from __future__ import annotations

import heapq
import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Final, NotRequired, TypedDict

from operators.contracts.clock import Clock
from operators.contracts.monitoring import ALERT_GROUPS, ALERTS_FIRING, ALERTS_RECEIVED
from operators.contracts.snapshots import require_version
from operators.notifying.acknowledgements import Acknowledgements, AcknowledgementState
from operators.notifying.alert import Alert
from operators.notifying.arrivals import Arrival, Arrivals
from operators.notifying.causes import Explain
from operators.notifying.chronicle import Chronicle
from operators.notifying.command import Command
from operators.notifying.correlation import Correlation
from operators.notifying.dedup import Reason
from operators.notifying.flapping import FlapState
from operators.notifying.group import Group, GroupState
from operators.notifying.grouping import Integration, Route, Routing, group_key, group_labels
from operators.notifying.holds import Holds
from operators.notifying.incidents import IncidentChange, Incidents, IncidentState
from operators.notifying.journal import Noise, Told, last_told, notification_id
from operators.notifying.members import context_of, only_roots
from operators.notifying.notification import Courier, DeliveryReport, GroupId, Notification
from operators.notifying.obeying import Asked, asked_for, obey
from operators.notifying.regrouping import regroup
from operators.notifying.silences import Silences, SilenceState
from operators.notifying.stages import Passage, Stage, send_through

__all__ = ["Notifier", "NotifierState"]

_log = logging.getLogger(__name__)

VERSION: Final = 1
SHORTEST_PATIENCE: Final = 10.0
"""Seconds that a delivery may take at least, however short the group interval is."""
REPORT_INTERVAL: Final = 50_000_000
"""Nanoseconds between two looks for reports while deliveries are under way."""
MAINTENANCE_INTERVAL: Final = 30_000_000_000
"""Nanoseconds between two rounds that forget groups without alerts."""
RECENT_COMMANDS: Final = 100
"""Commands that can still be looked at."""
REMEMBERED_COMMANDS: Final = 1_000
"""Commands of which it is known that they were obeyed, and how that went."""


_BEGIN_ANEW: Final = frozenset({Reason.FIRST, Reason.DIGEST})
"""Notifications that are no later ones of what was told before."""


class NotifierState(TypedDict):
    """Snapshot: plain data that later versions can read."""

    version: int
    groups: tuple[GroupState, ...]
    ended: dict[str, int]
    silences: NotRequired[tuple[SilenceState, ...]]
    acknowledgements: NotRequired[tuple[AcknowledgementState, ...]]
    noise: NotRequired[dict[str, int]]
    obeyed: NotRequired[dict[str, str]]
    incidents: NotRequired[tuple[IncidentState, ...]]
    at: NotRequired[int]
    flaps: NotRequired[dict[str, FlapState]]


class Notifier:
    """Groups alerts and decides what is told, when, and to whom.

    Not thread-safe: one thread calls all of it.

    Args:
        routing: gives the routes that an alert takes.
        courier: delivers notifications.
        clock: tells when groups are due.
        stages: what a group passes on its way to an integration, instead of those of ``holds``.
        holds: what holds back alerts.
        waits_for_old: whether a group waits though its first alert is older than ``group_wait``.
        prompt_resolves: whether a group is flushed as soon as all its alerts have resolved.
        correlation: when alerts make one incident, of which only the root is told.
        told: what integrations were told since ``resume`` was taken, as far as it is known; all that
            they were ever told if there is none.
        explain: adds causes to an alert that is shown or told; what is held of it stays as it came.
        resume: a snapshot to go on from. If routes have changed since, its alerts are grouped
            anew, and what receivers were told of them is kept. Groups that should have been told
            meanwhile are after ``group_wait``.

    Raises:
        RuntimeError: ``resume`` was written by another version.
    """

    def __init__(
        self,
        routing: Routing,
        courier: Courier,
        clock: Clock,
        stages: Sequence[Stage] | None = None,
        resume: NotifierState | None = None,
        *,
        holds: Holds | None = None,
        waits_for_old: bool = True,
        prompt_resolves: bool = False,
        correlation: Correlation | None = None,
        told: Iterable[Told] = (),
        explain: Explain | None = None,
    ) -> None:
        self._routing = routing
        self._courier = courier
        self._clock = clock
        self.holds = holds or Holds()
        self.incidents = None if correlation is None else Incidents(correlation)
        if self.incidents is not None:
            self.holds.also(only_roots(self.holds, self.incidents))
        self._stages = self.holds.stages() if stages is None else stages
        self._waits_for_old = waits_for_old
        self._prompt_resolves = prompt_resolves
        self._explain = explain
        self._groups: dict[GroupId, Group] = {}
        self._due: list[tuple[int, int, GroupId]] = []
        self._ticket = count()
        self._under_way = 0
        self._over: set[GroupId] = set()
        self._maintenance = clock.now() + MAINTENANCE_INTERVAL
        self._arrivals = Arrivals()
        last = last_told(told)
        self._told = {which: one.entry for which, one in last.items()}
        believed = {name for entry in self._told.values() for name in entry.believed}
        self.chronicle = Chronicle()
        self.obeyed: dict[str, str] = {}
        self.asked: deque[Asked] = deque(maxlen=RECENT_COMMANDS)
        """What people asked for last; all of it is on the topic of commands."""
        if resume is not None:
            self._resume(resume)
        self._arrivals.recall((one.over for one in last.values()), believed)

    @property
    def groups(self) -> Mapping[GroupId, Group]:
        """The groups that there are."""
        return self._groups

    @property
    def firing(self) -> Mapping[str, Alert]:
        """The alerts that fire, by fingerprint."""
        return self._arrivals.firing

    def explained(self, alert: Alert) -> Alert:
        """Return an alert with what is known now of its causes."""
        return alert if self._explain is None else self._explain(alert)

    def receive(self, alerts: Iterable[Alert]) -> None:
        """Take in what events say, in the order of the topic."""
        now = self._clock.now()
        for alert in alerts:
            arrival = self._arrivals.admit(alert)
            ALERTS_RECEIVED.labels(arrival.value).inc()
            if not arrival.changes:
                self.chronicle.noise.event(arrival.value)
                _log.debug("%s %s: %s", alert.name, alert.fingerprint, arrival.value)
                continue
            self.holds.inhibitor.put(alert)
            if self.incidents is not None:
                self.incidents.put(alert, now)
            if arrival is not Arrival.UPDATED:
                at = alert.ends_at if alert.resolved else alert.starts_at
                self.holds.flaps.change(alert.fingerprint, now if at is None else at, now)
            if arrival is Arrival.RESOLVED:
                self._release(alert.fingerprint, now)
            for index, route in enumerate(self._routing(alert.labels)):
                self._put(alert, route, now, counts=index == 0)
        self._count()

    def _release(self, fingerprint: str, now: int) -> None:
        """Forget who cares about an alert that is over; not of one that flaps: it is not."""
        if not self.holds.flaps.flaps_anywhere(fingerprint, now):
            self.holds.acknowledgements.remove(fingerprint)

    def obey(self, command: Command) -> None:
        """Do what a command asks for; one that was obeyed before changes nothing."""
        if command.id in self.obeyed or command.exceptions:  # those are for the flow ``logs``
            return
        now = self._clock.now()
        meant = self._meant(command)
        outcome = obey(command, self.holds, meant, now)
        if command.do == "escalate" and not outcome:
            outcome = self._escalate(meant, command.at, now)
        if self.incidents is not None and command.do in ("acknowledge", "snooze"):
            for name in meant:
                self.incidents.acknowledge(name, command.at, command.by)
        self.asked.append(asked_for(command, self._arrivals.firing, outcome))
        _log.info("%s by %s: %s", command.do, command.by or "nobody", outcome or "done")
        self.obeyed[command.id] = outcome
        if len(self.obeyed) > REMEMBERED_COMMANDS:
            del self.obeyed[next(iter(self.obeyed))]

    def _escalate(self, meant: Iterable[str], at: int, now: int) -> str:
        """Take the next step of alerts at once; return why it can't be, or "".

        A step that was taken since the command was given is the one that was meant: the command may
        have been read before.
        """
        done = False
        for name in meant:
            steps = [g for g in self._groups.values() if g.route.escalates and name in g.alerts]
            left = [group for group in steps if not group.told_before(at)]
            soonest = min((group.route.group_wait for group in left), default=None)
            for group in left:
                if group.route.group_wait == soonest:
                    done = True
                    if group.told_at is None and group.next_flush > now:
                        self._schedule(group, now)
        return "" if done else "there is no further step for these alerts"

    def _meant(self, command: Command) -> list[str]:
        """Return the fingerprints of the alerts that a command is about, as far as they fire."""
        wanted = [*command.alerts]
        if command.incident and self.incidents is not None:
            incident = self.incidents.open.get(command.incident)
            wanted += sorted(incident.firing) if incident is not None else []
        return [name for name in wanted if name in self._arrivals.firing]

    def flush_due(self) -> None:
        """Flush the groups whose time has come."""
        now = self._clock.now()
        while self._due and self._due[0][0] <= now:
            when, _, group_id = heapq.heappop(self._due)
            group = self._groups.get(group_id)
            if group is not None and group.next_flush == when:
                self._flush(group, now)
        if self._maintenance <= now:
            self._maintain(now)
        self._count()

    def settle(self) -> list[DeliveryReport]:
        """Take in the reports of the courier: log what was told. Returns them."""
        reports = self._courier.reports()
        for report in reports:
            self._under_way -= 1
            now = self._clock.now()
            group = self._groups[report.group]
            sent = group.under_way.pop(report.integration)
            entry = replace(sent, at=now, receipt=report.receipt or sent.receipt)
            if report.failure is None:
                group.told(report.integration, entry)
                group.failed.discard(report.integration)
            else:
                group.failed.add(report.integration)
                if group.route.digest is not None:  # else it would be tried when the next is due
                    again = now + group.route.group_interval
                    self._schedule(group, min(group.next_flush, again))
                if report.perhaps:
                    group.perhaps_told(report.integration, entry)
            self.chronicle.reported(group, report, entry)
            if report.integration in group.missed:
                group.missed.remove(report.integration)
                for integration in group.route.integrations:
                    if integration.name == report.integration:
                        self._tell(group, integration, now)
            self._tidy(group)
        return reports

    def incident_changes(self) -> list[IncidentChange]:
        """Return the incidents that have changed since the last call."""
        return [] if self.incidents is None else self.incidents.changes()

    def finish(self) -> list[DeliveryReport]:
        """Flush all groups now, wait for every delivery, and return those that were given up."""
        self.settle()
        now = self._clock.now()
        for group in list(self._groups.values()):
            self._flush(group, now)
        failed = []
        while self._under_way:
            self._courier.wait(1.0)
            failed += [report for report in self.settle() if report.failure is not None]
        self._count()
        return failed

    def next_wake(self) -> int | None:
        """Return when something has to be done next, in nanoseconds since the Unix epoch."""
        while self._due:
            when, _, group_id = self._due[0]
            group = self._groups.get(group_id)
            if group is not None and group.next_flush == when:
                break
            heapq.heappop(self._due)
        due = self._due[0][0] if self._due else None
        if self._over:
            due = self._maintenance if due is None else min(due, self._maintenance)
        if not self._under_way:
            return due
        look = self._clock.now() + REPORT_INTERVAL
        return look if due is None else min(look, due)

    def snapshot(self) -> NotifierState:
        """Return the state; only what has changed since the last snapshot is copied."""
        return {
            "version": VERSION,
            "at": self._clock.now(),
            "groups": tuple(
                group.snapshot() for group in self._groups.values() if not group.is_over
            ),
            "ended": dict(self._arrivals.ended),
            "silences": self.holds.silences.snapshot(),
            "acknowledgements": self.holds.acknowledgements.snapshot(),
            "noise": self.chronicle.noise.snapshot(),
            "obeyed": dict(self.obeyed),
            "incidents": self.incidents.snapshot() if self.incidents is not None else (),
            "flaps": self.holds.flaps.snapshot(),
        }

    def _resume(self, state: NotifierState) -> None:
        require_version(state, "notifications", VERSION)
        self.holds.silences = Silences(state.get("silences", ()))
        self.holds.acknowledgements = Acknowledgements(state.get("acknowledgements", ()))
        self.holds.flaps.resume(state.get("flaps", {}))
        self.chronicle = Chronicle(Noise(state.get("noise", {})))
        self.obeyed = dict(state.get("obeyed", {}))
        if self.incidents is not None:
            self.incidents.resume(state.get("incidents", ()))
        now = self._clock.now()
        for group in regroup(state["groups"], self._routing):
            self._groups[group.id] = group
            self._hear(group)
            if group.next_flush > now:
                digest = group.route.digest
                self._schedule(group, digest.following(now) if digest else group.next_flush)
                continue
            # What came due while we were away waits again: the topic may hold its end already.
            self._schedule(group, now + group.route.group_wait)
            group.doubt()
        alerts = [alert for group in self._groups.values() for alert in group.alerts.values()]
        self._arrivals = Arrivals([a for a in alerts if not a.resolved], state["ended"])
        for alert in self._arrivals.firing.values():
            self.holds.inhibitor.put(alert)
        self._count()

    def _put(self, alert: Alert, route: Route, now: int, *, counts: bool) -> None:
        """Put an alert into its group along a route; one route an event counts it."""
        group = self._group_of(alert, route, now)
        group.put(alert)
        self._over.discard(group.id)
        if counts:
            group.news[alert.fingerprint] = group.news.get(alert.fingerprint, 0) + 1
        if route.digest is not None:
            return
        if group.has_flushed:
            over = self._prompt_resolves and all(a.resolved for a in group.alerts.values())
            if over and group.next_flush > now:
                self._schedule(group, now)
        elif not self._waits_for_old and alert.starts_at + route.group_wait < now:
            self._schedule(group, now)

    def _group_of(self, alert: Alert, route: Route, now: int) -> Group:
        labels = group_labels(alert.labels, route.group_by)
        key = group_key(route.key, labels)
        group = self._groups.get((route.id, key))
        if group is None:
            group = Group(route, key, labels, route.first_flush(now))
            self._groups[group.id] = group
            self._hear(group)
            self._schedule(group, group.next_flush)
        return group

    def _hear(self, group: Group) -> None:
        """Log what a group's integrations were told after the snapshot that we began with."""
        for integration in group.route.integrations if self._told else ():
            entry = self._told.pop((group.id, integration.name), None)
            known = group.log.get(integration.name)
            if entry is not None and (known is None or known.at < entry.at):
                group.told(integration.name, entry)
                group.has_flushed = True

    def _schedule(self, group: Group, at: int) -> None:
        group.schedule(at)
        heapq.heappush(self._due, (at, next(self._ticket), group.id))

    def _flush(self, group: Group, now: int) -> None:
        flaps = self.holds.flaps
        for alert in group.expired(now):
            if alert.fingerprint in self._arrivals.firing:  # and not of another group before
                flaps.change(alert.fingerprint, alert.ends_at or now, now)
            self._arrivals.expire(alert)
            if self.incidents is not None:
                self.incidents.put(alert, now)
            self._release(alert.fingerprint, now)
        group.doubtful = False
        group.has_flushed = True
        self._schedule(group, group.route.next_flush(now))
        if not group.alerts:
            return
        rule = group.route.flapping
        group.flushed = {
            name: alert
            for name, alert in group.alerts.items()
            if alert.resolved and not flaps.flaps(name, rule, now)
        }
        passages: list[tuple[Passage, Reason]] = []
        for integration in group.route.integrations:
            if integration.name in group.under_way:
                group.missed.add(integration.name)
            else:
                passages.append(self._tell(group, integration, now))
        self.chronicle.decided(group, passages)
        self._tidy(group)

    def _tell(self, group: Group, integration: Integration, now: int) -> tuple[Passage, Reason]:
        """Send one integration what it does not know yet; return what came of it."""
        route = group.route
        entry = group.log.get(integration.name)
        passage = Passage(
            route,
            integration,
            entry,
            now,
            firing=[alert for alert in group.alerts.values() if not alert.resolved],
            resolved=[alert for alert in group.alerts.values() if alert.resolved],
        )
        reason = send_through(self._stages, passage)
        _log.debug("%s for %s: %s", group.key, integration.name, reason.value)
        if reason is Reason.RESOLVED_UNWANTED:
            group.told(integration.name, passage.logged())
        if not reason.is_to_notify:
            group.failed.discard(integration.name)
            self.chronicle.held(group, passage, reason)
            return passage, reason
        wanted = passage.firing + (passage.resolved if integration.send_resolved else [])
        alerts = tuple(sorted(wanted, key=lambda alert: alert.order))
        notification = Notification(
            group.id,
            integration.name,
            route.receiver,
            group.labels,
            tuple(map(self.explained, alerts)),
            reason,
            notification_id(group.id, integration.name, alerts, entry.at if entry else 0),
            None if self.incidents is None else context_of(self.incidents, passage),
            route.group_interval,
            receipt=entry.receipt if entry and reason not in _BEGIN_ANEW else "",
            unsure=bool(entry and entry.perhaps),
        )
        group.held.pop(integration.name, None)
        group.under_way[integration.name] = replace(
            passage.logged(),
            receipt=notification.receipt,
            repeats=entry.repeats + 1 if entry and reason is Reason.REPEAT else 0,
        )
        group.sent[integration.name] = notification
        self._under_way += 1
        patience = max(route.group_interval / 1e9, SHORTEST_PATIENCE)
        self._courier.send(notification, patience)
        return passage, reason

    def _tidy(self, group: Group) -> None:
        group.tidy(keeps_owed=self.holds.ends_of_held != "never")
        if group.is_over:
            self._over.add(group.id)

    def _maintain(self, now: int) -> None:
        """Forget groups that are over, and silences that have been for long."""
        for group_id in self._over:
            group = self._groups.get(group_id)
            if group is not None and group.is_over:
                del self._groups[group_id]
        self._over.clear()
        self.holds.silences.forget(now)
        for fingerprint in self.holds.flaps.forget(now):
            if fingerprint not in self._arrivals.firing:
                self.holds.acknowledgements.remove(fingerprint)
        if self.incidents is not None:
            self.incidents.forget(now)
        while self._maintenance <= now:
            self._maintenance += MAINTENANCE_INTERVAL

    def _count(self) -> None:
        ALERTS_FIRING.set(len(self._arrivals.firing))
        ALERT_GROUPS.set(len(self._groups) - len(self._over))
