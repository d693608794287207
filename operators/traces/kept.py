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
from operators.traces.table import OperationTable

__all__ = ["BatchPart", "gather", "hexadecimal", "joined", "spans_of"]

_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


def hexadecimal(*numbers: NDArray[np.uint64]) -> pl.Series:
    """Return numbers of 64 bits, side by side, as hexadecimal digits."""
    size = len(numbers[0])
    highest_first = np.stack(numbers, axis=1).byteswap().tobytes()
    ids = np.frombuffer(highest_first, np.uint8).reshape(size, 8 * len(numbers))
    text = np.stack([_DIGITS[ids >> 4], _DIGITS[ids & 15]], -1)
    width = 16 * len(numbers)
    bounds = np.arange(size + 1, dtype=np.int64) * width
    array = pa.Array.from_buffers(
        pa.large_string(), size, [None, pa.py_buffer(bounds), pa.py_buffer(text.tobytes())]
    )
    return pl.Series(array)


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


def _bytes(
    content: NDArray[np.uint8], starts: NDArray[np.int64], sizes: NDArray[np.int32]
) -> pl.Series:
    lengths = sizes.astype(np.int64)
    bounds = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
    target = np.empty(int(bounds[-1]) + PADDING, np.uint8)
    gather(content.ctypes.data, np.ascontiguousarray(starts), lengths, bounds, target)
    array = pa.Array.from_buffers(
        pa.large_binary(), len(starts), [None, pa.py_buffer(bounds), pa.py_buffer(target)]
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
    spans = [_bytes(part.content, part.rows["start"], part.rows["size"]) for part in parts]
    origins = [_origins(part) for part in parts]
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
            "span": pl.concat(spans),
            "resource": pl.concat([resource for resource, _ in origins]),
            "scope": pl.concat([scope for _, scope in origins]),
        },
        schema=SPANS,
    )


def _origins(part: BatchPart) -> tuple[pl.Series, pl.Series]:
    """Return the resource and scope of each row; the bytes of each are copied once.

    Rows of one scope stand together: a batch has them in the order in which they came.
    """
    rows = part.rows
    new = np.ones(len(rows), np.bool_)
    np.not_equal(rows["resource"][1:], rows["resource"][:-1], out=new[1:])
    of_row = np.cumsum(new) - 1
    heads = rows[new]
    resources = _bytes(part.content, heads["resource"], heads["resource_size"])
    scopes = _bytes(part.content, heads["resource"] + heads["resource_size"], heads["scope_size"])
    index = pl.Series(of_row)
    return resources.gather(index), scopes.gather(index)


def joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return arrays one after the other; a single one is not copied."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
