"""``headrace recovery``: the stores where flows remember what they were doing."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import orjson

from flows.commands.failure import CommandFailed
from flows.commands.terminal import console, say_outcome
from flows.process.recovery_store import (
    FIXED,
    KEYS,
    StoreError,
    found_settings,
    last_states,
    noted,
    old_keys,
    parts_of,
    states_there,
)

__all__ = ["rescale", "upgrade"]


def rescale(directory: Path, partitions: int | None = None) -> None:
    """Set the store in a directory aside, and make an empty one in its place.

    The flow then begins at what it has committed to Kafka: it reads again what windows need that
    are still open, and says nothing twice. What only the store had begins anew: detectors, and
    incidents that are open.

    Args:
        directory: of the store.
        partitions: files of the new store; as many as the old one has if left out.

    Raises:
        CommandFailed: there is no store, a flow uses it, or nothing can be written there.
    """
    parts = _parts_to_change(directory)
    number = partitions or len(parts)
    aside = _aside(directory)
    try:
        _set_aside(directory, aside)
        _make(directory, number)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CommandFailed(
            f"{directory}: {error}; what was there is there, or in {aside}"
        ) from None
    out = console()
    say_outcome(out, "changed", f"the store of before is in {aside}")
    say_outcome(out, "created", f"recovery store {directory}, {number} files")
    out.print(
        "The flow begins at what it has committed, and reads again what open windows need. Detectors "
        "learn anew; incidents that are open now are not resolved by it."
    )


def upgrade(directory: Path) -> None:
    """Make a store of an earlier version one of this version, with all that it remembers.

    The flow then goes on where it stood. The store of before is set aside.

    Args:
        directory: of the store.

    Raises:
        CommandFailed: there is no store, a flow uses it, it is damaged, or nothing can be written there.
    """
    # They load the engine and the flows' steps, which no other command of the room needs.
    from flows.process.old_store import renamed, write_store  # noqa: PLC0415

    out = console()
    parts = _parts_to_change(directory)
    try:
        there = states_there(parts)
        flow = min((step.partition(".")[0] for step, _ in there), default="")
        if not old_keys(flow, there):
            say_outcome(out, "unchanged", f"{directory}: this version can use it as it is")
            return
        fixed = noted(directory) or found_settings(flow, parts)
        shards = next((int(fixed[key]) for key in fixed if key.endswith(".shards")), 1)
        states = renamed(flow, last_states(parts), shards)
    except (StoreError, sqlite3.Error, RuntimeError) as error:
        raise CommandFailed(f"{directory}: {error}; it is as it was") from None
    aside = _aside(directory)
    new = directory / aside.name.replace("before", "new")
    try:
        new.mkdir()
        _make(new, len(parts))
        write_store(new, flow, states)
        if last_states(parts_of(new)).keys() != states.keys():
            raise CommandFailed(f"{new}: not all states are in it; {directory} is as it was")
        _set_aside(directory, aside)
        for file in new.iterdir():
            file.rename(directory / file.name)
        new.rmdir()
        (directory / FIXED).write_bytes(orjson.dumps(dict(fixed) | {"flow": flow, "keys": KEYS}))
    except (OSError, RuntimeError, StoreError, subprocess.CalledProcessError) as error:
        raise CommandFailed(
            f"{directory}: {error}; what was there is there, or in {aside}"
        ) from None
    say_outcome(out, "changed", f"the store of before is in {aside}")
    say_outcome(out, "created", f"recovery store {directory}, {len(states)} states")


def _parts_to_change(directory: Path) -> list[Path]:
    """Return the files of a store; raise if there are none, or somebody uses them."""
    parts = parts_of(directory)
    if not parts:
        raise CommandFailed(
            f"{directory}: holds no recovery store (python -m bytewax.recovery {directory} 4)"
        )
    _refuse_in_use(parts)
    return parts


def _aside(directory: Path) -> Path:
    return directory / f"before-{datetime.now(UTC).strftime('%Y%m%dT%H%M%SZ')}"


def _set_aside(directory: Path, aside: Path) -> None:
    aside.mkdir()
    files = (*parts_of(directory), *directory.glob("part-*.sqlite3-*"), directory / FIXED)
    for file in files:
        if file.exists():
            file.rename(aside / file.name)


def _make(directory: Path, partitions: int) -> None:
    make = [sys.executable, "-m", "bytewax.recovery", str(directory), str(partitions)]
    subprocess.run(make, check=True, capture_output=True)  # noqa: S603 - our own interpreter


def _refuse_in_use(parts: list[Path]) -> None:
    """Raise if another process has a file of the store open, as far as the system tells."""
    wanted = {str(part.resolve()) for part in parts}
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            is_open = str(link.readlink()) in wanted
        except OSError:  # it is gone, or not ours to look at
            continue
        number = link.parts[2]
        if is_open and number != str(os.getpid()):
            raise CommandFailed(f"{parts[0].parent}: process {number} uses it; stop that first")
