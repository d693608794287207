"""What the adapter of the engine adds to it, on the engine itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, run_main

from operators.bytewax import op, read
from operators.contracts.engine import EndOfInput, Reader, Source

LONG, WAIT = 0.2, timedelta(milliseconds=1)
"""Seconds that a batch takes, and how much later the next one is wanted."""


class Slow(Reader[str]):
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

    def snapshot(self) -> Any:
        return None

    def close(self) -> None:
        pass


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
