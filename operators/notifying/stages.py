"""The stages between a group and a channel: each decides one thing, and names its decision.

A stage is a function of a ``Passage``, the way of one group to one integration at one flush. It
may take alerts out of it, and says why nothing shall be sent at all, or ``None`` to let it pass.
What holds back alerts is in ``holds``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from operators.notifying.alert import Alert
from operators.notifying.dedup import LogEntry, Reason, reason_to_notify
from operators.notifying.grouping import Integration, Route

__all__ = [
    "STAGES",
    "Passage",
    "Stage",
    "deduplicate",
    "drop_never_told",
    "drop_unwanted",
    "send_through",
]


@dataclass(slots=True)
class Passage:
    """One group on its way to one integration.

    ``entry`` is what the integration was last told of the group, and ``now`` the time of the
    flush in nanoseconds. ``reason`` is set by ``deduplicate``. ``held`` says of the alerts that
    were taken out why, by fingerprint. ``flapping`` are those that are told to flap.
    """

    route: Route
    integration: Integration
    entry: LogEntry | None
    now: int
    firing: list[Alert]
    resolved: list[Alert]
    reason: Reason = Reason.NOTHING_NEW
    held: dict[str, Reason] = field(default_factory=dict)
    flapping: frozenset[str] = frozenset()

    def logged(self, at: int | None = None) -> LogEntry:
        """Return what is to be logged once the integration has been told, at a time."""
        moment = self.now if at is None else at
        firing = fingerprints(self.firing)
        return LogEntry(
            moment, firing, fingerprints(self.resolved), flapping=self.flapping & firing
        )


Stage = Callable[[Passage], Reason | None]


def drop_never_told(passage: Passage) -> Reason | None:
    """Take out the resolved alerts that the receiver does not believe to fire.

    So an alert that comes and goes between two notifications is not told, and none is told to
    have resolved twice. (Alertmanager does so only while nothing of the group fires.)
    """
    believed = passage.entry.believed if passage.entry else frozenset()
    passage.resolved = [alert for alert in passage.resolved if alert.fingerprint in believed]
    return None


def deduplicate(passage: Passage) -> Reason | None:
    """Hold back what the receiver knows already."""
    passage.reason = reason_to_notify(
        passage.entry,
        fingerprints(passage.firing),
        fingerprints(passage.resolved),
        send_resolved=passage.integration.send_resolved,
        repeat_interval=0 if passage.integration.keeps_alive else passage.route.repeat_interval,
        now=passage.now,
    )
    return None if passage.reason.is_to_notify else passage.reason


def drop_unwanted(passage: Passage) -> Reason | None:
    """Hold back what is all resolved, if the receiver does not want to know."""
    unwanted = not passage.integration.send_resolved and not passage.firing
    return Reason.RESOLVED_UNWANTED if unwanted else None


STAGES: tuple[Stage, ...] = (deduplicate, drop_unwanted)
"""Alertmanager's own."""


def send_through(stages: Sequence[Stage], passage: Passage) -> Reason:
    """Return the first reason of a stage to hold ``passage`` back, or the reason to send it."""
    for stage in stages:
        if (held := stage(passage)) is not None:
            return held
    return passage.reason


def fingerprints(alerts: Sequence[Alert]) -> frozenset[str]:
    """Return who they are."""
    return frozenset(alert.fingerprint for alert in alerts)
