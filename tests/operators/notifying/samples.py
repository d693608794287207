"""Alerts, routes, and a receiver that tells what it was told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from operators.contracts.alert import AlertEvent, Status, alert_event, encode_event
from operators.contracts.clock import ManualClock
from operators.notifying.alert import Alert, alert_of
from operators.notifying.grouping import Integration, Route, routing
from operators.notifying.holds import Holds
from operators.notifying.notification import Courier, DeliveryReport, Notification
from operators.notifying.notifier import Notifier, NotifierState

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
START = 1_790_000_000 * SECOND

OPS = Integration("ops/webhook[0]", send_resolved=True)


def event(
    labels: Mapping[str, str],
    status: Status = "firing",
    *,
    since: int = START,
    until: int | None = None,
    annotations: Mapping[str, str] | None = None,
    **more: Any,
) -> AlertEvent:
    """An alert event as a flow makes it; one that has resolved did so a minute after its start."""
    if status == "resolved" and until is None:
        until = since + MINUTE
    return alert_event(
        status=status,
        kind="rule",
        labels=labels,
        annotations=annotations or {},
        starts_at=since,
        ends_at=until,
        value=1.0,
        **more,
    )


def alert(labels: Mapping[str, str], status: Status = "firing", **more: Any) -> Alert:
    """The alert that such an event tells of."""
    made = event(labels, status, **more)
    return alert_of(made, encode_event(made))


def route(
    *,
    integrations: tuple[Integration, ...] = (OPS,),
    group_by: tuple[str, ...] = ("alertname",),
    group_wait: int = 30 * SECOND,
    group_interval: int = 5 * MINUTE,
    repeat_interval: int = 4 * HOUR,
) -> Route:
    """The one route, with Alertmanager's default times."""
    return Route(
        id="{}",
        key="{}",
        receiver=integrations[0].name.partition("/")[0],
        integrations=integrations,
        group_by=frozenset(group_by),
        group_wait=group_wait,
        group_interval=group_interval,
        repeat_interval=repeat_interval,
    )


class Receivers(Courier):
    """Takes notifications and confirms them at once, except for integrations in ``down``.

    Those in ``slow`` are reported when ``finish`` is called; those in ``mute`` take what they are
    sent, but their answers are lost.
    """

    def __init__(self) -> None:
        self.told: list[Notification] = []
        self.down: set[str] = set()
        self.slow: set[str] = set()
        self.mute: set[str] = set()
        self.patience = 0.0
        self.waiting: list[Notification] = []
        self._reports: list[DeliveryReport] = []

    def send(self, notification: Notification, patience: float) -> None:
        self.patience = patience
        if notification.integration in self.slow:
            self.waiting.append(notification)
        elif notification.integration in self.down:
            self._report(notification, "it is down")
        else:
            self.told.append(notification)
            mute = notification.integration in self.mute
            self._report(notification, "no answer" if mute else None, perhaps=mute)

    def finish(self) -> None:
        """Confirm what was slow."""
        for notification in self.waiting:
            self.told.append(notification)
            self._report(notification)
        self.waiting.clear()

    def _report(
        self, notification: Notification, failure: str | None = None, *, perhaps: bool = False
    ) -> None:
        report = DeliveryReport(notification.group, notification.integration, failure, perhaps)
        self._reports.append(report)

    def reports(self) -> list[DeliveryReport]:
        reports, self._reports = self._reports, []
        return reports

    def wait(self, seconds: float) -> None:
        self.finish()

    def close(self) -> None:
        pass


SNAPSHOT_INTERVAL = 5 * SECOND


class World:
    """A notifier with its clock and its receivers; time passes as the notifier asks to be woken.

    Every five seconds a snapshot is taken, from which it can go on after a crash.
    """

    def __init__(
        self,
        along: Route | None = None,
        resume: NotifierState | None = None,
        holds: Callable[[], Holds] = Holds,
        **options: Any,
    ) -> None:
        self.clock = ManualClock(START)
        self.receivers = Receivers()
        self.route = along or route()
        self._holds, self._options = holds, options
        self.notifier = self._notifier(resume)
        self._saved = self.notifier.snapshot()
        self._since: list[Alert] = []

    def restart(self, along: Route | None = None) -> None:
        """Go on from a snapshot, as after a crash: no report of what was under way comes."""
        state = self.notifier.snapshot()
        self.receivers.waiting.clear()
        self.receivers.reports()
        self.route = along or self.route
        self.notifier = self._notifier(state)

    def crash(self, along: Route | None = None) -> None:
        """Go on from the last snapshot, and read again what has come since."""
        self.receivers.waiting.clear()
        self.receivers.reports()
        self.route = along or self.route
        replayed, self._since = self._since, []
        self.notifier = self._notifier(self._saved)
        self.happen(*replayed)

    def _notifier(self, resume: NotifierState | None) -> Notifier:
        return Notifier(
            routing(self.route),
            self.receivers,
            self.clock,
            resume=resume,
            holds=self._holds(),
            **self._options,
        )

    def happen(self, *alerts: Alert) -> None:
        """Let events arrive now."""
        self._since += alerts
        self.notifier.settle()
        self.notifier.receive(alerts)
        self.notifier.flush_due()
        self.notifier.settle()

    def wait_until(self, when: int) -> None:
        """Let time pass, waking the notifier when it wants to be woken."""
        while (pause := self.clock.now() + SNAPSHOT_INTERVAL) < when:
            self._pass(pause)
        self._pass(when)

    def _pass(self, when: int) -> None:
        while (wake := self.notifier.next_wake()) is not None and wake <= when:
            self.clock.advance((wake - self.clock.now()) / SECOND)
            self.notifier.settle()
            self.notifier.flush_due()
            self.notifier.settle()
        self.clock.advance((when - self.clock.now()) / SECOND)
        self._saved, self._since = self.notifier.snapshot(), []
