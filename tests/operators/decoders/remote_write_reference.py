"""Remote write read one sample after the other with protobuf's own classes: the oracle.

The messages are declared in full, from Prometheus's `prompb/types.proto` and
`prompb/io/prometheus/write/v2/types.proto`.
"""

import math
import struct
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

GAUGE, CUMULATIVE, CUMULATIVE_HISTOGRAM = 0, 2, 4
STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
MILLISECOND = 1_000_000
LATEST = (2**63 - 1) // MILLISECOND

HISTOGRAM = """
BucketSpan: offset=1 sint32, length=2 uint32
Histogram: count_int=1 uint64 count, count_float=2 double count, sum=3 double, schema=4 sint32,
  zero_threshold=5 double, zero_count_int=6 uint64 zero_count, zero_count_float=7 double zero_count,
  negative_spans=8 *BucketSpan, negative_deltas=9 *sint64, negative_counts=10 *double,
  positive_spans=11 *BucketSpan, positive_deltas=12 *sint64, positive_counts=13 *double,
  reset_hint=14 int32, timestamp=15 int64, custom_values=16 *double, start_timestamp=17 int64
"""
V1 = """
Label: name=1 string, value=2 string
Sample: value=1 double, timestamp=2 int64
Exemplar: labels=1 *Label, value=2 double, timestamp=3 int64
TimeSeries: labels=1 *Label, samples=2 *Sample, exemplars=3 *Exemplar, histograms=4 *Histogram
MetricMetadata: type=1 int32, metric_family_name=2 string, help=4 string, unit=5 string
WriteRequest: timeseries=1 *TimeSeries, metadata=3 *MetricMetadata
"""
V2 = """
Sample: value=1 double, timestamp=2 int64, start_timestamp=3 int64
Exemplar: labels_refs=1 *uint32, value=2 double, timestamp=3 int64
Metadata: type=1 int32, help_ref=3 uint32, unit_ref=4 uint32
TimeSeries: labels_refs=1 *uint32, samples=2 *Sample, histograms=3 *Histogram,
  exemplars=4 *Exemplar, metadata=5 Metadata, created_timestamp=6 int64
Request: symbols=4 *string, timeseries=5 *TimeSeries
"""


def classes(package: str, declarations: str) -> dict[str, Any]:
    """Return a class for each declared message; the last word of a field may be its oneof."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name=package, package=package, syntax="proto3")
    for line in declarations.replace(",\n ", ",").strip().splitlines():
        name, fields = line.split(":")
        message = file.message_type.add(name=name)
        for text in fields.split(","):
            left, kind, *oneof = text.split()
            entry = message.field.add(name=left.split("=")[0], number=int(left.split("=")[1]))
            entry.label = field.LABEL_REPEATED if kind[0] == "*" else field.LABEL_OPTIONAL
            kind = kind.removeprefix("*")
            if kind[0].isupper():
                entry.type, entry.type_name = field.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                entry.type = getattr(field, f"TYPE_{kind.upper()}")
            for name in oneof:
                if name not in [declared.name for declared in message.oneof_decl]:
                    message.oneof_decl.add(name=name)
                entry.oneof_index = [declared.name for declared in message.oneof_decl].index(name)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        message.name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{package}.{message.name}")
        )
        for message in file.message_type
    }


v1 = classes("reference.v1", HISTOGRAM + V1.lstrip())
v2 = classes("reference.v2", HISTOGRAM + V2.lstrip())


class Read(NamedTuple):
    """A sample, or a histogram with its buckets."""

    message: int
    ts: int
    start: int
    value: float | tuple[int, float, tuple[tuple[float, float, int], ...]]
    name: str
    unit: str
    kind: int
    labels: tuple[tuple[str, str], ...]


class Reader:
    """Reads messages one after the other, and counts what it skips."""

    def __init__(self) -> None:
        self.found: list[Read] = []
        self.skipped: dict[str, int] = {}

    def read_v1(self, message: int, request: Any) -> None:
        types = {entry.metric_family_name: entry.type for entry in request.metadata}
        for series in request.timeseries:
            pairs = [(label.name, label.value) for label in series.labels]
            kind = type_of(dict(pairs).get("__name__", ""), types)
            self._series(message, series, pairs, kind, "", 0)

    def read_v2(self, message: int, request: Any) -> None:
        for series in request.timeseries:
            texts = [request.symbols[ref] for ref in series.labels_refs]
            pairs = list(zip(texts[::2], texts[1::2], strict=True))
            meta = series.metadata
            unit = request.symbols[meta.unit_ref] if meta.unit_ref else ""
            self._series(message, series, pairs, meta.type, unit, series.created_timestamp)

    def _series(
        self, message: int, series: Any, pairs: Any, kind: int, unit: str, created: int
    ) -> None:
        labels = dict(pairs)
        name = labels.pop("__name__", "")
        described = (name, unit)
        rest = tuple(sorted(labels.items()))
        for item in [*series.samples, *series.histograms]:
            is_histogram = item.DESCRIPTOR.name == "Histogram"
            reason = flaw(item, is_histogram, name, kind)
            if reason:
                self.skipped[reason] = self.skipped.get(reason, 0) + 1
                continue
            start = getattr(item, "start_timestamp", 0)
            start = start if start > 0 else created
            self.found.append(
                Read(
                    message, nanoseconds(item.timestamp), nanoseconds(start),
                    read_histogram(item) if is_histogram else item.value, *described,
                    CUMULATIVE_HISTOGRAM if is_histogram else kind_of(name, kind), rest,
                )
            )  # fmt: skip


def nanoseconds(milliseconds: int) -> int:
    return max(0, min(milliseconds, LATEST)) * MILLISECOND


def is_stale(value: float) -> bool:
    return struct.pack("<d", value) == struct.pack("<Q", 0x7FF0000000000002)


def flaw(item: Any, is_histogram: bool, name: str, kind: int) -> str | None:
    """Return why a sample or histogram is skipped."""
    value = item.sum if is_histogram else item.value
    flaws = {
        "no_name": not name,
        "stale": is_stale(value),
        "gauge_histogram": is_histogram and (item.reset_hint == 3 or kind == 4),
        "not_finite": not is_histogram and not math.isfinite(value),
        "no_time": item.timestamp <= 0,
        "unsupported_schema": is_histogram and not (item.schema == -53 or -4 <= item.schema <= 8),
        "malformed_histogram": is_histogram and read_histogram(item) is None,
    }
    return next((reason for reason, holds in flaws.items() if holds), None)


def type_of(name: str, types: dict[str, int]) -> int:
    """Return the type of a series of 1.0 by the families that come with it."""
    if name in types:
        return types[name]
    if name.endswith("_total") and types.get(name[: -len("_total")]) == 1:
        return 1
    for suffix in ("_bucket", "_count", "_sum"):
        family = types.get(name.removesuffix(suffix), 0) if name.endswith(suffix) else 0
        if family in (3, 4, 5):
            return family
    return 0


def kind_of(name: str, kind: int) -> int:
    """Return what a series of samples is rolled up as."""
    counts = name.endswith(("_count", "_sum"))
    if kind in (1, 3):
        return GAUGE if name.endswith("_created") else CUMULATIVE
    if kind == 5:
        return CUMULATIVE if counts else GAUGE
    if kind in (2, 4, 6, 7):
        return GAUGE
    return CUMULATIVE if counts or name.endswith(("_total", "_bucket")) else GAUGE


def bound(schema: int, index: int) -> float:
    """Return where bucket `index` ends; beyond the range of a double at its edge."""
    exponent = Fraction(index) / Fraction(2) ** schema
    if exponent >= 1024:
        return math.inf
    if exponent < -1075:
        return 0.0
    whole = math.floor(exponent)
    return math.ldexp(2 ** float(exponent - whole), whole)


def read_histogram(item: Any) -> tuple[int, float, tuple[tuple[float, float, int], ...]] | None:
    """Return count, sum and the buckets that hold something; None if Prometheus refuses it."""
    is_float = item.WhichOneof("count") == "count_float"
    count = item.count_float if is_float else item.count_int
    zero = item.zero_count_float if is_float else item.zero_count_int
    if not (0 <= count <= 2**62 and 0 <= zero <= 2**62):
        return None
    custom = item.schema == -53
    bounds = list(item.custom_values)
    if custom:
        rising = all(a < b for a, b in pairwise(bounds)) and all(b < math.inf for b in bounds)
        below = item.negative_spans or item.negative_deltas or item.negative_counts
        fitting = rising and not (zero or item.zero_threshold or below)
    else:
        fitting = not bounds and 0 <= item.zero_threshold < math.inf
    negative = side(item, "negative", is_float, None)
    positive = side(item, "positive", is_float, len(bounds) if custom else None)
    if not fitting or negative is None or positive is None:
        return None
    total = zero + sum(count for _, count in negative + positive)
    if not is_float and not (total == count or (math.isnan(item.sum) and total < count)):
        return None
    edges = [-math.inf, *bounds, math.inf]
    buckets = [(-item.zero_threshold, item.zero_threshold, zero)]
    if custom:
        buckets += [(edges[index], edges[index + 1], weight) for index, weight in positive]
    else:
        for index, weight in positive:
            buckets.append((bound(item.schema, index - 1), bound(item.schema, index), weight))
        for index, weight in negative:
            buckets.append((-bound(item.schema, index), -bound(item.schema, index - 1), weight))
    whole = [(lower, upper, round(weight)) for lower, upper, weight in buckets if round(weight)]
    return round(count), item.sum if math.isfinite(item.sum) else math.nan, tuple(sorted(whole))


def side(item: Any, name: str, is_float: bool, bounds: int | None) -> Any:
    """Return index and count of each bucket of one side of zero, None if they are not valid."""
    numbers = list(getattr(item, f"{name}_{'counts' if is_float else 'deltas'}"))
    spans = getattr(item, f"{name}_spans")
    if sum(span.length for span in spans) != len(numbers):
        return None
    indexes: list[int] = []
    position = 0
    for number, span in enumerate(spans):
        if span.offset < 0 and (number or bounds is not None):
            return None
        position += span.offset
        indexes += range(position, position + span.length)
        position += span.length
    if bounds is not None and position > bounds + 1:
        return None
    if not is_float:
        numbers = [sum(numbers[: number + 1]) for number in range(len(numbers))]
    if any(not 0 <= number <= 2**62 for number in numbers):
        return None
    return list(zip(indexes, numbers, strict=True))
