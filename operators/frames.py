"""The contract between all parts: the columns of every frame.

An item in a dataflow is columns of thousands of rows: a Polars frame, or on the way of the points
from decoding into windows, arrays (``operators.spread``, ``operators.distributions``). Every
function on the telemetry path says which of them it takes and gives. Times are nanoseconds since the Unix epoch
in ``Int64``; lengths of time are nanoseconds too.
"""

from __future__ import annotations

from typing import Final

import polars as pl

__all__ = [
    "ALERT_EVENTS",
    "ATTRIBUTES",
    "CUMULATIVE",
    "CUMULATIVE_HISTOGRAM",
    "DEFAULT_TENANT",
    "DELTA",
    "DELTA_HISTOGRAM",
    "DOCUMENTS",
    "GAUGE",
    "KINDS",
    "MESSAGES",
    "POINTS",
    "QUANTILES",
    "REJECTS",
    "ROLLUPS",
    "SCORES",
    "SCORE_COLUMNS",
    "SERIES",
    "STREAMS",
    "SUMMARY",
    "empty",
]

DEFAULT_TENANT: Final = "default"
"""Whose series are where nothing says whose: it is no tag, and no label of an alert."""

GAUGE: Final = 0
"""An instantaneous value; non-monotonic cumulative sums are rolled up as gauges too."""
DELTA: Final = 1
"""A sum whose every point holds the change since the previous one."""
CUMULATIVE: Final = 2
"""A monotonic sum whose points hold the total since ``start``."""
DELTA_HISTOGRAM: Final = 3
"""A histogram, explicit or exponential, of what was observed since the previous point."""
CUMULATIVE_HISTOGRAM: Final = 4
"""A histogram of what was observed since ``start``."""
SUMMARY: Final = 5
"""A count, a sum, and quantiles that the producer worked out: they are kept, and never merged."""
KINDS: Final = (
    "gauge", "delta", "cumulative", "delta_histogram", "cumulative_histogram", "summary"
)  # fmt: skip
"""Names of the kinds, indexed by their number."""

QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
"""The percentiles of a rollup, by column."""

POINTS: Final = pl.Schema(
    {
        "message": pl.UInt32,  # index in the poll of the message that held the point
        "raw": pl.UInt64,  # hash of the encoded identity: a key within one process, never stored
        "ts": pl.Int64,
        "start": pl.Int64,  # of the cumulative total; 0 where the producer does not say
        "value": pl.Float64,
    }
)
"""One measurement a row, as a decoder gives it."""

STREAMS: Final = pl.Schema(
    {
        "name": pl.String,
        "unit": pl.String,
        "kind": pl.UInt8,
        "scope": pl.String,  # of the instrumentation, in a canonical form
        "resource": pl.UInt32,  # index among the resources that come with it
    }
)
"""What a decoder says of an identity that it meets for the first time, attributes aside."""

ATTRIBUTES: Final = pl.Schema({"owner": pl.UInt32, "key": pl.String, "value": pl.String})
"""One attribute a row; ``owner`` is the index of the stream or resource that it belongs to."""

SERIES: Final = pl.Schema(
    {
        "identity": pl.UInt64,  # the stream as its producer identifies it
        "series": pl.UInt64,  # the series it is written as, after enrichment; many may share one
        "tenant": pl.String,
        "name": pl.String,
        "labels": pl.String,  # JSON object, keys sorted, all values strings
        "unit": pl.String,
        "kind": pl.UInt8,
    }
)
"""One stream of points a row, and the series it belongs to."""

SCORE_COLUMNS: Final = {
    "score": pl.Float64,  # 0 is normal, 1 or more is anomalous
    "expected": pl.Float64,
    "lower": pl.Float64,
    "upper": pl.Float64,
    "detector": pl.String,
}

ROLLUPS: Final = pl.Schema(
    {
        "tenant": pl.String,
        "series": pl.UInt64,
        "name": pl.String,
        "labels": pl.String,
        "unit": pl.String,
        "kind": pl.String,
        "window": pl.Int64,  # length
        "window_start": pl.Int64,
        "count": pl.Int64,
        "sum": pl.Float64,
        "min": pl.Float64,
        "max": pl.Float64,
        "mean": pl.Float64,
        "last": pl.Float64,
        "increase": pl.Float64,  # of sums; null for gauges
        "rate": pl.Float64,  # increase a second, over the length of the window
        # Percentiles: of histograms and summaries, and of gauges where the settings ask for them.
        **dict.fromkeys(QUANTILES, pl.Float64),
        "revision": pl.Int64,  # 0 at first; one more each time late data changed the row
    }
)
"""One closed window of one series a row."""

SCORES: Final = pl.Schema([*ROLLUPS.items(), *SCORE_COLUMNS.items()])
"""Rollups with the judgement of a detector; its columns are null where none applied."""

REJECTS: Final = pl.Schema(
    {
        "origin": pl.String,  # "input", or the name of the sink whose backend refused it
        "topic": pl.String,
        "partition": pl.Int32,
        "offset": pl.Int64,
        "reason": pl.String,
        "payload": pl.Binary,
    }
)
"""One refused message, or one document that a backend refused for good, a row."""

ALERT_EVENTS: Final = pl.Schema(
    {
        "id": pl.String,
        "fingerprint": pl.String,
        "status": pl.String,  # "firing" or "resolved"
        "at": pl.Int64,  # event time of the change
        "event": pl.Binary,  # the event's JSON, see operators.alerts
    }
)
"""One change of an alert a row."""

MESSAGES: Final = pl.Schema({"topic": pl.String, "key": pl.Binary, "value": pl.Binary})
"""One message to produce to Kafka a row."""

DOCUMENTS: Final = pl.Schema(
    {
        "stream": pl.String,  # Elasticsearch data stream
        "id": pl.String,
        "document": pl.String,  # JSON object with "@timestamp"
    }
)
"""One document for Elasticsearch a row."""


def empty(schema: pl.Schema) -> pl.DataFrame:
    """Return a frame of ``schema`` without rows."""
    return pl.DataFrame(schema=schema)
