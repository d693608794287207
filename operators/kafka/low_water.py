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

There are two such marks. The one above is enough where the snapshots of the shards are there too:
they have what was folded before it. The *first mark* is for a start without any snapshot, when the
recovery store was lost: from there on Kafka also has the whole of the coarsest window that is still
open, and points before it, from which counters rise. It lies some minutes further back.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from operators.contracts.watermark import UNKNOWN

__all__ = ["LowWater"]

_GRAIN: Final = 1_000_000_000
"""Nanoseconds of event time within which polls are one to the first mark, which is kept for longer."""


class LowWater:
    """Shared by the steps of one flow in one process; each partition is noted by one thread.

    Args:
        coarsest: length of the coarsest window, in nanoseconds of event time.
        history: nanoseconds before that window that a start without a snapshot has to see, so that
            counters have a point to rise from.
        held: nanoseconds before the first window that can still change that steps before the
            windows need: what they hold adds to what it has.
    """

    def __init__(self, coarsest: int = 1, history: int = 0, held: int = 0) -> None:
        self._coarsest = coarsest
        self._history = history
        self._held = held
        self._reached = (UNKNOWN, UNKNOWN)
        self._open: dict[str, _Mark] = {}
        self._first: dict[str, _Mark] = {}

    def begin(self, partition: str, offset: int, first: int | None = None) -> None:
        """Start at an offset: nothing before it matters, or nothing before ``first``."""
        self._open[partition] = _Mark(offset)
        self._first[partition] = _Mark(offset if first is None else min(first, offset), _GRAIN)

    def note(self, partition: str, offset: int, latest: int) -> None:
        """Say that up to ``offset`` (exclusive) no event time is later than ``latest``."""
        if partition in self._open:
            self._open[partition].note(offset, latest)
            self._first[partition].note(offset, latest)

    @property
    def reached(self) -> tuple[int, int]:
        """The furthest watermark of a shard, and the event time below which by it nothing matters."""
        return self._reached

    def freeze(self, watermark: int, before: int) -> None:
        """Say that by ``watermark`` no event time below ``before`` matters to a window any more."""
        if before > UNKNOWN:
            before = max(UNKNOWN, before - self._held)
        self._reached = max(self._reached, (watermark, before))

    def offset(self, partition: str, frozen: int) -> int:
        """Return the first offset that still matters if no event time below ``frozen`` does."""
        return self._open[partition].advance(frozen)

    def state(self, partition: str) -> Any:  # noqa: ARG002 - for who keeps more
        """Return what else a snapshot has to keep of a partition, as plain data; None for nothing."""
        return None

    def restore(self, partition: str, state: Any) -> None:
        """Take up what ``state`` gave, before the partition is begun."""

    def first_offset(self, partition: str, frozen: int) -> int:
        """Return the offset from which all is known without a snapshot of what was folded."""
        if frozen > UNKNOWN:
            frozen = max(UNKNOWN, frozen - frozen % self._coarsest - self._history)
        return self._first[partition].advance(frozen)


class _Mark:
    """An offset that moves on as event time freezes.

    Args:
        offset: where it begins.
        grain: polls whose latest times are in the same so many nanoseconds are kept as one.
    """

    def __init__(self, offset: int, grain: int = 1) -> None:
        self._offset = offset
        self._grain = grain
        self._polls: deque[tuple[int, int]] = deque()

    def note(self, offset: int, latest: int) -> None:
        if self._polls:
            before = self._polls[-1][1]
            latest = max(latest, before)
            if latest // self._grain == before // self._grain:
                self._polls.pop()
        self._polls.append((offset, latest))

    def advance(self, frozen: int) -> int:
        while self._polls and self._polls[0][1] < frozen:
            self._offset = self._polls.popleft()[0]
        return self._offset
