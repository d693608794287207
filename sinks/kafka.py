"""Kafka topics: messages, each of them confirmed.

Delivery is at least once, so whoever reads a topic of Headrace's drops what it has seen: of rollups
with the same (tenant, series, window, window_start), which are in one partition, the last counts,
of alert events with the same id any.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Self

import orjson
import polars as pl
from confluent_kafka import KafkaError

from operators.columns.batches import encode_batches, halve_batch
from operators.contracts.alert import decode_event
from operators.contracts.batch_form import BatchForm
from operators.contracts.frames import ALERT_EVENTS, MESSAGES
from operators.kafka.clients import KafkaSettings
from sinks.base import Destination, Remainder, rejects
from sinks.kafka_delivery import KafkaDelivery, Outgoing, is_refusal, is_too_large
from sinks.rollup_json import InvalidRollups, decode_rollups, encode_rollups

__all__ = [
    "InvalidRollups",
    "KafkaDestination",
    "alert_messages",
    "batch_messages",
    "read_alert_message",
    "read_rollup_messages",
    "rollup_messages",
]

_MESSAGE_BYTES: Final = 500_000


SPREAD: Final = "spread"
"""A column that a MESSAGES frame may have: messages of the same number are in one partition."""


class KafkaDestination(Destination):
    """Writes MESSAGES frames. What is too large for its topic is refused.

    Where there is a column ``spread``, its number modulo that of the topic's partitions is the
    partition: so a few numbers are spread evenly, which hashes of few keys are not.

    Args:
        settings: the brokers.
        compressed: the values are compressed already.
    """

    name = "kafka"

    def __init__(self, settings: KafkaSettings, *, compressed: bool = False) -> None:
        self._settings = settings
        self._delivery = KafkaDelivery(
            settings, {"compression.type": "none"} if compressed else None
        )
        self._remainder = Remainder()

    def connect(self) -> Self:
        """Begin to connect, without waiting for it: then the first write does not wait for that."""
        self._delivery.connect()
        return self

    def write(self, frame: pl.DataFrame) -> pl.DataFrame | None:
        """Produce a MESSAGES frame, and wait for all delivery reports."""
        rows = self._remainder.of(frame)
        messages = [
            Outgoing(topic, key, value)
            for topic, key, value in rows.select(MESSAGES.names()).iter_rows()
        ]
        if SPREAD in rows.columns:
            messages = [
                message._replace(partition=number % self._delivery.partitions(message.topic))
                for message, number in zip(messages, rows[SPREAD], strict=True)
            ]
        outcomes = self._send(messages)
        undelivered = [row for row, error in enumerate(outcomes) if error is not None]
        for row in undelivered:
            error = outcomes[row]
            if error is not None and not is_refusal(error):
                self._remainder.keep(frame, rows[undelivered])
                raise self._delivery.trouble((messages[row] for row in undelivered), error)
        if not undelivered:
            return None
        return rejects(
            self.name,
            [f"{messages[row].topic}: {outcomes[row]}" for row in undelivered],
            [_payload(messages[row]) for row in undelivered],
        )

    def _send(self, messages: list[Outgoing]) -> list[KafkaError | None]:
        """Send; what is too large for its topic goes in halves, if it can be cut."""
        outcomes = self._delivery.send(messages)
        for row, error in enumerate(outcomes):
            if error is None or not is_too_large(error):
                continue
            if halves := _halves(messages[row].value):
                parts = [messages[row]._replace(value=half) for half in halves]
                outcomes[row] = next((e for e in self._send(parts) if e is not None), None)
        return outcomes

    def restore(self, payloads: Sequence[bytes]) -> pl.DataFrame:
        """Return the MESSAGES frame of refused messages."""
        try:
            parts = [orjson.loads(payload) for payload in payloads]
            rows = [(part["topic"], _bytes(part["key"]), _bytes(part["value"])) for part in parts]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"not a message that {self.name} refused: {error}") from None
        return pl.DataFrame(rows, schema=MESSAGES, orient="row")

    def close(self) -> None:
        """Close the connections."""
        self._delivery.close()


def _payload(message: Outgoing) -> bytes:
    return orjson.dumps(
        {"topic": message.topic, "key": _text(message.key), "value": _text(message.value)}
    )


def _text(data: bytes | None) -> str | list[str] | None:
    """Return bytes as JSON can hold them: as text, else as a list with their base64."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return [base64.b64encode(data).decode()]


def _bytes(text: str | list[str] | None) -> bytes | None:
    if isinstance(text, list):
        return base64.b64decode(text[0])
    return None if text is None else text.encode()


def _halves(value: bytes) -> tuple[bytes, bytes] | None:
    """Cut a message of ours between two of its rows: a batch, or lines of JSON."""
    if value.startswith(b"{"):
        lines = value.split(b"\n")
        middle = len(lines) // 2
        if not middle:
            return None
        return b"\n".join(lines[:middle]), b"\n".join(lines[middle:])
    return halve_batch(value)


def batch_messages(
    frames: Sequence[tuple[int, pl.DataFrame]], form: BatchForm, topic: str, groups: int
) -> pl.DataFrame | None:
    """Return a MESSAGES frame, with ``spread``, of batches for our own flows; None if there are none.

    Args:
        frames: frames of the form, each with the number of the shard that it is of. All of a shard
            go into one partition, in their order.
        form: the contract.
        topic: where they go.
        groups: how many messages the shards of one write share: best the number of partitions.
    """
    by_group: dict[tuple[int, Any], list[pl.DataFrame]] = {}
    for shard, frame in frames:
        if frame.height:
            apart = frame[form.apart][0] if form.apart else None
            by_group.setdefault((shard % groups, apart), []).append(frame)
    keys, values = [], []
    for (group, _), members in by_group.items():
        made = list(encode_batches(pl.concat(members), form))
        keys += [group] * len(made)
        values += made
    if not values:
        return None
    return pl.DataFrame(
        {"topic": [topic] * len(keys), "key": [str(key).encode() for key in keys], "value": values,
         SPREAD: keys},
        schema={**MESSAGES, SPREAD: pl.Int32},
    )  # fmt: skip


def rollup_messages(frame: pl.DataFrame, topic: str, shards: int = 16) -> pl.DataFrame:
    """Return a MESSAGES frame of a SCORES frame: lines of JSON, up to half a megabyte together.

    These are for subscribers: ``rollup.schema.json`` describes a line. The key is `tenant/n`, where n is the series modulo `shards`: all rollups of a series are in
    one partition and in order, and a topic may have up to `shards` partitions a tenant.
    """
    lines = encode_rollups(frame).alias("line")
    sizes = pl.col("line").str.len_bytes().cast(pl.Int64) + 1
    key = pl.concat_str("tenant", pl.lit("/"), (pl.col("series") % shards).cast(pl.String))
    before = (sizes.cum_sum() - sizes).over("key")
    return (
        frame.select("tenant", "series", lines)
        .with_columns(key=key)
        .with_columns(part=before // _MESSAGE_BYTES)
        .group_by("key", "part", maintain_order=True)
        .agg(value=pl.col("line").str.join("\n"))
        .select(
            topic=pl.lit(topic),
            key=pl.col("key").cast(pl.Binary),
            value=pl.col("value").cast(pl.Binary),
        )
    )


def read_rollup_messages(values: Sequence[bytes]) -> pl.DataFrame:
    """Return the SCORES frame in the values of messages that `rollup_messages` made.

    Raises:
        InvalidRollups: one of them holds something else.
    """
    return decode_rollups(values)


def read_alert_message(value: bytes | memoryview) -> pl.DataFrame:
    """Return the ALERT_EVENTS frame of the event in a message's value.

    Its ``at`` is when the alert ended, or began if it fires.

    Raises:
        InvalidAlertEvent: it holds something else.
    """
    event = decode_event(bytes(value))
    at = datetime.fromisoformat(event["endsAt"] or event["startsAt"])
    return pl.DataFrame(
        {
            "id": [event["id"]],
            "fingerprint": [event["fingerprint"]],
            "status": [event["status"]],
            "at": [round(at.timestamp() * 1000) * 1_000_000],
            "event": [bytes(value)],
        },
        schema=ALERT_EVENTS,
    )


def alert_messages(frame: pl.DataFrame, topic: str) -> pl.DataFrame:
    """Return a MESSAGES frame of an ALERT_EVENTS frame; the key is the fingerprint."""
    return frame.select(
        topic=pl.lit(topic), key=pl.col("fingerprint").cast(pl.Binary), value=pl.col("event")
    )
