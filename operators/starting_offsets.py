"""Which partitions there are, and where a reader begins and ends in them, as the broker tells."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

__all__ = ["SourceError", "StartingOffsets"]

_log = logging.getLogger(__name__)

_CONNECT_SECONDS: Final = 60.0


class SourceError(RuntimeError):
    """The input can't be read; the message names the broker or topic and the way out."""


class StartingOffsets:
    """Asks a broker, which at a start may not be up yet, where partitions begin.

    Args:
        consumer: a member of the group, which it asks by.
        bootstrap_servers: what the broker is called in messages.
        topics: topics that are read.
        group: consumer group whose committed offsets count.
        since: see ``KafkaSource``.
        resume: by topic and partition, the next offset of a snapshot; it counts before all else.
        until_end: a topic that does not exist is an error, and partitions have an end.
    """

    def __init__(
        self,
        consumer: Consumer,
        bootstrap_servers: str,
        topics: Sequence[str],
        group: str,
        *,
        since: str,
        resume: Mapping[str, Mapping[int, int]],
        until_end: bool,
    ) -> None:
        self._consumer = consumer
        self._where = f"Kafka at {bootstrap_servers}"
        self._topics = topics
        self._group = group
        self._since = since
        self._resume = resume
        self._until_end = until_end

    def numbers(self, topic: str, first: bool) -> list[int]:
        """Return the numbers of a topic's partitions; none if it does not exist (yet)."""
        deadline = time.monotonic() + (_CONNECT_SECONDS if first else 0.0)
        while True:
            try:
                described = self._consumer.list_topics(topic, timeout=5.0).topics[topic]
            except KafkaException as error:
                if not first:
                    _log.warning("cannot list the partitions of %s: %s", topic, error)
                    return []
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
            return []

    def places(
        self, found: Sequence[tuple[str, int]], first: bool
    ) -> dict[tuple[str, int], tuple[int, int | None]]:
        """Return where each partition begins and ends; nothing if the broker can't tell now.

        At the start it is asked for a minute: one that has just come up answers before it knows
        who keeps the offsets of a group, or who leads a partition.
        """
        deadline = time.monotonic() + _CONNECT_SECONDS
        while True:
            try:
                return {
                    key: (start, self.end(*key) if self._until_end else None)
                    for key, start in self._starts(found, first).items()
                }
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
        place = TopicPartition(topic, number)
        _, high = self._consumer.get_watermark_offsets(place, timeout=seconds)
        return int(high)

    def _starts(self, found: Sequence[tuple[str, int]], first: bool) -> dict[tuple[str, int], int]:
        """Return where to begin reading each partition, as an absolute offset."""
        starts = {
            (topic, number): self._resume[topic][number]
            for topic, number in found
            if number in self._resume.get(topic, {})
        }
        rest = [key for key in found if key not in starts]
        # A partition that appears while we run is new: all of it is wanted.
        since = self._since if first else "earliest"
        if since == "committed" and rest:
            for known in self._consumer.committed([TopicPartition(*key) for key in rest], 30.0):
                if known.offset >= 0:
                    starts[known.topic, known.partition] = known.offset
        for topic, number in rest:
            if (topic, number) not in starts:
                low, high = self._consumer.get_watermark_offsets(
                    TopicPartition(topic, number), timeout=30.0
                )
                starts[topic, number] = high if since == "latest" else low
        return starts
