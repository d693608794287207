"""Log records as documents: what Elasticsearch makes of them, what finds them, and each only once."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.settings import ElasticsearchSection as Settings
from operators.columns.text_column import text_column
from operators.contracts.clock import ManualClock
from operators.decoders.json.keys import doubtful_objects
from sinks.elasticsearch import Elasticsearch
from sinks.elasticsearch_setup import ensure
from sinks.log_documents import log_documents, log_stream
from tests.sinks.log_records import NOON, records


class Stream:
    """A data stream of its own."""

    def __init__(self, url: str) -> None:
        self.settings = Settings(hosts=(url,), namespace=uuid.uuid4().hex[:12])
        self.url = f"{url}/{log_stream(self.settings.namespace)}"
        ensure(self.settings, logs=True)

    def documents(self, frame: pl.DataFrame) -> pl.DataFrame:
        return log_documents(frame, self.settings.namespace)

    def write(self, frame: pl.DataFrame, sink: Elasticsearch | None = None) -> pl.DataFrame | None:
        return (sink or Elasticsearch(self.settings)).write(self.documents(frame))

    def roll_over(self) -> None:
        httpx.post(f"{self.url}/_rollover", timeout=60).raise_for_status()

    def hits(self, query: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        httpx.post(f"{self.url}/_refresh", timeout=60).raise_for_status()
        body = {"size": 1000, "query": query or {"match_all": {}}}
        answer = httpx.post(f"{self.url}/_search", json=body, timeout=60)
        found: list[dict[str, Any]] = answer.json()["hits"]["hits"]
        return found

    def bodies(self, **terms: object) -> list[str]:
        """Return the bodies of the documents in which fields have these values."""
        query = {
            "bool": {
                "filter": [{"term": {key.replace("__", "."): each}} for key, each in terms.items()]
            }
        }
        return sorted(hit["_source"]["body"]["text"] for hit in self.hits(query))


@pytest.fixture(scope="module")
def stream(elasticsearch: str) -> Stream:
    return Stream(elasticsearch)


@pytest.fixture
def empty_stream(elasticsearch: str) -> Stream:
    return Stream(elasticsearch)


def test_a_record_is_a_document_as_opentelemetry_lays_them_out() -> None:
    frame = records(
        {"ts": NOON + 123_456_789, "body": 'a "b"\n\\', "attributes": '{"a.b":1}', "scope": "lib",
         "trace_id": "ab" * 16, "span_id": "cd" * 8, "exception": "e" * 16, "marks": 3,
         "tenant": "acme"}
    )  # fmt: skip
    (row,) = log_documents(frame, "default").rows(named=True)
    assert row["stream"] == "logs-headrace.otel-default"
    assert row["id"] == f"raw-3-0-0-{NOON + 123_456_789}"
    assert orjson.loads(row["document"]) == {
        "@timestamp": "2026-01-01T12:00:00.123456789Z",
        "observed_timestamp": "2026-01-01T12:00:00.000000001Z",
        "severity_text": "INFO",
        "severity_number": 9,
        "trace_id": "ab" * 16,
        "span_id": "cd" * 8,
        "data_stream": {"type": "logs", "dataset": "headrace.otel", "namespace": "default"},
        "body": {"text": 'a "b"\n\\'},
        "attributes": {"a.b": 1},
        "resource": {"attributes": {"service.name": "shop"}},
        "scope": {"name": "lib"},
        "headrace": {"tenant": "acme", "template": "fffffffffffffffe", "shape": "fffffffffffffffe",
                     "exception": "e" * 16, "marks": ["no_time", "cut"]},
    }  # fmt: skip


def test_fields_of_all_kinds_are_four_documents(stream: Stream) -> None:
    """What is an object, a text or a number elsewhere: hard cases 5 and 6."""
    objects = [
        '{"user.id":1}', '{"user":"bob"}', '{"took":5}', '{"took":"5ms"}',
        '{"app":"x","app.kubernetes.io/name":"y"}', '{"http.response.status_code":"none"}',
        '{"list":[1,"a",{"b":[2]}],"list.b":true,"none":{},"nil":[]}',
    ]  # fmt: skip
    rows = [{"body": text, "attributes": text, "offset": 100 + n} for n, text in enumerate(objects)]
    assert stream.write(records(*rows)) is None
    assert stream.bodies(user="bob") == ['{"user":"bob"}']
    assert stream.bodies(user__id="1") == ['{"user.id":1}']
    assert stream.bodies(attributes__took="5ms") == ['{"took":"5ms"}']
    assert stream.bodies(**{"app.kubernetes.io/name": "y", "app": "x"}) == [objects[4]]
    there = {hit["_source"]["body"]["text"] for hit in stream.hits()}
    assert there >= set(objects)


def test_what_elasticsearch_would_refuse_is_stored_all_the_same(empty_stream: Stream) -> None:
    """Keys that are blank or there twice, times before 1970, a long text, many keys."""
    many = orjson.dumps({f"k{number}": number for number in range(2_000)}).decode()
    odd: list[dict[str, Any]] = [
        {"attributes": '{"":1}'}, {"attributes": '{" ":1}'}, {"attributes": '{"a":1,"a":{"b":2}}'},
        {"attributes": '{"\\u0061":1,"a":2}'}, {"attributes": '{"a..b":1,".c":2,"d.":3,".":4}'},
        {"attributes": '{"nul":"\\u0000"}'}, {"attributes": many},
        {"attributes": '{"long":"%s"}' % ("x" * 40_000)}, {"ts": -1}, {"ts": -1, "observed": 0},
        {"body": "x " * 60_000}, {"body": "\0\x1b"}, {"service": "by itself", "resource": ""},
        {"service": "odd", "resource": '{"":1,"host.name":2}'}, {"template": 0, "severity": 0, "severity_text": ""},
    ]  # fmt: skip
    stream = empty_stream
    rows = [{"offset": 200 + number} | row for number, row in enumerate(odd)]
    assert stream.write(records(*rows)) is None
    there = {hit["_id"].split("-")[2] for hit in stream.hits()}
    assert there >= {str(200 + number) for number in range(len(odd))}
    assert len(stream.bodies(service__name="by itself")) == 1
    assert len(stream.bodies(service__name="odd", host__name="2")) == 1


def test_who_asks_in_the_words_of_ecs_finds_them(stream: Stream) -> None:
    row = {
        "offset": 300, "body": "Payment refused by the bank", "severity": 17, "severity_text": "ERROR",
        "trace_id": "12" * 16, "attributes": '{"http.response.status_code":502,"service.name":"inner"}',
        "resource": '{"service.name":"pay","k8s.pod.name":"pay-1"}',
    }  # fmt: skip
    stream.write(records(row))
    found = stream.bodies(
        **{
            "log.level": "ERROR",
            "trace.id": "12" * 16,
            "k8s.pod.name": "pay-1",
            "service.name": "pay",
        }
    )
    assert found == [row["body"]]
    query = {"bool": {"must": [
        {"match_phrase": {"message": "refused by the bank"}},
        {"range": {"http.response.status_code": {"gte": 500}}},
        {"range": {"@timestamp": {"gte": "2026-01-01T12:00:00Z", "lt": "2026-01-01T12:00:01Z"}}},
    ]}}  # fmt: skip
    assert [hit["_source"]["body"]["text"] for hit in stream.hits(query)] == [row["body"]]


def test_the_same_poll_twice_around_a_rollover_is_each_document_once(empty_stream: Stream) -> None:
    stream, clock = empty_stream, ManualClock(NOON)
    sink = Elasticsearch(stream.settings, clock)
    rows = [{} for _ in range(20)]
    stream.write(records(*rows), sink)
    clock.advance(3600)  # sure of itself again
    stream.roll_over()
    stream.write(
        records(*rows[:15]), sink
    )  # unseen so far: what is new among them went to a new index
    stream.write(records(*rows, *rows), sink)
    stream.write(records(*rows), Elasticsearch(stream.settings))
    ids = [hit["_id"] for hit in stream.hits()]
    assert sorted(ids) == sorted(f"raw-3-{n}-0-{NOON}" for n in range(40))
    first = min(hit["_index"] for hit in stream.hits())
    assert sum(hit["_index"] == first for hit in stream.hits()) == 20


keys = st.text(st.sampled_from('ab \t"\\é.'), max_size=3)


@given(
    st.lists(
        st.lists(st.tuples(keys, st.one_of(st.integers(-5, 5), keys, st.just([1, {"a": 2}])))),
        min_size=1,
    )
)
def test_objects_are_doubtful_if_a_key_is_blank_escaped_or_there_twice(
    objects: list[list[tuple[str, Any]]],
) -> None:
    texts = [
        "{"
        + ",".join(f"{orjson.dumps(k).decode()}:{orjson.dumps(v).decode()}" for k, v in each)
        + "}"
        for each in objects
    ]
    expected = [
        len({k for k, _ in each}) < len(each)
        or any(not k.strip() or orjson.dumps(k) != b'"%b"' % k.encode() for k, _ in each)
        for each in objects
    ]
    assert doubtful_objects(*text_column(pl.Series(texts))).tolist() == expected
