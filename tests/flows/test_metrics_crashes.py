"""The flow killed again and again, and started with other numbers of workers: nothing is lost."""

from __future__ import annotations

import random
import time

from bench.load import Load
from tests.backends.influxdb import InfluxdbAccess
from tests.flows.conftest import FlowFactory
from tests.flows.expectation import differences, from_load
from tests.flows.telemetry import SECOND, Feeder

PARTITIONS = 4
LOAD = Load(series=800, seconds=700)
PACE = 35.0
"""Messages a second, each with a second of event time: 20 s in all."""


WORKERS = ("1", "1", "2", "1", "2", "2")
"""Of each life: the same number as before, more, or fewer."""


def test_what_survives_kill_9_equals_an_undisturbed_run(
    new_flow: FlowFactory, influxdb: InfluxdbAccess
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    moments = random.Random(seed)
    flow = new_flow(partitions=PARTITIONS)
    flow.settings["rollups"]["windows"] = ["10s", "1m"]
    flow.write_to_influxdb(influxdb)
    recovery = flow.recovery()
    feeder = Feeder(flow.kafka, flow.topic, LOAD.messages(), partitions=PARTITIONS, pace=PACE)
    feeder.start()
    *killed, last = WORKERS
    for number in killed:
        before = flow.rollups_there()
        process = flow.start(*recovery, "-w", number)
        # However slow the machine is, it is killed at work, and not while it starts.
        flow.wait_until(
            "more rollups",
            lambda seen=before: flow.rollups_there() > seen or not feeder.is_alive(),
            process,
        )
        time.sleep(moments.uniform(0.0, 3.0))
        assert process.poll() is None, flow.log_tail()
        process.kill()
        process.wait()
    feeder.finish()

    flow.run_to_the_end(*recovery, "-w", last)

    for window, length in {"10s": 10 * SECOND, "1m": 60 * SECOND}.items():
        assert not differences(flow.rollups(window), from_load(LOAD, length)), window
