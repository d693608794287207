"""Producing to Kafka and knowing, for every message, what became of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from operators.kafka.clients import KafkaSettings, producer
from sinks.base import Unavailable

__all__ = ["KafkaDelivery", "Outgoing", "explain", "is_refusal", "is_too_large", "reason"]

_log = logging.getLogger(__name__)

_TOO_LARGE: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
_REFUSALS: Final = _TOO_LARGE | {KafkaError.INVALID_RECORD}
_NO_TOPIC: Final = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})
_TIMEOUTS: Final = frozenset({KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT})
_FORBIDDEN: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError._AUTHENTICATION,
    }
)
_METADATA_SECONDS: Final = 3.0
_UNDECIDED: Final = KafkaError(KafkaError._STATE, "no delivery report")


class Outgoing(NamedTuple):
    """A message to produce; partition -1 leaves the choice to the key."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Mapping[str, bytes] | None = None
    partition: int = -1


class KafkaDelivery:
    """A producer that returns when the brokers have confirmed, or given up on, every message.

    How long that may take is librdkafka's `message.timeout.ms`.

    Args:
        settings: the brokers.
        defaults: options of librdkafka, unless `kafka.options` has them.
    """

    def __init__(self, settings: KafkaSettings, defaults: Mapping[str, str] | None = None) -> None:
        self._settings = settings
        self._defaults = defaults or {}
        self._partitions: dict[str, int] = {}
        self._producer: Producer | None = None

    def connect(self) -> None:
        """Begin to connect, without waiting for it.

        A new producer's first message waits half a second: librdkafka asks for the number that idempotence
        needs, and asks again after so long, since no broker is connected yet.
        """
        self._client()

    def send(self, messages: Iterable[Outgoing]) -> list[KafkaError | None]:
        """Produce all messages, and return for each None, or why it was not delivered."""
        outgoing = list(messages)
        outcomes = self._send(outgoing)
        # A broker's limit is for a batch of messages: alone, one may get through.
        large = [row for row, error in enumerate(outcomes) if error and is_too_large(error)]
        for row in large if len(outgoing) > 1 else []:
            outcomes[row] = self._send([outgoing[row]])[0]
        return outcomes

    def close(self) -> None:
        """Let the connections go; everything is confirmed already."""
        self._producer = None

    def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has, as it was first told.

        Raises:
            Unavailable: the brokers do not say.
        """
        if topic not in self._partitions:
            try:
                found = self._client().list_topics(topic, timeout=_METADATA_SECONDS).topics[topic]
            except KafkaException as failure:
                raise explain(self._settings, topic, reason(failure)) from None
            if found.error is not None:
                raise explain(self._settings, topic, found.error)
            self._partitions[topic] = len(found.partitions)
        return self._partitions[topic]

    def _client(self) -> Producer:
        if self._producer is None:
            self._producer = producer(self._settings, self._defaults)
        return self._producer

    def _send(self, messages: list[Outgoing]) -> list[KafkaError | None]:
        client = self._client()
        outcomes: list[KafkaError | None] = [_UNDECIDED] * len(messages)

        def note(row: int, error: KafkaError | None, _message: Message) -> None:
            outcomes[row] = error

        for row, message in enumerate(messages):
            try:
                _produce(client, message, partial(note, row))
            except KafkaException as failure:
                outcomes[row] = reason(failure)
        while client.flush(1.0):
            pass
        if any(error is not None and error.fatal() for error in outcomes):
            # Idempotence can't go on after this; a new producer can.
            _log.warning("kafka: starting a new producer after a fatal error")
            self._producer = None
        return outcomes

    def trouble(self, messages: Iterable[Outgoing], error: KafkaError) -> Unavailable:
        """Return the exception that says why `messages` were not delivered, and what to do."""
        topics = sorted({message.topic for message in messages})
        if error.code() in _TIMEOUTS and self._producer is not None:
            # Nothing but a timeout is reported for a topic that does not exist, either.
            try:
                for topic in topics:
                    known = self._producer.list_topics(topic, timeout=_METADATA_SECONDS)
                    error = known.topics[topic].error or error
            except KafkaException as failure:
                error = reason(failure)
        return explain(self._settings, ", ".join(topics), error)


def _produce(client: Producer, message: Outgoing, note: partial[None]) -> None:
    while True:
        try:
            client.produce(
                message.topic,
                message.value,
                message.key,
                message.partition,
                headers=dict(message.headers or {}),
                on_delivery=note,
            )
        except BufferError:  # the queue is full until some are delivered
            client.poll(0.1)
        else:
            return


def reason(failure: KafkaException) -> KafkaError:
    """Return the error inside an exception of the client's."""
    error = failure.args[0] if failure.args else None
    return error if isinstance(error, KafkaError) else KafkaError(KafkaError._FAIL, str(error))


def is_refusal(error: KafkaError) -> bool:
    """Say whether the broker refuses the message itself, for good."""
    return error.code() in _REFUSALS


def is_too_large(error: KafkaError) -> bool:
    """Say whether the message is more than the topic's `max.message.bytes`."""
    return error.code() in _TOO_LARGE


def explain(settings: KafkaSettings, topic: str, error: KafkaError) -> Unavailable:
    """Return the exception for a Kafka error: which brokers, which topic, what to do."""
    way_out = ""
    if error.code() in _NO_TOPIC:
        way_out = "; run `headrace setup` to create the topic"
    elif error.code() in _FORBIDDEN:
        way_out = "; give the user in kafka.options the permission"
    return Unavailable(
        f"kafka: {settings.bootstrap_servers}, topic {topic}: {error.str()}{way_out}"
    )
