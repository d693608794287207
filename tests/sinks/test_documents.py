"""Anomalies, alerts, notifications and incidents as documents."""

from __future__ import annotations

import json

import polars as pl
import pytest

from operators.contracts.alert import alert_event, encode_event
from operators.contracts.frames import ALERT_EVENTS, DOCUMENTS
from sinks.documents import (
    ALERTS_KEPT,
    alert_documents,
    anomaly_documents,
    incident_documents,
    notification_documents,
)
from tests.operators.notifying.histories import history
from tests.sinks.samples import HISTOGRAM, MIDNIGHT, MINUTE, SECOND, scores

ANOMALY = {
    "series": 2**64 - 1, "name": "http.requests", "kind": "cumulative", "unit": "1",
    "labels": {"service.name": 'a "b"', "ü": "\n"}, "window": MINUTE, "count": 6, "rate": 12.5,
    "score": 2.5, "expected": 5.0, "lower": 2.0, "upper": 8.0, "detector": "robust_ewma",
    "revision": 1,
}  # fmt: skip


def test_an_anomaly_says_what_was_seen_and_what_was_expected() -> None:
    (row,) = anomaly_documents(scores(ANOMALY), "prod").iter_rows(named=True)
    assert row["stream"] == "anomalies-headrace-prod"
    assert json.loads(row["document"]) == {
        "@timestamp": "2026-11-23T00:00:00.000Z", "window_end": "2026-11-23T00:01:00.000Z",
        "tenant": "default", "series": "18446744073709551615", "metric": "http.requests",
        "unit": "1", "kind": "cumulative", "window": "1m", "revision": 1, "count": 6,
        "min": 0.25, "max": 0.75, "value": 12.5, "expected": 5.0, "lower": 2.0, "upper": 8.0,
        "score": 2.5, "detector": "robust_ewma", "labels": {"service.name": 'a "b"', "ü": "\n"},
    }  # fmt: skip


def test_only_anomalies_are_documents_and_a_gauge_is_judged_by_its_mean() -> None:
    frame = scores({"score": 0.99}, {"score": 1.0}, {"score": None}, {"score": 7.0, "rate": 3.0})
    documents = anomaly_documents(frame, "default")
    assert documents.schema == DOCUMENTS
    assert [json.loads(text)["value"] for text in documents["document"]] == [0.5, 0.5]
    assert anomaly_documents(frame[:1], "default").schema == DOCUMENTS
    assert anomaly_documents(frame[:0], "default").schema == DOCUMENTS


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("gauge", 0.5), ("delta", 3.0), ("cumulative", 3.0),
        ("delta_histogram", 0.5), ("cumulative_histogram", 0.5), ("summary", 0.5),
    ],
)  # fmt: skip
def test_the_value_is_what_was_judged(kind: str, value: float) -> None:
    frame = scores({"kind": kind, "mean": 0.5, "rate": 3.0, "score": 2.0})
    (text,) = anomaly_documents(frame, "default")["document"]
    assert json.loads(text)["value"] == value


def test_a_histogram_has_percentiles_and_what_it_lacks_is_left_out() -> None:
    looks_like_null = 'a "min":null, b'
    row = HISTOGRAM | {
        "score": 2.0,
        "detector": "robust_ewma",
        "name": looks_like_null,
        "labels": {"max": '"x":null,'},
    }
    (text,) = anomaly_documents(scores(row), "default")["document"]
    document = json.loads(text)
    assert (document["metric"], document["labels"]) == (looks_like_null, row["labels"])
    assert [document[name] for name in ("p50", "p90", "p95", "p99")] == [0.25, 1.5, 2.0, 4.5]
    assert document.keys().isdisjoint({"min", "max", "expected", "lower", "upper"})


def test_the_same_anomaly_has_the_same_id_and_any_other_another() -> None:
    others = [
        {}, {"series": 2}, {"window": 10 * SECOND}, {"window_start": MIDNIGHT + MINUTE},
        {"revision": 2},
    ]  # fmt: skip
    ids = anomaly_documents(scores(*(ANOMALY | other for other in others)), "x")["id"].to_list()
    assert len(set(ids)) == len(ids)
    assert anomaly_documents(scores(ANOMALY | {"score": 3.0}), "x")["id"].item() == ids[0]


def test_an_alert_is_its_event_at_the_time_of_the_change() -> None:
    event = alert_event(
        status="firing", kind="anomaly", labels={"alertname": "HighRate", "service": "a,b"},
        annotations={"summary": "x"}, starts_at=MIDNIGHT, ends_at=None, value=1.5,
        evidence={"recent": [1, 2, 3]},
    )  # fmt: skip
    row = {
        "id": event["id"], "fingerprint": event["fingerprint"], "status": "firing",
        "at": MIDNIGHT + 1_500_000, "event": encode_event(event),
    }  # fmt: skip
    documents = alert_documents(pl.DataFrame([row], schema=ALERT_EVENTS), "prod")
    assert documents.schema == DOCUMENTS
    (document,) = documents.iter_rows(named=True)
    assert (document["stream"], document["id"]) == ("alerts-headrace-prod", event["id"])
    assert json.loads(document["document"]) == event | {"@timestamp": "2026-11-23T00:00:00.001Z"}


def test_a_notification_says_how_many_fire_and_how_many_were_held_back() -> None:
    first = history().notifications[0]
    (row,) = notification_documents(first, "prod").iter_rows(named=True)
    assert row["stream"] == "notifications-headrace-prod"
    document, record = json.loads(row["document"]), json.loads(first)
    assert document["@timestamp"] == record["at"]
    assert (document["firing"], document["resolved"]) == (1, 0)
    assert document["alertnames"] == ["Slow"]
    assert "log" not in document
    many = record | {"alerts": record["alerts"] * 300, "held": {"a": "member", "b": "member"}}
    (row,) = notification_documents(json.dumps(many).encode(), "prod").iter_rows(named=True)
    document = json.loads(row["document"])
    assert (document["firing"], len(document["alerts"])) == (300, ALERTS_KEPT)
    assert (document["heldBack"], document["heldReasons"]) == (2, ["member"])


def test_an_incident_is_one_document_whatever_becomes_of_it() -> None:
    made = [incident_documents(change, "prod") for change in history().incidents]
    assert len(made) > 2
    assert len({row for one in made for row in one["id"]}) == 1
    last = json.loads(made[-1]["document"][0])
    assert (last["timeToAcknowledge"], last["timeToResolve"]) == (120.0, 600.0)
    assert "timeToAcknowledge" not in json.loads(made[0]["document"][0])


@pytest.mark.parametrize("value", [b"", b"[]", b"{}", b'{"schema": "headrace.notification/v1"}'])
def test_what_is_no_record_is_refused(value: bytes) -> None:
    for make in (notification_documents, incident_documents):
        with pytest.raises(ValueError, match=r"."):
            make(value, "prod")
