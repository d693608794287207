"""The topics that Headrace reads and writes, and how they ought to be."""

from __future__ import annotations

from typing import Final, NamedTuple

from flows.settings import Settings

__all__ = ["PlannedTopic", "planned_topics"]

_MESSAGE_BYTES: Final = 16 << 20
"""What Headrace's producers allow; brokers allow 1 MiB unless told otherwise."""
_STATUS_CONFIGURATION: Final = {
    # The last heartbeat of each process is enough, and of a process that is gone not for ever.
    "cleanup.policy": "compact,delete",
    "retention.ms": str(7 * 86_400_000),
    # Only closed segments are compacted.
    "segment.ms": str(10 * 60_000),
    "min.cleanable.dirty.ratio": "0.1",
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

    What is late in a batch is one message, which may be larger than a broker takes by default. The
    status topic has one partition, so that it is read in one go.
    """
    topics, many = settings.topics, settings.topics.partitions
    large = {"max.message.bytes": str(_MESSAGE_BYTES)}
    plan = [
        PlannedTopic(entry.topic, "input", many, {}, reads=True, writes=False)
        for entry in settings.inputs
    ]
    plan += [
        PlannedTopic(topics.rollups, "rollups", many, {}, reads=False, writes=True),
        PlannedTopic(topics.alerts, "alerts", many, {}, reads=True, writes=True),
        PlannedTopic(topics.dead_letter, "dead letters", many, {}, reads=False, writes=True),
        PlannedTopic(topics.late, "late points", many, large, reads=False, writes=True),
        PlannedTopic(topics.status, "status", 1, _STATUS_CONFIGURATION, reads=False, writes=True),
    ]
    return list({planned.name: planned for planned in reversed(plan)}.values())[::-1]
