"""What a flow's process says of itself while it runs, and how it ends."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.backends.influxdb import InfluxdbServer
from tests.backends.kafka import KafkaServer
from tests.backends.process import free_port
from tests.flows.conftest import FlowFactory
from tests.flows.heartbeats import last_heartbeats, wait_for
from tests.flows.metrics_flow import MetricsFlow, Process
from tests.flows.telemetry import SECOND, Point, encode, feed

LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|WARNING|ERROR|CRITICAL) [\w.]+: .+"
)
BYTEWAX = re.compile(r"^(thread '.*' panicked at|Box<dyn Any>|note: run with|$)")


@pytest.fixture
def flow(new_flow: FlowFactory) -> MetricsFlow:
    """A metrics flow with a heartbeat a second, and no flow storage beside it."""
    return calm(new_flow())


def calm(flow: MetricsFlow) -> MetricsFlow:
    flow.settings["monitoring"] = {"status_interval": "1s"}
    return flow


def messages(number: int = 3, points: int = 10, begin: int = 1_700_000_000) -> Iterator[bytes]:
    for message in range(number):
        second = begin + message * 60
        at = [(second + point) * SECOND for point in range(points)]
        yield encode(Point("cpu", ts, 0.5, attributes={"host": "a"}) for ts in at)


def wait(flow: MetricsFlow, state: str, within: float = 90, *, of: str = "metrics") -> Any:
    try:
        return wait_for(flow.kafka, flow.topics["status"], state, within, flow=of)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{flow.log_tail()}") from None


def endpoint(beat: Any) -> str:
    return str(beat["address"]).removesuffix("/metrics")


def log(flow: MetricsFlow) -> list[str]:
    """The lines of the log, without what Bytewax itself prints when a flow is interrupted."""
    return [line for line in flow.log.read_text().splitlines() if not BYTEWAX.match(line)]


def test_a_running_flow_tells_what_it_has_done(flow: MetricsFlow) -> None:
    process = flow.start("-w", "2")
    feed(flow.kafka, flow.topic, [*messages(3, points=10), b"\xff garbage"])
    wait(flow, "running")

    def counted() -> bool:
        # The refused message is counted before its dead letter is written.
        (beat,) = last_heartbeats(flow.kafka, flow.topics["status"]).values()
        return bool(beat["dead_letters"]) and bool(flow.dead_letters())

    flow.wait_until("a dead letter counted and written", counted, process)
    ((key, beat),) = last_heartbeats(flow.kafka, flow.topics["status"]).items()
    assert key == f"metrics@{beat['host']}:{process.pid}"
    assert (beat["messages"], beat["points"], beat["dead_letters"]) == (4, 30, 1)
    assert beat["workers"] == {"here": 2, "processes": 1, "process": 0}
    assert (beat["topics"], beat["group"]) == ([flow.topic], f"{flow.name}.metrics")
    assert beat["started"] < beat["at"]

    scraped = httpx.get(beat["address"]).text
    assert f'headrace_points_decoded_total{{topic="{flow.topic}"}} 30.0' in scraped
    health = httpx.get(f"{endpoint(beat)}/health")
    assert (health.status_code, health.json()["state"]) == (200, "running")
    assert httpx.get(f"{endpoint(beat)}/elsewhere").status_code == 404


def test_a_stop_is_one_line_and_the_exit_status_of_the_signal(flow: MetricsFlow) -> None:
    process = flow.start()
    wait(flow, "running")
    code, _ = flow.end(process, signal.SIGTERM)
    assert code == -signal.SIGTERM
    assert log(flow)[-1].endswith("INFO headrace: stopped by SIGTERM")
    assert "Traceback" not in flow.log.read_text()
    assert all(LINE.fullmatch(line) for line in log(flow)), log(flow)
    assert wait(flow, "stopped")["pid"] == process.pid


def test_a_backfill_ends_with_finished(flow: MetricsFlow) -> None:
    flow.make_topics()
    feed(flow.kafka, flow.topic, messages(2))
    flow.run_to_the_end()
    beat = wait(flow, "finished")
    assert (beat["messages"], beat["points"]) == (2, 20)
    assert beat["last_problem"] is None


def test_a_failure_that_headrace_explains_is_one_line(new_flow: FlowFactory) -> None:
    flow = calm(new_flow(reads="no-such-topic"))
    process = flow.start(until="end")
    assert process.wait(90) == 1
    lines = [line for line in log(flow) if "CRITICAL" in line]
    assert len(lines) == 1
    assert "headrace: the flow failed: " in lines[0]
    assert "run `headrace setup`, or correct inputs" in lines[0]
    assert "Traceback" not in flow.log.read_text()
    problem = wait(flow, "failed")["last_problem"]
    assert (problem["level"], problem["logger"]) == ("CRITICAL", "headrace")
    assert "no-such-topic" in problem["message"]


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"port": "x"}, "monitoring.port: must be a whole number"),
        ({"host": "192.0.2.1"}, 'monitoring: cannot listen on "192.0.2.1"'),
    ],
)
def test_settings_that_cannot_be_used_exit_2(
    flow: MetricsFlow, section: dict[str, str], says: str
) -> None:
    flow.settings["monitoring"] = section
    assert flow.start().wait(60) == 2
    (line,) = flow.log.read_text().splitlines()
    assert line.startswith("headrace: ")
    assert says in line


def test_a_port_that_is_taken_is_no_reason_to_die(new_flow: FlowFactory) -> None:
    port = free_port()
    first, second = calm(new_flow()), calm(new_flow())
    for flow in (first, second):
        flow.settings["monitoring"]["port"] = port
    first.start()
    assert wait(first, "running")["address"] == f"http://127.0.0.1:{port}/metrics"
    second.start()
    beat = wait(second, "running")
    assert httpx.get(f"{endpoint(beat)}/health").json()["flow"] == "metrics"
    assert f"port {port} of 127.0.0.1 is taken" in second.log.read_text()


def test_a_sink_that_is_down_is_blocked_and_not_stuck(
    new_flow: FlowFactory, influxdb_server: InfluxdbServer
) -> None:
    flow = calm(new_flow())
    flow.write_to_influxdb(influxdb_server.access)
    influxdb_server.stop()
    flow.start()
    # The second message is later, so that the windows of the first are closed.
    feed(flow.kafka, flow.topic, messages(2))
    beat = wait(flow, "blocked", of="storage")
    assert list(beat["blocked"]) == ["influxdb"]
    assert "Connection refused" in beat["last_problem"]["message"]
    assert influxdb_server.access.token not in str(beat)
    health = httpx.get(f"{endpoint(beat)}/health")
    assert (health.status_code, health.json()["blocked"]) == (200, ["influxdb"])
    influxdb_server.start()
    assert wait(flow, "running", of="storage")["blocked"] == {}
    assert httpx.get(f"{endpoint(beat)}/health").json()["state"] == "running"


def test_a_broker_that_is_down_does_not_hurt(
    new_flow: FlowFactory, kafka_server: KafkaServer
) -> None:
    flow = calm(new_flow(on=kafka_server.bootstrap_servers))
    process = flow.start()
    beat = wait(flow, "running")
    kafka_server.stop()
    time.sleep(5)
    assert process.poll() is None
    assert httpx.get(f"{endpoint(beat)}/health").status_code == 200
    kafka_server.start()
    deadline = time.monotonic() + 60
    while True:
        later = wait(flow, "running")
        if later["at"] > beat["at"]:
            break
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert later["pid"] == process.pid
    assert flow.end(process)[0] == -signal.SIGTERM


def test_importing_a_flow_starts_nothing() -> None:
    import flows.metrics  # noqa: PLC0415

    assert flows.metrics.NAME == "metrics"
    names = {thread.name for thread in threading.enumerate()}
    assert not {"headrace-http", "headrace-heartbeat"} & names


def test_an_end_waits_for_no_broker(new_flow: FlowFactory, kafka_server: KafkaServer) -> None:
    flow = calm(new_flow(on=kafka_server.bootstrap_servers))
    process: Process = flow.start()
    wait(flow, "running")
    kafka_server.stop()
    _, seconds = flow.end(process)
    assert seconds < 20
