"""Spans that came together and are not decided yet, with their bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.traces.kept import BatchPart
from operators.traces.rows import chosen, own

__all__ = ["Chunk", "Taken", "bytes_of", "compacted"]


class Chunk:
    """Rows of one batch that are not decided, with their bytes.

    ``came`` is how many bytes of spans it had when those became its own, ``first`` an event time before
    which none of them ended.
    """

    __slots__ = ("came", "content", "first", "keys", "operations", "rows")

    def __init__(
        self,
        rows: NDArray[Any],
        content: NDArray[np.uint8],
        operations: NDArray[np.int32],
        keys: NDArray[np.uint64],
        came: int,
        first: int,
    ) -> None:
        self.rows, self.content, self.operations, self.keys = rows, content, operations, keys
        self.came, self.first = came, first

    def of(self, which: NDArray[np.bool_]) -> Chunk:
        """Return some of the rows."""
        return Chunk(
            chosen(self.rows, which), self.content, self.operations[which], self.keys[which],
            self.came, self.first,
        )  # fmt: skip


class Taken(NamedTuple):
    """Spans that are decided.

    Attributes:
        rows, operations: of one chunk after the other.
        contents: the bytes that the rows of each chunk point into, and how many rows those are.
    """

    rows: NDArray[Any]
    operations: NDArray[np.int32]
    contents: Sequence[tuple[NDArray[np.uint8], int]]

    def parts(self, which: NDArray[np.bool_]) -> list[BatchPart]:
        """Return some of the rows, by the bytes that they point into."""
        found = []
        first = 0
        for content, size in self.contents:
            end = first + size
            mine = which[first:end]
            if mine.any():
                rows, operations = self.rows[first:end], self.operations[first:end]
                found.append(BatchPart(chosen(rows, mine), content, operations[mine]))
            first = end
        return found


def compacted(chunk: Chunk) -> Chunk:
    """Return a chunk whose bytes are its own, if it needs less than half of what it came with."""
    used = bytes_of(chunk.rows)
    if 2 * used > chunk.came:
        return chunk
    return Chunk(*own(chunk.rows, chunk.content), chunk.operations, chunk.keys, used, chunk.first)


def bytes_of(rows: NDArray[Any]) -> int:
    """Return how many bytes spans have, without their resources and scopes."""
    return int(rows["size"].sum(dtype=np.int64))
