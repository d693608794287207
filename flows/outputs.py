"""Where the frames of a flow go, made from the settings. To add a sink: write its file, and a line.

Every sink waits for its backend, and what a backend refuses for good goes to the dead-letter
topic.
"""

from __future__ import annotations

from collections.abc import Callable

import bytewax.operators as op
from bytewax.dataflow import Stream

from flows.settings import Settings
from operators.decoding import Rejected
from operators.events import Events
from operators.late import late_messages
from operators.scoring import Scored
from operators.windows import Late
from sinks.base import Destination, Sink
from sinks.dead_letter import DeadLetter
from sinks.documents import alert_documents, anomaly_documents
from sinks.elasticsearch import Elasticsearch
from sinks.influxdb import InfluxDB
from sinks.kafka import KafkaDestination, alert_messages, rollup_messages
from sinks.lake import Lake

__all__ = ["Outputs"]


class Outputs:
    """Connects the streams of ``flow`` to the sinks that the settings name."""

    def __init__(self, settings: Settings, flow: str) -> None:
        self._settings = settings
        self._flow = flow
        self._topics = settings.topics

    def rollups(self, scored: Stream[Scored]) -> None:
        """Write rollups to every database, to the rollups topic, and the anomalous as documents."""
        sinks = self._settings.sinks
        frames = op.map("scores", scored, lambda item: item.frame)
        if (influxdb := sinks.influxdb) is not None:
            op.output("influxdb", frames, self._sink(lambda: InfluxDB(influxdb)))
        if (lake := sinks.lake) is not None:
            op.output("lake", frames, self._sink(lambda: Lake(lake)))
        topic = self._topics.rollups
        messages = op.map("rollup_messages", frames, lambda frame: rollup_messages(frame, topic))
        op.output("rollups_topic", messages, self._kafka())
        if (elastic := sinks.elasticsearch) is not None:
            namespace = elastic.namespace
            documents = op.map(
                "anomalies", frames, lambda frame: anomaly_documents(frame, namespace)
            )
            op.output("elasticsearch_anomalies", documents, self._elasticsearch())

    def alerts(self, events: Stream[Events]) -> None:
        """Write alert events to the alerts topic, and as documents."""
        frames = op.map("alert_events", events, lambda item: item.frame)
        topic = self._topics.alerts
        messages = op.map("alert_messages", frames, lambda frame: alert_messages(frame, topic))
        op.output("alerts_topic", messages, self._kafka())
        if (elastic := self._settings.sinks.elasticsearch) is not None:
            namespace = elastic.namespace
            documents = op.map("alerts", frames, lambda frame: alert_documents(frame, namespace))
            op.output("elasticsearch_alerts", documents, self._elasticsearch())

    def late(self, late: Stream[Late]) -> None:
        """Keep what was refused for its time."""
        topic = self._topics.late
        messages = op.map("late_messages", late, lambda item: late_messages(item.frame, topic))
        op.output("late_topic", messages, self._kafka())

    def dead_letters(self, rejected: Stream[Rejected]) -> None:
        """Keep what can't be decoded."""
        frames = op.map("rejects", rejected, lambda item: item.frame)
        op.output("dead_letter_topic", frames, Sink(self._dead_letter))

    def _sink(self, connect: Callable[[], Destination]) -> Sink:
        return Sink(connect, self._dead_letter)

    def _kafka(self) -> Sink:
        return self._sink(lambda: KafkaDestination(self._settings.kafka))

    def _elasticsearch(self) -> Sink:
        settings = self._settings.sinks.elasticsearch
        if settings is None:
            raise ValueError("sinks.elasticsearch is not in the settings")
        return self._sink(lambda: Elasticsearch(settings))

    def _dead_letter(self) -> DeadLetter:
        return DeadLetter(self._settings.kafka, self._topics.dead_letter, self._flow)
