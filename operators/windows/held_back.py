"""Which partition windows wait for: time goes no further than the slowest partition of all."""

from __future__ import annotations

import logging
from typing import Final

from operators.contracts.clock import Clock
from operators.contracts.monitoring import HELD_BACK
from operators.contracts.watermark import UNKNOWN, Watermark

__all__ = ["HeldBack"]

_log = logging.getLogger(__name__)

_AGAIN: Final = 60.0
"""Seconds between two lines about the same partition."""


class HeldBack:
    """Says which partition has held windows back for longer than the idle timeout.

    One does while it is live, behind all others, and further behind the furthest than the timeout.

    Args:
        idle_timeout: nanoseconds.
        clock: measures how long it has been so.
    """

    def __init__(self, idle_timeout: int, clock: Clock) -> None:
        self._timeout = idle_timeout
        self._clock = clock
        self._partition: str | None = None
        self._since = 0.0
        self._said = 0.0

    def look(self, watermark: Watermark) -> None:
        """Look which partition it is now; to be called often."""
        now = self._clock.monotonic()
        partition, largest, furthest = watermark.slowest()
        if partition is not None and furthest - largest <= self._timeout:
            partition = None
        if partition != self._partition:
            if self._partition is not None:
                HELD_BACK.labels(self._partition).set(0)
            self._partition, self._since = partition, now
            self._said = now - _AGAIN
        held = now - self._since
        if partition is None or held * 1e9 < self._timeout:
            return
        HELD_BACK.labels(partition).set(held)
        if now - self._said < _AGAIN:
            return
        self._said = now
        behind = (
            f"{(furthest - largest) / 1e9:.0f} s behind the furthest"
            if largest > UNKNOWN
            else "without a point yet"
        )
        _log.warning(
            "all windows have been waiting for partition %s for %.0f s: it is %s. Look at who writes "
            "there: its clock may be behind, its points in another unit, or its messages not decoded",
            partition,
            held,
            behind,
        )
