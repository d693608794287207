"""A few rounds of chaos, as every test run has them; ``make chaos`` has as many as you like."""

from __future__ import annotations

import os
import random
from pathlib import Path

from tests.backends.elasticsearch import ElasticsearchServer
from tests.backends.influxdb import InfluxdbServer
from tests.backends.kafka import KafkaServer
from tests.chaos.driver import Chaos, staged
from tests.chaos.log_rounds import LOG_FAULTS, schedule_logs
from tests.chaos.schedule import FAULTS, schedule

SEED = int(os.environ.get("HEADRACE_CHAOS_SEED") or random.randrange(10**6))
ROUNDS = int(os.environ.get("HEADRACE_CHAOS_ROUNDS") or 5)


def test_every_fault_comes_once_before_one_comes_again() -> None:
    names = [each.fault.name for each in schedule(SEED, 3 * len(FAULTS))]
    for begin in range(0, len(names), len(FAULTS)):
        assert sorted(names[begin : begin + len(FAULTS)]) == sorted(f.name for f in FAULTS)


def test_every_fault_of_logs_comes_once_before_one_comes_again() -> None:
    faults = schedule_logs(SEED, 2 * len(LOG_FAULTS) + 1)
    assert len(faults) == 2 * len(LOG_FAULTS) + 1
    for begin in (0, len(LOG_FAULTS)):
        assert set(faults[begin : begin + len(LOG_FAULTS)]) == set(LOG_FAULTS)


def test_whatever_fails_nothing_is_lost_and_nothing_doubled(
    tmp_path: Path,
    kafka_server: KafkaServer,
    influxdb_server: InfluxdbServer,
    elasticsearch_server: ElasticsearchServer,
) -> None:
    print(f"HEADRACE_CHAOS_SEED={SEED}")
    with staged(kafka_server, influxdb_server, elasticsearch_server) as stage:
        chaos = Chaos(stage, tmp_path, SEED, print)
        rounds = schedule(SEED, ROUNDS)
        for begin in range(0, ROUNDS, 10):
            chaos.run_chapter(rounds[begin : begin + 10])
