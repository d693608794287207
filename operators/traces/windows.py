"""The spans that a shard holds, by the window in which they ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.traces.calls import unique
from operators.traces.edges import LINK, links_of
from operators.traces.rows import NO_ROWS, chosen, joined
from operators.traces.table import OperationTable

__all__ = ["Links", "SpanWindow", "Windows"]


class SpanWindow:
    """The spans that ended in one window.

    Attributes:
        start: where it begins.
        rows: each span once.
        operations: of each, the number of its operation.
        links: those that made or received a call.
        answered: of each link, whether the call that it made was received.
        settled: whether all that could be told of it was.
    """

    def __init__(self, start: int) -> None:
        self.start = start
        self.rows = NO_ROWS
        self.operations = np.empty(0, np.int32)
        self.links = np.empty(0, LINK)
        self.answered = np.empty(0, np.bool_)
        self.settled = False
        self._more: list[NDArray[Any]] = []

    def add(self, rows: NDArray[Any]) -> None:
        """Take in spans; some may be there already."""
        self._more.append(rows)

    @property
    def changed(self) -> bool:
        """Whether spans came since it was last computed."""
        return bool(self._more)

    def compute(self, table: OperationTable) -> int:
        """Bring in what came; return how many spans were there already."""
        rows = joined([self.rows, *self._more]) if len(self.rows) else joined(self._more)
        self._more = []
        operations = table.find(rows["operation"])
        once = unique(rows, operations, table.tenant)
        twice = len(rows) - len(once)
        if twice:
            rows, operations = chosen(rows, once), operations[once]
        self.rows, self.operations = rows, operations
        self.links = links_of(rows, operations, self.start, table)
        self.answered = np.zeros(len(self.links), np.bool_)
        self.settled = False
        return twice

    def __len__(self) -> int:
        return len(self.rows) + sum(map(len, self._more))


class Links:
    """The links of several windows, one after the other.

    Attributes:
        all: LINK.
    """

    def __init__(self, windows: Iterable[SpanWindow]) -> None:
        self._windows = list(windows)
        sizes = [len(window.links) for window in self._windows]
        self._bounds = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)))
        self.all = joined([window.links for window in self._windows])

    def mark_answered(self, rows: NDArray[np.int64]) -> None:
        """Note that the calls of some were received."""
        answered = np.zeros(len(self.all), np.bool_)
        answered[rows] = True
        bounds = self._bounds.tolist()
        for window, first, end in zip(self._windows, bounds[:-1], bounds[1:], strict=True):
            window.answered |= answered[first:end]


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

    def add(self, rows: NDArray[Any]) -> None:
        """Put spans into the windows in which they ended."""
        if not len(rows):
            return
        starts = rows["ended"] - rows["ended"] % self.length
        first = int(starts[0])
        if (starts == first).all():
            self._at(first).add(rows)
            return
        for start in np.unique(starts).tolist():
            self._at(start).add(chosen(rows, starts == start))

    def _at(self, start: int) -> SpanWindow:
        window = self._by_start.get(start)
        if window is None:
            window = self._by_start[start] = SpanWindow(start)
        return window

    def drop(self, before: int) -> None:
        """Forget windows that begin before a time."""
        for start in [start for start in self._by_start if start < before]:
            del self._by_start[start]
