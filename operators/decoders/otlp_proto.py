"""OTLP metrics as protobuf: what the OpenTelemetry Collector's Kafka exporter writes by default.

One message is a whole batch. It is decoded into Arrow by ptars with a reduced descriptor
(``otlp_descriptor``), flattened by list offsets, and only what is new gets its names decoded.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValueList

from operators.decoders.base import Decoded, Description, UndecodableError, decode_or_reject
from operators.decoders.nested import combine_hashes, hash_values, join_bytes, offsets, owners
from operators.decoders.otlp_descriptor import (
    key_value_handler,
    metrics_handler,
    resource_handler,
)
from operators.decoders.otlp_points import (
    NOT_ROLLED_UP,
    Metrics,
    PointColumns,
    points_of,
    sum_kinds,
)
from operators.frames import ATTRIBUTES, GAUGE

__all__ = ["OtlpProto"]


class OtlpProto:
    """Decodes serialised MetricsData or ExportMetricsServiceRequest messages."""

    def decode(self, values: Sequence[bytes]) -> Decoded:
        """Decode gauges and sums; other kinds of metric are counted as skipped."""
        parsed, messages, rejected = decode_or_reject(values, _parse)
        scope_lists = parsed.values.field("scope_metrics")
        metric_lists = scope_lists.values.field("metrics")
        metrics = metric_lists.values

        resource_of_scope = owners(scope_lists)
        scope_of_metric = owners(metric_lists)
        resource_of_metric = resource_of_scope[scope_of_metric]
        message_of_metric = messages[owners(parsed)[resource_of_metric]]
        resources = parsed.values.field("resource")
        scopes = scope_lists.values.field("scope")

        gauges, sums = metrics.field("gauge"), metrics.field("sum")
        kinds, identifying = sum_kinds(
            np.asarray(sums.field("aggregation_temporality")),
            np.asarray(sums.field("is_monotonic")),
        )
        is_sum = np.asarray(sums.is_valid())
        table = Metrics(
            message=message_of_metric,
            name=metrics.field("name"),
            unit=metrics.field("unit"),
            kind=np.where(is_sum, kinds, np.uint8(GAUGE)),
            scope=scope_of_metric,
            resource=resource_of_metric,
            hashes=combine_hashes(
                hash_values(metrics.field("name")),
                hash_values(metrics.field("unit")),
                np.where(is_sum, identifying, 0).astype(np.uint64),
                hash_values(resources)[resource_of_metric],
                hash_values(scopes)[scope_of_metric],
            ),
        )
        columns = PointColumns.join([_columns(gauges), _columns(sums)])
        points, kept, skipped = points_of(table, columns)
        for kind in NOT_ROLLED_UP:
            if count := len(metrics) - metrics.field(kind).null_count:
                skipped[kind] = count
        describe = partial(_describe, table, columns, kept, resources, scopes)
        return Decoded(points, describe, rejected, skipped)


def _parse(values: Sequence[bytes]) -> pa.ListArray:
    """Return the resource metrics of each message.

    Raises:
        UndecodableError: one is not protobuf, or holds nothing that MetricsData has.
    """
    try:
        parsed = metrics_handler().list_to_record_batch(list(values)).column(0)
    except ValueError as error:
        raise UndecodableError(f"not OTLP metrics in protobuf: {_cause(error)}") from None
    if len(parsed) and np.diff(offsets(parsed)).min() == 0:
        raise UndecodableError("not OTLP metrics in protobuf: no resource metrics in it")
    return parsed


def _cause(error: ValueError) -> str:
    return str(error).removeprefix("failed to decode Protobuf message: ")


def _columns(data: pa.StructArray) -> PointColumns:
    """Lay out the data points of a gauge or sum column."""
    lists = data.field("data_points")
    points = lists.values
    doubles, integers = points.field("as_double"), points.field("as_int")
    value = pc.coalesce(doubles, integers.cast(pa.float64(), safe=False))
    attributes = points.field("attributes")
    return PointColumns(
        metric=owners(lists),
        ts=np.asarray(points.field("time_unix_nano")),
        start=np.asarray(points.field("start_time_unix_nano")),
        # A point without a value is told from one that is NaN by its validity.
        value=np.asarray(pc.fill_null(value, np.nan)),
        has_value=np.asarray(value.is_valid()),
        flags=np.asarray(points.field("flags")),
        attributes=[attributes],
        # The number of attributes keeps two lists apart whose bytes happen to join equally.
        hashes=combine_hashes(
            hash_values(join_bytes(attributes)), np.diff(offsets(attributes)).astype(np.uint64)
        ),
    )


def _describe(
    metrics: Metrics,
    columns: PointColumns,
    kept: NDArray[np.intp],
    resources: pa.BinaryArray,
    scopes: pa.BinaryArray,
    rows: NDArray[np.intp],
) -> Description:
    """Decode the names behind the points at ``rows``."""
    at = kept[rows]
    texts = pl.Series(pl.from_arrow(scopes)).bin.encode("hex")
    streams, resource_rows = metrics.streams(columns.metric[at], texts)
    try:
        attributes = _attributes(columns.attributes_at(at))
        decoded = resource_handler().list_to_record_batch(
            resources.take(pa.array(resource_rows)).to_pylist()
        )
        return Description(streams, attributes, _attributes(decoded.column(0)))
    except ValueError as error:
        raise UndecodableError(f"not OTLP attributes in protobuf: {_cause(error)}") from None


def _attributes(lists: pa.ListArray) -> pl.DataFrame:
    """Decode lists of KeyValue messages into an ATTRIBUTES frame owned by the rows of ``lists``."""
    start, end = (int(bound) for bound in offsets(lists)[[0, -1]])
    encoded = lists.values.slice(start, end - start)
    decoded = key_value_handler().array_to_record_batch(encoded)
    value = decoded.column("value")
    frame = pl.DataFrame(
        {
            "owner": owners(lists).astype(np.uint32),
            "key": pl.Series(pl.from_arrow(decoded.column("key"))),
            **{
                field.name: pl.Series(pl.from_arrow(value.field(field.name)))
                for field in value.type
            },
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
