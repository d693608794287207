"""Reading a topic to its end, for the commands."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from flows.commands.broker import Broker
from flows.commands.failure import CommandFailed
from flows.settings import Settings
from operators.kafka.clients import consumer

__all__ = ["as_bytes", "last_values", "topic_values"]

_POLLED: Final = 1_000
_PATIENCE: Final = 10.0


def topic_values(
    settings: Settings, topic: str, since: int | None = None
) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of each message that is on a topic now, by partition in their order.

    Args:
        settings: the brokers.
        topic: its name.
        since: leave out what was written before it, in milliseconds since the Unix epoch.

    Raises:
        CommandFailed: there is no such topic, or it can't be read.
    """
    there = Broker(settings.kafka).describe([topic])[topic]
    if there is None:
        raise CommandFailed(f"there is no topic {topic} (run `headrace setup`)")
    client = consumer(settings.kafka, f"{settings.kafka.group}.commands")
    places = [TopicPartition(topic, each.id, since or 0) for each in there.partitions]
    try:
        if since is not None:
            begins = client.offsets_for_times(places, timeout=_PATIENCE)
            places = [place for place in begins if place.offset >= 0]
        client.assign(places)
        behind = {place.partition for place in places}
        deadline = time.monotonic() + _PATIENCE
        while behind:
            messages = client.consume(_POLLED, 0.1)
            if messages:
                deadline = time.monotonic() + _PATIENCE
            elif time.monotonic() > deadline:
                raise CommandFailed(f"topic {topic}: no answer in {_PATIENCE:.0f} s")
            for message in messages:
                error, key, value = message.error(), message.key(), message.value()
                if error is None:
                    yield as_bytes(key), as_bytes(value)
                elif error.code() == KafkaError._PARTITION_EOF:
                    behind.discard(message.partition() or 0)
                elif not error.retriable():
                    raise CommandFailed(f"topic {topic}: {error.str()}") from KafkaException(error)
    except KafkaException as failure:
        raise CommandFailed(f"topic {topic}: {failure}") from failure
    finally:
        client.close()


def last_values(settings: Settings, topic: str) -> dict[bytes, bytes]:
    """Return of each key the last value, of those that have one; see ``topic_values``."""
    found = dict(topic_values(settings, topic))
    return {key: value for key, value in found.items() if value}


def as_bytes(data: str | bytes | None) -> bytes:
    """Return a key or a value as bytes; one that is absent is empty."""
    return data.encode() if isinstance(data, str) else data or b""
