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
_STATED: Final[dict[str, Any]] = {
    "attributes": _ATTRIBUTES,
    "startTimeUnixNano": pl.String,
    "timeUnixNano": pl.String,
    "count": pl.String,
    "sum": pl.String,
    "min": pl.String,
    "max": pl.String,
    "flags": pl.Int64,
}
_BUCKETS: Final = pl.Struct({"offset": pl.String, "bucketCounts": pl.List(pl.String)})
_HISTOGRAM_POINT: Final = pl.Struct(
    {**_STATED, "bucketCounts": pl.List(pl.String), "explicitBounds": pl.List(pl.String)}
)
_EXPONENTIAL_POINT: Final = pl.Struct(
    {
        **_STATED,
        "scale": pl.String,
        "zeroCount": pl.String,
        "zeroThreshold": pl.String,
        "positive": _BUCKETS,
        "negative": _BUCKETS,
    }
)
_SUMMARY_POINT: Final = pl.Struct(
    {**_STATED, "quantileValues": pl.List(pl.Struct({"quantile": pl.String, "value": pl.String}))}
)


def _aggregated(point: pl.Struct) -> pl.Struct:
    return pl.Struct({"dataPoints": pl.List(point), "aggregationTemporality": pl.String})


def _message(distributions: dict[str, pl.Struct]) -> pl.Struct:
    metric = pl.Struct(
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
            **distributions,
        }
    )
    scope = pl.Struct({"name": pl.String, "version": pl.String})
    scope_metrics = pl.Struct({"scope": scope, "metrics": pl.List(metric)})
    resource = pl.Struct({"attributes": _ATTRIBUTES})
    resource_metrics = pl.Struct({"resource": resource, "scopeMetrics": pl.List(scope_metrics)})
    return pl.Struct({"resourceMetrics": pl.List(resource_metrics)})


_ALL: Final = _message(
    {
        "histogram": _aggregated(_HISTOGRAM_POINT),
        "exponentialHistogram": _aggregated(_EXPONENTIAL_POINT),
        "summary": _aggregated(_SUMMARY_POINT),
    }
)
_NUMBERS: Final = _message({})
_SIGNS: Final = (b"istogram", b"summary", b"\\u")  # a key may be escaped, though none ever is


def schema_of(values: Sequence[bytes]) -> pl.Struct:
    """Return the schema of a message, with histograms and summaries only if there may be any.

    Columns that are all null take Polars a third of its time.
    """
    return _ALL if any(sign in value for value in values for sign in _SIGNS) else _NUMBERS
