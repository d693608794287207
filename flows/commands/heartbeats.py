"""Reading the status topic."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from flows.commands.failure import CommandFailed
from flows.commands.topic_values import as_bytes
from flows.process.heartbeat import Heartbeat, decode_heartbeat
from flows.settings import Settings
from operators.kafka.clients import consumer

__all__ = ["HeartbeatReader"]

_POLLED: Final = 10_000
_PATIENCE: Final = 10.0


class HeartbeatReader:
    """Reads the status topic; every call of ``read`` takes in what came since the one before.

    Args:
        settings: the brokers and the topic.
        partitions: numbers of the topic's partitions.
    """

    def __init__(self, settings: Settings, partitions: Collection[int]) -> None:
        self._topic = settings.topics.status
        self._last: dict[bytes, bytes] = {}
        self._behind = set(partitions)
        self._consumer = consumer(settings.kafka, f"{settings.kafka.group}.status")
        self._consumer.assign([TopicPartition(self._topic, n, 0) for n in sorted(partitions)])

    def read(self) -> list[Heartbeat]:
        """Return the last heartbeat of every process.

        Raises:
            CommandFailed: the topic can't be read.
        """
        deadline = time.monotonic() + _PATIENCE
        while True:
            messages = self._consumer.consume(_POLLED, 0.1)
            for message in messages:
                self._take(message)
            if messages:
                deadline = time.monotonic() + _PATIENCE
            elif not self._behind:
                found = map(decode_heartbeat, self._last.values())
                return [heartbeat for heartbeat in found if heartbeat is not None]
            elif time.monotonic() > deadline:
                raise CommandFailed(f"topic {self._topic}: no answer in {_PATIENCE:.0f} s")

    def close(self) -> None:
        """Leave the brokers."""
        self._consumer.close()

    def _take(self, message: Message) -> None:
        error, key, value = message.error(), message.key(), message.value()
        if error is None:
            if value is None:
                self._last.pop(as_bytes(key), None)
            else:
                self._last[as_bytes(key)] = as_bytes(value)
        elif error.code() == KafkaError._PARTITION_EOF:
            self._behind.discard(message.partition() or 0)
        elif not error.retriable():
            raise CommandFailed(f"topic {self._topic}: {error.str()}") from KafkaException(error)
