"""Kafka for the commands: every call is bounded in time, and fails in one line.

A call can be interrupted at any time by Ctrl-C, because waiting is done in Python.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import Any, Final, TypeVar, cast

from confluent_kafka import (
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    ConfigResource,
    NewTopic,
    OffsetSpec,
    TopicDescription,
)

from flows.commands.failure import USAGE, CommandFailed
from flows.settings import Kafka
from operators.kafka.clients import admin_client, committed, consumer
from sinks.kafka_delivery import reason

__all__ = ["Broker"]

T = TypeVar("T")

_SECONDS: Final = 10.0
_SLICE: Final = 0.05
_NO_TOPIC: Final = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})
_TOPIC_EXISTS: Final = frozenset({KafkaError.TOPIC_ALREADY_EXISTS})
_UNHELPFUL: Final = frozenset({KafkaError._ALL_BROKERS_DOWN})
_DENIED: Final = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED})
_DETAIL: Final = re.compile(r"^\S+/\w+: |Connect to \S+ failed: | \(after \d+ms in state \w+\)")


class _Expected(Exception):
    """The answer to a request is an error that its caller knows what to do with."""


class Broker:
    """A connection to the brokers of the settings.

    Raises:
        CommandFailed: they can't be reached, or refuse us; the message says which and why.
    """

    def __init__(self, settings: Kafka) -> None:
        self._settings = settings
        self._faults: list[KafkaError] = []
        try:
            self._admin = admin_client(settings, self._faults.append)
        except KafkaException as error:
            raise CommandFailed(f"kafka.options: {reason(error).str()}", USAGE) from None
        # The first request fails as soon as the reason is known, the others are waited for.
        asked: Any = self._admin.describe_cluster()  # a future, whatever the stubs say
        cluster = self._wait(asked, hopeless=True)
        self.nodes = len(cluster.nodes or ())

    def describe(self, topics: Collection[str]) -> dict[str, TopicDescription | None]:
        """Return what the brokers know of each topic; None if there is no such topic."""
        if not topics:
            return {}
        asked = self._admin.describe_topics(
            TopicCollection(list(topics)), include_authorized_operations=True
        )
        found: dict[str, TopicDescription | None] = {}
        for topic, future in asked.items():
            try:
                found[topic] = self._wait(future, f"topic {topic}: ", expected=_NO_TOPIC)
            except _Expected:
                found[topic] = None
        return found

    def configuration(self, topic: str) -> dict[str, str | None]:
        """Return the configuration of a topic, defaults included."""
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        (future,) = self._admin.describe_configs([resource]).values()
        entries = self._wait(future, f"topic {topic}: ")
        return {name: entry.value for name, entry in entries.items()}

    def create(self, topic: NewTopic) -> bool:
        """Create a topic; return whether it was not there already."""
        (future,) = self._admin.create_topics([topic]).values()
        try:
            self._wait(future, f"topic {topic.topic}: ", expected=_TOPIC_EXISTS)
        except _Expected:
            return False
        return True

    def committed(
        self, group: str, partitions: Iterable[tuple[str, int]]
    ) -> dict[tuple[str, int], int]:
        """Return the offsets that a consumer group has committed; none where it never did."""
        wanted = [TopicPartition(*key) for key in partitions]
        if not wanted:
            return {}
        client = consumer(self._settings, group, self._faults.append)
        try:
            found = committed(client, wanted, _SECONDS)
        except KafkaException as failure:
            raise self._failure(f"consumer group {group}: ", reason(failure)) from None
        finally:
            client.close()
        return {(each.topic, each.partition): each.offset for each in found if each.offset >= 0}

    def begins(self, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Return the first offset that each partition still has."""
        return self._offsets(partitions, OffsetSpec.earliest())

    def ends(self, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Return the next offset of each partition."""
        return self._offsets(partitions, OffsetSpec.latest())

    def _offsets(
        self, partitions: Iterable[tuple[str, int]], which: OffsetSpec
    ) -> dict[tuple[str, int], int]:
        wanted = {TopicPartition(*key): which for key in partitions}
        asked: dict[TopicPartition, Future[Any]] = (
            cast(Any, self._admin).list_offsets(wanted) if wanted else {}
        )
        return {
            (each.topic, each.partition): self._wait(future, f"topic {each.topic}: ").offset
            for each, future in asked.items()
        }

    def _wait(
        self,
        future: Future[T],
        what: str = "",
        *,
        hopeless: bool = False,
        expected: Collection[int] = (),
    ) -> T:
        """Return the result of a request.

        Args:
            what: is asked for; begins the message of an error.
            hopeless: give up when all brokers have been tried, or one refuses our credentials.
            expected: codes of errors that are an answer too; they raise ``_Expected``.
        """
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                return future.result(_SLICE)
            except NotYet:
                if not future.done():
                    self._admin.poll(0)
                    codes = {fault.code() for fault in self._faults}
                    lost = hopeless and codes & (_DENIED | _UNHELPFUL)
                    if lost or time.monotonic() > deadline:
                        raise self._failure(what, None) from None
            except KafkaException as failure:
                error = reason(failure)
                if error.code() in expected:
                    raise _Expected from None
                raise self._failure(what, error) from None

    def _failure(self, what: str, error: KafkaError | None) -> CommandFailed:
        """Return the failure: of what the broker answered, else of the connection."""
        place = f"kafka: {self._settings.bootstrap_servers}"
        helpful = [fault for fault in self._faults if fault.code() not in _UNHELPFUL]
        timed_out = error is None or error.code() in (KafkaError._TIMED_OUT, KafkaError._TRANSPORT)
        if error is not None and not (timed_out and helpful):
            return CommandFailed(f"{place}: {what}{_text(error)}")
        cause = _text(helpful[0]) if helpful else f"no answer in {_SECONDS:.0f} s"
        refused = any(fault.code() in _DENIED for fault in helpful)
        way_out = (
            "the credentials in kafka.options"
            if refused
            else "kafka.bootstrap_servers, security.protocol in kafka.options"
        )
        return CommandFailed(f"{place}: {what}{cause} (check {way_out})")


def _text(error: KafkaError) -> str:
    """Return what librdkafka says, without which thread said it in which state."""
    return _DETAIL.sub("", " ".join(error.str().split()))
