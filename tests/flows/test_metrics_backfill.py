"""A bounded run over a backlog: the rollups are right, and the same however it is run."""

from __future__ import annotations

import os
import uuid

import polars as pl
import pytest

from bench.load import Load
from tests.backends.influxdb import InfluxdbAccess
from tests.backends.topics import make_topics
from tests.flows.conftest import FlowFactory
from tests.flows.expectation import differences, from_load
from tests.flows.metrics_flow import MetricsFlow
from tests.flows.telemetry import SECOND, feed

PARTITIONS = 4
LOAD = Load(series=8_000, seconds=int(os.environ.get("HEADRACE_TEST_SECONDS", "30")))
"""240,000 points; HEADRACE_TEST_SECONDS=250 makes it 2,000,000."""

LENGTHS = {"10s": 10 * SECOND, "1m": 60 * SECOND}


@pytest.fixture(scope="module")
def expected() -> dict[str, pl.DataFrame]:
    return {window: from_load(LOAD, length) for window, length in LENGTHS.items()}


@pytest.fixture(scope="module")
def backlog(kafka: str) -> str:
    """A topic with the load; each message has one point of 800 series, so that the points of a
    series are spread over all partitions."""
    name = f"backlog-{uuid.uuid4().hex[:12]}"
    make_topics(kafka, [name], PARTITIONS)
    feed(kafka, name, LOAD.messages(), partitions=PARTITIONS)
    return name


@pytest.fixture
def flow(new_flow: FlowFactory, backlog: str, influxdb: InfluxdbAccess) -> MetricsFlow:
    flow = new_flow(reads=backlog)
    flow.settings["rollups"]["windows"] = list(LENGTHS)
    flow.write_to_influxdb(influxdb)
    return flow


def dump(flow: MetricsFlow) -> dict[str, pl.DataFrame]:
    return {window: flow.rollups(window) for window in LENGTHS}


def assert_equal(found: dict[str, pl.DataFrame], expected: dict[str, pl.DataFrame]) -> None:
    for window in LENGTHS:
        assert not differences(found[window], expected[window]), window


def test_a_backlog_becomes_the_rollups_and_reading_it_again_changes_nothing(
    flow: MetricsFlow, expected: dict[str, pl.DataFrame]
) -> None:
    flow.run_to_the_end()
    first = dump(flow)
    assert_equal(first, expected)

    flow.run_to_the_end(since="committed")
    assert_equal(dump(flow), first)

    flow.run_to_the_end(since="earliest")
    assert_equal(dump(flow), first)


def test_two_workers_give_the_same(flow: MetricsFlow, expected: dict[str, pl.DataFrame]) -> None:
    flow.run_to_the_end("-w", "2")
    assert_equal(dump(flow), expected)


def test_a_cluster_of_two_processes_gives_the_same(
    flow: MetricsFlow, expected: dict[str, pl.DataFrame]
) -> None:
    flow.run_cluster_to_the_end(2)
    assert_equal(dump(flow), expected)


def test_a_recovery_store_changes_nothing_and_remembers_what_was_read(
    flow: MetricsFlow, expected: dict[str, pl.DataFrame]
) -> None:
    flow.run_to_the_end(*flow.recovery())
    first = dump(flow)
    assert_equal(first, expected)

    flow.run_to_the_end(*flow.recovery(), since="earliest")
    assert_equal(dump(flow), first)
