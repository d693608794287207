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

from operators.columns.nested import combine_hashes, owners
from operators.columns.scanning import joined
from operators.contracts.decoder import Decoded, Description, UndecodableError, decode_or_reject
from operators.contracts.frames import DELTA
from operators.decoders.json.documents import CAUSES, WHITESPACE, find_broken
from operators.decoders.otlp.distributions import buckets_of, distributions_of, ends_of
from operators.decoders.otlp.json_attributes import attribute_hashes, attributes_of
from operators.decoders.otlp.json_columns import lists, texts, unsigned
from operators.decoders.otlp.json_distributions import distribution_columns
from operators.decoders.otlp.json_nested import without_nested
from operators.decoders.otlp.json_schema import schema_of
from operators.decoders.otlp.json_shapes import fault_of
from operators.decoders.otlp.kinds import (
    EXPONENTIAL_HISTOGRAM_TYPE,
    GAUGE_TYPE,
    HISTOGRAM_TYPE,
    SUM_TYPE,
    SUMMARY_TYPE,
    kinds_of,
)
from operators.decoders.otlp.points import OtlpMetrics, PointColumns, points_of

__all__ = ["OtlpJson"]

_TEMPORALITIES: Final = {
    "AGGREGATION_TEMPORALITY_UNSPECIFIED": "0",
    "AGGREGATION_TEMPORALITY_DELTA": "1",
    "AGGREGATION_TEMPORALITY_CUMULATIVE": "2",
}
_TYPES: Final = {
    "gauge": GAUGE_TYPE,
    "sum": SUM_TYPE,
    "histogram": HISTOGRAM_TYPE,
    "exponentialHistogram": EXPONENTIAL_HISTOGRAM_TYPE,
    "summary": SUMMARY_TYPE,
}


class OtlpJson:
    """Decodes MetricsData or ExportMetricsServiceRequest messages in JSON."""

    def decode(self, values: Sequence[bytes]) -> Decoded:
        """Decode all kinds of metric."""
        parsed, messages, rejected = _parse_all(values)
        scope_lists = lists(parsed.values.field("scopeMetrics"))
        metric_lists = lists(scope_lists.values.field("metrics"))
        metrics = metric_lists.values
        resource_of_scope = owners(scope_lists)
        scope_of_metric = owners(metric_lists)
        resource_of_metric = resource_of_scope[scope_of_metric]

        resources = lists(parsed.values.field("resource").field("attributes"))
        scope = scope_lists.values.field("scope")
        scopes = texts(scope.field("name")) + "\x00" + texts(scope.field("version"))
        names, units = texts(metrics.field("name")), texts(metrics.field("unit"))
        types = _types(metrics)
        sums = metrics.field("sum")
        temporalities, monotonic = _headers(metrics, types)
        kinds, identifying = kinds_of(types, temporalities, monotonic)
        table = OtlpMetrics(
            message=messages[owners(parsed)[resource_of_metric]],
            name=names.to_arrow(),
            unit=units.to_arrow(),
            kind=kinds,
            gauge=types == GAUGE_TYPE,
            rises=(kinds == DELTA) & monotonic,
            scope=scope_of_metric,
            resource=resource_of_metric,
            hashes=combine_hashes(
                names.hash().to_numpy(),
                units.hash().to_numpy(),
                identifying,
                attribute_hashes(resources)[resource_of_metric],
                scopes.hash().to_numpy()[scope_of_metric],
            ),
        )
        columns = PointColumns.join([_columns(metrics.field("gauge")), _columns(sums)])
        used = points_of(table, columns)
        skipped = used.skipped
        told = distribution_columns(metrics, table.message, table.hashes)
        distributions, usable, unusable = distributions_of(told.points, told.counts, told.numbers)
        ends, ended = ends_of(told.points, told.counts, told.numbers)
        for reason, count in unusable.items():
            skipped[reason] = skipped.get(reason, 0) + count
        at = (
            columns.metric[used.rows],
            told.points["metric"][usable],
            columns.metric[used.unusual_rows],
            told.points["metric"][ended],
        )
        describe = partial(
            _describe,
            table,
            np.concatenate(at),
            columns.attributes + told.attributes,
            np.concatenate(
                (
                    used.rows,
                    usable + len(columns.metric),
                    used.unusual_rows,
                    ended + len(columns.metric),
                )
            ),
            resources,
            scopes,
        )
        return Decoded(
            used.points,
            describe,
            rejected,
            skipped,
            distributions,
            used.unusual,
            partial(buckets_of, told.points, usable, told.counts, told.numbers),
            ends,
        )

    def compile_kernels(self) -> None:
        """Compile the loops, or load them from the disk, before there is a message to wait for them."""
        self.decode(
            [
                b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":'
                b'[{"histogram":{"dataPoints":[{"timeUnixNano":"1"}]}}]}]}]}'
            ]
        )


def _parse_all(
    values: Sequence[bytes],
) -> tuple[pa.ListArray, NDArray[np.uint32], dict[int, str]]:
    """Return the resource metrics of the good messages, their indexes, and the reasons of the bad."""
    broken = np.empty(len(values), np.uint8)
    find_broken(*joined(values), broken)
    rejected = {
        index: f"not OTLP metrics in JSON: {CAUSES[int(broken[index])]}"
        if values[index].strip(WHITESPACE)
        else "empty message"
        for index in np.flatnonzero(broken).tolist()
    }
    indexes = np.flatnonzero(broken == 0)
    try:
        parsed = _parse([values[index] for index in indexes.tolist()])
    except UndecodableError:
        for index in indexes.tolist():
            if (cause := fault_of(values[index])) is not None:
                rejected[index] = f"not OTLP metrics in JSON: {_printable(cause)}"
        indexes = indexes[~np.isin(indexes, list(rejected))]
        # What nobody thought of is found the long way.
        parsed, kept, bad = decode_or_reject([values[index] for index in indexes.tolist()], _parse)
        rejected.update((int(indexes[position]), reason) for position, reason in bad.items())
        indexes = indexes[kept]
    return parsed, indexes.astype(np.uint32), rejected


def _parse(values: Sequence[bytes]) -> pa.ListArray:
    """Return the resource metrics of each message.

    Raises:
        UndecodableError: one is not JSON, or not of OTLP's shape.
    """
    try:
        texts = pl.Series(
            [without_nested(value.strip(WHITESPACE)) for value in values], dtype=pl.Binary
        ).cast(pl.String)
        bare = texts.str.starts_with("[")
        if bare.any():
            wrapped = '{"resourceMetrics":' + texts + "}"
            texts = wrapped.zip_with(bare, texts)
        parsed = texts.str.json_decode(schema_of(values)).struct.field("resourceMetrics")
    except pl.exceptions.PolarsError as error:
        raise UndecodableError(f"not OTLP metrics in JSON: {_cause(error)}") from None
    # Polars parses all texts as one list, so what is blank, or several, shifts those behind it.
    if len(parsed) != len(values):
        raise UndecodableError("not OTLP metrics in JSON: not one document")
    if len(parsed) and (parsed.is_null() | (parsed.list.len() == 0)).any():
        raise UndecodableError("not OTLP metrics in JSON: no resourceMetrics in it")
    found = lists(parsed.to_arrow())
    _types(found.values.field("scopeMetrics").flatten().field("metrics").flatten())
    return found


def _types(metrics: pa.StructArray) -> NDArray[np.int64]:
    """Return the type of each metric, 0 for those without data.

    Raises:
        UndecodableError: one is of two.
    """
    types = np.zeros((len(_TYPES), len(metrics)), np.int64)
    for row, (field, of_type) in enumerate(_TYPES.items()):
        if field in metrics.type.names:
            types[row, np.asarray(metrics.field(field).is_valid())] = of_type
    if (np.count_nonzero(types, axis=0) > 1).any():
        raise UndecodableError("not OTLP metrics in JSON: a metric of two types")
    largest: NDArray[np.int64] = types.max(axis=0)
    return largest


def _headers(
    metrics: pa.StructArray, types: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return what a metric says of all its points: the temporality, and whether it is monotonic."""
    temporalities = np.zeros(len(metrics), np.int64)
    for field in ("sum", "histogram", "exponentialHistogram"):
        if field not in metrics.type.names:
            continue
        written = texts(metrics.field(field).field("aggregationTemporality"))
        of_field = written.replace(_TEMPORALITIES).cast(pl.Int64, strict=False).fill_null(0)
        mine = types == _TYPES[field]
        temporalities[mine] = of_field.to_numpy()[mine]
    monotonic = pl.Series(pl.from_arrow(metrics.field("sum").field("isMonotonic")))
    return temporalities, monotonic.fill_null(False).to_numpy() & (types == SUM_TYPE)


def _cause(error: pl.exceptions.PolarsError) -> str:
    """Return what a person can use of a long message of Polars'."""
    return _printable(str(error).partition("\n")[0].removeprefix("error deserializing JSON: "))


def _printable(cause: str) -> str:
    """Return a cause in one line, though it may quote a message that holds anything."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in cause[:300]
    )


def _columns(data: pa.StructArray) -> PointColumns:
    """Lay out the data points of a gauge or sum column."""
    listed = lists(data.field("dataPoints"))
    points = listed.values
    fields = {
        field.name: pl.Series(pl.from_arrow(points.field(field.name))) for field in points.type
    }
    number = fields["asDouble"].cast(pl.Float64, strict=False)
    integer = fields["asInt"].cast(pl.Float64, strict=False)
    value = number.zip_with(number.is_not_null(), integer)
    attributes = lists(points.field("attributes"))
    return PointColumns(
        metric=owners(listed),
        ts=unsigned(points.field("timeUnixNano")),
        start=unsigned(points.field("startTimeUnixNano")),
        value=value.fill_null(float("nan")).to_numpy(),
        has_value=value.is_not_null().to_numpy(),
        flags=fields["flags"].fill_null(0).to_numpy().astype(np.uint32),
        attributes=[attributes],
        hashes=attribute_hashes(attributes),
    )


def _describe(
    table: OtlpMetrics,
    metric: NDArray[np.int64],
    attributes: list[pa.ListArray],
    kept: NDArray[np.intp],
    resources: pa.ListArray,
    scopes: pl.Series,
    rows: NDArray[np.intp],
) -> Description:
    """Give the names behind the points at ``rows``.

    ``metric`` has the row in ``table`` of each, ``kept`` the row in ``attributes``.
    """
    streams, resource_rows = table.streams(metric[rows], scopes)
    own = pa.chunked_array(attributes).take(pa.array(kept[rows]))
    of_points, exact_attributes = attributes_of(pa.concat_arrays(own.chunks))
    of_resource, exact_resources = attributes_of(resources.take(pa.array(resource_rows)))
    return Description(
        streams,
        of_points,
        of_resource,
        exact_attributes,
        exact_resources,
        is_gauge=table.gauge[metric[rows]],
    )
