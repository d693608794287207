"""One group: its alerts, when it is flushed next, and what each integration was last told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict

from operators.notifying.alert import Alert
from operators.notifying.dedup import LogEntry, Reason
from operators.notifying.grouping import Route
from operators.notifying.notification import GroupId, Notification

__all__ = ["Group", "GroupState", "LoggedState"]


class LoggedState(TypedDict):
    """Snapshot of a log entry; the texts are fingerprints."""

    at: int
    firing: tuple[str, ...]
    resolved: tuple[str, ...]
    perhaps: tuple[str, ...]
    flapping: NotRequired[tuple[str, ...]]
    receipt: NotRequired[str]
    repeats: NotRequired[int]


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

    ``under_way`` holds what will be logged of each delivery that is not confirmed yet, ``sent``
    what was sent, and ``missed`` the integrations that a flush found busy; ``failed`` those that
    could not be told. ``flushed`` are the resolved alerts of the last flush, but not those that
    flapped. ``doubtful`` is a
    group until its first flush after a restart, if it might have been flushed before it: see
    ``doubt``. ``news`` counts the events of each alert that no flush has decided about, and
    ``held`` says why an integration was told nothing at the last one.
    """

    route: Route
    key: str
    labels: dict[str, str]
    next_flush: int
    alerts: dict[str, Alert] = field(default_factory=dict)
    log: dict[str, LogEntry] = field(default_factory=dict)
    under_way: dict[str, LogEntry] = field(default_factory=dict)
    sent: dict[str, Notification] = field(default_factory=dict)
    missed: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    flushed: dict[str, Alert] = field(default_factory=dict)
    has_flushed: bool = False
    doubtful: bool = False
    news: dict[str, int] = field(default_factory=dict)
    held: dict[str, Reason] = field(default_factory=dict)
    _snapshot: GroupState | None = None

    @property
    def id(self) -> GroupId:
        """What tells the group from all others."""
        return self.route.id, self.key

    @property
    def is_over(self) -> bool:
        """Whether it has no alerts, and nothing is under way."""
        return not self.alerts and not self.under_way

    def put(self, alert: Alert) -> None:
        """Take in the newest state of an alert."""
        self.alerts[alert.fingerprint] = alert
        self._snapshot = None
        if self.doubtful:
            self._all_perhaps_told([alert])

    def told_before(self, at: int) -> bool:
        """Return whether an integration was told of it before a time."""
        return any(0 < entry.at < at or entry.repeats for entry in self.log.values())

    @property
    def told_at(self) -> int | None:
        """When an integration was told last; None if none was, or only perhaps."""
        return max((entry.at for entry in self.log.values() if entry.at), default=None)

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
        for integration in self.route.integrations:
            known = self.log.get(integration.name)
            over = resolved - known.flapping if known else resolved  # what flaps has no end
            self.perhaps_told(integration.name, LogEntry(0, frozenset(firing), frozenset(over)))

    def schedule(self, at: int) -> None:
        """Set the time of the next flush."""
        self.next_flush = at
        self._snapshot = None

    def tidy(self, *, keeps_owed: bool) -> None:
        """Forget the resolved alerts that the last flush took to all integrations.

        Not while a delivery is under way, and not when one failed: it is to be told then. If the
        group ``keeps_owed``, not either while an integration believes the alert to fire.
        """
        if self.under_way or self.failed:
            return
        owed = self._owed() if keeps_owed else frozenset()
        for fingerprint, alert in list(self.flushed.items()):
            if fingerprint not in owed:
                del self.flushed[fingerprint]
                if self.alerts.get(fingerprint) is alert:
                    del self.alerts[fingerprint]
                    self._snapshot = None

    def _owed(self) -> frozenset[str]:
        """What integrations believe to fire that want to know its end."""
        owed: set[str] = set()
        for integration in self.route.integrations:
            entry = self.log.get(integration.name)
            if entry and integration.send_resolved:
                owed |= entry.believed
        return frozenset(owed)

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
                    "flapping": tuple(entry.flapping),
                    "receipt": entry.receipt,
                    "repeats": entry.repeats,
                }
                for name, entry in log.items()
            },
        }
