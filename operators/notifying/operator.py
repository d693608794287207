"""The notifier as a step of a dataflow.

All alerts go to one key, and so to one worker: alerts are few, and what may silence one alert is
another. Bytewax wakes the step when a group is due and, while deliveries are under way, some
times a second to take in how they ended; it never waits for a receiver, so an epoch is never held
back by one. Only at the end of a bounded run does it wait, until every notification is delivered
or given up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import bytewax.operators as op
from bytewax.dataflow import Stream
from bytewax.operators import StatefulBatchLogic

from operators.clock import Clock, SystemClock
from operators.decoding import Rejected
from operators.notifying.alert import Alert, Decoded, decode_alerts
from operators.notifying.grouping import Routing
from operators.notifying.notification import Courier, Report
from operators.notifying.notifier import Notifier, NotifierState
from operators.source import Polled

__all__ = ["NotDelivered", "Notified", "notify"]

KEY: Final = "notifier"


class NotDelivered(RuntimeError):
    """A bounded run ended, and some notifications could not be delivered."""


@dataclass(frozen=True, slots=True)
class Notified:
    """What the step gives: how each delivery ended, and what was no alert."""

    reports: Stream[Report]
    rejected: Stream[Rejected]


def notify(
    step_id: str,
    polled: Stream[Polled],
    *,
    routing: Routing,
    courier: Callable[[], Courier],
    clock: Clock | None = None,
) -> Notified:
    """Tell receivers about the alert events in ``polled``.

    Args:
        step_id: of the step that holds the state: renaming it forgets what was told.
        polled: polls of the alerts topic.
        routing: gives the routes that an alert takes.
        courier: makes what delivers, on the worker that notifies.
        clock: tells when groups are due; Bytewax wakes the step by the system's.
    """
    decoded = op.map(f"{step_id}_decode", polled, decode_alerts)
    rejected = op.filter_map(f"{step_id}_rejected", decoded, _rejected)
    keyed = op.map(f"{step_id}_key", decoded, lambda poll: (KEY, poll.alerts))

    def build(resume: NotifierState | None) -> _Logic:
        used = clock or SystemClock()
        delivering = courier()
        return _Logic(Notifier(routing, delivering, used, resume=resume), delivering)

    reports = op.key_rm(f"{step_id}_reports", op.stateful_batch(step_id, keyed, build))
    return Notified(reports, rejected)


def _rejected(decoded: Decoded) -> Rejected | None:
    return Rejected(decoded.rejects) if decoded.rejects.height else None


class _Logic(StatefulBatchLogic[list[Alert], Report, NotifierState]):
    def __init__(self, notifier: Notifier, courier: Courier) -> None:
        self._notifier = notifier
        self._courier = courier

    def on_batch(self, values: list[list[Alert]]) -> tuple[list[Report], bool]:
        for alerts in values:
            self._notifier.receive(alerts)
        return self.on_notify()

    def on_notify(self) -> tuple[list[Report], bool]:
        reports = self._notifier.settle()
        self._notifier.flush_due()
        return reports, StatefulBatchLogic.RETAIN

    def on_eof(self) -> tuple[list[Report], bool]:
        failed = self._notifier.finish()
        self._courier.close()
        if failed:
            raise NotDelivered(
                f"{len(failed)} notifications were not delivered, the first to "
                f"{failed[0].integration}: {failed[0].failure}"
            )
        return [], StatefulBatchLogic.RETAIN

    def notify_at(self) -> datetime | None:
        wake = self._notifier.next_wake()
        return None if wake is None else datetime.fromtimestamp(wake / 1e9, UTC)

    def snapshot(self) -> NotifierState:
        return self._notifier.snapshot()
