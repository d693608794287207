"""The spans that a shard holds, by the window in which they ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.traces.calls import unique
from operators.traces.edges import LINK, links_of
from operators.traces.rows import chosen, joined
from operators.traces.table import OperationTable

__all__ = ["CountedSpans", "Links", "LinksOfWindows", "SpanWindow", "Windows"]


class CountedSpans(NamedTuple):
    """What ended in a window, each span once.

    ``operations`` are the numbers of the operations of ``rows``; ``twice`` is how many spans had come before.
    """

    rows: NDArray[Any]
    operations: NDArray[np.int32]
    twice: int


class SpanWindow:
    """The spans that ended in one window.

    They stay in the pieces in which they came, which those that are undecided are in, too. Put together they
    are only while they are counted.

    Attributes:
        start: where it begins.
        links: those that made or received a call.
        answered: of each link, whether the call that it made was received.
        settled: whether all that could be told of it was.
        changed: whether spans came since it was last computed.
    """

    def __init__(self, start: int) -> None:
        self.start = start
        self.links = np.empty(0, LINK)
        self.answered = np.empty(0, np.bool_)
        self.settled = False
        self.changed = False
        self._parts: list[NDArray[Any]] = []

    def add(self, rows: NDArray[Any]) -> None:
        """Take in spans; some may be there already."""
        self._parts.append(rows)
        self.changed = True

    def compute(self, table: OperationTable) -> CountedSpans:
        """Find the links; return all spans."""
        rows = joined(self._parts)
        operations = table.find(rows["operation"])
        once = unique(rows, operations, table.tenant)
        twice = len(rows) - len(once)
        if twice:
            rows, operations = chosen(rows, once), operations[once]
            self._parts = [rows]
        self.changed = False
        self.links = links_of(rows, operations, self.start, table)
        self.answered = np.zeros(len(self.links), np.bool_)
        self.settled = False
        return CountedSpans(rows, operations, twice)

    def __len__(self) -> int:
        return sum(map(len, self._parts))


class Links:
    """The links of the windows that follow each other, one after the other.

    A window is asked for together with those before it again and again, so what was put together stays
    as it is while windows are added at the end and left out at the beginning.
    """

    def __init__(self) -> None:
        self._room = np.empty(0, LINK)
        self._laid: list[_Laid] = []

    def of(self, windows: Sequence[SpanWindow]) -> LinksOfWindows:
        """Return the links of windows, which are in the order of time."""
        laid = self._laid
        while laid and (not windows or laid[0].links is not windows[0].links):
            laid.pop(0)
        same = 0
        while same < min(len(laid), len(windows)) and laid[same].links is windows[same].links:
            same += 1
        del laid[same:]
        first, end = (laid[0].first, laid[-1].end) if laid else (0, 0)
        more = sum(len(window.links) for window in windows[same:])
        if end + more > len(self._room):
            held, room = end - first, self._room
            # Memory that was used before costs nothing; new memory costs more than to copy.
            if held > first or held + more > len(room):
                room = np.empty(3 * (held + more), LINK)
            _copy(room, 0, self._room[first:end])
            self._laid = laid = [
                _Laid(each.links, each.first - first, each.end - first) for each in laid
            ]
            self._room, first, end = room, 0, held
        for window in windows[same:]:
            _copy(self._room, end, window.links)
            laid.append(_Laid(window.links, end, end + len(window.links)))
            end += len(window.links)
        return LinksOfWindows(self._room[first:end], windows)


class _Laid(NamedTuple):
    """Where the links of a window were put."""

    links: NDArray[Any]
    first: int
    end: int


def _copy(target: NDArray[Any], first: int, links: NDArray[Any]) -> None:
    """Copy rows as a whole, see ``operators.traces.rows.joined``."""
    size = LINK.itemsize
    target.view(np.uint8)[first * size : (first + len(links)) * size] = links.view(np.uint8)


@dataclass(frozen=True, slots=True)
class LinksOfWindows:
    """The links of several windows.

    Attributes:
        all: LINK.
        windows: whose they are, one after the other.
    """

    all: NDArray[Any]
    windows: Sequence[SpanWindow]

    def parts_of(
        self, values: NDArray[np.int64], windows: Sequence[SpanWindow]
    ) -> NDArray[np.int64]:
        """Return of values, one a link, those of some of the windows, one after the other."""
        found, first = {}, 0
        for window in self.windows:
            found[window.start] = values[first : first + len(window.links)]
            first += len(window.links)
        return np.concatenate([found[window.start] for window in windows])

    def mark_answered(self, rows: NDArray[np.int64]) -> None:
        """Note that the calls of some were received."""
        answered = np.zeros(len(self.all), np.bool_)
        answered[rows] = True
        first = 0
        for window in self.windows:
            end = first + len(window.links)
            window.answered |= answered[first:end]
            first = end


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
