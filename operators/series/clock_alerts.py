"""The operator that says whose clock is wrong: one keyed state a partition.

The alert ``WrongClock`` names the partition, how far its points are ahead of the messages that
brought them, what was left out for its time, and a series that was wrong. It resolves when nothing
was wrong for a minute.
"""

from __future__ import annotations

from typing import Any, Final

from operators.bytewax import KeyedStream, keyed
from operators.contracts.alert import AlertEvent, alert_event
from operators.contracts.engine import KeyedLogic
from operators.contracts.events import event_frame
from operators.contracts.items import Events, Timed

__all__ = ["ClockLogic", "clock_alerts"]

_VERSION: Final = 1
_ALERT_NAME: Final = "WrongClock"
_CALM: Final = 60_000_000_000
"""Nanoseconds without a fault after which the alert resolves."""


def clock_alerts(step_id: str, up: KeyedStream[Timed], severity: str) -> KeyedStream[Events]:
    """Raise alerts about clocks.

    Args:
        step_id: name of the step, and of its state.
        up: reports by partition.
        severity: label of the alerts.
    """

    def build(state: dict[str, Any] | None) -> ClockLogic:
        return ClockLogic(severity, state)

    return keyed(step_id, up, build)


class ClockLogic(KeyedLogic[Timed, Events]):
    """Follows the reports of one partition."""

    def __init__(self, severity: str, state: dict[str, Any] | None) -> None:
        self._severity = severity
        self._since: int = state["since"] if state else 0
        self._until: int = state["until"] if state else 0

    @property
    def finished(self) -> bool:
        """Whether nothing is wrong."""
        return not self._since

    def on_batch(self, items: list[Timed]) -> list[Events]:
        """Fire at the first fault; resolve after a minute without one."""
        events: list[tuple[AlertEvent, int]] = []
        for report in items:
            if report.since:
                self._until = max(self._until, report.at)
                if not self._since:
                    self._since = report.since
                    events.append((self._event("firing", report), report.since))
            elif self._since and report.at - self._until >= _CALM:
                events.append((self._event("resolved", report), report.at))
                self._since = self._until = 0
        return [Events(event_frame(events))] if events else []

    def snapshot(self) -> dict[str, Any]:
        """Return plain data, with its version."""
        return {"version": _VERSION, "since": self._since, "until": self._until}

    def _event(self, status: Any, report: Timed) -> AlertEvent:
        topic, _, partition = report.place.rpartition("/")
        name, labels = report.example
        return alert_event(
            status=status,
            kind="clock",
            labels={
                "alertname": _ALERT_NAME,
                "severity": self._severity,
                "topic": topic,
                "partition": partition,
            },
            annotations={"summary": _summary(status, report)},
            starts_at=self._since,
            ends_at=self._until if status == "resolved" else None,
            value=report.furthest / 1e9,
            evidence={
                "ahead": report.ahead,
                "seconds_ahead": report.furthest / 1e9,
                "refused": dict(report.refused),
                "metric": name,
                "labels": labels,
            },
        )


def _summary(status: str, report: Timed) -> str:
    if status == "resolved":
        return f"{report.place}: no time was wrong for a minute"
    said = []
    if report.ahead:
        said.append(
            f"{report.ahead} points are ahead of their messages, by up to "
            f"{report.furthest / 1e9:.3g} s; they do not move event time"
        )
    if report.refused:
        refused = ", ".join(f"{count} {reason}" for reason, count in report.refused.items())
        said.append(f"points are left out for their time: {refused}")
    name, labels = report.example
    return f"{report.place}: {'; '.join(said)}. One of them is of {name}{labels}"
