"""What the notifications topic says was told since a snapshot: read when the notifier starts again.

A snapshot is some seconds old when a process dies, and before the first one there is none. What was
delivered since is on the topic within milliseconds, so nothing of it has to be told twice, and
what ended meanwhile is told to be over.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Final

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from operators.kafka.clients import KafkaSettings, bounds, consumer
from operators.notifying.dedup import LogEntry
from operators.notifying.journal import Told, last_told

__all__ = ["read_told", "told_of"]

_log = logging.getLogger(__name__)

_TIMEOUT: Final = 10.0
_MARGIN: Final = 1_000
"""Milliseconds by which the clocks of brokers and ours may differ."""


def read_told(settings: KafkaSettings, topic: str, since: int) -> list[Told]:
    """Return what was delivered since an instant: of each group and integration the last entry.

    If the topic can't be read a line in the log says so, and nothing is returned: then what was
    told last may be told again.

    Args:
        settings: where the brokers are.
        topic: the notifications topic.
        since: nanoseconds since the Unix epoch; 0 for all that the topic has.
    """
    client = consumer(settings, "headrace.notification-log")
    try:
        # The topic may be long, and there are no more of these than groups.
        told = _read(client, topic, max(0, since // 1_000_000 - _MARGIN))
        return list(last_told(told).values())
    except KafkaException as error:
        _log.warning("%s: %s: what was told last may be told again", topic, error.args[0])
        return []
    finally:
        client.close()


def _read(client: Consumer, topic: str, since: int) -> Iterator[Told]:
    """Yield what was told since a time in milliseconds, up to the ends as they are now."""
    described = client.list_topics(topic, timeout=_TIMEOUT).topics[topic]
    if described.error is not None:
        if described.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return
        raise KafkaException(described.error)
    asked = [TopicPartition(topic, number, since) for number in described.partitions]
    begins = client.offsets_for_times(asked, timeout=_TIMEOUT)
    ends = {part.partition: bounds(client, part, _TIMEOUT)[1] for part in asked}
    left = {}
    for part in begins:
        if part.error is not None:
            raise KafkaException(part.error)
        if 0 <= part.offset < ends[part.partition]:
            left[part.partition] = ends[part.partition]
    if not left:
        return
    client.assign([part for part in begins if part.partition in left])
    deadline = time.monotonic() + _TIMEOUT
    while left and time.monotonic() < deadline:
        message = client.poll(0.2)
        if message is None:
            continue
        if (error := message.error()) is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                left.pop(message.partition() or 0, None)
                continue
            raise KafkaException(error)
        deadline = time.monotonic() + _TIMEOUT
        if (told := told_of(message.value() or b"")) is not None:
            yield told
        partition, offset = message.partition() or 0, message.offset() or 0
        if offset + 1 >= left.get(partition, 0):
            left.pop(partition, None)


def told_of(payload: bytes) -> Told | None:
    """Return what a record says was told, None if it says nothing of the kind."""
    try:
        record = orjson.loads(payload)
        log = record.get("log")
        if record["outcome"] != "delivered" or log is None:
            return None
        entry = LogEntry(
            log["at"],
            frozenset(log["firing"]),
            frozenset(log["resolved"]),
            flapping=frozenset(log.get("flapping", ())),
            receipt=log.get("receipt", ""),
            repeats=log.get("repeats", 0),
        )
        group = record["route"], record["groupKey"]
        return Told(group, record["integration"], entry, log.get("over", {}))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
