"""The low-water mark: from where a partition has to be read again after a restart.

Windows that can still change are not in any snapshot; Kafka has their points. So a reader keeps,
beside the offset that it goes on at, the one from which everything that matters to an open window
is read again. What is needed to know that lives in different steps of the flow and meets here:
the decoder notes which event times it met up to which offset, the windows say before which event
time nothing matters any more.

Shards get the items of several readers in different orders, so one may see a partition come back
from idleness before, and another after, the watermark has moved on without it. So a reader says
with each item which watermark some shard has *reached*, and goes by what it has said: every shard
takes that up, and closes what is due before each snapshot. What a reader's snapshot takes as
finished, all shards have finished in theirs.
"""

from __future__ import annotations

from collections import deque

from operators.watermark import UNKNOWN

__all__ = ["LowWater"]


class LowWater:
    """Shared by the steps of one flow in one process; each partition is noted by one thread."""

    def __init__(self) -> None:
        self._reached = (UNKNOWN, UNKNOWN)
        self._polls: dict[str, deque[tuple[int, int]]] = {}
        self._offsets: dict[str, int] = {}

    def begin(self, partition: str, offset: int) -> None:
        """Start at an offset: nothing before it matters."""
        self._offsets[partition] = offset
        self._polls[partition] = deque()

    def note(self, partition: str, offset: int, latest: int) -> None:
        """Say that up to ``offset`` (exclusive) no event time is later than ``latest``."""
        polls = self._polls.get(partition)
        if polls is None:
            return
        if polls:
            latest = max(latest, polls[-1][1])
        polls.append((offset, latest))

    @property
    def reached(self) -> tuple[int, int]:
        """The furthest watermark of a shard, and the event time below which by it nothing matters."""
        return self._reached

    def freeze(self, watermark: int, before: int) -> None:
        """Say that by ``watermark`` no event time below ``before`` matters to a window any more."""
        self._reached = max(self._reached, (watermark, before))

    def offset(self, partition: str, frozen: int) -> int:
        """Return the first offset that still matters if no event time below ``frozen`` does."""
        polls = self._polls[partition]
        while polls and polls[0][1] < frozen:
            self._offsets[partition] = polls.popleft()[0]
        return self._offsets[partition]
