"""The topics that Headrace reads and writes, and how they ought to be."""

from __future__ import annotations

from typing import Final, NamedTuple

from flows.settings import Settings

__all__ = ["PlannedTopic", "planned_topics"]

_STATUS_CONFIGURATION: Final = {
    # The last heartbeat of each process is enough, and of a process that is gone not for ever.
    "cleanup.policy": "compact,delete",
    "retention.ms": str(7 * 86_400_000),
    # Only closed segments are compacted.
    "segment.ms": str(10 * 60_000),
    "min.cleanable.dirty.ratio": "0.1",
}


_INCIDENTS_CONFIGURATION: Final = {
    # The last state of each incident is enough; of one that is over, for thirty days.
    "cleanup.policy": "compact,delete",
    "retention.ms": str(30 * 86_400_000),
}


_EXCEPTIONS_CONFIGURATION: Final = {
    # The last state of each exception is enough; of one not seen for ninety days none.
    "cleanup.policy": "compact,delete",
    "retention.ms": str(90 * 86_400_000),
}

# Who asked for what, and what was reported of alerts, is kept for good; it is little.
_AUDIT_CONFIGURATION: Final = {"retention.ms": "-1"}
_MODELS_CONFIGURATION: Final = {"cleanup.policy": "compact"}
_PLACES_CONFIGURATION: Final = {"cleanup.policy": "compact"}
_CAUSES_CONFIGURATION: Final = {
    # The notifier reads all of it at its start, and looks at the last hour.
    "retention.ms": str(2 * 3_600_000),
    # Only closed segments are deleted.
    "segment.ms": str(10 * 60_000),
}


class PlannedTopic(NamedTuple):
    """A topic, and what it is for.

    Attributes:
        reads: a flow reads it.
        writes: a flow writes it.
    """

    name: str
    role: str
    partitions: int
    configuration: dict[str, str]
    reads: bool
    writes: bool


def planned_topics(settings: Settings) -> list[PlannedTopic]:
    """Return all topics, the inputs first; each name once.

    The status topic has one partition, so that it is read in one go.
    """
    topics, many = settings.topics, settings.topics.partitions
    plan = [
        PlannedTopic(entry.topic, "input", many, {}, reads=True, writes=False)
        for entry in settings.inputs
    ]
    if settings.inputs_of("logs"):
        plan += [
            PlannedTopic(topics.logs, "log records", many, {}, reads=True, writes=True),
            PlannedTopic(topics.templates, "log templates", many, {}, reads=False, writes=True),
            PlannedTopic(topics.log_counts, "log counts", many, {}, reads=False, writes=True),
            PlannedTopic(
                topics.exceptions,
                "exceptions",
                1,
                _EXCEPTIONS_CONFIGURATION,
                reads=False,
                writes=True,
            ),
            PlannedTopic(topics.audit, "audit", 1, _AUDIT_CONFIGURATION, reads=False, writes=True),
        ]
    if settings.inputs_of("traces") or settings.inputs_of("logs"):
        plan.append(
            PlannedTopic(
                topics.causes, "causes", 1, _CAUSES_CONFIGURATION, reads=False, writes=True
            )
        )
    if settings.inputs_of("traces") and settings.traces.sampling is not None:
        plan.append(PlannedTopic(topics.spans, "spans", many, {}, reads=True, writes=True))
    if settings.rules.active:
        plan += [
            PlannedTopic(topics.samples, "samples", many, {}, reads=True, writes=True),
            PlannedTopic(
                topics.rule_places,
                "rule places",
                1,
                _PLACES_CONFIGURATION,
                reads=False,
                writes=True,
            ),
        ]
    plan += [
        PlannedTopic(topics.rollups, "rollups", many, {}, reads=True, writes=True),
        PlannedTopic(topics.anomalies, "anomalies", many, {}, reads=True, writes=True),
        PlannedTopic(topics.alerts, "alerts", many, {}, reads=True, writes=True),
        PlannedTopic(topics.commands, "commands", 1, _AUDIT_CONFIGURATION, reads=True, writes=True),
        PlannedTopic(topics.notifications, "notifications", many, {}, reads=True, writes=True),
        PlannedTopic(
            topics.incidents, "incidents", 1, _INCIDENTS_CONFIGURATION, reads=True, writes=True
        ),
        PlannedTopic(topics.models, "models", 1, _MODELS_CONFIGURATION, reads=True, writes=True),
        PlannedTopic(topics.shadow, "shadow alerts", 1, {}, reads=False, writes=True),
        PlannedTopic(topics.dead_letter, "dead letters", many, {}, reads=False, writes=True),
        PlannedTopic(topics.late, "late points", many, {}, reads=False, writes=True),
        PlannedTopic(topics.status, "status", 1, _STATUS_CONFIGURATION, reads=False, writes=True),
    ]
    if topics.rollups_json is not None:
        subscribers = PlannedTopic(
            topics.rollups_json, "rollups as JSON", many, {}, reads=False, writes=True
        )
        plan.append(subscribers)
    return list({planned.name: planned for planned in reversed(plan)}.values())[::-1]
