"""Spans that are kept as a frame: their bytes are copied as they are, and no text is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

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

_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


def hexadecimal(*numbers: NDArray[np.uint64]) -> pl.Series:
    """Return numbers of 64 bits, side by side, as hexadecimal digits."""
    size, width = len(numbers[0]), 16 * len(numbers)
    text = np.empty((size, width), np.uint8)
    for place, each in enumerate(numbers):
        _write_digits(each, text, 16 * place)
    bounds = np.arange(size + 1, dtype=np.int64) * width
    array = pa.Array.from_buffers(
        pa.large_string(), size, [None, pa.py_buffer(bounds), pa.py_buffer(text)]
    )
    return pl.Series(array)


@compiled
def _write_digits(numbers: NDArray[np.uint64], text: NDArray[np.uint8], first: int) -> None:
    """Write each number into its row, from column ``first`` on."""
    for row in range(len(numbers)):
        number = numbers[row]
        for place in range(15, -1, -1):
            text[row, first + place] = _DIGITS[number & np.uint64(15)]
            number >>= np.uint64(4)


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
    array = pa.Array.from_buffers(
        pa.large_binary(), len(addresses), [None, pa.py_buffer(bounds), pa.py_buffer(target)]
    )
    return pl.Series(array)


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


def spans_of(parts: Sequence[BatchPart], table: OperationTable) -> pl.DataFrame:
    """Return a SPANS frame of rows, whose thresholds are those that they came with, and no reasons."""
    rows = joined([part.rows for part in parts])
    operations = joined([part.operations for part in parts])
    base = np.repeat(
        np.array([part.content.ctypes.data for part in parts], np.int64),
        [len(part.rows) for part in parts],
    )
    resource, scope = _origins(rows, base)
    named = table.frame.select("tenant", "service", "name")[pl.Series(operations)]
    parent = hexadecimal(np.ascontiguousarray(rows["parent"]))
    return pl.DataFrame(
        {
            "tenant": named["tenant"],
            "trace_id": hexadecimal(rows["trace_high"], rows["trace_low"]),
            "span_id": hexadecimal(rows["span"]),
            "parent_span_id": parent.set(pl.Series(rows["parent"] == 0), ""),
            "service": named["service"],
            "operation": named["name"],
            "kind": rows["kind"],
            "status": rows["status"],
            "begun": rows["begun"],
            "ended": rows["ended"],
            "threshold": np.maximum(rows["threshold"], 0),
            "reason": pl.repeat("", len(rows), dtype=pl.String, eager=True),
            "span": _bytes(base + rows["start"], rows["size"]),
            "resource": resource,
            "scope": scope,
        },
        schema=SPANS,
    )


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
    return resources.gather(index), scopes.gather(index)
