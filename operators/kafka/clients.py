"""The one place that makes Kafka clients, from the one ``kafka`` section of the settings.

``kafka.options`` passes any librdkafka option through, TLS and SASL included; what Headrace's
guarantees rest on (no auto-commit, confirmed and idempotent delivery) cannot be overridden.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from operators.kafka.fetching import Fetcher
from operators.kafka.lost_brokers import WatchedAdminClient, WatchedConsumer, WatchedProducer

__all__ = [
    "InvalidOptions",
    "KafkaSettings",
    "admin_client",
    "bounds",
    "committed",
    "consumer",
    "fetcher",
    "is_secret",
    "producer",
    "redact",
    "verify_options",
]  # fmt: skip

Answer = TypeVar("Answer")

_log = logging.getLogger(__name__)
_silent = logging.Logger("nowhere", logging.CRITICAL + 1)

_SECRET_WORDS: Final = (
    "password", "passphrase", "secret", "key.pem", "jaas", "oauthbearer.config",
)  # fmt: skip
_ASKED: Final = 1.0
_PAUSE: Final = 0.2
"""Seconds that an answer is waited for, and between two questions."""
_NOT_READY: Final = frozenset(
    {
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError._WAIT_COORD,
        KafkaError._TIMED_OUT,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        # The broker has not heard of the leader's epoch that the client knows, or the reverse.
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError._NOENT,  # no leaders were found
    }
)


_FETCHING: Final = {
    "fetch.message.max.bytes": 1 << 20,  # of a partition; a larger message comes alone
    "queued.max.messages.kbytes": 32 << 10,
    # Once enough waits to be read, the next fetch is put off for so long. It is read within tens
    # of milliseconds; with the second of librdkafka a flow does little but wait.
    "fetch.queue.backoff.ms": 5,
    # The other one, to begin anew with the bootstrap servers once all brokers are down, connects and
    # complains twenty times a second, without the pause that a broker is else given. What it is
    # good for, ``operators.kafka.lost_brokers`` does.
    "metadata.recovery.strategy": "none",
}
_READING: Final = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    # An offset that is not there is a gap, which the reader tells of; see ``operators.kafka.gaps``.
    "auto.offset.reset": "error",
    # A message that is larger than this can't be passed over either: its partition, and all that
    # its broker sends along, would be asked for again and again. So it is as much as there can be.
    "receive.message.max.bytes": 2147483647,
}


class InvalidOptions(ValueError):
    """librdkafka does not take an option; the message names it."""


class KafkaSettings(Protocol):
    """What the factory needs to know; ``flows.settings.Kafka`` is one."""

    @property
    def bootstrap_servers(self) -> str:
        """Return ``host:port``, several separated by commas."""
        ...

    @property
    def options(self) -> Mapping[str, Any]:
        """Return librdkafka options."""
        ...


def _configuration(settings: KafkaSettings, own: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "bootstrap.servers": settings.bootstrap_servers,
        "client.id": "headrace",
        **settings.options,
        **own,
        "logger": _log,
    }


def _reading_configuration(settings: KafkaSettings) -> dict[str, Any]:
    return {**_FETCHING, **_configuration(settings, _READING)}


def consumer(
    settings: KafkaSettings, group: str, on_error: Callable[[KafkaError], None] | None = None
) -> Consumer:
    """Return a consumer that is assigned partitions by hand, if any, and commits when told to.

    ``on_error`` is told of what goes wrong with brokers, by the thread that polls.
    """
    return WatchedConsumer(
        {
            **_reading_configuration(settings),
            "group.id": group,
            **({"error_cb": on_error} if on_error else {}),
        }
    )


def fetcher(settings: KafkaSettings, on_error: Callable[[KafkaError], None]) -> Fetcher:
    """Return what reads partitions in columns; ``on_error`` is told what is wrong with brokers."""
    return Fetcher(
        {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in _reading_configuration(settings).items()
            if name != "logger" and not name.startswith("group.") and value is not None
        },
        on_error,
    )


def committed(
    client: Consumer, partitions: Sequence[TopicPartition], seconds: float
) -> list[TopicPartition]:
    """Return what the group of ``client`` has committed of ``partitions``.

    A broker that was started a moment ago does not know its groups yet; it is asked again. Only a
    consumer can be asked: where a broker says that another one coordinates the group, the admin
    client of librdkafka 2.16 crashes.

    Raises:
        KafkaException: the broker refused, or did not know for so many seconds.
    """
    return _answer(lambda: client.committed(list(partitions), timeout=_ASKED), client, seconds)


def bounds(client: Consumer, partition: TopicPartition, seconds: float) -> tuple[int, int]:
    """Return the first offset of a partition, and the one after its last.

    A topic that was made a moment ago, or whose leader is gone, has no leader yet; it is asked
    again.

    Raises:
        KafkaException: the broker refused, or did not know for so many seconds.
    """
    low, high = _answer(
        lambda: client.get_watermark_offsets(partition, timeout=seconds), client, seconds
    )
    return int(low), int(high)


def _answer(ask: Callable[[], Answer], client: Consumer, seconds: float) -> Answer:
    """Ask until the broker knows, for so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except KafkaException as failure:
            error: Any = failure.args[0]
            if error.code() not in _NOT_READY or time.monotonic() > deadline:
                raise
            client.poll(0)  # tells ``on_error`` what is wrong with the connection
            time.sleep(_PAUSE)


def producer(settings: KafkaSettings, unless_given: Mapping[str, str] | None = None) -> Producer:
    """Return an idempotent producer; the caller confirms each delivery by its callback.

    ``unless_given`` are options that count where ``kafka.options`` does not have them.
    """
    return WatchedProducer(_producing_configuration(settings, unless_given))


def _producing_configuration(
    settings: KafkaSettings, unless_given: Mapping[str, str] | None = None
) -> dict[str, Any]:
    defaults = {
        "linger.ms": 5,
        "compression.type": "lz4",
        "message.max.bytes": 16 << 20,
        "queue.buffering.max.messages": 1_000_000,
        # Not the five minutes of librdkafka: who waits so long should be told meanwhile.
        "message.timeout.ms": 20_000,
        **(unless_given or {}),
    }
    own = {"enable.idempotence": True, "acks": "all"}
    return {**defaults, **_configuration(settings, own)}


def admin_client(
    settings: KafkaSettings, on_error: Callable[[KafkaError], None] | None = None
) -> AdminClient:
    """Return a client that creates and describes topics.

    ``on_error`` is told of what goes wrong with brokers, by the thread that polls.
    """
    own = {"error_cb": on_error} if on_error else {}
    return WatchedAdminClient(_configuration(settings, own))


def verify_options(settings: KafkaSettings) -> None:
    """Look whether librdkafka takes the options, without a broker.

    Raises:
        InvalidOptions: it does not know one, or its value is none.
    """
    nowhere = {"bootstrap.servers": "", "logger": _silent}
    own = {**nowhere, "group.id": "headrace"}
    try:
        Consumer({**_reading_configuration(settings), **own}).close()
        Producer({**_producing_configuration(settings), **nowhere})
    except (KafkaException, TypeError, ValueError) as failure:
        error = failure.args[0] if failure.args else failure
        raise InvalidOptions(error.str() if isinstance(error, KafkaError) else str(error)) from None


def is_secret(option: str) -> bool:
    """Say whether the value of a librdkafka option is a secret."""
    return any(word in option for word in _SECRET_WORDS)


def redact(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``options`` fit for a log: the values of secrets are masked."""
    return {name: "***" if is_secret(name) else value for name, value in options.items()}
