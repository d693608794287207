"""Documents in a real Elasticsearch, and what becomes of those it does not take."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from flows.settings import ElasticsearchSection as Settings
from operators.contracts.alert import alert_event, encode_event
from operators.contracts.clock import ManualClock
from operators.contracts.frames import ALERT_EVENTS, DOCUMENTS
from sinks.base import Unavailable
from sinks.documents import (
    alert_documents,
    anomaly_documents,
    incident_documents,
    notification_documents,
)
from sinks.elasticsearch import Elasticsearch
from sinks.elasticsearch_setup import check, ensure
from tests.backends.elasticsearch import ElasticsearchServer
from tests.conftest import running
from tests.operators.notifying.histories import history
from tests.sinks.samples import DAY, MIDNIGHT, MINUTE, scores

KINDS = ("anomalies", "alerts", "notifications", "incidents", "spans")


@pytest.fixture
def configuration(elasticsearch: str) -> Settings:
    return Settings(hosts=(elasticsearch,), namespace=uuid.uuid4().hex[:12])


def search(configuration: Settings, kind: str, **body: Any) -> Any:
    stream = f"{configuration.hosts[0]}/{kind}-headrace-{configuration.namespace}"
    httpx.post(f"{stream}/_refresh").raise_for_status()
    answer = httpx.post(f"{stream}/_search", json=body)
    answer.raise_for_status()
    return answer.json()


def template(configuration: Settings, kind: str) -> Any:
    name = f"headrace-{kind}-{configuration.namespace}"
    answer = httpx.get(f"{configuration.hosts[0]}/_index_template/{name}")
    return answer.json()["index_templates"][0]["index_template"]


def some(configuration: Settings, count: int = 3) -> pl.DataFrame:
    rows = ({"score": 2.0, "series": n} for n in range(count))
    return anomaly_documents(scores(*rows), configuration.namespace)


def test_without_setup_nothing_is_written_to_an_index_of_elasticsearchs_own_making(
    configuration: Settings,
) -> None:
    frame = some(configuration)
    for attempt in (
        lambda: Elasticsearch(configuration).write(frame),
        lambda: check(configuration),
    ):
        with pytest.raises(Unavailable, match=r"; run `headrace setup` to install the index temp"):
            attempt()
    assert httpx.head(f"{configuration.hosts[0]}/{frame['stream'][0]}").status_code == 404
    ensure(configuration)
    check(configuration)
    assert Elasticsearch(configuration).write(frame) is None


def test_anomalies_are_found_by_metric_label_and_score(configuration: Settings) -> None:
    ensure(configuration)
    rows = [
        {"series": n, "score": 1.0 + n, "labels": {"service.name": f"s{n % 2}"}} for n in range(6)
    ]
    Elasticsearch(configuration).write(anomaly_documents(scores(*rows), configuration.namespace))
    found = search(
        configuration, "anomalies",
        query={"bool": {"filter": [
            {"term": {"metric": "cpu.usage"}},
            {"term": {"labels.service.name": "s1"}},
            {"range": {"score": {"gte": 3}}},
            {"range": {"@timestamp": {"gte": "2026-11-23", "lt": "2026-11-24"}}},
        ]}},
        aggs={"services": {"terms": {"field": "labels.service.name"}}},
    )  # fmt: skip
    assert {hit["_source"]["series"] for hit in found["hits"]["hits"]} == {"3", "5"}
    assert found["aggregations"]["services"]["buckets"] == [{"key": "s1", "doc_count": 2}]


def test_alerts_are_found_by_label_and_text_whatever_their_evidence(
    configuration: Settings,
) -> None:
    ensure(configuration)
    rows = []
    for number, evidence in enumerate([{"a": 1}, {"a": {"b": "text"}}, {"a": [{"c": 2**60}]}]):
        event = alert_event(
            status="firing", kind="rule", labels={"alertname": f"A{number}"} | {
                f"label{n}": "x" for n in range(1200)
            }, annotations={"summary": "Disk nearly full"}, starts_at=MIDNIGHT, ends_at=None,
            value=None, evidence=evidence,
        )  # fmt: skip
        rows.append((event["id"], event["fingerprint"], "firing", MIDNIGHT, encode_event(event)))
    frame = pl.DataFrame(rows, schema=ALERT_EVENTS, orient="row")
    assert (
        Elasticsearch(configuration).write(alert_documents(frame, configuration.namespace)) is None
    )
    query = {"bool": {"must": [
        {"match": {"annotations.summary": "full disk"}}, {"term": {"labels.alertname": "A1"}}
    ]}}  # fmt: skip
    (hit,) = search(configuration, "alerts", query=query)["hits"]["hits"]
    assert hit["_id"] == frame["id"][1]
    assert hit["_source"]["evidence"] == {"a": {"b": "text"}}


def test_what_was_told_and_what_became_of_incidents_is_found(configuration: Settings) -> None:
    ensure(configuration)
    sink, played = Elasticsearch(configuration), history()
    told = [notification_documents(one, configuration.namespace) for one in played.notifications]
    assert sink.write(pl.concat([*told, *told])) is None  # what comes again is there once
    for change in played.incidents:
        assert sink.write(incident_documents(change, configuration.namespace)) is None
    found = search(
        configuration, "notifications", query={"term": {"outcome": "delivered"}},
        aggs={"names": {"terms": {"field": "alertnames"}}},
    )  # fmt: skip
    assert found["hits"]["total"]["value"] == played.delivered
    names = {bucket["key"] for bucket in found["aggregations"]["names"]["buckets"]}
    assert names == {"Slow", "Full"}
    held = search(configuration, "notifications", query={"term": {"heldReasons": "member"}})
    assert held["hits"]["total"]["value"] == 1
    (hit,) = search(configuration, "incidents")["hits"]["hits"]
    incident = hit["_source"]
    assert (incident["status"], incident["acknowledgedBy"]) == ("over", "ann")
    assert (incident["timeToAcknowledge"], incident["timeToResolve"]) == (120.0, 600.0)
    assert incident["rootLabels"]["service"] == "db"


def test_setup_says_what_it_did_and_does_it_once(configuration: Settings) -> None:
    names = [f"headrace-{kind}-{configuration.namespace}" for kind in KINDS]
    assert ensure(configuration) == [
        f"elasticsearch: installed index template {name}, kept 30d" for name in names
    ]
    assert ensure(configuration) == []
    Elasticsearch(configuration).write(some(configuration))
    shorter = configuration.model_copy(update={"retention": 7 * DAY})
    assert ensure(shorter)[0] == f"elasticsearch: installed index template {names[0]}, kept 7d"
    assert ensure(shorter) == []
    odd = configuration.model_copy(update={"retention": 90 * MINUTE})
    assert ensure(odd)[1] == f"elasticsearch: installed index template {names[1]}, kept 5400s"
    ensure(shorter)
    kept = template(configuration, "anomalies")
    assert kept["template"]["lifecycle"]["data_retention"] == "7d"
    assert kept["priority"] == 500
    assert kept["data_stream"] is not None


def test_what_operators_add_as_a_component_template_is_taken(configuration: Settings) -> None:
    url = configuration.hosts[0]
    custom = f"{url}/_component_template/anomalies-headrace@custom"
    httpx.put(custom, json={"template": {"settings": {"number_of_replicas": 0}}}).raise_for_status()
    try:
        ensure(configuration)
        Elasticsearch(configuration).write(some(configuration))
        stream = f"anomalies-headrace-{configuration.namespace}"
        (index,) = httpx.get(f"{url}/{stream}/_settings").json().values()
        assert index["settings"]["index"]["number_of_replicas"] == "0"
        httpx.delete(f"{url}/_index_template/headrace-anomalies-{configuration.namespace}")
    finally:
        httpx.delete(custom)


def test_a_label_too_long_to_be_searched_is_no_reason_to_refuse(configuration: Settings) -> None:
    ensure(configuration)
    row = {"score": 2.0, "labels": {"stack": "x" * 40_000, "b": ""}, "name": "n" * 40_000}
    assert Elasticsearch(configuration).write(
        anomaly_documents(scores(row), configuration.namespace)
    ) is None  # fmt: skip


def test_line_breaks_between_the_fields_of_a_document_do_no_harm(configuration: Settings) -> None:
    ensure(configuration)
    document = json.dumps({"@timestamp": "2026-11-23T00:00:00Z", "metric": "a\nb"}, indent=2)
    row = (f"anomalies-headrace-{configuration.namespace}", 'id "1"\n', document)
    frame = pl.DataFrame([row], schema=DOCUMENTS, orient="row")
    assert Elasticsearch(configuration).write(frame) is None
    (hit,) = search(configuration, "anomalies")["hits"]["hits"]
    assert (hit["_id"], hit["_source"]["metric"]) == ('id "1"\n', "a\nb")


@pytest.mark.parametrize("gzip", [False, True])
def test_a_frame_larger_than_a_request_is_sent_in_several(
    configuration: Settings, gzip: bool
) -> None:
    ensure(configuration)
    mine = configuration.model_copy(update={"batch_bytes": 1000, "gzip": gzip})
    assert Elasticsearch(mine).write(some(configuration, 50)) is None
    found = search(configuration, "anomalies", size=100)
    assert found["hits"]["total"]["value"] == 50


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A node that lets nobody in whom it does not know, and those it does not far."""
    settings = {
        "xpack.security.enabled": "true",
        "xpack.security.authc.anonymous.roles": "remote_monitoring_collector",
    }
    directory = tmp_path_factory.mktemp("elasticsearch")
    with running(ElasticsearchServer(directory, settings=settings)) as server:
        yield server.url


def test_credentials_that_are_wrong_or_may_not_write_are_waited_for(guarded: str) -> None:
    nobody = Settings(hosts=(guarded,))
    with pytest.raises(
        Unavailable, match=r": 403 .*the credentials of sinks.elasticsearch may not"
    ):
        Elasticsearch(nobody).write(some(nobody))
    wrong = Settings(hosts=(guarded,), username="me", password="s3cret")
    for attempt in (lambda: Elasticsearch(wrong).write(some(wrong)), lambda: check(wrong)):
        with pytest.raises(Unavailable, match=r": 401 .*; set sinks.elasticsearch.api_key") as it:
            attempt()
        assert "s3cret" not in str(it.value)


def roll_over(configuration: Settings, kind: str) -> None:
    stream = f"{kind}-headrace-{configuration.namespace}"
    httpx.post(f"{configuration.hosts[0]}/{stream}/_rollover").raise_for_status()


def found_scores(configuration: Settings) -> list[float]:
    hits = search(configuration, "anomalies", size=100)["hits"]["hits"]
    return sorted(hit["_source"]["score"] for hit in hits)


def judged(configuration: Settings, *scores_of: float) -> pl.DataFrame:
    rows = ({"score": score, "series": n} for n, score in enumerate(scores_of))
    return anomaly_documents(scores(*rows), configuration.namespace)


def test_a_document_that_comes_again_otherwise_takes_the_place_of_the_first(
    configuration: Settings,
) -> None:
    ensure(configuration)
    clock = ManualClock()
    destination = Elasticsearch(configuration, clock)
    destination.write(judged(configuration, 2.0, 3.0))
    clock.advance(1000)  # long after the start
    destination.write(judged(configuration, 2.0, 4.0, 5.0))
    assert found_scores(configuration) == [2.0, 4.0, 5.0]
    roll_over(configuration, "anomalies")
    Elasticsearch(configuration).write(judged(configuration, 6.0, 4.0))
    assert found_scores(configuration) == [4.0, 5.0, 6.0]


def test_what_is_written_again_after_a_rollover_is_there_once(configuration: Settings) -> None:
    ensure(configuration)
    Elasticsearch(configuration).write(judged(configuration, 2.0, 3.0))
    roll_over(configuration, "anomalies")
    Elasticsearch(configuration).write(judged(configuration, 2.0, 3.0, 4.0))  # after a restart
    assert found_scores(configuration) == [2.0, 3.0, 4.0]


def test_of_two_of_one_id_in_a_frame_the_last_counts(configuration: Settings) -> None:
    ensure(configuration)
    frames = [judged(configuration, score) for score in (2.0, 3.0)]
    Elasticsearch(configuration).write(pl.concat(frames))
    assert found_scores(configuration) == [3.0]


def at_server(server: HTTPServer, **others: Any) -> Settings:
    """For answers that the real server gives only in trouble that can't be made here.

    It has no document yet, as one that was never written to.
    """
    nothing = Response("{}", 404, {"X-Elastic-Product": "Elasticsearch"}, "application/json")
    server.expect_request("/s/_refresh").respond_with_response(nothing)
    return Settings(hosts=(server.url_for("").rstrip("/"),), **others)


def answer(*outcomes: dict[str, Any]) -> Response:
    bad = any(outcome["status"] >= 300 for outcome in outcomes)
    body = {"errors": bad, "items": [{"create": outcome} for outcome in outcomes]}
    return Response(
        json.dumps(body), 200,
        {"Content-Type": "application/json", "X-Elastic-Product": "Elasticsearch"},
    )  # fmt: skip


def ids(request: Request) -> list[str]:
    return [json.loads(line)["create"]["_id"] for line in request.data.splitlines()[::2]]


def test_only_what_an_overloaded_node_did_not_take_is_sent_again(httpserver: HTTPServer) -> None:
    full = {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "full"}}
    bad = {"status": 400, "error": {"type": "document_parsing_exception", "reason": "bad"}}
    requests: list[list[str]] = []

    def handle(request: Request) -> Response:
        requests.append(ids(request))
        if len(requests) == 1:
            return answer({"status": 201}, full, {"status": 409}, bad, full)
        if len(requests) == 2:
            return answer({"status": 201}, {"status": 201}, bad)
        return answer(*[{"status": 409}] * 5)

    httpserver.expect_request("/_bulk").respond_with_handler(handle)
    destination = Elasticsearch(at_server(httpserver))
    rows = [("s", str(n), "{}") for n in range(5)]
    frame = pl.DataFrame(rows, schema=DOCUMENTS, orient="row")
    with pytest.raises(Unavailable, match="429 es_rejected_execution_exception: full"):
        destination.write(frame)
    refused = destination.write(frame)
    assert requests == [["0", "1", "2", "3", "4"], ["1", "4", "3"]]
    assert refused is not None
    assert destination.restore(refused["payload"].to_list())["id"].to_list() == ["3"]
    destination.write(frame.clone())
    assert len(requests[2]) == 5


@pytest.mark.parametrize(
    "body",
    ["", "{}", "null", "[]", '{"items":null}', '{"items":[{}]}', '{"items":[{"create":{"status":201}}]}',
     '{"items":[{"create":{"sta'],
)  # fmt: skip
def test_an_answer_that_tells_too_little_is_none_and_all_is_sent_again(
    httpserver: HTTPServer, body: str
) -> None:
    headers = {"X-Elastic-Product": "Elasticsearch"}
    requests: list[list[str]] = []

    def handle(request: Request) -> Response:
        requests.append(ids(request))
        if len(requests) == 1:
            return Response(body, 200, headers, "application/json")
        return answer({"status": 409}, {"status": 201})

    httpserver.expect_request("/_bulk").respond_with_handler(handle)
    destination = Elasticsearch(at_server(httpserver))
    frame = pl.DataFrame([("s", "0", "{}"), ("s", "1", "{}")], schema=DOCUMENTS, orient="row")
    with pytest.raises(Unavailable, match=httpserver.host):
        destination.write(frame)
    assert destination.write(frame) is None
    assert requests == [["0", "1"], ["0", "1"]]


def test_what_went_to_a_failure_store_counts_as_refused(httpserver: HTTPServer) -> None:
    response = answer({"status": 201}, {"status": 201, "failure_store": "used"})
    httpserver.expect_request("/_bulk").respond_with_response(response)
    rows = [("s", "good", "{}"), ("s", "bad", "{}")]
    refused = Elasticsearch(at_server(httpserver)).write(
        pl.DataFrame(rows, schema=DOCUMENTS, orient="row")
    )
    assert refused is not None
    assert refused.height == 1
    assert "failure store" in refused["reason"].item()


def test_a_request_too_large_is_halved_and_a_document_too_large_refused(
    httpserver: HTTPServer,
) -> None:
    written: list[str] = []

    def handle(request: Request) -> Response:
        if len(request.data) > 300:
            return Response("too large", 413)
        written.extend(ids(request))
        return answer(*[{"status": 201}] * len(ids(request)))

    httpserver.expect_request("/_bulk").respond_with_handler(handle)
    rows = [("s", str(n), json.dumps({"text": "x" * (400 if n == 5 else 10)})) for n in range(20)]
    refused = Elasticsearch(at_server(httpserver)).write(
        pl.DataFrame(rows, schema=DOCUMENTS, orient="row")
    )
    assert refused is not None
    assert refused["reason"].item().endswith("413 412 bytes are more than http.max_content_length")
    assert sorted(written, key=int) == [str(n) for n in range(20) if n != 5]


def test_one_node_that_is_down_is_passed_over(elasticsearch: str) -> None:
    mine = Settings(hosts=("http://127.0.0.1:1", elasticsearch), namespace=uuid.uuid4().hex[:12])
    ensure(mine)
    destination = Elasticsearch(mine)
    for _ in range(3):
        assert destination.write(some(mine)) is None


def test_the_templates_are_part_of_the_package() -> None:
    from sinks import elasticsearch_setup  # noqa: PLC0415

    directory = Path(elasticsearch_setup.__file__).parent / "templates"
    assert {path.stem for path in directory.glob("*.json")} == set(
        elasticsearch_setup.kinds(logs=True)
    )
