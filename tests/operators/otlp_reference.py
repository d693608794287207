"""OTLP metrics read one point after the other with OpenTelemetry's own classes: the oracle."""

import base64
import json
from typing import Any, NamedTuple

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

STALE = 1
GAUGE, DELTA, CUMULATIVE = 0, 1, 2
NAMES = {
    "histogram": "histogram",
    "exponential_histogram": "exponential_histogram",
    "summary": "summary",
}


class Measured(NamedTuple):
    """A data point with its names."""

    message: int
    ts: int
    start: int
    value: float
    name: str
    unit: str
    kind: int
    attributes: tuple[tuple[str, str], ...]
    resource: tuple[tuple[str, str], ...]


def as_json(data: MetricsData) -> bytes:
    """Return what a collector writes as ``otlp_json``."""
    return json.dumps(MessageToDict(data, use_integers_for_enums=True)).encode()


def text_of(value: AnyValue) -> str:
    """Return an attribute's value as a label shows it."""
    kind = value.WhichOneof("value")
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    if kind == "array_value":
        return as_text([plain(item) for item in value.array_value.values])
    if kind == "kvlist_value":
        return as_text({item.key: plain(item.value) for item in value.kvlist_value.values})
    return "" if kind is None else str(getattr(value, kind))


def as_text(value: Any) -> str:
    """Return compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def plain(value: AnyValue) -> Any:
    """Return a scalar inside of a list or map."""
    kind = value.WhichOneof("value")
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return None if kind is None else getattr(value, kind)


def pairs(attributes: Any) -> tuple[tuple[str, str], ...]:
    """Return attributes in order of their keys; of a key that stands twice, the last."""
    return tuple(sorted({entry.key: text_of(entry.value) for entry in attributes}.items()))


def measured(messages: list[MetricsData]) -> tuple[list[Measured], dict[str, int]]:
    """Return the points with a finite value, and how many others there are, by reason."""
    found: list[Measured] = []
    skipped: dict[str, int] = {}
    for index, data in enumerate(messages):
        for resource in data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    kind = metric.WhichOneof("data")
                    if kind in NAMES:
                        skipped[NAMES[kind]] = skipped.get(NAMES[kind], 0) + 1
                    if kind not in ("gauge", "sum"):
                        continue
                    for point in getattr(metric, kind).data_points:
                        reason = why_not(point)
                        if reason:
                            skipped[reason] = skipped.get(reason, 0) + 1
                            continue
                        field = point.WhichOneof("value")
                        found.append(
                            Measured(
                                index, point.time_unix_nano, point.start_time_unix_nano,
                                float(getattr(point, field)), metric.name, metric.unit,
                                kind_of(metric), pairs(point.attributes),
                                pairs(resource.resource.attributes),
                            )
                        )  # fmt: skip
    return found, skipped


def why_not(point: Any) -> str | None:
    """Return why a data point carries nothing to aggregate."""
    if point.flags & STALE:
        return "stale"
    field = point.WhichOneof("value")
    if field is None:
        return "no_value"
    if not abs(float(getattr(point, field))) < float("inf"):
        return "not_finite"
    return None if point.time_unix_nano else "no_time"


def kind_of(metric: Any) -> int:
    """Return the number of the kind that a metric is rolled up as."""
    if metric.WhichOneof("data") == "gauge":
        return GAUGE
    if metric.sum.aggregation_temporality == 1:
        return DELTA
    return CUMULATIVE if metric.sum.is_monotonic else GAUGE
