"""Jaeger's model of spans: a message is one ``Span`` with its process, in protobuf or protobuf's JSON.

Sources: jaeger-idl, ``model.proto``; the collector's ``pkg/translator/jaeger``, which says where
OpenTelemetry's kind, status, scope and tracestate are among the tags.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from operators.contracts.span_decoder import DecodedSpans
from operators.decoders.otlp.json_fields import NotOfFormat
from operators.decoders.otlp.traces import key_hashes, scan
from operators.decoders.otlp.traces_json import converted
from operators.decoders.protobuf.declaring import declared

__all__ = ["JaegerJson", "JaegerProto"]

_KINDS: Final = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_STATUSES: Final = {"OK": 1, "ERROR": 2}
_OWN: Final = frozenset(
    {"span.kind", "otel.status_code", "otel.status_description", "otel.library.name",
     "otel.library.version", "otel.scope.name", "otel.scope.version", "w3c.tracestate", "error"}
)  # fmt: skip
_BOOL, _INT64, _FLOAT64, _BINARY = 1, 2, 3, 4
_FORM: Final = "a Span of Jaeger"


@cache
def _span() -> Any:
    return declared(
        "headrace.jaeger",
        {
            "KeyValue": [("key", 1, "string"), ("v_type", 2, "ValueType"), ("v_str", 3, "string"),
                         ("v_bool", 4, "bool"), ("v_int64", 5, "int64"), ("v_float64", 6, "double"),
                         ("v_binary", 7, "bytes")],
            "Log": [("timestamp", 1, "Timestamp"), ("fields", 2, "repeated KeyValue")],
            "SpanRef": [("trace_id", 1, "bytes"), ("span_id", 2, "bytes"), ("ref_type", 3, "RefType")],
            "Process": [("service_name", 1, "string"), ("tags", 2, "repeated KeyValue")],
            "Span": [("trace_id", 1, "bytes"), ("span_id", 2, "bytes"), ("operation_name", 3, "string"),
                     ("references", 4, "repeated SpanRef"), ("flags", 5, "uint32"),
                     ("start_time", 6, "Timestamp"), ("duration", 7, "Duration"),
                     ("tags", 8, "repeated KeyValue"), ("logs", 9, "repeated Log"),
                     ("process", 10, "Process"), ("process_id", 11, "string")],
        },
        {"ValueType": ["STRING", "BOOL", "INT64", "FLOAT64", "BINARY"], "RefType": ["CHILD_OF", "FOLLOWS_FROM"]},
        "Span",
    )  # fmt: skip


class JaegerProto:
    """Decodes spans in protobuf."""

    def decode(self, values: Sequence[bytes], identifying: NDArray[np.uint64]) -> DecodedSpans:
        """Decode a poll."""
        return converted(values, identifying, _traces, _FORM, _of_protobuf)

    def compile_kernels(self) -> None:
        """Compile the loops, or load them from the disk, before there is a message to wait for it."""
        scan([b""], key_hashes(["key"]))


class JaegerJson(JaegerProto):
    """Decodes spans in protobuf's JSON: ids in base64, numbers of 64 bits in texts."""

    def decode(self, values: Sequence[bytes], identifying: NDArray[np.uint64]) -> DecodedSpans:
        """Decode a poll."""
        return converted(values, identifying, _traces, _FORM, _of_json)


def _of_protobuf(value: bytes) -> Any:
    try:
        return _span().FromString(value)
    except DecodeError as error:
        raise NotOfFormat(str(error)) from None


def _of_json(value: bytes) -> Any:
    try:
        return json_format.Parse(value.decode(), _span()(), ignore_unknown_fields=True)
    except (json_format.ParseError, UnicodeDecodeError) as error:
        raise NotOfFormat(" ".join(str(error).split())) from None


def _traces(span: Any) -> TracesData:
    if not span.trace_id and not span.span_id:
        raise NotOfFormat("it has neither trace id nor span id")
    data = TracesData()
    group = data.resource_spans.add()
    if span.process.service_name:
        group.resource.attributes.add(
            key="service.name"
        ).value.string_value = span.process.service_name
    _put(group.resource.attributes, span.process.tags)
    tags = {tag.key: tag for tag in span.tags}
    scoped = group.scope_spans.add()
    for name in ("name", "version"):
        said = tags.get(f"otel.scope.{name}") or tags.get(f"otel.library.{name}")
        if said is not None:
            setattr(scoped.scope, name, said.v_str)
    target = scoped.spans.add(
        trace_id=span.trace_id.rjust(16, b"\0"),
        span_id=span.span_id,
        name=span.operation_name,
        start_time_unix_nano=max(span.start_time.ToNanoseconds(), 0),
    )
    target.end_time_unix_nano = target.start_time_unix_nano + max(span.duration.ToNanoseconds(), 0)
    _put_references(target, span)
    if "w3c.tracestate" in tags:
        target.trace_state = tags["w3c.tracestate"].v_str
    if "span.kind" in tags:
        target.kind = _KINDS.get(tags["span.kind"].v_str, 0)  # type: ignore[assignment]
    if "otel.status_code" in tags:
        target.status.code = _STATUSES.get(tags["otel.status_code"].v_str, 0)  # type: ignore[assignment]
    elif "error" in tags and (tags["error"].v_bool or tags["error"].v_str == "true"):
        target.status.code = 2  # type: ignore[assignment]
    if "otel.status_description" in tags:
        target.status.message = tags["otel.status_description"].v_str
    _put(target.attributes, (tag for tag in span.tags if tag.key not in _OWN))
    for log in span.logs:
        fields = {field.key: field for field in log.fields}
        name_of = fields.get("event") or fields.get("message")
        event = target.events.add(
            name=name_of.v_str if name_of is not None else "",
            time_unix_nano=max(log.timestamp.ToNanoseconds(), 0),
        )
        _put(event.attributes, (field for field in log.fields if field is not name_of))
    return data


def _put_references(target: Any, span: Any) -> None:
    """The first that it is a child of is its parent, else the first of its trace; others are links."""
    parents = [ref for ref in span.references if ref.trace_id == span.trace_id]
    parent = next((ref for ref in parents if ref.ref_type == 0), parents[0] if parents else None)
    if parent is not None:
        target.parent_span_id = parent.span_id
    for ref in span.references:
        if ref is not parent:
            target.links.add(trace_id=ref.trace_id.rjust(16, b"\0"), span_id=ref.span_id)


def _put(target: Any, tags: Iterable[Any]) -> None:
    for tag in tags:
        value = target.add(key=tag.key).value
        if tag.v_type == _BOOL:
            value.bool_value = tag.v_bool
        elif tag.v_type == _INT64:
            value.int_value = tag.v_int64
        elif tag.v_type == _FLOAT64:
            value.double_value = tag.v_float64
        elif tag.v_type == _BINARY:
            value.bytes_value = tag.v_binary
        else:
            value.string_value = tag.v_str
