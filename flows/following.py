"""A topic that a flow listens to beside its input: all of it at the start, and what comes after."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from operators.kafka.clients import KafkaSettings, bounds, consumer

__all__ = ["Followed"]

_log = logging.getLogger(__name__)

_START_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 2.0


class Followed(ABC):
    """Reads a topic in a thread; all shards of a process ask the same one.

    When it is made it has read the topic to its end, so a flow that starts again knows what was
    said; a thread goes on reading.

    Args:
        settings: the brokers.
        topic: its name.
        group: of the consumer, which commits nothing.
        without: what is not possible as long as it can't be read.
        patience: seconds that the start waits for what the topic has.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        group: str,
        without: str,
        patience: float = _START_SECONDS,
    ) -> None:
        self._settings = settings
        self._topic = topic
        self._group = group
        self._without = without
        self._read_once = threading.Event()
        self._thread = threading.Thread(target=self._run, name=group, daemon=True)
        self._thread.start()
        if not self._read_once.wait(patience):
            _log.warning("%s: not read yet: what it says counts once it is", topic)

    @abstractmethod
    def _begin(self) -> None:
        """Forget what was heard: the topic is read from its beginning."""

    @abstractmethod
    def _hear(self, payload: bytes) -> None:
        """Take in a message."""

    def _run(self) -> None:
        failing = False
        while True:
            client = consumer(self._settings, self._group)
            try:
                self._follow(client)
            except KafkaException as error:
                if not failing:
                    _log.warning("%s: %s: %s", self._topic, error.args[0], self._without)
                failing = True
            finally:
                client.close()
            self._read_once.set()
            time.sleep(_AGAIN_SECONDS)

    def _follow(self, client: Consumer) -> None:
        """Read from the beginning, for as long as it goes well."""
        while True:
            described = client.list_topics(self._topic, timeout=_START_SECONDS).topics[self._topic]
            if described.error is None:
                break
            if described.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise KafkaException(described.error)
            self._read_once.set()  # nothing was ever said
            time.sleep(_AGAIN_SECONDS)
        parts = [TopicPartition(self._topic, number, 0) for number in described.partitions]
        places = {part.partition: bounds(client, part, _START_SECONDS) for part in parts}
        left = {number for number, (first, end) in places.items() if end > first}
        # What was deleted by age has no place any more.
        client.assign(
            [TopicPartition(self._topic, number, first) for number, (first, _) in places.items()]
        )
        self._begin()
        while True:
            if not left and not self._read_once.is_set():
                self._read_once.set()
            message = client.poll(0.2)
            if message is None:
                continue
            if (error := message.error()) is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    left.discard(message.partition() or 0)
                    continue
                raise KafkaException(error)
            self._hear(message.value() or b"")
            if (message.offset() or 0) + 1 >= places[message.partition() or 0][1]:
                left.discard(message.partition() or 0)
