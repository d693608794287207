"""The dead-letter topic: what could not be decoded, or was refused for good, with its reason.

The value of a message is the payload as it was; its headers, all text, say the rest:

======================  =========================================================
``headrace.letter``     identity of the letter: the same for the same content
``headrace.origin``     ``input``, or the name of the sink whose backend refused it
``headrace.topic``      where an input came from; empty for a sink
``headrace.partition``  likewise, or -1
``headrace.offset``     likewise, or -1
``headrace.reason``     why it is here
``headrace.flow``       which flow sent it; may be empty
``headrace.encoding``   ``gzip`` if the payload was compressed, else empty
``headrace.piece``      ``0/1``, or which of how many pieces the message is
======================  =========================================================

A payload that is too large for a message is compressed, and cut into pieces if that is not
enough. The pieces have the same key, hence one partition and their order.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Final

import polars as pl

from operators.contracts.frames import REJECTS
from operators.contracts.refusals import REFUSALS
from operators.kafka.clients import KafkaSettings
from sinks.base import Destination, Remainder
from sinks.kafka_delivery import KafkaDelivery, Outgoing, is_too_large

__all__ = ["DeadLetter", "Envelope"]

_PIECE_BYTES: Final = 900_000
"""With the headers a little less than what brokers accept by default, 1 MiB."""
_SMALLEST_PIECE_BYTES: Final = 4_000
_REASON_CHARACTERS: Final = 2_000
_GZIP_LEVEL: Final = 6


@dataclass(frozen=True, slots=True)
class Envelope:
    """The headers of a dead letter's message, under the names above."""

    letter: str
    origin: str
    topic: str
    partition: int
    offset: int
    reason: str
    flow: str
    encoding: str
    piece: int
    pieces: int

    def headers(self) -> dict[str, bytes]:
        """Return them as Kafka carries them."""
        fields = {
            "letter": self.letter,
            "origin": self.origin,
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "reason": self.reason,
            "flow": self.flow,
            "encoding": self.encoding,
            "piece": f"{self.piece}/{self.pieces}",
        }
        return {f"headrace.{name}": str(value).encode() for name, value in fields.items()}

    @classmethod
    def of(cls, headers: Sequence[tuple[str, bytes | None]] | None) -> Envelope:
        """Read the headers of a message.

        Raises:
            ValueError: it is not a dead letter.
        """
        found = {
            name.removeprefix("headrace."): (value or b"").decode(errors="replace")
            for name, value in headers or []
        }
        try:
            piece, pieces = found["piece"].split("/")
            return cls(
                letter=found["letter"],
                origin=found["origin"],
                topic=found["topic"],
                partition=int(found["partition"]),
                offset=int(found["offset"]),
                reason=found["reason"],
                flow=found["flow"],
                encoding=found["encoding"],
                piece=int(piece),
                pieces=int(pieces),
            )
        except (KeyError, ValueError) as error:
            raise ValueError(f"not the headers of a dead letter: {error}") from None


class DeadLetter(Destination):
    """Writes REJECTS frames to the dead-letter topic; it refuses nothing.

    Args:
        settings: the brokers.
        topic: the dead-letter topic.
        flow: named in each letter.
    """

    name = "dead-letter"

    def __init__(self, settings: KafkaSettings, topic: str, flow: str = "") -> None:
        self._topic = topic
        self._flow = flow
        self._delivery = KafkaDelivery(settings)
        self._remainder = Remainder()
        self._piece_bytes = _PIECE_BYTES

    def write(self, frame: pl.DataFrame) -> None:
        """Write a REJECTS frame, and wait until all of it is confirmed."""
        left = self._remainder.of(frame)
        if left.height == frame.height:
            _tell(frame)
        while left.height:
            messages = [
                (row, message)
                for row, reject in enumerate(left.iter_rows(named=True))
                for message in self._messages(reject)
            ]
            outcomes = self._delivery.send(message for _, message in messages)
            failed = [
                (row, message, error)
                for (row, message), error in zip(messages, outcomes, strict=True)
                if error is not None
            ]
            left = left[sorted({row for row, _, _ in failed})]
            trouble = [error for _, _, error in failed if not is_too_large(error)]
            if trouble or (failed and self._piece_bytes <= _SMALLEST_PIECE_BYTES):
                self._remainder.keep(frame, left)
                error = trouble[0] if trouble else failed[0][2]
                raise self._delivery.trouble((message for _, message, _ in failed), error)
            if failed:  # the topic takes less than brokers do by default
                self._piece_bytes //= 2

    def close(self) -> None:
        """Close the connections."""
        self._delivery.close()

    def _messages(self, reject: dict[str, Any]) -> Iterator[Outgoing]:
        """Yield the messages of one row of a REJECTS frame."""
        payload: bytes = reject["payload"] or b""
        envelope = Envelope(
            letter=_identity(reject),
            origin=reject["origin"],
            topic=reject["topic"],
            partition=reject["partition"],
            offset=reject["offset"],
            reason=reject["reason"][:_REASON_CHARACTERS],
            flow=self._flow,
            encoding="",
            piece=0,
            pieces=1,
        )
        if len(payload) > self._piece_bytes:
            payload = gzip.compress(payload, _GZIP_LEVEL, mtime=0)
            envelope = replace(envelope, encoding="gzip")
        size = self._piece_bytes
        pieces = [payload[start : start + size] for start in range(0, len(payload), size)] or [b""]
        key = envelope.letter.encode()
        for number, piece in enumerate(pieces):
            headers = replace(envelope, piece=number, pieces=len(pieces)).headers()
            yield Outgoing(self._topic, key, piece, headers)


def _tell(frame: pl.DataFrame) -> None:
    """Say what was refused, a line a reason."""
    newest = frame.group_by("origin", "topic", "reason", maintain_order=True).agg(
        pl.col("partition", "offset").last(), pl.len().alias("count")
    )
    for row in newest.iter_rows(named=True):
        place = f"{row['topic']} {row['partition']}:{row['offset']}" if row["topic"] else ""
        REFUSALS.note(row["origin"], row["topic"], place, row["reason"], row["count"])


def _identity(reject: dict[str, Any]) -> str:
    digest = blake2b(reject["payload"] or b"", digest_size=16)
    for name in REJECTS:
        if name != "payload":
            digest.update(f"\x00{reject[name]}".encode())
    return digest.hexdigest()
