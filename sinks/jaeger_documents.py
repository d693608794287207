"""Kept spans in the layout in which Jaeger keeps them in Elasticsearch, so that Jaeger reads them.

``jaeger-span-<day>`` has a document a span, ``jaeger-service-<day>`` one for each service and operation. A
day is that of the span's begin. Attributes are a list of key, type and value; ``span.kind`` and ``error``
are fields beside it, as Jaeger has them from version 2 on. Calls between services are in ``jaeger_hours``.

Source: Jaeger 1.76 and 2.x (Apache-2.0), ``internal/storage/v2/elasticsearch/tracestore/to_dbmodel.go``,
``internal/jptrace/sanitizer``, ``internal/storage/v1/elasticsearch/spanstore/writer.go`` and ``service_operation.go``.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final

import orjson
import polars as pl
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from operators.contracts.frames import DOCUMENTS
from operators.decoders.protobuf.lenient import read_message
from sinks.otlp_encoding import with_threshold

__all__ = ["INDICES", "jaeger_documents", "service_id"]

INDICES: Final = ("span", "service", "dependencies")
_WARNINGS: Final = "@jaeger@warnings"
_KINDS: Final = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
_FIELDS: Final = frozenset({"span.kind", "error"})
_REFERENCE: Final = "opentracing.ref_type"
_FNV: Final = 0xCBF29CE484222325
_PRIME: Final = 0x100000001B3
_WORD: Final = (1 << 64) - 1
_LEAST, _MOST = 1e-6, 1e21
"""Numbers from here to there are written without an exponent."""

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
        day = _day(document["startTime"] * 1000)
        identity = f"{row['tenant']}\0{row['trace_id']}{row['span_id']}{row['kind']}"
        own = blake2b(identity.encode(), digest_size=16).hexdigest()
        rows.append((f"{prefix}jaeger-span-{day}", own, _text(document)))
        operations[process["serviceName"], document["operationName"], day] = None
    for service, operation, day in operations:
        document = {"serviceName": service, "operationName": operation}
        index = f"{prefix}jaeger-service-{day}"
        rows.append((index, service_id(service, operation), _text(document)))
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
    span = read_message(trace_pb2.Span, row["span"])
    # The flow has a span that ends before it begins as one that takes no time; Jaeger wants what it says.
    begun = span.start_time_unix_nano or row["begun"]
    ended = span.end_time_unix_nano or row["ended"]
    microseconds = begun // 1000
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
    if ended <= begun:
        tags.append(_tag(_WARNINGS, _warning(begun, ended)))
    document = {
        "traceID": row["trace_id"],
        "spanID": row["span_id"],
        "operationName": span.name,
        "references": _references(span, row["trace_id"], row["parent_span_id"]),
        "startTime": microseconds,
        "startTimeMillis": microseconds // 1000,
        # Of a negative number Jaeger would read nothing, and nothing of its trace.
        "duration": max(ended - begun, 0) // 1000,
        **_split(tags),
        "logs": [
            {"timestamp": event.time_unix_nano // 1000, "fields": _event_fields(event)}
            for event in span.events
        ],
    }
    if span.flags:
        document["flags"] = span.flags
    return document


def _warning(begun: int, ended: int) -> str:
    """Return what Jaeger's collector says of a span that takes no time or less: a list, in JSON."""
    was, now = _go_time(ended), _go_time(begun + 1)
    text = "Negative duration detected, sanitizing end timestamp. Original end timestamp: "
    return orjson.dumps([f"{text}{was}, adjusted to: {now}"]).decode()


def _go_time(nanoseconds: int) -> str:
    """Return a time as Go writes it.

    >>> _go_time(1_500_000_000), _go_time(2_000_000_000)
    ('1970-01-01 00:00:01.5 +0000 UTC', '1970-01-01 00:00:02 +0000 UTC')
    """
    whole, rest = divmod(nanoseconds, 1_000_000_000)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC"


def _split(tags: Tags) -> dict[str, Any]:
    """Return tags as a list, and those as fields that Jaeger has as such; of these the last of a key counts."""
    listed: Tags = []
    fields = {}
    for tag in tags:
        if tag["key"] in _FIELDS and tag["type"] != "binary":
            fields[tag["key"].replace(".", "@")] = tag["value"]
        else:
            listed.append(tag)
    return {"tags": listed, "tag": fields} if fields else {"tags": listed}


def _references(span: Any, trace: str, parent: str) -> list[dict[str, str]]:
    found = []
    if parent:
        found.append({"refType": "CHILD_OF", "traceID": trace, "spanID": parent})
    for link in span.links:
        said = (pair.value.string_value for pair in link.attributes if pair.key == _REFERENCE)
        kind = "CHILD_OF" if next(said, "") == "child_of" else "FOLLOWS_FROM"
        to, at = _id(link.trace_id), _id(link.span_id)
        if parent and (to, at) == (trace, parent):
            found[0]["refType"] = kind
        else:
            found.append({"refType": kind, "traceID": to, "spanID": at})
    return found


def _id(content: bytes) -> str:
    """Return an id as digits; one of zeros is none."""
    return content.hex() if any(content) else ""


def _event_fields(event: Any) -> Tags:
    fields = _tags(event.attributes)
    if event.name and not any(field["key"] == "event" for field in fields):
        return [_tag("event", event.name), *fields]
    return fields


def _process(content: bytes) -> dict[str, Any]:
    resource = read_message(resource_pb2.Resource, content)
    names = [pair.value for pair in resource.attributes if pair.key == "service.name"]
    rest = (pair for pair in resource.attributes if pair.key != "service.name")
    # Jaeger mends the first of several, and takes the last.
    name = _as_text(names[-1]) if len(names) > 1 else _service(names)
    return {"serviceName": name, **_split(_tags(rest))}


def _service(names: list[Any]) -> str:
    """Return the name of a service as Jaeger's collector has it, of none or one value."""
    if not names:
        return "missing-service-name"
    if names[0].WhichOneof("value") != "string_value":
        return "service-name-wrong-type"
    return names[0].string_value or "empty-service-name"


def _scope_tags(content: bytes) -> Tags:
    scope = read_message(common_pb2.InstrumentationScope, content)
    named = (("otel.scope.name", scope.name), ("otel.scope.version", scope.version))
    return [_tag(key, value) for key, value in named if value]


def _tags(pairs: Iterable[Any]) -> Tags:
    """Return attributes, each time that a key stands there: Jaeger finds each, and shows the last."""
    found = []
    for pair in pairs:
        kind, value = _typed(pair.value)
        found.append({"key": pair.key, "type": kind, "value": value})
    return found


def _typed(value: Any) -> tuple[str, Any]:
    match value.WhichOneof("value"):
        case None:
            found: tuple[str, Any] = "string", None
        case "bool_value":
            found = "bool", value.bool_value
        case "int_value":
            found = "int64", value.int_value
        case "bytes_value":
            found = "binary", value.bytes_value.hex()
        case "double_value" if math.isfinite(value.double_value):
            found = "float64", orjson.Fragment(_digits(value.double_value))
        case _:
            found = "string", _as_text(value)
    return found


def _as_text(value: Any) -> str:
    """Return a value as Go's collector writes it where a text is wanted."""
    match value.WhichOneof("value"):
        case None:
            return ""
        case "string_value":
            return str(value.string_value)
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case "double_value" if not math.isfinite(value.double_value):
            return str(value.double_value)  # JSON has no such number, and Jaeger shows none
    try:
        text = orjson.dumps(_plain(value), option=orjson.OPT_SORT_KEYS).decode()
    except ValueError:  # a number inside of it that JSON does not have: Go writes nothing
        return ""
    for sign in "<>&\u2028\u2029":  # Go writes them like that
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
    if which == "double_value":
        if not math.isfinite(value.double_value):
            raise ValueError(value.double_value)
        return orjson.Fragment(_digits(value.double_value))
    return getattr(value, which) if which else None


def _digits(value: float) -> str:
    """Return a number as Go writes it: Elasticsearch finds a tag by the text of its value.

    >>> [_digits(each) for each in (3.0, 0.1, -0.0, 1e20, 1e21, 1.5e-7)]
    ['3', '0.1', '-0', '100000000000000000000', '1e+21', '1.5e-7']
    """
    if value and not _LEAST <= abs(value) < _MOST:
        return repr(value).replace("e-0", "e-")
    text = f"{Decimal(repr(value)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _tag(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "type": "string", "value": value}


def _text(document: dict[str, Any]) -> str:
    return orjson.dumps(document).decode()


def _day(nanoseconds: int) -> str:
    return f"{datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC):%Y-%m-%d}"
