"""A start that does not fit its recovery store ends in one line, which says the way out."""

from __future__ import annotations

import os
import pickle
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.process.recovery_store import FIXED, StoreError, check_store, parts_of
from flows.settings import Kafka, Rollups, Settings
from operators.bytewax import shard_key
from tests.flows.command_line import ROOT

SETTINGS = Settings(kafka=Kafka(readers=2), rollups=Rollups(shards=16))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    directory = tmp_path / "store"
    directory.mkdir()
    subprocess.run([sys.executable, "-m", "bytewax.recovery", str(directory), "2"], check=True)
    return directory


def fault(directory: Path, settings: Settings = SETTINGS, flow: str = "metrics") -> str:
    with pytest.raises(StoreError) as caught:
        check_store(directory, flow, settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_store_that_fits_is_taken_again_and_again(store: Path) -> None:
    check_store(store, "metrics", SETTINGS)
    check_store(store, "metrics", SETTINGS)


def test_a_directory_that_is_missing_or_empty_is_said_to_be(tmp_path: Path) -> None:
    assert "there is no such directory (make it: mkdir -p" in fault(tmp_path / "none")
    assert "holds no store (make it: python -m bytewax.recovery" in fault(tmp_path)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (Settings(rollups=Rollups(shards=7), kafka=Kafka(readers=2)), "rollups.shards is 7, but the store was made with 16"),
        (Settings(rollups=Rollups(shards=16), kafka=Kafka(readers=3)), "kafka.readers is 3, but the store was made with 2"),
        (
            SETTINGS.model_copy(update={"rollups": Rollups(windows=("10s", "5m"))}),
            "rollups.windows is [10s, 5m], but the store was made with [10s, 1m]",
        ),
    ],
)  # fmt: skip
def test_what_is_fixed_for_the_life_of_a_store_is_in_it(
    store: Path, changed: Settings, said: str
) -> None:
    check_store(store, "metrics", SETTINGS)
    message = fault(store, changed)
    assert said in message
    assert f"headrace recovery rescale {store}" in message


def put(store: Path, states: Sequence[tuple[str, str]]) -> None:
    """Write states without content, by step and key."""
    with closing(sqlite3.connect(store / "part-0.sqlite3")) as part:
        part.executemany(
            "INSERT INTO snaps (step_id, state_key, snap_epoch, ser_change) VALUES (?, ?, 1, ?)",
            [(*each, pickle.dumps(None)) for each in states],
        )
        part.commit()


def test_a_store_without_that_note_tells_by_the_states_in_it(store: Path) -> None:
    rows = [("metrics.kafka", f"reader-{n}") for n in range(2)]
    put(store, rows + [("metrics.windows.stateful", shard_key(n)) for n in range(16)])
    fewer = Settings(kafka=Kafka(readers=2), rollups=Rollups(shards=7))
    assert "rollups.shards is 7, but the store was made with 16" in fault(store, fewer)
    check_store(store, "metrics", SETTINGS)


@pytest.mark.parametrize("noted", [True, False])
def test_keys_of_before_are_refused_with_the_way_out_and_a_tenant_may_be_called_by_a_number(
    store: Path, noted: bool
) -> None:
    if noted:
        check_store(store, "metrics", SETTINGS)
        note = orjson.loads((store / FIXED).read_bytes())
        (store / FIXED).write_bytes(orjson.dumps({k: v for k, v in note.items() if k != "keys"}))
    put(store, [("metrics.admission", "7"), ("metrics.windows", shard_key(7))])
    done = CliRunner().invoke(app, ["recovery", "upgrade", str(store)])
    assert "this version can use it as it is" in done.output
    put(store, [("metrics.windows", "15")])
    message = fault(store)
    assert f"run `headrace recovery upgrade {store}`, which keeps them all" in message


def test_a_store_that_can_not_be_upgraded_is_as_it_was(store: Path) -> None:
    put(store, [("metrics.windows", "1")])  # but nothing says that it was ever run
    before = [part.read_bytes() for part in parts_of(store)]
    done = CliRunner().invoke(app, ["recovery", "upgrade", str(store)])
    assert done.exit_code == 1
    assert "nothing was run with all of its files; it is as it was" in str(done.exception)
    assert [part.read_bytes() for part in parts_of(store)] == before
    assert not list(store.glob("before-*"))


def test_series_of_traces_have_the_shards_of_the_traces(store: Path) -> None:
    check_store(store, "traces", SETTINGS)
    note = orjson.loads((store / FIXED).read_bytes())
    assert "rollups.shards" not in note
    check_store(store, "traces", SETTINGS.model_copy(update={"rollups": Rollups(shards=7)}))
    (store / FIXED).write_bytes(orjson.dumps(note | {"rollups.shards": 16}))
    message = fault(store, flow="traces")
    assert "an earlier version made it" in message
    assert f"headrace recovery rescale {store}" in message


def test_each_flow_needs_a_store_of_its_own(store: Path) -> None:
    check_store(store, "metrics", SETTINGS)
    assert "it is of the flow metrics; each flow needs a store of its own" in fault(
        store, flow="notifier"
    )


def test_a_store_that_lacks_a_file_is_refused_with_the_way_out(store: Path) -> None:
    (store / "part-1.sqlite3").unlink()
    message = fault(store)
    assert "1 of its 2 files are there" in message
    assert f"headrace recovery rescale {store}" in message
    check_store(store, "metrics", SETTINGS, alone=False)  # another process may have it


@pytest.mark.parametrize("place", [0, 4096])
def test_a_store_with_a_page_overwritten_is_refused_with_the_way_out(
    store: Path, place: int
) -> None:
    with (store / "part-0.sqlite3").open("r+b") as file:
        file.seek(place)
        file.write(os.urandom(4096))
    message = fault(store)
    assert "part-0.sqlite3 is damaged" in message
    assert "headrace recovery rescale" in message


def test_rescale_sets_the_store_aside_and_makes_another(store: Path) -> None:
    check_store(store, "metrics", SETTINGS)
    (store / "part-0.sqlite3").write_bytes(b"no database at all, " * 500)
    done = CliRunner().invoke(app, ["recovery", "rescale", str(store), "-n", "3"])
    assert done.exit_code == 0, done.output
    assert len(parts_of(store)) == 3
    (aside,) = store.glob("before-*")
    assert {file.name for file in aside.iterdir()} >= {"part-0.sqlite3", "headrace.json"}
    check_store(store, "metrics", Settings(rollups=Rollups(shards=7)))


def test_a_store_in_use_is_not_rescaled(store: Path) -> None:
    with closing(sqlite3.connect(store / "part-0.sqlite3")) as part:
        part.execute("SELECT * FROM parts")
        done = subprocess.run(
            [sys.executable, "-m", "flows.cli", "recovery", "rescale", str(store)],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert f"process {os.getpid()} uses it; stop that first" in done.stderr
    assert len(parts_of(store)) == 2


COUNTING = """
import sys
from datetime import timedelta
import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig
from bytewax.testing import TestingSink, TestingSource, run_main

out = []
letters = [TestingSource.ABORT() if each == "!" else (each, 1) for each in sys.argv[2]]
flow = Dataflow("counting")
keyed = op.input("in", flow, TestingSource(letters))
counted = op.stateful_map("count", keyed, lambda state, one: ((state or 0) + one,) * 2)
op.output("out", counted, TestingSink(out))
run_main(flow, epoch_interval=timedelta(0), recovery_config=RecoveryConfig(sys.argv[1]))
print(out)
"""
"""Counts the letters of its second argument, each in an epoch of its own; "!" is a crash."""


def count(store: Path, letters: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, str(store), letters],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_a_snapshot_of_an_epoch_that_was_not_finished_does_not_come_back(store: Path) -> None:
    """One that a crash left, of a key that has nothing to do in that epoch of the next run."""
    assert count(store, "ab") == "[('a', 1), ('b', 1)]"
    for part in parts_of(store):
        with closing(sqlite3.connect(part)) as opened:
            last = opened.execute("SELECT MAX(worker_frontier) FROM fronts").fetchone()[0]
            opened.execute(
                "INSERT INTO snaps (step_id, state_key, snap_epoch, ser_change) "
                "SELECT step_id, state_key, ?, ? FROM snaps WHERE state_key = 'b'",
                (last, pickle.dumps(100)),
            )
            opened.commit()
    check_store(store, "counting", SETTINGS)
    assert count(store, "abaaa!").startswith("[('a', 2), ('a', 3)")
    check_store(store, "counting", SETTINGS)
    assert count(store, "abaaab").endswith("('b', 2)]")
