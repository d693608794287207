"""An anomaly, from the topic to the alert event and to both databases."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import jsonschema
import polars as pl

from tests.backends.influxdb import InfluxdbAccess
from tests.flows.conftest import FlowFactory
from tests.flows.expectation import differences, from_points, series_key
from tests.flows.metrics_flow import ROOT, SCORE_FIELDS, MetricsFlow
from tests.flows.telemetry import SECOND, Point, encode, feed, records

BEGIN = 1_700_000_000 * SECOND
WINDOW = 10 * SECOND
CALM, STEP, AFTER = 40, 6, 30
"""Windows before, in and after the step; 20 are learned before any is judged."""

SCHEMA = json.loads((ROOT / "operators" / "contracts" / "alert.schema.json").read_text())


def points() -> Iterator[Point]:
    for window in range(CALM + STEP + AFTER):
        for number, service in enumerate(("calm", "stepping")):
            for part in range(5):
                usual = 50 + 3 * math.sin(1.3 * window + number) + 0.2 * part
                stepped = service == "stepping" and CALM <= window < CALM + STEP
                yield Point(
                    name="queue.length",
                    ts=BEGIN + window * WINDOW + part * 2 * SECOND,
                    value=usual + (100 if stepped else 0),
                    attributes={"queue": "mail"},
                    resource={"service.name": service},
                )


def test_a_step_fires_once_resolves_once_and_is_seen_in_both_databases(
    new_flow: FlowFactory, influxdb: InfluxdbAccess, elasticsearch: str
) -> None:
    flow = new_flow()
    flow.settings["scoring"] = {"detector": "robust_ewma"}
    flow.write_to_influxdb(influxdb)
    flow.write_to_elasticsearch(elasticsearch)
    given = list(points())
    feed(flow.kafka, flow.topic, [encode(given[at : at + 10]) for at in range(0, len(given), 10)])

    flow.run_to_the_end()

    firing, resolved = events = flow.alerts()
    for event, record in zip(events, records(flow.kafka, flow.topics["alerts"]), strict=True):
        jsonschema.validate(event, SCHEMA, format_checker=jsonschema.FormatChecker())
        assert record.key.decode() == event["fingerprint"]
    assert (firing["status"], resolved["status"]) == ("firing", "resolved")
    assert firing["fingerprint"] == resolved["fingerprint"]
    assert firing["labels"] == resolved["labels"] == {
        "alertname": "MetricAnomaly", "metric": "queue.length", "severity": "warning",
        "service.name": "stepping", "queue": "mail",
    }  # fmt: skip
    # 1,700,000,400 s is the start of the first window of the step, and 60 s later it is over.
    assert firing["startsAt"] == resolved["startsAt"] == "2023-11-14T22:20:00.000Z"
    assert firing["endsAt"] is None
    assert resolved["endsAt"] == "2023-11-14T22:21:00.000Z"

    check_influxdb(flow, given)
    check_elasticsearch(flow, events)

    flow.run_to_the_end(since="earliest")
    again = [record.value for record in records(flow.kafka, flow.topics["alerts"])[2:]]
    assert {json.loads(value)["id"] for value in again} == {event["id"] for event in events}
    check_influxdb(flow, given)
    check_elasticsearch(flow, events)


def stepping(rollups: pl.DataFrame) -> pl.DataFrame:
    tags = {"service.name": "stepping", "queue": "mail"}
    return rollups.filter(pl.col("series") == series_key("queue.length", tags)).sort("time")


def check_influxdb(flow: MetricsFlow, given: list[Point]) -> None:
    found = flow.rollups(scores=True)
    assert not differences(found, from_points(given, WINDOW))
    number = (pl.col("time") - BEGIN) // WINDOW
    judged = found.filter(number >= 20)
    for name in SCORE_FIELDS:
        assert found.filter(number < 20)[name].null_count() == 2 * 20
        assert judged[name].null_count() == 0
    anomalous = judged.filter(pl.col("score") >= 1)
    assert set(anomalous["series"]) == set(stepping(found)["series"])
    assert anomalous.select(number)["time"].to_list() == list(range(CALM, CALM + STEP))
    assert (anomalous["mean"] > anomalous["upper"]).all()


def check_elasticsearch(flow: MetricsFlow, events: list[dict[str, object]]) -> None:
    anomalies = flow.documents("anomalies")
    scored = stepping(flow.rollups(scores=True)).filter(pl.col("score") >= 1)
    assert len(anomalies) == STEP
    assert sorted(document["score"] for document in anomalies) == sorted(scored["score"])
    assert sorted(document["value"] for document in anomalies) == sorted(scored["mean"])
    for document in anomalies:
        assert document["metric"] == "queue.length"
        assert document["labels"] == {"service.name": "stepping", "queue": "mail"}
        assert document["window"] == "10s"
    alerts = flow.documents("alerts")
    assert sorted(document["_id"] for document in alerts) == sorted(
        str(event["id"]) for event in events
    )
    assert sorted(document["status"] for document in alerts) == ["firing", "resolved"]


def test_a_service_that_falls_silent_is_an_alert_though_none_of_its_values_was_odd(
    new_flow: FlowFactory,
) -> None:
    """Two services send a constant for 40 minutes, and one of them for 20 more."""
    flow = new_flow()
    flow.settings["scoring"] = {}
    given = [
        Point("up", BEGIN + at * SECOND, 1.0, resource={"service.name": service})
        for at in range(0, 3_600, 10)
        for service in ("lives", "dies")
        if service == "lives" or at < 2_400
    ]
    feed(flow.kafka, flow.topic, [encode(given[at : at + 60]) for at in range(0, len(given), 60)])
    flow.run_to_the_end("-w", "2")
    (event,) = flow.alerts()
    jsonschema.validate(event, SCHEMA, format_checker=jsonschema.FormatChecker())
    assert event["labels"] == {
        "alertname": "ServiceSilent", "severity": "warning", "service.name": "dies",
    }  # fmt: skip
    assert event["annotations"]["summary"] == "dies sends nothing any more, after 1 series"
    # 40 minutes after 1,700,000,000 s.
    assert (event["startsAt"], event["status"]) == ("2023-11-14T22:53:20.000Z", "firing")
