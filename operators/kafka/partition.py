"""A partition that a reader owns, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka import TopicPartition

from operators.contracts.watermark import Mark

__all__ = ["Partition"]


@dataclass(slots=True)
class Partition:
    """A partition that a reader owns.

    Attributes:
        next_offset: the next to read.
        end: where to end; None for never.
        topic_id: None if it is not known.
        replay_at: from the low-water mark of before a restart up to the next offset.
        known: messages before this offset were dealt with by a run whose recovery store is lost.
        quiet_since: when its end was reached, on the monotonic clock.
        gone: its topic does not exist any more.
        look_again: when to ask the broker again whether it ends there.
    """

    topic: str
    number: int
    next_offset: int
    end: int | None
    topic_id: str | None = None
    replay_at: int = 0
    known: int = 0
    quiet_since: float | None = None
    gone: bool = False
    look_again: float = 0.0
    mark: Mark = Mark.LIVE

    @property
    def name(self) -> str:
        """Return what it is called in items."""
        return f"{self.topic}/{self.number}"

    @property
    def place(self) -> tuple[str, int]:
        """Return topic and number."""
        return self.topic, self.number

    @property
    def position(self) -> TopicPartition:
        """Return where to read on."""
        return TopicPartition(self.topic, self.number, self.next_offset)

    @property
    def replay_position(self) -> TopicPartition:
        """Return where to read on of what is read again."""
        return TopicPartition(self.topic, self.number, self.replay_at)
