"""Alerts that flap: they fire and resolve again and again, and are held as one notification.

A change of an alert is that it fires, or that it resolves. It **begins to flap** with the change
that is more than the ``changes``-th within ``within``, and **has calmed** once ``within`` has passed
since its last change. Both are by the times that events give, so a backlog that is read in a second
does not make an alert flap.

Along a route with ``Flapping``, an alert that flaps counts as one that fires, whatever its newest
event says: its receiver is told once that it flaps (an annotation says so), and neither of its ends
nor that it fires again. At the group's first flush after it has calmed, the receiver is told how it
is then: that it is over, or that it fires and flaps no longer. All else that holds for an alert that
fires holds for it: it is silenced, acknowledged, inhibited and repeated like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from operators.contracts.durations import format_duration
from operators.notifying.alert import Alert

__all__ = ["ANNOTATION", "FlapState", "Flapping", "Flaps", "as_flapping"]

ANNOTATION = "flapping"
"""Where an alert that flaps says so."""

FlapState = tuple[tuple[int, ...], tuple[str, ...]]
"""Snapshot of an alert: the times of its last changes, and by which rules it flaps."""


class Flapping(NamedTuple):
    """More than ``changes`` changes within ``within`` nanoseconds are flapping."""

    changes: int
    within: int

    def __str__(self) -> str:
        """Say it for people: ``more than 4 changes within 10m``."""
        return f"more than {self.changes} changes within {format_duration(self.within)}"


@dataclass(slots=True)
class _Changes:
    """The last changes of one alert, the newest at the end, and the rules by which it flaps.

    Of a storm there may be very many, so they are small.
    """

    at: tuple[int, ...] = ()
    flaps: frozenset[Flapping] = frozenset()


class Flaps:
    """Knows which alerts flap.

    Args:
        rules: those of all routes; without any, nothing is remembered.
    """

    def __init__(self, rules: Iterable[Flapping] = ()) -> None:
        self._rules = frozenset(rules)
        self._most = max((rule.changes for rule in self._rules), default=0) + 1
        self._fewest = min((rule.changes for rule in self._rules), default=0)
        self._longest = max((rule.within for rule in self._rules), default=0)
        self._alerts: dict[str, _Changes] = {}

    def change(self, fingerprint: str, at: int, now: int) -> None:
        """Take in that an alert has fired or resolved.

        Args:
            fingerprint: of the alert.
            at: when, in nanoseconds; what is in the future, or before its last change, counts as
                now, or as of that change.
            now: the time.
        """
        if not self._rules:
            return
        known = self._alerts.get(fingerprint)
        if known is None:
            known = self._alerts[fingerprint] = _Changes()
        last = known.at[-1] if known.at else None
        moment = min(at, now) if last is None else max(last, min(at, now))
        known.at = at_last = (*known.at, moment)[-self._most :]
        if len(at_last) <= self._fewest:
            return
        flaps = {rule for rule in known.flaps if last is None or moment - last < rule.within}
        flaps |= {
            rule
            for rule in self._rules
            if len(at_last) > rule.changes and moment - at_last[-1 - rule.changes] < rule.within
        }
        known.flaps = frozenset(flaps)

    def flaps(self, fingerprint: str, rule: Flapping | None, now: int) -> bool:
        """Whether an alert flaps."""
        known = self._alerts.get(fingerprint) if rule is not None else None
        return (
            known is not None
            and rule is not None
            and rule in known.flaps
            and now - known.at[-1] < rule.within
        )

    def flaps_anywhere(self, fingerprint: str, now: int) -> bool:
        """Whether an alert flaps by any rule."""
        known = self._alerts.get(fingerprint)
        return known is not None and any(self.flaps(fingerprint, rule, now) for rule in known.flaps)

    def forget(self, now: int) -> list[str]:
        """Forget the alerts that have not changed for so long that they can't flap; return them."""
        calm = [
            fingerprint
            for fingerprint, known in self._alerts.items()
            if now - known.at[-1] >= self._longest
        ]
        for fingerprint in calm:
            del self._alerts[fingerprint]
        return calm

    def snapshot(self) -> dict[str, FlapState]:
        """Return plain data."""
        return {
            fingerprint: (known.at, tuple(sorted(map(str, known.flaps))) if known.flaps else ())
            for fingerprint, known in self._alerts.items()
        }

    def resume(self, states: Mapping[str, FlapState]) -> None:
        """Go on from a snapshot. What flaps by a rule that is gone flaps no longer."""
        rules = {str(rule): rule for rule in self._rules}
        self._alerts = {
            fingerprint: _Changes(
                tuple(at)[-self._most :], frozenset(rules[name] for name in flaps if name in rules)
            )
            for fingerprint, (at, flaps) in states.items()
            if rules
        }


def as_flapping(alert: Alert, rule: Flapping) -> Alert:
    """Return an alert as receivers are told of it while it flaps: it fires, and says so."""
    return replace(
        alert,
        resolved=False,
        expired=False,
        ends_at=None,
        annotations={**alert.annotations, ANNOTATION: str(rule)},
    )
