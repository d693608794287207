"""Kept spans in ClickHouse, in the table that the OpenTelemetry Collector's exporter makes.

A span's protobuf is decoded into columns, batch by batch. Beside the Collector's columns stand the operation,
why a trace was kept, and how many spans like it one stands for.

Source: ``otel_traces`` of the clickhouseexporter, open-telemetry/opentelemetry-collector-contrib.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from operators.contracts.batch_form import SPAN_BATCHES
from operators.decoders.otlp.logs import flat_attributes
from operators.decoders.protobuf.lenient import read_message
from operators.decoders.protobuf.reduced_descriptor import REPEATED, Field, Messages, handler_of
from sinks.clickhouse import LAST_SECOND, ClickHouse, ClickHouseSettings, literal
from sinks.clickhouse_maps import maps_of_members
from sinks.otlp_encoding import with_threshold

__all__ = ["ClickHouseSpans"]

_KINDS: Final = ("Unspecified", "Internal", "Server", "Client", "Producer", "Consumer")
_STATUSES: Final = ("Unset", "Ok", "Error")
_ALL: Final = 1 << 56
_LAST: Final = LAST_SECOND * 1_000_000_000
_TEXT: Final = Field.TYPE_STRING
_BYTES: Final = Field.TYPE_BYTES
_PLAIN: Final = pl.CompatLevel.oldest()
_KNOWN: Final = {"Span": Span, "Resource": Resource, "Scope": InstrumentationScope}
_MESSAGES: Final[Messages] = {
    "Span": (
        ("trace_state", 3, _TEXT, ""),
        ("name", 5, _TEXT, ""),
        ("attributes", 9, "Attribute", REPEATED),
        ("events", 11, "Event", REPEATED),
        ("links", 13, "Link", REPEATED),
        ("status", 15, "Status", ""),
    ),
    "Event": (
        ("time_unix_nano", 1, Field.TYPE_FIXED64, ""),
        ("name", 2, _TEXT, ""),
        ("attributes", 3, "Attribute", REPEATED),
    ),
    "Link": (
        ("trace_id", 1, _BYTES, ""),
        ("span_id", 2, _BYTES, ""),
        ("trace_state", 3, _TEXT, ""),
        ("attributes", 4, "Attribute", REPEATED),
    ),
    "Status": (("message", 2, _TEXT, ""),),
    "Resource": (("attributes", 1, "Attribute", REPEATED),),
    "Scope": (("name", 1, _TEXT, ""), ("version", 2, _TEXT, "")),
    "Attribute": (("key", 1, _TEXT, ""), ("value", 2, "Value", "")),
    "Value": (
        ("string_value", 1, _TEXT, "value"),
        ("bool_value", 2, Field.TYPE_BOOL, "value"),
        ("int_value", 3, Field.TYPE_INT64, "value"),
        ("double_value", 4, Field.TYPE_DOUBLE, "value"),
        ("array_value", 5, _BYTES, "value"),
        ("kvlist_value", 6, _BYTES, "value"),
        ("bytes_value", 7, _BYTES, "value"),
    ),
}
"""What is read of OTLP's messages; lists and maps stay bytes."""


class ClickHouseSpans(ClickHouse):
    """Writes SPANS frames."""

    name = "clickhouse_spans"
    identity = ("Tenant", "TraceId", "SpanId", "SpanKind", "Timestamp")

    def __init__(self, settings: ClickHouseSettings) -> None:
        super().__init__(settings, settings.tables.spans, SPAN_BATCHES)

    def columns(self, frame: pl.DataFrame) -> pa.Table:
        """Return the columns of a SPANS frame."""
        span = _decoded("Span", frame["span"])
        states = pl.Series(span.column("trace_state")).rename("state")
        name = pl.Series(span.column("name"))
        kept = _ALL - pl.col("threshold").clip(0, _ALL - 1)
        found = frame.select(
            Timestamp=pl.from_epoch(pl.col("begun").clip(0, _LAST), "ns"),
            TraceId="trace_id",
            SpanId="span_id",
            ParentSpanId="parent_span_id",
            TraceState=_states(states, frame["threshold"]),
            SpanName=pl.when(name != "").then(name).otherwise("operation"),
            SpanKind=_named("kind", _KINDS),
            ServiceName="service",
            Duration=(pl.col("ended") - pl.col("begun")).clip(0).cast(pl.UInt64),
            StatusCode=_named("status", _STATUSES),
            StatusMessage=_message(span.column("status")),
            Tenant="tenant",
            Operation="operation",
            Reason="reason",
            AdjustedCount=pl.lit(float(_ALL)) / kept.cast(pl.Float64),
        ).to_arrow(compat_level=_PLAIN)
        resources, of_row = _unique(frame["resource"])
        attributes = _maps(_decoded("Resource", resources).column("attributes"))
        scopes, scope_of_row = _unique(frame["scope"])
        scope = _decoded("Scope", scopes)
        return pa.table(
            {
                **{each: found.column(each) for each in found.column_names},
                "ResourceAttributes": attributes.take(of_row),
                "ScopeName": scope.column("name").take(scope_of_row),
                "ScopeVersion": scope.column("version").take(scope_of_row),
                "SpanAttributes": _maps(span.column("attributes")),
                **_events(span.column("events")),
                **_links(span.column("links")),
            }
        )

    def written_before(self, rows: pl.DataFrame) -> str:
        """Say where these spans would be: when they began, and which traces they are of."""
        begun = rows["Timestamp"].to_physical().to_numpy()
        first, last = int(begun.min()), int(begun.max())
        traces = ", ".join(map(literal, rows["TraceId"].unique().sort().to_list()))
        return (
            f"`Timestamp` BETWEEN fromUnixTimestamp64Nano(toInt64({first})) "
            f"AND fromUnixTimestamp64Nano(toInt64({last})) AND `TraceId` IN ({traces})"
        )


@cache
def _handler(message: str) -> Any:
    return handler_of(message, "headrace.clickhouse", _MESSAGES)


def _decoded(message: str, values: pl.Series) -> pa.RecordBatch:
    """Return messages as columns; one that is no protobuf as an empty one."""
    handler, array = _handler(message), values.to_arrow(compat_level=_PLAIN).cast(pa.binary())
    try:
        return handler.array_to_record_batch(array)
    except ValueError:
        sound = [_sound(handler, message, value) for value in values.to_list()]
        return handler.array_to_record_batch(pa.array(sound, pa.binary()))


def _sound(handler: Any, message: str, value: bytes) -> bytes:
    """Return a message that can be read, also of one with a text that is not UTF-8."""
    if _is_sound(handler, value):
        return value
    mended: bytes = read_message(_KNOWN[message], value).SerializeToString()
    return mended if _is_sound(handler, mended) else b""


def _is_sound(handler: Any, value: bytes) -> bool:
    try:
        handler.array_to_record_batch(pa.array([value], pa.binary()))
    except ValueError:
        return False
    return True


def _unique(values: pl.Series) -> tuple[pl.Series, pa.Array]:
    """Return the different values, and by row which it has; few resources and scopes are different."""
    different = values.unique(maintain_order=True)
    numbered = pl.DataFrame({"value": different}).with_row_index("number")
    of_row = pl.DataFrame({"value": values}).join(
        numbered, on="value", how="left", maintain_order="left"
    )
    return different, of_row["number"].to_arrow()


def _states(states: pl.Series, thresholds: pl.Series) -> pl.Series:
    """Return tracestates that say with which threshold a span was kept; few are different."""
    rows = pl.DataFrame({"state": states, "threshold": thresholds})
    keys = rows.unique()
    made = [
        with_threshold(state, min(threshold, _ALL - 1)) if threshold > 0 else state
        for state, threshold in keys.iter_rows()
    ]
    told = keys.with_columns(made=pl.Series(made, dtype=pl.String))
    return rows.join(told, on=("state", "threshold"), how="left", maintain_order="left")["made"]


def _named(column: str, names: tuple[str, ...]) -> pl.Expr:
    return pl.col(column).replace_strict(
        dict(enumerate(names)), default=names[0], return_dtype=pl.String
    )


def _message(status: pa.Array) -> pl.Series:
    return pl.Series(status.field("message")).fill_null("")


def _events(events: pa.ListArray) -> dict[str, pa.Array]:
    of, each = events.offsets, events.values
    times = pl.Series(each.field("time_unix_nano")).clip(0, 2**63 - 1).cast(pl.Int64)
    columns = {
        "Timestamp": pl.from_epoch(times, "ns").to_arrow(),
        "Name": each.field("name"),
        "Attributes": _maps(each.field("attributes")),
    }
    return {
        f"Events.{name}": pa.ListArray.from_arrays(of, column) for name, column in columns.items()
    }


def _links(links: pa.ListArray) -> dict[str, pa.Array]:
    of, each = links.offsets, links.values
    columns = {
        "TraceId": _hexadecimal(each.field("trace_id")),
        "SpanId": _hexadecimal(each.field("span_id")),
        "TraceState": each.field("trace_state"),
        "Attributes": _maps(each.field("attributes")),
    }
    return {
        f"Links.{name}": pa.ListArray.from_arrays(of, column) for name, column in columns.items()
    }


def _hexadecimal(values: pa.Array) -> pa.Array:
    return pl.Series(values, dtype=pl.Binary).bin.encode("hex").to_arrow(compat_level=_PLAIN)


def _maps(attributes: pa.ListArray) -> pa.Array:
    """Return lists of attributes as maps of texts."""
    offsets = attributes.offsets.to_numpy()
    owner = np.repeat(np.arange(len(attributes)), np.diff(offsets))
    pairs = attributes.values
    value = pairs.field("value")
    columns = {field.name: pl.Series(value.field(field.name)) for field in value.type}
    texts = pl.DataFrame(columns).select(
        pl.coalesce(
            "string_value",
            pl.col("bool_value").cast(pl.String),
            pl.col("int_value").cast(pl.String),
            pl.col("double_value").cast(pl.String),
            pl.col("bytes_value").cast(pl.Binary).bin.encode("base64"),
            pl.col("array_value").cast(pl.Binary).map_elements(_list_text, pl.String),
            pl.col("kvlist_value").cast(pl.Binary).map_elements(_map_text, pl.String),
        ).fill_null("")
    )
    keys = pl.Series(pairs.field("key"), dtype=pl.String)
    return maps_of_members(owner, keys, texts.to_series(), len(attributes))


def _list_text(encoded: bytes) -> str:
    """Return a list as JSON. Attributes that are lists are rare."""
    value = AnyValue(array_value=ArrayValue.FromString(encoded))
    return orjson.dumps(flat_attributes([KeyValue(key="", value=value)])[""]).decode()


def _map_text(encoded: bytes) -> str:
    return orjson.dumps(flat_attributes(KeyValueList.FromString(encoded).values)).decode()
