"""Alerts that somebody cares about: acknowledged, or put off until they are over.

An alert that is acknowledged is not told again without news, and does not escalate; news and its
end are told. One that is snoozed is not told at all until it has ended. Both end with the alert,
and an acknowledgement ends by itself if it was given a time: then the alert is told again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypedDict

__all__ = ["Acknowledgement", "AcknowledgementState", "Acknowledgements", "Care"]

Care = Literal["acknowledged", "snoozed"]


class AcknowledgementState(TypedDict):
    """Snapshot of an acknowledgement: plain data."""

    fingerprint: str
    care: str
    by: str
    comment: str
    at: int
    until: int | None


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Times are nanoseconds since the Unix epoch; ``until`` None is until the alert is over."""

    fingerprint: str
    care: Care
    by: str
    comment: str
    at: int
    until: int | None = None

    def holds(self, now: int) -> bool:
        """Whether it has not run out."""
        return self.until is None or now < self.until


class Acknowledgements:
    """What was acknowledged or snoozed, by fingerprint: the latest word counts."""

    def __init__(self, states: Iterable[AcknowledgementState] = ()) -> None:
        self._by_alert = {
            state["fingerprint"]: Acknowledgement(**state)  # type: ignore[arg-type]
            for state in states
        }

    def put(self, acknowledgement: Acknowledgement) -> None:
        """Take in a word."""
        self._by_alert[acknowledgement.fingerprint] = acknowledgement

    def remove(self, fingerprint: str) -> None:
        """Forget what was said of an alert: it was taken back, or the alert is over."""
        self._by_alert.pop(fingerprint, None)

    def of(self, fingerprint: str, now: int) -> Acknowledgement | None:
        """Return what holds for an alert."""
        found = self._by_alert.get(fingerprint)
        return found if found is not None and found.holds(now) else None

    def is_acknowledged(self, fingerprint: str, now: int) -> bool:
        """Whether somebody cares about the alert."""
        return bool(self._by_alert) and self.of(fingerprint, now) is not None

    def is_snoozed(self, fingerprint: str, now: int) -> bool:
        """Whether the alert is not to be told until it is over."""
        if not self._by_alert:
            return False
        found = self.of(fingerprint, now)
        return found is not None and found.care == "snoozed"

    def ran_out(self, fingerprint: str, since: int, now: int) -> bool:
        """Whether an acknowledgement of the alert ran out after ``since``."""
        found = self._by_alert.get(fingerprint)
        return found is not None and found.until is not None and since < found.until <= now

    def snapshot(self) -> tuple[AcknowledgementState, ...]:
        """Return plain data."""
        return tuple(
            {
                "fingerprint": found.fingerprint,
                "care": found.care,
                "by": found.by,
                "comment": found.comment,
                "at": found.at,
                "until": found.until,
            }
            for found in self._by_alert.values()
        )
