"""Polls of messages, for tests of what comes before the shards."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import numpy as np
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Gauge,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from operators.contracts.items import Polled

__all__ = ["NO_ENRICHMENT", "otlp_gauge", "otlp_sum", "polled"]

NO_ENRICHMENT = SimpleNamespace(lookups=(), static={}, drop=(), rename={})


def polled(topic: str, values: Sequence[bytes], times: Sequence[int], partition: int = 0) -> Polled:
    """Return a poll of one partition; the timestamps of its messages are in nanoseconds."""
    size = len(values)
    return Polled(
        0, topic, list(values), np.full(size, partition, np.int32), np.arange(size, dtype=np.int64),
        times=np.array(times, np.int64),
    )  # fmt: skip


def otlp_gauge(name: str, resource: Mapping[str, str], ts: int, value: float) -> bytes:
    """Return a message with one point."""
    point = NumberDataPoint(time_unix_nano=ts, as_double=value)
    return _message(Metric(name=name, gauge=Gauge(data_points=[point])), resource)


def otlp_sum(name: str, start: int, ts: int, value: float) -> bytes:
    """Return a message with one point of a cumulative, monotonic sum."""
    point = NumberDataPoint(start_time_unix_nano=start, time_unix_nano=ts, as_double=value)
    of = Sum(data_points=[point], aggregation_temporality=2, is_monotonic=True)
    return _message(Metric(name=name, sum=of), {})


def _message(metric: Metric, resource: Mapping[str, str]) -> bytes:
    attributes = [
        KeyValue(key=key, value=AnyValue(string_value=text)) for key, text in resource.items()
    ]
    scope = ScopeMetrics(metrics=[metric])
    whole = ResourceMetrics(resource=Resource(attributes=attributes), scope_metrics=[scope])
    return MetricsData(resource_metrics=[whole]).SerializeToString()
