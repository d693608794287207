"""What could not be used, said once a minute a reason; the newest is kept for ``headrace status``."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from threading import Lock
from typing import Final, NamedTuple

__all__ = ["REFUSALS", "Refusal", "Refusals"]

_log = logging.getLogger(__name__)

_SECONDS: Final = 60.0
_NUMBERS: Final = re.compile(r"\d+")
_MOST: Final = 1000
_LENGTH: Final = 300


class Refusal(NamedTuple):
    """A dead letter.

    Attributes:
        at: when it was written, in nanoseconds since the Unix epoch.
        origin: ``input``, or a sink.
        place: topic, partition and offset; empty for what a sink refused.
        reason: why, at most 300 characters.
    """

    at: int
    origin: str
    place: str
    reason: str


class Refusals:
    """Notes dead letters; may be called by several threads.

    Args:
        monotonic: seconds that never run backwards.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = Lock()
        self._said: dict[tuple[str, str, str], tuple[float, int]] = {}
        self.newest: Refusal | None = None

    def note(self, origin: str, topic: str, place: str, reason: str, count: int = 1) -> None:
        """Log that ``count`` letters were refused for a reason, unless that was said within a minute.

        Args:
            origin: ``input``, or a sink.
            topic: that they came from.
            place: of the newest of them.
            reason: why; numbers in it may differ.
            count: how many.
        """
        reason = " ".join(reason.split())[:_LENGTH]
        kind = (origin, topic, _NUMBERS.sub("#", reason))
        now = self._monotonic()
        with self._lock:
            self.newest = Refusal(time.time_ns(), origin, place, reason)
            if len(self._said) > _MOST:
                self._said.clear()
            since, held = self._said.get(kind, (-_SECONDS, 0))
            if now - since < _SECONDS:
                self._said[kind] = (since, held + count)
                return
            self._said[kind] = (now, 0)
        _log.warning(
            "%d dead letters of %s (the newest: %s): %s",
            held + count,
            origin,
            place or topic,
            reason,
        )


REFUSALS: Final = Refusals()
"""Those of this process."""
