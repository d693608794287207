"""Sending heartbeats to Kafka from a thread of its own, without ever holding up the flow."""

from __future__ import annotations

import logging
from threading import Event, Lock, Thread
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from flows.process.health import State
from flows.process.heartbeat import Heart, encode_heartbeat
from operators.kafka.clients import KafkaSettings, producer

__all__ = ["Publisher"]

_log = logging.getLogger(__name__)

_DELIVERY_SECONDS: Final = 2.0
_LAST_SECONDS: Final = 5.0


class Publisher:
    """Publishes a heartbeat at once, then one every interval, and a last one when it is stopped.

    While the broker is down, at most one heartbeat waits for it.

    Args:
        heart: makes the heartbeats.
        settings: the brokers.
        topic: the status topic.
        interval: seconds between two.
    """

    def __init__(self, heart: Heart, settings: KafkaSettings, topic: str, interval: float) -> None:
        self._heart = heart
        self._settings = settings
        self._topic = topic
        self._interval = interval
        self._stopping = Event()
        self._lock = Lock()
        self._producer: Producer | None = None
        self._failing = False
        self._thread = Thread(target=self._run, name="headrace-heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, end: State) -> None:
        """Publish the last word of the process; wait for its delivery, but a few seconds at most."""
        self._stopping.set()
        self._thread.join(_DELIVERY_SECONDS + 1.0)
        self._publish(end, _LAST_SECONDS)

    def _run(self) -> None:
        while True:
            self._publish(None, min(_DELIVERY_SECONDS, self._interval))
            if self._stopping.wait(self._interval):
                return

    def _publish(self, end: State | None, patience: float) -> None:
        """Produce a heartbeat, and serve the producer until it is delivered or patience ends."""
        try:
            with self._lock:
                if self._producer is None:
                    self._producer = producer(self._settings)
                # What waits since the last time is as good as a new one, except at the end.
                if end is not None or not len(self._producer):
                    self._producer.produce(
                        self._topic,
                        encode_heartbeat(self._heart.beat(end)),
                        self._heart.key.encode(),
                        on_delivery=self._note,
                    )
                self._producer.flush(patience)
        except (KafkaException, BufferError) as error:
            self._warn(error)
        except Exception:
            # Whatever it is, the flow goes on; the next heartbeat may work.
            _log.exception("could not make a heartbeat")

    def _note(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self._failing = False
            return
        if error.fatal():
            self._producer = None  # idempotence can't go on after this; a new producer can
        self._warn(error.str())

    def _warn(self, reason: object) -> None:
        """Say so once for each row of failures."""
        if not self._failing:
            _log.warning(
                "no heartbeat reached the topic %s, so `headrace status` will call this process "
                "silent: %s (if the topic is missing: `headrace setup`)",
                self._topic,
                reason,
            )
        self._failing = True
