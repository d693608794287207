"""What the steps of the traces need to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["KeepingRules", "TraceSettings"]


@dataclass(frozen=True, slots=True)
class KeepingRules:
    """Which traces are kept; times in nanoseconds.

    Attributes:
        errors: all with a span that failed.
        slow: all that took at least so long, from their first span's begin to their last one's end; 0
            for none.
        rest: how many of the others, of each root operation and slot.
        max_age: how long a trace waits for its root.
        memory: bytes of undecided spans of a tenant in one shard.
        slow_quantile: all that took longer than this share of those of their root operation in the
            time before, ``slow_history``; 0 for none.
        spans, bytes: so many of the others of a tenant and slot may be kept; 0 for any number.
    """

    errors: bool
    slow: int
    rest: int
    max_age: int
    memory: int = 1 << 40
    slow_quantile: float = 0.0
    slow_history: int = 3_600_000_000_000
    spans: int = 0
    bytes: int = 0

    @property
    def budget(self) -> bool:
        """Whether what is kept of the others is limited for a tenant as a whole."""
        return bool(self.spans or self.bytes)


class TraceSettings(Protocol):
    """What the step of the spans needs to know; ``flows.settings.TraceRules`` is one. Times in nanoseconds."""

    @property
    def window(self) -> int:
        """Length of the finest windows of rollups."""
        ...

    @property
    def hold(self) -> int:
        """How long after the end of its window a span still counts."""
        ...

    @property
    def disorder(self) -> int:
        """How far a span's end may lag behind a later one of its partition."""
        ...

    @property
    def partition_lag(self) -> int:
        """How far a partition that is read to its end may be behind others and hold back time."""
        ...

    @property
    def evict_after(self) -> int:
        """Silence after which a series is forgotten."""
        ...

    @property
    def series_shards(self) -> int:
        """Number of shards of the series."""
        ...

    @property
    def shards(self) -> int:
        """Number of shards of the traces, and of their root operations."""
        ...

    @property
    def sampling(self) -> KeepingRules | None:
        """Which traces are kept; none if there is no rule."""
        ...
