"""The recovery store, looked at before a flow starts with it.

What the runner says of a store that is missing, damaged or of another flow is a panic of many
lines, and of one that was made for other settings it says nothing: states are found by shard and
reader, so another number of them loses some without a word. What is fixed for the life of a store
is therefore kept in it, in the file ``headrace.json``.

A crash leaves snapshots of the epoch that was not finished. Bytewax does not read them, but it does
not remove them either, and the next run counts its epochs from there: a logic that is not awake in
that epoch leaves the old snapshot in its place, and after a second crash that is taken for one of
the second run. An example: scoring had judged a window in epoch 7, and the process died before the
windows of epoch 7 were kept. The next run judges that window in epoch 9, and dies; then a snapshot
of scoring of epoch 7 that has judged it stands beside one of windows that has not yet closed it, and
it is judged twice. So what is of no finished epoch is removed before a flow starts.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import orjson

from flows.settings import Settings
from operators.bytewax import shard_key, shard_number
from operators.contracts.durations import format_duration

__all__ = [
    "FIXED",
    "KEYS",
    "StoreError",
    "check_store",
    "fixed_settings",
    "found_settings",
    "is_sharded",
    "last_states",
    "noted",
    "old_keys",
    "parts_of",
    "resume_epoch",
    "states_there",
]

FIXED: Final = "headrace.json"
_PARTITIONS: Final = 4
_CHECKED: Final = 256 << 20
"""Bytes up to which a store is looked through for damage; reading a larger one takes too long."""
_RESCALE: Final = "headrace recovery rescale"
_UPGRADE: Final = "headrace recovery upgrade"
KEYS: Final = 2
"""How the keys of shards are made: as ``operators.bytewax.shard_key`` does. Before, they were plain numbers."""
_SHARDED: Final = {
    "metrics": ("rollups.shards", "windows", "scoring", "presence", "vector_parts"),
    "logs": ("logs.shards", "grouping", "changes"),
    "traces": (
        "traces.shards", "traces", "sampling", "windows", "scoring", "vector_parts", "calls",
    ),
    "alerting": ("rules.shards", "rules"),
}  # fmt: skip
"""By flow, the number of shards, and the steps that have a state for each."""
_READERS: Final = re.compile(r"reader-(\d+)")


class StoreError(Exception):
    """The recovery store can't be used; the message names it and the way out."""


def fixed_settings(flow: str, settings: Settings) -> dict[str, Any]:
    """Return what may not change while a flow uses the same store, by key."""
    fixed: dict[str, Any] = {"flow": flow, "kafka.readers": settings.kafka.readers}
    if flow in _SHARDED:
        fixed["keys"] = KEYS
    if flow == "logs":
        fixed["logs.shards"] = settings.logs.shards
    if flow == "traces":
        fixed["traces.shards"] = settings.traces.shards
    if flow == "alerting":
        fixed["rules.shards"] = settings.rules.shards
    if flow == "metrics":
        fixed["rollups.shards"] = settings.rollups.shards
    if flow in ("metrics", "traces"):
        fixed["rollups.windows"] = [format_duration(each) for each in settings.rollups.windows]
    return fixed


def parts_of(directory: Path) -> list[Path]:
    """Return the files of the store in a directory."""
    return sorted(directory.glob("part-*.sqlite3"))


def check_store(directory: Path, flow: str, settings: Settings, *, alone: bool = True) -> None:
    """Look whether a flow can go on with the store in a directory; note there what is fixed.

    Args:
        directory: as the runner was given it.
        flow: that is about to use it.
        settings: of this start.
        alone: there is one process, so the whole store has to be here.

    Raises:
        StoreError: the flow can't, or what came of it would be wrong.
    """
    where = f"recovery store {directory}"
    make = f"python -m bytewax.recovery {directory} {_PARTITIONS}"
    if not directory.is_dir():
        raise StoreError(
            f"{where}: there is no such directory (make it: mkdir -p {directory} && {make})"
        )
    parts = parts_of(directory)
    if not parts:
        raise StoreError(f"{where}: the directory holds no store (make it: {make})")
    _look_for_damage(where, directory, parts, alone=alone)
    if not os.access(directory, os.W_OK):
        raise StoreError(f"{where}: let this user write there")
    _forget_unfinished(where, parts)
    file = directory / FIXED
    before = noted(directory) or found_settings(flow, parts)
    now = fixed_settings(flow, settings)
    if flow == "traces" and "rollups.shards" in before:
        raise StoreError(
            f"{where}: an earlier version made it, whose series were on other shards: run `{_RESCALE} "
            f"{directory}` to begin anew from what Kafka has"
        )
    if before.get("keys") != KEYS and old_keys(flow, states_there(parts)):
        raise StoreError(
            f"{where}: an earlier version made it, whose states lie on workers otherwise: run `{_UPGRADE} "
            f"{directory}`, which keeps them all"
        )
    for key, value in before.items():
        if key in now and now[key] != value:
            raise StoreError(_disagreement(where, directory, key, value, now[key]))
    if not file.exists() or before != now:
        new = file.with_name(f"{FIXED}.{os.getpid()}")
        new.write_bytes(orjson.dumps(now, option=orjson.OPT_INDENT_2) + b"\n")
        new.replace(file)


def _disagreement(where: str, directory: Path, key: str, before: Any, now: Any) -> str:
    if key == "flow":
        return f"{where}: it is of the flow {before}; each flow needs a store of its own"
    return (
        f"{where}: {key} is {_shown(now)}, but the store was made with {_shown(before)}, which is "
        f"for the life of it: set it to {_shown(before)} to go on, or run `{_RESCALE} {directory}` to "
        "begin anew from what Kafka has"
    )


def _shown(value: Any) -> str:
    return f"[{', '.join(value)}]" if isinstance(value, list) else str(value)


def _look_for_damage(where: str, directory: Path, parts: list[Path], *, alone: bool) -> None:
    way_out = f"`{_RESCALE} {directory}` begins anew from what Kafka has; nothing is lost by that"
    counts = set()
    whole = sum(part.stat().st_size for part in parts) <= _CHECKED
    for part in parts:
        try:
            with closing(_opened(part)) as store:
                counts |= {count for (count,) in store.execute("SELECT part_count FROM parts")}
                said = store.execute("PRAGMA quick_check(1)").fetchone()[0] if whole else "ok"
        except sqlite3.OperationalError as error:
            raise StoreError(f"{where}: {part.name}: {error}") from None
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{where}: {part.name} is damaged ({error}); {way_out}") from None
        if said != "ok":
            what = " ".join(str(said).replace("*", " ").split())
            raise StoreError(f"{where}: {part.name} is damaged ({what}); {way_out}")
    if len(counts) != 1 or (alone and len(parts) != max(counts)):
        raise StoreError(
            f"{where}: {len(parts)} of its {max(counts, default=0)} files are there; {way_out}"
        )


def resume_epoch(parts: list[Path]) -> int | None:
    """Return the epoch in which a run would begin; None if nobody can say from these files."""
    executions: list[tuple[int, int, int]] = []
    frontiers: list[tuple[int, int, int]] = []
    counts = set()
    for part in parts:
        with closing(_opened(part)) as store:
            counts |= {count for (count,) in store.execute("SELECT part_count FROM parts")}
            executions += store.execute("SELECT ex_num, worker_count, resume_epoch FROM exs")
            frontiers += store.execute("SELECT ex_num, worker_index, worker_frontier FROM fronts")
    if not executions or counts != {len(parts)}:
        return None
    # As Bytewax works out where to resume: where the worker of the last run is that is least far.
    last, workers, began = max(executions)
    reached = dict.fromkeys(range(workers), began)
    for number, worker, frontier in frontiers:
        if number == last:
            reached[worker] = max(frontier, reached.get(worker, began))
    return min(reached.values())


def last_states(parts: list[Path]) -> dict[tuple[str, str], bytes]:
    """Return the states with which a run would begin, pickled, by step and key.

    Raises:
        StoreError: nobody can say from these files where a run would begin.
    """
    resumed = resume_epoch(parts)
    if resumed is None:
        raise StoreError(f"recovery store {parts[0].parent}: nothing was run with all of its files")
    found: dict[tuple[str, str], bytes] = {}
    for part in parts:
        with closing(_opened(part)) as store:
            # Beside a maximum, SQLite takes the other columns from the row that has it.
            for step, key, _, state in store.execute(
                "SELECT step_id, state_key, MAX(snap_epoch), ser_change FROM snaps "
                "WHERE snap_epoch < ? GROUP BY step_id, state_key",
                (resumed,),
            ):
                if state is not None:  # else the state was dropped
                    found[step, key] = state
    return found


def _forget_unfinished(where: str, parts: list[Path]) -> None:
    """Remove the snapshots of epochs that no run finished; nothing if a part is elsewhere."""
    resumed = resume_epoch(parts)
    if resumed is None:
        return
    for part in parts:
        try:
            with closing(sqlite3.connect(part, timeout=30.0)) as store:
                store.execute("DELETE FROM snaps WHERE snap_epoch >= ?", (resumed,))
                store.commit()
        except sqlite3.OperationalError as error:
            raise StoreError(f"{where}: {part.name}: {error}") from None


def _opened(part: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{part.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)


def noted(directory: Path) -> Mapping[str, Any] | None:
    """Return what is fixed for the life of a store, as it is noted there; None if nothing is.

    Raises:
        StoreError: the note can't be read.
    """
    file = directory / FIXED
    try:
        found = orjson.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, orjson.JSONDecodeError) as error:
        raise StoreError(
            f"recovery store {directory}: {file.name} can't be read: {error}"
        ) from None
    return found if isinstance(found, dict) else None


def found_settings(flow: str, parts: list[Path]) -> dict[str, Any]:
    """Return what the states in a store tell of the settings that it was made with."""
    keys = states_there(parts)
    found: dict[str, Any] = {}
    flows = {step.partition(".")[0] for step, _ in keys}
    if flows and flow not in flows:
        found["flow"] = min(flows)
    readers = [int(m[1]) for _, key in keys if (m := _READERS.fullmatch(key))]
    number, *_ = _SHARDED.get(flow, ("",))
    shards = [shard_number(key) for step, key in keys if is_sharded(flow, step)]
    if readers:
        found["kafka.readers"] = max(readers) + 1
    if shards:
        found[number] = max(shards) + 1
    return found


def old_keys(flow: str, states: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return which states have a key that this version finds no state by, and the key it finds it by.

    Args:
        flow: that the states are of.
        states: their steps and keys.
    """
    return {
        (step, key): shard_key(int(key))
        for step, key in states
        if is_sharded(flow, step) and key.isdecimal() and shard_key(int(key)) != key
    }


def is_sharded(flow: str, step: str) -> bool:
    """Return whether a step has a state for each shard; ``step`` as in the store, with its flow's name."""
    name, _, rest = step.partition(".")
    _, *steps = _SHARDED.get(flow, ("",))
    return name == flow and rest.partition(".")[0] in steps


def states_there(parts: list[Path]) -> set[tuple[str, str]]:
    """Return steps and keys of all states in a store."""
    found: set[tuple[str, str]] = set()
    for part in parts:
        with closing(_opened(part)) as store:
            found.update(store.execute("SELECT DISTINCT step_id, state_key FROM snaps"))
    return found
