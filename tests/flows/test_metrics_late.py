"""Event time in the running flow: late points, silent partitions, timestamps from the future."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import chain
from typing import Any

import orjson
import polars as pl
import pytest

from tests.backends.influxdb import InfluxdbAccess
from tests.flows.conftest import FlowFactory
from tests.flows.expectation import differences, from_points
from tests.flows.metrics_flow import MetricsFlow
from tests.flows.telemetry import SECOND, Feeder, Point, decode, encode, feed, records

BEGIN = 1_700_000_000 * SECOND
WINDOW = 10 * SECOND


def point(host: str, second: float) -> Point:
    """A gauge's point, so many seconds after the begin."""
    ts = BEGIN + round(second * SECOND)
    return Point(name="load", ts=ts, value=second * second, attributes={"host": host})


def points(host: str, seconds: Iterable[float]) -> list[Point]:
    return [point(host, second) for second in seconds]


@pytest.fixture
def flow(new_flow: FlowFactory, influxdb: InfluxdbAccess) -> MetricsFlow:
    flow = new_flow(partitions=2)
    flow.settings["rollups"] |= {"disorder": "2s", "lateness": "30s"}
    flow.write_to_influxdb(influxdb)
    return flow


def send(flow: MetricsFlow, first: list[Point], second: list[Point] | None = None) -> None:
    """Write to the first partition, and to the second."""
    messages = [encode(first)] if second is None else [encode(first), encode(second)]
    feed(flow.kafka, flow.topic, messages, partitions=2)


def late(flow: MetricsFlow) -> list[dict[str, Any]]:
    """What stands on the late topic."""
    return [
        orjson.loads(line)
        for record in records(flow.kafka, flow.topics["late"])
        for line in record.value.splitlines()
    ]


def revisions(rollups: pl.DataFrame) -> dict[tuple[str, int], int]:
    """Revisions that are not 0, by host and seconds since the begin."""
    return {
        (series[-len('a"}')], (at - BEGIN) // SECOND): revision
        for series, at, revision in rollups.select("series", "time", "revision").rows()
        if revision
    }


def test_late_points_revise_too_late_ones_are_kept_and_the_future_moves_nothing(
    flow: MetricsFlow,
) -> None:
    process = flow.start()
    on_time = [points("a", range(61)), points("b", range(61))]
    send(flow, *on_time)
    flow.wait_until("windows 0 to 40", lambda: flow.rollups_there() == 10, process)

    # The watermark is at 58 s, so what begins at 18 s or before can no longer change.
    revising = points("a", [45.5, 49.5])
    too_late = points("a", [5.5, 6.5])
    tomorrow = Point("load", time.time_ns() + 86_400 * SECOND, 1.0, attributes={"host": "b"})
    beside = point("b", 59.5)
    send(flow, revising + too_late, [tomorrow, beside, tomorrow])
    flow.wait_until("2 points on the late topic", lambda: len(late(flow)) == 2, process)
    flow.wait_until("a revision", lambda: bool(revisions(flow.rollups())), process)

    on_time += [points("a", range(61, 71)), points("b", range(61, 71))]
    send(flow, *on_time[2:])
    flow.wait_until("window 50", lambda: flow.rollups_there() == 12, process)

    expected = from_points([*chain(*on_time), *revising, beside], WINDOW).filter(
        pl.col("time") < BEGIN + 60 * SECOND
    )
    found = flow.rollups()
    assert revisions(found) == {("a", 40): 1}
    assert not differences(found.with_columns(revision=pl.lit(0, pl.Int64)), expected)
    assert [
        (row["reason"], row["name"], orjson.loads(row["labels"]), row["ts"], row["value"])
        for row in late(flow)
    ] == [
        ("late", "load", {"host": "a", "service.name": "a"}, each.ts, each.value)
        for each in too_late
    ]
    (letter,) = flow.dead_letters()
    assert (letter.origin, letter.topic, letter.partition) == ("input", flow.topic, 1)
    assert list(decode(letter.payload)) == [tomorrow, beside, tomorrow]
    assert letter.reason.startswith("2 points have a time further ahead of the message's own")
    assert process.poll() is None


def test_a_silent_partition_does_not_hold_back_the_other(flow: MetricsFlow) -> None:
    flow.settings["rollups"]["idle_timeout"] = "2s"
    process = flow.start()
    send(flow, points("a", range(21)), points("b", range(21)))
    flow.wait_until("window 0", lambda: flow.rollups_there() >= 2, process)

    busy = (encode(points("a", [second])) for second in range(21, 221))
    feeder = Feeder(flow.kafka, flow.topic, busy, partitions=1, pace=20)
    feeder.start()
    flow.wait_until("10 windows", lambda: flow.rollups_there() >= 10, process, within=20)
    assert feeder.is_alive(), "nothing was sent any more, so both partitions were silent"
    feeder.finish()


def test_when_all_is_silent_open_windows_are_shown_and_revised_later(flow: MetricsFlow) -> None:
    flow.settings["rollups"]["idle_timeout"] = "2s"
    process = flow.start()
    send(flow, points("a", range(25)), points("b", range(25)))
    flow.wait_until("3 windows each", lambda: flow.rollups_there() == 6, process)
    found = flow.rollups()
    assert not revisions(found)
    everything = points("a", range(25)) + points("b", range(25))
    assert not differences(found, from_points(everything, WINDOW))

    more = points("a", range(25, 30))
    send(flow, more)
    flow.wait_until("a revision", lambda: bool(revisions(flow.rollups())), process)
    found = flow.rollups()
    assert revisions(found) == {("a", 20): 1}
    expected = from_points(everything + more, WINDOW)
    assert not differences(found.with_columns(revision=pl.lit(0, pl.Int64)), expected)
