"""Spans in Jaeger's layout: the documents are those that Jaeger itself makes, and it reads them back.

`jaeger_golden.json` is what Jaeger 1.76 made of `golden()`. With `HEADRACE_TEST_JAEGER=1` Jaeger's own
conversion is built, which takes minutes, and asked again; `python -m tests.sinks.test_jaeger` writes the file.
"""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

import httpx
import orjson
import polars as pl
import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status, TracesData

from flows.settings import ElasticsearchSection as Settings
from sinks.jaeger import JaegerElasticsearch, ensure_jaeger
from sinks.jaeger_documents import jaeger_documents, service_id
from sinks.otlp_encoding import encode_spans
from tests.backends.jaeger_model import peer
from tests.backends.process import UnavailableError
from tests.sinks.test_otlp import frame_of, span_row

BEGUN = 1_767_225_600_123_456_789
FLOATS = (
    0.0, -0.0, 3.0, -2.5, 0.1, 1e15, 1e16, 123456789012345680.0, 1e20, 1e21, 1e300, 5e-324, 1e-5, 1e-6,
    1e-7, 1.5e-7, 1e-10,
)  # fmt: skip
GOLDEN = Path(__file__).with_name("jaeger_golden.json")


def golden() -> pl.DataFrame:
    """Return spans with all that a span may have."""
    shop, bare = Resource(), Resource()
    shop.attributes.add(key="service.name").value.string_value = "shop"
    shop.attributes.add(key="host.name").value.string_value = "a"
    shop.attributes.add(key="pid").value.int_value = 2**62
    bare.attributes.add(key="host.name").value.string_value = "b"
    scope = InstrumentationScope(name="lib", version="1")
    full = Span(name="GET /cart", kind=Span.SPAN_KIND_SERVER, trace_state="x=1", flags=257)
    full.status.code, full.status.message = Status.STATUS_CODE_ERROR, "no room"
    for key, value in (("text", "ü<&>"), ("empty", ""), ("span.size", "7")):
        full.attributes.add(key=key).value.string_value = value
    full.attributes.add(key="http.response.status_code").value.int_value = 500
    full.attributes.add(key="ok").value.bool_value = True
    full.attributes.add(key="ratio").value.double_value = 0.1
    full.attributes.add(key="raw").value.bytes_value = b"\x00\xff"
    values = full.attributes.add(key="list").value.array_value.values
    values.add().string_value, values.add().int_value = "a<b", 3
    pairs = full.attributes.add(key="map").value.kvlist_value.values
    pairs.add(key="z").value.bool_value, pairs.add(key="b").value.double_value = True, 1.5
    event = full.events.add(name="exception", time_unix_nano=BEGUN + 5_000)
    event.attributes.add(key="exception.type").value.string_value = "Timeout"
    named = full.events.add(name="other", time_unix_nano=BEGUN + 7_999)
    named.attributes.add(key="event").value.string_value = "own"
    full.links.add(trace_id=b"\x07" * 16, span_id=b"\x08" * 8)
    full.links.add(trace_id=(2).to_bytes(16, "big"), span_id=(9).to_bytes(8, "big"))
    child = full.links.add(trace_id=b"\x06" * 16, span_id=b"\x05" * 8)
    child.attributes.add(key="opentracing.ref_type").value.string_value = "child_of"
    kinds = [
        Span(name=f"k{kind}", kind=kind, status=Status(code=kind % 3))  # type: ignore[arg-type]
        for kind in range(6)
    ]
    rows = []
    for number, (span, resource) in enumerate(
        [(Span(), Resource()), (full, shop), *((kind, bare) for kind in kinds), *odd()], start=1
    ):
        parent = 9 if number in (2, 4) else 0
        span.trace_id, span.span_id = number.to_bytes(16, "big"), number.to_bytes(8, "big")
        span.parent_span_id = parent.to_bytes(8, "big") if parent else b""
        ended = BEGUN + {9: 0, 10: -2_000_456_789}.get(number, 1_999_999)
        span.start_time_unix_nano, span.end_time_unix_nano = BEGUN, ended
        rows.append(
            span_row(
                number,
                begun=min(BEGUN, ended),  # as the flow has it
                ended=ended,
                parent_span_id=f"{9:016x}" if parent else "",
            )
            | {
                "span": span.SerializeToString(),
                "resource": resource.SerializeToString(),
                "scope": scope.SerializeToString() if number == 2 else b"",
                "threshold": 3 << 53 if number == 2 else 0,
            }
        )
    return frame_of(*rows)


def odd() -> list[tuple[Span, Resource]]:
    """Return spans with what a real Jaeger once answered otherwise for our documents than for its own."""
    odd, links, special = Span(name="odd"), Span(name="links"), Span(name="special")
    plain = Resource()
    plain.attributes.add(key="service.name").value.string_value = "plain"
    for text in ("first", "second"):  # each is found
        odd.attributes.add(key="twice").value.string_value = text
    odd.attributes.add(key="unset")
    odd.attributes.add().value.string_value = "no key"
    numbers = odd.attributes.add(key="numbers").value.array_value.values
    for place, number in enumerate(FLOATS):
        odd.attributes.add(key=f"float.{place}").value.double_value = number
        numbers.add().double_value = number
    odd.attributes.add(
        key="signs"
    ).value.array_value.values.add().string_value = "\u2028<\x01\b\x7f"
    odd.attributes.add(key="endless").value.array_value.values.add().double_value = float("nan")
    links.links.add(trace_id=bytes(16), span_id=bytes(8))
    typed = links.links.add(trace_id=b"\x06" * 16, span_id=b"\x05" * 8)
    typed.attributes.add(key="opentracing.ref_type").value.int_value = 5
    typed.attributes.add(key="opentracing.ref_type").value.string_value = "child_of"
    special.attributes.add(key="error").value.bytes_value = b"\x01"
    special.attributes.add(key="error").value.double_value = 2.5
    special.attributes.add(key="span.kind").value.string_value = "own"
    found = [(odd, plain), (links, plain), (special, plain)]
    for value in (
        AnyValue(double_value=1.0), AnyValue(bool_value=True), AnyValue(bytes_value=b"\xff"),
        AnyValue(int_value=5), AnyValue(), AnyValue(string_value=""), AnyValue(array_value=ArrayValue(values=[AnyValue(double_value=2)])),
    ):  # fmt: skip
        named = Resource()
        named.attributes.add(key="service.name").value.string_value = "before"
        named.attributes.add(key="service.name").value.CopyFrom(value)
        named.attributes.add(key="error").value.bool_value = True
        found.append((Span(name="a service of another type"), named))
        alone = Resource()
        alone.attributes.add(key="service.name").value.CopyFrom(value)
        found.append((Span(name="only that"), alone))
    return found


def in_order(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document in which the order of tags, and whether one is a field, does not matter."""
    found = {name: value for name, value in document.items() if name != "tag"}
    process = document["process"]
    found["tags"] = tags_in_order(document)
    found["process"] = {"serviceName": process["serviceName"], "tags": tags_in_order(process)}
    for name in ("references", "logs"):
        found[name] = document[name] or []
    return found


def tags_in_order(holder: dict[str, Any]) -> list[dict[str, Any]]:
    """Return tags, and what is a field; of fields of one name the last counts, and no type is told."""
    listed = list(holder["tags"] or [])
    fields = {key.replace("@", "."): value for key, value in holder.get("tag", {}).items()}
    for tag in list(listed):
        if tag["key"] in ("error", "span.kind") and tag["type"] != "binary":
            listed.remove(tag)
            fields[tag["key"]] = tag["value"]
    found = [*listed, *({"key": key, "value": value} for key, value in fields.items())]
    return sorted(found, key=lambda tag: str(tag["key"]))


def read(content: bytes | str) -> Any:
    """Return what JSON says; a number with a point or an exponent stays a text: 3 is not 3.0."""
    return json.loads(content, parse_float=str)


@pytest.fixture(scope="module")
def jaeger() -> Any:
    if not os.environ.get("HEADRACE_TEST_JAEGER"):
        pytest.skip("HEADRACE_TEST_JAEGER is not set: Jaeger takes minutes to build")
    try:
        peer.program()
    except UnavailableError as error:
        pytest.skip(str(error))
    return peer


def test_documents_are_those_that_jaeger_makes() -> None:
    ours = jaeger_documents(golden()).filter(pl.col("stream").str.contains("-span-"))
    found = {d["spanID"]: in_order(d) for d in map(read, ours["document"])}
    theirs = {d["spanID"]: in_order(d) for d in read(GOLDEN.read_bytes())}
    assert len(theirs) == golden().height
    assert found == theirs


def test_jaeger_still_makes_them(jaeger: Any) -> None:
    assert jaeger.documents(encode_spans(golden())) == GOLDEN.read_bytes()


def test_jaeger_reads_them_as_the_spans_that_they_were(jaeger: Any) -> None:
    frame = golden()
    ours = jaeger_documents(frame).filter(pl.col("stream").str.contains("-span-"))
    as_read = TracesData.FromString(jaeger.spans(f"[{','.join(ours['document'])}]"))
    again = TracesData.FromString(jaeger.spans(jaeger.documents(encode_spans(frame)).decode()))

    def by_id(data: TracesData) -> dict[bytes, Any]:
        found = {}
        for resource in data.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    for holder in (span, resource.resource):
                        attributes = sorted(holder.attributes, key=lambda pair: pair.key)
                        del holder.attributes[:]
                        holder.attributes.extend(attributes)
                    found[span.span_id] = resource.resource, scope.scope, span
        return found

    assert by_id(as_read) == by_id(again)
    span = by_id(as_read)[(2).to_bytes(8, "big")][2]
    assert (span.name, span.kind, span.parent_span_id) == ("GET /cart", 2, (9).to_bytes(8, "big"))
    assert (span.status.code, span.status.message) == (2, "no room")
    assert span.trace_state == "ot=th:6,x=1"


def test_services() -> None:
    documents = jaeger_documents(golden(), "team-")
    services = documents.filter(pl.col("stream") == "team-jaeger-service-2026-01-01")
    assert {"serviceName": "shop", "operationName": "GET /cart"} in [
        orjson.loads(text) for text in services["document"]
    ]
    assert services["id"].n_unique() == services.height == 19
    # The values that FNV's authors publish for 64 bits.
    assert service_id("", "") == "cbf29ce484222325"
    assert service_id("foo", "bar") == "85944171f73967e8"


def test_jaegers_queries_find_them(elasticsearch: str) -> None:
    """The queries of Jaeger's reader for a tag, a service, a time and a trace; and nothing is there twice."""
    prefix = f"{uuid.uuid4().hex[:8]}-"
    settings = Settings(hosts=(elasticsearch,), jaeger={"index_prefix": prefix})  # type: ignore[arg-type]
    assert len(ensure_jaeger(settings, prefix)) == 3
    assert ensure_jaeger(settings, prefix) == []
    sink = JaegerElasticsearch(settings)
    for _ in range(2):
        assert sink.write(jaeger_documents(golden(), prefix)) is None
    sink.close()
    day = "2026-01-01"
    for kind in ("span", "service"):
        httpx.post(f"{elasticsearch}/{prefix}jaeger-{kind}-{day}/_refresh").raise_for_status()
    for query, count in (
        ({"match_all": {}}, 25),
        ({"term": {"traceID": f"{2:032x}"}}, 1),
        ({"term": {"process.serviceName": "shop"}}, 1),
        ({"range": {"startTimeMillis": {"gte": BEGUN // 10**6 - 1, "lte": BEGUN // 10**6 + 1}}}, 25),
        ({"match": {"tag.span@kind": {"query": "server"}}}, 2),
        ({"nested": {"path": "tags", "query": {"bool": {"must": [
            {"match": {"tags.key": {"query": "span.size"}}}, {"regexp": {"tags.value": {"value": "7"}}},
        ]}}}}, 1),
    ):  # fmt: skip
        place = f"{elasticsearch}/{prefix}jaeger-span-{day}/_count"
        answer = httpx.post(place, json={"query": query}).json()
        assert answer["count"] == count, query
    names = httpx.post(
        f"{elasticsearch}/{prefix}jaeger-service-{day}/_search",
        json={"size": 0, "aggs": {"services": {"terms": {"field": "serviceName"}}}},
    ).json()
    found = {bucket["key"] for bucket in names["aggregations"]["services"]["buckets"]}
    assert "shop" in found


if __name__ == "__main__":
    GOLDEN.write_bytes(peer.documents(encode_spans(golden())))
