"""What a run costs: time, processor time and memory, of this process and what it has started."""

from __future__ import annotations

import os
import resource
import threading
import time
from dataclasses import dataclass, field

import psutil

from flows.serving.readings import total
from operators.monitoring import MESSAGES

__all__ = ["Stopwatch", "cpu_seconds", "peak_mb"]

_LOOK_SECONDS = 0.001


@dataclass(slots=True)
class Stopwatch:
    """Begins at the first message. Times are of the machine's monotonic clock."""

    began: float | None = None
    cpu_before: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Begin, unless it has begun."""
        with self._lock:
            if self.began is None:
                self.began, self.cpu_before = time.monotonic(), cpu_seconds()

    def start_at_first_message(self) -> None:
        """Begin as soon as a source has read something, which a thread looks out for."""

        def watch() -> None:
            while not total(MESSAGES):
                time.sleep(_LOOK_SECONDS)
            self.start()

        threading.Thread(target=watch, daemon=True).start()

    def report(self) -> dict[str, float]:
        """Return when it began and ended, CPU seconds since then and in all, and memory."""
        ended, cpu = time.monotonic(), cpu_seconds()
        return {
            # A process of a cluster may have had nothing to read.
            "began": ended if self.began is None else self.began,
            "ended": ended,
            "cpu": 0.0 if self.began is None else cpu - self.cpu_before,
            "cpu_whole": cpu,
            "peak_mb": peak_mb(),
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
