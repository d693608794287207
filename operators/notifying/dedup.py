"""Whether there is anything to tell: a group against what its receiver was last told.

The rules are Alertmanager's (``DedupStage``), each with its name.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from enum import Enum

__all__ = ["LogEntry", "Reason", "reason_to_notify"]


class Reason(Enum):
    """Why a notification is sent, or is not. The values are for people."""

    FIRST = "first notification"
    NEW_ALERTS = "new alerts added"
    SOME_RESOLVED = "some alerts resolved"
    ALL_RESOLVED = "all alerts resolved"
    REPEAT = "repeat interval elapsed"
    ACKNOWLEDGEMENT_OVER = "an acknowledgement has run out"
    FLAPPING = "an alert flaps"
    CALMED = "an alert flaps no longer"
    DIGEST = "a summary was due"

    NOTHING_NEW = "nothing has changed"
    NEVER_TOLD = "only resolved alerts, of which the receiver never heard"
    RESOLVED_UNWANTED = "only resolved alerts, which the receiver does not want"
    NO_ALERTS = "no alerts are left"

    INHIBITED = "inhibited by another alert"
    SILENCED = "silenced"
    MUTE_TIME = "a time in which the route is mute"
    INACTIVE_TIME = "outside of the times in which the route is active"
    SNOOZED = "snoozed until it is over"
    ACKNOWLEDGED = "acknowledged"
    MEMBER = "part of an incident of which the receiver knows"
    NOT_ON_CALL = "not on call"
    REPEATED_ENOUGH = "repeated as often as it may be"
    DAMPED = "flaps, as the receiver knows"

    @property
    def is_to_notify(self) -> bool:
        """Whether this is a reason to send."""
        return self in _TO_NOTIFY


_TO_NOTIFY = frozenset(
    {
        Reason.FIRST,
        Reason.NEW_ALERTS,
        Reason.SOME_RESOLVED,
        Reason.ALL_RESOLVED,
        Reason.REPEAT,
        Reason.ACKNOWLEDGEMENT_OVER,
        Reason.FLAPPING,
        Reason.CALMED,
        Reason.DIGEST,
    }
)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What an integration was last told of a group: when, and which fingerprints.

    ``at`` is in nanoseconds since the Unix epoch: when the notification had arrived.
    ``perhaps`` are those of which nobody knows what it believes, since a delivery was not
    confirmed. They are told again while they fire, and are told to be over when they are.
    ``flapping`` are those that it knows to flap. ``receipt`` is what the channel gave for the first
    notification, to find it again for those that follow.
    ``repeats`` is how often the same was told again.
    """

    at: int
    firing: frozenset[str] = frozenset()
    resolved: frozenset[str] = frozenset()
    perhaps: frozenset[str] = frozenset()
    flapping: frozenset[str] = frozenset()
    receipt: str = ""
    repeats: int = 0

    @property
    def believed(self) -> frozenset[str]:
        """The fingerprints of the alerts that the integration may believe to fire."""
        return self.firing | self.perhaps if self.perhaps else self.firing

    def perhaps_told(self, entry: LogEntry) -> LogEntry:
        """Return the entry after ``entry`` was sent, and nobody knows whether it arrived."""
        over = self.firing & entry.resolved
        if not over and entry.firing <= self.perhaps:
            return self
        return replace(self, firing=self.firing - over, perhaps=self.perhaps | over | entry.firing)


def reason_to_notify(
    entry: LogEntry | None,
    firing: Set[str],
    resolved: Set[str],
    *,
    send_resolved: bool,
    repeat_interval: int,
    now: int,
) -> Reason:
    """Compare a group with what was last told of it, ``None`` if nothing ever was.

    That all alerts have resolved is a reason whether or not the receiver wants to know it: what
    was logged as firing has to be forgotten, or the next alert would look like an old one.
    """
    told: Set[str] = entry.firing if entry else frozenset()
    if not firing <= told:
        return Reason.NEW_ALERTS if told else Reason.FIRST
    if entry is None or not (firing or entry.believed):
        return Reason.NEVER_TOLD
    if not firing:
        return Reason.ALL_RESOLVED
    if send_resolved and not resolved <= entry.resolved:
        return Reason.SOME_RESOLVED
    # As in Alertmanager an interval has elapsed once it is longer ago than that, and what was told
    # is logged when it has arrived. So it is mostly the flush after the one that it would fall on.
    return Reason.REPEAT if entry.at < now - repeat_interval else Reason.NOTHING_NEW
