"""The metrics that come of spans: their names and labels, those of the collector's connectors."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from operators.columns.compiling import compiled
from operators.columns.hash_index import numbered
from operators.contracts.frames import DELTA, DELTA_HISTOGRAM
from operators.traces.calls import MILLISECOND, SECOND, durations_of
from operators.traces.edges import Edges
from operators.traces.meter import Meter, MeterName
from operators.traces.rows import weights
from operators.traces.table import CONNECTIONS, OperationTable

__all__ = [
    "CALLS",
    "CLIENT_SECONDS",
    "DURATION",
    "ERRORS",
    "FAILED",
    "REQUESTS",
    "SERVER_SECONDS",
    "SpanMetrics",
]

CALLS: Final = "traces.span.metrics.calls"
ERRORS: Final = "traces.span.metrics.errors"
DURATION: Final = "traces.span.metrics.duration"
REQUESTS: Final = "traces_service_graph_request_total"
FAILED: Final = "traces_service_graph_request_failed_total"
SERVER_SECONDS: Final = "traces_service_graph_request_server"
CLIENT_SECONDS: Final = "traces_service_graph_request_client"

_KINDS: Final = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_STATUSES: Final = ("UNSET", "OK", "ERROR")
_ERROR: Final = 2


class SpanMetrics:
    """Counts calls and edges by series, and hands them to a shard's meter."""

    def __init__(self, meter: Meter, table: OperationTable) -> None:
        self._meter = meter
        self._table = table
        self._generation = -1
        self._forget()

    def _forget(self) -> None:
        self._of_series = np.empty((0, 2), np.int32)  # calls and duration
        self._of_group = np.empty(0, np.int32)
        self._of_edge: dict[tuple[int, int, int, str], tuple[int, ...]] = {}
        self._generation = self._meter.generation

    def calls(self, rows: NDArray[Any], operations: NDArray[np.int32], start: int) -> None:
        """Count the spans of a window, each once, that begins at ``start``."""
        if not len(rows):
            return
        self._name_series()
        table = self._table
        series = np.array(table.series_rows, np.int64)  # a row of the table that has it
        group, numbers = _grouped(table.series[operations])
        weight = weights(rows["threshold"])
        durations = rows["ended"] - rows["begun"]
        found = durations_of(group, len(numbers), durations, weight, MILLISECOND)
        starts = np.full(len(numbers), start)
        self._meter.count(self._of_series[numbers, 0], starts, found.count)
        self._meter.observe(self._of_series[numbers, 1], starts, found, MILLISECOND)
        # Of each operation, those that failed; one without any has none, and that is told too.
        first = series[numbers]
        of_number, groups = _grouped(table.group[first])
        totals = np.zeros(len(groups), np.int64)
        np.add.at(totals, of_number, np.where(table.status[first] == _ERROR, found.count, 0))
        self._meter.count(self._of_group[groups], np.full(len(groups), start), totals)

    def edges(self, edges: Edges, part: str) -> None:
        """Count edges.

        Args:
            edges: all of some windows that are of this part, each once.
            part: see ``Named``.
        """
        if not len(edges.start):
            return
        if self._generation != self._meter.generation:
            self._forget()
        windows, window = _grouped(edges.start)[::-1]
        services, kinds = len(self._table.services), len(CONNECTIONS)
        pair = edges.client.astype(np.int64) * services + edges.server
        group, keys = _grouped((window * np.int64(kinds) + edges.connection) * services**2 + pair)
        start = windows[keys // services**2 // kinds]
        rows = np.array(
            [
                self._edge(
                    key // services % services, key % services, key // services**2 % kinds, part
                )
                for key in keys.tolist()
            ],
            np.int32,
        )
        # Of one layout, so that the loop is compiled once.
        weight, lost = np.ascontiguousarray(edges.weight), np.ascontiguousarray(edges.failed)
        made, failed = _counted(group, len(keys), weight, lost)
        self._meter.count(rows[:, 0], start, made)
        self._meter.count(rows[:, 1], start, failed)
        for column, durations in ((2, edges.server_duration), (3, edges.client_duration)):
            there = np.flatnonzero(durations >= 0)
            if not len(there):
                continue
            inverse, some = _grouped(group[there])
            found = durations_of(inverse, len(some), durations[there], edges.weight[there], SECOND)
            self._meter.observe(rows[some, column], start[some], found, SECOND)

    def _name_series(self) -> None:
        if self._generation != self._meter.generation:
            self._forget()
        table, meter = self._table, self._meter
        series, groups = [], []
        for row in table.series_rows[len(self._of_series) :]:
            tenant, labels = self._labels(row)
            status = ("status.code", f"STATUS_CODE_{_STATUSES[table.status[row]]}")
            calls = meter.row(MeterName(tenant, CALLS, "{call}", DELTA, (*labels, status)))
            duration = MeterName(tenant, DURATION, "ms", DELTA_HISTOGRAM, (*labels, status))
            series.append((calls, meter.row(duration)))
        for row in table.group_rows[len(self._of_group) :]:
            tenant, labels = self._labels(row)
            groups.append(meter.row(MeterName(tenant, ERRORS, "{call}", DELTA, labels)))
        if series:
            self._of_series = np.concatenate([self._of_series, np.array(series, np.int32)])
        if groups:
            self._of_group = np.concatenate([self._of_group, np.array(groups, np.int32)])

    def _labels(self, row: int) -> tuple[str, tuple[tuple[str, str], ...]]:
        found = self._table.frame.row(row, named=True)
        more: dict[str, str] = {}
        for column in ("resource", "dimensions"):
            if found[column]:
                more |= orjson.loads(found[column])
        labels = {
            **more,
            "service.name": found["service"],
            "span.name": found["name"],
            "span.kind": f"SPAN_KIND_{_KINDS[found['kind']]}",
        }
        return found["tenant"], tuple(sorted(labels.items()))

    def _edge(self, client: int, server: int, kind: int, part: str) -> tuple[int, ...]:
        key = (client, server, kind, part)
        rows = self._of_edge.get(key)
        if rows is None:
            services = list(self._table.services)
            tenant, caller = services[client]
            labels = (
                ("client", caller),
                ("connection_type", CONNECTIONS[kind]),
                ("server", services[server][1]),
            )
            rows = self._of_edge[key] = tuple(
                self._meter.row(MeterName(tenant, metric, unit, of_kind, labels, part))
                for metric, unit, of_kind in (
                    (REQUESTS, "", DELTA),
                    (FAILED, "", DELTA),
                    (SERVER_SECONDS, "s", DELTA_HISTOGRAM),
                    (CLIENT_SECONDS, "s", DELTA_HISTOGRAM),
                )
            )
        return rows


@compiled
def _counted(
    group: NDArray[np.int32], count: int, weight: NDArray[np.int64], failed: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many calls each group has, and how many of them failed, in parts of ``ONE``."""
    made, lost = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for number in range(len(group)):
        made[group[number]] += weight[number]
        if failed[number]:
            lost[group[number]] += weight[number]
    return made, lost


def _grouped(keys: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the number of each key's group, and the key of each group."""
    keys = keys.astype(np.int64)
    group, first = numbered(keys.view(np.uint64))
    return group, keys[first]
