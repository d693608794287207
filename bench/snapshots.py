"""What recovery costs: the time that snapshots take, and the bytes that they add to the store."""

from __future__ import annotations

import functools
import pickle
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from operators.contracts.engine import KeyedLogic, Reader

__all__ = ["SnapshotTimes", "StoreWatch", "offsets_read"]


class SnapshotTimes:
    """Times every ``snapshot`` of a step's state, in this process, whatever its class."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._calls: dict[str, Counter[int]] = defaultdict(Counter)

    def watch(self) -> None:
        """Begin; the flow has been built, so all classes are known."""
        for base in (KeyedLogic, Reader):
            for kind in _kinds(base):
                if "snapshot" in vars(kind):
                    kind.snapshot = self._timed(kind.__name__, kind.snapshot)

    def report(self) -> dict[str, dict[str, float]]:
        """Return, by class, the number of epochs, and the seconds that all its states took in one."""
        found = {}
        for name, calls in self._calls.items():
            epochs = max(calls.values())
            found[name] = {"epochs": epochs, "seconds": self._seconds[name] / epochs}
        return found

    def _timed(self, name: str, snapshot: Callable[[Any], Any]) -> Callable[[Any], Any]:
        @functools.wraps(snapshot)
        def timed(state: Any) -> Any:
            began = time.perf_counter()
            try:
                return snapshot(state)
            finally:
                self._seconds[name] += time.perf_counter() - began
                self._calls[name][id(state)] += 1

        return timed


def _kinds(base: type) -> Iterator[Any]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)


class StoreWatch:
    """Follows a recovery store while a flow writes to it; old snapshots are deleted meanwhile."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._bytes: dict[tuple[str, str, int], int] = {}

    def look(self) -> None:
        """Note what is in the store now."""
        query = (
            "SELECT step_id, snap_epoch, SUM(LENGTH(ser_change)) FROM snaps "
            "GROUP BY step_id, snap_epoch"
        )
        for file, rows in _ask(self._directory, query):
            for step, epoch, size in rows:
                key = (file, step, epoch)
                self._bytes[key] = max(self._bytes.get(key, 0), size or 0)

    def report(self) -> dict[str, float]:
        """Return the number of epochs, and of the bytes that one added the mean and the most.

        The first epochs, which end before anything was read, are left out: what adds less than
        a tenth of the largest.
        """
        by_epoch: Counter[int] = Counter()
        for (_, _, epoch), size in self._bytes.items():
            by_epoch[epoch] += size
        largest = max(by_epoch.values(), default=0)
        full = [size for size in by_epoch.values() if size > largest / 10]
        if not full:
            return {}
        return {
            "epochs": len(full),
            "mean_bytes": sum(full) / len(full),
            "largest_bytes": float(largest),
        }


def offsets_read(directory: Path) -> tuple[int, int]:
    """Return how many messages the newest snapshots of all readers have read, and their epoch."""
    newest: dict[str, tuple[int, bytes]] = {}
    query = "SELECT state_key, snap_epoch, ser_change FROM snaps WHERE step_id LIKE '%.kafka'"
    for _, rows in _ask(directory, query):
        for key, epoch, state in rows:
            if key not in newest or epoch > newest[key][0]:
                newest[key] = epoch, state
    states = [pickle.loads(state) for _, state in newest.values() if state is not None]
    read = sum(sum(by.values()) for state in states for by in state["offsets"].values())
    return read, min((epoch for epoch, _ in newest.values()), default=0)


def _ask(directory: Path, query: str) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    for file in sorted(directory.glob("*.sqlite3")):
        try:
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=5)) as store:
                yield file.name, store.execute(query).fetchall()
        except sqlite3.OperationalError:
            continue  # locked, or not there yet: the next look will tell
