"""Writes the stream to Kafka at a pace, whatever happens to the broker, and loses nothing."""

from __future__ import annotations

import heapq
import logging
import threading
import time
from typing import Final

from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient, NewPartitions

from tests.chaos.stream import Outgoing, Stream

PATIENCE: Final = 120.0
"""Seconds that a message may take, restarts of the broker included."""

# librdkafka would print each refused connection on standard error.
_quiet = logging.Logger("chaos-feed", level=logging.CRITICAL + 1)


def admin_client(bootstrap_servers: str) -> AdminClient:
    """Return a client that says nothing of a broker that is away."""
    return AdminClient({"bootstrap.servers": bootstrap_servers}, logger=_quiet)


class Feed(threading.Thread):
    """Writes ``stream`` until it is stopped.

    Args:
        bootstrap_servers: of the broker.
        topic: to write to.
        stream: what to write.
        pace: seconds of event time a second.
        prelude: seconds of event time that are written at once, at the start.
    """

    def __init__(
        self, bootstrap_servers: str, topic: str, stream: Stream, *, pace: float, prelude: int
    ) -> None:
        super().__init__(name="feed", daemon=True)
        self._brokers = bootstrap_servers
        self._topic = topic
        self._stream = stream
        self._pace = pace
        self._prelude = prelude
        self._held: list[tuple[int, int, Outgoing]] = []  # by the second at which it is due
        self._number = 0
        self._begun: dict[int, float] = {}
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "linger.ms": 5,
                "compression.type": "lz4",
                "message.timeout.ms": round(PATIENCE * 1000),
                "topic.metadata.refresh.interval.ms": 1000,
                "reconnect.backoff.max.ms": 500,
                "logger": _quiet,
            }
        )

    @property
    def second(self) -> int:
        """The second of event time that is being written; partitions are behind it by their skew."""
        return self._stream.seconds

    def begun(self, second: int) -> float | None:
        """Return the Unix time at which a second was begun to be written; None if it was not yet."""
        return self._begun.get(second)

    def run(self) -> None:
        """Write until stopped, then what was held back too, and wait for all confirmations."""
        try:
            began = time.monotonic()
            while not self._stopping.is_set():
                ahead = (self._stream.seconds - self._prelude) / self._pace
                self._stopping.wait(max(0.0, began + ahead - time.monotonic()))
                self._write_second()
            self._write_until(None)
            left = self._producer.flush(PATIENCE)
            if left and self._error is None:
                self._error = TimeoutError(f"{left} messages were not written")
        except BaseException as error:  # told to whoever waits for the end
            self._error = self._error or error

    def check(self) -> None:
        """Raise what has gone wrong."""
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Stop, and wait until all is written."""
        self._stopping.set()
        self.join(PATIENCE + 30)
        assert not self.is_alive(), "the stream is still being written"
        self.check()

    def add_partition(self) -> int:
        """Add a partition to the topic and write to it from now on; return its number."""
        number = self._stream.partitions
        wanted = [NewPartitions(self._topic, number + 1)]
        admin = admin_client(self._brokers)
        admin.create_partitions(wanted)[self._topic].result(30)
        deadline = time.monotonic() + 120
        while (
            number not in self._producer.list_topics(self._topic, 5).topics[self._topic].partitions
        ):
            assert time.monotonic() < deadline, f"{self._topic} has no partition {number}"
            time.sleep(0.1)
        self._stream.partitions = number + 1
        return number

    def _write_second(self) -> None:
        self._begun[self._stream.seconds + 1] = time.time()
        for message in self._stream.second():
            self._number += 1
            heapq.heappush(self._held, (message.at, self._number, message))
        self._write_until(self._stream.seconds)

    def _write_until(self, second: int | None) -> None:
        while self._held and (second is None or self._held[0][0] <= second):
            _, _, message = heapq.heappop(self._held)
            self._producer.produce(
                self._topic, message.payload, partition=message.partition, on_delivery=self._note
            )
        self._producer.poll(0)

    def _note(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            what = f"a message for partition {message.partition()} was not written: {error.str()}"
            self._error = self._error or RuntimeError(what)
