"""`make demo` as people run it: real Kafka, real collector, real flows, a real fault."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from confluent_kafka.admin import AdminClient

from tests.backends.cache import cache_directory

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "tests.demo"]


PATH = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))


def start(directory: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": PATH, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def directory_of(running: list[psutil.Process]) -> Path:
    """The demo's directory, in which each program has one of its own."""
    found = {Path(child.cwd()).parent for child in running}
    assert len(found) == 1
    return found.pop()


def wait_for_line(process: subprocess.Popen[str], part: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if part in line:
            return
    assert process.stderr is not None
    raise AssertionError(f'it ended without saying "{part}":\n{process.stderr.read()}')


def test_a_real_fault_is_found_told_and_over_and_nothing_remains_but_the_report(
    tmp_path: Path,
) -> None:
    process = start(tmp_path, "--seconds", "45", HEADRACE__KAFKA__GROUP="not-the-demo's")
    wait_for_line(process, "fault: a batch job runs away")
    running = children(process)
    directory = directory_of(running)
    assert directory.parent == cache_directory()
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, out + err
    assert re.search(r"The fault was found and told in \d+\.\d s, and its end in \d+\.\d s\.", out)
    # Kafka, the collector, five flows, and the demo's four programs but for the fault.
    assert len(running) >= 10
    assert not [child for child in running if child.is_running()]
    assert not directory.exists()
    html = (tmp_path / "demo.html").read_text(encoding="utf-8")
    assert re.search(r'<h1 class="good">The fault was found and told in ', html)
    assert "as many as on the topic" in html
    assert re.search(r'class="longest".*\n?.*BEGIN IMMEDIATE', html)
    assert re.search(r"<b>shop: .*OperationalError in .*</b>", html)
    assert re.search(r"Trace [0-9a-f]{32}, kept because of: (error|slow)\.", html)


def test_ctrl_c_stops_everything_and_leaves_a_shared_broker_as_it_was(
    tmp_path: Path, kafka: str
) -> None:
    admin = AdminClient({"bootstrap.servers": kafka})
    topics = set(admin.list_topics(timeout=10).topics)
    process = start(tmp_path, HEADRACE__KAFKA__BOOTSTRAP_SERVERS=kafka)
    wait_for_line(process, "learn: ")
    running = children(process)
    directory = directory_of(running)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "Traceback" not in err
    assert not [child for child in running if child.is_running()]
    assert not directory.exists()
    deadline = time.monotonic() + 120
    while left := [
        t for t in admin.list_topics(timeout=10).topics if t.startswith("headrace-demo")
    ]:
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.2)
    groups = admin.list_consumer_groups().result().valid
    assert not [group for group in groups if group.group_id.startswith("headrace-demo")]
    assert {t for t in topics if not t.startswith("__")} <= set(admin.list_topics().topics)
    assert not (tmp_path / "demo.html").exists()


def test_what_cannot_be_done_is_said_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--seconds", "5"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": PATH},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "45" in done.stderr
