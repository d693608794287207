"""Classic histograms in every format that brings them are what OTLP makes of the same data."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from random import Random
from typing import Any, NamedTuple

import polars as pl
import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from polars.testing import assert_frame_equal

from tests.operators.decoders.test_remote_write import V1, V2, compress, request
from tests.operators.windows.from_messages import rollups_of

SECOND = 10**9
BEGIN = 1_700_000_010
WINDOW = 30 * SECOND
BOUNDS = (0.005, 0.25, 1.0, 10.0)
LES = (*map(repr, BOUNDS), "+Inf")
HISTOGRAM, SUMMARY, COUNTER, GAUGE = 3, 5, 1, 2


class Scrape(NamedTuple):
    """One histogram at one time, in whole seconds."""

    route: str
    ts: int
    counts: tuple[int, ...]
    sum: float

    def parts(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """Yield the end of the name, the labels and the value of each part."""
        for le, upto in zip(LES, accumulate(self.counts), strict=True):
            yield "bucket", {"le": le, "route": self.route}, float(upto)
        yield "sum", {"route": self.route}, self.sum
        yield "count", {"route": self.route}, float(sum(self.counts))


def scrapes() -> list[Scrape]:
    """Return what two histograms showed every 15 s; one of them restarted."""
    random, found = Random(7), []
    for route in ("/a", "/b"):
        counts = [0] * len(LES)
        for number in range(9):
            if route == "/b" and number == 5:
                counts = [0] * len(LES)
            counts = [count + random.randrange(20) for count in counts]
            ts = BEGIN + 15 * number
            found.append(Scrape(route, ts, tuple(counts), sum(counts) * 0.75))
    return found


def otlp(scrape: Scrape) -> bytes:
    point = HistogramDataPoint(
        time_unix_nano=scrape.ts * SECOND, count=sum(scrape.counts), sum=scrape.sum,
        bucket_counts=scrape.counts, explicit_bounds=BOUNDS,
        attributes=[KeyValue(key="route", value=AnyValue(string_value=scrape.route))],
    )  # fmt: skip
    metric = Metric(name="x", histogram=Histogram(data_points=[point], aggregation_temporality=2))
    return MetricsData(
        resource_metrics=[ResourceMetrics(scope_metrics=[ScopeMetrics(metrics=[metric])])]
    ).SerializeToString()


def remote_write(encoding: str, part: Any, ts: int, **more: Any) -> bytes:
    end, labels, value = part
    series = {
        "labels": [("__name__", f"x_{end}"), *sorted(labels.items())],
        "samples": [{"value": value, "timestamp": ts * 1000}],
        **more,
    }
    return compress(request(encoding, series).SerializeToString())


def adapter(part: Any, ts: int) -> bytes:
    end, labels, value = part
    time = datetime.fromtimestamp(ts, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    labels = {"__name__": f"x_{end}", **labels}
    return json.dumps(
        {"value": repr(value), "timestamp": time, "name": f"x_{end}", "labels": labels}
    ).encode()


def influx(part: Any, ts: int) -> bytes:
    end, labels, value = part
    tags = "".join(f",{name}={text}" for name, text in sorted(labels.items()))
    return f"prometheus{tags} x_{end}={value!r} {ts * SECOND}\n".encode()


def telegraf(part: Any, ts: int) -> bytes:
    end, labels, value = part
    return json.dumps(
        {"name": "prometheus", "tags": labels, "fields": {f"x_{end}": value}, "timestamp": ts}
    ).encode()


FORMATS: dict[str, Any] = {
    V1: lambda part, ts: remote_write(V1, part, ts),
    V2: lambda part, ts: remote_write(V2, part, ts, type=HISTOGRAM),
    "prometheus_json": adapter,
    "influx": influx,
    "telegraf_json": telegraf,
}


def polls(messages: list[bytes]) -> list[list[bytes]]:
    """Return the messages in any order, in any polls."""
    random = Random(11)
    random.shuffle(messages)
    cuts = sorted({0, len(messages), *(random.randrange(len(messages)) for _ in range(12))})
    return [messages[begin:end] for begin, end in pairwise(cuts)]


@pytest.mark.parametrize("encoding", FORMATS)
def test_what_came_in_parts_is_the_histogram_that_otlp_has(encoding):
    expected = rollups_of("otlp_proto", [[otlp(scrape) for scrape in scrapes()]], WINDOW)
    messages = [
        FORMATS[encoding](part, scrape.ts) for scrape in scrapes() for part in scrape.parts()
    ]
    found = rollups_of(encoding, polls(messages), WINDOW)
    if encoding in ("influx", "telegraf_json"):  # where the name begins with the measurement
        assert set(found["name"]) == {"prometheus_x"}
        found, expected = (frame.drop("name", "series") for frame in (found, expected))
    assert_frame_equal(found, expected)
    assert expected.height == 2 * 5
    assert expected["p99"].null_count() == 0
    assert expected["count"].sum() > 500


@pytest.mark.parametrize("encoding", FORMATS)
def test_where_it_is_left_off_each_part_stays_what_it_was(encoding):
    messages = [FORMATS[encoding](part, scrapes()[0].ts) for part in scrapes()[0].parts()]
    found = rollups_of(encoding, [messages], WINDOW, classic=False)
    assert found.height == len(LES) + 2
    assert set(found["kind"]) == {
        "gauge" if encoding in ("influx", "telegraf_json") else "cumulative"
    }


def test_streams_that_a_dropped_label_makes_one_are_put_together_first():
    """Each has its own resets: the sum of two, one of which fell, is no histogram."""
    messages = [FORMATS[V1](part, scrape.ts) for scrape in scrapes() for part in scrape.parts()]
    found = rollups_of(V1, polls(messages), WINDOW, drop=["route"])
    apart = rollups_of(V1, polls(messages), WINDOW)
    assert set(found["labels"]) == {"{}"}
    assert found["count"].to_list() == (
        apart.group_by("window_start", maintain_order=True)
        .agg(pl.col("count").sum())["count"]
        .to_list()
    )


@pytest.mark.parametrize(
    ("name", "type_", "le", "written"),
    [
        ("x_bucket", HISTOGRAM, "1", "x"),
        ("x_bucket", 0, "1", "x"),
        ("x_bucket", 0, "+Inf", "x"),
        ("x_bucket", COUNTER, "1", "x_bucket"),  # of that name, and no histogram
        ("x_bucket", GAUGE, "1", "x_bucket"),
        ("x_bucket", 4, "1", "x_bucket"),  # of a gauge histogram
        ("x_bucket", 0, "large", "x_bucket"),
        ("x_bucket", 0, "NaN", "x_bucket"),
        ("x_bucket", 0, None, "x_bucket"),
        ("_bucket", 0, "1", "_bucket"),
        ("x_count", HISTOGRAM, None, "x_count"),  # alone
        ("x_sum", SUMMARY, None, "x_sum"),
        ("x_total", 0, "1", "x_total"),
    ],
)
def test_a_bucket_is_told_by_its_type_its_name_and_its_bound(name, type_, le, written):
    labels = [("__name__", name), *([("le", le)] if le else [])]
    made = [
        {"labels": labels, "samples": [{"value": 3.0, "timestamp": BEGIN * 1000}], "type": type_},
        # So that what is a bucket has a total, whatever its own bound is.
        {
            "labels": [("__name__", "x_bucket"), ("le", "+Inf")],
            "samples": [{"value": 3.0, "timestamp": (BEGIN + 60) * 1000}],
            "type": HISTOGRAM,
        },
    ]
    total = {"labels": [("__name__", "x_bucket"), ("le", "inf")], "type": HISTOGRAM,
             "samples": [{"value": 3.0, "timestamp": BEGIN * 1000}]}  # fmt: skip
    whole = [*made, total] if written == "x" else made
    found = rollups_of(V2, [[compress(request(V2, *whole).SerializeToString())]], WINDOW)
    first = found.filter(pl.col("window_start") <= BEGIN * SECOND)
    assert first["name"].to_list() == [written]
    assert (first["kind"][0] == "cumulative_histogram") == (written == "x")


def test_a_summary_keeps_its_count_its_sum_and_its_quantiles():
    series = [
        {"labels": [("__name__", name), *labels], "type": SUMMARY,
         "samples": [{"value": value, "timestamp": BEGIN * 1000}]}
        for name, labels, value in (
            ("s", [("quantile", "0.5")], 0.1), ("s_count", [], 5.0), ("s_sum", [], 2.5)
        )
    ]  # fmt: skip
    found = rollups_of(V2, [[compress(request(V2, *series).SerializeToString())]], WINDOW)
    assert found.select("name", "kind").rows() == [
        ("s", "gauge"), ("s_count", "cumulative"), ("s_sum", "cumulative")
    ]  # fmt: skip
