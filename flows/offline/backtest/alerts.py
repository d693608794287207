"""The lives of alerts, from the events that told of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from operators.contracts.alert import AlertEvent
from operators.notifying.times import parse_instant

__all__ = ["AlertLife", "lives"]

_NOT_OF_SERIES: Final = ("severity",)


@dataclass(frozen=True, slots=True)
class AlertLife:
    """One alert from its firing to its end. Times are event time, in nanoseconds.

    Attributes:
        event: the event that it fires.
        since: start of the first anomalous window.
        fired: when it fired: the end of the window that decided.
        ended: when there was no cause any more; None if it fires to the last.
        resolved: when that was said; None if it was not.
    """

    event: AlertEvent
    since: int
    fired: int
    ended: int | None
    resolved: int | None

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        return self.event["labels"]

    @property
    def subject(self) -> tuple[tuple[str, str], ...]:
        """What it is about: the labels that settings do not change."""
        return tuple(sorted(pair for pair in self.labels.items() if pair[0] not in _NOT_OF_SERIES))

    @property
    def summary(self) -> str:
        """What it says."""
        return self.event["annotations"]["summary"]

    @property
    def evidence(self) -> Mapping[str, Any]:
        """Score, expected range and the like."""
        return self.event.get("evidence", {})

    def lasts(self, until: int) -> int:
        """Return how long it fired, in nanoseconds; up to ``until`` if it fires still."""
        return (self.resolved or until) - self.fired


def lives(events: Iterable[tuple[AlertEvent, int]]) -> list[AlertLife]:
    """Return the alerts in the order of firing, from events in the order of time."""
    firing: dict[str, tuple[AlertEvent, int]] = {}
    found = []
    for event, at in events:
        if event["status"] == "firing":
            known = firing.get(event["fingerprint"])
            if known is not None and known[0]["startsAt"] == event["startsAt"]:
                at = known[1]  # told again, with more members  # noqa: PLW2901
            firing[event["fingerprint"]] = (event, at)
        elif event["fingerprint"] in firing:
            began, fired = firing.pop(event["fingerprint"])
            ended = parse_instant(event["endsAt"] or event["startsAt"])
            found.append(AlertLife(began, parse_instant(began["startsAt"]), fired, ended, at))
    for began, fired in firing.values():
        found.append(AlertLife(began, parse_instant(began["startsAt"]), fired, None, None))
    return sorted(found, key=lambda life: (life.fired, life.event["fingerprint"]))
