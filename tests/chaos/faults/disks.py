"""Disks that are full."""

from __future__ import annotations

import random
import time

from flows.process.recovery_store import parts_of, resume_epoch
from tests.backends import in_ci
from tests.chaos.chapter import Chapter, Skipped


def lake(chapter: Chapter, _variant: None, choice: random.Random) -> str:
    """Fill up the lake's disk: the flow waits, says why, and goes on when there is space."""
    _must_be_there(chapter)
    flow, since = chapter.flow, chapter.flow.log_size
    chapter.disks.fill(flow.lake)
    try:
        chapter.wait_for("word of it", lambda: "sinks.lake.path" in flow.logged(since), 30)
        time.sleep(choice.uniform(0.5, 3.0))
        flow.check_running()
    finally:
        chapter.disks.free(flow.lake)
    return "the flow waited"


def store(chapter: Chapter, _variant: None, _choice: random.Random) -> str:
    """Fill up the recovery store's disk: the flow ends with a line that names the way out.

    Where old snapshots have left room enough in the files, new ones are taken all the same.
    """
    _must_be_there(chapter)
    flow, since = chapter.flow, chapter.flow.log_size
    chapter.disks.fill(flow.store)
    try:
        deadline = time.monotonic() + 30
        while all(process.poll() is None for process in flow.running):
            if time.monotonic() > deadline:
                _must_take_snapshots(chapter)
                return "its files had room, and it went on"
            time.sleep(0.1)
        victim = next(i for i, process in enumerate(flow.running) if process.poll() is not None)
        status = flow.running[victim].returncode
        assert status not in (0, -15), f"its exit status is {status}:\n{flow.log_tail()}"
        others = flow.kill(victim)
        lines = [line for line in flow.logged(since).splitlines() if str(flow.store) in line]
        assert any("free some space" in line for line in lines), (
            f"no line says what to do:\n{flow.logged(since)[-6000:]}"
        )
    finally:
        chapter.disks.free(flow.store)
    flow.up()
    return f"ended with {status}" + (f"; {others}" if others else "")


def _must_take_snapshots(chapter: Chapter) -> None:
    flow = chapter.flow
    parts = parts_of(chapter.disks.outside(flow.store))
    before = resume_epoch(parts)
    assert before is not None
    chapter.wait_for(
        "a snapshot, as it goes on", lambda: (resume_epoch(parts) or 0) > before, within=20
    )


def _must_be_there(chapter: Chapter) -> None:
    if chapter.disks.missing is not None:
        assert not in_ci(), f"in CI there must be small disks: {chapter.disks.missing}"
        raise Skipped(f"no small disk can be made: {chapter.disks.missing}")
