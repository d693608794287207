"""Lines that wait for what may belong to them, and from where they are read again after a restart.

A stack trace comes as many lines, and a poll may end within one. The last lines of such a trace wait
for the next poll. No text of them is in a snapshot, for it is not scrubbed yet: a reader's snapshot
says which streams of lines wait and since which message, and Kafka has the lines. What a reader gives
again for their sake is taken in only as far as it waited; all else came out before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.kafka.low_water import LowWater

__all__ = ["HeldLines", "Opened", "PartitionLines"]

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Opened:
    """A record that waits for more lines: where its first line is, and when its last one came."""

    offset: int
    index: int
    clock: int


@dataclass(slots=True)
class PartitionLines:
    """What is known of the lines of one partition.

    Attributes:
        done: messages before this offset were looked at.
        clock: the latest of their times in Kafka, nanoseconds.
        rows: the lines that wait, in the order in which they came.
        opened: by stream, the record that they make up.
        resumed: what waited when the snapshot was made, while the lines are read again.
    """

    done: int
    clock: int = 0
    rows: pl.DataFrame | None = None
    opened: dict[str, Opened] = field(default_factory=dict)
    resumed: dict[str, Opened] | None = None

    @property
    def first(self) -> int:
        """The first message that still matters."""
        return min([self.done, *(each.offset for each in self.opened.values())])


class HeldLines(LowWater):
    """Shared by the steps of one flow in one process; each partition is seen by one thread."""

    def __init__(self) -> None:
        super().__init__()
        self._partitions: dict[str, PartitionLines] = {}
        self._resumed: dict[str, Any] = {}

    def begin(self, partition: str, offset: int, first: int | None = None) -> None:  # noqa: ARG002
        """Begin to read a partition at an offset, perhaps a second time."""
        known = self._partitions.get(partition)
        if known is not None and known.rows is not None and offset > known.first:
            known.done = offset  # they can't be read again, so they stay
            return
        state = self._resumed.pop(partition, None) or self.state(partition)
        made = self._partitions[partition] = PartitionLines(offset)
        if state is not None and state["version"] == _VERSION and state["done"] >= offset:
            made.done, made.clock = state["done"], state["clock"]
            made.opened = {key: Opened(*place) for key, *place in state["opened"]}
            made.resumed = dict(made.opened)

    def of(self, partition: str) -> PartitionLines:
        """Return what is known of a partition; of one that nobody began, as in tests, nothing."""
        return self._partitions.setdefault(partition, PartitionLines(0))

    def passed(self, topic: str, partitions: NDArray[np.int32], offsets: NDArray[np.int64]) -> None:
        """Note that messages were looked at, of a topic in which nothing waits."""
        for number in np.unique(partitions):
            state = self.of(f"{topic}/{number}")
            state.done = max(state.done, int(offsets[partitions == number].max()) + 1)
            state.resumed, state.opened = None, {}

    def offset(self, partition: str, frozen: int) -> int:  # noqa: ARG002 - no window is asked
        """Return the first offset that still matters."""
        return self._partitions[partition].first

    def first_offset(self, partition: str, frozen: int) -> int:
        """Return the same: without a snapshot no more is needed."""
        return self.offset(partition, frozen)

    def state(self, partition: str) -> Any:
        """Return what a snapshot keeps of a partition: no text but the names of streams."""
        known = self._partitions.get(partition)
        if known is None:
            return None
        return {
            "version": _VERSION,
            "done": known.done,
            "clock": known.clock,
            "opened": [
                (key, each.offset, each.index, each.clock) for key, each in known.opened.items()
            ],
        }

    def restore(self, partition: str, state: Any) -> None:
        """Take up what a snapshot kept, when the partition is begun."""
        if state is not None:
            self._resumed[partition] = state
