"""Spans that are kept as a frame: their bytes are copied as they are, and no text is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from operators.columns.compiling import compiled, copy
from operators.columns.messages import PADDING
from operators.contracts.frames import SPANS
from operators.traces.rows import joined
from operators.traces.table import OperationTable

__all__ = ["BatchPart", "gather", "hexadecimal", "spans_of"]

_DIGITS: Final = np.frombuffer(b"0123456789abcdef", np.uint8)


def hexadecimal(*numbers: NDArray[np.uint64]) -> pl.Series:
    """Return numbers of 64 bits, side by side, as hexadecimal digits; empty where all are 0."""
    size, width = len(numbers[0]), 16 * len(numbers)
    text = np.empty(size * width + PADDING, np.uint8)
    bounds = np.zeros(size + 1, np.int64)
    _write_digits(np.stack(numbers), text, bounds)
    return _series(pa.large_string(), bounds, text)


@compiled
def _write_digits(
    numbers: NDArray[np.uint64], text: NDArray[np.uint8], bounds: NDArray[np.int64]
) -> None:
    """Write the numbers of each column one after the other, and where they end."""
    end = 0
    for row in range(numbers.shape[1]):
        if numbers[:, row].any():
            for part in range(len(numbers)):
                number = numbers[part, row]
                for place in range(end + 15, end - 1, -1):
                    text[place] = _DIGITS[number & np.uint64(15)]
                    number >>= np.uint64(4)
                end += 16
        bounds[row + 1] = end


@compiled
def gather(
    source: int,
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    bounds: NDArray[np.int64],
    target: NDArray[np.uint8],
) -> None:
    """Copy pieces of memory to where ``bounds`` says."""
    at = target.ctypes.data
    for row in range(len(starts)):
        copy(at + bounds[row], source + starts[row], sizes[row])


def _bytes(addresses: NDArray[np.int64], sizes: NDArray[np.int32]) -> pl.Series:
    """Return what lies at addresses; who calls keeps it alive."""
    lengths = sizes.astype(np.int64)
    bounds = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
    target = np.empty(int(bounds[-1]) + PADDING, np.uint8)
    gather(0, addresses, lengths, bounds, target)
    return _series(pa.large_binary(), bounds, target)


def _series(kind: pa.DataType, bounds: NDArray[np.int64], content: NDArray[np.uint8]) -> pl.Series:
    """Return a column of texts or bytes, which lie between bounds."""
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(content)]
    return pl.Series(pa.Array.from_buffers(kind, len(bounds) - 1, buffers))


class BatchPart(NamedTuple):
    """Rows of one batch.

    Attributes:
        rows: spans.
        content: the bytes that they point into.
        operations: of each, its number in the table.
    """

    rows: NDArray[Any]
    content: NDArray[np.uint8]
    operations: NDArray[np.int32]


def spans_of(parts: Sequence[BatchPart], table: OperationTable, reasons: pl.Series) -> pl.DataFrame:
    """Return a SPANS frame of rows, whose thresholds are those that they came with.

    Args:
        parts: some rows of each batch.
        table: of their operations.
        reasons: why each is kept.
    """
    rows = joined([part.rows for part in parts])
    operations = pl.Series(joined([part.operations for part in parts]))
    base = np.repeat(
        np.array([part.content.ctypes.data for part in parts], np.int64),
        [len(part.rows) for part in parts],
    )
    resource, scope = _origins(rows, base)
    columns = (
        table.frame["tenant"][operations],
        hexadecimal(rows["trace_high"], rows["trace_low"]),
        hexadecimal(rows["span"]),
        hexadecimal(rows["parent"]),
        table.frame["service"][operations],
        table.frame["name"][operations],
        *(pl.Series(rows[name]) for name in ("kind", "status", "begun", "ended")),
        pl.Series(np.maximum(rows["threshold"], 0)),
        reasons,
        _bytes(base + rows["start"], rows["size"]),
        resource,
        scope,
    )
    return pl.DataFrame([each.alias(name) for name, each in zip(SPANS, columns, strict=True)])


def _origins(rows: NDArray[Any], base: NDArray[np.int64]) -> tuple[pl.Series, pl.Series]:
    """Return the resource and scope of each row; the bytes of each are copied once.

    Rows of one scope stand together: a batch has them in the order in which they came.

    Args:
        rows: of one batch after the other.
        base: of each, the address of what it points into.
    """
    resource, scope = base + rows["resource"], base + rows["scope"]
    new = np.ones(len(rows), np.bool_)
    new[1:] = (resource[1:] != resource[:-1]) | (scope[1:] != scope[:-1])
    heads = np.flatnonzero(new)
    resources = _bytes(resource[heads], rows["resource_size"][heads])
    scopes = _bytes(scope[heads], rows["scope_size"][heads])
    index = pl.Series(np.cumsum(new) - 1)
    return resources[index], scopes[index]
