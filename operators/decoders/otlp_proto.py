"""OTLP metrics as protobuf: what the OpenTelemetry Collector's Kafka exporter writes by default.

One message is a whole batch. A poll is scanned in one pass (``otlp_scan``), and only what is new
gets its names decoded, into Arrow by ptars with a reduced descriptor (``otlp_descriptor``).
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
)

from operators.decoders.base import Decoded, Description, UndecodableError
from operators.decoders.otlp_descriptor import NESTING, key_value_handler
from operators.decoders.otlp_distributions import distributions_of
from operators.decoders.otlp_levels import Columns
from operators.decoders.otlp_scan import ATTRIBUTES_FIELD, REASONS, scan
from operators.decoders.protobuf import spans_of_field, take
from operators.decoders.protobuf_wellformed import find_faults
from operators.decoders.scanning import joined
from operators.frames import ATTRIBUTES, POINTS, STREAMS

__all__ = ["OtlpProto"]

_RESOURCE_ATTRIBUTES: Final = 1


class OtlpProto:
    """Decodes serialised MetricsData or ExportMetricsServiceRequest messages."""

    def decode(self, values: Sequence[bytes]) -> Decoded:
        """Decode all kinds of metric."""
        buffer, bounds = joined(values)
        status, skipped, found = scan(buffer, bounds)
        rejected = {
            int(index): f"not OTLP metrics in protobuf: {REASONS[int(status[index])]}"
            for index in np.flatnonzero(status)
        }
        points = pl.from_arrow(
            pa.table([found.message, found.raw, found.ts, found.start, found.value], POINTS.names())
        )
        distributions, kept, unusable = distributions_of(
            found.distributions, found.counts, found.numbers
        )
        for reason, count in unusable.items():
            skipped[reason] = skipped.get(reason, 0) + count
        assert isinstance(points, pl.DataFrame)
        describe = partial(_describe, buffer, found, kept)
        return Decoded(points, describe, rejected, skipped, distributions)

    def compile_kernels(self) -> None:
        """Compile the loops, or load them from the disk, before there is a message to wait for them."""
        attributes = [KeyValue(key="", value=AnyValue())]
        number = NumberDataPoint(time_unix_nano=1, as_int=1, attributes=attributes)
        histogram = HistogramDataPoint(time_unix_nano=1, attributes=attributes)
        of_everything = [
            Metric(gauge=Gauge(data_points=[number])),
            Metric(histogram=Histogram(data_points=[histogram])),
        ]
        scope = ScopeMetrics(metrics=of_everything)
        message = MetricsData(resource_metrics=[ResourceMetrics(scope_metrics=[scope])])
        decoded = self.decode([message.SerializeToString()])
        decoded.describe(np.arange(2))


def _describe(
    buffer: NDArray[np.uint8], found: Columns, kept: NDArray[np.intp], rows: NDArray[np.intp]
) -> Description:
    """Decode the names behind the points at ``rows``; ``kept`` are the usable distributions."""
    is_number = rows < len(found.ts)
    numbers, others = rows[is_number], kept[rows[~is_number] - len(found.ts)]
    metric = np.empty(len(rows), np.int64)
    spans = np.empty((len(rows), 2), np.int64)
    fields = np.full(len(rows), ATTRIBUTES_FIELD["number"])
    metric[is_number] = np.searchsorted(found.metrics["first_point"], numbers, "right") - 1
    spans[is_number] = found.at[numbers]
    metric[~is_number] = found.distributions["metric"][others]
    spans[~is_number] = found.distribution_at[others]
    fields[~is_number] = _FIELD_OF_SHAPE[found.distributions["shape"][others]]

    metrics = found.metrics[metric]
    resources, resource = np.unique(metrics["resource"], return_inverse=True)
    streams = pl.DataFrame(
        {
            "name": _texts(buffer, metrics, "name"),
            "unit": _texts(buffer, metrics, "unit"),
            "kind": metrics["kind"],
            "scope": _series(take(buffer, found.scopes[metrics["scope"]], pa.binary())).bin.encode(
                "hex"
            ),
            "resource": resource.astype(np.uint32),
        },
        schema=STREAMS,
    )
    try:
        return Description(
            streams,
            _attributes(buffer, spans, fields),
            _attributes(
                buffer, found.resources[resources], np.full(len(resources), _RESOURCE_ATTRIBUTES)
            ),
        )
    except (ValueError, DecodeError) as error:
        # Polars adds lines to say where it was.
        cause = str(error).partition("\n")[0].removeprefix("failed to decode Protobuf message: ")
        raise UndecodableError(f"not OTLP attributes in protobuf: {cause}") from None


_FIELD_OF_SHAPE: Final = np.array([ATTRIBUTES_FIELD[shape] for shape in (0, 1, 2)])


def _series(array: pa.Array) -> pl.Series:
    return pl.Series(pl.from_arrow(array))


def _texts(buffer: NDArray[np.uint8], metrics: NDArray[Any], field: str) -> pl.Series:
    """Return a text of each metric, whose bytes the scan has found to be UTF-8."""
    spans = np.stack((metrics[field], metrics[f"{field}_end"]), axis=1)
    return _series(take(buffer, spans, pa.string()))


def _attributes(
    buffer: NDArray[np.uint8], messages: NDArray[np.int64], fields: NDArray[np.int64]
) -> pl.DataFrame:
    """Decode the KeyValue messages in a field of each message, into an ATTRIBUTES frame.

    Raises:
        ValueError: some are no protobuf.
        DecodeError: what is in a list or map is no protobuf.
    """
    counts = np.empty(len(messages), np.int64)
    none = np.empty((0, 2), np.int64)
    found = spans_of_field(buffer.ctypes.data, messages, fields, counts, none)
    if found < 0:
        raise ValueError(REASONS[found])
    spans = np.empty((found, 2), np.int64)
    spans_of_field(buffer.ctypes.data, messages, fields, counts, spans)
    faults = np.empty(found, np.int64)
    find_faults(buffer.ctypes.data, spans, NESTING, faults)
    if faults.any():
        raise ValueError(REASONS[int(faults[np.argmax(faults != 0)])])
    decoded = key_value_handler().array_to_record_batch(take(buffer, spans, pa.binary()))
    value = decoded.column("value")
    frame = pl.DataFrame(
        {
            "owner": np.repeat(np.arange(len(messages), dtype=np.uint32), counts),
            "key": _series(decoded.column("key")),
            **{field.name: _series(value.field(field.name)) for field in value.type},
        }
    )
    composite = pl.coalesce(
        pl.col("array_value").map_elements(_array_text, pl.String),
        pl.col("kvlist_value").map_elements(_map_text, pl.String),
    )
    texts = pl.coalesce(
        "string_value",
        pl.col("bool_value").cast(pl.String),
        pl.col("int_value").cast(pl.String),
        pl.col("double_value").cast(pl.String),
        pl.col("bytes_value").bin.encode("base64"),
        composite,
    )
    return frame.select("owner", "key", texts.fill_null("").alias("value")).cast(ATTRIBUTES)


def _array_text(encoded: bytes) -> str:
    """Return an ArrayValue as JSON. Attributes that are lists are rare, and named only once."""
    return _json([_plain(value) for value in ArrayValue.FromString(encoded).values])


def _map_text(encoded: bytes) -> str:
    """Return a KeyValueList as JSON."""
    entries = KeyValueList.FromString(encoded).values
    return _json({entry.key: _plain(entry.value) for entry in entries})


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _plain(value: AnyValue) -> str | int | float | bool | None:
    """Return a scalar; what lies deeper than one level is left out, as in JSON."""
    kind = value.WhichOneof("value")
    if kind is None or kind in ("array_value", "kvlist_value"):
        return None
    if kind == "bytes_value":
        return b64encode(value.bytes_value).decode()
    scalar: str | int | float | bool = getattr(value, kind)
    return scalar
