"""Loops that are compiled while a flow runs: each is told, as messages wait for it.

A loop is compiled when it meets a type for the first time, which takes seconds. A flow has all of its loops
compiled before it reads, so one that is told of is missing from ``flows.warm_up``.
"""

from __future__ import annotations

import logging
from functools import cache
from threading import local
from time import perf_counter
from typing import Any

from numba.core import event

from operators.contracts.monitoring import COMPILE_SECONDS

__all__ = ["tell_compiling"]

_log = logging.getLogger(__name__)


@cache
def tell_compiling() -> None:
    """Log each loop that is compiled from now on, and count its seconds; call it before the flow reads."""
    event.register("numba:compile", _Teller())  # type: ignore[no-untyped-call]  # Numba has no types


class _Teller(event.Listener):
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
            "messages waited %.1f s for a loop to be compiled, which is kept: %s.%s",
            seconds,
            loop.__module__,
            loop.__qualname__,
        )
