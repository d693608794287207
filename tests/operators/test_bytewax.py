"""What the adapter of the engine adds to it, on the engine itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, cluster_main, run_main

from operators.bytewax import Epochs, op, read
from operators.contracts.engine import EndOfInput, Reader, Source

LONG, WAIT = 0.2, timedelta(milliseconds=1)
"""Seconds that a batch takes, and how much later the next one is wanted."""
EPOCH = 0.2


class Asked(Reader[str]):
    """A reader of the tests: no state, and nothing to close."""

    def wake_at(self) -> datetime | None:
        return None

    def snapshot(self) -> Any:
        return None

    def close(self) -> None:
        pass


class Slow(Asked):
    """Notes how long after each batch it was asked for the next one."""

    def __init__(self, pauses: list[float]) -> None:
        self._pauses = pauses
        self._told: float | None = None

    def next_batch(self) -> list[str]:
        if self._told is not None:
            self._pauses.append(time.monotonic() - self._told)
        if len(self._pauses) == 5:
            raise EndOfInput
        time.sleep(LONG)
        self._told = time.monotonic()
        return ["batch"]

    def wake_at(self) -> datetime | None:
        return datetime.now(UTC) + WAIT


class SlowSource(Source[str]):
    def __init__(self) -> None:
        self.pauses: list[float] = []

    def readers(self) -> Sequence[str]:
        return ["one"]

    def reader(self, _name: str, _state: Any | None) -> Slow:
        return Slow(self.pauses)


def test_a_batch_that_took_long_is_not_waited_for_twice() -> None:
    flow, source, out = Dataflow("slow"), SlowSource(), list[str]()
    op.output("out", read("in", flow, source), TestingSink(out))
    run_main(flow)

    assert out == ["batch"] * 5
    # Bytewax alone waits as long as the batch took, each time; a busy machine may do so once.
    assert min(source.pauses) < LONG / 2


class Endless(Asked):
    """Has a short batch whenever it is asked; ``first`` is how many seconds the first one takes."""

    def __init__(self, first: float, asked: list[float]) -> None:
        self._first = first
        self._asked = asked

    def next_batch(self) -> list[str]:
        self._asked.append(time.monotonic())
        if self._asked[-1] - self._asked[0] > 20 * EPOCH:
            raise EndOfInput
        time.sleep(0.01 if len(self._asked) > 1 else self._first)
        return []


class EndlessSource(Source[str]):
    def __init__(self, first: dict[str, float]) -> None:
        self._first = first
        self.asked: dict[str, list[float]] = {name: [] for name in first}

    def readers(self) -> Sequence[str]:
        return list(self._first)

    def reader(self, name: str, _state: Any | None) -> Endless:
        return Endless(self._first[name], self.asked[name])


def test_a_worker_does_not_wait_in_each_epoch_for_one_that_began_late() -> None:
    flow, source = Dataflow("late"), EndlessSource({"0": 0.01, "1": 2.5 * EPOCH})
    op.output("out", read("in", flow, source), TestingSink(list[str]()))
    length = timedelta(seconds=EPOCH)
    cluster_main(flow, [], 0, epoch_interval=length, worker_count_per_proc=2)

    # Bytewax alone asks the first one once an epoch from then on, which is a small part of the other.
    punctual, late = (len(asked) for asked in source.asked.values())
    assert punctual > late / 3


def test_who_began_an_epoch_before_others_waits_once() -> None:
    epochs = Epochs()
    assert epochs.hold(1, 0.1, 100.0) is None  # which knows of no epoch yet
    for number, (early, late) in enumerate([(99.0, 99.1), (100.0, 101.0), (105.0, 106.0)]):
        epochs.begin(1, number, early)
        epochs.begin(2, number, late)
        epochs.begin(2, number, late + 0.5)  # its second reader

    assert epochs.hold(1, 0.1, 107.0) is None  # its epoch is far from its end
    assert epochs.hold(2, 0.1, 110.95) is None  # the last one
    assert epochs.hold(1, 0.6, 109.9) is None  # one second is nothing where batches take this long
    assert epochs.hold(1, 0.1, 109.9) == 111.0

    epochs.begin(2, 3, 111.0)  # is one further
    assert epochs.hold(1, 0.1, 109.9) is None
    epochs.begin(1, 3, 111.1)
    assert epochs.hold(2, 0.01, 115.99) == 116.1
    epochs.leave(1)
    assert epochs.hold(2, 0.01, 115.99) is None


def test_who_ends_each_epoch_with_its_first_batch_passes_one_over() -> None:
    epochs = Epochs()
    for number, (early, late) in enumerate([(95.0, 99.5), (100.0, 104.5), (105.0, 109.5)]):
        epochs.begin(1, number, early)
        epochs.begin(2, number, late)
    assert epochs.hold(1, 0.0, 110.1) == 119.5
