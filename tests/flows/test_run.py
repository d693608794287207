"""`headrace run`: all flows on one machine, kept running, and ended together."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from flows import FLOWS, STATELESS
from flows.commands.run import LogStream, recovery_store
from flows.commands.supervisor import Child, Supervisor
from tests.flows.command_line import CommandLine


def child(name: str, code: str, **more: object) -> Child:
    return Child(name, [sys.executable, "-c", code], dict(os.environ), **more)  # type: ignore[arg-type]


class Said:
    """What a supervisor passed on, and what it noted."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.notes: list[tuple[str, str]] = []

    def run(self, *children: Child) -> int:
        return Supervisor(
            children, lambda *line: self.lines.append(line), lambda *note: self.notes.append(note)
        ).run()


def test_all_that_children_write_is_passed_on_and_success_of_all_is_success():
    said = Said()
    two_lines = "import sys; print('out'); print('err', file=sys.stderr)"
    assert said.run(child("a", two_lines), child("b", "print('b')")) == 0
    assert sorted(said.lines) == [("a", "err"), ("a", "out"), ("b", "b")]
    assert sorted(said.notes) == [("a", "finished"), ("b", "finished")]


def test_one_that_dies_is_started_again_and_the_others_go_on(tmp_path: Path):
    died = tmp_path / "died"
    dies_once = (
        f"import os, pathlib, signal; p = pathlib.Path({str(died)!r})\n"
        "if not p.exists(): p.touch(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "print('second life')"
    )
    said = Said()
    assert said.run(child("a", dies_once), child("b", "print('b')")) == 0
    assert ("a", "second life") in said.lines
    assert [line for line in said.lines if line[0] == "b"] == [("b", "b")]
    assert ("a", "was ended by SIGKILL; starting it again in 1 s") in said.notes


def test_waits_between_starts_double_up_to_a_minute_and_begin_anew_after_a_steady_time():
    dying = child("a", "")
    waits = []
    for _ in range(8):
        dying.started = 100.0
        waits.append(dying.wait_before_next(now=101.0))
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert dying.wait_before_next(now=300.0) == 1


def test_sighup_is_passed_on_and_ends_nothing(tmp_path: Path):
    told = tmp_path / "told"
    script = (
        "import signal, time, pathlib, sys\n"
        "def told(*_): pathlib.Path(sys.argv[1]).write_text('again'); sys.exit(0)\n"
        "signal.signal(signal.SIGHUP, told); print('ready', flush=True); time.sleep(60)"
    )
    child = Child("a", [sys.executable, "-c", script, str(told)], os.environ, frozenset())

    def say(_name: str, line: str) -> None:
        if line == "ready":
            os.kill(os.getpid(), signal.SIGHUP)

    assert Supervisor([child], say, lambda *_: None).run() == 0
    assert told.read_text() == "again"


def test_a_fault_that_another_start_would_not_mend_ends_all(tmp_path: Path):
    said = Said()
    began = time.monotonic()
    hopeless = child("a", "raise SystemExit(2)", hopeless=frozenset({2}))
    assert said.run(hopeless, child("b", "import time; time.sleep(60)")) == 2
    assert time.monotonic() - began < 20
    assert ("a", "ended with exit status 2") in said.notes


def test_a_line_of_the_stream_says_which_flow_it_is_of():
    shown = io.StringIO()
    stream = LogStream(["metrics", "x"], as_json=False, to=Console(file=shown, width=500))
    stream.write("x", "2026-01-01T00:00:00.000Z INFO operators.kafka: all \x1b[31m well")
    assert shown.getvalue() == (
        "x        2026-01-01T00:00:00.000Z INFO operators.kafka: all \\x1b[31m well\n"
    )


def test_the_stream_as_json_has_the_parts_of_each_line():
    shown = io.StringIO()
    stream = LogStream(["metrics"], as_json=True, to=Console(file=shown, width=20))
    stream.write("metrics", "2026-01-01T00:00:00.000Z INFO a.b: said: this")
    stream.write("metrics", "Traceback [most] recent")
    assert [json.loads(line) for line in shown.getvalue().splitlines()] == [
        {
            "flow": "metrics",
            "time": "2026-01-01T00:00:00.000Z",
            "level": "INFO",
            "logger": "a.b",
            "message": "said: this",
        },
        {"flow": "metrics", "message": "Traceback [most] recent"},
    ]


def test_a_recovery_store_is_made_once_and_an_interrupted_attempt_is_made_anew(tmp_path: Path):
    (tmp_path / ".metrics.making").mkdir()
    (tmp_path / ".metrics.making" / "part-0.sqlite3").write_text("half")
    store = recovery_store(tmp_path, "metrics")
    files = {file: file.stat().st_mtime_ns for file in store.iterdir()}
    assert len(files) == 4
    assert recovery_store(tmp_path, "metrics") == store
    assert {file: file.stat().st_mtime_ns for file in store.iterdir()} == files


def test_a_flow_that_does_not_exist_is_named(tmp_path: Path, kafka: str):
    done = CommandLine(tmp_path, kafka)("run", "metrix")
    assert done.returncode == 1
    assert done.stderr.strip() == f"headrace: there is no flow metrix; there are {', '.join(FLOWS)}"


class Running:
    """`headrace run` as a process, and the lines that it has written."""

    def __init__(self, command: CommandLine, *arguments: str) -> None:
        self.process = command.start("run", *arguments)
        self.lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stderr or ():
            self.lines.append(line.rstrip())

    def wait_for(self, pattern: str, times: int = 1, within: float = 120) -> None:
        self._wait(lambda: sum(bool(re.search(pattern, x)) for x in self.lines) >= times, within)

    def _wait(self, condition: Callable[[], bool], within: float) -> None:
        deadline = time.monotonic() + within
        while not condition():
            assert self.process.poll() is None, "\n".join(self.lines)
            assert time.monotonic() < deadline, "\n".join(self.lines)
            time.sleep(0.1)


def flow_processes(of: subprocess.Popen[str]) -> dict[str, psutil.Process]:
    """The process of each flow, by its name."""
    found = {}
    for process in psutil.Process(of.pid).children():
        module = next((part for part in process.cmdline() if part.startswith("flows.")), "")
        found[module.removeprefix("flows.")] = process
    return found


@pytest.mark.usefixtures("compiled")
def test_everything_runs_survives_a_kill_and_ends_together(tmp_path: Path, kafka: str):
    command = CommandLine(tmp_path, kafka)
    running = Running(command, "--directory", str(tmp_path / "recovery"))
    wanted = set(FLOWS) - {"logs", "traces", "alerting"}  # they have neither input nor rules
    try:
        for flow in wanted:
            running.wait_for(rf"^{flow} .* flow {flow}, version .*: metrics at")
        assert {path.name for path in (tmp_path / "recovery").iterdir()} == wanted - STATELESS
        flow_processes(running.process)["metrics"].kill()
        running.wait_for(r"^metrics .*was ended by SIGKILL; starting it again in 1 s")
        running.wait_for(r"^metrics .* flow metrics, version", times=2)
        children = flow_processes(running.process)
        assert set(children) == wanted

        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 128 + signal.SIGTERM
        assert not any(process.is_running() for process in children.values())
    finally:
        running.process.kill()


@pytest.mark.usefixtures("compiled")
def test_flows_do_not_outlive_what_runs_them_even_if_it_is_killed(tmp_path: Path, kafka: str):
    running = Running(CommandLine(tmp_path, kafka), "notifier", "-d", str(tmp_path / "recovery"))
    running.wait_for("flow notifier, version")
    flow = flow_processes(running.process)["notifier"]
    running.process.kill()
    flow.wait(20)
