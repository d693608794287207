"""What a run costs: time, processor time and memory, of this process and what it has started."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable

import psutil

from flows.process.readings import total
from operators.contracts.monitoring import MESSAGES

__all__ = ["Stopwatch", "cpu_seconds", "peak_mb"]

_LOOK_SECONDS = 0.001
_LOOK_COUNT_SECONDS = 0.01


class Stopwatch:
    """Times are of the machine's monotonic clock.

    Wall time counts from the first message, CPU from the moment when the process was ready: what
    the Kafka client fetches before it hands the first message out is work, too.
    """

    def __init__(self) -> None:
        self._began: float | None = None
        self._cpu_before = 0.0
        self._warm: dict[str, float] = {}

    def ready(self) -> None:
        """Begin to count CPU."""
        self._cpu_before = cpu_seconds()

    def start(self) -> None:
        """Begin to count time, unless it has begun."""
        if self._began is None:
            self._began = time.monotonic()

    def start_at_first_message(self) -> None:
        """Begin as soon as a source has read something, which a thread looks out for."""

        def watch() -> None:
            while not total(MESSAGES):
                time.sleep(_LOOK_SECONDS)
            self.start()

        threading.Thread(target=watch, daemon=True).start()

    def warm_at_a_quarter(self, counted: Callable[[], float], whole: float) -> None:
        """Call ``done`` as long as it matters, which a thread does; see there."""

        def watch() -> None:
            while not self._warm:
                time.sleep(_LOOK_COUNT_SECONDS)
                self.done(counted(), whole)

        threading.Thread(target=watch, daemon=True).start()

    def done(self, count: float, whole: float) -> None:
        """Note when a quarter of the whole is done: from then on everything is warm."""
        if not self._warm and count >= whole / 4:
            cpu = cpu_seconds() - self._cpu_before
            self._warm = {
                "warm_at": time.monotonic(),
                "warm_cpu": cpu,
                "warm_part": 1 - count / whole,
            }

    def report(self) -> dict[str, float]:
        """Return when it began and ended, CPU seconds since it was ready and in all, and memory."""
        ended, cpu = time.monotonic(), cpu_seconds()
        return {
            # A process of a cluster may have had nothing to read.
            "began": ended if self._began is None else self._began,
            "ended": ended,
            "cpu": cpu - self._cpu_before,
            "cpu_whole": cpu,
            "peak_mb": peak_mb(),
            **self._warm,
        }


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and its children, also of those that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    alive = 0.0
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        alive += times.user + times.system
    return time.process_time() + ended.ru_utime + ended.ru_stime + alive


def peak_mb() -> float:
    """Return the largest resident memory, children that are alive included."""
    pids = [os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))]
    return sum(map(_peak_kb, pids)) / 1024


def _peak_kb(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0
