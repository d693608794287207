"""One group: its alerts, when it is flushed next, and what each integration was last told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypedDict

from operators.notifying.alert import Alert
from operators.notifying.dedup import LogEntry
from operators.notifying.grouping import Route
from operators.notifying.notification import GroupId

__all__ = ["Group", "GroupState"]


class GroupState(TypedDict):
    """Snapshot of a group: plain data. Times are nanoseconds since the Unix epoch."""

    route: str
    key: str
    alerts: tuple[tuple[bytes, bool], ...]  # event, resolved
    next_flush: int
    log: dict[str, tuple[int, tuple[str, ...], tuple[str, ...]]]


@dataclass(slots=True)
class Group:
    """The alerts that are told together, along one route.

    ``under_way`` holds what will be logged of each delivery that is not confirmed yet, and
    ``missed`` the integrations that a flush found busy.
    """

    route: Route
    key: str
    labels: dict[str, str]
    next_flush: int
    alerts: dict[str, Alert] = field(default_factory=dict)
    log: dict[str, LogEntry] = field(default_factory=dict)
    under_way: dict[str, LogEntry] = field(default_factory=dict)
    missed: set[str] = field(default_factory=set)
    _snapshot: GroupState | None = None

    @property
    def id(self) -> GroupId:
        """What tells the group from all others."""
        return self.route.id, self.key

    def put(self, alert: Alert) -> None:
        """Take in the newest state of an alert."""
        self.alerts[alert.fingerprint] = alert
        self._snapshot = None

    def expired(self, now: int) -> Iterator[Alert]:
        """Turn the alerts that fire until a time that has passed into resolved ones."""
        for alert in list(self.alerts.values()):
            if (then := alert.at(now)) is not alert:
                self.put(then)
                yield then

    def told(self, integration: str, entry: LogEntry) -> None:
        """Log what an integration has been told."""
        self.log[integration] = entry
        self._snapshot = None

    def schedule(self, at: int) -> None:
        """Set the time of the next flush."""
        self.next_flush = at
        self._snapshot = None

    def tidy(self) -> None:
        """Forget the resolved alerts that no integration has to be told of any more.

        Not while a delivery is under way: what it tells of may have resolved meanwhile.
        """
        if self.under_way:
            return
        owed: set[str] = set()
        for integration in self.route.integrations:
            entry = self.log.get(integration.name)
            if entry and integration.send_resolved:
                owed |= entry.firing
        for alert in list(self.alerts.values()):
            if alert.resolved and alert.fingerprint not in owed:
                del self.alerts[alert.fingerprint]
                self._snapshot = None

    def snapshot(self) -> GroupState:
        """Return the state. What is under way counts as due: nobody knows how it ended."""
        if self.under_way:
            return self._state(min(entry.at for entry in self.under_way.values()))
        if self._snapshot is None:
            self._snapshot = self._state(self.next_flush)
        return self._snapshot

    def _state(self, next_flush: int) -> GroupState:
        return {
            "route": self.route.id,
            "key": self.key,
            "alerts": tuple((alert.event, alert.resolved) for alert in self.alerts.values()),
            "next_flush": next_flush,
            "log": {
                name: (entry.at, tuple(entry.firing), tuple(entry.resolved))
                for name, entry in self.log.items()
            },
        }
