"""SIGHUP has a flow read again what may change while it runs, as servers do."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

__all__ = ["handle_reload", "has_terminal", "on_reload"]

_log = logging.getLogger("headrace")

_readers: Final[list[Callable[[], object]]] = []


def on_reload(then: Callable[[], object]) -> None:
    """Have something called, in a thread of its own, whenever this process is asked to read again."""
    _readers.append(then)


def handle_reload() -> None:
    """Read again on SIGHUP; but where it says that the terminal is gone, end.

    Raises:
        ValueError: this is not the main thread.
    """
    began_at_terminal = has_terminal()

    def reload(number: int, frame: FrameType | None) -> None:
        del number, frame
        if began_at_terminal and not has_terminal():
            os.kill(os.getpid(), signal.SIGTERM)
            return
        _log.info("read again, as SIGHUP asks%s", "" if _readers else ": there is nothing to read")
        # This thread may be in the middle of what is called, and hold its locks.
        for then in _readers:
            threading.Thread(target=then, name="headrace-reload", daemon=True).start()

    signal.signal(signal.SIGHUP, reload)


def has_terminal() -> bool:
    """Return whether the process has a controlling terminal, which closing its window takes away."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
