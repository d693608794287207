"""A column of text as compiled loops read it: all bytes in one buffer, and where each text lies.

Polars keeps texts as *views*: 16 bytes each, with the length, and with the text itself if it has up to
twelve bytes, else where it lies. So a column of Polars is read with one copy of its bytes, and one is
made of ranges of a buffer with none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from operators.columns.compiling import compiled, copy, signed, word_at
from operators.columns.messages import PADDING, Messages
from operators.columns.utf8 import REPLACEMENT, after_replaced, first_not_utf8

__all__ = [
    "WITHIN", "TextColumn", "compact", "filled_texts", "text_column", "text_column_of", "texts_at",
    "texts_of", "views_of",
]  # fmt: skip


_AS_VIEWS: Final = pl.CompatLevel.newest()
WITHIN: Final = 12
"""Bytes of a text at most, that stands in its view."""
_REPLACEMENT: Final = tuple(REPLACEMENT)
_FAR: Final = 2**31
"""A view has 32 bits to say where a text begins."""


class TextColumn(NamedTuple):
    """Texts in a buffer that ``PADDING`` follows; one that is null is empty."""

    buffer: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    def of(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> TextColumn:
        """Return the texts of some rows, given as indexes or as a mask, in the same buffer."""
        return TextColumn(self.buffer, self.starts[rows], self.ends[rows])


def text_column(texts: pl.Series) -> TextColumn:
    """Return a column of String as bytes."""
    array, views = views_of(texts.fill_null("") if texts.null_count() else texts)
    places = np.array([each.address for each in array.buffers()[2:]] or [0], np.int64)
    lengths = views.view(np.uint32)[:, 0]
    buffer = np.empty(int(lengths.sum(dtype=np.int64)) + PADDING, np.uint8)
    bounds = np.zeros(len(views) + 1, np.int64)
    _copy(views.view(np.int32), places, buffer, bounds)
    return filled_texts(buffer, bounds)


def text_column_of(words: Sequence[str]) -> TextColumn:
    """Return words as a column, without a compiled loop: a module may do so when it is imported."""
    messages = Messages.of([word.encode() for word in words])
    return TextColumn(messages.buffer, messages.bounds[:-1], messages.bounds[1:])


def views_of(texts: pl.Series) -> tuple[pa.Array, NDArray[np.uint64]]:
    """Return a column of String as Arrow's views, and those as two words a row; nothing is copied.

    Views that are the same are of texts that are the same; of a text beyond twelve bytes there may be
    several. The array has to live as long as the words.
    """
    array = texts.to_arrow(compat_level=_AS_VIEWS)
    content = array.buffers()[1]
    if content is None:
        return array, np.empty((0, 2), np.uint64)
    views = np.frombuffer(content, np.uint64).reshape(-1, 2)
    return array, views[array.offset : array.offset + len(array)]


def texts_at(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> pl.Series:
    """Return ranges of bytes, which are UTF-8, as a column of String that keeps the buffer alive.

    Args:
        buffer: the bytes, and ``PADDING``. Nobody may write to it any more.
        starts: where each text begins in it.
        ends: where each ends.
    """
    if len(buffer) >= _FAR:
        return texts_of(buffer, starts, ends)[0]
    views = np.empty((len(starts), 2), np.uint64)
    _view(buffer, starts, ends, views)
    return pl.Series(
        pa.Array.from_buffers(
            pa.string_view(), len(starts), [None, pa.py_buffer(views), pa.py_buffer(buffer)]
        ),
        dtype=pl.String,
    )


def texts_of(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[pl.Series, NDArray[np.bool_]]:
    """Return ranges of bytes as a column of String, and which of them were not UTF-8.

    What is not UTF-8 in those is replaced by U+FFFD. The bytes are copied.
    """
    sizes = ends - starts
    offsets = np.zeros(len(starts) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    content = np.empty(int(offsets[-1]) + PADDING, np.uint8)
    broken = np.zeros(len(starts), np.bool_)
    _gather(buffer, starts, ends, content, offsets, broken)
    if broken.any():
        read, bounds = content, offsets
        # A byte becomes three at most.
        room = len(read) + (len(REPLACEMENT) - 1) * int(sizes[broken].sum())
        content, offsets = np.empty(room, np.uint8), np.zeros(len(bounds), np.int64)
        _repair(read, bounds, broken, content, offsets)
    if len(content) < _FAR:
        return texts_at(content, offsets[:-1], offsets[1:]), broken
    array = pa.Array.from_buffers(
        pa.large_string(), len(starts), [None, pa.py_buffer(offsets), pa.py_buffer(content)]
    )
    return pl.Series(array), broken


def filled_texts(buffer: NDArray[np.uint8], bounds: NDArray[np.int64]) -> TextColumn:
    """Return texts that were written one behind the other to a buffer, which nobody writes to again.

    Args:
        buffer: with room for ``PADDING`` behind the last text.
        bounds: where each text begins, and the last ends.
    """
    end = int(bounds[-1])
    buffer = buffer[: end + PADDING]
    buffer[end:] = 0
    buffer.flags.writeable = False  # as messages are: to Numba they are of two types
    return TextColumn(buffer, bounds[:-1], bounds[1:])


def compact(texts: TextColumn) -> TextColumn:
    """Return texts in a buffer that has nothing else."""
    bounds = np.zeros(len(texts.starts) + 1, np.int64)
    np.cumsum(texts.ends - texts.starts, out=bounds[1:])
    buffer = np.empty(int(bounds[-1]) + PADDING, np.uint8)
    _compact(*texts, buffer, bounds)
    return filled_texts(buffer, bounds)


@compiled
def _compact(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    content: NDArray[np.uint8],
    offsets: NDArray[np.int64],
) -> None:
    target, source = content.ctypes.data, buffer.ctypes.data
    for row in range(len(starts)):
        copy(target + offsets[row], source + starts[row], ends[row] - starts[row])


@compiled
def _copy(
    views: NDArray[np.int32],
    places: NDArray[np.int64],
    buffer: NDArray[np.uint8],
    bounds: NDArray[np.int64],
) -> None:
    filled = 0
    target, within = buffer.ctypes.data, views.ctypes.data + 4
    for row in range(len(views)):
        size = signed(views[row, 0])
        if size > WITHIN:
            copy(target + filled, places[views[row, 2]] + signed(views[row, 3]), size)
        else:
            copy(target + filled, within + 16 * row, size)
        filled += size
        bounds[row + 1] = filled


@compiled
def _view(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    views: NDArray[np.uint64],
) -> None:
    for row in range(len(starts)):
        at = starts[row]
        size = ends[row] - at
        first = word_at(buffer, at)
        second = np.uint64(at) << np.uint64(32)
        if size <= 4:
            first &= (np.uint64(1) << np.uint64(8 * size)) - np.uint64(1)
            second = np.uint64(0)
        elif size <= WITHIN:
            # Shifted twice: by 64 bits at once is none.
            second = word_at(buffer, at + 4) << np.uint64(4 * (12 - size))
            second = second << np.uint64(4 * (12 - size))
            second = (second >> np.uint64(4 * (12 - size))) >> np.uint64(4 * (12 - size))
        views[row, 0] = np.uint64(size) | first << np.uint64(32)
        views[row, 1] = second


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


@compiled
def _repair(
    content: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    broken: NDArray[np.bool_],
    out: NDArray[np.uint8],
    offsets: NDArray[np.int64],
) -> None:
    filled = 0
    target = out.ctypes.data
    for row in range(len(broken)):
        at, end = content.ctypes.data + bounds[row], content.ctypes.data + bounds[row + 1]
        while at < end:
            bad = first_not_utf8(at, end) if broken[row] else -1
            stop = bad if bad >= 0 else end
            copy(target + filled, at, stop - at)
            filled += stop - at
            at = stop
            if bad >= 0:
                for byte in _REPLACEMENT:
                    out[filled] = byte
                    filled += 1
                at = after_replaced(at, end)
        offsets[row + 1] = filled
