"""A column of text that is written to by rows: bytes are appended, and rows are ranges of them.

A row gets another text by another range, also of the bytes that are there: a message within a line is no
copy. What was read before stays as it is. No call of Polars is needed until the column is whole.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.columns.messages import PADDING
from operators.columns.text_column import TextColumn, compact, text_column, texts_at

__all__ = ["ChangingTexts"]


class ChangingTexts:
    """The texts of a column, some of which become others.

    Args:
        texts: a column of String; null is empty.
    """

    def __init__(self, texts: pl.Series) -> None:
        self._whole: pl.Series | None = texts
        self._read: TextColumn | None = None
        self._more: list[NDArray[np.uint8]] = []
        self._size = 0

    def series(self) -> pl.Series:
        """Return the column as it is now."""
        if self._whole is None:
            self._whole = texts_at(*self.all())
        return self._whole

    def all(self) -> TextColumn:
        """Return all texts; its ranges are not to be written to."""
        read = self._column()
        if self._more:
            buffer = np.concatenate(
                [read.buffer[:-PADDING], *self._more, np.zeros(PADDING, np.uint8)]
            )
            buffer.flags.writeable = False
            read = self._read = TextColumn(buffer, read.starts, read.ends)
            self._more.clear()
        return read

    def at(self, rows: NDArray[np.intp]) -> TextColumn:
        """Return the texts of some rows."""
        buffer, starts, ends = self.all()
        return TextColumn(buffer, starts[rows], ends[rows])

    def absent(self, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Say which of the rows have an empty text."""
        _, starts, ends = self._column()
        empty: NDArray[np.bool_] = starts[rows] == ends[rows]
        return empty

    def put(self, rows: NDArray[np.intp], texts: TextColumn) -> None:
        """Give rows other texts, one each; they must be UTF-8."""
        if not len(rows):
            return
        column = self._column()
        if 2 * int((texts.ends - texts.starts).sum()) < len(texts.buffer):
            texts = compact(texts)
        content = texts.buffer[:-PADDING]
        self._more.append(content)
        column.starts[rows] = texts.starts + self._size
        column.ends[rows] = texts.ends + self._size
        self._size += len(content)
        self._whole = None

    def cut(
        self, rows: NDArray[np.intp], starts: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> None:
        """Give rows other ranges of the bytes that ``all`` returned last."""
        column = self._column()
        column.starts[rows] = starts
        column.ends[rows] = ends
        self._whole = None

    def _column(self) -> TextColumn:
        if self._read is None:
            buffer, starts, ends = text_column(self.series())
            self._read = TextColumn(buffer, starts.copy(), ends.copy())
            self._size = len(buffer) - PADDING
        return self._read
