"""The spans that made or received a call, window after window, and which of them met.

A call is met once both who made it and who received it are there. So a window that comes after all others
is looked at once: what is new is looked for among what is held, and of what is held only that which nobody
has met. If spans join a window that was looked at, all is looked at anew, and gives the same.
"""

# ruff: noqa: PLR1714 -- in a compiled loop a comparison is cheaper than a tuple

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import Word, compiled, fold, inlined, uncounted
from operators.traces.rows import (
    CLIENT,
    CONSUMER,
    FAILED,
    PRODUCER,
    SERVER,
    chosen,
    trace_key,
    weights,
)
from operators.traces.table import CONNECTIONS, OperationTable

__all__ = ["LINK", "LinkWindow", "Links", "LinksOfWindow", "Met"]

_DATABASE: Final = CONNECTIONS.index("database")
_FEWEST: Final = 1024
_MOST: Final = 2**31 - 1
"""Numbers are counted on until there."""
_NOBODY: Final = np.int32(-1)
_MET: Final = 1
_AFTER: Final = 2
"""That a link has met somebody, and that this was somebody of a later window."""

LINK: Final = np.dtype(
    [
        ("trace", np.uint64),  # ``trace_key``, which tells tenants apart too
        ("span", np.uint64),
        ("parent", np.uint64),
        ("duration", np.int64),
        ("weight", np.int64),
        ("operation", np.int32),
        ("kind", np.uint8),
        ("connection", np.uint8),
        ("failed", np.bool_),
    ],
    align=True,
)
"""A span that made or received a call."""


class LinkWindow(NamedTuple):
    """What ended in a window: its start, spans of which each is there once, and their operations."""

    start: int
    rows: NDArray[Any]
    operations: NDArray[np.int32]


class LinksOfWindow(NamedTuple):
    """Links of some windows.

    Attributes:
        links: LINK.
        starts: of each the start of its window.
        met: whether its call was met.
        after: of those who received one, whether who made it is of a later window. Nothing was known of
            that when theirs was told.
    """

    links: NDArray[Any]
    starts: NDArray[np.int64]
    met: NDArray[np.bool_]
    after: NDArray[np.bool_]


class Met(NamedTuple):
    """Links that met: one element a call in every array.

    Attributes:
        servers, clients: LINK, who received each call and who made it.
        starts: of the later of their windows.
    """

    servers: NDArray[Any]
    clients: NDArray[Any]
    starts: NDArray[np.int64]


class _Place(NamedTuple):
    """The numbers of the links of a window: from the first on, without the end."""

    start: int
    first: int
    end: int


class Links:
    """The links of the windows that are held.

    They are numbered on and on, one window after the other, and lie in a ring: what comes next lies where
    windows were that are forgotten. Clients are found by a table of their trace and span, which has their
    numbers.

    Args:
        hold: windows of a call are no further apart than these nanoseconds.
        table: of the operations.
    """

    def __init__(self, hold: int, table: OperationTable) -> None:
        self._hold = hold
        self._table = table
        self._ring = np.empty(1, LINK)  # as many as a power of two
        self._met = np.empty(1, np.uint8)
        self._places: list[_Place] = []
        self._slots = np.full(_FEWEST, _NOBODY)
        self._used = 0  # slots
        self._entered = 0  # links that are in the table have lower numbers
        self._again = False

    def of(self, starts: Iterable[int]) -> LinksOfWindow:
        """Return the links of windows, in the order of time."""
        wanted = set(starts)
        places = [place for place in self._places if place.start in wanted]
        starts_of_links = np.repeat([p.start for p in places], [p.end - p.first for p in places])
        first, end = (places[0].first, places[-1].end) if places else (0, 0)
        at, size = first & len(self._ring) - 1, end - first
        if size == len(starts_of_links) and at + size <= len(self._ring):
            links, met = self._ring[at : at + size], self._met[at : at + size]
        else:
            where = np.concatenate([self._where(place.first, place.end) for place in places])
            links, met = chosen(self._ring, where), self._met[where]
        return LinksOfWindow(links, starts_of_links.astype(np.int64), met > 0, met == _AFTER)

    def add(self, windows: Sequence[LinkWindow]) -> None:
        """Take in windows, which are in the order of time; those of the same start are replaced."""
        sizes = [int((window.rows["kind"] >= SERVER).sum()) for window in windows]
        if self._places and windows[0].start <= self._places[-1].start:
            self._lay_out(windows, sizes)
        else:
            self._reserve(sum(sizes))
            for window, size in zip(windows, sizes, strict=True):
                self._put(window, size)

    def meet(self, first: int) -> Met:
        """Return all calls that met in a window from ``first`` on, of which nothing was told before.

        ``first`` is the first window that was added since the last time.
        """
        end = self._places[-1].end if self._places else 0
        within = [place for place in self._places if place.start >= first - self._hold]
        look = within[0].first if within else end
        alive = self._places[0].first if self._places else end
        self._entered = max(self._entered, alive)
        if 2 * (self._used + end - self._entered) + 2 > len(self._slots):
            size = _FEWEST
            while size < 4 * (end - alive):
                size *= 2
            self._slots, self._used, self._entered = np.full(size, _NOBODY), 0, alive
        firsts = np.array([place.first for place in self._places], np.int64)
        starts = np.array([place.start for place in self._places], np.int64)
        self._used += _enter(self._ring, self._slots, self._entered, end)
        servers, clients, later = _meet(
            self._ring, self._met, self._slots, look, end, firsts, starts, self._hold, self._again,
            first,
        )  # fmt: skip
        self._entered, self._again = end, False
        return Met(chosen(self._ring, servers), chosen(self._ring, clients), later)

    def drop(self, before: int) -> None:
        """Forget windows that begin before a time."""
        if not self._places:
            return
        self._places = [place for place in self._places if place.start >= before]
        if not self._places:  # what comes next lies where others lay
            self._forget_slots()

    def _forget_slots(self) -> None:
        self._slots[:], self._used, self._entered = _NOBODY, 0, 0

    def _put(self, window: LinkWindow, size: int) -> None:
        first = self._places[-1].end if self._places else 0
        place = _Place(window.start, first, first + size)
        table = self._table
        _fill(
            window.rows, window.operations, table.salt, table.connection,
            weights(window.rows["threshold"]), self._ring, self._met, first,
        )  # fmt: skip
        self._places.append(place)

    def _reserve(self, more: int) -> None:
        """Have room for links behind those that are there."""
        first, end = (self._places[0].first, self._places[-1].end) if self._places else (0, 0)
        if end - first + more > len(self._ring):
            where = self._where(first, end)
            links, met = chosen(self._ring, where), self._met[where]
            size = 1 << (end - first + more - 1).bit_length()
            self._ring, self._met = np.empty(size, LINK), np.empty(size, np.uint8)
            self._lay(first, links, met)
        if end + more > _MOST:
            less = first - first % len(self._ring)
            self._places = [_Place(p.start, p.first - less, p.end - less) for p in self._places]
            self._forget_slots()

    def _where(self, first: int, end: int) -> NDArray[np.int64]:
        """Return where in the ring the links of some numbers lie."""
        return np.arange(first, end) & len(self._ring) - 1

    def _lay(self, first: int, links: NDArray[Any], met: NDArray[np.uint8]) -> None:
        """Put links into the ring, with numbers from ``first`` on."""
        where = self._where(first, first + len(links))
        whole = np.dtype((np.void, LINK.itemsize))  # see ``operators.traces.rows.joined``
        self._ring.view(whole)[where] = links.view(whole)
        self._met[where] = met

    def _lay_out(self, windows: Sequence[LinkWindow], sizes: Sequence[int]) -> None:
        """Put windows among those that are there. What met before is told again.

        Only windows from the first of them on are moved: that are few, however many are held.
        """
        new = {window.start: (window, size) for window, size in zip(windows, sizes, strict=True)}
        tail = {place.start: place for place in self._places if place.start >= windows[0].start}
        moved = next(iter(tail.values())).first
        where = self._where(moved, self._places[-1].end)
        links, met = chosen(self._ring, where), self._met[where]
        self._places = [place for place in self._places if place.start < windows[0].start]
        self._reserve(
            sum(p.end - p.first for p in tail.values() if p.start not in new) + sum(sizes)
        )
        for start in sorted({*new, *tail}):
            if start in new:
                self._put(*new[start])
                continue
            before = tail[start]
            first = self._places[-1].end if self._places else 0
            place = _Place(start, first, first + before.end - before.first)
            part = slice(before.first - moved, before.end - moved)
            self._lay(first, links[part], met[part])
            self._places.append(place)
        self._forget_slots()
        self._again = True


@compiled
def _fill(
    rows: np.ndarray,
    operations: NDArray[np.int32],
    salts: NDArray[np.uint64],
    connections: NDArray[np.uint8],
    weight: NDArray[np.int64],
    ring: np.ndarray,
    met: NDArray[np.uint8],
    first: int,
) -> None:
    at = first
    for number in range(len(rows)):
        row = rows[number]
        if row.kind < SERVER:
            continue
        link = ring[at & len(ring) - 1]
        met[at & len(ring) - 1] = 0
        at += 1
        operation = operations[number]
        link.trace = trace_key(row.trace_high, row.trace_low, salts[operation])
        link.span, link.parent = row.span, row.parent
        link.duration, link.weight = row.ended - row.begun, weight[number]
        link.operation, link.kind = operation, row.kind
        link.connection, link.failed = connections[operation], row.status == FAILED


@uncounted
def _slot(trace: Word, span: Word) -> Word:
    return fold(trace, span ^ np.uint64(0x9E3779B97F4A7C15))


@compiled
def _enter(ring: np.ndarray, slots: NDArray[np.int32], first: int, end: int) -> int:
    """Put the numbers of those who make calls, but those of databases, into slots; return how many."""
    mask = np.uint64(len(slots) - 1)
    used = 0
    for number in range(first, end):
        link = ring[number & len(ring) - 1]
        if (link.kind == CLIENT or link.kind == PRODUCER) and link.connection != _DATABASE:
            slot = _slot(link.trace, link.span) & mask
            while slots[slot] >= 0:
                slot = (slot + np.uint64(1)) & mask
            slots[slot] = number
            used += 1
    return used


@inlined
def _window(firsts: NDArray[np.int64], number: int) -> int:
    """Return the window that a link lies in, the last of those whose first link is not after it."""
    low, high = 0, len(firsts)
    while high - low > 1:
        middle = (low + high) // 2
        if firsts[middle] <= number:
            low = middle
        else:
            high = middle
    return low


@compiled
def _meet(
    ring: np.ndarray,
    met: NDArray[np.uint8],
    slots: NDArray[np.int32],
    look: int,
    end: int,
    firsts: NDArray[np.int64],
    starts: NDArray[np.int64],
    hold: int,
    again: bool,
    first: int,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """Find who made each call that was received.

    That are a server or consumer, and a client or producer of the same trace and tenant that has its id, as
    Zipkin's do, or is its parent. Of several it is the one of the earliest window, so windows that come one
    by one give what all at once do; in one window the one of its id, since with Zipkin's ids the parent is the
    client of the call before; and a client before a producer of the same id. Who calls a database, which tells
    nothing of itself, meets nobody. Their windows are ``hold`` apart at most.

    Args:
        ring: the links of all windows.
        met: of each 0, ``_MET`` or ``_AFTER``.
        slots: of those who make calls, by trace and span.
        look: receivers from there on may meet somebody now.
        end: of the links.
        firsts, starts: the first link and the start of each window.
        again: also those that have met.
        first: calls whose windows both begin before are left out.

    Returns:
        Where in the ring the receivers are, and those whom they met, and the later of their windows.
    """
    inside = len(ring) - 1
    mask = np.uint64(len(slots) - 1)
    servers, clients = np.empty(end - look, np.int32), np.empty(end - look, np.int32)
    later = np.empty(end - look, np.int64)
    count = 0
    window = 0
    for number in range(look, end):
        at = number & inside
        link = ring[at]
        if (link.kind != SERVER and link.kind != CONSUMER) or (met[at] > 0 and not again):
            continue
        while window + 1 < len(firsts) and firsts[window + 1] <= number:
            window += 1
        found, before, of = np.int32(-1), len(firsts), 0
        for turn in range(2):
            span = link.span if turn == 0 else link.parent
            if span == np.uint64(0):
                continue
            slot = _slot(link.trace, span) & mask
            while slots[slot] >= 0:
                other = slots[slot]
                slot = (slot + np.uint64(1)) & mask
                client = ring[other & inside]
                if client.span != span or client.trace != link.trace or other < firsts[0]:
                    continue
                theirs = _window(firsts, other)
                if abs(starts[theirs] - starts[window]) > hold:
                    continue
                if theirs < before or (
                    theirs == before and turn == of and client.kind < ring[found].kind
                ):
                    found, before, of = np.int32(other & inside), theirs, turn
        if found < 0:
            continue
        met[at] = _AFTER if before > window else _MET
        met[found] = _MET
        start = max(starts[before], starts[window])
        if start >= first:
            servers[count], clients[count], later[count] = at, found, start
            count += 1
    return servers[:count].copy(), clients[:count].copy(), later[:count].copy()
