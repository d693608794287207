"""A flow that writes down what the engine asks of it, for the test of the epoch guarantee.

Its files are in ``$EPOCHS_DIRECTORY``, one fact a line: ``written`` has what a writer confirmed,
``committed`` what readers could commit, ``faults`` whatever broke a promise.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from bytewax.dataflow import Dataflow

from operators.bytewax import keyed, op, read, write
from operators.contracts.engine import EndOfInput, KeyedLogic, Reader, Source, Writer

READERS, KEYS, ITEMS = 3, 4, 240
Item = tuple[int, int]  # reader, number

finished: dict[str, int] = {}
"""By key, how many items its logic had at its last snapshot: what windows tell readers."""


def note(file: str, line: str) -> None:
    """Append a line, which a kill does not take back."""
    path = Path(os.environ["EPOCHS_DIRECTORY"]) / file
    number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(number, f"{line}\n".encode())
    os.close(number)


class Numbers(Reader[Item]):
    def __init__(self, index: int, state: dict[str, Any] | None) -> None:
        self._index = index
        self._next = state["next"] if state else 0
        self._before = -1
        for key, count in (state["finished"] if state else {}).items():
            said.setdefault(key, []).append(count)
            check(key)

    def next_batch(self) -> list[Item]:
        if self._next == ITEMS:
            raise EndOfInput
        self._next += 1
        return [(self._index, self._next - 1)]

    def wake_at(self) -> datetime | None:
        return None

    def snapshot(self) -> dict[str, Any]:
        if self._before >= 0:
            note("committed", f"{self._index} {self._before}")
        self._before = self._next
        return {"next": self._next, "finished": dict(finished)}

    def close(self) -> None:
        pass


class Numbered(Source[Item]):
    def readers(self) -> Sequence[str]:
        return [str(index) for index in range(READERS)]

    def reader(self, name: str, state: Any | None) -> Numbers:
        return Numbers(int(name), state)


class Count(KeyedLogic[Item, Item]):
    def __init__(self, state: dict[str, Any] | None) -> None:
        self._key: str | None = state["key"] if state else None
        self._last: dict[int, int] = dict(state["last"]) if state else {}
        if self._key is not None:
            restored[self._key] = self._count()
            check(self._key)

    def on_batch(self, items: list[Item]) -> list[Item]:
        for reader, number in items:
            self._key = str(number % KEYS)
            expected = self._last.get(reader, number % KEYS - KEYS) + KEYS
            if number != expected:
                note(
                    "faults",
                    f"one cut: key {self._key} got {number} of reader {reader}, not {expected}",
                )
            self._last[reader] = number
        return items

    def snapshot(self) -> dict[str, Any]:
        if self._key is not None:
            finished[self._key] = self._count()
        return {"key": self._key, "last": dict(self._last)}

    def _count(self) -> int:
        return sum(number // KEYS + 1 for number in self._last.values())


restored: dict[str, int] = {}
said: dict[str, list[int]] = {}


def check(key: str) -> None:
    """What readers took for finished must be in what the logic resumed with."""
    if key in restored and any(count > restored[key] for count in said.get(key, ())):
        note("faults", f"readers first: key {key} resumed with {restored[key]}, not {said[key]}")


class Confirm(Writer[Item]):
    def write(self, items: list[Item]) -> None:
        time.sleep(0.0005)
        for reader, number in items:
            note("written", f"{reader} {number}")

    def close(self) -> None:
        pass


def build() -> Dataflow:
    """Return the dataflow."""
    flow = Dataflow("epochs")
    numbers = read("numbers", flow, Numbered())
    by_key = op.key_on("by_key", numbers, lambda item: str(item[1] % KEYS))
    counted = op.key_rm("counted", keyed("count", by_key, Count))
    write("confirm", counted, Confirm)
    return flow


def __getattr__(name: str) -> Dataflow:
    if name == "flow":
        return build()
    raise AttributeError(name)
