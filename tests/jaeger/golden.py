"""The golden set: traces with all that a span may have, each under a name that says what is odd in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from google.protobuf.message import Message
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from tests.operators.traces.shop import (
    BEGIN,
    CLIENT,
    CONSUMER,
    INTERNAL,
    PRODUCER,
    SECOND,
    SERVER,
    Call,
    otlp,
    shop,
)

__all__ = ["OTHER_TENANT", "GoldenTrace", "as_sent", "beyond_set", "golden_set", "shop_calls"]

MILLISECOND = 1_000_000
_DAY = 86_400 * SECOND
_NO_TEXT = b"a\xff\xe2\x82b\xed\xa0\x80"
_STAND_IN = b"no UTF-8"
"""Is sent as bytes that are no UTF-8, as many."""


class GoldenTrace:
    """A trace, span by span.

    Args:
        name: what is odd in it.
        number: its id.
        begun: when it began.
        tenant: whose it is; empty for the default one.
    """

    def __init__(self, name: str, number: int, begun: int, tenant: str = "") -> None:
        self.name, self.number, self.begun, self.tenant = name, number, begun, tenant
        self.data = TracesData()

    @property
    def id(self) -> str:
        """The id as Jaeger writes it."""
        return f"{self.number:032x}"

    @property
    def ended(self) -> int:
        """When the last span ended."""
        return max(span.end_time_unix_nano for span in self.spans())

    def message(self) -> bytes:
        """Return the message as it is sent."""
        return as_sent(self.data)

    def spans(self) -> list[Span]:
        """Return the spans."""
        return [s for r in self.data.resource_spans for c in r.scope_spans for s in c.spans]

    def span(
        self,
        number: int,
        parent: int = 0,
        *,
        name: str = "op",
        kind: int = SERVER,
        at: int = 0,
        took: int = MILLISECOND,
        service: Any = "golden",
        resource: Mapping[str, Any] | None = None,
        scope: tuple[str, str] = ("", ""),
        attributes: Iterable[tuple[str, Any]] = (),
    ) -> Span:
        """Add a span and return it; ``at`` counts from the trace's begin, in nanoseconds."""
        group = self.data.resource_spans.add()
        if service is not None:
            _put(group.resource.attributes.add(key="service.name").value, service)
        for key, value in (resource or {}).items():
            _put(group.resource.attributes.add(key=key).value, value)
        scoped = group.scope_spans.add()
        scoped.scope.name, scoped.scope.version = scope
        span = scoped.spans.add(
            trace_id=self.number.to_bytes(16, "big"),
            span_id=number.to_bytes(8, "big"),
            parent_span_id=parent.to_bytes(8, "big") if parent else b"",
            name=name,
            kind=kind,
            start_time_unix_nano=self.begun + at,
            end_time_unix_nano=max(self.begun + at + took, 0),
        )
        for key, value in attributes:
            _put(span.attributes.add(key=key).value, value)
        return span


def as_sent(message: Message) -> bytes:
    """Return a message in protobuf, with texts that are no UTF-8 where there should be such."""
    return message.SerializeToString().replace(_STAND_IN, _NO_TEXT)


def _put(target: AnyValue, value: Any) -> None:
    match value:
        case None:
            pass
        case bool():
            target.bool_value = value
        case int():
            target.int_value = value
        case float():
            target.double_value = value
        case str():
            target.string_value = value
        case bytes():
            target.bytes_value = value
        case list():
            target.array_value.SetInParent()
            for each in value:
                _put(target.array_value.values.add(), each)
        case dict():
            target.kvlist_value.SetInParent()
            for key, each in value.items():
                _put(target.kvlist_value.values.add(key=key).value, each)


def _types(trace: GoldenTrace) -> None:
    trace.span(
        1,
        scope=("lib", "1.2"),
        attributes=[
            ("text", 'ü<&>"\\\n\u2028\x7f'), ("empty", ""), ("digits", "7"), ("no", False), ("yes", True),
            ("zero", 0), ("least", -(2**63)), ("most", 2**63 - 1), ("beyond.2**53", 2**53 + 1),
            ("raw", b"\x00\xff"), ("no.bytes", b""), ("unset", None),
            ("app.user", "a"), ("app.user.id", 7), ("UPPER", "Mixed Case"),
        ],
        resource={"host.name": "a", "pid": 2**62, "ratio": 3.0, "list": [1, "x"], "ip": 2130706433},
    )  # fmt: skip


def _floats(trace: GoldenTrace) -> None:
    values = [
        0.0, -0.0, 1.0, 3.0, -2.5, 0.1, 1e15, 1e16, 123456789012345680.0, 1e20, 1e21, 1e22, 1e300,
        5e-324, 1e-5, 1e-6, 1e-7, 1.5e-7, 1e-10, 1e-300, 1.7976931348623157e308, 2.0**63,
    ]  # fmt: skip
    trace.span(1, attributes=[(f"float.{n}", value) for n, value in enumerate(values)])
    trace.span(2, 1, kind=INTERNAL, attributes=[("all", values), ("one", {"f": 3.0, "g": 1e-7})])


def _nested(trace: GoldenTrace) -> None:
    trace.span(
        1,
        attributes=[
            ("no.items", []), ("no.pairs", {}), ("mixed", ["a<b", 3, True, None, 1.5, b"\x01", []]),
            ("map", {"z": {"y": [1, {"x": "é"}]}, "a": "&", "B": None, "": "no key"}),
            ("signs", ["\u2028\u2029\x00\x08\x0c\x1f\x7f\"\\/"]), ("wide", [2**63 - 1, -(2**63)]),
        ],
    )  # fmt: skip


def _twice(trace: GoldenTrace) -> None:
    """A key that stands twice, which OpenTelemetry forbids and producers send."""
    span = trace.span(
        1, attributes=[("twice", "first"), ("between", "x"), ("twice", "second"), ("", "no key")]
    )
    event = span.events.add(name="e", time_unix_nano=trace.begun + 5)
    for value in ("one", "two"):
        _put(event.attributes.add(key="twice").value, value)


def _long(trace: GoldenTrace) -> None:
    trace.span(
        1,
        name="n" * 300,
        attributes=[("at.limit", "x" * 256), ("beyond", "y" * 257), ("huge", "z" * 40_000), ("k" * 300, "v")],
    )  # fmt: skip


def _special_keys(trace: GoldenTrace) -> None:
    """Attributes under names that Jaeger itself gives a meaning."""
    trace.span(1, attributes=[("error", "timeout"), ("span.kind", "odd")])
    trace.span(2, 1, kind=0, attributes=[("error", False), ("span.kind", "client")])
    trace.span(3, 1, kind=0, attributes=[("error", True), ("otel.status_code", "OK")])
    trace.span(4, 1, kind=0, attributes=[("error", 1), ("w3c.tracestate", "a=1")])
    trace.span(5, 1, attributes=[("error", b"\x01"), ("otel.scope.name", "own"), ("otel.scope.version", "2")])  # fmt: skip
    trace.span(6, 1, attributes=[("error", 2.0), ("otel.status_description", "said")])
    trace.span(7, 1, attributes=[("span.kind", [1]), ("error", None), ("tag", "x"), ("event", "y")])
    trace.span(
        8, 1, kind=CLIENT, attributes=[("http.response.status_code", 404), ("peer.ipv4", 16909060)]
    )
    trace.span(
        9, 1, resource={"error": "x", "span.kind": "server", "ip": 1, "otel.scope.name": "r"}
    )
    trace.span(10, 1, resource={"error": True, "span.kind": 3})


def _statuses(trace: GoldenTrace) -> None:
    number = 0
    for kind in range(6):
        for code in range(3):
            number += 1
            span = trace.span(number, 1 if number > 1 else 0, name=f"k{kind}", kind=kind)
            span.status.code = code  # type: ignore[assignment]
            span.status.message = f"m{code}" if kind % 2 else ""
    trace.span(19, 1, kind=9, name="a kind to come").status.code = 7  # type: ignore[assignment]


def _links(trace: GoldenTrace) -> None:
    trace.span(1)
    span = trace.span(2, 1, kind=INTERNAL)
    own = trace.number.to_bytes(16, "big")
    span.links.add(trace_id=b"\x07" * 16, span_id=b"\x08" * 8, trace_state="a=1")
    span.links.add(trace_id=(2).to_bytes(16, "big"), span_id=(9).to_bytes(8, "big"))
    child = span.links.add(trace_id=b"\x06" * 16, span_id=b"\x05" * 8)
    _put(child.attributes.add(key="opentracing.ref_type").value, "child_of")
    again = trace.span(3, 1)
    again.links.add(trace_id=own, span_id=(1).to_bytes(8, "big"))
    named = trace.span(4, 1)
    link = named.links.add(trace_id=own, span_id=(1).to_bytes(8, "big"))
    _put(link.attributes.add(key="opentracing.ref_type").value, "child_of")
    typed = trace.span(5, 1).links.add(trace_id=b"\x06" * 16, span_id=b"\x05" * 8)
    _put(typed.attributes.add(key="opentracing.ref_type").value, 5)
    _put(typed.attributes.add(key="opentracing.ref_type").value, "child_of")
    trace.span(7, 1).links.add(trace_id=bytes(16), span_id=bytes(8))
    trace.span(8, 1).links.add(trace_id=b"\x07" * 16)
    root = trace.span(6)
    _put(
        root.links.add(trace_id=own, span_id=(1).to_bytes(8, "big"))
        .attributes.add(key="opentracing.ref_type")
        .value,
        "child_of",
    )


def _events(trace: GoldenTrace) -> None:
    span = trace.span(1)
    for name, after, attributes in (
        ("exception", 5_000, {"exception.type": "Timeout", "escaped": False}),
        ("other", 7_999, {"event": "own"}),
        ("", 9_001, {"n": 1.0}),
        ("", 9_500, {}),
        ("number", 9_700, {"event": 3}),
        ("before", -4_000, {"raw": b"\x01", "list": ["a", 2.0], "none": None}),
    ):
        event = span.events.add(name=name, time_unix_nano=trace.begun + after)
        for key, value in attributes.items():
            _put(event.attributes.add(key=key).value, value)


def _states(trace: GoldenTrace) -> None:
    for number, state in enumerate(
        ("x=1", "ot=th:8", "vendor=1,ot=rv:12345678901234;th:c", "a=1, b=2", "ot=th:0", "odd"), 1
    ):
        span = trace.span(number, 1 if number > 1 else 0)
        span.trace_state, span.flags = state, (257, 1, 0, 3, 2**31 - 1, 256)[number - 1]


def _skew(trace: GoldenTrace) -> None:
    """Clocks that differ: children before their parents, and after them."""
    trace.span(1, took=100 * MILLISECOND, kind=CLIENT, resource={"host.name": "a"})
    other = {"host.name": "b"}
    trace.span(2, 1, at=-3 * SECOND, took=50 * MILLISECOND, service="other", resource=other)
    trace.span(3, 2, at=-3 * SECOND + 5, took=200 * MILLISECOND, service="other", resource=other)
    trace.span(4, 1, at=40 * SECOND, took=50 * MILLISECOND, service="far", resource=other)
    trace.span(5, 77, at=5, service="lost")  # its parent is not there
    trace.span(6, 1, at=1_999, took=1_001, kind=INTERNAL)


def _durations(trace: GoldenTrace) -> None:
    for number, took in enumerate((10 * SECOND, 0, 1, 999, 1_000, 1_999, 500 * MILLISECOND), 1):
        trace.span(number, 1 if number > 1 else 0, at=number * 7, took=took, name=f"took {took}")


def _backwards(trace: GoldenTrace) -> None:
    """A span that ends before it begins; one that has no end at all the flow refuses."""
    trace.span(1, took=20 * MILLISECOND)
    trace.span(2, 1, at=5 * MILLISECOND, took=-2 * MILLISECOND)


def _zipkin(trace: GoldenTrace) -> None:
    """Client and server of a call under one id."""
    trace.span(1, service="front", took=9 * MILLISECOND)
    trace.span(2, 1, kind=CLIENT, service="front", at=10, took=5 * MILLISECOND)
    trace.span(2, 1, kind=SERVER, service="back", at=900, took=3 * MILLISECOND)
    trace.span(3, 2, kind=INTERNAL, service="back", at=1_000)


def _services(trace: GoldenTrace) -> None:
    """Names of services that are no plain text."""
    for number, service in enumerate(
        (
            "plain", "Ünï/code & more", 5, 1.0, True, b"\x01\xff", ["a", 1.0], {"k": 1e-7}, "", "s" * 300,
            None, 2.5e21, "a b",
        ),
        1,
    ):  # fmt: skip
        more = {"host.name": "h"} if service is None else {}
        trace.span(
            number, 1 if number > 1 else 0, service=service, resource=more, name="GET /ü?a=b&c"
        )
    trace.span(90, 1, service=None)
    twice = trace.span(91, 1, service="first")
    group = next(r for r in trace.data.resource_spans if twice in r.scope_spans[0].spans)
    _put(group.resource.attributes.add(key="service.name").value, "last")
    trace.span(92, 1, service="golden", name="")


def _many(trace: GoldenTrace) -> None:
    trace.span(1, took=SECOND, name="batch")
    for number in range(2, 1_500):
        trace.span(
            number, number // 2, at=number * 100_000, name=f"part {number % 7}", kind=INTERNAL
        )


def _repeated(trace: GoldenTrace) -> None:
    """Spans that are sent twice."""
    for _ in range(2):
        trace.span(1, name="again", attributes=[("k", "v")])
        trace.span(2, 1, name="inner", kind=CLIENT)


def _messages(trace: GoldenTrace) -> None:
    """A producer whose message has two receivers, which link to it."""
    trace.span(1, kind=PRODUCER, service="sender", attributes=[("messaging.destination.name", "q")])
    for number in (2, 3):
        span = trace.span(number, 1, kind=CONSUMER, service=f"receiver {number}", at=MILLISECOND)
        span.links.add(trace_id=trace.number.to_bytes(16, "big"), span_id=(1).to_bytes(8, "big"))


def _no_text(trace: GoldenTrace) -> None:
    """Texts that are not UTF-8."""
    text = _STAND_IN.decode()
    span = trace.span(1, resource={"text": text}, attributes=[("text", text), ("after", "x")])
    span.events.add(name=text, time_unix_nano=trace.begun)
    trace.span(2, 1, name=text, service=text, attributes=[("inside", [text])])


def _midnight(trace: GoldenTrace) -> None:
    """On two days, so in two indices."""
    trace.span(1, took=200 * MILLISECOND, name="yesterday")
    trace.span(2, 1, at=60 * MILLISECOND, took=100 * MILLISECOND, name="today", kind=INTERNAL)


_CASES: tuple[tuple[Callable[[GoldenTrace], None], int], ...] = (
    (_types, 0x0123456789ABCDEF_0123456789ABCDEF),
    (_floats, 0xF123456789ABCDEF_0000000000000001),
    (_nested, 0x00000000000000AB_0000000000000002),
    (_twice, 3),
    (_long, 0x0000000000000000_F000000000000004),
    (_special_keys, 0x00FF << 112 | 5),
    (_statuses, 0x1111 << 112 | 6),
    (_links, 0x2222 << 112 | 7),
    (_events, 0x3333 << 112 | 8),
    (_states, 0x4444 << 112 | 9),
    (_skew, 0x5555 << 112 | 10),
    (_durations, 0x6666 << 112 | 11),
    (_backwards, 0xEEEE << 112 | 20),
    (_zipkin, 12),
    (_services, 0x7777 << 112 | 13),
    (_many, 0x8888 << 112 | 14),
    (_repeated, 0x9999 << 112 | 15),
    (_messages, 0xAAAA << 112 | 16),
)
OTHER_TENANT = "team-b"


def golden_set(now: int) -> list[GoldenTrace]:
    """Return the traces in the order of their ends, all of the last two days.

    Args:
        now: nanoseconds since 1970.
    """
    midnight = now - now % _DAY
    found = [GoldenTrace("midnight", 0xBBBB << 112 | 17, midnight - 50 * MILLISECOND)]
    _midnight(found[0])
    begun = now - 900 * SECOND
    for number, (make, trace_id) in enumerate(_CASES):
        trace = GoldenTrace(make.__name__[1:], trace_id, begun + number * SECOND + 123_456_789)
        make(trace)
        found.append(trace)
    for tenant, number in (("", 1), (OTHER_TENANT, 2)):
        # The same ids of spans and services in two tenants.
        trace = GoldenTrace("tenants", 0xCCCC << 112 | 18 + number, begun + number * SECOND, tenant)
        trace.span(1, name="of both", attributes=[("whose", tenant)])
        trace.span(2, 1, kind=CLIENT, name=f"of {number}", at=number * 1000)
        found.append(trace)
    alone = GoldenTrace("tenant alone", 0xDDDD << 112 | 19, begun, OTHER_TENANT)
    alone.span(1, service="of team-b")
    found.append(alone)
    calls: dict[int, list[Call]] = {}
    for call in shop_calls(now):
        calls.setdefault(call.trace, []).append(call)
    for number, of_trace in calls.items():
        trace = GoldenTrace("shop", number, min(call.begun for call in of_trace))
        trace.data.ParseFromString(otlp(of_trace))
        found.append(trace)
    return sorted(found, key=lambda trace: trace.ended)


def beyond_set(now: int) -> list[GoldenTrace]:
    """Return traces that Jaeger's collector takes and does not keep, or not as they are."""
    endless = GoldenTrace("endless numbers", 0x1234 << 112 | 1, now - 60 * SECOND)
    endless.span(1, attributes=[("nan", math.nan), ("inside", [math.inf]), ("after", "x")])
    texts = GoldenTrace("texts that are not UTF-8", 0x1234 << 112 | 3, now - 40 * SECOND)
    _no_text(texts)
    return [endless, texts]


def shop_calls(now: int) -> list[Call]:
    """Return calls of a shop in the last minutes: failures, databases, messages and a third party."""
    shift = now - 600 * SECOND - BEGIN
    return [
        replace(call, begun=call.begun + shift, ended=call.ended + shift)
        for call in shop(13, 100, seconds=120)
    ]
