"""What the notifier knows, in the words of Alertmanager's API v2."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from operators.notifying.alert import Alert
from operators.notifying.causes import causes_of
from operators.notifying.group import Group
from operators.notifying.matchers import Matchers, matches
from operators.notifying.notifier import Notifier
from operators.notifying.silences import Silence
from operators.notifying.times import format_instant

__all__ = ["AlertFilter", "alerts", "groups", "silence"]


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts are asked for; ``receiver`` has to match one of theirs as a whole."""

    matchers: Matchers = ()
    active: bool = True
    silenced: bool = True
    inhibited: bool = True
    receiver: re.Pattern[str] | None = None


def alerts(notifier: Notifier, wanted: AlertFilter, now: int) -> list[dict[str, Any]]:
    """Return the alerts that fire, by fingerprint."""
    receivers: dict[str, set[str]] = {}
    steps: dict[str, list[dict[str, Any]]] = {}
    for group in notifier.groups.values():
        for name in group.alerts:
            receivers.setdefault(name, set()).add(group.route.receiver)
            if group.route.escalates:
                steps.setdefault(name, []).append(_step(group))
    found = (
        _alert(notifier, alert, sorted(receivers.get(alert.fingerprint, ())), now)
        | _escalation(steps.get(alert.fingerprint, []))
        for alert in notifier.firing.values()
        if not alert.at(now).resolved
    )
    return sorted(
        (alert for alert in found if _is_wanted(alert, wanted)), key=lambda a: str(a["fingerprint"])
    )


def groups(notifier: Notifier, wanted: AlertFilter, now: int) -> list[dict[str, Any]]:
    """Return the groups with the alerts that fire in each, by labels and receiver."""
    receivers: dict[str, set[str]] = {}
    for group in notifier.groups.values():
        for name in group.alerts:
            receivers.setdefault(name, set()).add(group.route.receiver)
    found = []
    for group in notifier.groups.values():
        if wanted.receiver and not wanted.receiver.fullmatch(group.route.receiver):
            continue
        firing = _firing(group, now)
        shown = [
            _alert(notifier, alert, sorted(receivers[alert.fingerprint]), now) for alert in firing
        ]
        shown = [alert for alert in shown if _is_wanted(alert, wanted)]
        if shown:
            found.append(
                {
                    "labels": dict(group.labels),
                    "receiver": {"name": group.route.receiver},
                    "alerts": shown,
                }
            )
    return sorted(found, key=lambda g: (sorted(g["labels"].items()), g["receiver"]["name"]))


def silence(one: Silence, now: int) -> dict[str, Any]:
    """Return a silence."""
    return {
        "id": one.id,
        "status": {"state": one.state(now)},
        "updatedAt": format_instant(one.updated_at),
        "comment": one.comment,
        "createdBy": one.created_by,
        "startsAt": format_instant(one.starts_at),
        "endsAt": format_instant(one.ends_at),
        "matchers": [
            {
                "name": matcher.name,
                "value": matcher.value,
                "isRegex": matcher.is_regular_expression,
                "isEqual": matcher.is_equal,
            }
            for matcher in one.matchers
        ],
    }


def _step(group: Group) -> dict[str, Any]:
    """Return a step of an escalation: whom it tells, and when it does so or did so last."""
    told = group.told_at
    return {
        "receiver": group.route.receiver,
        "told": told is not None,
        "at": format_instant(group.next_flush if told is None else told),
    }


def _escalation(steps: list[dict[str, Any]]) -> dict[str, Any]:
    return {"escalation": sorted(steps, key=lambda step: str(step["at"]))} if steps else {}


def _firing(group: Group, now: int) -> Iterable[Alert]:
    firing = [alert for alert in group.alerts.values() if not alert.at(now).resolved]
    return sorted(firing, key=lambda alert: alert.order)


def _alert(notifier: Notifier, alert: Alert, receivers: list[str], now: int) -> dict[str, Any]:
    shown = notifier.explained(alert)
    silenced = notifier.holds.silences.silencing(alert.labels, now)
    inhibited = notifier.holds.inhibitor.inhibited_by(alert.labels, now)
    cares = notifier.holds.acknowledgements.of(alert.fingerprint, now)
    held = bool(silenced or inhibited or (cares and cares.care == "snoozed"))
    # The API wants an end: of what fires until somebody says so it is the furthest one.
    ends = alert.ends_at if alert.ends_at is not None else now + 300_000_000_000
    made: dict[str, Any] = {
        "annotations": dict(shown.annotations),
        "endsAt": format_instant(ends),
        "fingerprint": alert.fingerprint,
        "receivers": [{"name": name} for name in receivers],
        "startsAt": format_instant(alert.starts_at),
        "status": {
            "inhibitedBy": [inhibited] if inhibited else [],
            "silencedBy": silenced,
            "mutedBy": [],
            "state": "suppressed" if held else "active",
        },
        "updatedAt": format_instant(now),
        "labels": dict(alert.labels),
    }
    if causes := causes_of(shown):
        made["causes"] = causes
    if alert.generator_url:
        made["generatorURL"] = alert.generator_url
    if notifier.holds.flaps.flaps_anywhere(alert.fingerprint, now):
        made["flapping"] = True
    if cares is not None:
        made["acknowledged"] = {
            "care": cares.care,
            "by": cares.by,
            "comment": cares.comment,
            "at": format_instant(cares.at),
            "until": None if cares.until is None else format_instant(cares.until),
        }
    return made


def _is_wanted(alert: dict[str, Any], wanted: AlertFilter) -> bool:
    status = alert["status"]
    if not wanted.active and status["state"] == "active":
        return False
    if not wanted.silenced and status["silencedBy"]:
        return False
    if not wanted.inhibited and status["inhibitedBy"]:
        return False
    if not matches(wanted.matchers, alert["labels"]):
        return False
    names = [receiver["name"] for receiver in alert["receivers"]]
    return wanted.receiver is None or any(map(wanted.receiver.fullmatch, names))
