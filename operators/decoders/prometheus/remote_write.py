"""Prometheus remote write 1.0: ``prometheus.WriteRequest``, compressed as a block of Snappy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from operators.columns.nested import combine_hashes, hash_values, join_bytes, offsets, owners
from operators.contracts.decoder import Decoded, Description
from operators.decoders.prometheus.decoded_series import decoded_series
from operators.decoders.prometheus.descriptor import LAYOUT, write_request_handler
from operators.decoders.prometheus.labels import LabelColumns
from operators.decoders.prometheus.messages import parse_messages, parse_with
from operators.decoders.prometheus.metrics import (
    COUNTER,
    GAUGE_HISTOGRAM,
    HISTOGRAM,
    SUMMARY,
    SeriesColumns,
    describe_streams,
)

__all__ = ["RemoteWrite"]

_OF_EVERYTHING: Final = (
    b"\nM\n\x0e\n\x08__name__\x12\x02\xc3\xa9\n\x06\n\x01a\x12\x01b\x12\x0b\t\x00\x00\x00\x00\x00\x00\xf0?"
    b'\x10\x01"&\x08\x03\x19\x00\x00\x00\x00\x00\x00\xf0?)\x9a\x99\x99\x99\x99\x99\xb9?0\x01B\x02\x10'
    b"\x01J\x01\x02Z\x02\x10\x01b\x01\x02x\x01"
)
"""A series with a sample, a native histogram, and labels that are not all ASCII."""


class RemoteWrite:
    """Decodes WriteRequest messages, compressed or not.

    The types of metrics come in messages of their own, once a minute, and a decoder keeps
    nothing. So what a series is rolled up as is told by its name: ``_total``, ``_count``,
    ``_sum`` and ``_bucket`` are counters. A type that comes in the same message goes before.
    """

    def decode(self, values: Sequence[bytes]) -> Decoded:
        """Decode samples and native histograms; exemplars are ignored."""
        parsed, messages, rejected = parse_messages(values, _parse, LAYOUT)
        lists = parsed.field("timeseries")
        encoded = lists.values.field("labels")
        labels = LabelColumns.read(encoded)
        message = owners(lists)
        refused = ~labels.valid
        if refused.any():
            refused = np.isin(message, message[refused])
        for index in np.unique(message[refused]):
            rejected[int(messages[index])] = "not remote write 1.0: a label is not one, or no UTF-8"
        named = labels.name >= 0
        types = _types(parsed.field("metadata"), message, labels, np.flatnonzero(named & ~refused))
        series = SeriesColumns(
            message=messages[message],
            hashes=combine_hashes(
                hash_values(join_bytes(encoded)),
                np.diff(offsets(encoded)).astype(np.uint64),
                types.astype(np.uint64),
            ),
            named=named,
            refused=refused,
            type=types,
            created=np.zeros(len(message), np.int64),
        )
        return decoded_series(series, lists.values, rejected, partial(_describe, labels, types))

    def compile_kernels(self) -> None:
        """Compile the loops, or load them from the disk, before there is a message to wait for it."""
        decoded = self.decode([_OF_EVERYTHING])
        decoded.describe(np.arange(decoded.points.height + len(decoded.distributions)))


def _parse(values: Sequence[bytes]) -> pa.StructArray:
    return parse_with(write_request_handler(), values, "1.0")


def _describe(
    labels: LabelColumns,
    types: NDArray[np.int32],
    at: NDArray[np.intp],
    histograms: range,
    rows: NDArray[np.intp],
) -> Description:
    series = at[rows]
    of_histogram = (rows >= histograms.start) & (rows < histograms.stop)
    names = labels.names(series)
    units = pl.repeat("", len(rows), dtype=pl.String, eager=True)
    return describe_streams(names, units, types[series], of_histogram, labels.labels(series))


def _types(
    lists: pa.ListArray, message: NDArray[np.int64], labels: LabelColumns, rows: NDArray[np.intp]
) -> NDArray[np.int32]:
    """Return the type of each series, 0 where its message does not tell; ``rows`` have a name.

    The family of ``x_bucket``, ``x_count`` and ``x_sum`` is ``x``; that of the counter
    ``x_total`` is ``x`` in OpenMetrics, and ``x_total`` in the older text format.
    """
    types = np.zeros(len(message), np.int32)
    if not len(lists.values) or not len(rows):
        return types
    told = pl.DataFrame(
        {
            "message": owners(lists),
            "family": pl.Series(pl.from_arrow(lists.values.field("metric_family_name"))),
            "type": np.asarray(lists.values.field("type")),
        }
    ).unique(["message", "family"], keep="last")
    series = pl.DataFrame({"message": message[rows], "name": labels.names(rows)})
    name, kind = pl.col("name"), pl.col("type")
    families = {
        "own": (name, pl.lit(True)),
        "counter": (name.str.strip_suffix("_total"), kind == COUNTER),
        "part": (
            name.str.replace("_(bucket|count|sum)$", ""),
            kind.is_in([HISTOGRAM, SUMMARY, GAUGE_HISTOGRAM]),
        ),
    }
    for column, (family, fits) in families.items():
        series = series.with_columns(family=family).join(
            told.filter(fits).rename({"type": column}),
            on=["message", "family"],
            how="left",
            maintain_order="left",
        )
    types[rows] = series.select(pl.coalesce(*families).fill_null(0)).to_series().to_numpy()
    return types
