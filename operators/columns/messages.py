"""The messages of a poll as one column: their bytes one after the other, and where each begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, overload

import numpy as np
from numpy.typing import NDArray

__all__ = ["PADDING", "Messages"]

PADDING: Final = 16
"""Bytes of zero that follow the content of a buffer: what scans it reads ahead."""


class Messages(Sequence[bytes]):
    """Messages in a buffer that is not written to any more; one that is asked for is a copy.

    Attributes:
        buffer: the messages, and ``PADDING``.
        bounds: where each message begins, and where one more would begin.
    """

    __slots__ = ("bounds", "buffer")

    def __init__(self, buffer: NDArray[np.uint8], bounds: NDArray[np.int64]) -> None:
        self.buffer = buffer
        self.bounds = bounds

    @classmethod
    def of(cls, values: Sequence[bytes], separator: bytes = b"") -> Messages:
        """Make a column of ``values``, each followed by ``separator``."""
        bounds = np.zeros(len(values) + 1, np.int64)
        lengths = np.fromiter(map(len, values), np.int64, len(values))
        np.cumsum(lengths + len(separator), out=bounds[1:])
        return cls(np.frombuffer(separator.join([*values, bytes(PADDING)]), np.uint8), bounds)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        return self.buffer[self.bounds[number] : self.bounds[number + 1]].tobytes()

    def __iter__(self) -> Iterator[bytes]:
        content = self.buffer.tobytes()
        bounds = self.bounds.tolist()
        return (content[begin:end] for begin, end in pairwise(bounds))
