"""Who calls whom: clients and those who received their calls, joined within a trace."""

# ruff: noqa: PLR1714 -- in a compiled loop a comparison is cheaper than a tuple

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import Word, compiled, fold, uncounted
from operators.traces.rows import CLIENT, CONSUMER, PRODUCER, SERVER, chosen, weights
from operators.traces.table import CONNECTIONS, OperationTable

__all__ = [
    "LINK", "Edges", "called", "from_outside", "links_of", "partners", "to_databases", "unanswered",
]  # fmt: skip

_FAILED: Final = 2
_DATABASE: Final = CONNECTIONS.index("database")
_MESSAGING: Final = CONNECTIONS.index("messaging_system")
_VIRTUAL: Final = CONNECTIONS.index("virtual_node")

LINK: Final = np.dtype(
    [
        ("trace_high", np.uint64),
        ("trace_low", np.uint64),
        ("span", np.uint64),
        ("parent", np.uint64),
        ("start", np.int64),  # of its window
        ("duration", np.int64),
        ("weight", np.int64),
        ("operation", np.int32),
        ("tenant", np.int32),
        ("kind", np.uint8),
        ("connection", np.uint8),
        ("failed", np.bool_),
    ],
    align=True,
)
"""A span that made or received a call."""


class Edges(NamedTuple):
    """Calls from one service to another: one element a call in every array.

    ``start`` is that of its window, ``client`` and ``server`` are numbers of services, ``connection``
    is an index among ``CONNECTIONS``; durations are in nanoseconds, -1 of a side that is not there.
    """

    start: NDArray[np.int64]
    client: NDArray[np.int32]
    server: NDArray[np.int32]
    connection: NDArray[np.uint8]
    failed: NDArray[np.bool_]
    client_duration: NDArray[np.int64]
    server_duration: NDArray[np.int64]
    weight: NDArray[np.int64]


def links_of(
    rows: NDArray[Any], operations: NDArray[np.int32], start: int, table: OperationTable
) -> NDArray[Any]:
    """Return the spans of a window that made or received a call."""
    size = int((rows["kind"] >= SERVER).sum())
    links = np.empty(size, LINK)
    _fill(
        rows, operations, table.tenant, table.connection, weights(rows["threshold"]), start, links
    )
    return links


@compiled
def _fill(
    rows: np.ndarray,
    operations: NDArray[np.int32],
    tenants: NDArray[np.int32],
    connections: NDArray[np.uint8],
    weight: NDArray[np.int64],
    start: int,
    links: np.ndarray,
) -> None:
    at = 0
    for number in range(len(rows)):
        row = rows[number]
        if row.kind < SERVER:
            continue
        link = links[at]
        at += 1
        operation = operations[number]
        link.trace_high, link.trace_low = row.trace_high, row.trace_low
        link.span, link.parent = row.span, row.parent
        link.start, link.duration = start, row.ended - row.begun
        link.weight = weight[number]
        link.operation, link.tenant = operation, tenants[operation]
        link.kind, link.connection = row.kind, connections[operation]
        link.failed = row.status == _FAILED


@uncounted
def _hash(high: Word, low: Word, span: Word) -> Word:
    trace = fold(low ^ np.uint64(0xA0761D6478BD642F), high ^ np.uint64(0xE7037ED1A0B428DB))
    return fold(trace, span ^ np.uint64(0x9E3779B97F4A7C15))


@compiled
def partners(links: np.ndarray, hold: int) -> NDArray[np.int64]:
    """Return for each link that received a call the number of the one that made it, -1 elsewhere.

    Those are a server or consumer, and a client or producer of the same trace and tenant that has its
    id, as Zipkin's do, or is its parent; who calls a database, which tells nothing of itself, has no
    partner. Their windows are ``hold`` apart at most. Where a client and a producer have one id the earlier
    counts, then the client, whichever came first.
    """
    size = 1
    while size < 2 * len(links) + 2:
        size *= 2
    table = np.full(size, -1, np.int32)
    mask = np.uint64(size - 1)
    for number in range(len(links)):
        link = links[number]
        if (link.kind == CLIENT or link.kind == PRODUCER) and link.connection != _DATABASE:
            slot = _hash(link.trace_high, link.trace_low, link.span) & mask
            while table[slot] >= 0:
                slot = (slot + np.uint64(1)) & mask
            table[slot] = number
    found = np.full(len(links), -1, np.int64)
    for number in range(len(links)):
        link = links[number]
        if link.kind != SERVER and link.kind != CONSUMER:
            continue
        # With Zipkin's ids the parent is the client of the call before, of which this server is not.
        for span in (link.span, link.parent):
            if span == np.uint64(0):
                continue
            slot = _hash(link.trace_high, link.trace_low, span) & mask
            while table[slot] >= 0:
                other = links[table[slot]]
                if (
                    other.span == span and other.trace_low == link.trace_low
                    and other.trace_high == link.trace_high and other.tenant == link.tenant
                    and abs(other.start - link.start) <= hold
                ):  # fmt: skip
                    best = links[found[number]]
                    if found[number] < 0 or (other.start, other.kind) < (best.start, best.kind):
                        found[number] = table[slot]
                slot = (slot + np.uint64(1)) & mask
            if found[number] >= 0:
                break
    return found


def called(
    links: NDArray[Any], partner: NDArray[np.int64], first: int, table: OperationTable
) -> Edges:
    """Return an edge for each link that has a partner, in the later of their windows.

    Args:
        partner: as ``partners`` gives it.
        first: edges of earlier windows are left out.
    """
    return _called(links, partner, first, table.service)


@compiled
def _called(
    links: np.ndarray, partner: NDArray[np.int64], first: int, services: NDArray[np.int32]
) -> Edges:
    size = 0
    for number in range(len(links)):
        if partner[number] >= 0:
            size += max(links[number].start, links[partner[number]].start) >= first
    edges = Edges(
        np.empty(size, np.int64), np.empty(size, np.int32), np.empty(size, np.int32),
        np.zeros(size, np.uint8), np.empty(size, np.bool_), np.empty(size, np.int64),
        np.empty(size, np.int64), np.empty(size, np.int64),
    )  # fmt: skip
    at = 0
    for number in range(len(links)):
        if partner[number] < 0:
            continue
        server, client = links[number], links[partner[number]]
        start = max(server.start, client.start)
        if start < first:
            continue
        edges.start[at] = start
        edges.client[at] = services[client.operation]
        edges.server[at] = services[server.operation]
        if client.kind == PRODUCER or server.kind == CONSUMER:
            edges.connection[at] = _MESSAGING
        edges.failed[at] = client.failed or server.failed
        edges.client_duration[at] = client.duration
        edges.server_duration[at] = server.duration
        edges.weight[at] = server.weight
        at += 1
    return edges


def _to_peers(links: NDArray[Any], which: NDArray[np.bool_], table: OperationTable) -> Edges:
    """Return an edge for each link of ``which`` that made a call to whom its attributes say, if they do."""
    which = which & ((links["kind"] == CLIENT) | (links["kind"] == PRODUCER))
    some = chosen(links, which & (table.peer[links["operation"]] >= 0))
    mine = some["operation"]
    return Edges(
        some["start"],
        table.service[mine],
        table.peer[mine],
        some["connection"],
        some["failed"],
        some["duration"],
        some["duration"],
        some["weight"],
    )


def to_databases(links: NDArray[Any], table: OperationTable) -> Edges:
    """Return an edge for each call of a database."""
    return _to_peers(links, links["connection"] == _DATABASE, table)


def unanswered(links: NDArray[Any], answered: NDArray[np.bool_], table: OperationTable) -> Edges:
    """Return an edge for each call of anything else that nobody received."""
    return _to_peers(links, ~answered & (links["connection"] != _DATABASE), table)


def from_outside(links: NDArray[Any], partner: NDArray[np.int64], table: OperationTable) -> Edges:
    """Return an edge for each server whose call came from no span at all."""
    some = chosen(links, (links["kind"] == SERVER) & (links["parent"] == 0) & (partner < 0))
    mine = some["operation"]
    return Edges(
        some["start"],
        table.user[mine],
        table.service[mine],
        np.full(len(some), _VIRTUAL, np.uint8),
        some["failed"],
        np.full(len(some), -1, np.int64),
        some["duration"],
        some["weight"],
    )
