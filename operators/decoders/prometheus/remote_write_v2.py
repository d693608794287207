"""Prometheus remote write 2.0: ``io.prometheus.write.v2.Request``, as a block of Snappy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit
from numpy.typing import NDArray

from operators.columns.nested import combine_hashes, hash_values, offsets, owners
from operators.contracts.decoder import Decoded, Description
from operators.decoders.prometheus.decoded_series import decoded_series
from operators.decoders.prometheus.descriptor import LAYOUT_V2, request_v2_handler
from operators.decoders.prometheus.messages import parse_messages, parse_with
from operators.decoders.prometheus.metrics import NAME, SeriesColumns, describe_streams

__all__ = ["RemoteWriteV2"]

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)

_OF_EVERYTHING: Final = (
    b'"\x00"\x08__name__"\x02\xc3\xa9"\x01a"\x01b*;\n\x04\x01\x02\x03\x04\x12\x0b\t\x00\x00\x00\x00\x00'
    b"\x00\xf0?\x10\x01\x1a&\x08\x03\x19\x00\x00\x00\x00\x00\x00\xf0?)\x9a\x99\x99\x99\x99\x99\xb9?0\x01B"
    b"\x02\x10\x01J\x01\x02Z\x02\x10\x01b\x01\x02x\x01"
)
"""A series with a sample, a native histogram, and labels that are not all ASCII."""


class RemoteWriteV2:
    """Decodes Request messages, compressed or not.

    Each series says its type and unit, which are part of what identifies it, and may say since
    when it counts: a sample of its own (2.0 from rc.4 on), or the series (the drafts before).
    """

    def decode(self, values: Sequence[bytes]) -> Decoded:
        """Decode samples and native histograms; exemplars and help texts are ignored."""
        parsed, messages, rejected = parse_messages(values, _parse, LAYOUT_V2)
        lists = parsed.field("timeseries")
        message = owners(lists)
        labels = _Labels.read(parsed.field("symbols"), lists.values, message)
        refused = ~labels.valid
        if refused.any():
            refused = np.isin(message, message[refused])
        for index in np.unique(message[refused]):
            rejected[int(messages[index])] = (
                "not remote write 2.0: a label refers to a symbol that is not there"
            )
        series = SeriesColumns(
            message=messages[message],
            hashes=labels.hashes,
            named=labels.name >= 0,
            refused=refused,
            type=labels.type,
            created=np.asarray(lists.values.field("created_timestamp")),
        )
        return decoded_series(series, lists.values, rejected, labels.describe)

    def compile_kernels(self) -> None:
        """Compile the loops, or load them from the disk, before there is a message to wait for it."""
        decoded = self.decode([_OF_EVERYTHING])
        decoded.describe(np.arange(decoded.points.height + len(decoded.distributions)))


def _parse(values: Sequence[bytes]) -> pa.StructArray:
    return parse_with(request_v2_handler(), values, "2.0")


@dataclass(frozen=True, slots=True)
class _Labels:
    """The labels, units and types of a poll's series.

    ``refs`` are rows of ``symbols``, those of each series from ``starts`` on; ``name`` and ``unit``
    are such rows too, -1 where there is none. ``valid`` is false where a reference leads nowhere.
    """

    symbols: pl.Series
    starts: NDArray[np.int64]
    refs: NDArray[np.int64]
    name: NDArray[np.int64]
    unit: NDArray[np.int64]
    type: NDArray[np.int32]
    hashes: NDArray[np.uint64]
    valid: NDArray[np.bool_]

    @classmethod
    def read(
        cls, tables: pa.ListArray, series: pa.StructArray, message: NDArray[np.int64]
    ) -> _Labels:
        """Look up the references of each series in the symbols of its message."""
        symbols = tables.values
        lists = series.field("labels_refs")
        starts = offsets(lists)
        table = offsets(tables)
        base, size = table[message], np.diff(table)[message]
        hashes = hash_values(symbols)
        refs, name, combined, valid = _look_up(
            starts,
            np.asarray(lists.values),
            base,
            size,
            hashes,
            np.asarray(pc.equal(symbols, NAME)),
            np.asarray(pc.greater(pc.binary_length(symbols), 0)),
        )
        metadata = series.field("metadata")
        unit_ref = np.asarray(metadata.field("unit_ref")).astype(np.int64)
        types = np.asarray(metadata.field("type"))
        valid &= (unit_ref == 0) | (unit_ref < size)
        # The symbol 0 is the empty string.
        unit = np.where((unit_ref > 0) & valid, base + unit_ref, -1)
        unit_hashes = np.append(hashes, np.uint64(0))[unit]
        return cls(
            symbols=pl.Series(pl.from_arrow(symbols), dtype=pl.String),
            starts=starts,
            refs=refs,
            name=name,
            unit=unit,
            type=types,
            hashes=combine_hashes(combined, unit_hashes, types.astype(np.uint64)),
            valid=valid,
        )

    def describe(
        self, at: NDArray[np.intp], histograms: range, rows: NDArray[np.intp]
    ) -> Description:
        """Name the series ``at[rows]``; rows within ``histograms`` are of these."""
        series = at[rows]
        sizes = np.diff(self.starts)[series] // 2
        owner = np.repeat(np.arange(len(series), dtype=np.uint32), sizes)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        pairs = np.repeat(self.starts[series], sizes) + 2 * within
        labels = pl.DataFrame(
            {
                "owner": owner,
                "key": self.symbols.gather(self.refs[pairs]),
                "value": self.symbols.gather(self.refs[pairs + 1]),
            }
        )
        unit = self.unit[series]
        units = self.symbols.gather(np.maximum(unit, 0)).set(pl.Series(unit < 0), "")
        of_histogram = (rows >= histograms.start) & (rows < histograms.stop)
        return describe_streams(
            self.symbols.gather(self.name[series]), units, self.type[series], of_histogram, labels
        )


@njit(cache=True, nogil=True)
def _look_up(
    starts: Any, refs: Any, base: Any, size: Any, hashes: Any, is_name: Any, is_text: Any
) -> Any:
    """Return the references as rows, and for each series its name, hash, and whether it is valid."""
    rows = np.zeros(len(refs), np.int64)
    name = np.full(len(starts) - 1, -1, np.int64)
    combined = np.zeros(len(starts) - 1, np.uint64)
    valid = np.ones(len(starts) - 1, np.bool_)
    for series in range(len(starts) - 1):
        begin, end = starts[series], starts[series + 1]
        hashed = np.uint64(end - begin)
        valid[series] = (end - begin) % 2 == 0
        for at in range(begin, end):
            ref = np.int64(refs[at])
            if ref >= size[series]:
                valid[series] = False
                break
            row = base[series] + ref
            rows[at] = row
            hashed = (hashed ^ hashes[row]) * _MULTIPLIER
            hashed ^= hashed >> _SHIFT
            if (at - begin) % 2 == 1 and is_name[rows[at - 1]]:
                name[series] = row if is_text[row] else -1
        combined[series] = hashed
    return rows, name, combined, valid
