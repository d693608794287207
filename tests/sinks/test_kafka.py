"""Messages on real topics, and the frames they stand for."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl
import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from flows.settings import Kafka as Settings
from operators.columns.batches import decode_batch, decode_batches
from operators.contracts.alert import alert_event, decode_event, encode_event
from operators.contracts.batch_form import ROLLUP_BATCHES
from operators.contracts.frames import ALERT_EVENTS, MESSAGES
from sinks.base import Unavailable
from sinks.kafka import (
    InvalidRollups,
    KafkaDestination,
    alert_messages,
    batch_messages,
    read_rollup_messages,
    rollup_messages,
)
from tests.backends.kafka import KafkaServer
from tests.backends.topics import make_topics
from tests.conftest import TopicFactory, running
from tests.sinks.samples import MIDNIGHT, MINUTE, scores


def read(address: str, topic: str) -> list[Message]:
    """All messages of a topic, partition after partition."""
    consumer = Consumer(
        {"bootstrap.servers": address, "group.id": "t", "enable.partition.eof": True}
    )
    found = []
    for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
        consumer.assign([TopicPartition(topic, partition, 0)])
        while (message := consumer.poll(15)) is not None and not message.error():
            found.append(message)
    consumer.close()
    return found


def limited_topic(address: str, limits: Mapping[str, str]) -> str:
    name = f"test-{uuid.uuid4().hex[:12]}"
    make_topics(address, [name], config=limits)
    return name


def messages(topic: str, *values: bytes) -> pl.DataFrame:
    return pl.DataFrame([(topic, b"k", v) for v in values], schema=MESSAGES, orient="row")


def test_rollups_travel_in_few_messages_and_come_out_the_same(
    kafka: str, topic: TopicFactory
) -> None:
    name = topic(4)
    rows = [
        {"series": n % 500, "window_start": MIDNIGHT + n // 500 * MINUTE, "sum": n / 3}
        for n in range(2000)
    ]
    frame = scores(*rows)
    destination = KafkaDestination(Settings(bootstrap_servers=kafka))
    assert destination.write(rollup_messages(frame, name)) is None
    found = read(kafka, name)
    assert len(found) == 16
    order = ["series", "window_start"]
    back = read_rollup_messages([message.value() or b"" for message in found])
    assert back.sort(order).equals(frame.sort(order))


def test_a_series_stays_in_its_partition_in_the_order_it_was_written(
    kafka: str, topic: TopicFactory
) -> None:
    name = topic(3)
    destination = KafkaDestination(Settings(bootstrap_servers=kafka))
    for revision in range(3):
        rows = [
            {"series": n, "tenant": tenant, "revision": revision}
            for n in range(40)
            for tenant in ("a", "b")
        ]
        destination.write(rollup_messages(scores(*rows), name))
    seen = defaultdict(list)
    for message in read(kafka, name):
        for row in read_rollup_messages([message.value() or b""]).iter_rows(named=True):
            key = f"{row['tenant']}/{row['series'] % 16}".encode()
            assert message.key() == key
            seen[row["tenant"], row["series"]].append((message.partition(), row["revision"]))
    assert len(seen) == 80
    for places in seen.values():
        assert len({partition for partition, _ in places}) == 1
        assert [revision for _, revision in places] == [0, 1, 2]


def test_batches_of_a_shard_are_in_one_partition_in_their_order(
    kafka: str, topic: TopicFactory
) -> None:
    name = topic(4)
    destination = KafkaDestination(Settings(bootstrap_servers=kafka), compressed=True)
    for revision in range(3):
        frames = [(shard, scores({"series": shard, "revision": revision})) for shard in range(16)]
        assert destination.write(batch_messages(frames, ROLLUP_BATCHES, name, 4)) is None
    found = read(kafka, name)
    assert len(found) == 3 * 4  # the shards of a write share a message a partition
    assert {message.partition() for message in found} == {0, 1, 2, 3}
    seen = defaultdict(list)
    for message in found:
        for row in decode_batch(message.value() or b"", ROLLUP_BATCHES).iter_rows(named=True):
            seen[row["series"]].append((message.partition(), row["revision"]))
    assert seen == {shard: [(shard % 4, revision) for revision in range(3)] for shard in range(16)}


def test_what_is_too_large_for_its_topic_goes_in_halves_and_can_be_read(kafka: str) -> None:
    name = limited_topic(kafka, {"max.message.bytes": "20000"})
    random = np.random.default_rng(1).random(2_000)
    frame = scores(*({"series": n, "sum": value} for n, value in enumerate(random.tolist())))
    destination = KafkaDestination(Settings(bootstrap_servers=kafka), compressed=True)
    batches = batch_messages([(0, frame)], ROLLUP_BATCHES, name, 1)
    assert batches is not None
    assert batches["value"].bin.size().max() > 20_000
    assert destination.write(batches) is None
    values = [message.value() or b"" for message in read(kafka, name)]
    assert decode_batches(values, ROLLUP_BATCHES).equals(frame)
    before = len(values)
    lines = rollup_messages(frame, name, shards=1)
    assert destination.write(lines) is None
    after = [message.value() or b"" for message in read(kafka, name)][before:]
    assert len(after) > 1
    assert read_rollup_messages(after).equals(frame)


def test_no_message_of_rollups_is_much_more_than_half_a_megabyte() -> None:
    rows = [{"series": 0, "labels": {"text": "x" * 900}}] * 3000
    sizes = rollup_messages(scores(*rows), "t")["value"].bin.size().to_list()
    assert len(sizes) > 5
    assert max(sizes) < 502_000
    assert min(sizes[:-1]) > 498_000


def test_the_lines_of_a_message_are_json_with_labels_as_an_object() -> None:
    value = rollup_messages(scores({"labels": {"a": "1"}}, {"labels": {}}), "t", shards=1)["value"]
    first, second = (json.loads(line) for line in value.item().splitlines())
    assert (first["labels"], second["labels"]) == ({"a": "1"}, {})
    assert rollup_messages(scores({})[:0], "t").schema == MESSAGES
    with pytest.raises(InvalidRollups):
        read_rollup_messages([b"[]"])


def test_an_alert_event_keeps_its_bytes_and_is_keyed_by_its_fingerprint(
    kafka: str, topic: TopicFactory
) -> None:
    event = alert_event(
        status="resolved", kind="rule", labels={"alertname": "x"}, annotations={}, value=1.0,
        starts_at=MIDNIGHT, ends_at=MIDNIGHT + MINUTE,
    )  # fmt: skip
    row = (event["id"], event["fingerprint"], "resolved", MIDNIGHT, encode_event(event))
    frame = alert_messages(pl.DataFrame([row], schema=ALERT_EVENTS, orient="row"), topic())
    assert frame.schema == MESSAGES
    KafkaDestination(Settings(bootstrap_servers=kafka)).write(frame)
    (message,) = read(kafka, frame["topic"].item())
    assert message.key() == event["fingerprint"].encode()
    assert decode_event(message.value() or b"") == event


def test_a_message_beyond_its_topics_limit_is_refused_and_its_neighbours_are_not(
    kafka: str,
) -> None:
    name = limited_topic(kafka, {"max.message.bytes": "100000"})
    sizes = (10, 60_000, 60_000, 99_000, 3)
    values = [os.urandom(size) for size in sizes]
    destination = KafkaDestination(Settings(bootstrap_servers=kafka))
    large = pl.DataFrame(
        [(name, None, os.urandom(150_000)), (name, b"\x80", b"text" + os.urandom(150_000))],
        schema=MESSAGES,
        orient="row",
    )
    refused = destination.write(
        pl.concat([messages(name, *values[:3]), large, messages(name, *values[3:])])
    )
    assert refused is not None
    assert all("too large" in reason for reason in refused["reason"])
    assert destination.restore(refused["payload"].to_list()).equals(large)
    assert sorted(message.value() or b"" for message in read(kafka, name)) == sorted(values)


def test_more_messages_than_the_queue_holds_are_no_matter(kafka: str, topic: TopicFactory) -> None:
    name = topic()
    options = {"queue.buffering.max.messages": 1000}
    values = [str(n).encode() for n in range(20_000)]
    destination = KafkaDestination(Settings(bootstrap_servers=kafka, options=options))
    assert destination.write(messages(name, *values)) is None
    assert [message.value() for message in read(kafka, name)] == values


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A broker that makes no topic that nobody asked it for."""
    properties = {"auto.create.topics.enable": "false"}
    with running(KafkaServer(tmp_path_factory.mktemp("kafka"), properties=properties)) as server:
        yield server


def test_a_topic_that_is_not_there_is_waited_for(strict: KafkaServer) -> None:
    address = strict.bootstrap_servers
    settings = Settings(bootstrap_servers=address, options={"message.timeout.ms": 2000})
    destination = KafkaDestination(settings)
    frame = messages("headrace.rollups", b"1", b"2")
    with pytest.raises(Unavailable) as raised:
        destination.write(frame)
    assert str(raised.value) == (
        f"kafka: {address}, topic headrace.rollups: Broker: Unknown topic or partition; "
        "run `headrace setup` to create the topic"
    )
    make_topics(address, ["headrace.rollups"])
    assert destination.write(frame) is None
    assert [message.value() for message in read(address, "headrace.rollups")] == [b"1", b"2"]


def test_what_was_delivered_before_a_fault_is_not_sent_again(strict: KafkaServer) -> None:
    address = strict.bootstrap_servers
    there = limited_topic(address, {})
    missing = f"missing-{uuid.uuid4().hex[:8]}"
    settings = Settings(bootstrap_servers=address, options={"message.timeout.ms": 2000})
    destination = KafkaDestination(settings)
    frame = pl.concat([messages(there, b"1", b"2"), messages(missing, b"3"), messages(there, b"4")])
    for _ in range(2):
        with pytest.raises(Unavailable, match=f"topic {missing}: "):
            destination.write(frame)
    make_topics(address, [missing])
    assert destination.write(frame) is None
    assert [message.value() for message in read(address, there)] == [b"1", b"2", b"4"]
    assert [message.value() for message in read(address, missing)] == [b"3"]


def test_who_connected_before_does_not_wait_with_the_first_write(
    kafka: str, topic: TopicFactory
) -> None:
    name = topic(1)
    settings = Settings(bootstrap_servers=kafka)
    frame = pl.DataFrame([(name, None, b"value")], schema=MESSAGES, orient="row")
    KafkaDestination(settings).write(frame)  # the broker is ready to give numbers from here on

    def seconds(destination: KafkaDestination) -> float:
        began = time.perf_counter()
        assert destination.write(frame) is None
        return time.perf_counter() - began

    connected = [KafkaDestination(settings).connect() for _ in range(3)]
    others = min(seconds(KafkaDestination(settings)) for _ in range(3))
    # librdkafka waits half a second; other delays are the same for both.
    assert min(map(seconds, connected)) < others - 0.25
