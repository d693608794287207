"""Spans that are kept as documents for Elasticsearch.

An id is made of tenant, trace, span and kind, so a span that comes twice is one document. Attributes
are an object that the template maps as ``flattened``: ``app.user`` may stand beside ``app.user.id``, and
whatever a value is, no document is refused for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final

import orjson
import polars as pl
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from operators.contracts.frames import DOCUMENTS
from operators.decoders.otlp.logs import flat_attributes
from operators.decoders.protobuf.lenient import read_message
from sinks.documents import SPANS, data_stream, instant

__all__ = ["span_document", "span_documents"]

_KINDS: Final = ("Unspecified", "Internal", "Server", "Client", "Producer", "Consumer")
_STATUSES: Final = ("Unset", "Ok", "Error")
_ALL: Final = 1 << 56


def span_documents(frame: pl.DataFrame, namespace: str) -> pl.DataFrame:
    """Return a DOCUMENTS frame of a SPANS frame."""
    resources: dict[bytes, dict[str, Any]] = {}
    scopes: dict[bytes, str] = {}
    ids, documents = [], []
    for row in frame.rows(named=True):
        content = row["resource"]
        resource = resources.get(content)
        if resource is None:
            parsed = read_message(resource_pb2.Resource, content)
            resource = resources[content] = _plain(parsed.attributes)
        if row["scope"] not in scopes:
            scopes[row["scope"]] = read_message(common_pb2.InstrumentationScope, row["scope"]).name
        document = {**span_document(row), "resource": resource}
        if scopes[row["scope"]]:
            document["scope"] = scopes[row["scope"]]
        identity = f"{row['tenant']}\0{row['trace_id']}{row['span_id']}{row['kind']}"
        ids.append(blake2b(identity.encode(), digest_size=16).hexdigest())
        documents.append(orjson.dumps(document).decode())
    stream = [data_stream(SPANS, namespace)] * len(ids)
    return pl.DataFrame({"stream": stream, "id": ids, "document": documents}, schema=DOCUMENTS)


def span_document(row: dict[str, Any]) -> dict[str, Any]:
    """Return a span of a SPANS frame as plain data, without its resource and scope.

    ``duration`` is in nanoseconds, ``@timestamp`` when it began. ``adjusted_count`` is how many like it it
    stands for.
    """
    span = read_message(trace_pb2.Span, row["span"])
    document: dict[str, Any] = {
        "@timestamp": instant(row["begun"]),
        "tenant": row["tenant"],
        "trace_id": row["trace_id"],
        "span_id": row["span_id"],
        "parent_span_id": row["parent_span_id"],
        "service": row["service"],
        "name": span.name,
        "operation": row["operation"],
        "kind": _KINDS[row["kind"]],
        "status": _STATUSES[row["status"]],
        "status_message": span.status.message,
        "duration": row["ended"] - row["begun"],
        "attributes": _plain(span.attributes),
        "events": [
            {
                "@timestamp": instant(event.time_unix_nano),
                "name": event.name,
                "attributes": _plain(event.attributes),
            }
            for event in span.events
        ],
        "links": [
            {"trace_id": link.trace_id.hex(), "span_id": link.span_id.hex()} for link in span.links
        ],
        "trace_state": span.trace_state,
        "reason": row["reason"],
        "adjusted_count": _ALL / (_ALL - min(row["threshold"], _ALL - 1)),
    }
    return {key: value for key, value in document.items() if value not in ("", [], {})}


def _plain(pairs: Iterable[Any]) -> dict[str, Any]:
    """Return attributes; of a key that stands twice the last counts, and what is no number is a text."""
    return {key: _finite(value) for key, value in flat_attributes(pairs).items() if key}


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
