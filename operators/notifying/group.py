"""One group: its alerts, when it is flushed next, and what each integration was last told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from operators.notifying.alert import Alert
from operators.notifying.dedup import LogEntry
from operators.notifying.grouping import Route
from operators.notifying.notification import GroupId

__all__ = ["Group", "GroupState", "LoggedState"]


class LoggedState(TypedDict):
    """Snapshot of a log entry; the texts are fingerprints."""

    at: int
    firing: tuple[str, ...]
    resolved: tuple[str, ...]
    perhaps: tuple[str, ...]


class GroupState(TypedDict):
    """Snapshot of a group: plain data. Times are nanoseconds since the Unix epoch."""

    route: str
    key: str
    alerts: tuple[tuple[bytes, bool], ...]  # event, resolved
    next_flush: int
    log: dict[str, LoggedState]


@dataclass(slots=True)
class Group:
    """The alerts that are told together, along one route.

    ``under_way`` holds what will be logged of each delivery that is not confirmed yet, and
    ``missed`` the integrations that a flush found busy. ``doubtful`` is a group until its first
    flush after a restart, if it might have been flushed before it: see ``doubt``.
    """

    route: Route
    key: str
    labels: dict[str, str]
    next_flush: int
    alerts: dict[str, Alert] = field(default_factory=dict)
    log: dict[str, LogEntry] = field(default_factory=dict)
    under_way: dict[str, LogEntry] = field(default_factory=dict)
    missed: set[str] = field(default_factory=set)
    doubtful: bool = False
    _snapshot: GroupState | None = None

    @property
    def id(self) -> GroupId:
        """What tells the group from all others."""
        return self.route.id, self.key

    def put(self, alert: Alert) -> None:
        """Take in the newest state of an alert."""
        self.alerts[alert.fingerprint] = alert
        self._snapshot = None
        if self.doubtful:
            self._all_perhaps_told([alert])

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

    def perhaps_told(self, integration: str, entry: LogEntry) -> None:
        """Log that an integration may have been told this."""
        self.told(integration, self.log.get(integration, LogEntry(0)).perhaps_told(entry))

    def doubt(self) -> None:
        """Take into account that all may have been told already, and what comes until a flush.

        For a group that came due while its last snapshot was the newest: what was sent then
        is not in it.
        """
        self.doubtful = True
        self._all_perhaps_told(self.alerts.values())

    def _all_perhaps_told(self, alerts: Iterable[Alert]) -> None:
        firing: set[str] = set()
        resolved: set[str] = set()
        for alert in alerts:
            (resolved if alert.resolved else firing).add(alert.fingerprint)
        entry = LogEntry(0, frozenset(firing), frozenset(resolved))
        for integration in self.route.integrations:
            self.perhaps_told(integration.name, entry)

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
                owed |= entry.believed
        for alert in list(self.alerts.values()):
            if alert.resolved and alert.fingerprint not in owed:
                del self.alerts[alert.fingerprint]
                self._snapshot = None

    def snapshot(self) -> GroupState:
        """Return the state. What is under way counts as due, and as perhaps told."""
        if self.under_way:
            log = dict(self.log)
            for name, entry in self.under_way.items():
                log[name] = log.get(name, LogEntry(0)).perhaps_told(entry)
            return self._state(min(entry.at for entry in self.under_way.values()), log)
        if self._snapshot is None:
            self._snapshot = self._state(self.next_flush, self.log)
        return self._snapshot

    def _state(self, next_flush: int, log: Mapping[str, LogEntry]) -> GroupState:
        return {
            "route": self.route.id,
            "key": self.key,
            "alerts": tuple((alert.event, alert.resolved) for alert in self.alerts.values()),
            "next_flush": next_flush,
            "log": {
                name: {
                    "at": entry.at,
                    "firing": tuple(entry.firing),
                    "resolved": tuple(entry.resolved),
                    "perhaps": tuple(entry.perhaps),
                }
                for name, entry in log.items()
            },
        }
