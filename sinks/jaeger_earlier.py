"""Calls between services as Headrace wrote them before: a document for each edge and window.

Where such a document is in an hour that is written to, its row goes into the ledger of that hour, and the
document is removed, so no call is counted twice. Hours that nothing is written to keep theirs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import polars as pl
from elasticsearch import Elasticsearch as Client
from elasticsearch import NotFoundError
from elasticsearch.helpers import scan

from operators.contracts.frames import SERVICE_CALLS
from sinks.base import Unavailable
from sinks.documents import instant

__all__ = ["earlier_calls", "remove_earlier"]

_ID: Final = re.compile(r".*-(\d{1,20})-(\d{1,19})", re.DOTALL)
"""Tenant, series, and where the window begins."""
_AT_ONCE: Final = 1_000


def earlier_calls(
    client: Client, index: str, begin: int, end: int
) -> tuple[pl.DataFrame, list[str]]:
    """Return the rows of such documents, as of no points, so that any other of a window wins; and their ids.

    Args:
        client: of the cluster.
        index: of the day.
        begin: of the hour.
        end: of the hour, which is not in it.

    Raises:
        ApiError, TransportError: the cluster can't tell.
    """
    try:
        client.indices.refresh(
            index=index
        )  # what was written a moment ago is found only after this
    except NotFoundError:
        return pl.DataFrame(schema=SERVICE_CALLS), []
    times = {"range": {"timestamp": {"gte": instant(begin), "lt": instant(end)}}}
    rows, ids = [], []
    for hit in scan(client, index=index, query={"query": times}, size=_AT_ONCE):
        found = _ID.fullmatch(hit["_id"])
        links = hit["_source"].get("dependencies", [])
        if found is None or len(links) != 1:
            continue  # of Jaeger's own jobs, or ours of today
        series, start = (int(digits) for digits in found.groups())
        if begin <= start < end:
            link = links[0]
            rows.append((series, link["parent"], link["child"], start, 0, link["callCount"]))
            ids.append(hit["_id"])
    return pl.DataFrame(rows, schema=SERVICE_CALLS, orient="row", strict=False), ids


def remove_earlier(client: Client, index: str, ids: Sequence[str]) -> None:
    """Remove such documents, whose rows are in the ledger.

    Raises:
        ApiError, TransportError: the cluster can't be asked.
        Unavailable: it keeps some.
    """
    for begin in range(0, len(ids), _AT_ONCE):
        some: list[Any] = [{"delete": {"_id": each}} for each in ids[begin : begin + _AT_ONCE]]
        answer = client.bulk(index=index, operations=some)
        kept = [item["delete"] for item in answer["items"] if item["delete"]["status"] >= 400]
        kept = [each for each in kept if each["status"] != 404]
        if kept:
            reason = kept[0].get("error", {}).get("reason", kept[0]["status"])
            raise Unavailable(
                f"elasticsearch: {index} keeps {len(kept)} documents of calls as Headrace wrote them "
                f"before, which would count twice: {reason}; give the credentials the privilege to "
                "delete documents"
            )
