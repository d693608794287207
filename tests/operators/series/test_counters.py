"""Counters of formats without types are told by the names that the settings give."""

import re

import numpy as np
import polars as pl
import pytest

from operators.contracts.frames import CUMULATIVE, DELTA, GAUGE, STREAMS, SUMMARY, empty
from operators.contracts.items import ShardBatch
from operators.series.counters import misleading_starts, with_counters
from operators.series.enrichment import Enricher
from operators.series.registry import SeriesRegistry
from operators.series.step import Decoding, Encoded
from operators.windows.rollups import rates
from operators.windows.sums import Points, aggregate, no_tails, sort_points
from tests.operators.series.polls import NO_ENRICHMENT, otlp_sum, polled


def streams(**kinds: int) -> pl.DataFrame:
    size = len(kinds)
    return pl.DataFrame(
        {
            "name": list(kinds), "unit": ["By"] * size, "kind": list(kinds.values()),
            "scope": [""] * size, "resource": [0] * size,
        },
        schema=STREAMS,
    )  # fmt: skip


def kinds(frame: pl.DataFrame) -> dict[str, int]:
    assert frame.schema == STREAMS
    return dict(zip(frame["name"], frame["kind"], strict=True))


def test_gauges_whose_whole_name_matches_are_cumulative():
    found = with_counters(
        streams(net_bytes_recv=GAUGE, net_bytes_recv_rate=GAUGE, cpu=GAUGE, disk_io_time=GAUGE),
        re.compile(r"net_bytes_(recv|sent)|disk_.*"),
    )
    assert kinds(found) == {
        "net_bytes_recv": CUMULATIVE, "net_bytes_recv_rate": GAUGE, "cpu": GAUGE,
        "disk_io_time": CUMULATIVE,
    }  # fmt: skip


def test_what_has_a_type_keeps_it():
    before = streams(a=DELTA, b=SUMMARY, c=CUMULATIVE)
    assert with_counters(before, re.compile(".*")).equals(before)


def test_python_s_expressions_hold():
    # A look-ahead, which the Rust engine behind Polars does not know.
    found = with_counters(streams(total=GAUGE, total_x=GAUGE), re.compile(r"(?!.*_x$).*"))
    assert kinds(found) == {"total": CUMULATIVE, "total_x": GAUGE}


def test_nothing_comes_of_nothing():
    assert with_counters(empty(STREAMS), re.compile(".*")).equals(empty(STREAMS))


SYSTEM_METRICS = "opentelemetry.instrumentation.system_metrics"
NGINX = "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/nginxreceiver"
PROMETHEUS = "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/prometheusreceiver"


@pytest.mark.parametrize(
    ("name", "scope", "kind", "misleads"),
    [
        ("system.cpu.time", "", CUMULATIVE, True),
        ("system.cpu.time", "", DELTA, False),
        ("system.cpu.utilization", "", GAUGE, False),
        ("cpython.gc.collections", SYSTEM_METRICS + "\x000.50b0", CUMULATIVE, True),
        ("nginx.requests", NGINX, CUMULATIVE, True),
        ("nginx.requests", f"\x0a{chr(len(NGINX))}{NGINX}".encode().hex(), CUMULATIVE, True),
        ("http_requests", PROMETHEUS, CUMULATIVE, False),
        ("http.server.requests", "io.opentelemetry.tomcat-10.0", CUMULATIVE, False),
        ("my.system.requests", "", CUMULATIVE, False),
    ],
)
def test_the_start_of_a_counter_that_others_read_is_not_believed(name, scope, kind, misleads):
    frame = streams(**{name: kind}).with_columns(scope=pl.lit(scope))
    assert misleading_starts(frame, re.compile(r"system\..*")).tolist() == [misleads]


def test_an_agent_that_restarts_makes_no_rate_of_what_its_host_counted_since_boot():
    """As ``opentelemetry-instrumentation-system-metrics`` of the Python SDK writes it."""
    second = 10**9
    now = 1_700_000_000 * second
    step = Decoding(
        {"t": Encoded("otlp_proto", "default")},
        lambda _: SeriesRegistry("default", [], Enricher(NO_ENRICHMENT), since_boot=r"system\..*"),
        shards=1,
        future=second,
        evict_after=10**15,
    )
    told: list[tuple[int, int, float]] = []
    # Its start is that of the agent, which is started anew; the host counts on.
    for start, ts, value in ((-10, 0, 2260.0), (-10, 10, 2269.0), (11, 20, 2278.0)):
        at = now + ts * second
        message = otlp_sum("system.cpu.time", now + start * second, at, value)
        for item in step(polled("t", [message], [at])):
            if isinstance(item, ShardBatch):
                told += zip(item.samples.ts, item.samples.start, item.samples.value, strict=True)
    assert [(start, value) for _, start, value in told] == [(0, 2260.0), (0, 2269.0), (0, 2278.0)]
    points = Points(
        np.zeros(3, np.int32), *(np.array(column) for column in zip(*told, strict=True))
    )
    kinds = np.array([CUMULATIVE], np.uint8)
    rows, *_ = aggregate(sort_points(points, 1), kinds, 10 * second, 300 * second, no_tails(1))
    assert rows.increase.tolist() == [0.0, 9.0, 9.0]
    found = rates(rows._replace(stream=np.ones(3, np.uint64)), 10 * second)
    assert np.isnan(found[0])
    assert found[1:].tolist() == [0.9, 0.9]
