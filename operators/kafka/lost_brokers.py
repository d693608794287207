"""Clients that know no broker any more are told their bootstrap servers again.

A broker that shuts down may answer that its cluster has no brokers. librdkafka believes it and drops
all that it knows, in some versions the bootstrap servers too (its issue 5301). A client without
brokers asks nobody, so it would never hear of one again: its partitions are not read, or its
messages are not sent, until its process ends. A rolling restart of a cluster is enough for it.

So each client is asked from time to time whether a broker answers it. Where none does, it is told
its bootstrap servers again, which changes nothing if it is trying to reach them already.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import time
import weakref
from typing import Any, ClassVar, Final

import confluent_kafka
from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient

from operators.kafka import librdkafka

__all__ = ["Brokers", "WatchedAdminClient", "WatchedConsumer", "WatchedProducer", "watch"]

_log = logging.getLogger(__name__)

_EVERY: Final = 5.0
_PATIENCE: Final = 1.0
"""Seconds between two questions, and that an answer is waited for."""
_MOST: Final = 300.0
"""Seconds after which a client that no broker answers is told again, at most: each time is twice as
long as the one before, since librdkafka keeps all that it is told."""


class Brokers:
    """Whether any broker answers a client of librdkafka.

    Args:
        client: its handle, which must be valid until ``leave`` was called.
        bootstrap_servers: ``host:port``, several separated by commas.
        topic: the handle of a topic to ask about; if there is none, about all that it knows. A client
            that only reads has to name one, since the broker might make the others.
    """

    def __init__(self, client: int, bootstrap_servers: str, topic: int | None = None) -> None:
        self._client: int | None = client
        self._topic = topic
        self._servers = bootstrap_servers
        self._lock = threading.Lock()
        self._wait = _EVERY
        self._next = 0.0

    def leave(self) -> None:
        """Ask no more; the client may be destroyed after this."""
        with self._lock:
            self._client = None

    def look(self, now: float) -> None:
        """Ask; if no broker answers, name the bootstrap servers."""
        with self._lock:
            if self._client is None or now < self._next:
                return
            if _answers(self._client, self._topic, _PATIENCE):
                self._wait = _EVERY
                return
            _log.info(
                "Kafka at %s: no broker answers a client; it tries these servers again",
                self._servers,
            )
            _brokers_add(self._client, self._servers.encode())
            self._next = now + self._wait
            self._wait = min(2 * self._wait, _MOST)


class _Watch:
    """A thread that looks after all clients of the process, from the first one on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: weakref.WeakKeyDictionary[Any, Brokers] = weakref.WeakKeyDictionary()
        self._running = False

    def add(self, owner: object, brokers: Brokers) -> None:
        """Look after a client, for as long as its owner lives."""
        with self._lock:
            self._clients[owner] = brokers
            if not self._running:
                threading.Thread(target=self._run, name="kafka-brokers", daemon=True).start()
                self._running = True

    def _run(self) -> None:
        while True:
            time.sleep(_EVERY)
            with self._lock:
                owners = self._clients.keyrefs()
            for each in owners:
                # An owner that is held here does not end while its client is asked.
                if (owner := each()) is not None and (brokers := self._clients.get(owner)):
                    brokers.look(time.monotonic())
                del owner


watch: Final = _Watch()
"""The one of this process."""


class _Watched:
    """What the clients of confluent_kafka get: being watched from their start to their end."""

    _brokers: Brokers | None = None

    def __init__(self, configuration: dict[str, Any]) -> None:
        super().__init__(configuration)  # type: ignore[call-arg]
        if servers := configuration["bootstrap.servers"]:
            self._brokers = Brokers(_handle_of(self), servers)
            watch.add(self, self._brokers)

    def close(self, *args: Any) -> Any:
        """End it."""
        if self._brokers is not None:
            self._brokers.leave()
        return super().close(*args)  # type: ignore[misc]


class WatchedConsumer(_Watched, confluent_kafka.Consumer):
    """A consumer that finds its brokers again."""


class WatchedProducer(_Watched, confluent_kafka.Producer):
    """A producer that finds its brokers again."""


class WatchedAdminClient(_Watched, AdminClient):
    """A client for topics and the like that finds its brokers again."""


class _Handle(ctypes.Structure):
    """How each client of confluent_kafka begins, in all its versions."""

    _fields_: ClassVar = [
        ("object", ctypes.c_byte * object.__basicsize__),
        ("client", ctypes.c_void_p),
    ]


def _handle_of(client: object) -> int:
    handle = _Handle.from_address(id(client)).client
    assert handle is not None
    return int(handle)


_brokers_add = librdkafka.call_of("brokers_add")
_metadata = librdkafka.call_of("metadata")
_metadata_destroy = librdkafka.call_of("metadata_destroy")
_NOBODY: Final = frozenset({KafkaError._TIMED_OUT, KafkaError._TRANSPORT})


def _answers(client: int, topic: int | None, seconds: float) -> bool:
    """Ask a client about its topics, or the given one; say whether any broker answered."""
    found = ctypes.c_void_p()
    error = _metadata(client, 0, topic, ctypes.byref(found), int(seconds * 1000))
    if not error:
        _metadata_destroy(found)
    return error not in _NOBODY
