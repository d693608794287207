"""Shards lie evenly on workers: by a hash that Python computes itself, and by where Bytewax has them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import TestingSource, cluster_main
from hypothesis import given
from hypothesis import strategies as st

from operators.bytewax import keyed, op, shard_key, shard_number
from operators.contracts.engine import KeyedLogic

SHARDS = 64
WORKERS = (*range(1, 13), 16)
HASHES = "import json, sys; print(json.dumps([hash(key.encode() + b'\\xff') for key in json.load(sys.stdin)]))"


def hashes(keys: list[str]) -> list[int]:
    """Return Bytewax's hashes: Rust's hasher has the keys 0 and 0, as Python's has with this seed.

    Of what is empty Python says 0, all other lengths it hashes alike: no key is empty.
    """
    done = subprocess.run(
        [sys.executable, "-c", HASHES], input=json.dumps(keys), text=True, capture_output=True,
        check=True, env={**os.environ, "PYTHONHASHSEED": "0"},
    )  # fmt: skip
    return [each % 2**64 for each in json.loads(done.stdout)]


@pytest.mark.skipif(
    (sys.hash_info.algorithm, sys.hash_info.cutoff) != ("siphash13", 0),
    reason="this Python hashes bytes otherwise",
)
def test_every_shard_is_on_the_worker_that_its_number_says():
    found = hashes([shard_key(number) for number in range(128)])
    for workers in WORKERS:
        assert [each % workers for each in found] == [n % workers for n in range(128)]


def test_keys_are_what_they_have_always_been():
    """They are in recovery stores."""
    assert [shard_key(n) for n in (0, 1, 2, 3, 4, 5, 6, 7, 63, 127, 128, 4095)] == [
        "0.40079", "1.24700", "2.79275", "3.42387", "4.3547", "5.68431", "6.132535", "7.3223",
        "63.15531", "127.115544", "128", "4095",
    ]  # fmt: skip


@given(st.integers(0, 5000))
def test_a_key_says_which_shard_it_is_of(number):
    assert shard_number(shard_key(number)) == number


class Same(KeyedLogic[Any, Any]):
    def on_batch(self, items: list[Any]) -> list[Any]:
        return items

    def snapshot(self) -> None:
        return None


class Where(DynamicSink[Any], StatelessSinkPartition[Any]):
    """Notes which worker each item is written on."""

    def __init__(self, found: dict[int, int], worker: int = -1) -> None:
        self._found = found
        self._worker = worker

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Where:
        return Where(self._found, worker_index)

    def write_batch(self, items: list[tuple[str, int]]) -> None:
        self._found |= {number: self._worker for _, number in items}


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_bytewax_has_them_there(workers):
    found: dict[int, int] = {}
    flow = Dataflow("placed")
    numbers = op.input("numbers", flow, TestingSource(range(SHARDS)))
    shards = op.key_on("shards", numbers, shard_key)
    op.output("where", keyed("same", shards, lambda _: Same()), Where(found))
    cluster_main(flow, [], 0, worker_count_per_proc=workers)
    assert found == {number: number % workers for number in range(SHARDS)}
