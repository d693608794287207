"""The metrics flow under chaos: one process or two, started, killed, stopped and watched."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.backends.process import LOCALHOST, free_port
from tests.chaos.small_disk import SmallDisks
from tests.flows.metrics_flow import ROOT, MetricsFlow, Process

STOP_SECONDS: Final = 5.0
"""How long a process may take to end when it is asked to."""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How many workers there are, and in how many processes."""

    processes: int
    threads: int

    def __str__(self) -> str:
        return f"{self.processes} x -w {self.threads}"


ARRANGEMENTS: Final = (
    Arrangement(1, 1), Arrangement(1, 2), Arrangement(1, 3), Arrangement(2, 1), Arrangement(2, 2)
)  # fmt: skip


class ChaosFlow(MetricsFlow):
    """A flow whose lake and recovery store are on small disks of their own."""

    def __init__(
        self, directory: Path, bootstrap_servers: str, topic: str, disks: SmallDisks | None = None
    ) -> None:
        super().__init__(directory, bootstrap_servers, topic)
        self.disks = disks or SmallDisks()
        self.lake = self.directory / "lake-disk" if disks is None else disks.places[0]
        self.store = self.directory / "store-disk" if disks is None else disks.places[1]
        self.arrangement = ARRANGEMENTS[0]
        self.running: list[Process] = []
        self._store_made = False
        self.prefix = self.disks.inside(ROOT)

    def up(self, arrangement: Arrangement | None = None) -> None:
        """Start it, with as many workers as before or as ``arrangement`` says."""
        self.arrangement = arrangement or self.arrangement
        if not self._store_made:
            make = [sys.executable, "-m", "bytewax.recovery", str(self.store), "2"]
            subprocess.run([*self.prefix, *make], check=True, cwd=ROOT)
            self._store_made = True
        recovery = (
            "-r",
            str(self.store),
            "-s",
            "1",
            "-b",
            "0",
            "-w",
            str(self.arrangement.threads),
        )
        number = self.arrangement.processes
        addresses = ";".join(f"{LOCALHOST}:{free_port()}" for _ in range(number))
        place: list[Sequence[str]] = [("-i", str(i), "-a", addresses) for i in range(number)]
        places = place if number > 1 else [()]
        self.running = [self.start(*recovery, *where) for where in places]

    def to_the_end(self) -> None:
        """Read what is left, and end."""
        self.wait_for_the_end(self.start("-r", str(self.store), "-s", "1", "-b", "0", until="end"))

    @property
    def everything(self) -> list[Process]:
        """The processes of both flows."""
        return [*self.running, *([self.storage] if self.storage is not None else [])]

    def check_running(self) -> None:
        """Make sure that every process runs."""
        for process in self.everything:
            assert process.poll() is None, (
                f"the flow ended with {process.returncode}:\n{self.log_tail(60)}"
            )

    def terminate(self) -> float:
        """Ask all processes to end, and make sure that they do in time; return the seconds."""
        began = time.monotonic()
        for process in self.everything:
            process.send_signal(signal.SIGTERM)
        for process in self.everything:
            left = began + STOP_SECONDS - time.monotonic()
            try:
                status = process.wait(max(0.1, left))
            except subprocess.TimeoutExpired:
                raise AssertionError(
                    f"it did not end within {STOP_SECONDS:g} s of SIGTERM:\n{self.log_tail(60)}"
                ) from None
            # SIGALRM: the interpreter hung while it was taken down, see flows.process.deadline.
            assert status in (-signal.SIGTERM, -signal.SIGALRM), (
                f"after SIGTERM its status is {status}:\n{self.log_tail(60)}"
            )
        self.running, self.storage = [], None
        return time.monotonic() - began

    def kill_storage(self) -> None:
        """Kill flow storage, which none of the other processes notices."""
        assert self.storage is not None
        self.storage.kill()
        self.storage.wait()
        self.storage = None

    def kill(self, victim: int = 0) -> str:
        """Kill one process; return what became of the others, which are stopped then.

        Whoever supervises a cluster has to restart all of it.
        """
        self.running[victim].kill()
        self.running[victim].wait()
        others = [process for process in self.running if process is not self.running[victim]]
        deadline = time.monotonic() + STOP_SECONDS
        said = []
        for process in others:
            try:
                status = process.wait(max(0.1, min(1.0, deadline - time.monotonic())))
                said.append(f"the other ended by itself with {status}")
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)
                process.wait(STOP_SECONDS)
                said.append("the other had to be stopped")
        self.running = []
        return ", ".join(said)

    def wait_for_log(self, text: str, since: int, within: float) -> None:
        """Wait until ``text`` is in what was logged from the byte ``since`` on."""
        self.wait_for(f'"{text}" in the log', lambda: text in self.logged(since), within)

    def wait_for(self, what: str, condition: Callable[[], bool], within: float) -> None:
        """Wait for a condition, while all processes run."""
        deadline = time.monotonic() + within
        while not condition():
            self.check_running()
            assert time.monotonic() < deadline, f"{within:g} s without {what}:\n{self.log_tail(60)}"
            time.sleep(0.1)

    @property
    def log_size(self) -> int:
        """Bytes logged."""
        return self.log.stat().st_size if self.log.exists() else 0

    def logged(self, since: int) -> str:
        """Return what was logged from the byte ``since`` on."""
        with self.log.open("rb") as log:
            log.seek(since)
            return log.read().decode(errors="replace")
