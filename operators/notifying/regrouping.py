"""Groups from a snapshot, though the routes may have changed since it was taken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from operators.notifying.alert import Alert, restore_alert
from operators.notifying.dedup import LogEntry
from operators.notifying.group import Group, GroupState
from operators.notifying.grouping import Route, Routing, group_key, group_labels
from operators.notifying.notification import GroupId

__all__ = ["regroup"]


@dataclass(slots=True)
class _Told:
    """A log entry in the making."""

    at: int
    firing: set[str] = field(default_factory=set)
    resolved: set[str] = field(default_factory=set)
    perhaps: set[str] = field(default_factory=set)
    flapping: set[str] = field(default_factory=set)
    receipt: str = ""
    repeats: int = 0


def regroup(states: Iterable[GroupState], routing: Routing) -> list[Group]:
    """Return the groups of a snapshot, each alert where it belongs now.

    A group that is as it was keeps its log. Of an alert that has moved, what its receivers were
    told goes with it, so that it is not told again, and its end not forgotten; integrations that
    are gone are forgotten.
    """
    groups: dict[GroupId, Group] = {}
    told: dict[tuple[GroupId, str], _Told] = {}
    for state in states:
        before = {
            name: LogEntry(
                logged["at"],
                frozenset(logged["firing"]),
                frozenset(logged["resolved"]),
                frozenset(logged["perhaps"]),
                frozenset(logged.get("flapping", ())),
                logged.get("receipt", ""),
                logged.get("repeats", 0),
            )
            for name, logged in state["log"].items()
        }
        copied: set[str] = set()
        for event, resolved in state["alerts"]:
            alert = restore_alert(event, resolved=resolved)
            for route in routing(alert.labels):
                group = _group(groups, alert, route, state["next_flush"])
                for integration in route.integrations:
                    entry = before.get(integration.name)
                    if entry is None:
                        continue
                    log = told.setdefault((group.id, integration.name), _Told(entry.at))
                    log.at = min(log.at, entry.at)
                    if group.id != (state["route"], state["key"]):
                        log.firing |= {alert.fingerprint} & entry.firing
                        log.perhaps |= {alert.fingerprint} & entry.perhaps
                        log.flapping |= {alert.fingerprint} & entry.flapping
                    elif integration.name not in copied:
                        copied.add(integration.name)
                        log.firing |= entry.firing
                        log.resolved |= entry.resolved
                        log.perhaps |= entry.perhaps
                        log.flapping |= entry.flapping
                        log.receipt = entry.receipt
                        log.repeats = entry.repeats
    for (group_id, name), log in told.items():
        if log.firing or log.resolved or log.perhaps:
            groups[group_id].log[name] = LogEntry(
                log.at,
                frozenset(log.firing),
                frozenset(log.resolved),
                frozenset(log.perhaps),
                frozenset(log.flapping),
                log.receipt,
                log.repeats,
            )
    return list(groups.values())


def _group(groups: dict[GroupId, Group], alert: Alert, route: Route, next_flush: int) -> Group:
    labels = group_labels(alert.labels, route.group_by)
    key = group_key(route.key, labels)
    group = groups.setdefault((route.id, key), Group(route, key, labels, next_flush))
    group.next_flush = min(group.next_flush, next_flush)
    group.put(alert)
    return group
