"""Histograms as OpenTelemetry's own SDK measures and exports them, read back to the last number."""

import math
from itertools import pairwise

import numpy as np
import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource

from operators.contracts.frames import CUMULATIVE_HISTOGRAM, DELTA_HISTOGRAM
from operators.decoders.otlp.proto import OtlpProto

SAMPLE = [*np.random.default_rng(7).lognormal(3, 2, 500).tolist(), 0.0, 0.0]
BOUNDS = (1.0, 5.0, 10.0, 50.0, 100.0, 1000.0)


def exported(temporality, aggregation, values):
    """Return the data of the SDK's own, and the bytes that its exporter sends."""
    reader = InMemoryMetricReader({Histogram: temporality, Counter: temporality})
    provider = MeterProvider(
        [reader],
        Resource({"service.name": "shop"}),
        views=[View(instrument_name="*", aggregation=aggregation)],
    )
    histogram = provider.get_meter("test").create_histogram("latency", "ms")
    for value in values:
        histogram.record(value, {"route": "/cart"})
    data = reader.get_metrics_data()
    provider.shutdown()
    [point] = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    return point, encode_metrics(data).SerializeToString()


def segments(decoded):
    found = decoded.distributions
    assert len(found) == 1
    columns = (found.lower.tolist(), found.upper.tolist(), found.weight.tolist())
    return list(zip(*columns, strict=True))


def assert_states(decoded, point, kind):
    found = decoded.distributions
    assert decoded.rejected == decoded.skipped == {}
    assert found.ts.tolist() == [point.time_unix_nano]
    assert found.start.tolist() == [point.start_time_unix_nano]
    assert (found.count[0], found.sum[0], found.min[0], found.max[0]) == (
        point.count, point.sum, point.min, point.max
    )  # fmt: skip
    description = decoded.describe(np.array([0]))
    assert description.streams.select("name", "unit", "kind").row(0) == ("latency", "ms", kind)
    assert description.attributes.rows() == [(0, "route", "/cart")]
    assert (0, "service.name", "shop") in description.resources.rows()


temporalities = pytest.mark.parametrize(
    ("temporality", "kind"),
    [
        (AggregationTemporality.DELTA, DELTA_HISTOGRAM),
        (AggregationTemporality.CUMULATIVE, CUMULATIVE_HISTOGRAM),
    ],
)


@temporalities
def test_an_explicit_histogram_of_the_sdk_is_read_as_it_was_measured(temporality, kind):
    aggregation = ExplicitBucketHistogramAggregation(BOUNDS)
    point, message = exported(temporality, aggregation, SAMPLE)
    decoded = OtlpProto().decode([message])
    assert_states(decoded, point, kind)
    edges = [-math.inf, *BOUNDS, math.inf]
    counted = [
        (low, high, sum(low < value <= high for value in SAMPLE)) for low, high in pairwise(edges)
    ]
    assert segments(decoded) == [segment for segment in counted if segment[2]]


@temporalities
@pytest.mark.parametrize("size", [4, 160])
def test_an_exponential_histogram_of_the_sdk_holds_every_value_it_was_given(
    temporality, kind, size
):
    aggregation = ExponentialBucketHistogramAggregation(max_size=size)
    point, message = exported(temporality, aggregation, SAMPLE)
    decoded = OtlpProto().decode([message])
    assert_states(decoded, point, kind)
    found = segments(decoded)
    assert found[0] == (0.0, 0.0, 2)
    assert sum(weight for *_, weight in found) == len(SAMPLE)
    # None of the sample lies on a bound, so which end belongs to a bucket does not matter.
    for low, high, weight in found[1:]:
        assert sum(low < value < high for value in SAMPLE) == weight
    ratios = [high / low for low, high, _ in found[1:]]
    assert ratios == pytest.approx([2**2.0**-point.scale] * len(ratios), rel=1e-12)
