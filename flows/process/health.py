"""Whether a flow's process is alive, judged by what its metrics show to move."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from threading import Lock
from typing import Final, NamedTuple

from flows.process.readings import by_label, total
from operators.contracts.monitoring import BATCH_SECONDS, LAST_POLL, SINK_BLOCKED, SINK_ROWS

__all__ = ["OVER", "STUCK_SECONDS", "Health", "Pulse", "State"]

STUCK_SECONDS: Final = 60.0


class State(StrEnum):
    """What a flow's process is doing."""

    STARTING = "starting"
    """No poll yet: state is being restored, peers are awaited, or no reader runs here."""
    RUNNING = "running"
    BLOCKED = "blocked"
    """A sink's backend can't be reached, and the flow waits for it."""
    STUCK = "stuck"
    """Nothing has moved for a minute, and no sink says why."""
    FINISHED = "finished"
    """It read all that it was to read, and ended."""
    STOPPED = "stopped"
    """It was told to end, by SIGTERM or Ctrl-C."""
    FAILED = "failed"
    """It ended by an error."""


OVER: Final = frozenset({State.FINISHED, State.STOPPED, State.FAILED})
"""The states of a process that has ended."""


class Health(NamedTuple):
    """What a look at the pulse gives.

    Attributes:
        quiet: seconds since something was last seen to move; 0 before the first poll.
        blocked: the sinks that wait for their backend.
    """

    state: State
    quiet: float
    blocked: tuple[str, ...]

    @property
    def is_alive(self) -> bool:
        """Say whether the process had better be left alone."""
        return self.state is not State.STUCK


class Pulse:
    """Looks at the metrics of the process, from time to time, for signs of life.

    A poll is one, and so is what a sink has written or a step has done: the writes at the end of
    a large batch may keep the source waiting for longer than a minute. A process that has not
    polled yet is never called stuck: restoring a large state takes what it takes.

    Args:
        monotonic: seconds that never run backwards.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = Lock()
        self._signs = _signs()
        self._moved = monotonic()

    def look(self) -> Health:
        """Return how the process is now; called by the heartbeat and by HTTP requests."""
        signs = _signs()
        with self._lock:
            now = self._monotonic()
            if signs != self._signs:
                self._signs, self._moved = signs, now
            quiet = now - self._moved
        blocked = tuple(sorted(sink for sink, on in by_label(SINK_BLOCKED, "sink").items() if on))
        if blocked:
            return Health(State.BLOCKED, quiet, blocked)
        if not signs[0]:
            return Health(State.STARTING, 0.0, ())
        return Health(State.STUCK if quiet > STUCK_SECONDS else State.RUNNING, quiet, ())


def _signs() -> tuple[float, float, float]:
    return total(LAST_POLL), total(SINK_ROWS), total(BATCH_SECONDS)
