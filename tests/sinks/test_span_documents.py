"""Spans as documents: what the SDK made of them, whatever is in their attributes."""

import uuid

import httpx
import orjson
import polars as pl
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from flows.settings import ElasticsearchSection as Settings
from operators.contracts.frames import SPANS
from sinks.elasticsearch import Elasticsearch
from sinks.elasticsearch_setup import ensure
from sinks.jaeger_documents import jaeger_documents
from sinks.span_documents import span_documents

BEGUN = 1_767_225_600_123_456_789


def spans() -> pl.DataFrame:
    """Return two spans, one with all that a document could be refused for, and the first once more."""
    plain = Span(name="GET /cart/7", start_time_unix_nano=BEGUN, trace_state="ot=th:8")
    plain.attributes.add(key="http.route").value.string_value = "/cart/{id}"
    plain.events.add(name="retry", time_unix_nano=BEGUN + 5).attributes.add(
        key="n"
    ).value.int_value = 2
    odd = Span(name="x" * 40_000)
    for value in ("a", "b"):
        odd.attributes.add(key="twice").value.string_value = value
    odd.attributes.add(key="app.user").value.string_value = "u"
    odd.attributes.add(key="app.user.id").value.int_value = 2**63 - 1
    odd.attributes.add(key="nan").value.double_value = float("nan")
    odd.attributes.add(key="long").value.string_value = "y" * 40_000
    odd.attributes.add(key="list").value.array_value.values.add().double_value = float("inf")
    resource = Resource()
    resource.attributes.add(key="service.name").value.string_value = "shop"
    rows = [
        {"tenant": "t", "trace_id": f"{n:032x}", "span_id": f"{n:016x}", "parent_span_id": "", "service": "shop",
         "operation": "GET /cart/*", "kind": 2, "status": 2 * (n == 2), "begun": BEGUN, "ended": BEGUN + 90,
         "threshold": 1 << 55, "reason": "rest", "span": span.SerializeToString(),
         "resource": resource.SerializeToString(), "scope": b""}
        for n, span in ((1, plain), (2, odd), (1, plain))
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=SPANS)


def test_a_document_says_what_the_span_says():
    documents = span_documents(spans(), "default")
    assert documents["id"][0] == documents["id"][2] != documents["id"][1]
    assert set(documents["stream"]) == {"spans-headrace-default"}
    assert orjson.loads(documents["document"][0]) == {
        "@timestamp": "2026-01-01T00:00:00.123456789Z",
        "tenant": "t",
        "trace_id": f"{1:032x}",
        "span_id": f"{1:016x}",
        "service": "shop",
        "name": "GET /cart/7",
        "operation": "GET /cart/*",
        "kind": "Server",
        "status": "Unset",
        "duration": 90,
        "attributes": {"http.route": "/cart/{id}"},
        "events": [
            {
                "@timestamp": "2026-01-01T00:00:00.123456794Z",
                "name": "retry",
                "attributes": {"n": 2},
            }
        ],
        "trace_state": "ot=th:8",
        "reason": "rest",
        "adjusted_count": 2.0,
        "resource": {"service.name": "shop"},
    }


def test_no_span_is_refused(elasticsearch: str):
    settings = Settings(hosts=(elasticsearch,), namespace=uuid.uuid4().hex[:12])
    ensure(settings)
    sink = Elasticsearch(settings)
    assert sink.write(span_documents(spans(), settings.namespace)) is None
    sink.close()
    stream = f"{elasticsearch}/spans-headrace-{settings.namespace}"
    httpx.post(f"{stream}/_refresh").raise_for_status()
    for query, count in (
        ({"match_all": {}}, 2),
        ({"term": {"trace_id": f"{1:032x}"}}, 1),
        ({"term": {"attributes.http.route": "/cart/{id}"}}, 1),
        ({"term": {"attributes.app.user": "u"}}, 1),
        ({"term": {"status": "Error"}}, 1),
    ):
        answer = httpx.post(f"{stream}/_count", json={"query": query}).json()
        assert answer["count"] == count, query


def test_tenants_with_one_trace_id_share_no_document():
    both = pl.concat([spans(), spans().with_columns(tenant=pl.lit("other"))])
    for documents in (span_documents(both, "default"), jaeger_documents(both)):
        of_spans = documents.filter(~pl.col("stream").str.contains("service"))
        assert of_spans["id"].n_unique() == 4
