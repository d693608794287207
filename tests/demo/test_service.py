"""The demo's shop, its metrics and its fault: real processes, as the demo starts them."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.backends.process import LOCALHOST, free_port
from tests.demo.programs import Program


class Collector:
    """Takes OTLP over HTTP, and keeps the last value of every stream by name and attributes."""

    def __init__(self) -> None:
        values: dict[tuple[str, str], float] = {}
        spans: list[Span] = []
        logs: list[LogRecord] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/v1/traces":
                    traces = ExportTraceServiceRequest.FromString(body)
                    for told in traces.resource_spans:
                        for group in told.scope_spans:
                            spans.extend(group.spans)
                    body = b""
                if self.path == "/v1/logs":
                    for said in ExportLogsServiceRequest.FromString(body).resource_logs:
                        for of_scope in said.scope_logs:
                            logs.extend(of_scope.log_records)
                    body = b""
                request = ExportMetricsServiceRequest.FromString(body)
                for resource in request.resource_metrics:
                    for scope in resource.scope_metrics:
                        for metric in scope.metrics:
                            data = metric.gauge if metric.HasField("gauge") else metric.sum
                            for point in data.data_points:
                                labels = {a.key: a.value.string_value for a in point.attributes}
                                value = point.as_double or float(point.as_int)
                                values[metric.name, labels.get("http.route", "")] = value
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.values = values
        self.spans = spans
        self.logs = logs
        self.server = ThreadingHTTPServer((LOCALHOST, 0), Handler)
        self.url = f"http://{LOCALHOST}:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait_for(self, name: str, route: str = "", least: float = 0.0) -> float:
        deadline = time.monotonic() + 90
        while self.values.get((name, route), -1.0) < least:
            assert time.monotonic() < deadline, f"{name} {route}: {self.values}"
            time.sleep(0.05)
        return self.values[name, route]

    def wait_for_errors(self, least: int) -> list[LogRecord]:
        """Wait for so many records of severity error; return them."""
        deadline = time.monotonic() + 60
        while (
            len(found := [record for record in self.logs if record.severity_number >= 17]) < least
        ):
            assert time.monotonic() < deadline, f"{len(self.logs)} records"
            time.sleep(0.05)
        return found


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    yield found
    found.server.shutdown()
    found.server.server_close()


def program(directory: Path, module: str, *arguments: str) -> Program:
    config = directory / "headrace.yaml"
    return Program(module, directory / module, config, f"tests.demo.{module}", arguments)


def test_the_shop_counts_its_requests_and_its_errors_and_says_how_long_they_took(
    tmp_path: Path, collector: Collector
) -> None:
    port = free_port()
    shop = program(tmp_path, "service", str(port), collector.url, str(tmp_path / "shop.db"))
    with shop, httpx.Client(base_url=f"http://{LOCALHOST}:{port}") as client:
        assert [client.get("/products").status_code for _ in range(5)] == [200] * 5
        assert client.get("/nowhere").status_code == 404
        assert collector.wait_for("http.server.requests", "/products", 5) == 5
        assert 1 < collector.wait_for("http.server.request.latency", "/products") < 250
        assert collector.wait_for("http.server.errors", "/products") == 0


def test_the_runaway_job_makes_checkouts_fail_and_products_stay_well(
    tmp_path: Path, collector: Collector
) -> None:
    port, database = free_port(), tmp_path / "shop.db"
    shop = program(tmp_path, "service", str(port), collector.url, str(database))
    fault = program(tmp_path, "faults", str(database))
    with shop, httpx.Client(base_url=f"http://{LOCALHOST}:{port}", timeout=30) as client:
        with fault:
            checkouts = [client.get("/checkout").status_code for _ in range(12)]
            assert checkouts.count(503) >= 3
            assert client.get("/products").status_code == 200
            assert collector.wait_for("http.server.errors", "/checkout", 3) >= 3
            by_id = {span.span_id: span for span in list(collector.spans)}
            waits = [span for span in by_id.values() if span.name == "BEGIN IMMEDIATE"]
            assert max(s.end_time_unix_nano - s.start_time_unix_nano for s in waits) > 200_000_000
            failed = [
                by_id[s.parent_span_id]
                for s in waits
                if s.parent_span_id in by_id and s.status.code == 2
            ]
            assert {span.name for span in failed} == {"GET /checkout"}
            assert {span.status.code for span in failed} == {2}
            errors = [record for record in collector.wait_for_errors(3) if record.attributes]
            assert {
                re.sub(r" [0-9]+ failed$", "", record.body.string_value) for record in errors
            } == {"order of product"}
            told = {each.key: each.value.string_value for each in errors[0].attributes}
            assert "OperationalError" in told["exception.type"]
            assert "database is locked" in told["exception.stacktrace"]
            assert errors[0].trace_id
        after = [client.get("/checkout").status_code for _ in range(12)]
        assert after.count(503) == 0


def test_this_machine_tells_of_itself(tmp_path: Path, collector: Collector) -> None:
    with program(tmp_path, "host", collector.url):
        assert 0 <= collector.wait_for("system.cpu.busy") <= 1
        assert 0 < collector.wait_for("system.memory.utilization", least=0.001) < 1
        assert collector.wait_for("system.process.count", least=1) >= 1
