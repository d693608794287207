"""OTLP traces in JSON: a message is a ``TracesData``, as the collector's encoding ``otlp_json`` writes it.

It is written anew in protobuf, which is how spans go on. Enums are numbers or names, numbers of 64 bits
may be texts, ids are hexadecimal in either case, and fields that are not known are passed over.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status, TracesData

from operators.contracts.span_decoder import DecodedSpans
from operators.decoders.otlp.json_fields import NotOfFormat, field, items, text, whole
from operators.decoders.otlp.traces import key_hashes, scan

__all__ = ["OtlpJsonTraces", "converted", "hexadecimal"]

_LARGEST: Final = 2**63 - 1
_DEEPEST: Final = 32
_KINDS: Final[Mapping[str, int]] = dict(Span.SpanKind.items())
_CODES: Final[Mapping[str, int]] = dict(Status.StatusCode.items())


class OtlpJsonTraces:
    """Decodes OTLP traces in JSON."""

    def decode(self, values: Sequence[bytes], identifying: NDArray[np.uint64]) -> DecodedSpans:
        """Decode a poll."""
        return converted(values, identifying, _traces, "a TracesData of OTLP")

    def compile_kernels(self) -> None:
        """Compile the loops, or load them from the disk, before there is a message to wait for it."""
        scan([b""], key_hashes(["key"]))


def converted(
    values: Sequence[bytes],
    identifying: NDArray[np.uint64],
    convert: Callable[[Any], TracesData],
    form: str,
    parse: Callable[[bytes], Any] = orjson.loads,
) -> DecodedSpans:
    """Decode messages by way of OTLP's protobuf.

    Args:
        values, identifying: see ``SpanDecoder``.
        convert: makes OTLP of what was parsed; raises ``NotOfFormat``.
        form: what a message ought to be, for the reason of its dead letter.
        parse: reads a message; raises ``ValueError``.
    """
    written: list[bytes] = []
    rejected: dict[int, str] = {}
    for message, value in enumerate(values):
        try:
            written.append(convert(parse(value)).SerializeToString())
            continue
        except orjson.JSONDecodeError as error:
            rejected[message] = f"not JSON: {error}" if value.strip() else "empty message"
        except (NotOfFormat, ValueError, TypeError, AttributeError) as error:
            rejected[message] = f"not {form}: {error}"
        written.append(b"")
    decoded = scan(written, identifying)
    return DecodedSpans(
        decoded.buffer, decoded.rows, decoded.resources, decoded.scopes,
        {**decoded.rejected, **rejected},
    )  # fmt: skip


def _traces(document: Any) -> TracesData:
    if not isinstance(document, dict):
        raise NotOfFormat("it is no object")
    data = TracesData()
    for group in items(document, "resourceSpans", "resource_spans"):
        target = data.resource_spans.add()
        _put_pairs(target.resource.attributes, items(field(group, "resource") or {}, "attributes"))
        for scoped in items(group, "scopeSpans", "scope_spans"):
            under = target.scope_spans.add()
            scope = field(scoped, "scope") or {}
            under.scope.name, under.scope.version = text(scope, "name"), text(scope, "version")
            for span in items(scoped, "spans"):
                _put_span(under.spans.add(), span)
    return data


def _put_span(target: Span, span: Any) -> None:
    target.trace_id = hexadecimal(text(span, "traceId", "trace_id"))
    target.span_id = hexadecimal(text(span, "spanId", "span_id"))
    target.parent_span_id = hexadecimal(text(span, "parentSpanId", "parent_span_id"))
    target.trace_state = text(span, "traceState", "trace_state")
    target.name = text(span, "name")
    target.kind = _enum(span, _KINDS, "kind")
    target.start_time_unix_nano = whole(span, "startTimeUnixNano", "start_time_unix_nano")
    target.end_time_unix_nano = whole(span, "endTimeUnixNano", "end_time_unix_nano")
    target.flags = whole(span, "flags") & 0xFFFFFFFF
    _put_pairs(target.attributes, items(span, "attributes"))
    for event in items(span, "events"):
        added = target.events.add(
            name=text(event, "name"), time_unix_nano=whole(event, "timeUnixNano", "time_unix_nano")
        )
        _put_pairs(added.attributes, items(event, "attributes"))
    for link in items(span, "links"):
        linked = target.links.add(
            trace_id=hexadecimal(text(link, "traceId", "trace_id")),
            span_id=hexadecimal(text(link, "spanId", "span_id")),
            trace_state=text(link, "traceState", "trace_state"),
        )
        _put_pairs(linked.attributes, items(link, "attributes"))
    status = field(span, "status")
    if isinstance(status, dict):
        target.status.code = _enum(status, _CODES, "code")
        target.status.message = text(status, "message")


def _enum(parent: Any, names: Mapping[str, int], key: str) -> Any:
    value = field(parent, key)
    number = names.get(value, 0) if isinstance(value, str) else whole(parent, key)
    return number if number in names.values() else 0


def _put_pairs(target: Any, pairs: list[Any]) -> None:
    for pair in pairs:
        key, value = pair.get("key"), pair.get("value")
        if isinstance(key, str):
            added = target.add(key=key)
            if isinstance(value, dict):
                _put_value(added.value, value, 0)


def _put_value(target: Any, value: dict[str, Any], depth: int) -> None:
    for name, content in value.items():
        kind = name.replace("_v", "V")
        if kind == "stringValue":
            target.string_value = content if isinstance(content, str) else ""
        elif kind == "intValue":
            target.int_value = max(-_LARGEST - 1, min(int(content), _LARGEST))
        elif kind == "boolValue":
            target.bool_value = bool(content)
        elif kind == "doubleValue":
            target.double_value = float(content)
        elif kind == "bytesValue":
            target.bytes_value = base64.b64decode(content)
        elif kind == "arrayValue" and depth < _DEEPEST:
            target.array_value.SetInParent()
            for each in items(content or {}, "values"):
                _put_value(target.array_value.values.add(), each, depth + 1)
        elif kind == "kvlistValue" and depth < _DEEPEST:
            target.kvlist_value.SetInParent()
            for pair in items(content or {}, "values"):
                added = target.kvlist_value.values.add(key=str(pair.get("key")))
                _put_value(added.value, pair.get("value") or {}, depth + 1)


def hexadecimal(digits: str) -> bytes:
    """Return the bytes that hexadecimal digits stand for; none where they are no such digits."""
    try:
        return binascii.unhexlify(digits)
    except (binascii.Error, ValueError):
        return b""
