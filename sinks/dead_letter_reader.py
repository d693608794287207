"""Reading the dead-letter topic: whole letters, put together from their pieces."""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from operators.kafka.clients import KafkaSettings, bounds, committed, consumer
from sinks.dead_letter import Envelope
from sinks.kafka_delivery import explain, reason

__all__ = ["GroupSettings", "Letter", "group_name", "read_dead_letters", "redriven_until"]

_log = logging.getLogger(__name__)

_TIMEOUT: Final = 10.0
_POLLED: Final = 100
_POLL_SECONDS: Final = 0.1


class GroupSettings(KafkaSettings, Protocol):
    """Brokers, and the prefix of consumer groups; ``flows.settings.Kafka`` is one."""

    @property
    def group(self) -> str:
        """Return the name that consumer groups begin with."""
        ...


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter.

    Attributes:
        place: partition and offset on the dead-letter topic, of its first piece.
        written: when, in milliseconds since the Unix epoch.
        origin: ``input``, or the name of the sink that refused it.
        topic, partition, offset: where an input came from; empty and -1 for a sink.
        payload: the bytes of the input, or what the sink's ``restore`` takes.
        resume: the offset from which on, in its partition, nothing was read yet.
    """

    id: str
    place: tuple[int, int]
    written: int
    origin: str
    topic: str
    partition: int
    offset: int
    reason: str
    flow: str
    payload: bytes
    resume: int


def group_name(settings: GroupSettings) -> str:
    """Return the consumer group whose offsets say what was re-driven."""
    return f"{settings.group}.dead-letter"


def read_dead_letters(
    settings: GroupSettings,
    topic: str,
    *,
    pending: bool = False,
    only: Collection[tuple[int, int]] = (),
) -> Iterator[Letter]:
    """Yield the letters that are on ``topic`` now, in the order of each partition.

    Args:
        settings: the brokers.
        topic: the dead-letter topic.
        pending: leave out what was re-driven.
        only: places, ``(partition, offset)``; all if empty.

    Raises:
        sinks.base.Unavailable: the brokers can't be reached, or there is no such topic.
    """
    client = consumer(settings, group_name(settings))
    try:
        ends = _ends(client, topic)
        begin = redriven_until(settings, topic, client) if pending else {}
        if only:
            wanted = {partition for partition, _ in only}
            ends = {partition: end for partition, end in ends.items() if partition in wanted}
            begin = {p: min(offset for q, offset in only if q == p) for p in ends}
        for letter in _read(client, topic, begin, ends):
            if not only or letter.place in only:
                yield letter
    except KafkaException as failure:
        raise explain(settings, topic, reason(failure)) from None
    finally:
        client.close()


def redriven_until(
    settings: GroupSettings, topic: str, client: Consumer | None = None
) -> dict[int, int]:
    """Return for each partition the offset before which every letter was re-driven."""
    mine = client or consumer(settings, group_name(settings))
    try:
        partitions = [TopicPartition(topic, number) for number in _partitions(mine, topic)]
        known = committed(mine, partitions, _TIMEOUT)
    except KafkaException as failure:
        raise explain(settings, topic, reason(failure)) from None
    finally:
        if client is None:
            mine.close()
    return {each.partition: each.offset for each in known if each.offset != OFFSET_INVALID}


def _partitions(client: Consumer, topic: str) -> list[int]:
    known = client.list_topics(topic, timeout=_TIMEOUT).topics[topic]
    if known.error is not None:
        raise KafkaException(known.error)
    return sorted(known.partitions)


def _ends(client: Consumer, topic: str) -> dict[int, int]:
    """Return the end of each partition that is not empty."""
    ends = {}
    for number in _partitions(client, topic):
        low, high = bounds(client, TopicPartition(topic, number), _TIMEOUT)
        if high > low:
            ends[number] = high
    return ends


def _read(
    client: Consumer, topic: str, begin: Mapping[int, int], ends: Mapping[int, int]
) -> Iterator[Letter]:
    """Yield what stands between ``begin``, or the first message, and ``ends``."""
    assemblies = {
        number: _Assembly(number) for number, end in ends.items() if begin.get(number, 0) < end
    }
    # What retention has removed is skipped: the consumer starts at the earliest instead.
    client.assign([TopicPartition(topic, number, begin.get(number, 0)) for number in assemblies])
    silent = 0
    while assemblies:
        messages = client.consume(_POLLED, timeout=_POLL_SECONDS)
        silent = 0 if messages else silent + 1
        if silent * _POLL_SECONDS > _TIMEOUT:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        for message in messages:
            number, offset, error = message.partition(), message.offset(), message.error()
            if number is None or offset is None or number not in assemblies:
                continue
            if error is None:
                letter = assemblies[number].add(message, offset)
                if letter is not None:
                    yield letter
                if offset + 1 >= ends[number]:
                    del assemblies[number]
            elif error.code() == KafkaError._PARTITION_EOF:
                del assemblies[number]
            elif not error.retriable():
                raise KafkaException(error)


@dataclass(slots=True)
class _Open:
    """A letter whose pieces are not all there yet."""

    begin: int
    pieces: list[bytes]


class _Assembly:
    """Puts together the letters of one partition."""

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._open: dict[str, _Open] = {}

    def add(self, message: Message, offset: int) -> Letter | None:
        """Take the next message, and return the letter that it completes."""
        try:
            envelope = Envelope.of(message.headers())
        except ValueError as error:
            _log.warning("%s/%d@%d: %s", message.topic(), self._partition, offset, error)
            return None
        if envelope.piece == 0:  # again, after an interrupted try
            self._open[envelope.letter] = _Open(offset, [])
        letter = self._open.get(envelope.letter)
        if letter is None or envelope.piece != len(letter.pieces):
            return None  # of a try whose beginning, or another piece, did not get through
        letter.pieces.append(message.value() or b"")
        if len(letter.pieces) < envelope.pieces:
            return None
        del self._open[envelope.letter]
        payload = b"".join(letter.pieces)
        if envelope.encoding == "gzip":
            try:
                payload = gzip.decompress(payload)
            except (OSError, EOFError, zlib.error) as error:
                _log.warning("%s/%d@%d: %s", message.topic(), self._partition, offset, error)
                return None
        return Letter(
            id=envelope.letter,
            place=(self._partition, letter.begin),
            written=message.timestamp()[1],
            origin=envelope.origin,
            topic=envelope.topic,
            partition=envelope.partition,
            offset=envelope.offset,
            reason=envelope.reason,
            flow=envelope.flow,
            payload=payload,
            resume=min([offset + 1, *(other.begin for other in self._open.values())]),
        )
