"""Where the frames of a flow go: topics, and nothing else. Flow ``storage`` carries them on.

Every writer waits for the brokers, and what they refuse for good goes to the dead-letter topic.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from flows.settings import Settings
from operators.bytewax import KeyedStream, Stream, op, shard_number, write
from operators.contracts.batch_form import (
    LOG_BATCHES,
    ROLLUP_BATCHES,
    SAMPLE_BATCHES,
    SPAN_BATCHES,
    BatchForm,
)
from operators.contracts.items import (
    Events,
    Explanations,
    Grouped,
    Kept,
    Late,
    Recorded,
    Rejected,
    Scored,
    ShadowEvents,
    Tapped,
)
from operators.contracts.service_changes import change_messages
from operators.notifying.incidents import IncidentChange
from operators.notifying.journal import Record, messages_of
from operators.traces.rankings import ranking_messages
from operators.windows.late import late_messages
from sinks.base import Sink
from sinks.dead_letter import DeadLetter
from sinks.kafka import KafkaDestination, alert_messages, batch_messages
from sinks.log_messages import count_messages, exception_messages, template_messages

__all__ = ["Outputs", "dead_letter"]

Sharded = tuple[int, pl.DataFrame]
"""A frame, and the shard that it is of."""


class Outputs:
    """Connects the streams of ``flow`` to the topics that the settings name."""

    def __init__(self, settings: Settings, flow: str) -> None:
        self._settings = settings
        self._flow = flow
        self._topics = settings.topics

    def rollups(self, scored: KeyedStream[Scored]) -> None:
        """Write rollups to their topic, by shard, and the anomalous ones to theirs as well."""
        frames = op.map("scores", scored, _of_shard)
        write("rollups_topic", frames, self._batches(self._topics.rollups))
        anomalous = op.filter_map("anomalous", frames, _anomalous)
        write("anomalies_topic", anomalous, self._batches(self._topics.anomalies))

    def alerts(self, events: Stream[Events | ShadowEvents]) -> None:
        """Write alert events to the alerts topic, and those of a model in shadow to their own."""
        topics = {Events: self._topics.alerts, ShadowEvents: self._topics.shadow}
        messages = op.map(
            "alert_messages", events, lambda item: alert_messages(item.frame, topics[type(item)])
        )
        write("alerts_topic", messages, self._sink())

    def samples(self, tapped: Stream[Tapped]) -> None:
        """Write what rules select, all of a partition to one partition."""
        frames = op.map("samples", tapped, lambda item: (item.spread, item.frame))
        write("samples_topic", frames, self._batches(self._topics.samples, SAMPLE_BATCHES))

    def recorded(self, recorded: Stream[Recorded]) -> None:
        """Write what recording rules gave as rollups, by shard."""
        frames = op.map("recorded_rollups", recorded, lambda item: (item.shard, item.frame))
        write("recorded_topic", frames, self._batches(self._topics.rollups))

    def logs(self, grouped: Stream[Grouped]) -> None:
        """Write records, changes of templates, counts and exceptions, each to its topic."""
        topics = self._topics
        records = op.map("log_records", grouped, lambda item: (item.shard, item.records))
        write("logs_topic", records, self._batches(topics.logs, LOG_BATCHES))
        changes = op.map(
            "template_messages",
            grouped,
            lambda item: template_messages(item.templates, topics.templates),
        )
        write("templates_topic", changes, self._sink())
        counts = op.map(
            "count_messages", grouped, lambda item: count_messages(item.counts, topics.log_counts)
        )
        write("log_counts_topic", counts, self._sink())
        exceptions = op.map(
            "exception_messages",
            grouped,
            lambda item: exception_messages(item.exceptions, topics.exceptions),
        )
        write("exceptions_topic", exceptions, self._sink())

    def spans(self, kept: Stream[Kept]) -> None:
        """Write spans that are kept to their topic, by shard."""
        frames = op.map("kept_spans", kept, lambda item: (item.shard, item.spans))
        write("spans_topic", frames, self._batches(self._topics.spans, SPAN_BATCHES))

    def causes(self, found: Stream[Explanations]) -> None:
        """Write what is behind services that are worse, how they changed and whom they call to its topic."""
        topic = self._topics.causes

        def messages(item: Explanations) -> pl.DataFrame:
            changes = change_messages(item.changes, item.calls, topic)
            return pl.concat([ranking_messages(item.rankings, topic), changes])

        write("causes_topic", op.map("causes_messages", found, messages), self._sink())

    def late(self, late: Stream[Late]) -> None:
        """Keep what was refused for its time."""
        topic = self._topics.late
        messages = op.map("late_messages", late, lambda item: late_messages(item.frame, topic))
        write("late_topic", messages, self._sink())

    def notifications(self, records: Stream[Record]) -> None:
        """Write what came of notifications to their topic."""
        topic = self._topics.notifications
        messages = op.map(
            "notification_messages", records, lambda record: messages_of(record, topic)
        )
        write("notifications_topic", messages, self._sink())

    def incidents(self, changes: Stream[IncidentChange]) -> None:
        """Write incidents to their topic, whenever one changes."""
        topic = self._topics.incidents
        messages = op.map("incident_messages", changes, lambda change: change.message(topic))
        write("incidents_topic", messages, self._sink())

    def dead_letters(self, rejected: Stream[Rejected]) -> None:
        """Keep what can't be decoded."""
        frames = op.map("rejects", rejected, lambda item: item.frame)
        write("dead_letter_topic", frames, lambda: Sink(dead_letter(self._settings, self._flow)))

    def _sink(self) -> Callable[[], Sink[pl.DataFrame]]:
        settings, flow = self._settings, self._flow
        return lambda: Sink(KafkaDestination(settings.kafka).connect(), dead_letter(settings, flow))

    def _batches(self, topic: str, form: BatchForm = ROLLUP_BATCHES) -> Callable[[], Sink[Sharded]]:
        settings, flow = self._settings, self._flow
        groups = settings.topics.partitions

        def gather(items: list[Sharded]) -> pl.DataFrame | None:
            return batch_messages(items, form, topic, groups)

        def connect() -> Sink[Sharded]:
            destination = KafkaDestination(settings.kafka, compressed=True).connect()
            return Sink(destination, dead_letter(settings, flow), gather=gather)

        return connect


def dead_letter(settings: Settings, flow: str) -> DeadLetter:
    """Return where what ``flow`` can't use is kept."""
    return DeadLetter(settings.kafka, settings.topics.dead_letter, flow)


def _of_shard(item: tuple[str, Scored]) -> Sharded:
    return shard_number(item[0]), item[1].frame


def _anomalous(item: Sharded) -> Sharded | None:
    shard, frame = item
    score = frame["score"]
    if score.null_count() == len(score) or not (score >= 1).any():
        return None
    return shard, frame.filter(score >= 1)
