"""What Headrace asks of the engine that runs its dataflows, and what it promises to it.

Steps are written against these classes; ``operators.bytewax`` is the one module that runs them on
an engine. Another engine needs another such module, and nothing else.

**The epoch guarantee.** An engine cuts the stream into epochs. Low-water marks and committed
offsets rest on three promises of it:

1. *One cut.* The snapshots of one epoch, of every reader and every keyed logic, are of the same
   cut through the stream: an item that a reader gave before its snapshot has been through every
   logic before that logic's snapshot of the epoch. Example: a reader at offset 100 in epoch 7, so
   the windows of epoch 7 have the points up to offset 99 and no others.
2. *Readers first.* What a reader's snapshot says of the shards is what they had done by the epoch
   before. So it never takes for finished what a shard's snapshot of the same epoch has open.
3. *Sinks behind by one at most.* When a reader is asked for the snapshot of epoch n + 1, all that
   came of epoch n has been confirmed by the sinks. So the offsets of epoch n can be committed then.

After a crash all go on from the last cut that is whole, and what came after it is given again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

__all__ = ["EndOfInput", "KeyedLogic", "Reader", "Source", "Writer"]

In = TypeVar("In")
Out = TypeVar("Out")
Item = TypeVar("Item")


class KeyedLogic(ABC, Generic[In, Out]):
    """The state of one key, and what is done with the items of that key.

    The engine calls its methods from one thread at a time. It makes a logic when the first item
    of its key comes, or a snapshot of it is there.
    """

    @property
    def finished(self) -> bool:
        """Whether the state can be dropped; asked after each call that gives items."""
        return False

    @abstractmethod
    def on_batch(self, items: list[In]) -> list[Out]:
        """Take in items, in the order in which they came, and return what comes of them."""

    def on_wake(self) -> list[Out]:
        """Do what was due at ``wake_at``."""
        return []

    def on_end(self) -> list[Out]:
        """Return what is left, as no item will come any more."""
        return []

    def wake_at(self) -> datetime | None:
        """Return when to be woken if no item comes before; asked after every call."""
        return None

    @abstractmethod
    def snapshot(self) -> Any:
        """Return the state as plain data with a version number, which later calls do not change.

        Asked at the end of every epoch in which the logic was awake.
        """


class EndOfInput(Exception):
    """A reader has given all that it will ever give."""


class Reader(ABC, Generic[Item]):
    """One of the readers of a source."""

    @abstractmethod
    def next_batch(self) -> list[Item]:
        """Return what there is to read, without waiting for more than some tens of milliseconds.

        Raises:
            EndOfInput: there will never be more.
        """

    @abstractmethod
    def wake_at(self) -> datetime | None:
        """Return when to ask for the next batch; None for at once."""

    @abstractmethod
    def snapshot(self) -> Any:
        """Return where it stands, as plain data; asked at the end of every epoch."""

    @abstractmethod
    def close(self) -> None:
        """Release what it holds."""


class Source(ABC, Generic[Item]):
    """Where a flow begins: a fixed number of readers, which the engine spreads over its workers."""

    @abstractmethod
    def readers(self) -> Sequence[str]:
        """Name the readers; every worker can run each."""

    @abstractmethod
    def reader(self, name: str, state: Any | None) -> Reader[Item]:
        """Make a reader, or resume one from its snapshot."""


class Writer(ABC, Generic[Item]):
    """Where a flow ends: one on each worker."""

    @abstractmethod
    def write(self, items: list[Item]) -> None:
        """Write, and return when everything is confirmed. Its failure ends the flow."""

    @abstractmethod
    def close(self) -> None:
        """Release what it holds."""
