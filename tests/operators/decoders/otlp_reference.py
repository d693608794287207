"""OTLP metrics read one point after the other with OpenTelemetry's own classes: the oracle."""

import base64
import json
import math
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

STALE = 1
GAUGE, DELTA, CUMULATIVE, DELTA_HISTOGRAM, CUMULATIVE_HISTOGRAM, SUMMARY = range(6)


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


class Distributed(NamedTuple):
    """A data point of a histogram or summary with its names; None is what it does not say.

    ``segments`` are its lower and upper bounds and weights. Those of exponential buckets are rounded
    to 12 digits, the others are exact.
    """

    message: int
    ts: int
    start: int
    count: int
    sum: float | None
    min: float | None
    max: float | None
    segments: tuple[tuple[float, float, int], ...]
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
    """Return what is inside of a list or map."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {item.key: plain(item.value) for item in value.kvlist_value.values}
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return None if kind is None else getattr(value, kind)


def pairs(attributes: Any) -> tuple[tuple[str, str], ...]:
    """Return attributes in order of their keys; of a key that stands twice, the last."""
    return tuple(sorted({entry.key: text_of(entry.value) for entry in attributes}.items()))


def metrics_of(messages: list[MetricsData]) -> Any:
    """Yield each metric with its type, and the message and resource that it is in."""
    for index, data in enumerate(messages):
        for resource in data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    kind = metric.WhichOneof("data")
                    if kind is not None:
                        yield index, resource, metric, kind


def measured(messages: list[MetricsData]) -> tuple[list[Measured], dict[str, int]]:
    """Return the points with a finite value, and how many others there are, by reason."""
    found: list[Measured] = []
    skipped: dict[str, int] = {}
    for index, resource, metric, kind in metrics_of(messages):
        if kind not in ("gauge", "sum"):
            continue
        for point in getattr(metric, kind).data_points:
            reason = why_not(point) or falls(metric, point)
            if reason:
                skipped[reason] = skipped.get(reason, 0) + 1
                continue
            field = point.WhichOneof("value")
            found.append(
                Measured(
                    index, point.time_unix_nano, point.start_time_unix_nano,
                    float(getattr(point, field)), metric.name, metric.unit, kind_of(metric),
                    pairs(point.attributes), pairs(resource.resource.attributes),
                )
            )  # fmt: skip
    return found, skipped


def distributed(messages: list[MetricsData]) -> tuple[list[Distributed], dict[str, int]]:
    """Return the usable points of histograms and summaries, and how many others, by reason."""
    found: list[Distributed] = []
    skipped: dict[str, int] = {}
    segments_of = {
        "histogram": explicit,
        "exponential_histogram": exponential,
        "summary": quantiles,
    }
    for index, resource, metric, kind in metrics_of(messages):
        if kind not in segments_of:
            continue
        for point in getattr(metric, kind).data_points:
            segments = None if point.flags & STALE else segments_of[kind](point)
            reason = None
            if point.flags & STALE:
                reason = "stale"
            elif segments is None or point.count >= 2**63:
                reason = "malformed"
            elif not point.time_unix_nano:
                reason = "no_time"
            if reason:
                skipped[reason] = skipped.get(reason, 0) + 1
                continue
            found.append(
                Distributed(
                    index, point.time_unix_nano, point.start_time_unix_nano, point.count,
                    told(point, "sum"), told(point, "min"), told(point, "max"),
                    tuple(sorted(segments)), metric.name, metric.unit, kind_of(metric),
                    pairs(point.attributes), pairs(resource.resource.attributes),
                )
            )  # fmt: skip
    return found, skipped


def told(point: Any, field: str) -> float | None:
    """Return an optional number that is finite."""
    names = point.DESCRIPTOR.fields_by_name
    if field not in names or (names[field].has_presence and not point.HasField(field)):
        return None
    value: float = getattr(point, field)
    return value if math.isfinite(value) else None


def explicit(point: Any) -> list[tuple[float, float, int]] | None:
    """Return the buckets that are not empty, or None if the point breaks a rule of the protocol."""
    bounds, counts = list(point.explicit_bounds), list(point.bucket_counts)
    if not bounds and not counts:
        counts = [point.count]
    edges = [-math.inf, *bounds, math.inf]
    rising = all(a < b for a, b in pairwise(bounds))
    if not rising or any(map(math.isnan, bounds)) or len(counts) != len(bounds) + 1:
        return None
    if sum(counts) != point.count:
        return None
    found = [
        (low, high, n) for low, high, n in zip(edges[:-1], edges[1:], counts, strict=True) if n
    ]
    return None if any(low == high for low, high, _ in found) else found


def exponential(point: Any) -> list[tuple[float, float, int]] | None:
    """Return the buckets that are not empty, or None if the point breaks a rule of the protocol."""
    threshold = point.zero_threshold
    if not -10 <= point.scale <= 20 or not 0 <= threshold < math.inf:
        return None
    total = point.zero_count + sum(point.positive.bucket_counts) + sum(point.negative.bucket_counts)
    if total != point.count:
        return None
    found = [(-threshold + 0.0, threshold, point.zero_count)] if point.zero_count else []
    for sign, buckets in ((1, point.positive), (-1, point.negative)):
        for number, count in enumerate(buckets.bucket_counts):
            if count:
                index = buckets.offset + number
                low, high = power(point.scale, index), power(point.scale, index + 1)
                if high == 0 or math.isinf(low):
                    return None
                found.append((low, high, count) if sign > 0 else (0.0 - high, 0.0 - low, count))
    return found


def power(scale: int, index: int) -> float:
    """Return 2 to the power of index / 2**scale, to 12 digits; 0 and inf past a double's range."""
    exponent = Fraction(index) / Fraction(2) ** scale
    if exponent >= 1024:
        return math.inf
    if exponent <= -1075:
        return 0.0
    whole = math.floor(exponent)
    return rounded(math.ldexp(2 ** float(exponent - whole), whole))


def rounded(value: float) -> float:
    return float(f"{value:.11e}")


def quantiles(point: Any) -> list[tuple[float, float, int]] | None:
    """Return the quantiles that have a value, or None if the point breaks a rule of the protocol."""
    at = [entry.quantile for entry in point.quantile_values]
    rising = all(a < b for a, b in pairwise(at))
    if not rising or not all(0 <= q <= 1 for q in at):
        return None
    entries = [(entry.quantile, entry.value, 0) for entry in point.quantile_values]
    return [entry for entry in entries if math.isfinite(entry[1])]


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


def falls(metric: Any, point: Any) -> str | None:
    """Return why the change of what only rises can't be used: it says that it fell."""
    rising_delta = metric.sum.is_monotonic and metric.sum.aggregation_temporality == 1
    value = getattr(point, point.WhichOneof("value"))
    return "negative_delta" if rising_delta and value < 0 else None


def kind_of(metric: Any) -> int:
    """Return the number of the kind that a metric is rolled up as."""
    if metric.WhichOneof("data") == "gauge":
        return GAUGE
    if metric.WhichOneof("data") == "summary":
        return SUMMARY
    if metric.WhichOneof("data") == "histogram":
        delta = metric.histogram.aggregation_temporality == 1
        return DELTA_HISTOGRAM if delta else CUMULATIVE_HISTOGRAM
    if metric.WhichOneof("data") == "exponential_histogram":
        delta = metric.exponential_histogram.aggregation_temporality == 1
        return DELTA_HISTOGRAM if delta else CUMULATIVE_HISTOGRAM
    if metric.sum.aggregation_temporality == 1:
        return DELTA
    return CUMULATIVE if metric.sum.is_monotonic else GAUGE
