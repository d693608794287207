"""What recovery costs is read from a store that Bytewax itself wrote."""

from __future__ import annotations

import pickle
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import run_main

from bench.outputs import Nothing
from bench.snapshots import SnapshotTimes, StoreWatch, offsets_read
from operators import bytewax as engine
from operators.contracts.engine import EndOfInput, KeyedLogic, Reader, Source

SIZE = 100_000
EPOCHS = 5


class Numbers(Reader[int]):
    """Gives numbers; its state is what a reader of two topics has."""

    def __init__(self) -> None:
        self._next = 0

    def next_batch(self) -> list[int]:
        if self._next == EPOCHS:
            raise EndOfInput
        self._next += 1
        return [self._next]

    def snapshot(self) -> dict[str, Any]:
        return {"version": 1, "offsets": {"a": {0: self._next, 1: self._next}, "b": {0: 100}}}

    def wake_at(self) -> None:
        return None

    def close(self) -> None:
        pass


class OneReader(Source[int]):
    def readers(self) -> list[str]:
        return ["reader-0"]

    def reader(self, _name: str, _state: Any) -> Numbers:
        return Numbers()


class Large(KeyedLogic[int, int]):
    """Has a large state."""

    def on_batch(self, items: list[int]) -> list[int]:
        return items

    def snapshot(self) -> bytes:
        return bytes(SIZE)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    init_db_dir(tmp_path, 2)
    flow = Dataflow("watched")
    keyed = op.key_on(
        "key", engine.read("kafka", flow, OneReader()), lambda number: str(number % 2)
    )
    engine.write("out", engine.keyed("large", keyed, lambda _: Large()), Nothing)
    run_main(
        flow,
        epoch_interval=timedelta(0),
        # What is no longer needed stays, so that all epochs can be seen afterwards.
        recovery_config=RecoveryConfig(tmp_path, backup_interval=timedelta(hours=1)),
    )
    return tmp_path


def test_bytes_of_an_epoch_are_those_of_all_states_that_changed_in_it(store):
    watch = StoreWatch(store)
    watch.look()
    watch.look()
    told = watch.report()
    one = len(pickle.dumps(bytes(SIZE)))
    assert told["epochs"] == EPOCHS + 1
    # A number an epoch changes one of both states; at the end Bytewax wakes both.
    assert told["mean_bytes"] == pytest.approx((EPOCHS + 2) * one / (EPOCHS + 1), rel=0.01)
    assert told["largest_bytes"] == pytest.approx(2 * one, rel=0.01)


def test_offsets_are_those_of_the_newest_snapshot(store):
    read, epoch = offsets_read(store)
    assert read == EPOCHS + EPOCHS + 100
    assert epoch >= EPOCHS


def test_a_store_that_is_not_there_yet_holds_nothing(tmp_path):
    watch = StoreWatch(tmp_path / "none")
    watch.look()
    assert watch.report() == {}
    assert offsets_read(tmp_path / "none") == (0, 0)


def test_times_are_of_all_states_together_in_one_epoch(monkeypatch):
    monkeypatch.setattr(Large, "snapshot", Large.snapshot)  # put back afterwards
    monkeypatch.setattr(Numbers, "snapshot", Numbers.snapshot)
    times = SnapshotTimes()
    times.watch()
    logics = [Large(), Large()]
    for _ in range(3):
        for logic in logics:
            logic.snapshot()
    told = times.report()["Large"]
    assert told["epochs"] == 3
    assert 0 < told["seconds"] < 1
