"""Incidents: alerts that have one cause, and which of them that probably is.

Alerts belong together if they fire within the same time and are about the same service, about
services of which one needs the other or that need the same one, or have labels in common. An alert
that belongs to several incidents makes one of them. The probable root is the alert of
the service that all others need, as far as is known; of several, the one that began first. A
receiver is told of the root; the others are its members, which are context.

An incident is over when all of its alerts are, and stays open for a while for what comes back.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NotRequired, TypedDict

import orjson
import polars as pl

from operators.contracts.frames import MESSAGES
from operators.notifying.alert import Alert
from operators.notifying.correlation import Correlation
from operators.notifying.matchers import matches
from operators.notifying.times import format_instant

__all__ = ["Incident", "IncidentChange", "IncidentState", "Incidents", "record"]

SCHEMA: Final = "headrace.incident/v1"
MEMBERS_SHOWN: Final = 50
"""Members that a record and a notification name; of more, the number is told."""
TIMELINE: Final = 100
REMEMBERED: Final = 1_000
"""Alerts of an incident whose labels are kept."""
_ALWAYS_NOTED: Final = frozenset({"root", "over", "reopened", "merged", "acknowledged"})


class IncidentState(TypedDict):
    """Snapshot of an incident: plain data; alerts come from the groups."""

    id: str
    began: int
    newest: int
    ended: int | None
    root: str
    members: dict[str, tuple[str, int, int | None]]  # fingerprint: service, start, end
    names: dict[str, Mapping[str, str]]  # fingerprint: labels
    timeline: tuple[tuple[int, str, str], ...]
    acknowledged: NotRequired[tuple[int, str] | None]


@dataclass(slots=True)
class Incident:
    """One incident. Times are nanoseconds since the Unix epoch.

    ``members`` are all alerts that have been part of it, with their service, their start, and
    their end if they are over; ``labels`` those of the first of them and of the root. ``root`` is
    the fingerprint of the probable cause. ``merged`` names the incident that this one went into.
    ``acknowledged`` is when somebody first cared about any of its alerts, and who.
    """

    id: str
    began: int
    newest: int
    root: str
    members: dict[str, tuple[str, int, int | None]] = field(default_factory=dict)
    labels: dict[str, Mapping[str, str]] = field(default_factory=dict)
    ended: int | None = None
    timeline: deque[tuple[int, str, str]] = field(default_factory=lambda: deque(maxlen=TIMELINE))
    changed: bool = True
    services: dict[str, int] = field(default_factory=dict)
    firing: set[str] = field(default_factory=set)
    merged: str | None = None
    acknowledged: tuple[int, str] | None = None
    _snapshot: IncidentState | None = None

    def note(self, at: int, what: str, name: str) -> None:
        """Write a line of the timeline; of a storm, not every alert."""
        if what in _ALWAYS_NOTED or len(self.timeline) < TIMELINE // 2:
            self.timeline.append((at, what, name))

    def remember(self, name: str, labels: Mapping[str, str]) -> None:
        """Keep the labels of an alert, if it is one of the first."""
        if len(self.labels) < REMEMBERED:
            self.labels[name] = labels

    def touch(self) -> None:
        """Say that it has changed."""
        self.changed = True
        self._snapshot = None

    def snapshot(self) -> IncidentState:
        """Return plain data; what has not changed is not copied again."""
        if self._snapshot is None:
            self._snapshot = {
                "id": self.id,
                "began": self.began,
                "newest": self.newest,
                "ended": self.ended,
                "root": self.root,
                "members": dict(self.members),
                "names": dict(self.labels),
                "timeline": tuple(self.timeline),
                "acknowledged": self.acknowledged,
            }
        return self._snapshot


class Incidents:
    """Puts alerts into incidents, and knows the root of each.

    Finding the incident of an alert is a look-up, unless its service is new: then all services
    that have alerts are looked at.
    """

    def __init__(self, correlation: Correlation, states: Iterable[IncidentState] = ()) -> None:
        self._correlation = correlation
        self._open: dict[str, Incident] = {}
        self._of_alert: dict[str, str] = {}
        self._by_service: dict[str, str] = {}
        self._by_labels: dict[tuple[str, ...], str] = {}
        self._merged: list[Incident] = []
        self.resume(states)

    def resume(self, states: Iterable[IncidentState]) -> None:
        """Take in the incidents of a snapshot."""
        for state in states:
            incident = _restored(state)
            self._open[incident.id] = incident
            for name, (service, _, _) in incident.members.items():
                self._of_alert[name] = incident.id
                self._index(incident, service, incident.labels.get(name, {}))

    @property
    def open(self) -> Mapping[str, Incident]:
        """The incidents that are not over, and those that were until just now."""
        return self._open

    def put(self, alert: Alert, now: int) -> None:
        """Take in the newest state of an alert."""
        known = self._of_alert.get(alert.fingerprint)
        incident = self._open.get(known) if known else None
        if alert.resolved:
            if incident is not None:
                self._resolve(incident, alert, now)
            return
        if not matches(self._correlation.matchers, alert.labels):
            return
        service = self._correlation.service_of(alert.labels)
        if incident is None or incident.ended is not None:
            incident = self._found(alert, service, now) or incident or self._begin(alert, now)
            self._of_alert[alert.fingerprint] = incident.id
            self._index(incident, service, alert.labels)
        self._join(incident, alert, service, now)

    def of(self, fingerprint: str) -> Incident | None:
        """Return the incident that an alert is part of."""
        return self._open.get(self._of_alert.get(fingerprint, ""))

    def is_member(self, fingerprint: str) -> bool:
        """Whether an alert is part of an incident, and not its root."""
        incident = self.of(fingerprint)
        return incident is not None and incident.root != fingerprint

    def acknowledge(self, fingerprint: str, at: int, by: str) -> None:
        """Take in that somebody cares about an alert; of its incident the first time counts."""
        incident = self.of(fingerprint)
        if incident is not None and incident.acknowledged is None:
            incident.acknowledged = at, by
            incident.note(at, "acknowledged", fingerprint)
            incident.touch()

    def forget(self, now: int) -> None:
        """Forget the incidents that have been over for longer than the window."""
        for incident in list(self._open.values()):
            if incident.ended is not None and incident.ended + self._correlation.window <= now:
                del self._open[incident.id]
                for index in (self._of_alert, self._by_service, self._by_labels):
                    _drop(index, incident.id)

    def changes(self) -> list[IncidentChange]:
        """Return the records of the incidents that have changed since the last call."""
        changed = [incident for incident in self._open.values() if incident.changed]
        for incident in changed:
            incident.changed = False
        merged, self._merged = self._merged, []
        return [IncidentChange(record(incident)) for incident in (*merged, *changed)]

    def snapshot(self) -> tuple[IncidentState, ...]:
        """Return plain data."""
        return tuple(incident.snapshot() for incident in self._open.values())

    def _found(self, alert: Alert, service: str, now: int) -> Incident | None:
        """Return the incident that an alert belongs to; of several, one is made."""
        names = {self._by_labels.get(key) for key in self._keys(alert.labels)}
        if service:
            if known := self._by_service.get(service):
                names.add(known)
            else:
                related = self._correlation.services.are_related
                names |= {
                    name for other, name in self._by_service.items() if related(service, other)
                }
        found = [
            incident
            for name in names
            if name is not None
            and (incident := self._open.get(name)) is not None
            and now - incident.newest <= self._correlation.window
        ]
        if not found:
            return None
        oldest, *others = sorted(found, key=lambda incident: (incident.began, incident.id))
        for other in others:
            self._merge(oldest, other, now)
        return oldest

    def _merge(self, into: Incident, other: Incident, now: int) -> None:
        """Make one incident of two."""
        del self._open[other.id]
        into.members = {**other.members, **into.members}
        into.firing |= other.firing
        for service, number in other.services.items():
            into.services[service] = into.services.get(service, 0) + number
        for name, labels in other.labels.items():
            into.remember(name, labels)
        for name, (service, _, _) in other.members.items():
            self._of_alert[name] = into.id
            self._index(into, service, other.labels.get(name, {}))
        into.began = min(into.began, other.began)
        cares = [one.acknowledged for one in (into, other) if one.acknowledged is not None]
        into.acknowledged = min(cares, default=None)
        into.note(now, "merged", other.root)
        into.touch()
        other.merged, other.ended = into.id, now
        other.firing = set()
        self._merged.append(other)
        if into.firing:
            root = self._deepest(into, (into.root, other.root))
            if root != into.root:
                into.root = root
                into.note(now, "root", root)

    def _index(self, incident: Incident, service: str, labels: Mapping[str, str]) -> None:
        if service:
            self._by_service[service] = incident.id
        for key in self._keys(labels):
            self._by_labels[key] = incident.id

    def _keys(self, labels: Mapping[str, str]) -> Iterable[tuple[str, ...]]:
        """Return what alerts have to have in common with these labels, one key a set."""
        for names in self._correlation.together:
            if all(labels.get(name) for name in names):
                yield (*names, *(labels[name] for name in names))

    def _begin(self, alert: Alert, now: int) -> Incident:
        digest = hashlib.blake2b(f"{alert.fingerprint}/{alert.starts_at}".encode(), digest_size=8)
        incident = Incident(digest.hexdigest(), alert.starts_at, now, alert.fingerprint)
        self._open[incident.id] = incident
        return incident

    def _join(self, incident: Incident, alert: Alert, service: str, now: int) -> None:
        name = alert.fingerprint
        if incident.ended is not None:
            incident.ended = None
            incident.note(now, "reopened", name)
        if name not in incident.firing:
            incident.firing.add(name)
            incident.services[service] = incident.services.get(service, 0) + 1
            incident.note(now, "fired", name)
        incident.members[name] = (service, alert.starts_at, None)
        incident.remember(name, alert.labels)
        incident.newest = now
        incident.began = min(incident.began, alert.starts_at)
        incident.touch()
        if name != incident.root and self._is_deeper(incident, name):
            incident.root = name
            incident.note(now, "root", name)
        if name == incident.root:
            incident.labels[name] = alert.labels

    def _resolve(self, incident: Incident, alert: Alert, now: int) -> None:
        name = alert.fingerprint
        if name not in incident.firing:
            return
        service, began, _ = incident.members[name]
        incident.members[name] = (service, began, alert.ends_at or now)
        incident.firing.discard(name)
        left = incident.services[service] - 1
        if left:
            incident.services[service] = left
        else:
            del incident.services[service]
        incident.note(now, "resolved", name)
        incident.newest = now
        incident.touch()
        if not incident.firing:
            incident.ended = now
            incident.note(now, "over", name)
        elif name == incident.root:
            incident.root = self._deepest(incident, incident.firing)
            incident.note(now, "root", incident.root)

    def _is_deeper(self, incident: Incident, name: str) -> bool:
        """Whether the service of the root needs that of an alert, and not the other way round."""
        if incident.root not in incident.firing:
            return True
        service, root = incident.members[name][0], incident.members[incident.root][0]
        services = self._correlation.services
        return service in services.all_needed_by(root) and root not in services.all_needed_by(
            service
        )

    def _deepest(self, incident: Incident, names: Iterable[str]) -> str:
        """Return the alert that most of the others need; of several the one that began first."""
        services = self._correlation.services
        ranks = dict.fromkeys(incident.services, 0)
        for other in incident.services:
            for service in services.all_needed_by(other):
                if service in ranks:
                    ranks[service] += 1
        return min(
            [name for name in names if name in incident.firing] or incident.firing,
            key=lambda name: (
                -ranks[incident.members[name][0]],
                incident.members[name][1],
                name,
            ),
        )


def _drop(index: dict[Any, str], name: str) -> None:
    for key in [key for key, found in index.items() if found == name]:
        del index[key]


@dataclass(frozen=True, slots=True)
class IncidentChange:
    """An incident as it is now, for those who subscribe to it."""

    record: Mapping[str, Any]

    def message(self, topic: str) -> pl.DataFrame:
        """Return its MESSAGES frame; the key is the id, so the newest state stays."""
        return pl.DataFrame(
            {
                "topic": [topic],
                "key": [str(self.record["id"]).encode()],
                "value": [orjson.dumps(self.record)],
            },
            schema=MESSAGES,
        )


def record(incident: Incident) -> dict[str, Any]:
    """Return an incident as subscribers read it, described by ``incident.schema.json``."""

    def member(name: str) -> dict[str, Any]:
        service, began, ended = incident.members[name]
        return {
            "fingerprint": name,
            "service": service,
            "status": "firing" if ended is None else "resolved",
            "labels": dict(incident.labels.get(name, {})),
            "startsAt": format_instant(began),
            "endsAt": None if ended is None else format_instant(ended),
        }

    by_start = sorted(incident.members, key=lambda name: (incident.members[name][1], name))
    first = [incident.root, *(name for name in by_start if name != incident.root)]
    return {
        "schema": SCHEMA,
        "id": incident.id,
        "status": "merged" if incident.merged else "open" if incident.ended is None else "over",
        "mergedInto": incident.merged,
        "startsAt": format_instant(incident.began),
        "endsAt": None if incident.ended is None else format_instant(incident.ended),
        "acknowledgedAt": format_instant(incident.acknowledged[0])
        if incident.acknowledged
        else None,
        "acknowledgedBy": incident.acknowledged[1] if incident.acknowledged else None,
        "root": incident.root,
        "services": sorted({member[0] for member in incident.members.values() if member[0]}),
        "firing": len(incident.firing),
        "total": len(incident.members),
        "members": [member(name) for name in first[:MEMBERS_SHOWN]],
        "timeline": [
            {"at": format_instant(at), "what": what, "alert": name}
            for at, what, name in incident.timeline
        ],
    }


def _restored(state: IncidentState) -> Incident:
    incident = Incident(
        state["id"],
        state["began"],
        state["newest"],
        state["root"],
        dict(state["members"]),
        dict(state["names"]),
        state["ended"],
        deque(state["timeline"], TIMELINE),
        changed=False,
        acknowledged=state.get("acknowledged"),
    )
    for name, (service, _, ended) in incident.members.items():
        if ended is None:
            incident.firing.add(name)
            incident.services[service] = incident.services.get(service, 0) + 1
    return incident
