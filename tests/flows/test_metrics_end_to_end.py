"""From an instrumented service to InfluxDB: OpenTelemetry's SDK, a collector, Kafka, the flow."""

from __future__ import annotations

import time
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from tests.backends.influxdb import InfluxdbAccess
from tests.conftest import RotelFactory
from tests.flows.conftest import FlowFactory
from tests.flows.expectation import differences, from_histograms, from_points, observed
from tests.flows.metrics_flow import PERCENTILES
from tests.flows.telemetry import (
    SECOND,
    Histogram,
    decode,
    decode_histograms,
    decode_json,
    decode_json_histograms,
    records,
)

SERVICES: dict[str, dict[str, Any]] = {
    "checkout": {"service.namespace": "shop", "host.name": "web-1", "process.pid": 17},
    "catalogue": {"service.namespace": "shop", "host.name": "web-2"},
    "search": {"deployment.environment.name": "staging"},
}
ROUNDS = 12
NEVER = 10**9


def duration(number: int) -> float:
    """Seconds that requests take in a round; the SDK's first bounds above are 0 and 5."""
    return 0.01 * (number + 1)


def size(number: int) -> float:
    """Bytes of the requests of a round: not in order, so that buckets grow at both ends."""
    return 100.0 + (7 * number) % 11


class Service:
    """An instrumented service, which exports when it is told to."""

    def __init__(self, name: str, number: int, endpoint: str) -> None:
        reader = PeriodicExportingMetricReader(
            OTLPMetricExporter(endpoint=f"{endpoint}/v1/metrics"), export_interval_millis=NEVER
        )
        self.provider = MeterProvider(
            [reader],
            Resource({"service.name": name, **SERVICES[name]}),
            shutdown_on_exit=False,
            views=[
                View(
                    instrument_name="http.size", aggregation=ExponentialBucketHistogramAggregation()
                )
            ],
        )
        meter = self.provider.get_meter("shop.instrumentation", "1.2")
        self._number = number
        self._round = 0
        self._requests = meter.create_counter("http.requests", "{request}")
        self._bytes = meter.create_counter("http.bytes", "By")
        self._active = meter.create_up_down_counter("http.active", "{request}")
        self._latency = meter.create_histogram("http.duration", "s")
        self._size = meter.create_histogram("http.size", "By")
        self._load = meter.create_gauge("cpu.load", "1")
        meter.create_observable_gauge("memory.used", [self._memory], "By")

    def _memory(self, _: CallbackOptions) -> list[Observation]:
        used = 1e6 * (self._number + 1) + 1234.5 * self._round
        return [Observation(used, {"pool": "heap"}), Observation(used / 3, {"pool": "stack, näh"})]

    def work(self, number: int) -> None:
        self._round = number
        for route in ("/", "/cart", "/search?q=a b"):
            attributes = {"route": route, "cached": number % 2 == 0, "status": 200 + number % 3}
            self._requests.add(1 + number + self._number, attributes)
            self._bytes.add(0.1 * number, attributes)
            self._active.add((-1) ** number * self._number, {"route": route})
            self._latency.record(duration(number), {"route": route})
            self._size.record(size(number), {"route": route})
        self._load.set(0.3 * number + self._number)
        self.provider.force_flush()


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_what_services_measure_is_what_influxdb_holds(
    new_flow: FlowFactory,
    rotel: RotelFactory,
    influxdb: InfluxdbAccess,
    encoding: Literal["protobuf", "json"],
) -> None:
    flow = new_flow(partitions=2)
    name = {"protobuf": "otlp_proto", "json": "otlp_json"}[encoding]
    flow.settings["inputs"] = [{"topic": flow.topic, "encoding": name}]
    flow.settings["rollups"] = {"windows": ["1s", "10s"]}
    flow.write_to_influxdb(influxdb)
    topics = (flow.topic, f"{flow.name}-logs", f"{flow.name}-spans")
    collector = rotel(encoding=encoding, topics=topics)
    services = [
        Service(name, number, collector.http_endpoint) for number, name in enumerate(SERVICES)
    ]
    for number in range(ROUNDS):
        for service in services:
            service.work(number)
        time.sleep(0.25)
    for service in services:
        service.provider.shutdown()

    # What the collector has not written yet comes in at most its batch time.
    written: list[int] = []
    while len(written) < 2 or written[-1] > written[-2]:
        time.sleep(1)
        written.append(len(records(flow.kafka, flow.topic)))

    flow.run_to_the_end()

    read, read_histograms = {
        "protobuf": (decode, decode_histograms),
        "json": (decode_json, decode_json_histograms),
    }[encoding]
    messages = [record.value for record in records(flow.kafka, flow.topic)]
    points = [point for message in messages for point in read(message)]
    histograms = [point for message in messages for point in read_histograms(message)]
    assert {point.resource["service.name"] for point in points} == set(SERVICES)
    assert {point.name for point in points} == {
        "http.requests", "http.bytes", "http.active", "cpu.load", "memory.used"
    }  # fmt: skip
    assert {point.name for point in histograms} == {"http.duration", "http.size"}
    assert {point.kind for point in points} == {"cumulative", "gauge"}
    for window, length in {"1s": SECOND, "10s": 10 * SECOND}.items():
        expected = pl.concat([from_points(points, length), from_histograms(histograms, length)])
        found = flow.rollups(window, percentiles=True)
        assert not differences(found, expected), window
        check_percentiles(found, histograms, length)


def check_percentiles(found: pl.DataFrame, histograms: list[Histogram], length: int) -> None:
    """Compare with the very values of the rounds that were observed: each makes one of a series."""
    rows = {(row["series"], row["time"]): row for row in found.iter_rows(named=True)}
    cells = observed(histograms, length)
    for key, (before, last) in cells.items():
        rounds = range(before.count if before else 0, last.count)
        for name, rank in zip(PERCENTILES, (0.5, 0.9, 0.95, 0.99), strict=True):
            percentile = rows[key][name]
            if not rounds:
                assert percentile is None
            elif last.name == "http.size":
                sizes = [size(number) for number in rounds]
                # From half upwards Prometheus counts from the top: the median of two is the larger.
                exact = -np.quantile(np.negative(sizes), 1 - rank, method="inverted_cdf")
                assert percentile == pytest.approx(exact, rel=0.01)
            else:
                # All lie in the bucket up to 5 s, of which nothing more is known.
                assert percentile == pytest.approx(5 * rank, rel=1e-9)
    others = [row for key, row in rows.items() if key not in cells]
    assert others
    assert all(row[name] is None for row in others for name in PERCENTILES)
