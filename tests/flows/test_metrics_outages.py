"""Backends that go away while the flow runs: it waits for them, and nothing is lost or doubled."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Iterator

import polars as pl

from bench.load import Load
from tests.backends.elasticsearch import ElasticsearchServer
from tests.backends.influxdb import InfluxdbAccess, InfluxdbServer
from tests.backends.kafka import KafkaServer
from tests.backends.process import Server
from tests.flows.conftest import FlowFactory
from tests.flows.expectation import differences, from_load
from tests.flows.metrics_flow import MetricsFlow, Process
from tests.flows.telemetry import SECOND, Feeder, Point, encode, feed

PARTITIONS = 4
OUTAGE = float(os.environ.get("HEADRACE_TEST_OUTAGE", "6"))
"""Seconds."""
LOAD = Load(series=800, seconds=round(45 * (OUTAGE + 6)))
PACE = 45.0
WINDOW = 10 * SECOND
CLOSING = encode([Point("the.end", (LOAD.begin + LOAD.seconds + 1800) * SECOND, 0.0)])
"""Half an hour later: closes all windows of the load, while its own stays open."""


def survive(flow: MetricsFlow, server: Server) -> Process:
    """Run the flow over the load, with the server away in the middle."""
    flow.settings["rollups"]["idle_timeout"] = "10m"
    process = flow.start()
    feeder = Feeder(flow.kafka, flow.topic, LOAD.messages(), partitions=PARTITIONS, pace=PACE)
    feeder.start()
    flow.wait_until("rollups", lambda: flow.rollups_there() > 0, process)
    server.stop()
    time.sleep(OUTAGE)
    assert process.poll() is None, flow.log_tail()
    server.start()
    feeder.finish()
    feed(flow.kafka, flow.topic, [CLOSING] * PARTITIONS, partitions=PARTITIONS)
    expected = from_load(LOAD, WINDOW)
    flow.wait_until(
        "all rollups", lambda: flow.rollups_there() >= expected.height, process, within=90
    )
    assert not differences(flow.rollups(), expected)
    assert flow.topics_hold_nothing("late", "dead_letter")
    return process


def test_influxdb_may_go_away(new_flow: FlowFactory, influxdb_server: InfluxdbServer) -> None:
    flow = new_flow(partitions=PARTITIONS)
    flow.write_to_influxdb(influxdb_server.access)
    process = survive(flow, influxdb_server)
    assert "influxdb: " in flow.log.read_text()
    status, seconds = flow.end(process)
    assert status == -15
    assert seconds < 5


def test_kafka_may_go_away(
    new_flow: FlowFactory, influxdb: InfluxdbAccess, kafka_server: KafkaServer
) -> None:
    flow = new_flow(partitions=PARTITIONS, on=kafka_server.bootstrap_servers)
    flow.write_to_influxdb(influxdb)
    survive(flow, kafka_server)


FIRST_STEP, EVERY, LENGTH = 40, 20, 4
WINDOWS, HOSTS = 120, 20


def anomalous(window: int) -> Iterator[Point]:
    """A window of gauges that all step up for 4 windows of every 20, once the flow knows them."""
    stepped = window >= FIRST_STEP and (window - FIRST_STEP) % EVERY < LENGTH
    for host in range(HOSTS):
        yield Point(
            name="load",
            ts=LOAD.begin * SECOND + window * WINDOW,
            value=10 + math.sin(window + host) + (100 if stepped else 0),
            attributes={"host": f"h{host:02}"},
        )


def test_elasticsearch_may_go_away(
    new_flow: FlowFactory, influxdb: InfluxdbAccess, elasticsearch_server: ElasticsearchServer
) -> None:
    flow = new_flow()
    flow.settings["scoring"] = {"detector": "robust_ewma", "fire_after": 2, "resolve_after": 3}
    flow.settings["rollups"]["idle_timeout"] = "10m"
    flow.write_to_influxdb(influxdb)
    flow.write_to_elasticsearch(elasticsearch_server.url)
    process = flow.start()
    messages = (encode(anomalous(window)) for window in range(WINDOWS))
    feeder = Feeder(flow.kafka, flow.topic, [*messages, CLOSING], pace=WINDOWS / (OUTAGE + 4))
    feeder.start()
    flow.wait_until("anomalies", lambda: bool(flow.documents("anomalies")), process)
    elasticsearch_server.stop()
    time.sleep(OUTAGE)
    assert process.poll() is None, flow.log_tail()
    elasticsearch_server.start()
    feeder.finish()
    # Each step is an alert that fires and resolves; a host's first is the 40th window.
    steps = len(range(FIRST_STEP, WINDOWS, EVERY))
    flow.wait_until(
        "all alerts", lambda: len(flow.documents("alerts")) >= 2 * steps * HOSTS, process
    )

    alerts = [(a["fingerprint"], a["startsAt"], a["status"]) for a in flow.documents("alerts")]
    assert len(alerts) == len(set(alerts)) == 2 * steps * HOSTS
    assert Counter(status for _, _, status in alerts) == {
        "firing": steps * HOSTS, "resolved": steps * HOSTS
    }  # fmt: skip
    anomalies = flow.documents("anomalies")
    places = {(document["labels"]["host"], document["@timestamp"]) for document in anomalies}
    scored = flow.rollups(scores=True).filter(pl.col("score") >= 1)
    assert len(anomalies) == len(places) == scored.height == steps * LENGTH * HOSTS
