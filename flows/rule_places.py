"""Which shard each group of rules stands on: agreed on a topic, so that no group moves from its alerts.

Groups are placed by what they cost, so another rule file may have another group somewhere else. The
alerts that are pending there, and the samples, are of the shard. So what stood somewhere stays; all
processes have to know where that was, after a restart too. A topic of one partition has an order:
of several processes that propose places for the same groups, the first one counts.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import orjson
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from flows.process.reloading import on_reload
from flows.settings import Settings
from operators.kafka.clients import KafkaSettings, bounds, consumer
from operators.rules.loading import PlacesUnknown, RuleFiles
from operators.rules.placement import Places
from sinks.kafka_delivery import KafkaDelivery, Outgoing, explain

__all__ = ["AgreedPlaces", "agreed_rules"]

_log = logging.getLogger(__name__)

_SCHEMA: Final = "headrace.rule-places/v1"
_KEY: Final = b"places"
_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 2.0
_GONE: Final = 10_000
"""How many groups are remembered at most that are not there any more, in case they come back."""

Document = Mapping[str, Any]


def agreed_rules(settings: Settings) -> RuleFiles:
    """Return what reads the rule files, again on SIGHUP too, and places groups as all processes do.

    It waits for the brokers for as long as it takes, as readers do.

    Raises:
        RuleFileError: a file can't be used; the text names file, group and rule.
    """
    rules = settings.rules
    agree = AgreedPlaces(settings.kafka, settings.topics.rule_places, rules.shards)
    while True:
        try:
            loaded = rules.loaded(agree)
        except PlacesUnknown as error:
            _log.warning("rules can't begin yet: %s", error)
            time.sleep(_AGAIN_SECONDS)
        else:
            on_reload(loaded.read_again)
            return loaded


class AgreedPlaces:
    """Callable that has all processes place groups alike.

    Args:
        settings: the brokers.
        topic: that says where groups stand.
        shards: how many there are; places among another number of them do not count.
    """

    def __init__(self, settings: KafkaSettings, topic: str, shards: int) -> None:
        self._settings = settings
        self._topic = topic
        self._shards = shards
        self._alone: Places = {}

    def __call__(self, digest: str, wanted: Callable[[Places], Places]) -> Places:
        """Return where groups stand.

        Args:
            digest: of the groups.
            wanted: says where they ought to stand, by where groups stood.

        Raises:
            PlacesUnknown: the brokers do not answer.
        """
        try:
            told = self._told()
            if told is None:
                _log.warning(
                    "topic %s is not there: where groups of rules stand is not remembered over a "
                    "restart; `headrace setup` makes it", self._topic,
                )  # fmt: skip
                self._alone = {**self._alone, **wanted(self._alone)}
                return self._alone
            stood = _places(told[-1]) if told else {}
            if (agreed := _first(told, digest)) is not None:
                return _places(agreed)
            mine = wanted(stood)
            gone = [key for key in stood if key not in mine][:_GONE]
            own = self._document(digest, {**{key: stood[key] for key in gone}, **mine})
            self._write(own)
            told = self._told() or []
            agreed = _first(told, digest)
            if agreed is None or not any(one["by"] == own["by"] for one in told):
                raise PlacesUnknown(f"{self._topic}: what was written can't be read")
            if told[-1]["places"] != agreed["places"]:
                # The topic is compacted to its last message: that has to say what counts.
                self._write({**agreed, "by": own["by"]})
            return _places(agreed)
        except KafkaException as error:
            raise PlacesUnknown(f"{self._topic}: {error.args[0]}") from error

    def _document(self, digest: str, places: Places) -> dict[str, Any]:
        return {
            "schema": _SCHEMA,
            "digest": digest,
            "by": uuid.uuid4().hex,
            "shards": self._shards,
            "places": [[file, name, shard] for (file, name), shard in sorted(places.items())],
        }

    def _write(self, document: Document) -> None:
        delivery = KafkaDelivery(self._settings)
        try:
            (error,) = delivery.send([self._message(document)])
        finally:
            delivery.close()
        if error is not None:
            raise PlacesUnknown(str(explain(self._settings, self._topic, error)))

    def _message(self, document: Document) -> Outgoing:
        # Where a topic has more partitions than one, only the first has an order for all.
        return Outgoing(self._topic, _KEY, orjson.dumps(document), partition=0)

    def _told(self) -> list[Document] | None:
        """Return all that was said, None if there is no topic."""
        client = consumer(self._settings, "headrace.rule-places")
        try:
            described = client.list_topics(self._topic, timeout=_SECONDS).topics[self._topic]
            if described.error is not None:
                if described.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    return None
                raise KafkaException(described.error)
            part = TopicPartition(self._topic, 0)
            first, end = bounds(client, part, _SECONDS)
            client.assign([TopicPartition(self._topic, 0, first)])
            found: list[Document] = []
            until = time.monotonic() + _SECONDS
            # Compaction leaves holes: only the end of the partition says that all was read.
            while first < end and time.monotonic() < until:
                message = client.poll(0.2)
                if message is None:
                    continue
                if (error := message.error()) is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        first = end
                        continue
                    raise KafkaException(error)
                first = (message.offset() or 0) + 1
                found += self._document_of(message.value() or b"")
            if first < end:
                raise PlacesUnknown(f"{self._topic}: it could not be read within {_SECONDS:g} s")
            return found
        finally:
            client.close()

    def _document_of(self, payload: bytes) -> Iterator[Document]:
        try:
            document: dict[str, Any] = orjson.loads(payload)
            known = document["schema"] == _SCHEMA and isinstance(document["by"], str)
            _places(document)
            if known and document["shards"] == self._shards:
                yield document
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            _log.warning("%s: a message says no places of rules; it is passed over", self._topic)


def _places(document: Document) -> Places:
    return {(str(file), str(name)): int(shard) for file, name, shard in document["places"]}


def _first(told: list[Document], digest: str) -> Document | None:
    """Return the first of those at the end that are all about the same groups."""
    found = None
    for document in reversed(told):
        if document["digest"] != digest:
            break
        found = document
    return found
