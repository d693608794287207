"""A source of polls that are in memory already, so that no broker is in the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from bench.load import Load
from bench.topic import PARTITIONS
from operators.columns.messages import Messages
from operators.contracts.engine import EndOfInput, Reader, Source
from operators.contracts.items import Polled
from operators.contracts.watermark import Mark

__all__ = ["MemorySource"]


class MemorySource(Source[Polled]):
    """Gives a load's messages, one partition a reader, as ``KafkaSource`` would to the end.

    Args:
        load: what there is to read; all of it is made now.
        topic: name of the topic that it claims to be.
        poll_bytes: size of a poll.
        on_first: called when the first poll is asked for.
    """

    def __init__(
        self, load: Load, topic: str, poll_bytes: int, on_first: Callable[[], None]
    ) -> None:
        self._on_first = on_first
        messages = list(load.messages())
        polls = max(1, poll_bytes // len(messages[0]))
        self._items = {
            f"reader-{reader}": list(_items(reader, topic, messages[reader::PARTITIONS], polls))
            for reader in range(PARTITIONS)
        }

    def readers(self) -> list[str]:
        """Name the readers."""
        return list(self._items)

    def reader(self, name: str, _state: None) -> _Reader:
        """Make a reader; it can't be resumed."""
        return _Reader(self._items[name], self._on_first)


class _Reader(Reader[Polled]):
    def __init__(self, items: list[Polled], on_first: Callable[[], None]) -> None:
        self._items = iter(items)
        self._on_first = on_first

    def next_batch(self) -> list[Polled]:
        self._on_first()
        for item in self._items:
            return [item]
        raise EndOfInput

    def wake_at(self) -> None:
        return None

    def snapshot(self) -> None:
        return None

    def close(self) -> None:
        pass


def _items(reader: int, topic: str, messages: list[bytes], size: int) -> Iterator[Polled]:
    name = f"{topic}/{reader}"
    for begin in range(0, len(messages), size):
        values = messages[begin : begin + size]
        marks = {name: Mark.LIVE} if begin == 0 else {}
        if begin + size >= len(messages):
            marks = {name: Mark.ENDED}
        yield Polled(
            reader,
            topic,
            Messages.of(values),
            np.full(len(values), reader, np.int32),
            np.arange(begin, begin + len(values), dtype=np.int64),
            marks,
        )
