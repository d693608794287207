"""Saying the same thing once a minute: what a client of Kafka's says over and over.

A broker that is away, or a wrong address or password, makes each client complain many times a
second, in lines that differ in numbers only. One a minute stays in the log, with how many there were.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from threading import Lock
from typing import Final

__all__ = ["Repeats"]

_SECONDS: Final = 60.0
_LOGGERS: Final = (
    "operators.kafka.clients",
    "operators.kafka.fetching",
    "operators.kafka.reader",
    "operators.kafka.starting_offsets",
    "sinks.kafka",
)
_DIFFERS: Final = re.compile(r"\d+|\[thrd:[^\]]*\]|0x[0-9a-f]+")
"""What may differ between lines that say the same: numbers, and which thread says it."""
_MOST: Final = 1000


class Repeats(logging.Filter):
    """Lets a record of a Kafka client's pass if nothing like it did within the last minute.

    Args:
        monotonic: seconds that never run backwards.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._lock = Lock()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}  # when, and how many since

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether to write it; one that was held back before is counted in the next."""
        if not record.name.startswith(_LOGGERS) or record.levelno >= logging.CRITICAL:
            return True
        text = record.getMessage()
        kind = (record.name, _DIFFERS.sub("#", text))
        now = self._monotonic()
        with self._lock:
            if len(self._said) > _MOST:
                self._said.clear()
            since, held = self._said.get(kind, (-_SECONDS, 0))
            if now - since < _SECONDS:
                self._said[kind] = (since, held + 1)
                return False
            self._said[kind] = (now, 0)
        if held:
            record.msg, record.args = f"{text} (and {held} more like it since)", ()
        return True
