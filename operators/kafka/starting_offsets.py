"""Which partitions there are, and where a reader begins and ends in them, as the broker tells."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from operators.contracts.clock import Clock
from operators.contracts.items import Lost
from operators.contracts.watermark import UNKNOWN
from operators.kafka.clients import bounds
from operators.kafka.commits import read_committed_text
from operators.kafka.gaps import EMPTIED, MADE_ANEW, REMOVED, TRUNCATED

__all__ = ["Place", "SourceError", "StartingOffsets", "Stood"]

_log = logging.getLogger(__name__)

_CONNECT_SECONDS: Final = 60.0


class SourceError(RuntimeError):
    """The input can't be read; the message names the broker or topic and the way out."""


class Stood(NamedTuple):
    """Where a flow stood in a partition, as a snapshot, a commit or a running reader has it.

    Attributes:
        offset: the next to read.
        replay: the low-water mark, from where it is read again for windows that are open.
        first: the first mark, see ``operators.kafka.low_water``.
        known: messages before this offset were dealt with by a run whose recovery store is lost.
        final: windows that end by this event time have come out for good.
        topic: id of the topic; None if it was not known.
    """

    offset: int
    replay: int
    first: int
    known: int = 0
    final: int = UNKNOWN
    topic: str | None = None


class Place(NamedTuple):
    """Where to begin in a partition.

    Attributes:
        stood: where it stands now; corrected, if what it was is not there any more.
        end: where to end; None for never.
        lost: what is gone.
    """

    stood: Stood
    end: int | None
    lost: Lost | None = None


class StartingOffsets:
    """Asks a broker, which at a start may not be up yet, where partitions begin.

    Args:
        consumer: a member of the group, which it asks by.
        bootstrap_servers: what the broker is called in messages.
        topics: topics that are read.
        group: consumer group whose committed offsets count.
        since: see ``KafkaSource``.
        until_end: a topic that does not exist is an error, and partitions have an end.
        from_first: what is committed is read from its first mark on, to rebuild what is open.
        clock: tells when something was found lost.
    """

    def __init__(
        self,
        consumer: Consumer,
        bootstrap_servers: str,
        topics: Sequence[str],
        group: str,
        *,
        since: str,
        until_end: bool,
        from_first: bool,
        clock: Clock,
    ) -> None:
        self._consumer = consumer
        self._where = f"Kafka at {bootstrap_servers}"
        self._topics = topics
        self._group = group
        self._since = since
        self._until_end = until_end
        self._from_first = from_first
        self._clock = clock

    def numbers(self, topic: str, first: bool) -> list[int] | None:
        """Return the numbers of a topic's partitions, none if it does not exist (yet).

        A broker is asked: what the client remembers of a topic may be wrong while brokers are
        away. None is returned where no broker can tell now, which is waited for at the start.
        """
        deadline = time.monotonic() + (_CONNECT_SECONDS if first else 0.0)
        while True:
            try:
                described = self._consumer.list_topics(topic, timeout=5.0).topics[topic]
            except KafkaException as error:
                if not first:
                    _log.warning("cannot list the partitions of %s: %s", topic, error)
                    return None
                if time.monotonic() > deadline:
                    raise SourceError(
                        f"{self._where} can't be reached "
                        f"({error}): check kafka.bootstrap_servers and kafka.options"
                    ) from None
                _log.warning("%s can't be reached yet", self._where)
                continue
            if described.error is None:
                return sorted(described.partitions)
            if self._until_end:
                raise SourceError(
                    f"{topic}: {described.error.str()} (run `headrace setup`, or correct inputs)"
                )
            if first:
                _log.warning("%s: %s; waiting for it", topic, described.error.str())
            elif described.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                # For example one may not read it for a while: that does not mean it is gone.
                _log.warning("cannot list the partitions of %s: %s", topic, described.error)
                return None
            return []

    def places(
        self,
        found: Sequence[tuple[str, int]],
        first: bool,
        stood: Mapping[tuple[str, int], Stood],
        ids: Mapping[str, str],
    ) -> dict[tuple[str, int], Place]:
        """Return where each partition begins and ends; nothing if the broker can't tell now.

        At the start it is asked for a minute: one that has just come up answers before it knows
        who keeps the offsets of a group, or who leads a partition.

        Args:
            found: topics and numbers of partitions.
            first: this is the start of the flow.
            stood: where it stood in those that it knows of; counts before what is committed.
            ids: of topics, where they are known.
        """
        deadline = time.monotonic() + _CONNECT_SECONDS
        while True:
            try:
                known = {key: stood[key] for key in found if key in stood}
                rest = [key for key in found if key not in known]
                # A partition that appears while we run is new: all of it is wanted.
                since = self._since if first else "earliest"
                if since == "committed":
                    known |= self._committed(rest)
                return {key: self._place(key, known.get(key), since, ids) for key in found}
            except KafkaException as error:
                if not first:
                    _log.warning("%s can't tell where new partitions begin: %s", self._where, error)
                    return {}
                if time.monotonic() > deadline:
                    raise SourceError(
                        f"{self._where} can't tell where to begin in {', '.join(self._topics)} ({error}): "
                        f"check that group {self._group} may read and commit there"
                    ) from None
                _log.warning("%s can't tell yet where to begin: %s", self._where, error)
                time.sleep(1.0)

    def end(self, topic: str, number: int, seconds: float = 30.0) -> int:
        """Return where a partition ends now. Raises ``KafkaException`` if nobody tells in time."""
        return self._bounds((topic, number), seconds)[1]

    def _bounds(self, key: tuple[str, int], seconds: float = 30.0) -> tuple[int, int]:
        return bounds(self._consumer, TopicPartition(*key), seconds)

    def _committed(self, keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Stood]:
        """Return where the group stands, as far as it has committed."""
        if not keys:
            return {}
        found = {}
        for known in self._consumer.committed([TopicPartition(*key) for key in keys], 30.0):
            if known.offset < 0:
                continue
            said = read_committed_text(known.offset, known.metadata)
            stands = Stood(known.offset, known.offset, known.offset, topic=said.topic)
            if self._from_first:
                stands = Stood(
                    said.first, said.first, said.first, known.offset, said.final, said.topic
                )
            found[known.topic, known.partition] = stands
        return found

    def _place(
        self, key: tuple[str, int], stood: Stood | None, since: str, ids: Mapping[str, str]
    ) -> Place:
        """Return where to begin, given where the flow stood and what there is."""
        low, high = self._bounds(key)
        end = high if self._until_end else None
        identity = ids.get(key[0])
        if stood is None:
            start = high if since == "latest" else low
            return Place(Stood(start, start, start, topic=identity), end)
        reached = max(stood.offset, stood.known)
        anew = None not in (stood.topic, identity) and stood.topic != identity
        lost: Lost | None = None
        if anew or reached > high:
            # Above the end of the same topic there is nothing yet; another topic is all new.
            truncated = not anew and identity is not None and stood.topic is not None
            start = high if truncated else low
            lost = self._lost(key, TRUNCATED if truncated else MADE_ANEW, reached, start, 0)
            again = (min(stood.replay, start), min(stood.first, start))
            stood = Stood(start, *again, final=stood.final)
            if not truncated:
                stood = stood._replace(replay=start, first=start)
        elif reached < low:
            lost = self._lost(key, REMOVED, reached, low, low - reached)
            stood = Stood(low, low, low, final=stood.final)
        elif (needed := min(stood.replay, stood.offset)) < low:
            lost = self._lost(key, EMPTIED, needed, low, low - needed)
            stood = stood._replace(offset=max(stood.offset, low), replay=low, first=low)
        return Place(stood._replace(topic=identity or stood.topic), end, lost)

    def _lost(
        self, key: tuple[str, int], reason: str, position: int, start: int, count: int
    ) -> Lost:
        return Lost(*key, reason, position, start, count, self._clock.now())
