"""The notifier as a step of a dataflow.

All alerts go to one key, and so to one worker: alerts are few, and what may silence one alert is
another. Bytewax wakes the step when a group is due and, while deliveries are under way, some
times a second to take in how they ended; it never waits for a receiver, so an epoch is never held
back by one. Only at the end of a bounded run does it wait, until every notification is delivered
or given up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import RLock
from typing import Final, Protocol

import polars as pl

from operators.bytewax import Stream, keyed, only, op
from operators.contracts.clock import Clock, SystemClock
from operators.contracts.engine import KeyedLogic
from operators.contracts.items import Polled, Rejected
from operators.notifying.alert import Alert, decode_alerts
from operators.notifying.causes import Explain
from operators.notifying.command import Command, decode_commands
from operators.notifying.correlation import Correlation
from operators.notifying.grouping import Routing
from operators.notifying.holds import Holds
from operators.notifying.incidents import IncidentChange
from operators.notifying.journal import Record, Told
from operators.notifying.notification import Courier, DeliveryReport
from operators.notifying.notifier import Notifier, NotifierState

__all__ = ["NotDelivered", "Notified", "notify"]

KEY: Final = "notifier"


class NotDelivered(RuntimeError):
    """A bounded run ended, and some notifications could not be delivered."""


@dataclass(frozen=True, slots=True)
class Notified:
    """What the step gives: how each delivery ended, what came of flushes, incidents, what was no alert."""

    reports: Stream[DeliveryReport]
    rejected: Stream[Rejected]
    records: Stream[Record]
    incidents: Stream[IncidentChange]


Made = DeliveryReport | Record | IncidentChange


class Served(Protocol):
    """What answers questions about a notifier, on threads of its own."""

    def close(self) -> None:
        """Stop answering."""
        ...


Serve = Callable[[Notifier, "RLock"], Served]
"""Begins to answer; whoever asks the notifier holds the lock meanwhile."""


def notify(
    step_id: str,
    polled: Stream[Polled],
    *,
    routing: Routing,
    courier: Callable[[], Courier],
    clock: Clock | None = None,
    holds: Callable[[], Holds] = Holds,
    waits_for_old: bool = True,
    prompt_resolves: bool = False,
    correlation: Correlation | None = None,
    commands_topic: str = "",
    serve: Serve | None = None,
    told_since: Callable[[int], Iterable[Told]] | None = None,
    explain: Callable[[], Explain] | None = None,
) -> Notified:
    """Tell receivers about the alert events in ``polled``.

    Args:
        step_id: of the step that holds the state: renaming it forgets what was told.
        polled: polls of the alerts topic.
        routing: gives the routes that an alert takes.
        courier: makes what delivers, on the worker that notifies.
        clock: tells when groups are due; Bytewax wakes the step by the system's.
        holds: makes what holds back alerts.
        waits_for_old: whether a group waits though its first alert is older than ``group_wait``.
        prompt_resolves: whether a group is flushed as soon as all its alerts have resolved.
        correlation: when alerts make one incident.
        commands_topic: the topic among those polled that has commands.
        serve: begins to answer questions, on the worker that notifies.
        told_since: gives what was told since an instant: that of the snapshot to go on from, 0 if
            there is none.
        explain: makes what adds causes to alerts, on the worker that notifies.
    """

    def decode(poll: Polled) -> _Arrived:
        if poll.topic == commands_topic:
            commands, rejects = decode_commands(poll)
            return _Arrived([], commands, rejects)
        decoded = decode_alerts(poll)
        return _Arrived(decoded.alerts, [], decoded.rejects)

    decoded = op.map(f"{step_id}_decode", polled, decode)
    rejected = op.filter_map(f"{step_id}_rejected", decoded, _rejected)
    by_key = op.map(f"{step_id}_key", decoded, lambda poll: (KEY, poll))

    def build(resume: NotifierState | None) -> _Logic:
        used = clock or SystemClock()
        delivering = courier()
        notifier = Notifier(
            routing,
            delivering,
            used,
            resume=resume,
            holds=holds(),
            waits_for_old=waits_for_old,
            prompt_resolves=prompt_resolves,
            correlation=correlation,
            told=told_since(resume.get("at", 0) if resume else 0) if told_since else (),
            explain=explain() if explain else None,
        )
        return _Logic(notifier, delivering, serve)

    made = op.key_rm(f"{step_id}_reports", keyed(step_id, by_key, build))
    return Notified(
        op.filter_map(f"{step_id}_only_reports", made, only(DeliveryReport)),
        rejected,
        op.filter_map(f"{step_id}_only_records", made, only(Record)),
        op.filter_map(f"{step_id}_only_incidents", made, only(IncidentChange)),
    )


@dataclass(frozen=True, slots=True)
class _Arrived:
    """What one poll holds."""

    alerts: list[Alert]
    commands: list[Command]
    rejects: pl.DataFrame


def _rejected(arrived: _Arrived) -> Rejected | None:
    return Rejected(arrived.rejects) if arrived.rejects.height else None


class _Logic(KeyedLogic[_Arrived, Made]):
    def __init__(self, notifier: Notifier, courier: Courier, serve: Serve | None) -> None:
        self._notifier = notifier
        self._courier = courier
        self._lock = RLock()
        self._served = None if serve is None else serve(notifier, self._lock)

    def on_batch(self, items: list[_Arrived]) -> list[Made]:
        with self._lock:
            for arrived in items:
                for command in arrived.commands:
                    self._notifier.obey(command)
                self._notifier.receive(arrived.alerts)
            return self.on_wake()

    def on_wake(self) -> list[Made]:
        with self._lock:
            reports = self._notifier.settle()
            self._notifier.flush_due()
            return [
                *reports,
                *self._notifier.chronicle.records(),
                *self._notifier.incident_changes(),
            ]

    def on_end(self) -> list[Made]:
        failed = self._notifier.finish()
        self._courier.close()
        if self._served is not None:
            self._served.close()
        if failed:
            raise NotDelivered(
                f"{len(failed)} notifications were not delivered, the first to "
                f"{failed[0].integration}: {failed[0].failure}"
            )
        return [*self._notifier.chronicle.records(), *self._notifier.incident_changes()]

    def wake_at(self) -> datetime | None:
        wake = self._notifier.next_wake()
        return None if wake is None else datetime.fromtimestamp(wake / 1e9, UTC)

    def snapshot(self) -> NotifierState:
        with self._lock:
            return self._notifier.snapshot()
