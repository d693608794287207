"""What each event means, given what is known of its alert: new, repeated, or out of date.

The topic is delivered at least once: after a crash of whoever writes it, or a backfill, events
come again, in their old order. An episode of an alert is known by its start, so an event about
one that has ended, or about an earlier one, changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final

from operators.notifying.alert import Alert

__all__ = ["Arrival", "Arrivals"]

REMEMBERED: Final = 20_000
"""Alerts whose last episode is remembered after it has ended."""


class Arrival(Enum):
    """What an event means."""

    FIRED = "fired"
    UPDATED = "updated"
    RESOLVED = "resolved"
    REPEATED = "repeated"
    """The same was said before."""
    OUT_OF_DATE = "out_of_date"
    """About an episode that has ended, or one before that which is known."""
    NEVER_FIRED = "never_fired"
    """Resolved, but nothing is known to fire."""

    @property
    def changes(self) -> bool:
        """Whether the alert is different now."""
        return self in _CHANGES


_CHANGES = frozenset({Arrival.FIRED, Arrival.UPDATED, Arrival.RESOLVED})


class Arrivals:
    """The alerts that fire, by fingerprint, and when the last episode of the others began.

    Args:
        firing: alerts that fire already.
        ended: start of the last episode, by fingerprint, of alerts that have resolved, those
            that resolved first in front.
    """

    def __init__(
        self, firing: Iterable[Alert] = (), ended: Mapping[str, int] | None = None
    ) -> None:
        self._firing = {alert.fingerprint: alert for alert in firing}
        self._ended = dict(ended or {})
        self._believed: set[str] = set()

    @property
    def firing(self) -> Mapping[str, Alert]:
        """The alerts that fire."""
        return self._firing

    @property
    def ended(self) -> Mapping[str, int]:
        """Start of the last episode of alerts that have resolved."""
        return self._ended

    def admit(self, alert: Alert) -> Arrival:
        """Take in what an event says, if it is news, and say what it was."""
        known = self._firing.get(alert.fingerprint)
        arrival = _against_firing(alert, known) if known else self._against_ended(alert)
        if arrival.changes:
            self._believed.discard(alert.fingerprint)
        if arrival in (Arrival.FIRED, Arrival.UPDATED):
            self._firing[alert.fingerprint] = alert
            self._ended.pop(alert.fingerprint, None)
        elif arrival in (Arrival.RESOLVED, Arrival.NEVER_FIRED):
            self._firing.pop(alert.fingerprint, None)
            self._remember(alert)
        return arrival

    def expire(self, alert: Alert) -> None:
        """Forget a firing alert whose ``endsAt`` has passed; a later event may extend it."""
        self._firing.pop(alert.fingerprint, None)

    def recall(self, over: Iterable[Mapping[str, int]], believed: Iterable[str] = ()) -> None:
        """Count as over what receivers were told to be over, though its events come again.

        For example a snapshot is of before an alert fired, and its receiver was told that it fired
        and that it is over. Then both events come again, perhaps with a pause between them, and
        are no news. Where the receivers know different things, the one that knows least counts.

        What a receiver believes to fire may end though its first event does not come again, since
        the topic keeps only the newest event of an alert. Its end is news all the same.

        Args:
            over: of each integration, the start of the newest episode that is over, by fingerprint.
            believed: fingerprints of alerts that a receiver was last told to fire.
        """
        self._believed = {name for name in believed if name not in self._firing}
        least: dict[str, int] = {}
        for starts in over:
            for fingerprint, start in starts.items():
                least[fingerprint] = min(start, least.get(fingerprint, start))
        for fingerprint, start in least.items():
            if fingerprint not in self._firing and start > self._ended.get(fingerprint, start - 1):
                self._ended[fingerprint] = start

    def _against_ended(self, alert: Alert) -> Arrival:
        ended = self._ended.get(alert.fingerprint)
        if ended is not None and alert.starts_at <= ended:
            again = alert.resolved and alert.starts_at == ended
            return Arrival.REPEATED if again else Arrival.OUT_OF_DATE
        if not alert.resolved:
            return Arrival.FIRED
        return Arrival.RESOLVED if alert.fingerprint in self._believed else Arrival.NEVER_FIRED

    def _remember(self, alert: Alert) -> None:
        self._ended.pop(alert.fingerprint, None)
        self._ended[alert.fingerprint] = alert.starts_at
        if len(self._ended) > REMEMBERED:
            del self._ended[next(iter(self._ended))]


def _against_firing(alert: Alert, known: Alert) -> Arrival:
    if alert.starts_at < known.starts_at:
        return Arrival.OUT_OF_DATE
    if alert.resolved:
        return Arrival.RESOLVED
    return Arrival.REPEATED if alert.event == known.event else Arrival.UPDATED
