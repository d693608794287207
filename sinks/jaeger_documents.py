"""Kept spans in the layout in which Jaeger keeps them in Elasticsearch, so that Jaeger reads them.

``jaeger-span-<day>`` has a document a span, ``jaeger-service-<day>`` one for each service and operation,
``jaeger-dependencies-<day>`` one for each call between services and window. A day is that of the span's
begin, or of the window's. Attributes are a list of key, type and value; ``span.kind`` and ``error`` are
fields beside it, as Jaeger has them from version 2 on.

Source: Jaeger 1.76 and 2.x (Apache-2.0), ``internal/storage/v2/elasticsearch/tracestore/to_dbmodel.go``,
``internal/storage/v1/elasticsearch/spanstore/writer.go`` and ``service_operation.go``.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

import orjson
import polars as pl
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from operators.contracts.frames import DOCUMENTS
from operators.traces.metrics import REQUESTS
from sinks.otlp_encoding import with_threshold

__all__ = ["INDICES", "dependency_documents", "jaeger_documents", "service_id"]

INDICES: Final = ("span", "service", "dependencies")
_NO_SERVICE: Final = "OTLPResourceNoServiceName"
_KINDS: Final = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
_FIELDS: Final = frozenset({"span.kind", "error"})
_REFERENCE: Final = "opentracing.ref_type"
_FNV: Final = 0xCBF29CE484222325
_PRIME: Final = 0x100000001B3
_WORD: Final = (1 << 64) - 1
_SERVICES: Final = pl.Schema({"service": pl.String, "operation": pl.String, "day": pl.String})

Tags = list[dict[str, Any]]


def jaeger_documents(frame: pl.DataFrame, prefix: str = "") -> pl.DataFrame:
    """Return a DOCUMENTS frame of a SPANS frame: its spans, then the services and operations.

    Args:
        frame: spans.
        prefix: of the names of indices.
    """
    processes: dict[bytes, dict[str, Any]] = {}
    scopes: dict[bytes, Tags] = {}
    rows: list[tuple[str, str, str]] = []
    operations: dict[tuple[str, str, str], None] = {}
    for row in frame.rows(named=True):
        process = processes.get(row["resource"])
        if process is None:
            process = processes[row["resource"]] = _process(row["resource"])
        if row["scope"] not in scopes:
            scopes[row["scope"]] = _scope_tags(row["scope"])
        document = {**_span(row, scopes[row["scope"]]), "process": process}
        day = _day(row["begun"])
        identity = f"{row['tenant']}\0{row['trace_id']}{row['span_id']}{row['kind']}"
        own = blake2b(identity.encode(), digest_size=16).hexdigest()
        rows.append((f"{prefix}jaeger-span-{day}", own, _text(document)))
        operations[process["serviceName"], document["operationName"], day] = None
    for service, operation, day in operations:
        document = {"serviceName": service, "operationName": operation}
        index = f"{prefix}jaeger-service-{day}"
        rows.append((index, service_id(service, operation), _text(document)))
    return pl.DataFrame(rows, schema=DOCUMENTS, orient="row")


def dependency_documents(rollups: pl.DataFrame, window: int, prefix: str = "") -> pl.DataFrame:
    """Return a DOCUMENTS frame of rollups: of each call between services how many there were.

    Args:
        rollups: of SCORES' columns; all but edges of the service graph are passed over.
        window: only rollups of this length, in nanoseconds.
        prefix: of the names of indices.
    """
    edges = rollups.filter(
        (pl.col("name") == REQUESTS) & (pl.col("window") == window) & (pl.col("increase") > 0)
    )
    rows = []
    for row in edges.select("tenant", "series", "labels", "window_start", "increase").rows(
        named=True
    ):
        labels = orjson.loads(row["labels"])
        link = {
            "parent": labels.get("client", ""),
            "child": labels.get("server", ""),
            "callCount": round(row["increase"]),
        }
        if not link["parent"] or not link["child"]:
            continue
        start = row["window_start"]
        document = {"timestamp": _instant(start), "dependencies": [link]}
        own = f"{row['tenant']}-{row['series']}-{start}"
        rows.append((f"{prefix}jaeger-dependencies-{_day(start)}", own, _text(document)))
    return pl.DataFrame(rows, schema=DOCUMENTS, orient="row")


def service_id(service: str, operation: str) -> str:
    """Return the id of a service's operation: FNV-1a of 64 bits, in hexadecimal digits.

    >>> service_id("", "a")
    'af63dc4c8601ec8c'
    """
    value = _FNV
    for byte in (service + operation).encode():
        value = (value ^ byte) * _PRIME & _WORD
    return f"{value:x}"


def _span(row: dict[str, Any], scope: Tags) -> dict[str, Any]:
    span = _parsed(trace_pb2.Span, row["span"])
    microseconds = row["begun"] // 1000
    tags = [*scope, *_tags(span.attributes)]
    if span.kind in _KINDS:
        tags.append(_tag("span.kind", _KINDS[span.kind]))
    if span.status.code == trace_pb2.Status.STATUS_CODE_OK:
        tags.append(_tag("otel.status_code", "OK"))
    elif span.status.code == trace_pb2.Status.STATUS_CODE_ERROR:
        tags.append({"key": "error", "type": "bool", "value": True})
    if span.status.message:
        tags.append(_tag("otel.status_description", span.status.message))
    state = span.trace_state
    if row["threshold"] > 0:
        state = with_threshold(state, row["threshold"])
    if state:
        tags.append(_tag("w3c.tracestate", state))
    document = {
        "traceID": row["trace_id"],
        "spanID": row["span_id"],
        "operationName": span.name,
        "references": _references(span, row["trace_id"], row["parent_span_id"]),
        "startTime": microseconds,
        "startTimeMillis": microseconds // 1000,
        "duration": (row["ended"] - row["begun"]) // 1000,
        "tags": [tag for tag in tags if tag["key"] not in _FIELDS],
        "logs": [
            {"timestamp": event.time_unix_nano // 1000, "fields": _event_fields(event)}
            for event in span.events
        ],
    }
    if span.flags:
        document["flags"] = span.flags
    fields = {tag["key"].replace(".", "@"): tag["value"] for tag in tags if tag["key"] in _FIELDS}
    return document | ({"tag": fields} if fields else {})


def _references(span: Any, trace: str, parent: str) -> list[dict[str, str]]:
    found = []
    if parent:
        found.append({"refType": "CHILD_OF", "traceID": trace, "spanID": parent})
    for link in span.links:
        kind = "FOLLOWS_FROM"
        for pair in link.attributes:
            if pair.key == _REFERENCE and pair.value.string_value == "child_of":
                kind = "CHILD_OF"
        to, at = link.trace_id.hex(), link.span_id.hex()
        if parent and (to, at) == (trace, parent):
            found[0]["refType"] = kind
        else:
            found.append({"refType": kind, "traceID": to, "spanID": at})
    return found


def _event_fields(event: Any) -> Tags:
    fields = _tags(event.attributes)
    if event.name and not any(field["key"] == "event" for field in fields):
        return [_tag("event", event.name), *fields]
    return fields


def _process(content: bytes) -> dict[str, Any]:
    resource = _parsed(resource_pb2.Resource, content)
    if not resource.attributes:
        return {"serviceName": _NO_SERVICE, "tags": []}
    tags = _tags(resource.attributes)
    name = next((str(tag["value"]) for tag in tags if tag["key"] == "service.name"), "")
    return {
        "serviceName": name,
        "tags": [tag for tag in tags if tag["key"] != "service.name"],
    }


def _scope_tags(content: bytes) -> Tags:
    scope = _parsed(common_pb2.InstrumentationScope, content)
    named = (("otel.scope.name", scope.name), ("otel.scope.version", scope.version))
    return [_tag(key, value) for key, value in named if value]


def _tags(pairs: Iterable[Any]) -> Tags:
    """Return attributes; of a key that stands twice the last counts."""
    found = {}
    for pair in pairs:
        if not pair.key:
            continue
        kind, value = _typed(pair.value)
        found[pair.key] = {"key": pair.key, "type": kind, "value": value}
    return list(found.values())


def _typed(value: Any) -> tuple[str, Any]:
    which = value.WhichOneof("value")
    if which == "bool_value":
        return "bool", value.bool_value
    if which == "int_value":
        return "int64", value.int_value
    if which == "double_value":
        number = value.double_value
        return "float64", number if math.isfinite(number) else str(number)  # JSON has no other
    if which == "bytes_value":
        return "binary", value.bytes_value.hex()
    return "string", value.string_value if which == "string_value" else _as_text(value)


def _as_text(value: Any) -> str:
    plain = _plain(value)
    if plain is None:
        return ""
    text = orjson.dumps(plain, option=orjson.OPT_SORT_KEYS).decode()
    for sign in "<>&":  # Go writes them like that
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _plain(value: Any) -> Any:
    which = value.WhichOneof("value")
    if which == "array_value":
        return [_plain(each) for each in value.array_value.values]
    if which == "kvlist_value":
        return {pair.key: _plain(pair.value) for pair in value.kvlist_value.values}
    if which == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return getattr(value, which) if which else None


def _tag(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "type": "string", "value": value}


def _parsed(kind: Any, content: bytes) -> Any:
    try:
        return kind.FromString(content)
    except Exception:  # a text that is not UTF-8: its numbers are there without it
        return kind()


def _text(document: dict[str, Any]) -> str:
    return orjson.dumps(document).decode()


def _day(nanoseconds: int) -> str:
    return f"{datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC):%Y-%m-%d}"


def _instant(nanoseconds: int) -> str:
    whole, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
