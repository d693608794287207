"""OTLP metrics as JSON: the encoding ``otlp_json`` of the Collector's Kafka exporter.

As the OTLP specification has it (otlp, "JSON Protobuf Encoding"): lowerCamelCase keys, integers as
numbers or strings, unknown fields ignored. A message is an object with ``resourceMetrics``, or,
as some collectors write it, the bare array of them. Polars parses a poll with one schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from polars.expr.struct import ExprStructNameSpace

from operators.decoders.base import Decoded, Description, UndecodableError, decode_or_reject
from operators.decoders.nested import combine_hashes, offsets, owners
from operators.decoders.otlp_points import Metrics, PointColumns, points_of, sum_kinds
from operators.frames import ATTRIBUTES, GAUGE
from operators.json_text import quoted

__all__ = ["OtlpJson"]

# Integers and doubles may be strings ("NaN" among them), so all are read as such.
_SCALARS: Final = {
    "stringValue": pl.String,
    "boolValue": pl.Boolean,
    "intValue": pl.String,
    "doubleValue": pl.String,
    "bytesValue": pl.String,
}
_ENTRY: Final = pl.Struct({"key": pl.String, "value": pl.Struct(_SCALARS)})
_ANY_VALUE: Final = pl.Struct(
    {
        **_SCALARS,
        # What lies deeper than one level is left out: labels are no place for it.
        "arrayValue": pl.Struct({"values": pl.List(pl.Struct(_SCALARS))}),
        "kvlistValue": pl.Struct({"values": pl.List(_ENTRY)}),
    }
)
_ATTRIBUTES: Final = pl.List(pl.Struct({"key": pl.String, "value": _ANY_VALUE}))
_POINTS: Final = pl.List(
    pl.Struct(
        {
            "attributes": _ATTRIBUTES,
            "startTimeUnixNano": pl.String,
            "timeUnixNano": pl.String,
            "asDouble": pl.String,
            "asInt": pl.String,
            "flags": pl.Int64,
        }
    )
)
_COUNTED: Final = pl.Struct({"dataPoints": pl.List(pl.Struct({"timeUnixNano": pl.String}))})
_METRIC: Final = pl.Struct(
    {
        "name": pl.String,
        "unit": pl.String,
        "gauge": pl.Struct({"dataPoints": _POINTS}),
        "sum": pl.Struct(
            {
                "dataPoints": _POINTS,
                "aggregationTemporality": pl.String,
                "isMonotonic": pl.Boolean,
            }
        ),
        "histogram": _COUNTED,
        "exponentialHistogram": _COUNTED,
        "summary": _COUNTED,
    }
)
_RESOURCE_METRICS: Final = pl.List(
    pl.Struct(
        {
            "resource": pl.Struct({"attributes": _ATTRIBUTES}),
            "scopeMetrics": pl.List(
                pl.Struct(
                    {
                        "scope": pl.Struct({"name": pl.String, "version": pl.String}),
                        "metrics": pl.List(_METRIC),
                    }
                )
            ),
        }
    )
)
_MESSAGE: Final = pl.Struct({"resourceMetrics": _RESOURCE_METRICS})
_TEMPORALITIES: Final = {
    "AGGREGATION_TEMPORALITY_UNSPECIFIED": "0",
    "AGGREGATION_TEMPORALITY_DELTA": "1",
    "AGGREGATION_TEMPORALITY_CUMULATIVE": "2",
}
_NOT_ROLLED_UP: Final = {
    "histogram": "histogram",
    "exponentialHistogram": "exponential_histogram",
    "summary": "summary",
}


class OtlpJson:
    """Decodes MetricsData or ExportMetricsServiceRequest messages in JSON."""

    def decode(self, values: Sequence[bytes]) -> Decoded:
        """Decode gauges and sums; other kinds of metric are counted as skipped."""
        parsed, messages, rejected = decode_or_reject(values, _parse)
        scope_lists = _lists(parsed.values.field("scopeMetrics"))
        metric_lists = _lists(scope_lists.values.field("metrics"))
        metrics = metric_lists.values
        resource_of_scope = owners(scope_lists)
        scope_of_metric = owners(metric_lists)
        resource_of_metric = resource_of_scope[scope_of_metric]

        resources = _lists(parsed.values.field("resource").field("attributes"))
        scope = scope_lists.values.field("scope")
        scopes = _texts(scope.field("name")) + "\x00" + _texts(scope.field("version"))
        names, units = _texts(metrics.field("name")), _texts(metrics.field("unit"))
        gauges, sums = metrics.field("gauge"), metrics.field("sum")
        temporality = _texts(sums.field("aggregationTemporality")).replace(_TEMPORALITIES)
        monotonic = pl.Series(pl.from_arrow(sums.field("isMonotonic"))).fill_null(False)
        kinds, identifying = sum_kinds(
            temporality.cast(pl.Int32, strict=False).fill_null(0).to_numpy(),
            monotonic.to_numpy(),
        )
        is_sum = np.asarray(sums.is_valid())
        table = Metrics(
            message=messages[owners(parsed)[resource_of_metric]],
            name=names.to_arrow(),
            unit=units.to_arrow(),
            kind=np.where(is_sum, kinds, np.uint8(GAUGE)),
            scope=scope_of_metric,
            resource=resource_of_metric,
            hashes=combine_hashes(
                names.hash().to_numpy(),
                units.hash().to_numpy(),
                np.where(is_sum, identifying, 0).astype(np.uint64),
                _attribute_hashes(resources)[resource_of_metric],
                scopes.hash().to_numpy()[scope_of_metric],
            ),
        )
        columns = PointColumns.join([_columns(gauges), _columns(sums)])
        points, kept, skipped = points_of(table, columns)
        for field, kind in _NOT_ROLLED_UP.items():
            if count := len(metrics) - metrics.field(field).null_count:
                skipped[kind] = count
        describe = partial(_describe, table, columns, kept, resources, scopes)
        return Decoded(points, describe, rejected, skipped)


def _parse(values: Sequence[bytes]) -> pa.ListArray:
    """Return the resource metrics of each message.

    Raises:
        UndecodableError: one is not JSON, or not of OTLP's shape.
    """
    try:
        texts = pl.Series([value.strip() for value in values], dtype=pl.Binary).cast(pl.String)
        bare = texts.str.starts_with("[")
        if bare.any():
            wrapped = '{"resourceMetrics":' + texts + "}"
            texts = wrapped.zip_with(bare, texts)
        parsed = texts.str.json_decode(_MESSAGE).struct.field("resourceMetrics")
    except pl.exceptions.PolarsError as error:
        raise UndecodableError(f"not OTLP metrics in JSON: {_cause(error)}") from None
    # Polars parses all texts as one list, so what is blank, or several, shifts those behind it.
    if len(parsed) != len(values):
        raise UndecodableError("not OTLP metrics in JSON: not one document")
    if len(parsed) and (parsed.is_null() | (parsed.list.len() == 0)).any():
        raise UndecodableError("not OTLP metrics in JSON: no resourceMetrics in it")
    return _lists(parsed.to_arrow())


def _cause(error: pl.exceptions.PolarsError) -> str:
    """Return what a person can use of a long message of Polars'."""
    return str(error).partition("\n")[0].removeprefix("error deserializing JSON: ")[:300]


def _lists(array: pa.Array) -> pa.ListArray:
    """Return ``array`` with an empty list for each null, and offsets that start at its child."""
    return (
        pl.Series(pl.from_arrow(array))
        .fill_null([])
        .to_arrow()
        .cast(pa.large_list(array.type.value_type))
    )


def _texts(array: pa.Array) -> pl.Series:
    return pl.Series(pl.from_arrow(array)).cast(pl.String).fill_null("")


def _columns(data: pa.StructArray) -> PointColumns:
    """Lay out the data points of a gauge or sum column."""
    lists = _lists(data.field("dataPoints"))
    points = lists.values
    fields = {
        field.name: pl.Series(pl.from_arrow(points.field(field.name))) for field in points.type
    }
    number = fields["asDouble"].cast(pl.Float64, strict=False)
    integer = fields["asInt"].cast(pl.Float64, strict=False)
    value = number.zip_with(number.is_not_null(), integer)
    attributes = _lists(points.field("attributes"))
    return PointColumns(
        metric=owners(lists),
        ts=_times(fields["timeUnixNano"]),
        start=_times(fields["startTimeUnixNano"]),
        value=value.fill_null(float("nan")).to_numpy(),
        has_value=value.is_not_null().to_numpy(),
        flags=fields["flags"].fill_null(0).to_numpy().astype(np.uint32),
        attributes=[attributes],
        hashes=_attribute_hashes(attributes),
    )


def _times(texts: pl.Series) -> NDArray[np.uint64]:
    return texts.cast(pl.UInt64, strict=False).fill_null(0).to_numpy()


def _attribute_hashes(lists: pa.ListArray) -> NDArray[np.uint64]:
    """Return one hash a list of attributes, whatever their order."""
    frame = _long(lists)
    each = combine_hashes(frame["key"].hash().to_numpy(), frame["value"].hash().to_numpy())
    sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(each, dtype=np.uint64)))
    bounds = offsets(lists)
    # Unsigned differences of running sums wrap around as the sums do.
    return combine_hashes(sums[bounds[1:]] - sums[bounds[:-1]], np.diff(bounds).astype(np.uint64))


def _long(lists: pa.ListArray) -> pl.DataFrame:
    """Return attributes as an ATTRIBUTES frame owned by the rows of ``lists``."""
    start, end = (int(bound) for bound in offsets(lists)[[0, -1]])
    encoded = lists.values.slice(start, end - start)
    entry = pl.DataFrame(
        {
            "owner": owners(lists).astype(np.uint32),
            "key": _texts(encoded.field("key")),
            "value": pl.Series(pl.from_arrow(encoded.field("value"))),
        }
    )
    value = pl.col("value").struct
    array, mapping = value.field("arrayValue"), value.field("kvlistValue")
    elements = array.struct.field("values").fill_null([])
    entries = mapping.struct.field("values").fill_null([])
    item = pl.element().struct
    pair = pl.concat_str(
        quoted(item.field("key").fill_null("")), pl.lit(":"), _as_json(item.field("value").struct)
    )
    text = pl.coalesce(
        value.field("stringValue"),
        value.field("boolValue").cast(pl.String),
        value.field("intValue"),
        _double(value),
        value.field("bytesValue"),
        pl.when(array.is_not_null()).then(
            pl.format("[{}]", elements.list.eval(_as_json(item)).list.join(","))
        ),
        pl.when(mapping.is_not_null()).then(
            pl.concat_str(pl.lit("{"), entries.list.eval(pair).list.join(","), pl.lit("}"))
        ),
    )
    return entry.select("owner", "key", text.fill_null("").alias("value")).cast(ATTRIBUTES)


def _double(value: ExprStructNameSpace) -> pl.Expr:
    """Return a double as the decoder of protobuf writes it, whatever way JSON did."""
    return value.field("doubleValue").cast(pl.Float64, strict=False).cast(pl.String)


def _as_json(value: ExprStructNameSpace) -> pl.Expr:
    """Return a scalar AnyValue inside of an array or a map."""
    return pl.coalesce(
        quoted(value.field("stringValue")),
        value.field("boolValue").cast(pl.String),
        value.field("intValue"),
        _double(value),
        quoted(value.field("bytesValue")),
        pl.lit("null"),
    )


def _describe(
    metrics: Metrics,
    columns: PointColumns,
    kept: NDArray[np.intp],
    resources: pa.ListArray,
    scopes: pl.Series,
    rows: NDArray[np.intp],
) -> Description:
    """Give the names behind the points at ``rows``."""
    at = kept[rows]
    streams, resource_rows = metrics.streams(columns.metric[at], scopes)
    return Description(
        streams, _long(columns.attributes_at(at)), _long(resources.take(pa.array(resource_rows)))
    )
