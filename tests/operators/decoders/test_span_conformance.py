"""One suite over all decoders of traces: the SDK's own spans, whatever format they came in."""

import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from operators.decoders import SPAN_DECODERS
from operators.decoders.otlp.traces import key_hashes
from tests.varint import varint

KEYS = key_hashes(["http.route", "peer.service"])


def sdk_spans():
    """Return spans as OpenTelemetry's SDK has them, and the message that its exporter sends."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "shop"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("lib", "1.2")
    with tracer.start_as_current_span("GET /cart", kind=SpanKind.SERVER) as span:
        span.set_attribute("http.route", "/cart")
        with tracer.start_as_current_span("query", kind=SpanKind.CLIENT) as inner:
            inner.set_attribute("peer.service", "db")
            inner.add_event("retry", {"count": 2})
            inner.set_status(StatusCode.ERROR, "it broke")
    return exporter.get_finished_spans(), encode_spans(exporter.get_finished_spans())


def as_json(message: Any) -> bytes:
    """Return OTLP's own JSON: as protobuf's, with ids in hexadecimal digits and enums as numbers."""
    document = MessageToDict(message, use_integers_for_enums=True)
    by_number = [
        span
        for group in message.resource_spans
        for scoped in group.scope_spans
        for span in scoped.spans
    ]
    spans = [
        span
        for group in document["resourceSpans"]
        for scoped in group["scopeSpans"]
        for span in scoped["spans"]
    ]
    for span, source in zip(spans, by_number, strict=True):
        span |= {"traceId": source.trace_id.hex().upper(), "spanId": source.span_id.hex()}
        if source.parent_span_id:
            span["parentSpanId"] = source.parent_span_id.hex()
    return json.dumps(document).encode()


def field(number: int, content: Any) -> bytes:
    """Return a field of protobuf: bytes and texts by length, whole numbers as varints."""
    if isinstance(content, int):
        return encoded(number << 3) + encoded(content)
    data = content.encode() if isinstance(content, str) else content
    return encoded(number << 3 | 2) + encoded(len(data)) + data


def encoded(value: int) -> bytes:
    found = b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def tags_of(span: Any) -> dict[str, Any]:
    """Return the tags that the collector makes of a span for Jaeger and Zipkin."""
    tags: dict[str, Any] = {pair.key: pair.value.string_value for pair in span.attributes}
    if span.status.code == 2:
        tags |= {"otel.status_code": "ERROR", "otel.status_description": span.status.message}
    return tags


def each_span(message: Any) -> Any:
    for group in message.resource_spans:
        for scoped in group.scope_spans:
            yield from scoped.spans


def jaeger_proto(message: Any) -> list[bytes]:
    def pair(key: str, value: str) -> bytes:
        return field(1, key) + field(3, value)

    def time(nanoseconds: int) -> bytes:
        return field(1, nanoseconds // 10**9) + field(2, nanoseconds % 10**9)

    found = []
    for span in each_span(message):
        kind = {2: "server", 3: "client"}[span.kind]
        content = field(1, span.trace_id) + field(2, span.span_id) + field(3, span.name)
        if span.parent_span_id:
            content += field(4, field(1, span.trace_id) + field(2, span.parent_span_id))
        content += field(6, time(span.start_time_unix_nano))
        content += field(7, time(span.end_time_unix_nano - span.start_time_unix_nano))
        for key, value in {**tags_of(span), "span.kind": kind}.items():
            content += field(8, pair(key, value))
        for event in span.events:
            content += field(
                9, field(1, time(event.time_unix_nano)) + field(2, pair("event", event.name))
            )
        found.append(content + field(10, field(1, "shop")))
    return found


def jaeger_json(message: Any) -> list[bytes]:
    def time(nanoseconds: int) -> str:
        whole = datetime.fromtimestamp(nanoseconds // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{whole}.{nanoseconds % 10**9:09d}Z"

    found = []
    for span in each_span(message):
        ids = {
            "traceId": b64encode(span.trace_id).decode(),
            "spanId": b64encode(span.span_id).decode(),
        }
        took = span.end_time_unix_nano - span.start_time_unix_nano
        kind = {2: "server", 3: "client"}[span.kind]
        document = {
            **ids,
            "operationName": span.name,
            "startTime": time(span.start_time_unix_nano),
            "duration": f"{took // 10**9}.{took % 10**9:09d}s",
            "tags": [{"key": key, "vStr": value} for key, value in {**tags_of(span), "span.kind": kind}.items()],
            "logs": [{"timestamp": time(e.time_unix_nano), "fields": [{"key": "event", "vStr": e.name}]} for e in span.events],
            "process": {"serviceName": "shop"},
        }  # fmt: skip
        if span.parent_span_id:
            parent = b64encode(span.parent_span_id).decode()
            document["references"] = [{"traceId": ids["traceId"], "spanId": parent}]
        found.append(json.dumps(document).encode())
    return found


def zipkin_json(message: Any) -> bytes:
    found = []
    for span in each_span(message):
        begun = span.start_time_unix_nano // 1000
        document = {
            "traceId": span.trace_id.hex(), "id": span.span_id.hex(), "name": span.name,
            "kind": {2: "SERVER", 3: "CLIENT"}[span.kind], "timestamp": begun,
            "duration": span.end_time_unix_nano // 1000 - begun,
            "localEndpoint": {"serviceName": "shop"}, "tags": tags_of(span),
            "annotations": [{"timestamp": e.time_unix_nano // 1000, "value": e.name} for e in span.events],
        }  # fmt: skip
        if span.parent_span_id:
            document["parentId"] = span.parent_span_id.hex()
        found.append(document)
    return json.dumps(found).encode()


def zipkin_proto(message: Any) -> bytes:
    def time(number: int, microseconds: int) -> bytes:
        return encoded(number << 3 | 1) + microseconds.to_bytes(8, "little")

    found = b""
    for span in each_span(message):
        begun = span.start_time_unix_nano // 1000
        content = field(1, span.trace_id) + field(3, span.span_id) + field(5, span.name)
        if span.parent_span_id:
            content += field(2, span.parent_span_id)
        content += field(4, {2: 2, 3: 1}[span.kind]) + time(6, begun)
        content += field(7, span.end_time_unix_nano // 1000 - begun) + field(8, field(1, "shop"))
        for event in span.events:
            content += field(10, time(1, event.time_unix_nano // 1000) + field(2, event.name))
        for key, value in tags_of(span).items():
            content += field(11, field(1, key) + field(2, value))
        found += field(1, content)
    return found


WRITERS = {
    "otlp_proto": lambda message: message.SerializeToString(),
    "otlp_json": as_json,
    "jaeger_proto": jaeger_proto,
    "jaeger_json": jaeger_json,
    "zipkin_proto": zipkin_proto,
    "zipkin_json": zipkin_json,
}
GRAIN = {"zipkin_proto": 1000, "zipkin_json": 1000}
"""Nanoseconds of the times that a format has."""


def messages_of(encoding: str, message: Any) -> list[bytes]:
    written = WRITERS[encoding](message)
    return written if isinstance(written, list) else [written]


def decode(encoding, *values):
    return SPAN_DECODERS[encoding].decode(values, KEYS)


@pytest.mark.parametrize("encoding", SPAN_DECODERS)
def test_the_sdks_spans_are_read_as_it_has_them(encoding):
    spans, message = sdk_spans()
    decoded = decode(encoding, *messages_of(encoding, message))
    assert decoded.rejected == {}
    rows = {row["span"]: row for row in decoded.rows}
    assert len(decoded.rows) == len(rows) == len(spans)
    for span in spans:
        row = rows[span.context.span_id]
        assert int(row["trace_high"]) << 64 | int(row["trace_low"]) == span.context.trace_id
        assert row["parent"] == (span.parent.span_id if span.parent else 0)
        assert row["kind"] == {SpanKind.SERVER: 2, SpanKind.CLIENT: 3}[span.kind]
        assert row["status"] == span.status.status_code.value
        grain = GRAIN.get(encoding, 1)
        assert (row["begun"], row["ended"]) == tuple(
            time // grain * grain for time in (span.start_time, span.end_time)
        )
        assert row["valid"]
        whole = Span.FromString(decoded.buffer[row["start"] : row["end"]].tobytes())
        assert whole.name == span.name
        assert {pair.key: pair.value.string_value for pair in whole.attributes} == dict(
            span.attributes
        )
        assert [event.name for event in whole.events] == [event.name for event in span.events]
        resource = decoded.resources[row["resource"]]
        assert b"shop" in decoded.buffer[resource["start"] : resource["end"]].tobytes()


@pytest.mark.parametrize("encoding", SPAN_DECODERS)
@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b'{"resourceSpans": 5}', b"\x0a\xff", b"null"]
)
def test_what_is_not_of_the_format_is_rejected_alone(encoding, content):
    _, message = sdk_spans()
    good = messages_of(encoding, message)
    decoded = decode(encoding, *good, content, *good)
    assert set(decoded.rejected) <= {len(good)}
    assert len(decoded.rows) == 4
    assert len(good) not in decoded.rows["message"]


def one(**fields: Any) -> TracesData:
    data = TracesData()
    span = (
        data.resource_spans.add()
        .scope_spans.add()
        .spans.add(trace_id=bytes(range(16)), span_id=bytes(range(1, 9)), **fields)
    )
    span.attributes.add(key="http.route").value.string_value = "/a"
    return data


def test_only_what_identifies_an_operation_tells_it_from_another():
    def raw(data: TracesData) -> int:
        return int(decode("otlp_proto", data.SerializeToString()).rows["raw"][0])

    base = raw(one(name="a", kind=2))
    other = one(name="a", kind=2, start_time_unix_nano=5, parent_span_id=bytes(8))
    other.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="user").value.int_value = 4
    assert raw(other) == base
    different = one(name="a", kind=2)
    different.resource_spans[0].scope_spans[0].spans[0].attributes[0].value.string_value = "/b"
    of_another = one(name="a", kind=2)
    of_another.resource_spans[0].resource.attributes.add(key="service.name")
    failed = one(name="a", kind=2)
    failed.resource_spans[0].scope_spans[0].spans[0].status.code = 2
    assert (
        len(
            {
                base,
                *map(
                    raw,
                    (one(name="b", kind=2), one(name="a", kind=3), different, of_another, failed),
                ),
            }
        )
        == 6
    )


def backwards(content: bytes, depth: int) -> bytes:
    """Return a message with its fields in the opposite order, down to a depth, as pdata writes it."""
    fields, at = [], 0
    while at < len(content):
        begin = at
        tag, at = varint(content, at)
        if tag & 7 == 2:
            size, start = varint(content, at)
            inner = content[start : start + size]
            if depth and tag >> 3 in (1, 2, 9):
                inner = backwards(inner, depth - 1)
            fields.append(content[begin:start] + inner)
            at = start + size
        else:
            at = varint(content, at)[1] if tag & 7 == 0 else at + {1: 8, 5: 4}[tag & 7]
            fields.append(content[begin:at])
    return b"".join(reversed(fields))


def test_fields_may_come_in_any_order():
    _, message = sdk_spans()
    forwards = message.SerializeToString()
    turned = backwards(forwards, 2)  # spans before scope and resource, attributes backwards
    assert turned != forwards
    columns = ["trace_high", "span", "raw", "begun", "ended", "kind", "status"]
    rows = [
        np.sort(decode("otlp_proto", each).rows[columns], order="span")
        for each in (forwards, turned)
    ]
    assert (rows[0] == rows[1]).all()


@pytest.mark.parametrize(
    ("state", "threshold", "randomness"),
    [
        ("", -1, 0x090A0B0C0D0E0F),
        ("ot=th:8", 0x80000000000000, 0x090A0B0C0D0E0F),
        ("a=b, ot=rv:0123456789abcd;th:c4", 0xC4000000000000, 0x0123456789ABCD),
        ("ot=th:XYZ", -1, 0x090A0B0C0D0E0F),
        ("not=th:8,foo=th:8", -1, 0x090A0B0C0D0E0F),
        ("ot=p:8;th:0", 0, 0x090A0B0C0D0E0F),
    ],
)
def test_a_tracestate_tells_threshold_and_randomness(state, threshold, randomness):
    """As OpenTelemetry's "TraceState: Probability Sampling" has it; without ``rv`` it is the trace id's end."""
    row = decode("otlp_proto", one(trace_state=state).SerializeToString()).rows[0]
    assert (row["threshold"], row["randomness"]) == (threshold, randomness)


@given(st.binary(max_size=60), st.integers(0, 400))
@settings(max_examples=100, deadline=None)
def test_damaged_messages_never_raise(garbage, at):
    _, message = sdk_spans()
    content = message.SerializeToString()
    decoded = decode("otlp_proto", content[:at] + garbage + content[at:])
    for row in decoded.rows:
        assert 0 <= row["start"] <= row["end"] <= len(decoded.buffer) - 16
