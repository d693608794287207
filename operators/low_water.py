"""The low-water mark: from where a partition has to be read again after a restart.

Windows that can still change are not in any snapshot; Kafka has their points. So a reader keeps,
beside the offset that it goes on at, the one from which everything that matters to an open window
is read again. What is needed to know that lives in different steps of the flow and meets here:
the decoder notes which event times it met up to which offset, the windows say before which event
time nothing matters any more.

All shards of all processes get the same watermarks, and close what is due before each snapshot.
So what any of them had finished before a reader's snapshot, all of them have in theirs.
"""

from __future__ import annotations

from collections import deque

from operators.watermark import UNKNOWN

__all__ = ["LowWater"]


class LowWater:
    """Shared by the steps of one flow in one process; each partition is noted by one thread."""

    def __init__(self) -> None:
        self._frozen = UNKNOWN
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

    def freeze(self, before: int) -> None:
        """Say that no event time below ``before`` matters to a window any more."""
        self._frozen = max(self._frozen, before)

    def offset(self, partition: str) -> int:
        """Return the first offset that still matters."""
        polls, frozen = self._polls[partition], self._frozen
        while polls and polls[0][1] < frozen:
            self._offsets[partition] = polls.popleft()[0]
        return self._offsets[partition]
