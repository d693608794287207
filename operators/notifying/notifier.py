"""The notifier's state and its clockwork, without Bytewax: alerts in, notifications out.

Groups are told as Alertmanager tells them: first after ``group_wait``, then, if there is news,
every ``group_interval``, and without news every ``repeat_interval``. These are times of this
machine's clock, not of events. One rule is left out on purpose: Alertmanager does not wait for a
group whose first alert started longer than ``group_wait`` ago, since it forgets its groups when
it restarts. Ours come back from the snapshot, and ``startsAt`` is event time, some windows old
as a rule: nothing would ever wait for its group.

**Nothing here blocks.** Notifications are handed to a ``Courier``, and the log is written when its
report comes in. A group has at most one delivery per integration under way; one that is given up
is made anew, from what is true then, at the group's next flush. So a receiver that is slow or
down delays nobody else, and misses nothing but what has both fired and resolved while it was down.

**Told at least once.** What is not confirmed counts as not told, in snapshots too, so a crash
repeats what was under way and nothing else. But it counts as *perhaps* told as well: when it is
over the receiver is told so, or it might believe for ever that it fires. What no snapshot knows
of, since it came and was sent within the snapshot interval, can't be: keep that below
``group_wait``.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Final, TypedDict

from operators.clock import Clock
from operators.monitoring import ALERT_GROUPS, ALERTS_FIRING, ALERTS_RECEIVED
from operators.notifying.alert import Alert
from operators.notifying.arrivals import Arrivals
from operators.notifying.dedup import Reason
from operators.notifying.group import Group, GroupState
from operators.notifying.grouping import Integration, Route, Routing, group_key, group_labels
from operators.notifying.notification import Courier, GroupId, Notification, Report
from operators.notifying.regrouping import regroup
from operators.notifying.stages import STAGES, Passage, Stage, send_through

__all__ = ["Notifier", "NotifierState"]

_log = logging.getLogger(__name__)

VERSION: Final = 1
SHORTEST_PATIENCE: Final = 10.0
"""Seconds that a delivery may take at least, however short the group interval is."""
REPORT_INTERVAL: Final = 50_000_000
"""Nanoseconds between two looks for reports while deliveries are under way."""


class NotifierState(TypedDict):
    """Snapshot: plain data that later versions can read."""

    version: int
    groups: tuple[GroupState, ...]
    ended: dict[str, int]


class Notifier:
    """Groups alerts and decides what is told, when, and to whom.

    Not thread-safe: one thread calls all of it.

    Args:
        routing: gives the routes that an alert takes.
        courier: delivers notifications.
        clock: tells when groups are due.
        stages: what a group passes on its way to an integration.
        resume: a snapshot to go on from. If routes have changed since, its alerts are grouped
            anew, and what receivers were told of them is kept. Groups that should have been told
            meanwhile are after ``group_wait``.

    Raises:
        ValueError: ``resume`` was written by a newer version.
    """

    def __init__(
        self,
        routing: Routing,
        courier: Courier,
        clock: Clock,
        stages: Sequence[Stage] = STAGES,
        resume: NotifierState | None = None,
    ) -> None:
        self._routing = routing
        self._courier = courier
        self._clock = clock
        self._stages = stages
        self._groups: dict[GroupId, Group] = {}
        self._due: list[tuple[int, int, GroupId]] = []
        self._ticket = count()
        self._under_way = 0
        self._arrivals = Arrivals()
        if resume is not None:
            self._resume(resume)

    @property
    def groups(self) -> Mapping[GroupId, Group]:
        """The groups that there are."""
        return self._groups

    def receive(self, alerts: Iterable[Alert]) -> None:
        """Take in what events say, in the order of the topic."""
        now = self._clock.now()
        for alert in alerts:
            arrival = self._arrivals.admit(alert)
            ALERTS_RECEIVED.labels(arrival.value).inc()
            if not arrival.changes:
                _log.debug("%s %s: %s", alert.name, alert.fingerprint, arrival.value)
                continue
            for route in self._routing(alert.labels):
                self._group_of(alert, route, now).put(alert)
        self._count()

    def flush_due(self) -> None:
        """Flush the groups whose time has come."""
        now = self._clock.now()
        while self._due and self._due[0][0] <= now:
            when, _, group_id = heapq.heappop(self._due)
            group = self._groups.get(group_id)
            if group is not None and group.next_flush == when:
                self._flush(group, now)
        self._count()

    def settle(self) -> list[Report]:
        """Take in the reports of the courier: log what was told. Returns them."""
        reports = self._courier.reports()
        for report in reports:
            self._under_way -= 1
            group = self._groups[report.group]
            entry = group.under_way.pop(report.integration)
            if report.failure is None:
                group.told(report.integration, entry)
            elif report.perhaps:
                group.perhaps_told(report.integration, entry)
            if report.integration in group.missed:
                group.missed.remove(report.integration)
                for integration in group.route.integrations:
                    if integration.name == report.integration:
                        self._tell(group, integration, self._clock.now())
            self._tidy(group)
        return reports

    def finish(self) -> list[Report]:
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
        if not self._under_way:
            return due
        look = self._clock.now() + REPORT_INTERVAL
        return look if due is None else min(look, due)

    def snapshot(self) -> NotifierState:
        """Return the state; only what has changed since the last snapshot is copied."""
        return {
            "version": VERSION,
            "groups": tuple(group.snapshot() for group in self._groups.values()),
            "ended": dict(self._arrivals.ended),
        }

    def _resume(self, state: NotifierState) -> None:
        if state["version"] != VERSION:
            raise ValueError(
                f"the recovery store holds a notifier's state of version {state['version']}, this "
                f"release reads version {VERSION}: run the release that wrote it"
            )
        now = self._clock.now()
        for group in regroup(state["groups"], self._routing):
            self._groups[group.id] = group
            if group.next_flush > now:
                self._schedule(group, group.next_flush)
                continue
            # What came due while we were away waits again: the topic may hold its end already.
            self._schedule(group, now + group.route.group_wait)
            group.doubt()
        alerts = [alert for group in self._groups.values() for alert in group.alerts.values()]
        self._arrivals = Arrivals([a for a in alerts if not a.resolved], state["ended"])
        self._count()

    def _group_of(self, alert: Alert, route: Route, now: int) -> Group:
        labels = group_labels(alert.labels, route.group_by)
        key = group_key(route.key, labels)
        group = self._groups.get((route.id, key))
        if group is None:
            group = Group(route, key, labels, now + route.group_wait)
            self._groups[group.id] = group
            self._schedule(group, group.next_flush)
        return group

    def _schedule(self, group: Group, at: int) -> None:
        group.schedule(at)
        heapq.heappush(self._due, (at, next(self._ticket), group.id))

    def _flush(self, group: Group, now: int) -> None:
        for alert in group.expired(now):
            self._arrivals.expire(alert)
        group.doubtful = False
        self._schedule(group, now + group.route.group_interval)
        for integration in group.route.integrations:
            if integration.name in group.under_way:
                group.missed.add(integration.name)
            else:
                self._tell(group, integration, now)
        self._tidy(group)

    def _tell(self, group: Group, integration: Integration, now: int) -> None:
        """Send one integration what it does not know yet."""
        route = group.route
        passage = Passage(
            route,
            integration,
            group.log.get(integration.name),
            now,
            firing=[alert for alert in group.alerts.values() if not alert.resolved],
            resolved=[alert for alert in group.alerts.values() if alert.resolved],
        )
        reason = send_through(self._stages, passage)
        _log.debug("%s for %s: %s", group.key, integration.name, reason.value)
        if reason is Reason.RESOLVED_UNWANTED:
            group.told(integration.name, passage.logged())
        if not reason.is_to_notify:
            return
        wanted = passage.firing + (passage.resolved if integration.send_resolved else [])
        notification = Notification(
            group.id,
            integration.name,
            route.receiver,
            group.labels,
            tuple(sorted(wanted, key=lambda alert: alert.order)),
            reason,
        )
        group.under_way[integration.name] = passage.logged()
        self._under_way += 1
        patience = max(route.group_interval / 1e9, SHORTEST_PATIENCE)
        self._courier.send(notification, patience)

    def _tidy(self, group: Group) -> None:
        group.tidy()
        if not group.alerts and not group.under_way:
            self._groups.pop(group.id, None)

    def _count(self) -> None:
        ALERTS_FIRING.set(len(self._arrivals.firing))
        ALERT_GROUPS.set(len(self._groups))
