"""The flow killed, and its recovery store lost: what was right stays right, what was open is exact."""

from __future__ import annotations

import shutil
import time

import pytest

from bench.load import Load
from tests.backends.influxdb import InfluxdbAccess
from tests.flows.conftest import FlowFactory
from tests.flows.expectation import differences, from_load
from tests.flows.telemetry import SECOND, Feeder

PARTITIONS = 3
LOAD = Load(series=800, seconds=900)
PACE = 60.0
"""Messages a second, each with a second of event time: 15 s in all."""


@pytest.mark.parametrize("store", ["lost", "never there"])
def test_a_flow_without_its_recovery_store_goes_on_and_ends_exact(
    new_flow: FlowFactory, influxdb: InfluxdbAccess, store: str
) -> None:
    flow = new_flow(partitions=PARTITIONS)
    flow.settings["rollups"]["windows"] = ["10s", "1m"]
    flow.write_to_influxdb(influxdb)
    feeder = Feeder(flow.kafka, flow.topic, LOAD.messages(), partitions=PARTITIONS, pace=PACE)
    feeder.start()
    for _ in range(2):
        before = flow.rollups_there("1m")
        arguments = flow.recovery() if store == "lost" else ("-s", "1")
        process = flow.start(*arguments)
        flow.wait_until(
            "more minutes",
            lambda seen=before: flow.rollups_there("1m") > seen or not feeder.is_alive(),
            process,
        )
        time.sleep(2.5)  # until what came out is committed
        assert process.poll() is None, flow.log_tail()
        process.kill()
        process.wait()
        shutil.rmtree(flow.directory / "recovery", ignore_errors=True)
    feeder.finish()

    flow.run_to_the_end(*(flow.recovery() if store == "lost" else ()))

    for window, length in {"10s": 10 * SECOND, "1m": 60 * SECOND}.items():
        assert not differences(flow.rollups(window), from_load(LOAD, length)), window
