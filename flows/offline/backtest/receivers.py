"""What the receivers would have got: the notifier itself, with a clock that follows the events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from operators.contracts.alert import AlertEvent, encode_event
from operators.contracts.clock import Clock
from operators.notifying.alert import alert_of
from operators.notifying.notification import Courier, DeliveryReport, Notification
from operators.notifying.notifier import Notifier

__all__ = ["ToldNotification", "told"]

_SECOND: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ToldNotification:
    """One notification: when it came, in nanoseconds, to whom, why, and how much was in it."""

    at: int
    receiver: str
    integration: str
    reason: str
    firing: int
    resolved: int


class _EventTime(Clock):
    """Stands where it was put."""

    def __init__(self, at: int) -> None:
        self.at = at

    def now(self) -> int:
        return self.at

    def monotonic(self) -> float:
        return self.at / _SECOND

    def sleep(self, seconds: float) -> None:
        self.at += round(seconds * _SECOND)


class _Book(Courier):
    """Writes down what is sent, and says that it came."""

    def __init__(self) -> None:
        self.sent: list[Notification] = []
        self._reports: list[DeliveryReport] = []

    def send(self, notification: Notification, patience: float) -> None:  # noqa: ARG002
        self.sent.append(notification)
        self._reports.append(DeliveryReport(notification.group, notification.integration))

    def reports(self) -> list[DeliveryReport]:
        reports, self._reports = self._reports, []
        return reports

    def wait(self, seconds: float) -> None:
        pass

    def close(self) -> None:
        pass


def told(
    events: Sequence[tuple[AlertEvent, int]],
    notifier: Callable[[Courier, Clock], Notifier],
    until: int,
) -> list[ToldNotification]:
    """Return the notifications that receivers would have got, in their order.

    Args:
        events: of alerts, each with the event time of its change, in that order.
        notifier: makes one, as the settings want it, that uses a courier and a clock.
        until: event time up to which the notifier runs.
    """
    if not events:
        return []
    clock, book = _EventTime(events[0][1]), _Book()
    driven = notifier(book, clock)
    found: list[ToldNotification] = []

    def go_to(when: int) -> None:
        while (wake := driven.next_wake()) is not None and wake <= when:
            clock.at = max(clock.at, wake)
            driven.flush_due()
            note()
        clock.at = max(clock.at, when)

    def note() -> None:
        driven.settle()
        driven.chronicle.records()
        driven.incident_changes()
        found.extend(
            ToldNotification(
                clock.at, one.receiver, one.integration, str(one.reason.value),
                len(one.firing), len(one.resolved),
            )
            for one in book.sent
        )  # fmt: skip
        book.sent.clear()

    for event, at in events:
        go_to(at)
        driven.receive([alert_of(event, encode_event(event))])
        driven.flush_due()
        note()
    go_to(until)
    return found
