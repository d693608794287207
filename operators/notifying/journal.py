"""What came of every flush, as subscribers read it, and how much of the noise was held back.

A record says what was sent, to whom and why; what could not be delivered; or why nothing was sent,
once for as long as the reason stays the same. Every event that came in counts in ``Noise`` exactly
once, under the reason that decided about it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import orjson
import polars as pl

from operators.contracts.frames import MESSAGES
from operators.notifying.alert import Alert
from operators.notifying.dedup import LogEntry, Reason
from operators.notifying.notification import GroupId
from operators.notifying.times import format_instant

__all__ = [
    "Noise",
    "Record",
    "Told",
    "last_told",
    "messages_of",
    "notification_id",
    "record_key",
    "record_value",
]

SCHEMA: Final = "headrace.notification/v1"
Outcome = Literal["delivered", "failed", "held"]


@dataclass(frozen=True, slots=True)
class Record:
    """What came of one flush of a group for one integration. ``at`` is in nanoseconds.

    ``log`` is what the integration was told of, if it was told; ``held`` are the alerts that were
    held back, by fingerprint.
    """

    at: int
    outcome: Outcome
    group: GroupId
    integration: str
    receiver: str
    group_labels: Mapping[str, str]
    reason: Reason
    id: str = ""
    alerts: tuple[Alert, ...] = ()
    held: Mapping[str, Reason] = field(default_factory=dict)
    failure: str | None = None
    log: LogEntry | None = None


class Told(NamedTuple):
    """What an integration was told of a group, as a record has it.

    ``over`` has, by fingerprint, the start of the newest episode that was over by then. Of an alert
    that had fired since 10:00 that is the nanosecond before, since all earlier ones were.
    """

    group: GroupId
    integration: str
    entry: LogEntry
    over: Mapping[str, int]


def last_told(told: Iterable[Told]) -> dict[tuple[GroupId, str], Told]:
    """Return of each group and integration the last entry, with all that was over by then.

    Args:
        told: in the order in which it was told.
    """
    last: dict[tuple[GroupId, str], Told] = {}
    for one in told:
        which = (one.group, one.integration)
        before = last[which].over if which in last else {}
        last[which] = one._replace(over={**before, **one.over})
    return last


def record_key(record: Record) -> bytes:
    """Return the key of its message: one a group and integration, so the newest stays."""
    return "\x1f".join((record.integration, *record.group)).encode()


def record_value(record: Record) -> bytes:
    """Return its message, described by ``notification.schema.json``."""
    return orjson.dumps(
        {
            "schema": SCHEMA,
            "id": record.id,
            "at": format_instant(record.at),
            "outcome": record.outcome,
            "reason": record.reason.name.lower(),
            "why": record.failure or record.reason.value,
            "receiver": record.receiver,
            "integration": record.integration,
            "route": record.group[0],
            "groupKey": record.group[1],
            "groupLabels": dict(record.group_labels),
            "alerts": [
                {
                    "fingerprint": alert.fingerprint,
                    "status": "resolved" if alert.resolved else "firing",
                    "labels": dict(alert.labels),
                    "startsAt": format_instant(alert.starts_at),
                }
                for alert in record.alerts
            ],
            "held": {name: reason.name.lower() for name, reason in record.held.items()},
            "log": None
            if record.log is None
            else {
                "at": record.log.at,
                "firing": sorted(record.log.firing),
                "resolved": sorted(record.log.resolved),
                "flapping": sorted(record.log.flapping),
                "receipt": record.log.receipt,
                "repeats": record.log.repeats,
                "over": {alert.fingerprint: _over(alert) for alert in record.alerts},
            },
        }
    )


def _over(alert: Alert) -> int:
    """Return the start of the newest episode that is over, once an alert was told.

    One that resolved only by its ``endsAt`` may be extended by a later event: its episode counts
    as one that goes on.
    """
    return alert.starts_at if alert.resolved and not alert.expired else alert.starts_at - 1


def messages_of(record: Record, topic: str) -> pl.DataFrame:
    """Return the MESSAGES frame of a record: one a notification, and those are few."""
    return pl.DataFrame(
        {"topic": [topic], "key": [record_key(record)], "value": [record_value(record)]},
        schema=MESSAGES,
    )


def notification_id(group: GroupId, integration: str, alerts: Iterable[Alert], since: int) -> str:
    """Return an id that is the same for the same content after the same history.

    ``since`` is when the integration was last told of the group. So a notification that is sent
    again since nobody knows whether it arrived, or after a crash, can be known by its id.
    """
    digest = hashlib.blake2b(digest_size=16)
    for text in (*group, integration, str(since)):
        digest.update(text.encode() + b"\xff")
    for alert in alerts:
        digest.update(f"{alert.fingerprint}{alert.starts_at}{alert.resolved}".encode() + b"\xff")
    return digest.hexdigest()


class Noise:
    """Events in, notifications out, and what decided about every event."""

    def __init__(self, totals: Mapping[str, int] | None = None) -> None:
        self._totals: Counter[str] = Counter(totals or {})

    def event(self, reason: str, number: int = 1) -> None:
        """Count events that came in, by what decided about them."""
        self._totals[f"event.{reason}"] += number

    def notification(self, outcome: str) -> None:
        """Count a notification that went out, or did not."""
        self._totals[f"notification.{outcome}"] += 1

    def report(self) -> dict[str, Any]:
        """Return the report: the reduction is the share of events that made no notification."""
        events = self._part("event")
        sent = self._totals["notification.delivered"]
        total = sum(events.values())
        return {
            "events": total,
            "notifications": sent,
            "failed": self._totals["notification.failed"],
            "reduction": round(1 - sent / total, 4) if total else 0.0,
            "by_reason": dict(sorted(events.items())),
        }

    def snapshot(self) -> dict[str, int]:
        """Return plain data."""
        return dict(self._totals)

    def _part(self, kind: str) -> dict[str, int]:
        prefix = f"{kind}."
        return {
            name.removeprefix(prefix): number
            for name, number in self._totals.items()
            if name.startswith(prefix)
        }
