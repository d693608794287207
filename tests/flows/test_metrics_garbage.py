"""Messages that are no telemetry: each ends in the dead-letter topic, and harms no other."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Iterator

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

from tests.backends.influxdb import InfluxdbAccess
from tests.backends.topics import make_topics
from tests.flows.conftest import FlowFactory
from tests.flows.expectation import differences, from_points
from tests.flows.telemetry import SECOND, Point, encode, feed

BEGIN = 1_700_000_000 * SECOND
PARTITIONS = 2


def points() -> Iterator[Point]:
    for second in range(40):
        for host in ("a", "b"):
            yield Point(
                name="requests",
                ts=BEGIN + second * SECOND,
                value=float(second * 3 + (host == "b")),
                kind="cumulative",
                start=BEGIN - SECOND,
                attributes={"route": "/pay"},
                resource={"service.name": "shop", "host.name": host},
            )


GOOD = list(points())
RANDOM = random.Random(7)
TRUNCATED = encode(GOOD[:5])[:-3]
PROTOBUF_GARBAGE = {
    "random bytes": b"\xff" + RANDOM.randbytes(300),
    "a truncated message": TRUNCATED,
    "text": b"cpu.load;host=a 0.5 1700000000",
    "5 MB of noise": b"\xff" + RANDOM.randbytes(5_000_000),
}
JSON_GARBAGE = {
    "nothing": b"",
    "random bytes": b"\xff" + RANDOM.randbytes(300),
    "a truncated document": b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"x"',
    "an array": b"[1, 2, 3]",
    "a string": b'"resourceMetrics"',
    "lists where objects belong": b'{"resourceMetrics":[["scopeMetrics"]]}',
    "an object where a list belongs": b'{"resourceMetrics":{"scopeMetrics":7}}',
    "points that are text": (
        b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"x","gauge":'
        b'{"dataPoints":"none"}}]}]}]}'
    ),
    "5 MB of noise": b"\xff" + RANDOM.randbytes(5_000_000),
}


@pytest.fixture
def wide_topic(kafka: str) -> str:
    """A topic whose messages may be larger than brokers take by default."""
    name = f"garbage-{uuid.uuid4().hex[:12]}"
    make_topics(kafka, [name], PARTITIONS, config={"max.message.bytes": str(16 << 20)})
    return name


def as_protobuf(some: list[Point]) -> bytes:
    return encode(some)


def as_json(some: list[Point]) -> bytes:
    return json.dumps(MessageToDict(MetricsData.FromString(encode(some)))).encode()


@pytest.mark.parametrize(
    ("encoding", "written_as", "garbage"),
    [
        pytest.param("otlp_proto", as_protobuf, PROTOBUF_GARBAGE, id="protobuf"),
        pytest.param("otlp_json", as_json, JSON_GARBAGE, id="json"),
    ],
)
def test_garbage_ends_in_the_dead_letter_topic_and_the_rest_in_the_rollups(
    new_flow: FlowFactory,
    wide_topic: str,
    influxdb: InfluxdbAccess,
    encoding: str,
    written_as: Callable[[list[Point]], bytes],
    garbage: dict[str, bytes],
) -> None:
    flow = new_flow(reads=wide_topic)
    flow.settings["inputs"] = [{"topic": wide_topic, "encoding": encoding}]
    flow.write_to_influxdb(influxdb)
    good = [written_as(GOOD[at : at + 8]) for at in range(0, len(GOOD), 8)]
    bad = list(garbage.values())
    messages = [m for at in range(len(good)) for m in (good[at], *bad[at : at + 1])]
    assert len(bad) <= len(good)
    feed(flow.kafka, wide_topic, messages, partitions=PARTITIONS)

    flow.run_to_the_end()

    assert not differences(flow.rollups(), from_points(GOOD, 10 * SECOND))
    found = {letter.payload: letter for letter in flow.dead_letters()}
    assert {garbage_name(garbage, payload) for payload in found} == set(garbage)
    for payload, letter in found.items():
        at = messages.index(payload)
        assert letter.origin == "input"
        assert (letter.topic, letter.partition) == (wide_topic, at % PARTITIONS)
        assert letter.offset == at // PARTITIONS
        assert letter.reason


def garbage_name(garbage: dict[str, bytes], payload: bytes) -> str:
    return next((name for name, value in garbage.items() if value == payload), repr(payload[:80]))


def test_a_message_without_points_is_no_garbage(
    new_flow: FlowFactory, influxdb: InfluxdbAccess
) -> None:
    flow = new_flow()
    flow.write_to_influxdb(influxdb)
    feed(flow.kafka, flow.topic, [b"", encode(GOOD), encode([])])
    flow.run_to_the_end()
    assert not differences(flow.rollups(), from_points(GOOD, 10 * SECOND))
