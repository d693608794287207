"""How much of the undecided is held: which traces give way where there is more than the memory allows.

Each tenant has so many bytes in each shard, and of these each window of event time, in which spans
*ended*, a part: a fifth while it fills and until the window after it is full, so of mostly three at a
time; an equal share of a fifth while late spans may join it, and for as long again, in which most roots
come; an equal share of the last fifth for what still waits for its root after that. Where a window has
more,

* a trace with more than a quarter of what the window may have gives way itself, so that it displaces no other;
* of the others those of the least randomness do. While a window fills, whatever they are: whether a
  trace fails may be told by a span that is still to come. Once it is full, those known to be failed, slow
  or wanted stay before all others.

So which give way is a function of the set of spans, as long as none is late: not of their order, batches,
partitions or restarts, and duplicates count once. A trace gives way whole. One that stays knows the
randomness below which it would not have: its *least*, so adjusted counts stay right.

Bytes are those of a span, its resource and scope, as if no other shared them, and what its row takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import compiled
from operators.columns.hash_index import HashIndex
from operators.traces.calls import unique
from operators.traces.rows import FAILED, TRACE_ROW, chosen, joined_chosen, parted
from operators.traces.rules import KeepingRules
from operators.traces.table import OperationTable

__all__ = ["Crowd", "GaveWay", "giving_way"]

_A_ROW: Final = TRACE_ROW.itemsize + 12  # its key and operation beside it
_PARTS: Final = 5
_LARGEST: Final = 4
"""No trace may have more than this part of what its window may have."""
_GROWTH: Final = 8
"""A window that fills is looked at again when it has grown by this part of what it may hold."""
_FILLING, _FULL, _WAITING = 0, 1, 2


class GaveWay(NamedTuple):
    """Traces that give way: of each its key, randomness, and the start of the window that was full."""

    tenant: int
    start: int
    keys: NDArray[np.uint64]
    randomness: NDArray[np.int64]


class _Piece(NamedTuple):
    """Spans that came together: of each its row, the key of its trace, its operation, and its place."""

    rows: NDArray[Any]
    keys: NDArray[np.uint64]
    operations: NDArray[np.int32]
    places: NDArray[np.int64]

    def of(self, which: NDArray[Any]) -> _Piece:
        return _Piece(
            chosen(self.rows, which), self.keys[which], self.operations[which], self.places[which]
        )


class _Window:
    """What ended in a window of one tenant, which is a place.

    Its pieces may have spans of other places, too. They are parted only when the window is looked at, which
    is where there is more than the memory allows, or once most of them are decided.
    """

    __slots__ = ("_pieces", "_place", "bytes", "checked", "least", "state")

    def __init__(self, place: int) -> None:
        self._place = place
        self._pieces: list[_Piece] = []
        self.bytes = 0
        self.checked = 0
        self.state = _FILLING
        self.least: list[tuple[NDArray[np.uint64], NDArray[np.int64]]] = []

    def add(self, piece: _Piece, size: int) -> None:
        """Take in a piece, of which so many bytes are of this window."""
        self._pieces.append(piece)
        self.bytes += size

    def spans(self) -> _Piece:
        """Return all spans of this window."""
        if len(self._pieces) > 1 or (self._pieces[0].places != self._place).any():
            self._part([piece.places == self._place for piece in self._pieces])
        return self._pieces[0]

    def keep(self, stays: Callable[[NDArray[np.uint64]], NDArray[np.bool_]]) -> None:
        """Go on with the spans of chosen traces alone."""
        self._part([(piece.places == self._place) & stays(piece.keys) for piece in self._pieces])
        self.bytes = int(_sizes_of(self._pieces[0].rows, _A_ROW).sum())

    def _part(self, which: Sequence[NDArray[np.bool_]]) -> None:
        """Go on with some spans of each piece, as one piece."""
        rows = joined_chosen([piece.rows for piece in self._pieces], which)
        keys, operations, places = (
            np.concatenate(
                [piece[column][mine] for piece, mine in zip(self._pieces, which, strict=True)]
            )
            for column in range(1, len(_Piece._fields))
        )
        self._pieces = [_Piece(rows, keys, operations, places)]

    def leave(self, gone: Sequence[GaveWay]) -> None:
        """Go on without the spans of traces that gave way."""
        for each in gone:
            self.keep(lambda keys, left=each.keys: ~np.isin(keys, left))  # type: ignore[misc]


class Crowd:
    """Keeps account of the spans of one shard.

    Args:
        rules: how many bytes there are.
        window: length of windows.
        hold: how long after their end spans may join them.
        age: how long a trace waits for its root.
        table: of the operations.
    """

    def __init__(
        self, rules: KeepingRules, window: int, hold: int, age: int, table: OperationTable
    ) -> None:
        self._rules = rules
        self._window = window
        self._table = table
        part = rules.memory // _PARTS
        self._limits = (part, part // (-(-2 * hold // window) + 1), part // (age // window + 1))
        self._windows: dict[tuple[int, int], _Window] = {}

    def add(
        self, rows: NDArray[Any], keys: NDArray[np.uint64], operations: NDArray[np.int32]
    ) -> list[GaveWay]:
        """Take in spans, decided ones too; return which traces have to give way at once."""
        places = _places(rows, operations, self._table.tenant, self._window)
        piece = _Piece(rows, keys, operations, places)
        sizes = _sizes_of(rows, _A_ROW)
        found = []
        for place, which, large in parted(places):
            part = piece if large else piece.of(which)
            found += self._fill(place, part, int(sizes[which].sum()))
        return found

    def _fill(self, place: int, piece: _Piece, size: int) -> list[GaveWay]:
        key = place >> 44, (place & (1 << 44) - 1) * self._window
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window(place)
        window.add(piece, size)
        limit = self._limits[_FILLING]
        if window.state != _FILLING or window.bytes <= max(
            limit, window.checked + limit // _GROWTH
        ):
            return []
        return self._cut(key, window, limit, known=False)

    def fill_up(self, limit: int) -> list[GaveWay]:
        """Return which traces have to give way where no more comes but late spans.

        Args:
            limit: event time at which the windows after them end at the latest.
        """
        found = []
        for key, window in sorted(self._windows.items()):
            if key[1] + 2 * self._window > limit or window.state == _WAITING:
                continue
            if window.state == _FILLING and window.bytes > self._limits[_FILLING]:
                gone = self._cut(key, window, self._limits[_FILLING], known=False)
                window.leave(gone)
                found += gone
            elif window.state == _FULL and window.bytes == window.checked:
                continue
            window.state = _FULL
            if window.bytes > self._limits[_FULL]:
                found += self._cut(key, window, self._limits[_FULL], known=True)
            window.checked = window.bytes
        return found

    def wait(
        self, before: int, forgotten: int, held: Callable[[NDArray[np.uint64]], NDArray[np.bool_]]
    ) -> list[GaveWay]:
        """Return which of the traces that wait for their root have to give way.

        Args:
            before: windows that begin before this event time are decided but for those.
            forgotten: all of what ended in windows before this event time is decided.
            held: which traces are undecided.
        """
        for key in [key for key in self._windows if key[1] < forgotten]:
            del self._windows[key]
        found = []
        for key, window in self._windows.items():
            if key[1] >= before or (window.state == _WAITING and window.bytes == window.checked):
                continue
            window.state = _WAITING
            window.keep(held)
            if window.bytes > self._limits[_WAITING]:
                found += self._cut(key, window, self._limits[_WAITING], known=True)
            window.checked = window.bytes
        return found

    def least(self, traces: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return of each trace the randomness below which it would have given way, 0 without any."""
        found = np.zeros(len(traces), np.int64)
        for window in self._windows.values():
            for keys, least in window.least:
                at = np.minimum(np.searchsorted(keys, traces), len(keys) - 1)
                there = keys[at] == traces
                found[there] = np.maximum(found[there], least[at[there]])
        return found

    def _cut(
        self, key: tuple[int, int], window: _Window, limit: int, *, known: bool
    ) -> list[GaveWay]:
        """Return the traces of a window that give way.

        Args:
            known: those that are known to be kept stay before others.
        """
        rows, keys, operations, _ = window.spans()
        once = unique(rows, operations, self._table.tenant)
        numbers, traces = HashIndex().number(keys[once])
        sizes, randomness = _by_trace(rows, _sizes_of(rows, _A_ROW), once, numbers, len(traces))
        wanted = np.zeros(len(traces), np.bool_)
        if known:
            wanted = self._known(key, traces)
        gone, least = giving_way(sizes, randomness, wanted, traces, limit)
        if not known:
            window.checked = window.bytes
        stay = ~gone
        if (least[stay] > 0).any():
            order = np.argsort(traces[stay])
            window.least.append((traces[stay][order], least[stay][order]))
        return [GaveWay(*key, traces[gone], randomness[gone])] if gone.any() else []

    def _known(self, key: tuple[int, int], traces: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which traces are known by the end of the window after it to be failed, slow or wanted."""
        tenant, start = key
        index = HashIndex()
        index.insert(traces, np.arange(len(traces), dtype=np.int32))
        found = np.zeros(len(traces), np.bool_)
        for (whose, begins), window in self._windows.items():
            if whose != tenant or begins > start + self._window:
                continue
            rows, keys, operations, _ = window.spans()
            says = _says(rows, operations, self._table.wanted, self._rules.errors, self._rules.slow)
            of = index.find(keys[says])
            found[of[of >= 0]] = True
        return found


def giving_way(
    sizes: NDArray[np.int64],
    randomness: NDArray[np.int64],
    first: NDArray[np.bool_],
    traces: NDArray[np.uint64],
    limit: int,
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which traces of a window give way, and of each the least randomness with which it stays.

    Args:
        sizes: bytes of each.
        randomness: of each; of two with the same the one of the larger number gives way.
        first: which stay before all others.
        traces: their numbers.
        limit: bytes that may stay.
    """
    most = limit // _LARGEST
    order = np.lexsort((traces, -randomness, ~first))
    gone = np.zeros(len(sizes), np.bool_)
    # The first that does not fit ends it: so what stays depends on no size of what is beyond.
    gone[order] = np.cumsum(np.minimum(sizes, most)[order]) > limit
    least = np.zeros(len(sizes), np.int64)
    for of in (first, ~first):
        beyond = of & gone & (sizes <= most)
        if beyond.any():
            least[of] = randomness[beyond].max() + 1
    return gone | (sizes > most) | (randomness < least), least


@compiled
def _places(
    rows: np.ndarray, operations: NDArray[np.int32], tenants: NDArray[np.int32], window: int
) -> NDArray[np.int64]:
    """Return the number of the tenant and window of each span."""
    found = np.empty(len(rows), np.int64)
    start, place = np.int64(-window), np.int64(0)
    for number in range(len(rows)):
        ended = rows[number].ended
        if not start <= ended < start + window:
            place = ended // window
            start = place * window
        found[number] = np.int64(tenants[operations[number]]) << 44 | place
    return found


@compiled
def _sizes_of(rows: np.ndarray, overhead: int) -> NDArray[np.int64]:
    """Return the bytes of each span, and what its row takes."""
    sizes = np.empty(len(rows), np.int64)
    for number in range(len(rows)):
        row = rows[number]
        sizes[number] = row.size + row.resource_size + row.scope_size + overhead
    return sizes


@compiled
def _by_trace(
    rows: np.ndarray,
    sizes: NDArray[np.int64],
    once: NDArray[np.int64],
    numbers: NDArray[np.int32],
    count: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return bytes and randomness of each trace."""
    whole = np.zeros(count, np.int64)
    randomness = np.zeros(count, np.int64)
    for at in range(len(once)):
        number, trace = once[at], numbers[at]
        whole[trace] += sizes[number]
        randomness[trace] = max(randomness[trace], rows[number].randomness)
    return whole, randomness


@compiled
def _says(
    rows: np.ndarray,
    operations: NDArray[np.int32],
    wanted: NDArray[np.bool_],
    errors: bool,
    slow: int,
) -> NDArray[np.bool_]:
    """Return which spans say that their trace is kept."""
    found = np.zeros(len(rows), np.bool_)
    for at in range(len(rows)):
        row = rows[at]
        found[at] = (
            (errors and row.status == FAILED)
            or (slow > 0 and row.ended - row.begun >= slow)
            or wanted[operations[at]]
        )
    return found
