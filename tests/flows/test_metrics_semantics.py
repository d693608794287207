"""Every kind of metric through the running flow, against what the data model says of each case.

Messages are built with OpenTelemetry's own classes, one metric a case; the expected rollups are
worked out by hand from "Resets and gaps", "Overlap", "Histogram", "ExponentialHistogram" and
"Summary (Legacy)" of the metrics data model. Times are seconds after ``BEGIN``.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    DataPointFlags,
    Metric,
    MetricsData,
)

from operators.columns.batches import decode_batch
from operators.contracts.batch_form import ROLLUP_BATCHES
from tests.backends.topics import make_topics
from tests.flows.metrics_flow import MetricsFlow
from tests.flows.telemetry import SECOND, feed, records

BEGIN = 1_700_000_040  # a full minute
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
NOTHING = object()
"""Stands for a staleness marker."""

Build = Callable[[Metric], None]
Rollups = Mapping[tuple[str, int], Mapping[str, float | None]]
"""Fields by length and start of the window; a window that is not there must not come out."""


def nanoseconds(second: float) -> int:
    return BEGIN * SECOND + round(second * SECOND)


def timed(point: Any, ts: float, start: float | None) -> Any:
    point.time_unix_nano = nanoseconds(ts)
    if start is not None:
        point.start_time_unix_nano = nanoseconds(start)
    return point


def gauge(*points: tuple[float, float]) -> Build:
    def build(metric: Metric) -> None:
        for ts, value in points:
            timed(metric.gauge.data_points.add(), ts, None).as_double = value

    return build


def total(
    *points: tuple[float | None, float, Any],
    temporality: int = CUMULATIVE,
    monotonic: bool = True,
) -> Build:
    """A sum: start, time and value of each point."""

    def build(metric: Metric) -> None:
        metric.sum.aggregation_temporality = temporality
        metric.sum.is_monotonic = monotonic
        for start, ts, value in points:
            point = timed(metric.sum.data_points.add(), ts, start)
            if value is NOTHING:
                point.flags = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
            else:
                point.as_int = value

    return build


def histogram(
    *points: tuple[float | None, float, Sequence[int], float],
    bounds: Sequence[float] | Sequence[Sequence[float]] = (1, 5, 10),
    temporality: int = CUMULATIVE,
    extremes: Sequence[tuple[float, float] | None] = (),
) -> Build:
    """A histogram: start, time, counts and sum of each point."""

    def build(metric: Metric) -> None:
        metric.histogram.aggregation_temporality = temporality
        for number, (start, ts, counts, amount) in enumerate(points):
            point = timed(metric.histogram.data_points.add(), ts, start)
            point.bucket_counts.extend(counts)
            mine = bounds[number] if isinstance(bounds[0], tuple) else bounds
            point.explicit_bounds.extend(mine)
            point.count, point.sum = sum(counts), amount
            if extremes and extremes[number]:
                point.min, point.max = extremes[number]

    return build


def exponential(
    *points: tuple[float | None, float, int, int, Sequence[int]],
    zeros: int = 0,
    temporality: int = CUMULATIVE,
) -> Build:
    """An exponential histogram: start, time, scale, offset and counts of each point."""

    def build(metric: Metric) -> None:
        metric.exponential_histogram.aggregation_temporality = temporality
        for start, ts, scale, offset, counts in points:
            point = timed(metric.exponential_histogram.data_points.add(), ts, start)
            point.scale, point.zero_count = scale, zeros
            point.positive.offset = offset
            point.positive.bucket_counts.extend(counts)
            point.count, point.sum = sum(counts) + zeros, 0.0

    return build


def summary(*points: tuple[float | None, float, int, float, Mapping[float, float]]) -> Build:
    """A summary: start, time, count, sum and quantiles of each point."""

    def build(metric: Metric) -> None:
        for start, ts, count, amount, quantiles in points:
            point = timed(metric.summary.data_points.add(), ts, start)
            point.count, point.sum = count, amount
            for quantile, value in quantiles.items():
                point.quantile_values.add(quantile=quantile, value=value)

    return build


CASES: dict[str, tuple[Build, Rollups]] = {
    "a gauge's last value is the latest, whatever came last": (
        gauge((8, 3.0), (2, 1.0), (5, -4.0)),
        {("10s", 0): {"count": 3, "sum": 0, "min": -4, "max": 3, "last": 3, "increase": None},
         ("1m", 0): {"count": 3, "mean": 0, "last": 3}},
    ),
    "a cumulative sum that is reset counts from zero again": (
        # The increments cover nine seconds: from the start at -1 to the point at 8.
        total((-1, 2, 7), (-1, 8, 10), (11, 14, 4)),
        {("10s", 0): {"increase": 10, "last": 10, "count": 2, "rate": 10 / 9},
         ("10s", 10): {"increase": 4, "last": 4},
         ("1m", 0): {"increase": 14, "last": 4, "count": 3}},
    ),
    "a reset that the value does not show is one if the start says so": (
        total((-1, 2, 7), (3, 8, 9)),
        {("10s", 0): {"increase": 16}, ("1m", 0): {"increase": 16}},
    ),
    "a start equal to the time is unknown: the point is a base": (
        total((2, 2, 500), (2, 8, 503)),
        {("10s", 0): {"increase": 3, "count": 2}, ("1m", 0): {"increase": 3}},
    ),
    "without start times a fall is a reset": (
        total((None, 2, 50), (None, 4, 60), (None, 12, 4)),
        {("10s", 0): {"increase": 10}, ("10s", 10): {"increase": 4}, ("1m", 0): {"increase": 14}},
    ),
    "a staleness marker is a gap, which the next point bridges": (
        total((-1, 2, 5), (-1, 12, NOTHING), (-1, 22, 9)),
        {("10s", 0): {"increase": 5}, ("10s", 20): {"increase": 4}, ("1m", 0): {"increase": 9}},
    ),
    "a point that is sent twice counts once": (
        total((-1, 2, 5), (-1, 2, 5), (-1, 4, 6)),
        {("10s", 0): {"increase": 6, "count": 2}, ("1m", 0): {"count": 2}},
    ),
    "the history of a counter that is met late is no event of now": (
        total((-5000, 2, 10**9), (-5000, 8, 10**9 + 2)),
        {("10s", 0): {"increase": 2}, ("1m", 0): {"increase": 2}},
    ),
    "a writer that was superseded adds nothing": (
        total((-10, 1, 1000), (2, 5, 5), (-10, 6, 1004), (2, 9, 9)),
        {("10s", 0): {"increase": 1009, "count": 3}, ("1m", 0): {"increase": 1009}},
    ),
    "a writer that began before the last point of the old one is a reset all the same": (
        total((-10, 4, 5), (2, 6, 7)),
        {("10s", 0): {"increase": 12}, ("1m", 0): {"increase": 12}},
    ),
    "deltas add up, also over a gap": (
        total((0, 2, 5), (2, 4, 1), (30, 32, 7), temporality=DELTA),
        {("10s", 0): {"increase": 6, "sum": 6}, ("10s", 30): {"increase": 7},
         ("1m", 0): {"increase": 13, "count": 3}},
    ),
    "a delta that overlaps the one before is left out": (
        total((0, 4, 5), (2, 6, 3), (4, 8, 1), temporality=DELTA),
        {("10s", 0): {"increase": 6, "count": 2}, ("1m", 0): {"increase": 6}},
    ),
    "a sum that may fall is a gauge": (
        total((-1, 2, 5), (-1, 8, 3), monotonic=False),
        {("10s", 0): {"increase": None, "last": 3, "max": 5, "mean": 4}, ("1m", 0): {"last": 3}},
    ),
    "a cumulative histogram counts what was observed since the point before": (
        histogram((-1, 2, [1, 2, 0, 0], 5), (-1, 8, [1, 2, 1, 0], 12), (-1, 12, [1, 2, 1, 4], 92)),
        # Of four the second lies in the middle of (1, 5]; above 10 nothing is known but the bound.
        {("10s", 0): {"count": 4, "sum": 12, "increase": 4, "p50": 3, "min": None, "last": None},
         ("10s", 10): {"count": 4, "sum": 80, "mean": 20, "p50": 10, "p99": 10},
         ("1m", 0): {"count": 8, "sum": 92, "p50": 10}},
    ),
    "a histogram's reset counts from zero": (
        histogram((-1, 2, [4, 4, 0, 0], 16), (11, 14, [0, 1, 0, 0], 2)),
        {("10s", 0): {"count": 8}, ("10s", 10): {"count": 1, "sum": 2, "p50": 3},
         ("1m", 0): {"count": 9, "sum": 18}},
    ),
    "a histogram's reset whose start is unknown adds nothing, and later ones count from it": (
        histogram((-1, 2, [4, 4, 0, 0], 16), (12, 12, [9, 9, 9, 0], 99),
                  (12, 14, [9, 9, 11, 0], 113)),
        {("10s", 0): {"count": 8}, ("10s", 10): {"count": 2, "sum": 14, "p50": 7.5},
         ("1m", 0): {"count": 10, "sum": 30}},
    ),
    "a bucket that fell is a reset, also if there are more observations": (
        histogram((-1, 2, [5, 0, 0, 0], 5), (-1, 12, [0, 0, 7, 0], 49)),
        {("10s", 0): {"count": 5}, ("10s", 10): {"count": 7, "sum": 49}, ("1m", 0): {"count": 12}},
    ),
    "bounds that changed under way add nothing, and later ones count from it": (
        histogram((-1, 2, [0, 3, 0, 0], 9), (-1, 12, [0, 4, 0], 12), (-1, 14, [0, 6, 0], 18),
                  bounds=((1, 5, 10), (2, 7), (2, 7))),
        {("10s", 0): {"count": 3}, ("10s", 10): {"count": 2, "sum": 6, "p50": 4.5},
         ("1m", 0): {"count": 5, "sum": 15}},
    ),
    "delta histograms add up, and have extremes": (
        histogram((0, 2, [1, 0, 0, 0], 1), (2, 8, [0, 2, 1, 0], 16), temporality=DELTA,
                  extremes=((1, 1), (2, 9))),
        {("10s", 0): {"count": 4, "sum": 17, "min": 1, "max": 9, "p50": 3},
         ("1m", 0): {"count": 4, "min": 1, "max": 9}},
    ),
    "extremes are of those histograms that say theirs": (
        histogram((0, 2, [1, 0, 0, 0], 1), (2, 8, [0, 2, 1, 0], 16), temporality=DELTA,
                  extremes=((1, 1), None)),
        {("10s", 0): {"count": 4, "min": 1, "max": 1}, ("1m", 0): {"min": 1}},
    ),
    "a delta histogram that is sent twice counts once": (
        histogram((0, 2, [1, 0, 0, 0], 1), (0, 2, [1, 0, 0, 0], 1), temporality=DELTA),
        {("10s", 0): {"count": 1}, ("1m", 0): {"count": 1}},
    ),
    "an exponential histogram that became coarser goes on": (
        # (1, 1.41]: 1, (1.41, 2]: 1, (2, 2.83]: 2; then (1, 2]: 2, (2, 4]: 3
        exponential((-1, 2, 1, 0, [1, 1, 2]), (-1, 12, 0, 0, [2, 3])),
        {("10s", 0): {"count": 4}, ("10s", 10): {"count": 1, "p50": 2 * 2**0.5},
         ("1m", 0): {"count": 5}},
    ),
    "an exponential histogram's reset counts at once, not from its old peak on": (
        exponential((-1, 2, 0, 0, [10]), (11, 14, 0, 1, [3]), (11, 22, 0, 1, [5])),
        {("10s", 0): {"count": 10}, ("10s", 10): {"count": 3}, ("10s", 20): {"count": 2},
         ("1m", 0): {"count": 15}},
    ),
    "so does one without a new start": (
        exponential((-1, 2, 0, 0, [10]), (-1, 14, 0, 0, [3]), (-1, 22, 0, 0, [5])),
        {("10s", 0): {"count": 10}, ("10s", 10): {"count": 3}, ("10s", 20): {"count": 2},
         ("1m", 0): {"count": 15}},
    ),
    "zeros are values": (
        exponential((0, 2, 0, 0, [1]), zeros=3, temporality=DELTA),
        {("10s", 0): {"count": 4, "p50": 0, "p90": 2**0.6}, ("1m", 0): {"count": 4, "p50": 0}},
    ),
    "a summary's count grows, its quantiles are the last": (
        summary((-1, 2, 3, 6, {0.5: 1, 0.99: 4}), (-1, 8, 5, 11, {0.5: 2, 0.99: 5})),
        {("10s", 0): {"count": 5, "sum": 11, "p50": 2, "p90": None, "p99": 5},
         ("1m", 0): {"count": 5, "p50": 2, "p99": 5}},
    ),
    "a summary that began anew counts from zero": (
        summary((-1, 2, 3, 6, {0.5: 1}), (11, 12, 2, 8, {0.5: 4})),
        {("10s", 0): {"count": 3}, ("10s", 10): {"count": 2, "sum": 8, "p50": 4},
         ("1m", 0): {"count": 5, "p50": 4}},
    ),
}  # fmt: skip


def slug(case: str) -> str:
    return re.sub(r"\W+", ".", case)


def message(case: str) -> bytes:
    data = MetricsData()
    metric = data.resource_metrics.add().scope_metrics.add().metrics.add(name=slug(case))
    CASES[case][0](metric)
    return data.SerializeToString()


@pytest.fixture(scope="module")
def rollups(
    kafka: str, tmp_path_factory: pytest.TempPathFactory, module_topic: str
) -> dict[str, dict[tuple[str, int], dict[str, Any]]]:
    """What one run of the flow makes of all cases: by case, length and start of the window."""
    flow = MetricsFlow(tmp_path_factory.mktemp("semantics"), kafka, module_topic)
    flow.settings["rollups"] = {"windows": ["10s", "1m"]}
    feed(kafka, module_topic, map(message, CASES))
    try:
        flow.run_to_the_end()
    finally:
        flow.kill_all()
    found: dict[str, dict[tuple[str, int], dict[str, Any]]] = {slug(case): {} for case in CASES}
    lengths = {10 * SECOND: "10s", 60 * SECOND: "1m"}
    for record in records(kafka, flow.topics["rollups"]):
        for row in decode_batch(record.value, ROLLUP_BATCHES).iter_rows(named=True):
            second = row["window_start"] // SECOND - BEGIN
            key = lengths[row["window"]], second
            assert key not in found[row["name"]], "a revision, where all came in time"
            found[row["name"]][key] = row
    return found


@pytest.fixture(scope="module")
def module_topic(kafka: str) -> str:
    name = f"semantics-{uuid.uuid4().hex[:12]}"
    make_topics(kafka, [name])
    return name


@pytest.mark.parametrize("case", CASES)
def test_the_rollups_are_what_the_data_model_says(case: str, rollups: Any) -> None:
    found, expected = rollups[slug(case)], CASES[case][1]
    assert found.keys() == expected.keys()
    for key, fields in expected.items():
        for name, value in fields.items():
            if value is None:
                assert found[key][name] is None, (key, name)
            else:
                assert found[key][name] == pytest.approx(value, rel=1e-9, abs=1e-9), (key, name)
