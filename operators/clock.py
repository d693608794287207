"""The one clock. Event time never comes from here: only idle timeouts, guards and reports do."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "ManualClock", "SystemClock"]


class Clock(Protocol):
    """Tells the time of this machine."""

    def now(self) -> int:
        """Return nanoseconds since the Unix epoch."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never run backwards, for measuring durations."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> int:
        """Return nanoseconds since the Unix epoch."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class ManualClock:
    """A clock that moves only when told to, for tests; ``sleep`` moves it."""

    def __init__(self, now: int = 0) -> None:
        self._now = now

    def now(self) -> int:
        """Return nanoseconds since the Unix epoch."""
        return self._now

    def monotonic(self) -> float:
        """Return the same instant in seconds."""
        return self._now / 1e9

    def sleep(self, seconds: float) -> None:
        """Advance by ``seconds``, without waiting."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move the hands."""
        self._now += round(seconds * 1e9)
