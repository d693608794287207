"""The spans that a shard holds, by the window in which they ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.traces.calls import unique
from operators.traces.rows import chosen, ended_between, parted
from operators.traces.table import OperationTable

__all__ = ["CountedSpans", "SpanWindow", "Windows"]


class CountedSpans(NamedTuple):
    """What ended in a window, each span once.

    ``operations`` are the numbers of the operations of ``rows``; ``twice`` is how many spans had come before.
    """

    rows: NDArray[Any]
    operations: NDArray[np.int32]
    twice: int


class SpanWindow:
    """The spans that ended in one window.

    They stay in the pieces in which they came, which those that are undecided are in, too, and which may have
    spans of other windows. Put together they are only while they are counted.

    Attributes:
        start: where it begins.
        settled: whether all that could be told of it was.
        changed: whether spans came since it was last computed.
    """

    def __init__(self, start: int) -> None:
        self.start = start
        self.settled = False
        self.changed = False
        self._parts: list[NDArray[Any]] = []
        self._count = 0

    def add(self, rows: NDArray[Any], count: int) -> None:
        """Take in a piece with so many spans of this window; some may be there already."""
        self._parts.append(rows)
        self._count += count
        self.changed = True

    def compute(self, table: OperationTable, length: int) -> CountedSpans:
        """Return all spans, each once; the window has so many nanoseconds."""
        rows = ended_between(self._parts, self.start, self.start + length, self._count)
        operations = table.find(rows["operation"])
        once = unique(rows, operations, table.tenant)
        twice = len(rows) - len(once)
        if twice:
            rows, operations = chosen(rows, once), operations[once]
            self._parts, self._count = [rows], len(rows)
        self.changed = False
        self.settled = False
        return CountedSpans(rows, operations, twice)

    def seal(self) -> None:
        """Let go of the spans: none can join them any more."""
        self._parts, self._count = [], 0

    def __len__(self) -> int:
        return self._count


class Windows:
    """All windows that are held, by their start.

    Args:
        length: of each, in nanoseconds.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self._by_start: dict[int, SpanWindow] = {}

    def __iter__(self) -> Iterator[SpanWindow]:
        return iter(sorted(self._by_start.values(), key=lambda window: window.start))

    def __len__(self) -> int:
        return sum(map(len, self._by_start.values()))

    def add(self, rows: NDArray[Any], starts: NDArray[np.int64]) -> None:
        """Put spans into the windows in which they ended, of which the starts are given."""
        if not len(rows):
            return
        for start, which, large in parted(starts):
            self._at(start).add(rows if large else chosen(rows, which), len(which))

    def _at(self, start: int) -> SpanWindow:
        window = self._by_start.get(start)
        if window is None:
            window = self._by_start[start] = SpanWindow(start)
        return window

    def seal(self, until: int) -> None:
        """Let go of the spans of windows that begin by then; that there was a window is remembered."""
        for start, window in self._by_start.items():
            if start <= until:
                window.seal()

    def drop(self, before: int) -> None:
        """Forget windows that begin before a time."""
        for start in [start for start in self._by_start if start < before]:
            del self._by_start[start]
