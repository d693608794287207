"""Writes a load to a topic, as fast as the broker takes it."""

from __future__ import annotations

import os
from typing import Any, Final

from confluent_kafka import KafkaException, Producer

from bench.load import Load
from bench.log_load import LogLoad
from flows.settings import Kafka
from operators.kafka.clients import admin_client
from tests.backends.topics import make_topics

__all__ = ["OUTPUTS", "PARTITIONS", "PREFIX", "create", "fill", "producer", "remove_all", "write"]

PREFIX: Final = f"bench.{os.getpid()}."
"""What the names of a run's topics begin with."""
OUTPUTS: Final = {
    role: f"{PREFIX}{role.replace('_', '-')}"
    for role in (
        "rollups", "anomalies", "alerts", "notifications", "incidents", "dead_letter", "late",
        "status", "causes", "logs", "templates", "log_counts", "exceptions", "commands",
    )
}  # fmt: skip
"""The topics that a measured flow writes to, by their names in the settings."""
PARTITIONS: Final = 4
_COMPRESSION: Final = {
    "otlp_proto": "lz4", "influx": "none", "prometheus_json": "none", "text": "lz4",
}  # fmt: skip
"""Telegraf and prometheus-kafka-adapter do not compress by default."""
_PIECE: Final = 20_000
"""Messages handed to the producer at once."""


def create(bootstrap: str, *names: str) -> None:
    """Make topics.

    Raises:
        SystemExit: one can't be made.
    """
    try:
        make_topics(bootstrap, names, PARTITIONS)
    except KafkaException as failure:
        raise SystemExit(f"{bootstrap}: {', '.join(names)}: {failure.args[0]}") from None


def remove_all(bootstrap: str) -> None:
    """Delete the topics of this run; the broker may be one that others use."""
    client = admin_client(Kafka(bootstrap_servers=bootstrap))
    names = [name for name in client.list_topics(timeout=10).topics if name.startswith(PREFIX)]
    if names:
        for future in client.delete_topics(names).values():
            future.exception()


def producer(bootstrap: str, encoding: str) -> Producer:
    """Return a producer that is not idempotent and waits for the leader alone, as collectors do."""
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": "1",
            # A message that has to be sent again must not come behind later ones.
            "max.in.flight.requests.per.connection": 1,
            "compression.type": _COMPRESSION[encoding],
            "linger.ms": 5,
            "batch.num.messages": 50_000,
            "message.max.bytes": 16 << 20,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 512 << 10,
        }
    )


def fill(bootstrap: str, topic: str, load: Load | LogLoad) -> None:
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
