"""The one clock. Event time never comes from here: only idle timeouts, guards and reports do."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "ManualClock", "SystemClock", "interrupt_sleep"]

_SLICE = 0.2
"""Seconds after which a sleep looks whether it is to end."""

_interrupted = False


def interrupt_sleep() -> None:
    """End every sleep of a ``SystemClock``, now and from now on, with ``KeyboardInterrupt``.

    Signals reach the main thread only. A worker in another one, which waits for a backend, would
    otherwise go on waiting when the process is asked to end. Safe in a signal handler.
    """
    global _interrupted  # noqa: PLW0603 - a lock could be held by the thread that the signal meets
    _interrupted = True


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
        """Wait.

        Raises:
            KeyboardInterrupt: the process is asked to end, see ``interrupt_sleep``.
        """
        end = time.monotonic() + seconds
        while not _interrupted:
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, _SLICE))
        raise KeyboardInterrupt


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
