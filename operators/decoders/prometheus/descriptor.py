"""Prometheus's remote write messages, 1.0 and 2.0, reduced to the fields that Headrace uses.

The labels of 1.0 are declared as bytes: series are told apart by these as they are, and keys and
values are decoded only for a series that is new. Those of 2.0 are numbers already.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from operators.decoders.protobuf.reduced_descriptor import REPEATED, Field, Messages, handler_of
from operators.decoders.protobuf.wellformed import layout_of

__all__ = ["LAYOUT", "LAYOUT_V2", "request_v2_handler", "write_request_handler"]

# A histogram is the same message in both versions, but for what 2.0 added at its end.
_HISTOGRAM: Final[Messages] = {
    "BucketSpan": (("offset", 1, Field.TYPE_SINT32, ""), ("length", 2, Field.TYPE_UINT32, "")),
    "Histogram": (
        ("count_int", 1, Field.TYPE_UINT64, "count"),
        ("count_float", 2, Field.TYPE_DOUBLE, "count"),
        ("sum", 3, Field.TYPE_DOUBLE, ""),
        ("schema", 4, Field.TYPE_SINT32, ""),
        ("zero_threshold", 5, Field.TYPE_DOUBLE, ""),
        ("zero_count_int", 6, Field.TYPE_UINT64, "zero_count"),
        ("zero_count_float", 7, Field.TYPE_DOUBLE, "zero_count"),
        ("negative_spans", 8, "BucketSpan", REPEATED),
        ("negative_deltas", 9, Field.TYPE_SINT64, REPEATED),
        ("negative_counts", 10, Field.TYPE_DOUBLE, REPEATED),
        ("positive_spans", 11, "BucketSpan", REPEATED),
        ("positive_deltas", 12, Field.TYPE_SINT64, REPEATED),
        ("positive_counts", 13, Field.TYPE_DOUBLE, REPEATED),
        ("reset_hint", 14, Field.TYPE_INT32, ""),
        ("timestamp", 15, Field.TYPE_INT64, ""),
        ("custom_values", 16, Field.TYPE_DOUBLE, REPEATED),
        ("start_timestamp", 17, Field.TYPE_INT64, ""),
    ),
}
_V1: Final[Messages] = {
    **_HISTOGRAM,
    "Sample": (("value", 1, Field.TYPE_DOUBLE, ""), ("timestamp", 2, Field.TYPE_INT64, "")),
    "TimeSeries": (
        ("labels", 1, Field.TYPE_BYTES, REPEATED),
        ("samples", 2, "Sample", REPEATED),
        ("histograms", 4, "Histogram", REPEATED),
    ),
    "MetricMetadata": (
        ("type", 1, Field.TYPE_INT32, ""),
        ("metric_family_name", 2, Field.TYPE_STRING, ""),
    ),
    "WriteRequest": (
        ("timeseries", 1, "TimeSeries", REPEATED),
        ("metadata", 3, "MetricMetadata", REPEATED),
    ),
}
_V2: Final[Messages] = {
    **_HISTOGRAM,
    "Sample": (
        ("value", 1, Field.TYPE_DOUBLE, ""),
        ("timestamp", 2, Field.TYPE_INT64, ""),
        ("start_timestamp", 3, Field.TYPE_INT64, ""),
    ),
    "Metadata": (("type", 1, Field.TYPE_INT32, ""), ("unit_ref", 4, Field.TYPE_UINT32, "")),
    "TimeSeries": (
        ("labels_refs", 1, Field.TYPE_UINT32, REPEATED),
        ("samples", 2, "Sample", REPEATED),
        ("histograms", 3, "Histogram", REPEATED),
        ("metadata", 5, "Metadata", ""),
        # Where the drafts before rc.4 had it, and senders of their time still put it.
        ("created_timestamp", 6, Field.TYPE_INT64, ""),
    ),
    "Request": (
        ("symbols", 4, Field.TYPE_STRING, REPEATED),
        ("timeseries", 5, "TimeSeries", REPEATED),
    ),
}

LAYOUT: Final = layout_of("WriteRequest", _V1)
"""What ptars looks at in 1.0, as ``find_faults`` takes it."""
LAYOUT_V2: Final = layout_of("Request", _V2)
"""The same in 2.0."""


@cache
def write_request_handler() -> Any:
    """Return the ptars handler of 1.0's ``prometheus.WriteRequest``."""
    return handler_of("WriteRequest", "headrace.remote_write", _V1)


@cache
def request_v2_handler() -> Any:
    """Return the ptars handler of 2.0's ``io.prometheus.write.v2.Request``."""
    return handler_of("Request", "headrace.remote_write_v2", _V2)
