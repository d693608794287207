"""The watermark: up to when event time is complete, as far as can be known.

Each Kafka partition has its own: the largest event time seen in it, minus the allowed disorder.
The minimum over the partitions that may still bring something closes windows. Which partitions
those are is not guessed from the system clock here, but told by the reader (``Mark``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final, TypedDict

__all__ = ["UNKNOWN", "Mark", "ShardWatermarks", "Watermark", "WatermarkState"]

UNKNOWN: Final = -(2**62)
"""No event time is known to be complete."""


class Mark(Enum):
    """What a reader knows of the future of a partition."""

    LIVE = "live"  # more may come at any time, and some may wait at the broker already
    CAUGHT_UP = "caught_up"  # all that the broker has was read; more may come at any time
    IDLE = "idle"  # at its end, and nothing came for the idle timeout
    ENDED = "ended"  # nothing more will be read from it in this run


class ShardWatermarks:
    """How far each shard is, for a step that takes what all of them are past.

    Args:
        shards: how many there are.
        state: what ``state`` was, by the name of the shard.
    """

    def __init__(self, shards: int, state: Mapping[str, int] | None = None) -> None:
        self._shards = shards
        self._passed = dict(state or {})

    def hear(self, shard: str, passed: int) -> None:
        """Note how far a shard is; ``UNKNOWN`` if it did not say."""
        if passed > self._passed.get(shard, UNKNOWN):
            self._passed[shard] = passed

    @property
    def reached(self) -> int:
        """How far all of them are; ``UNKNOWN`` until each has said it."""
        if len(self._passed) < self._shards:
            return UNKNOWN
        return min(self._passed.values())

    @property
    def state(self) -> dict[str, int]:
        """Plain data."""
        return dict(self._passed)


_AWAITED: Final = (Mark.LIVE, Mark.CAUGHT_UP)
_NO_BOUND: Final = 2**62


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
        bound: nanoseconds that a partition may be behind the furthest one, and still hold time
            back. It counts only for what was read to its end (``Mark.CAUGHT_UP``): a backlog, after
            an outage or at a start, is waited for as long as it takes.
        patience: seconds that such a partition is waited for all the same. Those who write to
            several partitions write to one after the other.
    """

    def __init__(
        self,
        readers: int,
        disorder: int,
        state: WatermarkState | None = None,
        *,
        bound: int = _NO_BOUND,
        patience: float = 5.0,
    ) -> None:
        self._disorder = disorder
        self._bound = bound
        self._patience = patience
        # Also after a restart: what was idle may have a backlog by now, and a partition of a topic
        # that is not read any more must not hold time back for ever.
        self._awaited = set(range(readers))
        self._largest: dict[str, int] = dict(state["largest"]) if state else {}
        self._marks: dict[str, Mark] = {}
        self._behind_since: dict[str, float] = {}
        self._left_behind: frozenset[str] = frozenset()
        self._reached = state["reached"] if state else UNKNOWN

    @property
    def value(self) -> int:
        """Nanoseconds since the epoch up to which event time is complete; it never falls."""
        return self._reached

    @property
    def silent(self) -> bool:
        """Whether no partition may bring anything soon: what is open can be shown as it stands."""
        return (
            not self._awaited
            and bool(self._marks)
            and not any(mark in _AWAITED for mark in self._marks.values())
        )

    @property
    def ended(self) -> bool:
        """Whether nothing more will be read in this run."""
        marks = self._marks.values()
        return not self._awaited and bool(marks) and all(mark is Mark.ENDED for mark in marks)

    @property
    def awaits(self) -> bool:
        """Whether a reader has not named its partitions yet."""
        return bool(self._awaited)

    @property
    def left_behind(self) -> frozenset[str]:
        """Partitions that are too far behind to hold time back."""
        return self._left_behind

    def update(
        self,
        reader: int,
        largest: Mapping[str, int],
        marks: Mapping[str, Mark],
        *,
        replay: bool = False,
        now: float = 0.0,
    ) -> None:
        """Take in what an item of ``reader`` brought: event times first, then its marks.

        A ``replay`` is of what was read before a restart; the reader has yet to name its partitions.
        ``now`` is in seconds, on a clock that never runs backwards.
        """
        if replay:
            for partition, ts in largest.items():
                self._largest[partition] = max(ts, self._largest.get(partition, UNKNOWN))
            return
        self._awaited.discard(reader)
        for partition, ts in largest.items():
            self._largest[partition] = max(ts, self._largest.get(partition, UNKNOWN))
            if self._marks.get(partition) is not Mark.CAUGHT_UP:
                self._marks[partition] = Mark.LIVE
        for partition, mark in marks.items():
            self._marks[partition] = mark
            self._largest.setdefault(partition, UNKNOWN)
        self._reached = max(self._reached, self._current(now))

    def reach(self, watermark: int) -> None:
        """Take up how far another shard is, which got the same in another order."""
        self._reached = max(self._reached, watermark)

    @property
    def span(self) -> tuple[str, int, int] | None:
        """The partition that time waits for, its largest event time, and that of the furthest.

        None where nobody can say yet, or no partition is live.
        """
        live = [
            name
            for name, mark in self._marks.items()
            if mark in _AWAITED and name not in self._left_behind
        ]
        if self._awaited or not live:
            return None
        name = min(live, key=self._largest.__getitem__)
        return name, self._largest[name], max(self._largest.values())

    def slowest(self) -> tuple[str | None, int, int]:
        """Return the same if there is more than one partition, else None and unknown times."""
        span = self.span
        return (None, UNKNOWN, UNKNOWN) if span is None or len(self._marks) < 2 else span

    def _current(self, now: float) -> int:
        if self._awaited or not self._marks:
            return UNKNOWN
        live = {name for name, mark in self._marks.items() if mark in _AWAITED}
        if not live:
            # All are idle or at their end: time stands where the furthest partition left it.
            return max(self._largest.values()) - self._disorder
        least = min(self._largest[name] for name in live)
        furthest = max(self._largest[name] for name in live)
        if furthest - least > self._bound:
            self._find_left_behind(live, furthest - self._bound, now)
            least = min(self._largest[name] for name in live - self._left_behind)
        elif self._behind_since:
            self._behind_since, self._left_behind = {}, frozenset()
        return least - self._disorder

    def _find_left_behind(self, live: Iterable[str], floor: int, now: float) -> None:
        behind = {
            name
            for name in live
            if self._marks[name] is Mark.CAUGHT_UP and self._largest[name] < floor
        }
        self._behind_since = {name: self._behind_since.get(name, now) for name in behind}
        self._left_behind = frozenset(
            name for name, since in self._behind_since.items() if now - since >= self._patience
        )

    def snapshot(self) -> WatermarkState:
        """Return plain data to resume from."""
        return {"largest": dict(self._largest), "reached": self._reached}
