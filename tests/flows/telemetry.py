"""OTLP metrics for the flow's tests, and a plain reader of them, one point after the other.

The reader is written from OpenTelemetry's data model, with its own protobuf classes: what it
finds is what the flow's results are compared with.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from confluent_kafka import Consumer, Producer, TopicPartition
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, MetricsData

from operators.kafka.clients import bounds
from tests.flows.histograms import HistogramPoint

Kind = Literal["gauge", "delta", "cumulative"]
SECOND = 1_000_000_000
TEMPORALITY = {
    "delta": AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA,
    "cumulative": AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE,
}


@dataclass(frozen=True)
class Point:
    """One measurement. ``kind`` is how it is to be rolled up; times in nanoseconds."""

    name: str
    ts: int
    value: float
    kind: Kind = "gauge"
    start: int = 0
    attributes: Mapping[str, str] = field(default_factory=dict)
    resource: Mapping[str, str] = field(default_factory=dict)
    scope: str = ""
    unit: str = ""


@dataclass(frozen=True)
class Histogram:
    """A point of a cumulative histogram, its buckets aside; times in nanoseconds."""

    name: str
    ts: int
    start: int
    count: int
    sum: float
    attributes: Mapping[str, str]
    resource: Mapping[str, str]


def encode(points: Iterable[Point | HistogramPoint]) -> bytes:
    """Return an OTLP message of these points."""
    data = MetricsData()
    for point in points:
        resource = data.resource_metrics.add()
        resource.resource.attributes.extend(_attributes(point.resource))
        scope = resource.scope_metrics.add()
        scope.scope.name = point.scope
        metric = scope.metrics.add(name=point.name, unit=point.unit)
        if isinstance(point, HistogramPoint):
            encoded = point.add_to(metric)
        elif point.kind == "gauge":
            encoded = metric.gauge.data_points.add(as_double=point.value)
        else:
            metric.sum.aggregation_temporality = TEMPORALITY[point.kind]
            metric.sum.is_monotonic = True
            encoded = metric.sum.data_points.add(as_double=point.value)
        encoded.time_unix_nano, encoded.start_time_unix_nano = point.ts, point.start
        encoded.attributes.extend(_attributes(point.attributes))
    return data.SerializeToString()


def decode(message: bytes) -> Iterator[Point]:
    """Yield the points that are to be rolled up: of gauges and sums, if they carry a value."""
    for resource in MetricsData.FromString(message).resource_metrics:
        resource_attributes = _texts(resource.resource.attributes)
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                which = metric.WhichOneof("data")
                if which not in ("gauge", "sum"):
                    continue
                kind: Kind = "gauge"
                if which == "sum" and metric.sum.aggregation_temporality == TEMPORALITY["delta"]:
                    kind = "delta"
                elif which == "sum" and metric.sum.is_monotonic:
                    kind = "cumulative"
                for point in getattr(metric, which).data_points:
                    if point.flags & 1 or point.WhichOneof("value") is None:
                        continue
                    yield Point(
                        name=metric.name,
                        ts=point.time_unix_nano,
                        value=float(getattr(point, point.WhichOneof("value"))),
                        kind=kind,
                        start=point.start_time_unix_nano,
                        attributes=_texts(point.attributes),
                        resource=resource_attributes,
                        scope=scope.scope.name,
                        unit=metric.unit,
                    )


def decode_histograms(message: bytes) -> Iterator[Histogram]:
    """Yield the points of cumulative histograms, of explicit and of exponential buckets."""
    for resource in MetricsData.FromString(message).resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                which = metric.WhichOneof("data")
                if which not in ("histogram", "exponential_histogram"):
                    continue
                data = getattr(metric, which)
                assert data.aggregation_temporality == TEMPORALITY["cumulative"]
                for point in data.data_points:
                    yield Histogram(
                        name=metric.name,
                        ts=point.time_unix_nano,
                        start=point.start_time_unix_nano,
                        count=point.count,
                        sum=point.sum,
                        attributes=_texts(point.attributes),
                        resource=_texts(resource.resource.attributes),
                    )


def decode_json_histograms(message: bytes) -> Iterator[Histogram]:
    """Yield the points of cumulative histograms of an OTLP message in JSON."""
    for resource in _json_resources(message):
        for scope in resource["scopeMetrics"]:
            for metric in scope["metrics"]:
                data = metric.get("histogram") or metric.get("exponentialHistogram")
                assert data is None or data["aggregationTemporality"] == 2
                for point in data["dataPoints"] if data else ():
                    yield Histogram(
                        name=metric["name"],
                        ts=int(point["timeUnixNano"]),
                        start=int(point["startTimeUnixNano"]),
                        count=int(point["count"]),
                        sum=float(point["sum"]),
                        attributes=_json_texts(point["attributes"]),
                        resource=_json_texts(resource["resource"]["attributes"]),
                    )


def _json_resources(message: bytes) -> list[dict[str, Any]]:
    document = json.loads(message)
    # Rotel leaves the outer object away.
    return document if isinstance(document, list) else document["resourceMetrics"]


def decode_json(message: bytes) -> Iterator[Point]:
    """Yield the points of an OTLP message in JSON. Whole numbers may be texts there."""
    for resource in _json_resources(message):
        resource_attributes = _json_texts(resource["resource"]["attributes"])
        for scope in resource["scopeMetrics"]:
            for metric in scope["metrics"]:
                data = metric.get("sum") or metric.get("gauge") or {"dataPoints": []}
                kind: Kind = "gauge"
                if data.get("aggregationTemporality") == 1:
                    kind = "delta"
                elif data.get("aggregationTemporality") == 2 and data.get("isMonotonic"):
                    kind = "cumulative"
                for point in data["dataPoints"]:
                    yield Point(
                        name=metric["name"],
                        ts=int(point["timeUnixNano"]),
                        value=float(point["asInt"] if "asInt" in point else point["asDouble"]),
                        kind=kind,
                        start=int(point.get("startTimeUnixNano", 0)),
                        attributes=_json_texts(point["attributes"]),
                        resource=resource_attributes,
                        scope=scope["scope"]["name"],
                        unit=metric["unit"],
                    )


def _json_texts(attributes: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    found = {}
    for attribute in attributes:
        ((_, value),) = attribute["value"].items()
        found[attribute["key"]] = value if isinstance(value, str) else json.dumps(value)
    return found


def _attributes(values: Mapping[str, str]) -> list[KeyValue]:
    return [KeyValue(key=k, value=AnyValue(string_value=v)) for k, v in values.items()]


def _texts(attributes: Iterable[KeyValue]) -> dict[str, str]:
    return {attribute.key: _text(attribute.value) for attribute in attributes}


def _text(value: AnyValue) -> str:
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return "true" if value.bool_value else "false"
        case "int_value":
            return str(value.int_value)
        case other:
            raise NotImplementedError(f"attributes of these tests have no {other}")


class Feeder(threading.Thread):
    """Writes messages to the partitions of a topic in turn.

    Args:
        pace: messages a second; as fast as can be if left out.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        topic: str,
        messages: Iterable[bytes],
        *,
        partitions: int = 1,
        pace: float | None = None,
    ) -> None:
        super().__init__(daemon=True)
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "linger.ms": 5,
                "compression.type": "lz4",
                "message.max.bytes": 16 << 20,
                "queue.buffering.max.kbytes": 128 << 10,
            }
        )
        self._topic, self._messages = topic, messages
        self._partitions, self._pace = partitions, pace
        self._error: BaseException | None = None

    def run(self) -> None:
        """Write all, and wait until the broker has confirmed it."""
        try:
            began = time.monotonic()
            for number, message in enumerate(self._messages):
                if self._pace and (ahead := began + number / self._pace - time.monotonic()) > 0:
                    time.sleep(ahead)
                self._produce(message, number % self._partitions)
            left = self._producer.flush(120)
            self._error = TimeoutError(f"{left} messages were not written") if left else None
        except BaseException as error:
            self._error = error

    def finish(self, timeout: float = 180) -> None:
        """Wait for the end."""
        self.join(timeout)
        assert not self.is_alive(), "messages are still being written"
        if self._error is not None:
            raise self._error

    def _produce(self, message: bytes, partition: int) -> None:
        while True:
            try:
                self._producer.produce(self._topic, message, partition=partition)
            except BufferError:
                self._producer.poll(0.1)
            else:
                self._producer.poll(0)
                return


def feed(
    bootstrap_servers: str, topic: str, messages: Iterable[bytes], *, partitions: int = 1
) -> None:
    """Write messages to the partitions in turn, and wait for the broker to confirm them."""
    feeder = Feeder(bootstrap_servers, topic, messages, partitions=partitions)
    feeder.start()
    feeder.finish()


@dataclass(frozen=True)
class Record:
    """A message as it stands in Kafka."""

    partition: int
    offset: int
    key: bytes
    value: bytes
    timestamp: int = 0
    """Milliseconds since the Unix epoch."""


def records(bootstrap_servers: str, topic: str) -> list[Record]:
    """Return all that is in a topic now, partition by partition; nothing if there is no topic."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "reader-of-tests"})
    try:
        known = consumer.list_topics(topic, timeout=20).topics[topic]
        if known.error is not None:
            return []
        found: list[Record] = []
        for number in sorted(known.partitions):
            _, end = bounds(consumer, TopicPartition(topic, number), 20)
            consumer.assign([TopicPartition(topic, number, 0)] if end else [])
            at = 0
            while at < end:
                (message,) = consumer.consume(1, timeout=20) or (None,)
                assert message is not None, f"{topic}/{number} ends at {end}, and not at {at}"
                assert message.error() is None, message.error()
                at = (message.offset() or 0) + 1
                key, value = message.key() or b"", message.value() or b""
                found.append(Record(number, at - 1, key, value, message.timestamp()[1]))
        return found
    finally:
        consumer.close()


def values_of(bootstrap_servers: str, topic: str) -> list[bytes]:
    """Return the values of what is in a topic now, partition by partition."""
    return [record.value for record in records(bootstrap_servers, topic)]
