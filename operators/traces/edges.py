"""Who calls whom: from links that met, or did not, to calls between services."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.traces.links import LinksOfWindow, Met
from operators.traces.rows import CLIENT, CONSUMER, PRODUCER, SERVER, chosen
from operators.traces.table import CONNECTIONS, OperationTable

__all__ = ["Edges", "called", "from_outside", "to_databases", "unanswered"]

_DATABASE: Final = CONNECTIONS.index("database")
_MESSAGING: Final = CONNECTIONS.index("messaging_system")
_VIRTUAL: Final = CONNECTIONS.index("virtual_node")


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


def called(met: Met, table: OperationTable) -> Edges:
    """Return an edge for each call that was made and received, in the later of their windows."""
    servers, clients = met.servers, met.clients
    produced = (clients["kind"] == PRODUCER) | (servers["kind"] == CONSUMER)
    return Edges(
        met.starts,
        table.service[clients["operation"]],
        table.service[servers["operation"]],
        np.where(produced, _MESSAGING, 0).astype(np.uint8),
        clients["failed"] | servers["failed"],
        clients["duration"],
        servers["duration"],
        servers["weight"],
    )


def _to_peers(found: LinksOfWindow, which: NDArray[np.bool_], table: OperationTable) -> Edges:
    """Return an edge for each link of ``which`` that made a call to whom its attributes say, if they do."""
    links = found.links
    which = which & ((links["kind"] == CLIENT) | (links["kind"] == PRODUCER))
    which &= table.peer[links["operation"]] >= 0
    some = chosen(links, which)
    mine = some["operation"]
    return Edges(
        found.starts[which],
        table.service[mine],
        table.peer[mine],
        some["connection"],
        some["failed"],
        some["duration"],
        some["duration"],
        some["weight"],
    )


def to_databases(found: LinksOfWindow, table: OperationTable) -> Edges:
    """Return an edge for each call of a database."""
    return _to_peers(found, found.links["connection"] == _DATABASE, table)


def unanswered(found: LinksOfWindow, table: OperationTable) -> Edges:
    """Return an edge for each call of anything else that nobody received."""
    return _to_peers(found, ~found.met & (found.links["connection"] != _DATABASE), table)


def from_outside(found: LinksOfWindow, table: OperationTable) -> Edges:
    """Return an edge for each server whose call came from no span at all.

    With ids that client and server share it may come of one that ended in a later window. It is told then
    as well, whether the windows are told one by one or at once.
    """
    alone = ~found.met | found.after
    which = (found.links["kind"] == SERVER) & (found.links["parent"] == 0) & alone
    some = chosen(found.links, which)
    mine = some["operation"]
    return Edges(
        found.starts[which],
        table.user[mine],
        table.service[mine],
        np.full(len(some), _VIRTUAL, np.uint8),
        some["failed"],
        np.full(len(some), -1, np.int64),
        some["duration"],
        some["weight"],
    )
