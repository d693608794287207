"""Other readers of each format, one message after the other: is it taken, and for what, as by them?

They are slow, so few messages of a poll are put before them. An oracle returns what is wrong, None
if nothing is. It is given the message, its points as ``(ts, value)`` in order, or None if it was
rejected, and the reason of that.

Protobuf's own classes are generated from messages without the fields that no decoder reads
(exemplars, help texts): damage in there is nobody's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson
import pyarrow as pa
from google.protobuf.message import DecodeError
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

from operators.decoders.prometheus.snappy_block import LARGEST
from tests.operators.decoders.otlp_reference import measured
from tests.operators.decoders.remote_write_reference import HISTOGRAM, V1, V2, Reader, classes

__all__ = ["Oracle", "of_influx", "of_json", "of_otlp_proto", "of_remote_write"]

Points = Sequence[tuple[int, float]]
Oracle = Callable[[bytes, Points | None, str], str | None]

_STRICTER: Final = (
    "a field is not of its type", "no resource metrics in it", "empty message",
    "more than 64 bits", "too deep in each other",
)  # fmt: skip
"""Why a message is refused that Python's protobuf takes: as Go's does, or because nothing is in it."""


def of_influx(message: bytes, points: Points | None, _: str) -> str | None:
    """Line protocol has its peer in ``test_decoder_influx_peers``; here only UTF-8 is asked for."""
    try:
        message.decode()
    except UnicodeDecodeError:
        return "taken, and it is not UTF-8" if points is not None else None
    return None


def of_json(message: bytes, points: Points | None, _: str) -> str | None:
    """Whatever is taken is JSON, as orjson has it."""
    if points is None:
        return None
    try:
        orjson.loads(message)
    except orjson.JSONDecodeError as error:
        return f"taken, and it is not JSON: {error}"
    return None


def of_otlp_proto(message: bytes, points: Points | None, reason: str) -> str | None:
    """Compare with OpenTelemetry's messages."""
    try:
        _Otlp.FromString(message)
    except DecodeError:
        return _taken_wrongly(message, points)
    if points is None:
        if reason.endswith(_STRICTER) or ("attributes" in reason and not _is_otlp(message)):
            return None
        return f"refused, and protobuf takes it: {reason}"
    try:
        data = MetricsData.FromString(message)
    except DecodeError:
        return None
    expected = [(min(point.ts, 2**63 - 1), point.value) for point in measured([data])[0]]
    return _difference(points, expected)


def _taken_wrongly(body: bytes, points: Points | None) -> str | None:
    """Return what is wrong if points were made of what protobuf refuses.

    Tags may have ten bytes in Go and five in C++ and Python: what may hold longer ones is let pass.
    """
    return None if points is None or _LONG.search(body) else "taken, and protobuf refuses it"


_LONG: Final = re.compile(rb"[\x80-\xff]{5}")


def _is_otlp(message: bytes) -> bool:
    try:
        MetricsData.FromString(message)
    except DecodeError:
        return False
    return True


def of_remote_write(encoding: str) -> Oracle:
    """Compare with protobuf's classes of Prometheus's messages."""
    first = encoding == "prometheus_remote_write"
    kind = (_V1 if first else _V2)["WriteRequest" if first else "Request"]

    def oracle(message: bytes, points: Points | None, reason: str) -> str | None:
        body = _decompressed(message)
        try:
            data = kind.FromString(body)
        except DecodeError:
            return _taken_wrongly(body, points)
        if points is None:
            known = _stricter(reason) or ("stands twice" in reason and _has_twins(data, first))
            return None if known else f"refused, and protobuf takes it: {reason}"
        reader = Reader()
        try:
            (reader.read_v1 if first else reader.read_v2)(0, data)
        except (IndexError, ValueError):
            return "taken, and a symbol is missing"
        samples = [(read.ts, read.value) for read in reader.found if isinstance(read.value, float)]
        return _difference(points, samples)

    return oracle


def _without(declarations: str, *fields: str) -> str:
    """Leave fields out of declarations of messages."""
    for one in fields:
        assert one in declarations
        declarations = declarations.replace(one, "")
    return declarations


_V1: Final = classes(
    "fuzzed.v1",
    HISTOGRAM
    + _without(
        V1, ", exemplars=3 *Exemplar", ", help=4 string, unit=5 string",
        "Exemplar: labels=1 *Label, value=2 double, timestamp=3 int64\n",
    ).lstrip(),
)  # fmt: skip
_V2: Final = classes(
    "fuzzed.v2",
    HISTOGRAM
    + _without(
        V2, "\n  exemplars=4 *Exemplar,",
        "Exemplar: labels_refs=1 *uint32, value=2 double, timestamp=3 int64\n",
    ).lstrip(),
)  # fmt: skip
# Attributes are bytes, since they are read only of what is new, and of what has points.
_OTLP: Final = """
Number: attributes=7 *bytes
Explicit: attributes=9 *bytes, bucket_counts=6 *fixed64, explicit_bounds=7 *double
Buckets: bucket_counts=2 *uint64
Exponential: attributes=1 *bytes, positive=8 Buckets, negative=9 Buckets
Quantile: quantile=1 double
Quantiles: attributes=7 *bytes, quantile_values=6 *Quantile
Numbers: data_points=1 *Number
Explicits: data_points=1 *Explicit
Exponentials: data_points=1 *Exponential
Summaries: data_points=1 *Quantiles
Metric: name=1 string, unit=3 string, gauge=5 Numbers data, sum=7 Numbers data,
  histogram=9 Explicits data, exponential_histogram=10 Exponentials data, summary=11 Summaries data
ScopeMetrics: scope=1 bytes, metrics=2 *Metric
ResourceMetrics: resource=1 bytes, scope_metrics=2 *ScopeMetrics
MetricsData: resource_metrics=1 *ResourceMetrics
"""
_Otlp: Final = classes("fuzzed.otlp", _OTLP)["MetricsData"]


def _decompressed(message: bytes) -> bytes:
    length = 0
    for position, byte in enumerate(message[:5]):
        length |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            break
    if length > min(LARGEST, 22 * len(message)):
        return message
    try:
        return bytes(pa.decompress(message, length, "snappy", asbytes=True))
    except (OSError, pa.ArrowInvalid):
        return message


def _has_twins(data: Any, first: bool) -> bool:
    """Say whether a label stands twice in some series, which is refused as nobody can tell them apart."""
    for series in data.timeseries:
        if first:
            names = [label.name for label in series.labels]
        else:
            names = [data.symbols[at] for at in series.labels_refs[::2] if at < len(data.symbols)]
        if len(set(names)) < len(names):
            return True
    return False


def _stricter(reason: str) -> bool:
    known = (
        "no series in it", "symbol that is not there", "empty message", "once decompressed",
        "more than 64 bits", "a label is not one",
    )  # fmt: skip
    return any(text in reason for text in known)


def _difference(found: Points, expected: Sequence[tuple[int, Any]]) -> str | None:
    if sorted(found) == sorted(expected):
        return None
    if any(math.isnan(value) for _, value in found):
        return "a value is NaN"
    return f"points {sorted(found)[:5]} instead of {sorted(expected)[:5]}"
