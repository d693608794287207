"""The image's entrypoint, run with the real Bytewax on a flow that ends by itself."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
ENTRYPOINT = ROOT / "docker" / "entrypoint.sh"
FLOW = """
from pathlib import Path
import bytewax.operators as op
from bytewax.connectors.stdio import StdOutSink
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSource

flow = Dataflow("counted")
items = op.input("in", flow, TestingSource(range(3)))
total = op.stateful_map("count", op.key_on("key", items, lambda _: "all"), lambda n, _: ((n or 0) + 1,) * 2)
op.output("out", total, StdOutSink())
"""
ENDLESS = """
from datetime import datetime, timedelta, timezone
import bytewax.operators as op
from bytewax.connectors.stdio import StdOutSink
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

class Endless(StatefulSourcePartition):
    def __init__(self): self.items = ["open"]
    def next_batch(self): return [self.items.pop()] if self.items else []
    def next_awake(self): return datetime.now(timezone.utc) + timedelta(milliseconds=50)
    def snapshot(self): return None
    def close(self): print("closed")

class Source(FixedPartitionedSource):
    def list_parts(self): return ["only"]
    def build_part(self, step_id, for_part, resume_state): return Endless()

flow = Dataflow("endless")
op.output("out", op.input("in", flow, Source()), StdOutSink())
"""

COMPILED = """
import numba

@numba.njit(cache=True)
def twice(x): return 2 * x

print(twice(2), "compiled before" if twice.stats.cache_hits else "compiled now")
"""


@pytest.fixture
def recovery(tmp_path: Path) -> Path:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "__init__.py").touch()
    (tmp_path / "flows" / "counted.py").write_text(FLOW)
    return tmp_path / "recovery"


def environment(recovery: Path) -> dict[str, str]:
    """Return the variables of a container, with this Python first on the path."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(recovery.parent),
        "PYTHONUNBUFFERED": "1",
        "BYTEWAX_RECOVERY_DIRECTORY": str(recovery),
        "HEADRACE_RECOVERY_PARTITIONS": "2",
    }


def enter(recovery: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the entrypoint in the directory above ``recovery``."""
    return subprocess.run(
        ["sh", str(ENTRYPOINT), *arguments],
        cwd=recovery.parent,
        env=environment(recovery) | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_first_start_makes_the_recovery_partitions_and_the_next_resumes(recovery: Path) -> None:
    first = enter(recovery, "flow", "flows.counted")
    assert first.returncode == 0, first.stderr
    partitions = recovery / "partitions"
    assert sorted(path.name for path in partitions.iterdir()) == [
        "part-0.sqlite3", "part-1.sqlite3",
    ]  # fmt: skip
    assert first.stdout.split("\n")[:3] == ["('all', 1)", "('all', 2)", "('all', 3)"]

    # The source has nothing new, so only state made anew would print something.
    second = enter(recovery, "flow", "flows.counted")
    assert (second.stdout, second.returncode) == ("", 0)


def test_partitions_half_made_by_a_start_that_was_killed_are_made_again(recovery: Path) -> None:
    (recovery / "making").mkdir(parents=True)
    (recovery / "making" / "part-0.sqlite3").write_text("half")

    assert enter(recovery, "flow", "flows.counted").returncode == 0

    assert not (recovery / "making").exists()


def test_what_follows_the_flow_goes_to_the_runner(recovery: Path) -> None:
    done = enter(recovery, "flow", "flows.counted", "--no-such-option")

    assert done.returncode == 2
    assert "unrecognized arguments: --no-such-option" in done.stderr


def test_a_bare_name_is_one_of_our_flows(recovery: Path) -> None:
    done = enter(recovery, "flow", "counted")

    assert done.stdout.startswith("('all', 1)")


def test_a_flow_that_is_stopped_closes_what_it_has_open(recovery: Path) -> None:
    """Docker sends what the image names as its signal to stop to the process that we become."""
    (signalled,) = re.findall(r"^STOPSIGNAL (\w+)$", DOCKERFILE.read_text(), re.MULTILINE)
    (recovery.parent / "flows" / "endless.py").write_text(ENDLESS)
    with subprocess.Popen(
        ["sh", str(ENTRYPOINT), "flow", "endless"],
        cwd=recovery.parent, env=environment(recovery), stdout=subprocess.PIPE, text=True,
        # What a shell starts in the background ignores SIGINT, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as running:  # fmt: skip
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "open\n"
            running.send_signal(signal.Signals[signalled])
            assert running.wait(timeout=20) is not None
            assert running.stdout.read() == "closed\n"
        finally:
            running.kill()


def test_a_flow_without_a_name_is_refused(recovery: Path) -> None:
    done = enter(recovery, "flow")

    assert (done.returncode, done.stderr) == (2, "entrypoint: which flow? (write: flow metrics)\n")


def test_any_other_command_runs_as_it_stands(recovery: Path) -> None:
    done = enter(recovery, "python", "-c", "import sys; print(sys.argv[1:])", "a b")

    assert done.stdout == "['a b']\n"
    assert not recovery.exists()


def test_what_the_image_has_compiled_is_not_compiled_again(recovery: Path) -> None:
    (recovery.parent / "twice.py").write_text(COMPILED)
    of_image, of_container = str(recovery.parent / "image"), str(recovery.parent / "container")
    built = enter(recovery, "python", "twice.py", NUMBA_CACHE_DIR=of_image)
    assert built.stdout == "4 compiled now\n", built.stderr

    started = enter(
        recovery, "python", "twice.py", HEADRACE_COMPILED=of_image, NUMBA_CACHE_DIR=of_container
    )

    assert started.stdout == "4 compiled before\n", started.stderr
