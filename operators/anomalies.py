"""What is said of an anomaly: the alert event of a series whose rollups stand out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from models.base import Judgement
from operators.alerts import AlertEvent, Status, alert_event
from operators.durations import format_duration
from operators.frames import DEFAULT_TENANT
from operators.incidents import Incident

__all__ = ["AnomalyEvents", "Subject"]

_ALERT_NAME: Final = "MetricAnomaly"


class Subject(NamedTuple):
    """The series that an event is about; ``labels`` is its JSON."""

    name: str
    labels: str
    tenant: str


@dataclass(frozen=True, slots=True)
class AnomalyEvents:
    """Makes the events of one flow.

    Attributes:
        window: the resolution that is judged, in nanoseconds.
        detector: its name.
        severity: label of the alerts.
    """

    window: int
    detector: str
    severity: str

    def changed(
        self,
        subject: Subject,
        status: Status,
        incident: Incident,
        judgement: Judgement,
        value: float,
    ) -> AlertEvent:
        """Return the event of an alert that a judged value made fire or resolve."""
        return self._event(
            subject,
            status,
            incident,
            ends_at=incident.until if status == "resolved" else None,
            summary=_summary(subject, status, judgement, value),
            value=value,
            evidence=judgement._asdict(),
        )

    def fell_silent(self, subject: Subject, incident: Incident) -> AlertEvent:
        """Return the event of an alert that resolves for want of rollups, after the last one."""
        return self._event(
            subject,
            "resolved",
            incident,
            ends_at=incident.seen + self.window,
            summary=f"{_where(subject)}: no data any more",
            value=None,
            evidence={},
        )

    def _event(
        self,
        subject: Subject,
        status: Status,
        incident: Incident,
        *,
        ends_at: int | None,
        summary: str,
        value: float | None,
        evidence: dict[str, Any],
    ) -> AlertEvent:
        labels = orjson.loads(subject.labels)
        labels |= {"alertname": _ALERT_NAME, "metric": subject.name, "severity": self.severity}
        if subject.tenant != DEFAULT_TENANT:
            labels["tenant"] = subject.tenant
        return alert_event(
            status=status,
            kind="anomaly",
            labels=labels,
            annotations={"summary": summary},
            starts_at=incident.since,
            ends_at=ends_at,
            value=value,
            evidence={
                "window": format_duration(self.window),
                "detector": self.detector,
                "recent": list(incident.recent),
            }
            | evidence,
        )


def _where(subject: Subject) -> str:
    labels = orjson.loads(subject.labels)
    where = labels.get("service.name") or labels.get("host.name")
    return f"{subject.name} of {where}" if where else subject.name


def _summary(subject: Subject, status: Status, judgement: Judgement, value: float) -> str:
    expected = f"{judgement.lower:.4g} to {judgement.upper:.4g}"
    if status == "resolved":
        return f"{_where(subject)} is back to normal: {value:.4g}, expected {expected}"
    side = "above" if value > judgement.expected else "below"
    return f"{_where(subject)} is {value:.4g}, {side} the expected {expected}"
