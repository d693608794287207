"""Flow storage: what flow metrics wrote to Kafka comes to every destination, each by itself."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import polars as pl
import pytest

from bench.load import Load
from flows.settings import ClickHouseSection
from operators.columns.batches import encode_batches
from operators.contracts.batch_form import LOG_BATCHES, SPAN_BATCHES
from sinks import clickhouse_setup
from sinks.lake import read_rollups
from sinks.span_lake import read_spans
from tests.backends.clickhouse import ClickHouseAccess
from tests.backends.elasticsearch import ElasticsearchServer
from tests.backends.influxdb import InfluxdbServer
from tests.backends.process import LOCALHOST
from tests.flows.conftest import FlowFactory
from tests.flows.expectation import from_load
from tests.flows.metrics_flow import MetricsFlow
from tests.flows.telemetry import SECOND, Feeder, Point, encode, feed, records
from tests.operators.notifying.histories import history
from tests.sinks.log_records import NOON
from tests.sinks.log_records import records as log_records
from tests.sinks.test_otlp import Backend, frame_of, span_row, spans_in

LOAD = Load(series=800, seconds=95)
WINDOW = 10 * SECOND


def lake_of(flow: MetricsFlow) -> None:
    flow.settings["sinks"]["lake"] = {"path": str(flow.directory / "lake")}


def stored(flow: MetricsFlow) -> pl.DataFrame:
    place = ["series", "window_start"]
    return read_rollups(flow.directory / "lake").collect().sort(place)


def test_a_backfill_ends_with_everything_carried_also_the_lines_for_subscribers(
    new_flow: FlowFactory,
) -> None:
    flow = new_flow(partitions=2)
    lake_of(flow)
    lines = flow.topics["rollups_json"] = f"{flow.name}-json"
    feed(flow.kafka, flow.topic, LOAD.messages(), partitions=2)
    flow.run_to_the_end()
    found, expected = stored(flow), from_load(LOAD, WINDOW)
    assert found.height == expected.height
    assert found["count"].sum() == LOAD.points
    assert math.isclose(found["sum"].sum(), expected["sum"].sum(), rel_tol=1e-9)
    rows = [json.loads(line) for r in records(flow.kafka, lines) for line in r.value.splitlines()]
    assert len(rows) == found.height
    told = pl.DataFrame(
        [(int(row["series"]), row["window_start"], row["sum"]) for row in rows],
        schema={"series": pl.UInt64, "window_start": pl.Int64, "sum": pl.Float64}, orient="row",
    ).sort("series", "window_start")  # fmt: skip
    assert told.equals(found.select(told.columns))
    # Once more from the beginning: the same rows, each once.
    flow.run_to_the_end(since="earliest")
    assert stored(flow).equals(found)


def test_what_the_notifier_told_and_its_incidents_come_to_elasticsearch(
    new_flow: FlowFactory, elasticsearch: str
) -> None:
    flow, played = new_flow(), history()
    flow.write_to_elasticsearch(elasticsearch)
    flow.make_topics()
    feed(flow.kafka, flow.topics["notifications"], [*played.notifications, b"no record"])
    feed(flow.kafka, flow.topics["incidents"], played.incidents)
    flow.carry()
    assert len(flow.documents("notifications")) == len(played.notifications)
    (incident,) = flow.documents("incidents")
    assert (incident["status"], incident["acknowledgedBy"]) == ("over", "ann")
    (letter,) = flow.dead_letters()
    assert letter.topic == flow.topics["notifications"]


def test_kept_spans_come_to_an_otlp_backend_and_to_the_lake_each_by_itself(
    new_flow: FlowFactory,
) -> None:
    flow, backend = new_flow(), Backend()
    flow.settings["inputs"] = [{"topic": flow.topic, "signal": "traces"}]
    flow.settings["sinks"]["otlp"] = {"endpoint": backend.url}
    lake_of(flow)
    topic = flow.topics["spans"] = f"{flow.name}-spans"
    flow.make_topics()
    frame = frame_of(*(span_row(n, threshold=n % 2 << 55) for n in range(1, 41)))
    backend.bad = {"GET 7"}
    backend.answers = [(503, b"not yet", {}), (429, b"", {"Retry-After": "1"})]
    feed(flow.kafka, topic, [*encode_batches(frame, SPAN_BATCHES), b"no batch"])
    flow.carry()
    told = {span.name: span.trace_state for _, r in backend.requests for span in spans_in(r)}
    assert told == {f"GET {n}": "ot=th:8" if n % 2 else "" for n in range(1, 41) if n != 7}
    spans = read_spans(flow.directory / "lake").collect()
    assert spans.sort("span_id").equals(frame.sort("span_id"))
    reasons = sorted(letter.reason for letter in flow.dead_letters())
    assert len(reasons) == 3  # each destination says what it can't read
    assert sum("400 bad span" in reason for reason in reasons) == 1
    before = len(backend.requests)
    flow.carry()  # what is done is in its own offsets
    assert len(backend.requests) == before
    backend.close()


def test_a_signal_ends_the_flow_also_while_a_backend_of_grpc_owes_it_an_answer(
    new_flow: FlowFactory,
) -> None:
    grpc_tests = pytest.importorskip("tests.sinks.test_otlp_grpc", reason="needs grpcio")
    flow, backend = new_flow(), grpc_tests.GrpcBackend()
    asked, ended = threading.Event(), threading.Event()

    def hang(_: object, context: object) -> None:
        asked.set()
        ended.wait(60)

    flow.settings["inputs"] = [{"topic": flow.topic, "signal": "traces"}]
    flow.settings["sinks"]["otlp"] = {
        "protocol": "grpc", "endpoint": backend.url, "timeout": "1m",
    }  # fmt: skip
    topic = flow.topics["spans"] = f"{flow.name}-spans"
    flow.make_topics()
    frame = frame_of(*(span_row(n) for n in range(1, 41)))
    backend.bad = {"GET 7"}
    feed(flow.kafka, topic, list(encode_batches(frame, SPAN_BATCHES)))
    flow.start_storage()
    assert flow.storage is not None
    flow.wait_until("spans", lambda: len(backend.names()) == 39, flow.storage)
    flow.wait_until("a dead letter", lambda: len(flow.dead_letters()) == 1, flow.storage)
    backend.busy = lambda _: hang
    feed(flow.kafka, topic, list(encode_batches(frame, SPAN_BATCHES)))
    flow.wait_until("a request", asked.is_set, flow.storage)

    status, seconds = flow.end(flow.storage)

    ended.set()
    backend.close()
    assert status == -signal.SIGTERM, flow.log_tail()
    assert seconds < 5
    assert "Traceback" not in flow.log.read_text()


class Mute(ThreadingHTTPServer):
    """Passes requests on to a server, and answers no insert while ``muted``."""

    def __init__(self, url: str) -> None:
        self.muted = threading.Event()
        self.unanswered = 0
        mute = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answer = httpx.request(
                    self.command, f"{url}{self.path}", content=body, timeout=60,
                    headers={"Authorization": self.headers["Authorization"]},
                )  # fmt: skip
                if "INSERT" in self.path and mute.muted.is_set():
                    mute.unanswered += 1
                    self.rfile.read()  # until whoever asked is gone
                    return
                self.send_response(answer.status_code)
                for name, value in answer.headers.items():
                    if name.startswith(("x-", "content-length")):
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *_: object) -> None:
                pass

        super().__init__((LOCALHOST, 0), Handler)
        self.url = f"http://{LOCALHOST}:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


def test_a_kill_between_an_insert_and_its_commit_leaves_each_row_once_in_clickhouse(
    new_flow: FlowFactory, clickhouse: ClickHouseAccess
) -> None:
    flow, mute = new_flow(), Mute(clickhouse.url)
    flow.settings["inputs"] = [
        {"topic": flow.topic, "signal": "logs"},
        {"topic": f"{flow.topic}-spans", "signal": "traces"},
    ]  # fmt: skip
    sink = {
        "url": mute.url, "user": clickhouse.user, "password": clickhouse.password, "database": flow.name,
        "ttl": "9000d",
    }  # fmt: skip
    flow.settings["sinks"]["clickhouse"] = sink
    lake_of(flow)
    for role in ("logs", "spans"):
        flow.topics[role] = f"{flow.name}-{role}"
    flow.make_topics()
    clickhouse_setup.ensure(ClickHouseSection(**sink), logs=True, spans=True)
    logs = [log_records(*({"offset": n, "index": m} for m in range(50))) for n in range(40)]
    spans = frame_of(*(span_row(n, begun=NOON + n, ended=NOON + n + 1) for n in range(300)))

    def there(table: str) -> list[tuple[int, int]]:
        # Not FINAL: each is there once for everybody.
        query = {
            "otel_logs": "SELECT Offset AS a, Index AS b",
            "otel_traces": "SELECT toUnixTimestamp64Nano(Timestamp) AS a, Duration AS b",
        }[table]
        rows = clickhouse.rows(f"{query} FROM {flow.name}.{table}")
        return sorted((row["a"], row["b"]) for row in rows)

    def fed(part: slice) -> None:
        values = [value for each in logs[part] for value in encode_batches(each, LOG_BATCHES)]
        feed(flow.kafka, flow.topics["logs"], values)

    mute.muted.set()
    feed(flow.kafka, flow.topics["spans"], encode_batches(spans, SPAN_BATCHES))
    fed(slice(25))
    flow.start_storage()
    assert flow.storage is not None
    flow.wait_until("two inserts without an answer", lambda: mute.unanswered >= 2, flow.storage)
    written = len(there("otel_logs"))
    assert written >= 50
    flow.storage.send_signal(signal.SIGKILL)
    flow.storage.wait()
    # What comes meanwhile makes batches that end elsewhere.
    fed(slice(25, 40))
    mute.muted.clear()
    flow.carry()
    assert there("otel_logs") == [(n, m) for n in range(40) for m in range(50)]
    assert there("otel_traces") == [(NOON + n, 1) for n in range(300)]
    assert flow.topics_hold_nothing("dead_letter")
    mute.shutdown()
    mute.server_close()


def test_a_kill_in_the_middle_loses_nothing(new_flow: FlowFactory) -> None:
    flow = new_flow()
    lake_of(flow)
    process = flow.start()
    feeder = Feeder(flow.kafka, flow.topic, LOAD.messages(), pace=12)
    feeder.start()
    flow.wait_until("rollups in the lake", lambda: stored(flow).height > 0, process)
    for _ in range(2):
        assert flow.storage is not None
        flow.storage.send_signal(signal.SIGKILL)
        flow.storage.wait()
        flow.start_storage()
        time.sleep(1.5)
    feeder.finish()
    flow.end(process)
    flow.run_to_the_end()
    assert stored(flow)["count"].sum() == LOAD.points
    assert flow.topics_hold_nothing("late", "dead_letter")


CALM, LENGTH, STEPS = 24, 3, 8
"""Windows before the first host steps up; how long each does; how many do, one after the other."""
PACE = 2.0


def stepping(window: int) -> Iterator[Point]:
    for host in range(STEPS):
        first = CALM + host * LENGTH
        value = 10 + math.sin(window + host) + (100 if first <= window < first + LENGTH else 0)
        ts = (LOAD.begin + window * 10 + 1) * SECOND
        yield Point(name="load", ts=ts, value=value, attributes={"host": f"h{host}"})


def test_alerts_take_no_longer_while_every_database_is_down(
    new_flow: FlowFactory,
    influxdb_server: InfluxdbServer,
    elasticsearch_server: ElasticsearchServer,
) -> None:
    flow = new_flow()
    flow.settings["scoring"] = {
        "detector": "robust_ewma", "fire_after": 2, "resolve_after": 3
    }  # fmt: skip
    flow.settings["rollups"] = {"windows": ["10s"], "disorder": "0s", "idle_timeout": "10m"}
    flow.write_to_influxdb(influxdb_server.access)
    flow.write_to_elasticsearch(elasticsearch_server.url)
    process = flow.start()
    windows = CALM + (STEPS + 2) * LENGTH
    feeder = Feeder(
        flow.kafka, flow.topic, [encode(stepping(w)) for w in range(windows)], pace=PACE
    )
    feeder.start()

    def firing() -> int:
        return sum(b'"firing"' in each.value for each in records(flow.kafka, flow.topics["alerts"]))

    flow.wait_until("alerts with all up", lambda: firing() >= STEPS // 2, process, within=90)
    influxdb_server.kill()
    elasticsearch_server.kill()
    try:
        feeder.finish()
        flow.wait_until("alerts with all down", lambda: firing() == STEPS, process, within=30)
    finally:
        influxdb_server.start()
        elasticsearch_server.start()
    # What was written when: the third window of a step closes the second, so the alert fires.
    written = [each.timestamp for each in records(flow.kafka, flow.topic)]
    taken = {}
    for each in records(flow.kafka, flow.topics["alerts"]):
        event = json.loads(each.value)
        if event["status"] == "firing":
            host = int(event["labels"]["host"][1:])
            taken[host] = (each.timestamp - written[CALM + host * LENGTH + 2]) / 1000
    print(f"seconds from the point to the alert: {taken}")
    up, down = ([taken[h] for h in hosts] for hosts in (range(4), range(5, STEPS)))
    assert max(down) <= max(up) + 1.0
    flow.wait_until(
        "all alerts as documents", lambda: len(flow.documents("alerts")) >= STEPS, process
    )
    flow.wait_until("all rollups", lambda: flow.rollups_there() >= STEPS * (windows - 1), process)
