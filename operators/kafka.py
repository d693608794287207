"""The one place that makes Kafka clients, from the one ``kafka`` section of the settings.

``kafka.options`` passes any librdkafka option through, TLS and SASL included; what Headrace's
guarantees rest on (no auto-commit, confirmed and idempotent delivery) cannot be overridden.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from operators.fetching import Fetcher

__all__ = [
    "KafkaSettings", "admin_client", "committed", "consumer", "fetcher", "producer", "redact",
]  # fmt: skip

_log = logging.getLogger(__name__)

_SECRET_WORDS: Final = ("password", "secret", "key.pem", "jaas", "oauthbearer.config")
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
    }
)


_FETCHING: Final = {
    "fetch.message.max.bytes": 1 << 20,  # of a partition; a larger message comes alone
    "queued.max.messages.kbytes": 32 << 10,
    # Once enough waits to be read, the next fetch is put off for so long. It is read within tens
    # of milliseconds; with the second of librdkafka a flow does little but wait.
    "fetch.queue.backoff.ms": 5,
    # The other one, to begin anew with the bootstrap servers once all brokers are down, connects and
    # complains twenty times a second, without the pause that a broker is else given.
    "metadata.recovery.strategy": "none",
}
_READING: Final = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "earliest",
}


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
    return Consumer(
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
    deadline = time.monotonic() + seconds
    while True:
        try:
            return client.committed(list(partitions), timeout=_ASKED)
        except KafkaException as failure:
            error: Any = failure.args[0]
            if error.code() not in _NOT_READY or time.monotonic() > deadline:
                raise
            client.poll(0)  # tells ``on_error`` what is wrong with the connection
            time.sleep(_PAUSE)


def producer(settings: KafkaSettings) -> Producer:
    """Return an idempotent producer; the caller confirms each delivery by its callback."""
    defaults = {
        "linger.ms": 5,
        "compression.type": "lz4",
        "message.max.bytes": 16 << 20,
        "queue.buffering.max.messages": 1_000_000,
        # Not the five minutes of librdkafka: who waits so long should be told meanwhile.
        "message.timeout.ms": 20_000,
    }
    own = {"enable.idempotence": True, "acks": "all"}
    return Producer({**defaults, **_configuration(settings, own)})


def admin_client(
    settings: KafkaSettings, on_error: Callable[[KafkaError], None] | None = None
) -> AdminClient:
    """Return a client that creates and describes topics.

    ``on_error`` is told of what goes wrong with brokers, by the thread that polls.
    """
    own = {"error_cb": on_error} if on_error else {}
    return AdminClient(_configuration(settings, own))


def redact(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``options`` fit for a log: the values of secrets are masked."""
    return {
        name: "***" if any(word in name for word in _SECRET_WORDS) else value
        for name, value in options.items()
    }
