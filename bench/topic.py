"""Writes a load to a topic, as fast as the broker takes it."""

from __future__ import annotations

from typing import Any, Final

from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from bench.load import Load
from flows.settings import Kafka, Topics
from operators.kafka import admin_client

__all__ = ["PARTITIONS", "create", "fill", "producer", "write"]

PARTITIONS: Final = 4
_COMPRESSION: Final = {"otlp_proto": "lz4", "influx": "none", "prometheus_json": "none"}
"""Telegraf and prometheus-kafka-adapter do not compress by default."""
_PIECE: Final = 20_000
"""Messages handed to the producer at once."""


def create(bootstrap: str, *names: str) -> None:
    """Make topics, and those that a flow writes to if they are not there.

    Raises:
        SystemExit: one of ``names`` can't be made.
    """
    topics = Topics()
    ours = (topics.rollups, topics.alerts, topics.late, topics.dead_letter, topics.status)
    client = admin_client(Kafka(bootstrap_servers=bootstrap))
    made = client.create_topics([NewTopic(name, PARTITIONS) for name in (*names, *ours)])
    for name, future in made.items():
        error = future.exception()
        if error is not None and name in names:
            raise SystemExit(f"{bootstrap}: {name}: {error}")


def producer(bootstrap: str, encoding: str) -> Producer:
    """Return a producer that is not idempotent and waits for the leader alone, as collectors do."""
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": "1",
            "compression.type": _COMPRESSION[encoding],
            "linger.ms": 5,
            "batch.num.messages": 50_000,
            "message.max.bytes": 16 << 20,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 512 << 10,
        }
    )


def fill(bootstrap: str, topic: str, load: Load) -> None:
    """Make the topic and write the load's messages to it."""
    create(bootstrap, topic)
    client = producer(bootstrap, load.encoding)
    for batch in load.batches():
        write(client, topic, batch, load.encoding)
    client.flush()


def write(client: Producer, topic: str, messages: list[bytes], encoding: str) -> None:
    """Write the messages of a second, spread over the partitions.

    A Collector has no key, so its messages go round robin. Of text formats the same series are
    always in the same partition, as with Telegraf's key, the host.
    """
    for partition in range(PARTITIONS):
        if encoding == "otlp_proto":
            part = messages[partition::PARTITIONS]
        else:
            size = -(-len(messages) // PARTITIONS)
            part = messages[partition * size :][:size]
        for begin in range(0, len(part), _PIECE):
            left: list[dict[str, Any]] = [{"value": value} for value in part[begin:][:_PIECE]]
            while left:
                client.produce_batch(topic, left, partition=partition)
                left = [{"value": item["value"]} for item in left if "_error" in item]
                client.poll(0.05 if left else 0)
