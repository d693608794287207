"""Runs a case: its processes, from their start to what they came to together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Thread
from typing import Any

from bytewax.recovery import init_db_dir

from bench.case import Job
from bench.load import Load
from bench.log_load import LogLoad
from bench.servers import BOOTSTRAP
from bench.snapshots import StoreWatch
from bench.topic import OUTPUTS, PREFIX
from tests.backends.process import LOCALHOST, free_port

__all__ = ["Child", "FailedError", "Measured", "environment", "measure", "run_all"]

ROOT = Path(__file__).parent.parent
_LOOK_SECONDS = 0.25
_LIMIT_SECONDS = 900


class FailedError(RuntimeError):
    """A case ended badly, or not with what it should come to; the message shows its log."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run came to.

    Attributes:
        points: how many there were.
        seconds: from the first message to the end.
        whole: from the start of the process to the end.
        ready: from the start of the process until it could run its flow.
        first: from the start of the process to the first message.
        cpu: CPU seconds of all processes since they were ready.
        cpu_whole: CPU seconds of all processes.
        peak_mb: largest resident memory, the sum over processes.
        warm_points, warm_seconds, warm_cpu: of these what came after the first quarter, in which what is
            compiled is loaded and all templates are new; 0 where that is not told apart.
        steps: seconds that the flow's steps say they took, over all threads.
        snapshots: by class of state, the epochs and the seconds a snapshot of all states took.
        store: what was added to the recovery store.
    """

    points: int
    seconds: float
    whole: float
    first: float
    ready: float
    cpu: float
    cpu_whole: float
    peak_mb: float
    warm_points: float = 0.0
    warm_seconds: float = 0.0
    warm_cpu: float = 0.0
    steps: Mapping[str, float] = field(default_factory=dict)
    snapshots: Mapping[str, Any] = field(default_factory=dict)
    store: Mapping[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Points a second."""
        return self.points / self.seconds

    @property
    def cpu_a_million(self) -> float:
        """CPU seconds for a million points."""
        return self.cpu / self.points * 1e6

    @property
    def warm_rate(self) -> float | None:
        """Points a second after the first quarter."""
        return self.warm_points / self.warm_seconds if self.warm_seconds else None

    @property
    def warm_cpu_a_million(self) -> float | None:
        """CPU seconds for a million points after the first quarter."""
        return self.warm_cpu / self.warm_points * 1e6 if self.warm_points else None


def environment(
    bootstrap: str, topic: str, load: Load | LogLoad, **settings: str
) -> dict[str, str]:
    """Return the environment of a process: one input, read from its beginning to its end."""
    theirs = ("HEADRACE", "BYTEWAX")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    return {
        **kept,
        BOOTSTRAP: bootstrap,
        "HEADRACE__KAFKA__GROUP": PREFIX.rstrip("."),
        **{f"HEADRACE__TOPICS__{role.upper()}": name for role, name in OUTPUTS.items()},
        "HEADRACE__INPUTS": json.dumps(
            [{"topic": topic, "encoding": load.encoding, "signal": load.signal}]
        ),
        "HEADRACE__RUN__UNTIL": "end",
        "HEADRACE__RUN__SINCE": "earliest",
        "HEADRACE__SCORING__ENABLED": "false",
        **settings,
    }


class Child:
    """A process that does a job; ``prefix`` is a command that runs it, if any."""

    def __init__(self, job: Job, env: Mapping[str, str], prefix: Sequence[str] = ()) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - it lives as long as this
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "bench.case", job.to_json()],
            cwd=ROOT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._report: str | None = None
        self._reader = Thread(target=self._read, daemon=True)

    def wait_until_ready(self) -> None:
        """Wait until it has made all that it needs.

        Raises:
            FailedError: it has ended instead.
        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == "ready":
                return
        raise self.failure()

    def go(self) -> None:
        """Let it work."""
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        self._reader.start()

    def done(self, within: float) -> bool:
        """Wait so many seconds at most; return whether it has ended."""
        self._reader.join(within)
        return not self._reader.is_alive()

    @property
    def report(self) -> dict[str, Any]:
        """What it came to. Raises ``FailedError`` if it has not told."""
        if self._report is None:
            raise self.failure()
        told: dict[str, Any] = json.loads(self._report)
        return told

    def failure(self) -> FailedError:
        """Return what went wrong."""
        code = self._process.wait(30)
        self._log.seek(0)
        return FailedError(f"exit code {code}\n{self._log.read()[-3000:]}")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait(self) -> None:
        """Wait until the process is gone."""
        self._process.wait(60)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait()
        self._log.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                self._report = line


def measure(
    job: Job,
    env: Mapping[str, str],
    load: Load | LogLoad,
    directory: Path,
    *,
    processes: int = 1,
    recovery: bool = False,
) -> Measured:
    """Run a case.

    Args:
        job: what each process does.
        env: their environment.
        load: what they read; a flow must decode all of its points, and refuse none.
        directory: for what they write.
        processes: of the cluster.
        recovery: whether there is a recovery store, a new one.

    Raises:
        FailedError: a process ended with an error, or points are missing.
    """
    if processes > 1:
        addresses = tuple(f"{LOCALHOST}:{free_port()}" for _ in range(processes))
        jobs = [replace(job, addresses=addresses, process=number) for number in range(processes)]
    else:
        jobs = [job]
    with tempfile.TemporaryDirectory(dir=directory) as place:
        env = {**env, "HEADRACE__SINKS__LAKE__PATH": str(Path(place) / "lake")}
        store = None
        if recovery:
            kept = Path(place) / "recovery"
            kept.mkdir()
            init_db_dir(kept, 4)
            jobs = [replace(job, recovery=str(kept)) for job in jobs]
            store = StoreWatch(kept)
        return run_all(jobs, env, load.points, store)


def run_all(
    jobs: Sequence[Job], env: Mapping[str, str], points: int, store: StoreWatch | None = None
) -> Measured:
    """Run processes together, and add up what they report."""
    started = time.monotonic()
    children = [Child(job, env) for job in jobs]
    try:
        for child in children:
            child.wait_until_ready()
        ready = time.monotonic() - started
        for child in children:
            child.go()
        while not all(child.done(_LOOK_SECONDS / len(children)) for child in children):
            if store is not None:
                store.look()
            if time.monotonic() - started > _LIMIT_SECONDS:
                raise FailedError(f"not done after {_LIMIT_SECONDS} s")
        reports = [child.report for child in children]
    finally:
        for child in children:
            child.kill()
    if store is not None:
        store.look()
    if jobs[0].work in ("flow", "traces", "logs"):
        decoded, late = (sum(int(r[name]) for r in reports) for name in ("decoded", "late"))
        if decoded != points or late:
            raise FailedError(f"{decoded:,} of {points:,} points came, {late:,} were refused")
    if jobs[0].work == "storage":
        points = sum(int(report["stored"]) for report in reports)
        if not points:
            raise FailedError("no rollup was stored: a flow to topics comes first")
    return _together(reports, points, started, ready, store)


def _together(
    reports: Sequence[Mapping[str, Any]],
    points: int,
    started: float,
    ready: float,
    store: StoreWatch | None,
) -> Measured:
    began = min(report["began"] for report in reports)
    ended = max(report["ended"] for report in reports)
    steps: dict[str, float] = {}
    for report in reports:
        for step, seconds in report.get("steps", {}).items():
            steps[step] = steps.get(step, 0.0) + seconds
    return Measured(
        points,
        seconds=ended - began,
        whole=ended - started,
        first=began - started,
        ready=ready,
        cpu=sum(report["cpu"] for report in reports),
        cpu_whole=sum(report["cpu_whole"] for report in reports),
        peak_mb=sum(report["peak_mb"] for report in reports),
        **_warm(reports, points, ended),
        steps=steps,
        snapshots=reports[0].get("snapshots", {}),
        store=store.report() if store is not None else {},
    )


def _warm(reports: Sequence[Mapping[str, Any]], points: int, ended: float) -> dict[str, float]:
    """Return what the processes did once each was warm, as far as they say so."""
    if not all("warm_at" in report for report in reports):
        return {}
    return {
        "warm_points": points * sum(report["warm_part"] for report in reports) / len(reports),
        "warm_seconds": ended - min(report["warm_at"] for report in reports),
        "warm_cpu": sum(report["cpu"] - report["warm_cpu"] for report in reports),
    }
