"""The states of a recovery store that an earlier version made, as this version finds them.

Bytewax writes the new store itself, by a dataflow that has steps of the same names and does nothing: which
of a store's files a state belongs to is Bytewax's matter.
"""

from __future__ import annotations

import pickle
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig
from bytewax.run import cli_main

from flows.process.recovery_store import old_keys
from operators.bytewax import keyed, op, read, shard_key, write
from operators.contracts.engine import EndOfInput, KeyedLogic, Reader, Source, Writer
from operators.logs.moving import moved_courses, moved_groups

__all__ = ["States", "renamed", "write_store"]

States = dict[tuple[str, str], Any]
"""States, by step, with its flow's name, and key."""

_SOURCE: Final = "kafka"
_MOVED: Final = {"logs.grouping": moved_groups, "logs.changes": moved_courses}
"""Steps of which an earlier version spread what their states are of over shards otherwise."""


def renamed(flow: str, pickled: Mapping[tuple[str, str], bytes], shards: int) -> States:
    """Return states by the keys by which this version finds them.

    Args:
        flow: that they are of.
        pickled: the states of a store of before.
        shards: how many the flow has.

    Raises:
        RuntimeError: a state that has to be moved is of another version.
    """
    keys = old_keys(flow, pickled)
    states: States = {}
    moving: defaultdict[str, list[Any]] = defaultdict(list)
    for (step, key), content in pickled.items():
        state = pickle.loads(content)  # noqa: S301 - what our own flow wrote
        if step in _MOVED:  # whatever its key: shards beyond those with new keys moved, too
            moving[step].append(state)
        else:
            states[step, keys.get((step, key), key)] = state
    for step, old in moving.items():
        for shard, state in _MOVED[step](old, shards).items():
            states[step, shard_key(shard)] = state
    return states


def write_store(directory: Path, flow: str, states: States) -> None:
    """Write states into an empty store.

    Args:
        directory: of the store.
        flow: that the states are of.
        states: of it; those of its readers must be among them.
    """
    source = f"{flow}.{_SOURCE}"
    readers = {key: state for (step, key), state in states.items() if step == source}
    others = [(step, key, state) for (step, key), state in states.items() if step != source]
    dataflow = Dataflow(flow)
    given = read(_SOURCE, dataflow, _Readers(readers, others))
    for step in sorted({step for step, _, _ in others}):
        name = step.removeprefix(f"{flow}.")
        mine = op.filter_map(f"{name}_given", given, _of_step(step))
        write(f"{name}_written", keyed(name, mine, _Kept), _Nowhere)
    recovery = RecoveryConfig(directory)  # type: ignore[no-untyped-call]
    cli_main(dataflow, recovery_config=recovery)  # type: ignore[no-untyped-call]


def _of_step(step: str) -> Any:
    def choose(item: tuple[str, str, Any]) -> tuple[str, Any] | None:
        return item[1:] if item[0] == step else None

    return choose


class _Kept(KeyedLogic[Any, Any]):
    """Has the state that it is given."""

    def __init__(self, state: Any) -> None:
        self._state = state

    def on_batch(self, items: list[Any]) -> list[Any]:
        (self._state,) = items
        return []

    def snapshot(self) -> Any:
        return self._state


class _Given(Reader[Any]):
    """Has the state that it is given, and gives items, once."""

    def __init__(self, state: Any, items: list[Any]) -> None:
        self._state = state
        self._items = [items]

    def next_batch(self) -> list[Any]:
        if not self._items:
            raise EndOfInput
        return self._items.pop()

    def wake_at(self) -> None:
        return None

    def snapshot(self) -> Any:
        return self._state

    def close(self) -> None:
        pass


class _Readers(Source[Any]):
    """Readers with the states that they are given; the first one gives all other states."""

    def __init__(self, states: Mapping[str, Any], items: list[Any]) -> None:
        self._states = states
        self._items = items

    def readers(self) -> list[str]:
        return list(self._states)

    def reader(self, name: str, state: Any | None) -> _Given:  # noqa: ARG002 - there is none
        items = self._items if name == next(iter(self._states)) else []
        return _Given(self._states[name], items)


class _Nowhere(Writer[Any]):
    def write(self, items: list[Any]) -> None:
        pass

    def close(self) -> None:
        pass
