"""Kafka topics: messages, each of them confirmed.

Delivery is at least once, so whoever reads a topic of Headrace's drops what it has seen: of rollups
with the same (tenant, series, window, window_start), which are in one partition, the last counts,
of alert events with the same id any.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final

import orjson
import polars as pl

from operators.frames import MESSAGES
from operators.kafka import KafkaSettings
from sinks.base import Destination, Remainder, rejects
from sinks.kafka_delivery import Delivery, Outgoing, is_refusal
from sinks.rollup_json import InvalidRollups, decode_rollups, encode_rollups

__all__ = [
    "InvalidRollups",
    "KafkaDestination",
    "alert_messages",
    "read_rollup_messages",
    "rollup_messages",
]

_MESSAGE_BYTES: Final = 500_000


class KafkaDestination(Destination):
    """Writes MESSAGES frames. What is too large for its topic is refused."""

    name = "kafka"

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._delivery = Delivery(settings)
        self._remainder = Remainder()

    def write(self, frame: pl.DataFrame) -> pl.DataFrame | None:
        """Produce a MESSAGES frame, and wait for all delivery reports."""
        rows = self._remainder.of(frame)
        messages = [
            Outgoing(topic, key, value)
            for topic, key, value in rows.select(MESSAGES.names()).iter_rows()
        ]
        outcomes = self._delivery.send(messages)
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


def rollup_messages(frame: pl.DataFrame, topic: str, shards: int = 16) -> pl.DataFrame:
    """Return a MESSAGES frame of a SCORES frame: lines of JSON, up to half a megabyte together.

    The key is `tenant/n`, where n is the series modulo `shards`: all rollups of a series are in
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


def alert_messages(frame: pl.DataFrame, topic: str) -> pl.DataFrame:
    """Return a MESSAGES frame of an ALERT_EVENTS frame; the key is the fingerprint."""
    return frame.select(
        topic=pl.lit(topic), key=pl.col("fingerprint").cast(pl.Binary), value=pl.col("event")
    )
