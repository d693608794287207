"""Loops that are compiled while a flow runs: each is told, with the way to have it done beforehand.

A loop that meets a type for the first time is compiled, which takes seconds in which messages wait. On an
installed Headrace that is an exception: ``python -m flows.warm_up`` has compiled everything.
"""

from __future__ import annotations

import logging
from threading import local
from time import perf_counter
from typing import Any

from numba.core import event

from operators.contracts.monitoring import COMPILE_SECONDS

__all__ = ["tell_compiling"]

_log = logging.getLogger(__name__)


def tell_compiling() -> None:
    """Log each loop that is compiled from now on, and count its seconds."""
    event.register("numba:compile", _Teller())


class _Teller(event.Listener):  # type: ignore[misc]  # Numba has no types
    """Tells of what was asked for, not of what that calls, which is compiled within."""

    def __init__(self) -> None:
        self._of_thread = local()

    def on_start(self, event: Any) -> None:  # noqa: ARG002 - Numba's
        """Remember when the outermost compilation of a thread begins."""
        depth = getattr(self._of_thread, "depth", 0)
        if not depth:
            self._of_thread.began = perf_counter()
        self._of_thread.depth = depth + 1

    def on_end(self, event: Any) -> None:
        """Tell of the outermost."""
        self._of_thread.depth -= 1
        if self._of_thread.depth:
            return
        loop = event.data["dispatcher"].py_func
        seconds = perf_counter() - self._of_thread.began
        COMPILE_SECONDS.observe(seconds)
        _log.info(
            "compiled %s.%s in %.1f s; python -m flows.warm_up does so beforehand",
            loop.__module__,
            loop.__qualname__,
            seconds,
        )
