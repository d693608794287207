"""Which identities of a shard are parts of which classic histogram, see ``operators.windows.classic``."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.columns.hash_index import HashIndex
from operators.contracts.frames import BUCKET, NO_PART, PARTS, TOGETHER

__all__ = ["ClassicParts"]

_NOBODY: Final = -1


class ClassicParts:
    """Which rows of a shard are parts of which classic histogram.

    Histograms are numbered. The arrays by row are as long as the last part's row, and there is
    nothing in them as long as there is no part.

    Attributes:
        part, bound, number: of each row: what it is (see ``PARTS``), its upper bound, the number of
            its histogram or -1.
        home: of each histogram the row that is all of it; -1 until a bucket named it.
    """

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.part = np.empty(0, np.uint8)
        self.bound = np.empty(0, np.float64)
        self.number = np.empty(0, np.int32)
        self.home = np.empty(0, np.int32)
        self._wholes = np.empty(0, np.uint64)
        self._index = HashIndex()

    def __bool__(self) -> bool:
        """Whether there is a histogram with buckets."""
        return bool((self.home >= 0).any())

    def learn(self, rows: NDArray[np.int32], series: pl.DataFrame) -> None:
        """Note what a frame of SERIES and PARTS says of ``rows``."""
        part = series["part"].to_numpy()
        chosen = np.flatnonzero(part != NO_PART)
        if not len(chosen):
            return
        rows, part = rows[chosen], part[chosen]
        self._reserve(int(rows.max()) + 1)
        numbers, fresh = self._index.number(series["whole"].to_numpy()[chosen])
        self._wholes = np.concatenate([self._wholes, fresh])
        self.home = np.concatenate([self.home, np.full(len(fresh), _NOBODY, np.int32)])
        self.part[rows], self.number[rows] = part, numbers
        self.bound[rows] = series["bound"].to_numpy()[chosen]
        together = part == TOGETHER
        self.home[numbers[together]] = rows[together]

    def joined(self, concerned: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return a mask of rows with all parts of the histograms of those that are in it."""
        size = min(len(self.part), len(concerned))
        whose = self.number[:size][concerned[:size]]
        some = np.zeros(len(self.home) + 1, np.bool_)
        some[whose] = True
        some[_NOBODY] = False
        found = concerned.copy()
        found[:size] |= some[self.number[:size]]
        return found

    def homes(self, rows: int) -> NDArray[np.bool_]:
        """Return a mask of the rows that are all of a histogram."""
        found = np.zeros(rows, np.bool_)
        found[self.home[self.home >= 0]] = True
        return found

    def renumber(self, rows: NDArray[np.int32]) -> None:
        """Take up new numbers of rows, -1 for what was forgotten."""
        old = np.flatnonzero(self.part != NO_PART)
        old = old[rows[old] >= 0]
        self._set(rows[old], self.part[old], self.bound[old], self._wholes[self.number[old]])

    def seen(self, seen: NDArray[np.int64]) -> None:
        """Let a histogram be seen whenever one of its buckets was; ``seen`` is by row."""
        buckets = np.flatnonzero(self.part == BUCKET)
        home = self.home[self.number[buckets]]
        np.maximum.at(seen, home[home >= 0], seen[buckets][home >= 0])

    def snapshot(self) -> dict[str, bytes]:
        """Return plain data."""
        rows = np.flatnonzero(self.part != NO_PART)
        return {
            "rows": rows.astype(np.int32).tobytes(),
            "part": self.part[rows].tobytes(),
            "bound": self.bound[rows].tobytes(),
            "whole": self._wholes[self.number[rows]].tobytes(),
        }

    def restore(self, state: dict[str, bytes]) -> None:
        """Take up what ``snapshot`` gave."""
        self._set(
            np.frombuffer(state["rows"], np.int32),
            np.frombuffer(state["part"], np.uint8),
            np.frombuffer(state["bound"], np.float64),
            np.frombuffer(state["whole"], np.uint64),
        )

    def _set(
        self,
        rows: NDArray[np.int32],
        part: NDArray[np.uint8],
        bound: NDArray[np.float64],
        whole: NDArray[np.uint64],
    ) -> None:
        self._clear()
        columns = {"part": part, "bound": bound, "whole": whole}
        self.learn(rows, pl.DataFrame(columns, schema={name: PARTS[name] for name in columns}))

    def _reserve(self, size: int) -> None:
        more = size - len(self.part)
        if more > 0:
            more = max(more, len(self.part) // 2)
            self.part = np.concatenate([self.part, np.zeros(more, np.uint8)])
            self.bound = np.concatenate([self.bound, np.full(more, np.inf)])
            self.number = np.concatenate([self.number, np.full(more, _NOBODY, np.int32)])
