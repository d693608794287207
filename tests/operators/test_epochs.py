"""The epoch guarantee of ``operators.contracts.engine``, against the engine that runs the flows."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.operators.epochs_flow import ITEMS, READERS

ROOT = Path(__file__).parents[2]


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


@pytest.mark.parametrize("workers", [(1, 1, 1), (2, 1, 3)], ids=["one worker", "another number"])
def test_what_is_promised_of_epochs_holds_through_kill_9(
    tmp_path: Path, workers: tuple[int, ...]
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    subprocess.run([sys.executable, "-m", "bytewax.recovery", str(store), "2"], check=True)

    def start(number: int) -> subprocess.Popen[bytes]:
        flow = "tests.operators.epochs_flow"
        command = [
            sys.executable,
            "-m",
            "bytewax.run",
            flow,
            "-r",
            str(store),
            "-s",
            "0",
            "-b",
            "0",
        ]
        return subprocess.Popen(
            [*command, "-w", str(number)],
            cwd=ROOT,
            env=os.environ | {"EPOCHS_DIRECTORY": str(tmp_path)},
        )

    *killed, last = workers
    for number in killed:
        before = len(lines(tmp_path / "committed"))
        process = start(number)
        deadline = time.monotonic() + 60
        while len(lines(tmp_path / "committed")) < before + 90:
            assert process.poll() is None, "it ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.wait()
        written = {tuple(map(int, line.split())) for line in lines(tmp_path / "written")}
        for line in lines(tmp_path / "committed"):
            reader, offset = map(int, line.split())
            missing = [n for n in range(offset) if (reader, n) not in written]
            assert not missing, (
                f"sinks behind by one: {reader} could commit {offset}: {missing[:5]}"
            )
    assert start(last).wait(120) == 0

    assert lines(tmp_path / "faults") == []
    every = {(reader, number) for reader in range(READERS) for number in range(ITEMS)}
    assert {tuple(map(int, line.split())) for line in lines(tmp_path / "written")} == every
