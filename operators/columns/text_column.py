"""A column of text as compiled loops read it: all bytes in one buffer, and where each text lies."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from operators.columns.compiling import compiled, copy
from operators.columns.messages import PADDING
from operators.columns.utf8 import first_not_utf8

__all__ = ["TextColumn", "text_column", "texts_of"]


_LARGE: Final = pl.CompatLevel.oldest()
"""As large_string, and not as views."""


class TextColumn(NamedTuple):
    """Texts in a buffer that ``PADDING`` follows; one that is null is empty."""

    buffer: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


def text_column(texts: pl.Series) -> TextColumn:
    """Return a column of String as bytes."""
    array = (texts.fill_null("") if texts.null_count() else texts).to_arrow(compat_level=_LARGE)
    _, offsets, content = array.buffers()
    bounds = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    size = int(bounds[-1]) if len(array) else 0
    buffer = np.empty(size + PADDING, np.uint8)
    buffer[size:] = 0
    if size:
        buffer[:size] = np.frombuffer(content, np.uint8, size)
    buffer.flags.writeable = False  # as messages are: to Numba they are of two types
    return TextColumn(buffer, bounds[:-1], bounds[1:])


def texts_of(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[pl.Series, NDArray[np.bool_]]:
    """Return ranges of bytes as a column of String, and which of them were not UTF-8.

    What is not UTF-8 in those is replaced by U+FFFD.
    """
    sizes = ends - starts
    offsets = np.zeros(len(starts) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    content = np.empty(int(offsets[-1]) + PADDING, np.uint8)
    broken = np.zeros(len(starts), np.bool_)
    _gather(buffer, starts, ends, content, offsets, broken)
    array = pa.Array.from_buffers(
        pa.large_binary(), len(starts), [None, pa.py_buffer(offsets), pa.py_buffer(content)]
    )
    if not broken.any():
        return pl.Series(array.cast(pa.large_string())), broken
    rows = np.flatnonzero(broken)
    replaced = [
        content[offsets[row] : offsets[row + 1]].tobytes().decode(errors="replace")
        for row in rows.tolist()
    ]
    whole = pl.Series(array).set(pl.Series(broken), b"").cast(pl.String)
    return whole.scatter(rows, pl.Series(replaced, dtype=pl.String)), broken


@compiled
def _gather(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    content: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    broken: NDArray[np.bool_],
) -> None:
    for row in range(len(starts)):
        size = ends[row] - starts[row]
        if size > 0:
            copy(content.ctypes.data + offsets[row], buffer.ctypes.data + starts[row], size)
            begin = buffer.ctypes.data + starts[row]
            broken[row] = first_not_utf8(begin, begin + size) >= 0
