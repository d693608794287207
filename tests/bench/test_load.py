"""The load of the benchmarks, read by parsers that are not ours, is what its formulas say."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import orjson
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

from bench.load import SERIES_A_HOST, Load
from bench.messages import WRITERS

LINE = re.compile(
    rb"(?P<name>\w+),(?P<tags>[^ ]+) (?P<field>\w+)=(?P<value>[0-9.]+)(?P<integer>i?) "
    rb"(?P<time>\d{19})\n"
)


@dataclass(frozen=True)
class Read:
    """A point as a reader finds it."""

    name: str
    labels: Mapping[str, str]
    gauge: bool
    value: float
    time: int


def read_otlp(message: bytes) -> list[Read]:
    points = []
    for resource in MetricsData.FromString(message).resource_metrics:
        own = {a.key: a.value.string_value for a in resource.resource.attributes}
        for metric in resource.scope_metrics[0].metrics:
            gauge = metric.HasField("gauge")
            for point in (metric.gauge if gauge else metric.sum).data_points:
                labels = own | {a.key: a.value.string_value for a in point.attributes}
                seconds = point.time_unix_nano // 10**9
                points.append(Read(metric.name, labels, gauge, point.as_double, seconds))
    return points


def read_line(message: bytes) -> list[Read]:
    found = LINE.fullmatch(message)
    assert found is not None, message
    tags = [tag.split("=") for tag in found["tags"].decode().split(",")]
    assert tags == sorted(tags), "Telegraf writes tags in order"
    name = f"{found['name'].decode()}_{found['field'].decode()}"
    gauge = not found["integer"]
    return [Read(name, dict(tags), gauge, float(found["value"]), int(found["time"]) // 10**9)]


def read_json(message: bytes) -> list[Read]:
    value = orjson.loads(message)
    assert list(value) == ["value", "timestamp", "name", "labels"]
    labels = value["labels"]
    assert labels.pop("__name__") == value["name"]
    hours, minutes, seconds = map(int, value["timestamp"][11:19].split(":"))
    assert value["timestamp"].startswith("2023-11-14T")
    time = 1_699_920_000 + hours * 3600 + minutes * 60 + seconds  # midnight of that day
    gauge = not value["name"].endswith("_total")
    return [Read(value["name"], labels, gauge, float(value["value"]), time)]


READERS = {"otlp_proto": read_otlp, "influx": read_line, "prometheus_json": read_json}


def test_every_encoding_has_a_reader_here():
    assert READERS.keys() == WRITERS.keys()


@pytest.mark.parametrize("encoding", WRITERS)
@pytest.mark.parametrize("series", [800, 9_600])
def test_a_series_is_a_gauge_or_a_counter_and_any_point_can_be_computed(encoding, series):
    load = Load(series, 3, encoding=encoding)
    exact = encoding == "otlp_proto"
    base = 0 if exact else 1_000_000_000
    for second, batch in enumerate(load.batches()):
        points = [point for message in batch for point in READERS[encoding](message)]
        assert len(points) == series
        for number, point in enumerate(points):
            assert point.time == 1_700_000_000 + second + 1
            assert point.gauge == (number // 8 % 2 == 1)
            if point.gauge:
                value = 50 + 40 * math.sin(number * 0.7 + second * 0.01)
                assert point.value == pytest.approx(value, abs=1e-9 if exact else 0.005001)
            else:
                assert point.value == base + (second + 1) * (number % 8 + 1)


@pytest.mark.parametrize("encoding", WRITERS)
def test_there_are_as_many_series_as_it_says_and_they_stay_the_same(encoding):
    load = Load(4_000, 2, encoding=encoding)
    first, second = (
        [
            (point.name, tuple(point.labels.items()))
            for message in batch
            for point in READERS[encoding](message)
        ]
        for batch in load.batches()
    )
    assert first == second
    assert len(set(first)) == 4_000


@pytest.mark.parametrize("encoding", WRITERS)
def test_hosts_have_numbers_of_any_length(encoding):
    load = Load(101 * 800, 1, encoding=encoding)
    hosts = {
        value.removesuffix(":9100")
        for message in load.messages()
        for point in READERS[encoding](message)
        for value in point.labels.values()
        if value.startswith("host-")
    }
    assert hosts == {f"host-{number}" for number in range(101 * 800 // SERIES_A_HOST)}


def test_all_messages_come_in_order_of_time():
    load = Load(800, 4, encoding="influx")
    times = [read_line(message)[0].time for message in load.messages()]
    assert times == sorted(times)
    assert len(times) == load.points
