"""``headrace graph``: who calls whom, as the rollups say."""

from __future__ import annotations

import time
from typing import Any, Final, Literal

import polars as pl

from flows.commands.failure import USAGE, CommandFailed
from flows.commands.terminal import console, count, printable, table, write_json
from flows.commands.topic_values import topic_values
from flows.settings import Settings
from operators.columns.batches import decode_batch
from operators.contracts.batch_form import ROLLUP_BATCHES
from operators.contracts.frames import SCORES, empty
from operators.traces.graph import node_graph, service_graph, service_map

__all__ = ["Form", "graph"]

Form = Literal["table", "json", "map", "node-graph"]
_OF_ONE: Final = ("map", "node-graph")
"""Forms that have no place for a tenant."""
_PREFIX: Final = "traces_service_graph_"


def graph(settings: Settings, since: int, tenant: str | None, form: Form) -> None:
    """Write the map of services.

    Args:
        settings: the brokers and the topic of rollups.
        since: how far back, in nanoseconds, rollups were written that are read.
        tenant: whose; all without it, which only a table and ``json`` tell apart.
        form: see ``flows.cli``.

    Raises:
        CommandFailed: there are no calls, or they are of several tenants.
    """
    begin = int(time.time() * 1000) - since // 1_000_000
    frames = [
        empty(SCORES),
        *(
            decode_batch(value, ROLLUP_BATCHES).filter(pl.col("name").str.starts_with(_PREFIX))
            for _, value in topic_values(settings, settings.topics.rollups, max(begin, 0))
        ),
    ]
    edges = service_graph(pl.concat(frames))
    if tenant is not None:
        edges = edges.filter(pl.col("tenant") == tenant)
    if not edges.height:
        raise CommandFailed(
            f"topic {settings.topics.rollups}: no calls between services in that time "
            "(flow traces makes them of an input with signal: traces; or look further back: --since)"
        )
    tenants = edges["tenant"].unique().sort().to_list()
    if len(tenants) > 1 and form in _OF_ONE:
        raise CommandFailed(
            f"--as {form}: services of several tenants may have one name: give --tenant ({', '.join(tenants)})",
            USAGE,
        )
    if form == "json":
        write_json({"schema": "headrace.graph/v1", "edges": edges.rows(named=True)}, indent=True)
    elif form == "map":
        write_json(service_map(edges), indent=True)
    elif form == "node-graph":
        write_json(node_graph(edges), indent=True)
    else:
        _show(edges)


def _show(edges: pl.DataFrame) -> None:
    numbers = ("CALLS", "FAILED", "MEAN", "P95")
    several = edges["tenant"].n_unique() > 1
    tenant = ("TENANT",) if several else ()
    made = table(*tenant, "CLIENT", "SERVER", "TYPE", *numbers, right=numbers)
    for row in edges.sort("calls", descending=True).rows(named=True):
        mean = row["server_seconds"] if row["server_seconds"] is not None else row["client_seconds"]
        made.add_row(
            *([printable(row["tenant"])] if several else []),
            printable(row["client"]),
            printable(row["server"]),
            row["connection_type"],
            count(row["calls"]),
            f"{row['failed'] / row['calls']:.1%}" if row["calls"] else "",
            _seconds(mean),
            _seconds(row["p95_seconds"]),
        )
    console().print(made)


def _seconds(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.3g} ms"
