"""Calls between services in the documents that Jaeger reads: one an hour, with all that called in it.

A query of Jaeger reads at most 10,000 documents, and its page asks for a week, so what a document covers
must not depend on how many services there are, nor on how short windows are.

An hour is two documents of one index. The *ledger* has a row for each edge and window, so a value that is
told again takes the place of the one before and is never added to it. It has no ``timestamp``, by which
Jaeger finds documents, so Jaeger never reads it. The document for Jaeger is made of the ledger.

Source: Jaeger 1.76 and 2.x (Apache-2.0), ``internal/storage/v2/elasticsearch/depstore``.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any, Final

import polars as pl

from operators.columns.batches import decode_batches, encode_batches
from operators.contracts.batch_form import SERVICE_CALL_BATCHES
from operators.contracts.frames import SERVICE_CALLS
from operators.traces.metrics import REQUESTS
from sinks.documents import instant

__all__ = [
    "by_hour",
    "dependencies_of",
    "hour_for",
    "ledger_of",
    "merged",
    "read_ledger",
    "service_calls",
]

_HOUR: Final = 3_600_000_000_000
_KEY: Final = ("series", "window_start")
_LEDGER: Final = "headrace_ledger"


def hour_for(window: int) -> int:
    """Return how long a document's time is: an hour, or a window that is longer; in nanoseconds."""
    return max(_HOUR, window)


def service_calls(rollups: pl.DataFrame, window: int) -> pl.DataFrame:
    """Return a SERVICE_CALLS frame of rollups: of each edge how often it was called.

    Args:
        rollups: of SCORES' columns; all but edges of the service graph are passed over.
        window: only rollups of this length, in nanoseconds.
    """
    edges = rollups.filter(
        (pl.col("name") == REQUESTS) & (pl.col("window") == window) & (pl.col("increase") >= 0)
    )
    sides = pl.Struct({"client": pl.String, "server": pl.String})
    return (
        edges.with_columns(pl.col("labels").str.json_decode(sides).struct.unnest())
        .filter((pl.col("client") != "") & (pl.col("server") != ""))
        .select("series", "client", "server", "window_start", "count", calls="increase")
        .cast(SERVICE_CALLS)
    )


def by_hour(calls: pl.DataFrame, hour: int) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield when each hour begins, and its rows in their order."""
    begun = (pl.col("window_start") // hour * hour).alias("begun")
    parts = calls.with_columns(begun).partition_by("begun", include_key=False, as_dict=True)
    for (begin,), rows in sorted(parts.items()):
        yield begin, rows


def merged(there: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of an hour after more was told, in the order of edges and windows.

    Of several values of an edge and window that of the most points counts, and of those the last: a
    replay may need fewer revisions to come to the same end.

    Args:
        there: rows that are known.
        told: rows that come after them.
    """
    return (
        pl.concat([there, told])
        .sort("count", maintain_order=True)
        .unique(_KEY, keep="last", maintain_order=True)
        .sort(_KEY)
    )


def dependencies_of(rows: pl.DataFrame, begin: int) -> dict[str, Any]:
    """Return the document that Jaeger reads.

    Its time is that of the newest window in it, so a query of the last minutes finds the hour that is
    under way, and one up to the end of an hour not the hour after it.

    Args:
        rows: of an hour.
        begin: of the hour.
    """
    links = (
        rows.filter(pl.col("calls") > 0)
        .group_by("client", "server")
        .agg(pl.col("calls").sum(), pl.col("window_start").max())
        .with_columns(pl.col("calls").round(0).cast(pl.Int64))
        .sort("client", "server")
    )
    newest = links["window_start"].max() if links.height else begin
    assert isinstance(newest, int)
    return {
        "timestamp": instant(newest),
        "dependencies": links.select(parent="client", child="server", callCount="calls").to_dicts(),
    }


def ledger_of(rows: pl.DataFrame) -> dict[str, Any]:
    """Return the ledger with the rows of an hour: batches, as on topics between our own flows."""
    values = encode_batches(rows, SERVICE_CALL_BATCHES)
    return {_LEDGER: [base64.b64encode(value).decode() for value in values]}


def read_ledger(document: Mapping[str, Any]) -> pl.DataFrame:
    """Return the rows of a ledger.

    Raises:
        ValueError: the document is none, or one of a later version.
    """
    try:
        values = [base64.b64decode(text, validate=True) for text in document[_LEDGER]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a ledger of calls: {error}") from None
    return decode_batches(values, SERVICE_CALL_BATCHES)
