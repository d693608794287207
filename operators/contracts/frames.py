"""The contract between all parts: the columns of every frame.

An item in a dataflow is columns of thousands of rows: a Polars frame, or on the way of the points
from decoding into windows, arrays (``operators.series.shuffle``, ``operators.contracts.distributions``). Every
function on the telemetry path says which of them it takes and gives. Times are nanoseconds since the Unix epoch
in ``Int64``; lengths of time are nanoseconds too.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = [
    "ALERT_EVENTS",
    "ATTRIBUTES",
    "BUCKET",
    "COUNT",
    "CUMULATIVE",
    "CUMULATIVE_HISTOGRAM",
    "DEFAULT_TENANT",
    "DELTA",
    "DELTA_HISTOGRAM",
    "DOCUMENTS",
    "EXCEPTIONS",
    "GAUGE",
    "GROUPED_LOGS",
    "KINDS",
    "LOG_COUNTS",
    "LOG_RECORDS",
    "LOWER_HALF",
    "MESSAGES",
    "NO_PART",
    "OPERATIONS",
    "PARTS",
    "POINTS",
    "QUANTILES",
    "REJECTS",
    "ROLLUPS",
    "SAMPLES",
    "SCORES",
    "SCORE_COLUMNS",
    "SERIES",
    "SERVICE_CALLS",
    "SPANS",
    "STREAMS",
    "SUM",
    "SUMMARY",
    "TEMPLATES",
    "TOGETHER",
    "WHOLE",
    "empty",
    "shard_of",
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

LOWER_HALF: Final = np.uint64(0xFFFFFFFF)
"""Of the id of a series: what tenant, name and labels come to."""

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

NO_PART, BUCKET, COUNT, SUM, TOGETHER = range(5)
"""What a stream is to a classic histogram: nothing, a bucket, its count, its sum, or all of it."""

PARTS: Final = pl.Schema(
    {
        "part": pl.UInt8,  # one of the five above
        "bound": pl.Float64,  # the upper bound of a bucket; infinity for all else
        "whole": pl.UInt64,  # identity of the histogram; the stream's own where it is no part
        # What is written of a stream if it has no buckets beside it: the count of a summary is a
        # counter of its own. Of all else the same as in SERIES.
        "alone_series": pl.UInt64,
        "alone_name": pl.String,
        "alone_kind": pl.UInt8,
    }
)
"""Columns beside those of SERIES, in a frame that has parts of classic histograms.

The series of a part is that of its histogram, so all parts are in one shard, and are admitted or
refused as one.
"""

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
        "increase": pl.Float64,  # of sums, exact and additive; null for gauges
        "rate": pl.Float64,  # increase a second of the time that the increments cover
        # Percentiles: of histograms and summaries, and of gauges where the settings ask for them.
        **dict.fromkeys(QUANTILES, pl.Float64),
        "revision": pl.Int64,  # 0 at first; one more each time late data changed the row
    }
)
"""One closed window of one series a row."""

WHOLE: Final = "whole"
"""A column beside ROLLUPS on the way to scoring: the first time that the row came out whole."""

SCORES: Final = pl.Schema([*ROLLUPS.items(), *SCORE_COLUMNS.items()])
"""Rollups with the judgement of a detector; its columns are null where none applied."""

_NUMBERS: Final[Any] = pl.List(pl.Float64)

SAMPLES: Final = pl.Schema(
    {
        "tenant": pl.String,
        "series": pl.UInt64,  # hash of tenant and labels; 0 in a row that tells of a partition
        "labels": pl.String,  # JSON object of all labels as Prometheus names them, with __name__
        "ts": pl.Int64,
        "value": pl.Float64,  # also NaN, infinities, and Prometheus' staleness marker
        "seen": pl.Int64,  # largest event time of its partition before the message that held it
        "place": pl.String,  # partition that it was read from, ``topic/number``
        "reader": pl.Int32,  # null in a sample
        "mark": pl.String,  # null in a sample; what the reader knows of the partition's future
        "delta": pl.Boolean,  # whether the value is what came since the sample before; null: no
        "histogram": _NUMBERS,  # of a native one, which has no value; null: a number
    }
)
"""One sample of a series that a rule selects a row, in the order of its partition.

A row with a ``reader`` and without a value tells how far a partition is: ``ts`` is the largest event
time up to here, ``seen`` the first one that its reader met. ``place`` is empty if the reader has none.
"""

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
        "event": pl.Binary,  # the event's JSON, see operators.contracts.alert
    }
)
"""One change of an alert a row."""

LOG_RECORDS: Final = pl.Schema(
    {
        "message": pl.UInt32,  # index in the poll of the message that held the record
        "index": pl.UInt32,  # of the record in its message
        "tenant": pl.String,
        "ts": pl.Int64,  # when it happened; when it was observed, where nothing readable says so
        "observed": pl.Int64,
        "severity": pl.UInt8,  # OpenTelemetry's number, 0 where it is unknown
        "severity_text": pl.String,
        "service": pl.String,
        "body": pl.String,
        "attributes": pl.String,  # JSON object, nested keys joined by dots; empty without any
        "resource": pl.String,  # the same, of what sent it
        "scope": pl.String,
        "trace_id": pl.String,  # 32 hexadecimal digits in small letters, or empty
        "span_id": pl.String,  # 16 of them, or empty
        "stack": pl.String,  # the stack trace, or type and message of an exception, or empty
        "marks": pl.UInt8,  # what was wrong with it, see ``operators.logs.parsing.marks``
    }
)
"""One log record a row, after the OpenTelemetry log data model."""

GROUPED_LOGS: Final = pl.Schema(
    [
        (
            "topic",
            pl.String,
        ),  # where its message was: with ``index``, what tells it from all others
        ("partition", pl.Int32),
        ("offset", pl.Int64),
        *((name, kind) for name, kind in LOG_RECORDS.items() if name not in ("message", "stack")),
        ("shape", pl.UInt64),  # hash of the masked body, see ``operators.logs.templates.masking``
        ("template", pl.Int64),  # id of the template, see ``operators.logs.templates.merging``
        ("exception", pl.String),  # fingerprint of the exception in it, or empty
        ("weight", pl.Int64),  # how many records it stands for; null is one
    ]
)
"""One log record a row, parsed and scrubbed, with what groups it is in."""

TEMPLATES: Final = pl.Schema(
    {
        "tenant": pl.String,
        "service": pl.String,
        "shape": pl.UInt64,
        "old": pl.Int64,  # id of the template that the shape had before; 0 if it is new
        "new": pl.Int64,
        "text": pl.String,  # of the new template
    }
)
"""One change of the template of a shape a row."""

LOG_COUNTS: Final = pl.Schema(
    {
        "tenant": pl.String,
        "service": pl.String,
        "severity": pl.String,  # name of its range, empty where it is unknown
        "template": pl.Int64,
        "exception": pl.String,
        "start": pl.Int64,
        "ts": pl.Int64,
        "count": pl.Int64,
    }
)
"""How many records of a kind came between two times: a point of a delta sum a row."""

OPERATIONS: Final = pl.Schema(
    {
        "operation": pl.UInt64,  # its id, made of all that follows, the same in all processes
        "tenant": pl.String,
        "service": pl.String,
        "name": pl.String,  # without ids, see ``operators.traces.names``
        "kind": pl.UInt8,  # OTLP's number
        "status": pl.UInt8,  # the same: an operation that failed is another
        "resource": pl.String,  # JSON object of the chosen attributes; empty without any
        "dimensions": pl.String,  # the same, of the span's own
        "peer": pl.String,  # whom it calls by its attributes, or empty
        "peer_type": pl.String,  # what that is: ``database``, ``messaging_system``, ``virtual_node``
        "wanted": pl.Boolean,  # its attributes are of those that are always kept
    }
)
"""What spans have in common that are counted together, a row each."""

SPANS: Final = pl.Schema(
    {
        "tenant": pl.String,
        "trace_id": pl.String,  # 32 hexadecimal digits in small letters
        "span_id": pl.String,  # 16 of them
        "parent_span_id": pl.String,  # the same, empty of a root
        "service": pl.String,
        "operation": pl.String,  # its name without ids
        "kind": pl.UInt8,  # OTLP's numbers
        "status": pl.UInt8,
        "begun": pl.Int64,
        "ended": pl.Int64,
        "threshold": pl.Int64,  # of 2**56: the share of traces like it that were left out
        "reason": pl.String,  # why its trace is kept: ``error``, ``slow``, ``wanted``, ``rest``
        "span": pl.Binary,  # as OTLP's protobuf has it
        "resource": pl.Binary,
        "scope": pl.Binary,
    }
)
"""One span that is kept a row."""

SERVICE_CALLS: Final = pl.Schema(
    {
        "series": pl.UInt64,  # of the edge: it says whose, and which kind of connection, too
        "client": pl.String,
        "server": pl.String,
        "window_start": pl.Int64,
        "count": pl.Int64,  # points that the rollup is made of
        "calls": pl.Float64,
    }
)
"""How often one service called another in a window, a row each."""

EXCEPTIONS: Final = pl.Schema(
    {
        "tenant": pl.String,
        "service": pl.String,
        "fingerprint": pl.String,
        "group": pl.String,  # JSON object, see ``operators.logs.exceptions.groups``
    }
)
"""What is known of one exception of a service, as it is now, a row."""

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


def shard_of(series: NDArray[np.uint64], shards: int) -> NDArray[np.int32]:
    """Return the shard of each series: by the lower half of its id.

    That half is the same of series that differ in kind or unit alone, so one shard has them all.
    """
    lower = series & LOWER_HALF
    return (lower % np.uint64(shards)).astype(np.int32)


def empty(schema: pl.Schema) -> pl.DataFrame:
    """Return a frame of ``schema`` without rows."""
    return pl.DataFrame(schema=schema)
