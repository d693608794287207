"""The JSON of OTLP's metrics as Polars parses it: the fields that Headrace uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import polars as pl

__all__ = ["schema_of"]

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
        # What lies deeper than one level is a text by now, see ``json_nested``.
        "arrayValue": pl.Struct({"values": pl.List(pl.Struct(_SCALARS))}),
        "kvlistValue": pl.Struct({"values": pl.List(_ENTRY)}),
    }
)
_ATTRIBUTES: Final = pl.List(pl.Struct({"key": pl.String, "value": _ANY_VALUE}))


def _message(*, distributions: bool) -> pl.Struct:
    times: dict[str, Any] = {
        "attributes": _ATTRIBUTES,
        "startTimeUnixNano": pl.String,
        "timeUnixNano": pl.String,
    }
    number = pl.List(
        pl.Struct({**times, "asDouble": pl.String, "asInt": pl.String, "flags": pl.Int64})
    )
    metric: dict[str, Any] = {
        "name": pl.String,
        "unit": pl.String,
        "gauge": pl.Struct({"dataPoints": number}),
        "sum": pl.Struct(
            {
                "dataPoints": number,
                "aggregationTemporality": pl.String,
                "isMonotonic": pl.Boolean,
            }
        ),
    }
    if distributions:
        metric |= _distributions(times)
    scope = pl.Struct({"name": pl.String, "version": pl.String})
    scope_metrics = pl.Struct({"scope": scope, "metrics": pl.List(pl.Struct(metric))})
    resource = pl.Struct({"attributes": _ATTRIBUTES})
    resource_metrics = pl.Struct({"resource": resource, "scopeMetrics": pl.List(scope_metrics)})
    return pl.Struct({"resourceMetrics": pl.List(resource_metrics)})


def _distributions(times: dict[str, Any]) -> dict[str, pl.Struct]:
    stated: dict[str, Any] = {
        **times,
        "count": pl.String,
        "sum": pl.String,
        "min": pl.String,
        "max": pl.String,
        "flags": pl.Int64,
    }
    buckets = pl.Struct({"offset": pl.String, "bucketCounts": pl.List(pl.String)})
    explicit = {"bucketCounts": pl.List(pl.String), "explicitBounds": pl.List(pl.String)}
    exponential: dict[str, Any] = {
        "scale": pl.String,
        "zeroCount": pl.String,
        "zeroThreshold": pl.String,
        "positive": buckets,
        "negative": buckets,
    }
    quantile = pl.Struct({"quantile": pl.String, "value": pl.String})
    return {
        "histogram": _aggregated(pl.Struct({**stated, **explicit})),
        "exponentialHistogram": _aggregated(pl.Struct({**stated, **exponential})),
        "summary": _aggregated(pl.Struct({**stated, "quantileValues": pl.List(quantile)})),
    }


def _aggregated(point: pl.Struct) -> pl.Struct:
    return pl.Struct({"dataPoints": pl.List(point), "aggregationTemporality": pl.String})


_ALL: Final = _message(distributions=True)
_NUMBERS: Final = _message(distributions=False)
_SIGNS: Final = (b"istogram", b"summary", b"\\u")  # a key may be escaped, though none ever is


def schema_of(values: Sequence[bytes]) -> pl.Struct:
    """Return the schema of a message, with histograms and summaries only if there may be any.

    Columns that are all null take Polars a third of its time.
    """
    return _ALL if any(sign in value for value in values for sign in _SIGNS) else _NUMBERS
