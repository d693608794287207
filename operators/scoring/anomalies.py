"""What is said of an anomaly: the alert event of a series whose rollups stand out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import orjson

from models.base import Judgement
from operators.contracts.alert import AlertEvent, Status, alert_event, rfc3339
from operators.contracts.durations import format_duration
from operators.contracts.frames import DEFAULT_TENANT
from operators.scoring.deploys import Deploy
from operators.scoring.episodes import Episode

__all__ = ["AnomalyEvents", "Subject", "alert_labels"]

_ALERT_NAME: Final = "MetricAnomaly"
_RESERVED: Final = re.compile(r"(exported_)*(alertname|severity|metric|tenant)")
_AROUND: Final = 3600 * 10**9
"""How long before an incident's start a link begins."""
_UNITS: Final[Mapping[str, str]] = {"": "", "1": "", "By": " B", "%": " %"}


class Subject(NamedTuple):
    """The series that an event is about.

    ``labels`` is its JSON, ``unit`` says what is judged, ``series`` is its id.
    """

    name: str
    labels: str
    tenant: str
    unit: str = ""
    series: int = 0

    @property
    def service(self) -> str:
        """Name of the service, empty if there is none."""
        return str(orjson.loads(self.labels).get("service.name", ""))


def alert_labels(subject: Subject, severity: str) -> dict[str, str]:
    """Return the labels of a series' alert: no two series have the same.

    A label of the series that is called as one of the alert's own gets ``exported_`` before its
    name, as in Prometheus; and so does one that is called like a label renamed in this way.

    >>> labels = alert_labels(Subject("n", '{"severity": "error"}', "default"), "warning")
    >>> labels["exported_severity"], labels["severity"]
    ('error', 'warning')
    """
    own: dict[str, str] = orjson.loads(subject.labels)
    labels = {
        f"exported_{name}" if _RESERVED.fullmatch(name) else name: value
        for name, value in own.items()
    }
    labels |= {"alertname": _ALERT_NAME, "metric": subject.name, "severity": severity}
    if subject.tenant != DEFAULT_TENANT:
        labels["tenant"] = subject.tenant
    return labels


@dataclass(frozen=True, slots=True)
class AnomalyEvents:
    """Makes the events of one flow.

    Attributes:
        window: the resolution that is judged, in nanoseconds.
        detector: its name.
        severity: label of the alerts.
        reasons: names of the detector's statistics.
        link: URL of a dashboard with ``{metric}``, ``{service}``, ``{tenant}``, ``{from}`` and
            ``{to}`` (milliseconds) in it; empty for none.
    """

    window: int
    detector: str
    severity: str
    reasons: tuple[str, ...] = ("value",)
    link: str = ""

    def changed(
        self, subject: Subject, why: str, incident: Episode, judgement: Judgement, value: float,
        deploy: Deploy | None = None,
    ) -> AlertEvent:  # fmt: skip
        """Return the event of an alert that a judged value made fire or resolve.

        Args:
            subject: the series.
            why: as in ``Change``.
            incident: what is known of it.
            judgement: of the value.
            value: that which changed it.
            deploy: after which the incident began.
        """
        status: Status = "firing" if why == "fires" else "resolved"
        lower, upper = judgement.lower, judgement.upper
        if why == "back" and isfinite(incident.lower):
            lower, upper = incident.lower, incident.upper
        evidence: dict[str, Any] = {
            "score": judgement.score,
            "expected": _number(judgement.expected),
            "lower": _number(lower),
            "upper": _number(upper),
        }
        if why == "fires":
            evidence["statistic"] = reason = self.reasons[int(judgement.reason)]
            said = self._fires(subject, incident, judgement, value, reason)
        elif why == "accepted":
            said = (
                f"{_where(subject)} stays at {_amount(value, subject)}: accepted as the new level"
            )
        else:
            said = f"{_where(subject)} is back to normal: {_amount(value, subject)}"
            if isfinite(lower):
                said += f", as was expected before ({_range(lower, upper, subject)})"
        if deploy is not None:
            evidence["deploy"] = {
                "service": deploy.service,
                "version": deploy.version,
                "at": rfc3339(deploy.effective),
            }
            if why != "back":
                said += f", after {deploy.said}"
        return self._event(
            subject,
            status,
            incident,
            ends_at=incident.until if status == "resolved" else None,
            summary=said,
            value=value,
            evidence=evidence,
        )

    def _fires(
        self, subject: Subject, incident: Episode, judgement: Judgement, value: float, reason: str
    ) -> str:
        since = f"since {rfc3339(incident.since)[11:19]} UTC"
        said = f"{_where(subject)} is {_amount(value, subject)}"
        lower, upper = judgement.lower, judgement.upper
        if isfinite(incident.lower) and not lower <= incident.lower <= upper:
            lower, upper = incident.lower, incident.upper
        if isfinite(lower) and not lower <= value <= upper:
            side = "above" if value > upper else "below"
            return f"{said}, {side} the expected {_range(lower, upper, subject)}, {since}"
        how = "does not move any more" if reason == "stands still" else f"is unusual ({reason})"
        if isfinite(judgement.expected):
            return f"{said} and {how}; usual is {_amount(judgement.expected, subject)}, {since}"
        return f"{said} and {how}, {since}"

    def fell_silent(self, subject: Subject, incident: Episode) -> AlertEvent:
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
        incident: Episode,
        *,
        ends_at: int | None,
        summary: str,
        value: float | None,
        evidence: dict[str, Any],
    ) -> AlertEvent:
        return alert_event(
            status=status,
            kind="anomaly",
            labels=alert_labels(subject, self.severity),
            annotations={"summary": summary},
            starts_at=incident.since,
            ends_at=ends_at,
            value=value,
            generator_url=self.link_of(subject, incident, ends_at),
            evidence={
                "window": format_duration(self.window),
                "detector": self.detector,
                "series": f"{subject.series:016x}",
                "recent": list(incident.recent),
            }
            | evidence,
        )

    def link_of(self, subject: Subject, incident: Episode, ends_at: int | None) -> str:
        """Return the URL of the dashboard around an incident, empty if there is none."""
        if not self.link:
            return ""
        own = orjson.loads(subject.labels)
        until = (ends_at or incident.since) + _AROUND
        places = {
            "metric": subject.name,
            "service": own.get("service.name", ""),
            "tenant": subject.tenant,
            "from": str((incident.since - _AROUND) // 10**6),
            "to": str(until // 10**6),
        }
        found = self.link
        for place, text in places.items():
            found = found.replace(f"{{{place}}}", quote(text, safe=""))
        return found


def _number(value: float) -> float | None:
    return value if isfinite(value) else None


def _amount(value: float, subject: Subject) -> str:
    return f"{value:.4g}{_UNITS.get(subject.unit, f' {subject.unit}')}"


def _range(lower: float, upper: float, subject: Subject) -> str:
    return f"{lower:.4g} to {_amount(upper, subject)}"


def _where(subject: Subject) -> str:
    """Return the metric, whose it is, and all labels that tell the series apart."""
    labels = orjson.loads(subject.labels)
    said = subject.name
    for owner in ("service.name", "host.name"):
        if labels.get(owner):
            said += f" of {labels.pop(owner)}"
            break
    rest = ", ".join(f"{name}={value}" for name, value in labels.items())
    return f"{said} ({rest})" if rest else said
