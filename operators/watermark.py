"""The watermark: up to when event time is complete, as far as can be known.

Each Kafka partition has its own: the largest event time seen in it, minus the allowed disorder.
The minimum over the partitions that may still bring something closes windows. Which partitions
those are is not guessed from the system clock here, but told by the reader (``Mark``).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, TypedDict

__all__ = ["UNKNOWN", "Mark", "Watermark", "WatermarkState"]

UNKNOWN: Final = -(2**62)
"""No event time is known to be complete."""


class Mark(Enum):
    """What a reader knows of the future of a partition."""

    LIVE = "live"  # more may come at any time
    IDLE = "idle"  # at its end, and nothing came for the idle timeout
    ENDED = "ended"  # nothing more will be read from it in this run


class WatermarkState(TypedDict):
    """Snapshot: largest event time by partition, and the watermark reached."""

    largest: dict[str, int]
    reached: int


class Watermark:
    """Follows the partitions of all readers.

    Args:
        readers: number of readers; time does not advance before each has named its partitions,
            since one not heard of yet may bring older data.
        disorder: nanoseconds that a point may lag behind a later one of its partition.
    """

    def __init__(self, readers: int, disorder: int, state: WatermarkState | None = None) -> None:
        self._disorder = disorder
        # Also after a restart: what was idle may have a backlog by now, and a partition of a topic
        # that is not read any more must not hold time back for ever.
        self._awaited = set(range(readers))
        self._largest: dict[str, int] = dict(state["largest"]) if state else {}
        self._marks: dict[str, Mark] = {}
        self._reached = state["reached"] if state else UNKNOWN

    @property
    def value(self) -> int:
        """Nanoseconds since the epoch up to which event time is complete; it never falls."""
        return self._reached

    @property
    def silent(self) -> bool:
        """Whether no partition may bring anything soon: what is open can be shown as it stands."""
        return not self._awaited and bool(self._marks) and Mark.LIVE not in self._marks.values()

    @property
    def awaits(self) -> bool:
        """Whether a reader has not named its partitions yet."""
        return bool(self._awaited)

    def update(
        self,
        reader: int,
        largest: Mapping[str, int],
        marks: Mapping[str, Mark],
        *,
        replay: bool = False,
    ) -> None:
        """Take in what an item of ``reader`` brought: event times first, then its marks.

        A ``replay`` is of what was read before a restart; the reader has yet to name its partitions.
        """
        if replay:
            for partition, ts in largest.items():
                self._largest[partition] = max(ts, self._largest.get(partition, UNKNOWN))
            return
        self._awaited.discard(reader)
        for partition, ts in largest.items():
            self._largest[partition] = max(ts, self._largest.get(partition, UNKNOWN))
            self._marks[partition] = Mark.LIVE
        for partition, mark in marks.items():
            self._marks[partition] = mark
            self._largest.setdefault(partition, UNKNOWN)
        self._reached = max(self._reached, self._current())

    def reach(self, watermark: int) -> None:
        """Take up how far another shard is, which got the same in another order."""
        self._reached = max(self._reached, watermark)

    def _current(self) -> int:
        if self._awaited or not self._marks:
            return UNKNOWN
        live = [self._largest[name] for name, mark in self._marks.items() if mark is Mark.LIVE]
        if live:
            return min(live) - self._disorder
        # All are idle or at their end: time stands where the furthest partition left it.
        return max(self._largest.values()) - self._disorder

    def snapshot(self) -> WatermarkState:
        """Return plain data to resume from."""
        return {"largest": dict(self._largest), "reached": self._reached}
