"""The map of services, from the rollups of calls between them."""

from __future__ import annotations

from typing import Any, Final

import polars as pl

from operators.traces.metrics import CLIENT_SECONDS, FAILED, REQUESTS, SERVER_SECONDS

__all__ = ["EDGES", "node_graph", "service_graph", "service_map"]

EDGES: Final = pl.Schema(
    {
        "tenant": pl.String,
        "client": pl.String,
        "server": pl.String,
        "connection_type": pl.String,
        "calls": pl.Float64,
        "failed": pl.Float64,
        "client_seconds": pl.Float64,  # on average, as the client saw it; null where it did not say
        "server_seconds": pl.Float64,
        "p95_seconds": pl.Float64,  # of the worst window, at the server, else the client
    }
)
"""Calls from one service to another, a row each."""
_LABELS: Final = ("client", "server", "connection_type")
_METRICS: Final = (REQUESTS, FAILED, CLIENT_SECONDS, SERVER_SECONDS)


def service_graph(rollups: pl.DataFrame) -> pl.DataFrame:
    """Return an EDGES frame of rollups, in the order of their names.

    Args:
        rollups: of ROLLUPS' columns; any others than those of service graphs are passed over, and of
            several resolutions the finest counts. Of several rows of a window the last revision does.
    """
    ours = rollups.filter(pl.col("name").is_in(_METRICS))
    if not ours.height:
        return pl.DataFrame(schema=EDGES)
    labels = pl.col("labels").str.json_decode(pl.Struct(dict.fromkeys(_LABELS, pl.String)))
    last = (
        ours.filter(pl.col("window") == pl.col("window").min())
        .sort("count", "revision", maintain_order=True)
        .unique(("series", "window_start"), keep="last")
        .with_columns(labels.struct.unnest())
    )
    name, mean = pl.col("name"), pl.col("sum") / pl.col("count")
    of_clients, of_servers = name == CLIENT_SECONDS, name == SERVER_SECONDS

    def average(chosen: pl.Expr) -> pl.Expr:
        total, count = (pl.col(column).filter(chosen).sum() for column in ("sum", "count"))
        return pl.when(count > 0).then(total / count)

    return (
        last.with_columns(mean=mean)
        .group_by("tenant", *_LABELS)
        .agg(
            calls=pl.col("increase").filter(name == REQUESTS).sum(),
            failed=pl.col("increase").filter(name == FAILED).sum(),
            client_seconds=average(of_clients),
            server_seconds=average(of_servers),
            p95_seconds=pl.coalesce(
                pl.col("p95").filter(of_servers).max(), pl.col("p95").filter(of_clients).max()
            ),
        )
        .with_columns(pl.col("connection_type").fill_null(""))
        .select(pl.col(column).cast(kind) for column, kind in EDGES.items())
        .sort("tenant", *_LABELS)
    )


def service_map(edges: pl.DataFrame) -> dict[str, list[str]]:
    """Return whom each service calls, as the notifier's ``correlation.service_map`` has it."""
    found: dict[str, set[str]] = {}
    for client, server in edges.select("client", "server").rows():
        found.setdefault(client, set()).add(server)
    return {client: sorted(servers) for client, servers in sorted(found.items())}


def node_graph(edges: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Return nodes and edges with the fields of Grafana's node graph panel."""
    received = edges.group_by("server").agg(
        pl.sum("calls"), pl.sum("failed"), pl.max("p95_seconds")
    )
    of = {row["server"]: row for row in received.rows(named=True)}
    kinds = dict(edges.select("server", "connection_type").rows())
    names = sorted({*edges["client"], *edges["server"]})
    nodes = []
    for name in names:
        row = of.get(name, {"calls": 0.0, "failed": 0.0, "p95_seconds": None})
        share = row["failed"] / row["calls"] if row["calls"] else 0.0
        nodes.append(
            {
                "id": name,
                "title": name,
                "subtitle": kinds.get(name) or "",
                "mainstat": row["calls"],
                "secondarystat": row["p95_seconds"],
                "arc__failed": share,
                "arc__succeeded": 1 - share,
            }
        )
    lines = [
        {
            "id": f"{row['client']}/{row['server']}/{row['connection_type']}",
            "source": row["client"],
            "target": row["server"],
            "mainstat": row["calls"],
            "secondarystat": row["p95_seconds"],
        }
        for row in edges.rows(named=True)
    ]
    return {"nodes": nodes, "edges": lines}
