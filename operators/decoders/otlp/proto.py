"""OTLP metrics as protobuf: what the OpenTelemetry Collector's Kafka exporter writes by default.

One message is a whole batch. A poll is scanned in one pass (``otlp.scan``), and only what is new
gets its names decoded, into Arrow by ptars with a reduced descriptor (``otlp.descriptor``).
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

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

from operators.columns.scanning import joined
from operators.contracts.decoder import Decoded, Description, UndecodableError
from operators.contracts.frames import ATTRIBUTES, POINTS, STREAMS
from operators.decoders.otlp.attribute_texts import exact_text, value_text
from operators.decoders.otlp.descriptor import LAYOUT, key_value_handler
from operators.decoders.otlp.distributions import buckets_of, distributions_of, ends_of
from operators.decoders.otlp.kinds import GAUGE_TYPE
from operators.decoders.otlp.levels import Columns
from operators.decoders.otlp.scan import ATTRIBUTES_FIELD, REASONS, scan
from operators.decoders.protobuf.reading import spans_of_field, take
from operators.decoders.protobuf.wellformed import find_faults

__all__ = ["OtlpProto"]

_RESOURCE_ATTRIBUTES: Final = 1


class OtlpProto:
    """Decodes serialised MetricsData or ExportMetricsServiceRequest messages."""

    def decode(self, values: Sequence[bytes]) -> Decoded:
        """Decode all kinds of metric."""
        buffer, bounds = joined(values)
        status, skipped, found, unusual = scan(buffer, bounds)
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
        ends, ended = ends_of(found.distributions, found.counts, found.numbers)
        for reason, count in unusable.items():
            skipped[reason] = skipped.get(reason, 0) + count
        assert isinstance(points, pl.DataFrame)
        describe = partial(_describe, buffer, found, unusual, kept, ended)
        return Decoded(
            points,
            describe,
            rejected,
            skipped,
            distributions,
            pl.DataFrame(
                {
                    "message": unusual.message,
                    "raw": unusual.raw,
                    "ts": unusual.ts,
                    "start": np.zeros(len(unusual.ts), np.int64),
                    "value": unusual.value,
                },
                schema=POINTS,
            ),
            partial(buckets_of, found.distributions, kept, found.counts, found.numbers),
            ends,
        )

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
    buffer: NDArray[np.uint8],
    found: Columns,
    unusual: Columns,
    kept: NDArray[np.intp],
    ended: NDArray[np.intp],
    rows: NDArray[np.intp],
) -> Description:
    """Decode the names behind the points at ``rows``.

    ``kept`` are the usable distributions, ``ended`` those that say that their series ended.
    """
    is_number = rows < len(found.ts)
    behind = len(found.ts) + len(kept)
    last = behind + len(unusual.ts)
    is_unusual = (rows >= behind) & (rows < last)
    is_other = ~is_number & ~is_unusual
    numbers = rows[is_number]
    place = rows[is_other] - len(found.ts)
    if len(ended):
        place = np.where(rows[is_other] >= last, rows[is_other] - last + len(kept), place)
        kept = np.concatenate((kept, ended))
    others = kept[place]
    metric = np.empty(len(rows), np.int64)
    spans = np.empty((len(rows), 2), np.int64)
    fields = np.full(len(rows), ATTRIBUTES_FIELD["number"])
    metric[is_number] = np.searchsorted(found.metrics["first_point"], numbers, "right") - 1
    spans[is_number] = found.at[numbers]
    metric[is_other] = found.distributions["metric"][others]
    spans[is_other] = found.distribution_at[others]
    fields[is_other] = _FIELD_OF_SHAPE[found.distributions["shape"][others]]
    metric[is_unusual] = unusual.start[rows[is_unusual] - behind]
    spans[is_unusual] = unusual.at[rows[is_unusual] - behind]

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
    of_points = _Attributes.find(buffer, spans, fields)
    of_resources = _Attributes.find(
        buffer, found.resources[resources], np.full(len(resources), _RESOURCE_ATTRIBUTES)
    )
    faults = of_points.faults + np.where(of_points.faults, 0, of_resources.faults[resource])
    if faults.any():
        reasons = {int(at): f"{_PREFIX}{REASONS[int(faults[at])]}" for at in np.flatnonzero(faults)}
        raise UndecodableError(next(iter(reasons.values())), reasons)
    try:
        attributes, exact_attributes = of_points.read(buffer)
        of_resource, exact_resources = of_resources.read(buffer)
        return Description(
            streams,
            attributes,
            of_resource,
            exact_attributes,
            exact_resources,
            is_gauge=metrics["type"] == GAUGE_TYPE,
        )
    except (ValueError, DecodeError) as error:
        # Polars adds lines to say where it was.
        cause = str(error).partition("\n")[0].removeprefix("failed to decode Protobuf message: ")
        raise UndecodableError(f"{_PREFIX}{cause}") from None


_PREFIX: Final = "not OTLP attributes in protobuf: "
_FIELD_OF_SHAPE: Final = np.array([ATTRIBUTES_FIELD[shape] for shape in (0, 1, 2)])


def _series(array: pa.Array) -> pl.Series:
    return pl.Series(pl.from_arrow(array))


def _texts(buffer: NDArray[np.uint8], metrics: NDArray[Any], field: str) -> pl.Series:
    """Return a text of each metric, whose bytes the scan has found to be UTF-8."""
    spans = np.stack((metrics[field], metrics[f"{field}_end"]), axis=1)
    return _series(take(buffer, spans, pa.string()))


@dataclass(frozen=True, slots=True)
class _Attributes:
    """The attributes of messages, where they stand in the poll's buffer.

    ``counts`` is how many each message has, and ``spans`` where each begins and ends; ``faults``
    are keys of ``REASONS`` for messages that have some that are none, and 0 for the others.
    """

    counts: NDArray[np.int64]
    spans: NDArray[np.int64]
    faults: NDArray[np.int64]

    @classmethod
    def find(
        cls, buffer: NDArray[np.uint8], messages: NDArray[np.int64], fields: NDArray[np.int64]
    ) -> Self:
        """Find the KeyValue messages in a field of each message."""
        base = buffer.ctypes.data
        counts = np.empty(len(messages), np.int64)
        size = spans_of_field(base, messages, fields, counts, np.empty((0, 2), np.int64))
        spans = np.empty((size, 2), np.int64)
        spans_of_field(base, messages, fields, counts, spans)
        of_each = np.empty(size, np.int64)
        find_faults(base, spans, LAYOUT, of_each)
        faults = np.minimum(counts, 0)
        counts = np.maximum(counts, 0)
        np.minimum.at(faults, np.repeat(np.arange(len(messages)), counts), of_each)
        return cls(counts, spans, faults)

    def read(self, buffer: NDArray[np.uint8]) -> tuple[pl.DataFrame, pl.Series]:
        """Decode them into an ATTRIBUTES frame, and a text of each that tells types apart.

        Raises:
            ValueError, DecodeError: some are no protobuf, and ``faults`` does not tell.
        """
        decoded = key_value_handler().array_to_record_batch(take(buffer, self.spans, pa.binary()))
        return _frame(decoded, np.repeat(np.arange(len(self.counts), dtype=np.uint32), self.counts))


def _frame(decoded: pa.RecordBatch, owner: NDArray[np.uint32]) -> tuple[pl.DataFrame, pl.Series]:
    value = decoded.column("value")
    frame = pl.DataFrame(
        {
            "owner": owner,
            "key": _series(decoded.column("key")),
            **{field.name: _series(value.field(field.name)) for field in value.type},
        }
    )
    texts = frame.select(
        "owner",
        "key",
        pl.col("string_value"),
        bool=pl.col("bool_value").cast(pl.String),
        int=pl.col("int_value").cast(pl.String),
        double=pl.col("double_value").cast(pl.String),
        bytes=pl.col("bytes_value").bin.encode("base64"),
        array=pl.col("array_value").map_elements(_array_text, pl.String),
        map=pl.col("kvlist_value").map_elements(_map_text, pl.String),
    )
    told = texts.select("owner", "key", value=value_text(pl.col("string_value")))
    exact = texts.select(exact_text(pl.col("string_value"))).to_series()
    return told.cast(ATTRIBUTES), exact


def _array_text(encoded: bytes) -> str:
    """Return an ArrayValue as JSON. Attributes that are lists are rare, and named only once."""
    return _json([_plain(value) for value in ArrayValue.FromString(encoded).values])


def _map_text(encoded: bytes) -> str:
    """Return a KeyValueList as JSON."""
    entries = KeyValueList.FromString(encoded).values
    return _json({entry.key: _plain(entry.value) for entry in entries})


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _plain(value: AnyValue) -> Any:
    """Return what JSON can show."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_plain(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return {entry.key: _plain(entry.value) for entry in value.kvlist_value.values}
    if kind == "bytes_value":
        return b64encode(value.bytes_value).decode()
    return getattr(value, kind)
