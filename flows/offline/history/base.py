"""The contract of what gives stored rollups, and the columns that they come in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["FACTS", "FORECAST", "BadHistory", "History", "Readings"]

FORECAST: Final = ":forecast"
"""What the name of a series ends with that is a forecast of another; it is no history."""

FACTS: Final = pl.Schema(
    {
        "tenant": pl.String,
        "series": pl.UInt64,
        "name": pl.String,
        "labels": pl.String,
        "unit": pl.String,
        "kind": pl.String,
    }
)
"""What is known of a series, a row each."""


class BadHistory(ValueError):
    """What is stored can't be read, or there is none; one line that says why, and what to do."""


class Readings(NamedTuple):
    """Rollups of a stretch of time: an element each, in any order.

    Attributes:
        series: its id.
        starts: of the windows, in nanoseconds.
        means: NaN where there is none.
        rates: NaN where there is none.
    """

    series: NDArray[np.uint64]
    starts: NDArray[np.int64]
    means: NDArray[np.float64]
    rates: NDArray[np.float64]


class History(ABC):
    """Rollups of one resolution. It can be pickled: several processes may read it."""

    @property
    @abstractmethod
    def window(self) -> int:
        """Length of the windows, in nanoseconds."""

    @property
    @abstractmethod
    def source(self) -> str:
        """What is read, for people."""

    @abstractmethod
    def stretches(self) -> Iterator[tuple[int, int]]:
        """Yield spans of time, ``(since, until)``, one after the other, that fit in memory.

        Raises:
            BadHistory: it can't be read.
        """

    @abstractmethod
    def read(self, since: int, until: int) -> Readings:
        """Return the rollups of the windows that start in a span; each window of a series once."""

    @abstractmethod
    def facts(self, series: NDArray[np.uint64], since: int, until: int) -> pl.DataFrame:
        """Return what is known of these series, which have rollups in the span: a FACTS frame."""
