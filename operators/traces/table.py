"""The operations that a shard has heard of, as columns."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.columns.hash_index import HashIndex
from operators.contracts.frames import OPERATIONS, empty
from operators.series.labels import hashes
from operators.traces.conventions import DATABASE, MESSAGING, VIRTUAL

__all__ = ["CONNECTIONS", "USER", "OperationTable"]

CONNECTIONS: Final = ("", DATABASE, MESSAGING, VIRTUAL)
"""Types of connections, as the label ``connection_type`` has them."""
USER: Final = "user"
"""Who calls from outside, as service_graph names it."""

_GROUPED: Final = ("tenant", "service", "name", "kind", "resource", "dimensions")
"""What an operation is beside its status and whom it calls."""


class OperationTable:
    """Numbers operations in the order of their coming.

    Attributes:
        frame: OPERATIONS, a row each.
        salt: of each, a hash of its tenant, the same in all processes.
        root: of each, a hash of its tenant, service and name, the same in all processes: of a trace that
            begins with it that is the root operation.
        tenant, service: of each, the number of its tenant, and that of its service in its tenant.
        status: of each, OTLP's number.
        peer, user: of each, the number of whom it calls by its attributes, -1 without, and of those
            who call from outside; they are numbered as services are.
        wanted: of each, whether its traces are always kept.
        connection: of each, the index among ``CONNECTIONS`` of what its peer is.
        series: of each, the number of what differs in none of ``tenant``, ``service``, ``name``,
            ``kind``, ``status``, ``resource`` and ``dimensions``.
        group: the same without ``status``.
    """

    def __init__(self) -> None:
        self._index = HashIndex()
        self.frame = empty(OPERATIONS)
        self.tenant, self.service, self.series, self.group, self.peer, self.user = (
            np.empty(0, np.int32) for _ in range(6)
        )
        self.wanted = np.empty(0, np.bool_)
        self.salt, self.root = np.empty(0, np.uint64), np.empty(0, np.uint64)
        self.status, self.connection = np.empty(0, np.uint8), np.empty(0, np.uint8)
        self.tenants: dict[str, int] = {}
        self.services: dict[tuple[str, str], int] = {}
        """By tenant and name, also of what is no service but is called."""
        self._series: dict[tuple[object, ...], int] = {}
        self._groups: dict[tuple[object, ...], int] = {}
        self.series_rows: list[int] = []  # for each number of ``series``, a row that has it
        self.group_rows: list[int] = []

    def __len__(self) -> int:
        return self.frame.height

    def learn(self, operations: pl.DataFrame) -> None:
        """Take in an OPERATIONS frame; what is known already is passed over."""
        if not operations.height:
            return
        ids = operations["operation"].to_numpy()
        new = operations.filter(pl.Series(self._index.find(ids) < 0))
        if not new.height:
            return
        size = len(self)
        self._index.insert(
            new["operation"].to_numpy(), np.arange(size, size + new.height, dtype=np.int32)
        )
        self.frame = pl.concat([self.frame, new])
        tenants = [self.tenants.setdefault(each, len(self.tenants)) for each in new["tenant"]]
        services = [
            self.services.setdefault(each, len(self.services))
            for each in new.select("tenant", "service").rows()
        ]
        peers = [
            self.services.setdefault((tenant, peer), len(self.services)) if peer else -1
            for tenant, peer in new.select("tenant", "peer").rows()
        ]
        users = [
            self.services.setdefault((tenant, USER), len(self.services)) for tenant in new["tenant"]
        ]
        kinds = [CONNECTIONS.index(each) for each in new["peer_type"]]
        groups = self._numbers(new.select(_GROUPED), self._groups, self.group_rows, size)
        series = self._numbers(
            new.select(*_GROUPED, "status"), self._series, self.series_rows, size
        )
        self.tenant = np.concatenate([self.tenant, np.array(tenants, np.int32)])
        self.service = np.concatenate([self.service, np.array(services, np.int32)])
        self.group = np.concatenate([self.group, np.array(groups, np.int32)])
        self.series = np.concatenate([self.series, np.array(series, np.int32)])
        self.peer = np.concatenate([self.peer, np.array(peers, np.int32)])
        self.user = np.concatenate([self.user, np.array(users, np.int32)])
        self.connection = np.concatenate([self.connection, np.array(kinds, np.uint8)])
        self.salt = np.concatenate([self.salt, hashes(new["tenant"])])
        names = new.select(root=pl.concat_str("tenant", "service", "name", separator="\0"))
        self.root = np.concatenate([self.root, hashes(names["root"])])
        self.wanted = np.concatenate([self.wanted, new["wanted"].to_numpy()])
        self.status = np.concatenate([self.status, new["status"].to_numpy()])

    @staticmethod
    def _numbers(
        frame: pl.DataFrame, known: dict[tuple[object, ...], int], rows: list[int], first: int
    ) -> list[int]:
        found = []
        for row, key in enumerate(frame.rows(), start=first):
            number = known.setdefault(key, len(known))
            if number == len(rows):
                rows.append(row)
            found.append(number)
        return found

    def find(self, operations: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Return the number of each operation.

        Raises:
            KeyError: one was never told of.
        """
        found = self._index.find(np.ascontiguousarray(operations))
        if len(found) and found.min() < 0:
            raise KeyError("spans of an operation that no worker has named")
        return found
