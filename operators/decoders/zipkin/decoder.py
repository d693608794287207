"""Zipkin's model of spans, version 2: a message is a list of them, in JSON or protobuf.

Times are microseconds. Client and server may share an id (``shared``). Sources: zipkin-api,
``zipkin.proto`` and ``zipkin2-api.yaml``; the collector's ``pkg/translator/zipkin``, which says where
OpenTelemetry's status, scope and tracestate are among the tags.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
import orjson
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from operators.contracts.span_decoder import DecodedSpans
from operators.decoders.otlp.json_fields import NotOfFormat, items, text, whole
from operators.decoders.otlp.traces import key_hashes, scan
from operators.decoders.otlp.traces_json import converted, hexadecimal
from operators.decoders.protobuf.declaring import declared

__all__ = ["ZipkinJson", "ZipkinProto"]

_KINDS: Final = ("", "CLIENT", "SERVER", "PRODUCER", "CONSUMER")
_OTLP_KINDS: Final = {"CLIENT": 3, "SERVER": 2, "PRODUCER": 4, "CONSUMER": 5}
_STATUSES: Final = {"STATUS_CODE_OK": 1, "OK": 1, "STATUS_CODE_ERROR": 2, "ERROR": 2}
_OWN: Final = frozenset(
    {"otel.status_code", "otel.status_description", "otel.library.name", "otel.library.version",
     "otel.scope.name", "otel.scope.version", "w3c.tracestate", "error"}
)  # fmt: skip
_FORM: Final = "a list of Zipkin's spans"
_LATEST: Final = (2**63 - 1) // 1000


@cache
def _list() -> Any:
    return declared(
        "headrace.zipkin",
        {
            "Endpoint": [("service_name", 1, "string"), ("ipv4", 2, "bytes"), ("ipv6", 3, "bytes"),
                         ("port", 4, "int32")],
            "Annotation": [("timestamp", 1, "fixed64"), ("value", 2, "string")],
            "Tag": [("key", 1, "string"), ("value", 2, "string")],
            "Span": [("trace_id", 1, "bytes"), ("parent_id", 2, "bytes"), ("id", 3, "bytes"),
                     ("kind", 4, "uint32"), ("name", 5, "string"), ("timestamp", 6, "fixed64"),
                     ("duration", 7, "uint64"), ("local_endpoint", 8, "Endpoint"),
                     ("remote_endpoint", 9, "Endpoint"), ("annotations", 10, "repeated Annotation"),
                     ("tags", 11, "repeated Tag")],
            "ListOfSpans": [("spans", 1, "repeated Span")],
        },
        {},
        "ListOfSpans",
    )  # fmt: skip


class ZipkinJson:
    """Decodes lists of spans in JSON."""

    def decode(self, values: Sequence[bytes], identifying: NDArray[np.uint64]) -> DecodedSpans:
        """Decode a poll."""
        return converted(values, identifying, _traces, _FORM, _of_json)

    def compile_kernels(self) -> None:
        """Compile the loops, or load them from the disk, before there is a message to wait for it."""
        scan([b""], key_hashes(["key"]))


class ZipkinProto(ZipkinJson):
    """Decodes lists of spans in protobuf."""

    def decode(self, values: Sequence[bytes], identifying: NDArray[np.uint64]) -> DecodedSpans:
        """Decode a poll."""
        return converted(values, identifying, _traces, _FORM, _of_protobuf)


def _of_json(value: bytes) -> list[Any]:
    found = orjson.loads(value)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise NotOfFormat("it is no list of objects")
    return found


def _of_protobuf(value: bytes) -> list[dict[str, Any]]:
    try:
        found = _list().FromString(value)
    except DecodeError as error:
        raise NotOfFormat(str(error)) from None
    return [dict(_as_json(span)) for span in found.spans]


def _as_json(span: Any) -> Iterator[tuple[str, Any]]:
    yield "traceId", span.trace_id.hex()
    yield "parentId", span.parent_id.hex()
    yield "id", span.id.hex()
    yield "kind", _KINDS[span.kind] if span.kind < len(_KINDS) else ""
    yield "name", span.name
    yield "timestamp", span.timestamp
    yield "duration", span.duration
    for side in ("local", "remote"):
        endpoint = getattr(span, f"{side}_endpoint")
        ip = ".".join(map(str, endpoint.ipv4))
        yield (
            f"{side}Endpoint",
            {"serviceName": endpoint.service_name, "ipv4": ip, "port": endpoint.port},
        )
    yield "annotations", [{"timestamp": a.timestamp, "value": a.value} for a in span.annotations]
    yield "tags", {tag.key: tag.value for tag in span.tags}


def _traces(spans: list[Any]) -> TracesData:
    data = TracesData()
    groups: dict[tuple[str, str], Any] = {}
    for span in spans:
        tags = _tags(span)
        service = text(span.get("localEndpoint") or {}, "serviceName") or tags.pop(
            "service.name", ""
        )
        scope = tags.get("otel.scope.name") or tags.get("otel.library.name") or ""
        scoped = groups.get((service, scope))
        if scoped is None:
            group = data.resource_spans.add()
            if service:
                group.resource.attributes.add(key="service.name").value.string_value = service
            scoped = groups[service, scope] = group.scope_spans.add()
            scoped.scope.name = scope
        _put_span(scoped.spans.add(), span, tags)
    return data


def _tags(span: Mapping[str, Any]) -> dict[str, str]:
    tags = span.get("tags") or {}
    if not isinstance(tags, dict):
        raise NotOfFormat("tags is no object")
    return {key: str(value) for key, value in tags.items()}


def _put_span(target: Any, span: Mapping[str, Any], tags: Mapping[str, str]) -> None:
    target.trace_id = hexadecimal(text(span, "traceId").zfill(32))
    target.span_id = hexadecimal(text(span, "id").zfill(16))
    if text(span, "parentId"):
        target.parent_span_id = hexadecimal(text(span, "parentId").zfill(16))
    target.name = text(span, "name")
    target.kind = _OTLP_KINDS.get(text(span, "kind").upper(), 0)
    begun = min(whole(span, "timestamp"), _LATEST)
    target.start_time_unix_nano = begun * 1000
    target.end_time_unix_nano = min(begun + whole(span, "duration"), _LATEST) * 1000
    target.trace_state = tags.get("w3c.tracestate", "")
    if "otel.status_code" in tags:
        target.status.code = _STATUSES.get(tags["otel.status_code"], 0)
    elif "error" in tags and tags["error"] != "false":
        target.status.code = 2
    target.status.message = tags.get("otel.status_description") or (
        tags.get("error", "") if tags.get("error") not in ("true", "false") else ""
    )
    for key, value in tags.items():
        if key not in _OWN:
            target.attributes.add(key=key).value.string_value = value
    remote = span.get("remoteEndpoint") or {}
    for key, name in (("peer.service", "serviceName"), ("net.peer.ip", "ipv4")):
        if text(remote, name) and key not in tags:
            target.attributes.add(key=key).value.string_value = text(remote, name)
    for annotation in items(span, "annotations"):
        at = min(whole(annotation, "timestamp"), _LATEST)
        target.events.add(name=text(annotation, "value"), time_unix_nano=at * 1000)
