"""What holds back alerts though they fire: inhibitions, silences, times, and people who care.

The order is Alertmanager's: inhibition, active times, mute times, silences. An alert that was taken
out is not told, and not logged as told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Literal

from operators.notifying.acknowledgements import Acknowledgements
from operators.notifying.alert import Alert
from operators.notifying.dedup import Reason
from operators.notifying.digest import Digest, as_held_back
from operators.notifying.flapping import Flapping, Flaps, as_flapping
from operators.notifying.inhibition import Inhibitor, InhibitRule
from operators.notifying.intervals import TimeInterval, any_contains
from operators.notifying.rotas import Schedule
from operators.notifying.silences import Silences
from operators.notifying.stages import (
    Passage,
    Stage,
    deduplicate,
    drop_never_told,
    drop_unwanted,
    fingerprints,
)

__all__ = ["EndsOfHeld", "Holds"]

EndsOfHeld = Literal["never", "when_over", "at_once"]
"""When a receiver is told to be over what it knows to fire and what is held back since: never, as
Alertmanager does; when it has ended; or as soon as it is held back."""


class Holds:
    """Holds back alerts, and says why.

    Args:
        rules: inhibitions.
        intervals: the times that routes name.
        ends_of_held: when a receiver is told the end of what is held back.
        tells_brief: whether alerts are told to be over that came and went between two
            notifications, as Alertmanager does while others of their group fire.
        flapping: what flapping is along the routes that damp it.
    """

    def __init__(
        self,
        rules: Iterable[InhibitRule] = (),
        intervals: Mapping[str, tuple[TimeInterval, ...]] | None = None,
        *,
        ends_of_held: EndsOfHeld = "never",
        tells_brief: bool = True,
        flapping: Iterable[Flapping] = (),
    ) -> None:
        self.rules = tuple(rules)
        self.inhibitor = Inhibitor(self.rules)
        self.silences = Silences()
        self.acknowledgements = Acknowledgements()
        self.flaps = Flaps(flapping)
        self.rotas: Mapping[str, Schedule] = {}
        self.ends_of_held = ends_of_held
        self._intervals = intervals or {}
        self._tells_brief = tells_brief
        self._more: tuple[Stage, ...] = ()

    def also(self, *stages: Stage) -> None:
        """Put further stages before the one that asks what is news."""
        self._more += stages

    def stages(self) -> tuple[Stage, ...]:
        """Return all stages from a group to an integration, in their order."""
        last = () if self._tells_brief else (drop_never_told,)
        return (
            self._damp,
            self._inhibit,
            self._active_time,
            self._mute_time,
            self._silence,
            self._snooze,
            self._acknowledged_escalation,
            *self._more,
            *last,
            self._deduplicate,
            drop_unwanted,
        )

    def _damp(self, passage: Passage) -> Reason | None:
        """Let what flaps pass as one that fires."""
        rule = passage.route.flapping
        if rule is None:
            return None
        flapping = {
            alert.fingerprint: as_flapping(alert, rule)
            for alert in (*passage.firing, *passage.resolved)
            if self.flaps.flaps(alert.fingerprint, rule, passage.now)
        }
        if flapping:
            passage.firing = [
                *(alert for alert in passage.firing if alert.fingerprint not in flapping),
                *flapping.values(),
            ]
            passage.resolved = [
                alert for alert in passage.resolved if alert.fingerprint not in flapping
            ]
            passage.flapping = frozenset(flapping)
        return None

    def _inhibit(self, passage: Passage) -> Reason | None:
        if not self.rules:
            return None
        return self.take_out(
            passage,
            Reason.INHIBITED,
            lambda a: self.inhibitor.inhibited_by(a.labels, passage.now) is not None,
        )

    def _active_time(self, passage: Passage) -> Reason | None:
        times = passage.route.active
        if not times or self._in_time(times, passage.now):
            return None
        return self.take_out(passage, Reason.INACTIVE_TIME, lambda _: True)

    def _mute_time(self, passage: Passage) -> Reason | None:
        if not self._in_time(passage.route.mute, passage.now):
            return None
        return self.take_out(passage, Reason.MUTE_TIME, lambda _: True)

    def _silence(self, passage: Passage) -> Reason | None:
        return self.take_out(
            passage,
            Reason.SILENCED,
            lambda a: bool(self.silences.silencing(a.labels, passage.now)),
        )

    def _snooze(self, passage: Passage) -> Reason | None:
        return self.take_out(
            passage,
            Reason.SNOOZED,
            lambda a: (
                not a.resolved and self.acknowledgements.is_snoozed(a.fingerprint, passage.now)
            ),
        )

    def _acknowledged_escalation(self, passage: Passage) -> Reason | None:
        """An escalation ends where somebody cares."""
        if not passage.route.escalates:
            return None
        return self.take_out(
            passage,
            Reason.ACKNOWLEDGED,
            lambda a: (
                not a.resolved and self.acknowledgements.is_acknowledged(a.fingerprint, passage.now)
            ),
        )

    def _deduplicate(self, passage: Passage) -> Reason | None:
        """Hold back what is no news; and what is only repeated, while somebody cares about it.

        When an acknowledgement has run out, the alert is told again at once.
        """
        if passage.route.digest is not None:
            return self._summarize(passage, passage.route.digest)
        reason = deduplicate(passage)
        if reason is Reason.NOTHING_NEW and self._ran_out(passage):
            passage.reason = Reason.ACKNOWLEDGEMENT_OVER
            return None
        if reason is Reason.NOTHING_NEW or passage.reason is Reason.REPEAT:
            told = self._flap_news(passage)
            if told is not None:
                passage.reason = told
                return None
        if reason is Reason.NOTHING_NEW:
            passage.held.update(dict.fromkeys(passage.flapping, Reason.DAMPED))
        return self._repeated(passage) if passage.reason is Reason.REPEAT else reason

    def _repeated(self, passage: Passage) -> Reason | None:
        """Hold back what is repeated often enough, or while somebody cares about it."""
        most = passage.route.most_repeats
        if most is not None and passage.entry is not None and passage.entry.repeats >= most:
            return Reason.REPEATED_ENOUGH
        acknowledged = all(
            self.acknowledgements.is_acknowledged(alert.fingerprint, passage.now)
            for alert in passage.firing
        )
        return Reason.ACKNOWLEDGED if acknowledged else None

    @staticmethod
    def _flap_news(passage: Passage) -> Reason | None:
        """Return what is to be told of alerts that flap, or flapped, though nothing else is."""
        firing = fingerprints(passage.firing)
        known = passage.entry.flapping if passage.entry else frozenset()
        if (passage.flapping & firing) - known:
            return Reason.FLAPPING
        return Reason.CALMED if (known & firing) - passage.flapping else None

    def _summarize(self, passage: Passage, digest: Digest) -> Reason | None:
        """Tell everything, once for each time that is stated."""
        if passage.entry is not None and passage.entry.at >= digest.latest(passage.now):
            return Reason.NOTHING_NEW
        if not passage.firing and not passage.resolved:
            return Reason.NO_ALERTS
        passage.reason = Reason.DIGEST
        return None

    def _ran_out(self, passage: Passage) -> bool:
        since = passage.entry.at if passage.entry else 0
        return any(
            self.acknowledgements.ran_out(alert.fingerprint, since, passage.now)
            for alert in passage.firing
        )

    def take_out(
        self, passage: Passage, reason: Reason, is_held: Callable[[Alert], bool]
    ) -> Reason | None:
        """Take alerts out of a passage; the reason is returned if none is left.

        What the integration believes to fire is not taken out but told to be over, if it is to
        know (``ends_of_held``). A digest that tells what is held back keeps all, with the reason.
        """
        if passage.route.digest is not None and passage.route.digest.held_back:
            passage.firing, passage.resolved = (
                [as_held_back(alert, reason) if is_held(alert) else alert for alert in alerts]
                for alerts in (passage.firing, passage.resolved)
            )
            return None
        believed = passage.entry.believed if passage.entry else frozenset()
        over: list[Alert] = []

        def stays(alert: Alert) -> bool:
            if not is_held(alert):
                return True
            if self.ends_of_held != "never" and alert.fingerprint in believed:
                if alert.resolved:
                    return True
                if self.ends_of_held == "at_once":
                    over.append(replace(alert, resolved=True, ends_at=passage.now))
                    return False
            passage.held[alert.fingerprint] = reason
            return False

        passage.firing = [alert for alert in passage.firing if stays(alert)]
        passage.resolved = [alert for alert in passage.resolved if stays(alert)] + over
        return None if passage.firing or passage.resolved else reason

    def _in_time(self, names: Iterable[str], now: int) -> bool:
        return any(any_contains(self._intervals[name], now) for name in names)
