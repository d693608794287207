"""The deadline of a process that was asked to end: past it, it ends without waiting for anything.

A worker may be waiting for a backend that took a request and never answers, or for a broker that
is down, in a call that no signal interrupts. Whoever asked (systemd, Kubernetes) would kill the
process in the end; this is the same, sooner, with a line in the log and the signal's exit status.
It costs nothing: what was not confirmed is written again after the next start.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection
from typing import Final

__all__ = ["GRACE", "watch_for"]

_log = logging.getLogger("headrace")

GRACE: Final = 3.0
"""Seconds that a process has to end in good order."""
_LAST: Final = 1.0
"""Seconds after which SIGALRM ends it, should the interpreter itself hang while it is taken down."""
_senders: Final[list[socket.socket]] = []
"""Python writes to their descriptors alone, so they are kept open here."""


def watch_for(signals: Collection[int], then: Callable[[], None]) -> None:
    """Call ``then`` when one of ``signals`` comes, and end the process ``GRACE`` seconds later.

    Both happen in a thread of its own, also while the main thread is in a call that does not
    return to Python, where handlers would have to wait.

    Args:
        signals: that have a Python handler already.
        then: tells others that the end is near; must be quick.

    Raises:
        ValueError: this is not the main thread.
    """
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    _senders.append(sender)
    signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)

    def watch() -> None:
        while (number := receiver.recv(1)[0]) not in signals:
            pass
        # Of the kernel's: once the interpreter is being taken down, this thread does not run again.
        signal.setitimer(signal.ITIMER_REAL, GRACE + _LAST)
        then()
        time.sleep(GRACE)
        _end(signal.Signals(number))

    threading.Thread(target=watch, name="headrace-deadline", daemon=True).start()


def _end(number: signal.Signals) -> None:
    _log.warning(
        "stopped by %s, without waiting for what did not end in %g s: a backend or broker that "
        "does not answer, or a process of the cluster that is gone. What was not confirmed is "
        "written again after the next start",
        number.name,
        GRACE,
    )
    # Python lets only its main thread do this, which may be what does not end. PyDLL keeps the
    # interpreter's lock, which this thread might not get back.
    ctypes.PyDLL(None).signal(int(number), 0)
    os.kill(os.getpid(), number)
