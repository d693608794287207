"""What a user sees of the running flow: its labels as configured, and a quick, quiet end."""

from __future__ import annotations

import signal
import socket

import pytest

from tests.backends.influxdb import InfluxdbAccess
from tests.backends.process import LOCALHOST, free_port
from tests.backends.proxy import Mode, Proxy
from tests.flows.conftest import FlowFactory
from tests.flows.expectation import differences, from_points
from tests.flows.telemetry import SECOND, Point, encode, feed

BEGIN = 1_700_000_000 * SECOND
WINDOW = 10 * SECOND


def requests(host: str, second: int, value: float) -> Point:
    return Point(
        name="requests",
        ts=BEGIN + second * SECOND,
        value=value,
        kind="cumulative",
        start=BEGIN - SECOND,
        attributes={"route": "/pay"},
        resource={"service.name": "shop", "host.name": host},
    )


def test_a_dropped_label_adds_up_what_each_producer_counted(
    new_flow: FlowFactory, influxdb: InfluxdbAccess
) -> None:
    flow = new_flow()
    flow.settings["enrichment"] = {"drop": ["host.name"]}
    flow.write_to_influxdb(influxdb)
    # Two hosts count side by side, and one of them starts anew: without their identities the
    # larger counter would look like a rise, and the smaller like a reset, at every point.
    a = [requests("a", second, 1000.0 + 5 * second) for second in range(40)]
    b = [
        requests("b", second, 3.0 * (second if second < 25 else second - 25))
        for second in range(40)
    ]
    messages = [encode(pair) for pair in zip(a, b, strict=True)]
    feed(flow.kafka, flow.topic, messages)

    flow.run_to_the_end()

    found = flow.rollups()
    assert not differences(found, from_points(a + b, WINDOW, dropped=["host.name"]))
    # By hand: 1000 at first, then 5 and 3 a second; b falls to 0 at 25 s and rises again.
    assert found["increase"].to_list() == [1000 + 45 + 27, 80, 50 + 3 * (5 + 4), 80]


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, "1"), (signal.SIGINT, "2")])
def test_a_signal_ends_the_flow_at_once_and_without_noise(
    new_flow: FlowFactory, influxdb: InfluxdbAccess, number: signal.Signals, workers: str
) -> None:
    flow = new_flow(partitions=2)
    flow.write_to_influxdb(influxdb)
    process = flow.start("-w", workers)
    messages = [encode([requests(host, second, 1.0) for second in range(31)]) for host in "ab"]
    feed(flow.kafka, flow.topic, messages, partitions=2)
    flow.wait_until("two windows each", lambda: flow.rollups_there() >= 4, process)

    status, seconds = flow.end(process, number)

    assert status == -number, flow.log_tail()
    assert seconds < 5
    log = flow.log.read_text()
    assert "Traceback" not in log
    assert "panicked" not in log
    assert len(log.splitlines()) <= 5, log
    assert f"stopped by {number.name}" in log


def test_a_signal_ends_the_flow_also_while_it_waits_for_a_backend(new_flow: FlowFactory) -> None:
    flow = new_flow(partitions=2)
    nobody = f"http://{LOCALHOST}:{free_port()}"
    flow.settings["sinks"]["influxdb"] = {"url": nobody, "org": "shop", "token": "none"}
    process = flow.start("-w", "2")
    hosts = [f"host-{number}" for number in range(40)]  # enough for every worker to have some
    messages = [encode([requests(host, second, 1.0) for second in range(31)]) for host in hosts]
    feed(flow.kafka, flow.topic, messages, partitions=2)
    flow.wait_until("waiting", lambda: flow.log.read_text().count("; waiting ") >= 4, process)

    status, seconds = flow.end(process)

    assert status == -signal.SIGTERM, flow.log_tail()
    assert seconds < 5
    assert "stopped by SIGTERM" in flow.log.read_text()
    assert "Traceback" not in flow.log.read_text()


@pytest.mark.parametrize(("backend", "workers"), [("influxdb", "2"), ("elasticsearch", "1")])
def test_a_signal_ends_the_flow_also_while_a_backend_owes_it_an_answer(
    new_flow: FlowFactory, influxdb: InfluxdbAccess, backend: str, workers: str
) -> None:
    flow = new_flow(partitions=2)
    flow.settings["scoring"] = {"detector": "robust_ewma", "warm_up": 2, "fire_after": 1}
    hosts = [f"host-{number}" for number in range(40)]
    messages = [
        encode(
            [requests(host, second, 1e6 if second == 200 else 1.0) for second in range(0, 250, 5)]
        )
        for host in hosts
    ]
    # What is asked does not matter: no request is ever answered, nor passed on.
    with Proxy(influxdb.url) as proxy, proxy.misbehaving(Mode("hang")):
        sinks = {
            "influxdb": {"url": proxy.url, "org": "shop", "token": "none", "timeout": "1m"},
            "elasticsearch": {"hosts": [proxy.url], "timeout": "1m"},
        }
        flow.settings["sinks"][backend] = sinks[backend]
        process = flow.start("-w", workers)
        feed(flow.kafka, flow.topic, messages, partitions=2)
        flow.wait_until("a request", lambda: proxy.hanging > 0, process)

        status, seconds = flow.end(process)

    assert status == -signal.SIGTERM, flow.log_tail()
    assert seconds < 5
    assert "stopped by SIGTERM" in flow.log.read_text()
    assert "Traceback" not in flow.log.read_text()


def test_a_signal_ends_the_flow_also_while_the_broker_does_not_answer(
    new_flow: FlowFactory,
) -> None:
    with socket.create_server((LOCALHOST, free_port())) as silent:
        flow = new_flow(on=f"{LOCALHOST}:{silent.getsockname()[1]}", reads="never")
        flow.topics_are_there = True
        process = flow.start()
        flow.wait_until("a start", lambda: "metrics at" in flow.log.read_text(), process)

        status, seconds = flow.end(process)

    assert status == -signal.SIGTERM, flow.log_tail()
    assert seconds < 5
