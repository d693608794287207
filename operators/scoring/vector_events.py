"""What is said of signals of a service that are unusual together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from models.base import Judgement
from operators.contracts.alert import AlertEvent, alert_event, rfc3339
from operators.contracts.durations import format_duration
from operators.scoring.anomalies import AnomalyEvents, Subject, alert_labels
from operators.scoring.deploys import Deploy
from operators.scoring.episodes import Episode
from operators.scoring.signals import Vector, said

__all__ = ["SignalSeen", "VectorEvents"]

_ALERT_NAME: Final = "SignalsAnomaly"
_TOLD: Final = 0.1
"""Signals that contribute less are not named in the sentence."""


class SignalSeen(NamedTuple):
    """One signal of a vector in a window.

    ``value`` is None where it is missing, ``expected`` where nobody knows; ``part`` is what it
    contributes, of 1.
    """

    take: str
    value: float | None
    expected: float | None
    part: float
    unit: str


@dataclass(frozen=True, slots=True)
class VectorEvents:
    """Makes the events of one vector.

    Attributes:
        vector: it.
        common: what makes the events of single series, for what both have.
    """

    vector: Vector
    common: AnomalyEvents

    def changed(
        self,
        subject: Subject,
        why: str,
        incident: Episode,
        judgement: Judgement,
        signals: Mapping[str, SignalSeen],
        deploy: Deploy | None = None,
    ) -> AlertEvent:
        """Return the event of an alert that a vector made fire or resolve.

        Args:
            subject: the group, under the name of the vector.
            why: as in ``EpisodeChange``.
            incident: what is known of it.
            judgement: of the vector's distance.
            signals: by name.
            deploy: after which it began.
        """
        who = _who(subject)
        by_part = sorted(signals.items(), key=lambda one: (-one[1].part, one[0]))
        evidence: dict[str, Any] = {
            "score": judgement.score,
            "signals": {
                name: {"value": one.value, "expected": one.expected, "contribution": one.part}
                for name, one in by_part
            },
        }
        if why == "fires":
            summary = _fires(who, by_part, incident)
            evidence["statistic"] = self.common.reasons[int(judgement.reason)]
        elif why == "accepted":
            summary = f"signals of {who} stay as they are together: accepted as usual"
        else:
            summary = f"signals of {who} are together as usual again"
        if deploy is not None:
            evidence["deploy"] = {
                "service": deploy.service, "version": deploy.version,
                "at": rfc3339(deploy.effective),
            }  # fmt: skip
            if why != "back":
                summary += f", after {deploy.said}"
        ends_at = None if why == "fires" else incident.until
        return self._event(subject, incident, ends_at, summary, judgement.score, evidence)

    def fell_silent(self, subject: Subject, incident: Episode) -> AlertEvent:
        """Return the event of an alert that resolves for want of signals, after the last one."""
        return self._after_the_last(subject, incident, "no data any more")

    def judged_no_longer(self, subject: Subject, incident: Episode) -> AlertEvent:
        """Return the same of an alert whose vector is not in the settings any more."""
        return self._after_the_last(subject, incident, "not judged together any more")

    def _after_the_last(self, subject: Subject, incident: Episode, why: str) -> AlertEvent:
        ends_at = incident.seen + self.vector.window
        summary = f"signals of {_who(subject)}: {why}"
        return self._event(subject, incident, ends_at, summary, None, {})

    def _event(
        self, subject: Subject, incident: Episode, ends_at: int | None, summary: str,
        value: float | None, evidence: Mapping[str, Any],
    ) -> AlertEvent:  # fmt: skip
        labels = alert_labels(subject, self.common.severity)
        labels["vector"] = labels.pop("metric")
        return alert_event(
            status="firing" if ends_at is None else "resolved",
            kind="anomaly",
            labels=labels | {"alertname": _ALERT_NAME},
            annotations={"summary": summary},
            starts_at=incident.since,
            ends_at=ends_at,
            value=value,
            generator_url=self.common.link_of(subject, incident, ends_at),
            evidence={
                "window": format_duration(self.vector.window),
                "detector": self.vector.detector,
                "series": f"{subject.series:016x}",
                "recent": list(incident.recent),
            }
            | dict(evidence),
        )


def _fires(who: str, by_part: list[tuple[str, SignalSeen]], incident: Episode) -> str:
    named = [one for one in by_part if one[1].part >= _TOLD] or by_part[:1]
    told = []
    for name, one in named:
        text = f"{name} ({100 * one.part:.0f} %"
        if one.value is not None:
            text += f": {said(one.take, one.value, one.unit)}"
            if one.expected is not None:
                text += f", by the others {said(one.take, one.expected, one.unit)}"
        told.append(f"{text})")
    since = f"since {rfc3339(incident.since)[11:19]} UTC"
    if len(told) == 1:
        return f"{told[0]} of {who} is unusual beside the other signals, {since}"
    return f"{', '.join(told[:-1])} and {told[-1]} of {who} are unusual together, {since}"


def _who(subject: Subject) -> str:
    """Return the group for people: the service, and what else tells it from others."""
    labels: dict[str, str] = orjson.loads(subject.labels)
    first = labels.pop("service.name", None)
    rest = ", ".join(f"{name}={value}" for name, value in labels.items())
    if first is None:
        return rest
    return f"{first} ({rest})" if rest else first
