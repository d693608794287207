"""InfluxDB line protocol: what Telegraf's Kafka output writes by default.

A message is one line or many. Every field that is a number or a boolean is a point of the metric
``measurement_field``, or just ``measurement`` if the field is ``value``; the tags are its
attributes. So Telegraf itself names metrics, and writes booleans as 1 and 0, where its output is
for Prometheus; the OpenTelemetry Collector and VictoriaMetrics do alike. The format does not say
what is a counter: all are gauges.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import partial
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from operators.columns.messages import Messages
from operators.columns.scanning import exact_floats, joined
from operators.contracts.decoder import Decoded, Description
from operators.contracts.frames import ATTRIBUTES, GAUGE, POINTS, STREAMS, empty
from operators.decoders.influx.lines import CAUSES, EMPTY, LinePoints, scan_lines
from operators.decoders.influx.names import name_lines, number_ranges, sizes_of_names

__all__ = ["Influx"]

# Chosen anew for each process, so that nobody can write two series whose hashes are the same.
_SEED: Final = np.uint64(secrets.randbits(64))


class Influx:
    """Decodes line protocol whose timestamps are nanoseconds.

    A line without a timestamp gives no points: they are counted as ``no_time``. Strings are
    counted as ``text``; NaN, infinities and what is too large for a double as ``not_finite``.
    A message with a line that is not line protocol is rejected as a whole.
    """

    def decode(self, values: Sequence[bytes]) -> Decoded:
        """Decode all messages in one pass."""
        buffer, bounds = joined(values, b"\n")
        most = int(np.count_nonzero(buffer == ord("=")))  # one a field at least
        columns = LinePoints(
            message=np.empty(most, np.uint32),
            raw=np.empty(most, np.uint64),
            ts=np.empty(most, np.int64),
            value=np.empty(most, np.float64),
            line_at=np.empty(most, np.int64),
            field_at=np.empty(most, np.int64),
        )
        cause, cause_at = np.empty(len(values), np.uint8), np.empty(len(values), np.int64)
        count, skipped, inexact = scan_lines(
            buffer, bounds, _SEED, bool(buffer.max() < 128), columns, cause, cause_at
        )
        points = pl.DataFrame(
            {
                "message": columns.message[:count],
                "raw": columns.raw[:count],
                "ts": columns.ts[:count],
                "start": np.zeros(count, np.int64),
                "value": columns.value[:count],
            },
            schema=POINTS,
        )
        line_at, field_at = columns.line_at[:count], columns.field_at[:count]
        if inexact:
            points, kept = _with_exact_values(points, buffer, field_at)
            skipped = skipped._replace(not_finite=skipped.not_finite + count - len(kept))
            line_at, field_at = line_at[kept], field_at[kept]
        return Decoded(
            points,
            partial(_describe, buffer, line_at, field_at),
            _rejected(values, bounds, cause, cause_at),
            {name: number for name, number in skipped._asdict().items() if number},
        )

    def compile_kernels(self) -> None:
        """Compile what decoding calls, or take it from the disk, so that no message waits for it."""
        line = b"m,a=b value=1i,d=1e999,e=0.%s 1\n" % (b"1" * 30)
        decoded = self.decode(Messages.of([line]))  # as they come from Kafka
        decoded.describe(np.arange(decoded.points.height))
        buffer, _ = joined([line])
        number_ranges(buffer, np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))


def _with_exact_values(
    points: pl.DataFrame, buffer: NDArray[np.uint8], field_at: NDArray[np.int64]
) -> tuple[pl.DataFrame, NDArray[np.intp]]:
    """Convert the values that are still NaN; of all rows, keep those that are finite."""
    value = points["value"].to_numpy().copy()
    rows = np.flatnonzero(np.isnan(value))
    starts, ends = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
    number_ranges(buffer, field_at[rows], starts, ends)
    value[rows] = exact_floats(buffer, starts, ends)
    kept = np.flatnonzero(np.isfinite(value))
    return points.with_columns(value=value)[kept], kept


def _rejected(
    values: Sequence[bytes],
    bounds: NDArray[np.int64],
    cause: NDArray[np.uint8],
    cause_at: NDArray[np.int64],
) -> dict[int, str]:
    """Return the reason of each bad message, with the number of the line."""
    bad = np.flatnonzero(cause)
    offsets = cause_at[bad] - bounds[bad]
    rejected = {}
    for index, offset in zip(bad.tolist(), offsets.tolist(), strict=True):
        reason = CAUSES[cause[index]]
        if reason != EMPTY:
            line = values[index].count(b"\n", 0, offset) + 1
            reason = f"not line protocol: line {line}: {reason}"
        rejected[index] = reason
    return rejected


def _describe(
    buffer: NDArray[np.uint8],
    line_at: NDArray[np.int64],
    field_at: NDArray[np.int64],
    rows: NDArray[np.intp],
) -> Description:
    """Name the points at ``rows``."""
    lines, fields = line_at[rows], field_at[rows]
    tags, length_of_names, length_of_tags = sizes_of_names(buffer, lines, fields)
    names, keys, values = (
        np.empty(length, np.uint8) for length in (length_of_names, length_of_tags, length_of_tags)
    )
    name_ends, key_ends, value_ends = (
        np.zeros(number + 1, np.int64) for number in (len(rows), tags, tags)
    )
    owners = np.empty(tags, np.uint32)
    name_lines(
        buffer, lines, fields, names, name_ends, owners, keys, key_ends, values, value_ends
    )  # fmt: skip
    streams = pl.DataFrame({"name": _texts(names, name_ends)}).select(
        "name",
        unit=pl.lit(""),
        kind=pl.lit(GAUGE, pl.UInt8),
        scope=pl.lit(""),
        resource=pl.lit(0, pl.UInt32),
    )
    attributes = pl.DataFrame(
        {"owner": owners, "key": _texts(keys, key_ends), "value": _texts(values, value_ends)},
        schema=ATTRIBUTES,
    )
    return Description(streams.cast(STREAMS), attributes, empty(ATTRIBUTES))


def _texts(joined_texts: NDArray[np.uint8], ends: NDArray[np.int64]) -> pl.Series:
    """Return a column of the texts that end at ``ends[1:]``, all of them UTF-8."""
    array = pa.LargeStringArray.from_buffers(
        len(ends) - 1, pa.py_buffer(ends), pa.py_buffer(joined_texts)
    )
    return pl.Series(pl.from_arrow(array))
