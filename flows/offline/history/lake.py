"""Rollups in the lake, a few hours at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flows.offline.history.base import FACTS, FORECAST, BadHistory, History, Readings
from operators.contracts.durations import format_duration
from sinks.lake import read_rollups
from sinks.lake_files import DAY, Day, days, live_parts

__all__ = ["LakeHistory"]

_ROWS: Final = 2_000_000
"""Rollups that are read at once, about."""


@dataclass(frozen=True)
class LakeHistory(History):
    """The rollups of one resolution in a lake.

    A window that late data changed is read as it is stored, whole; a flow judged what came first.

    Attributes:
        path: the lake, as in ``sinks.lake.path``.
        length: of the windows, in nanoseconds.
        since, until: only windows that start in this span; nanoseconds.
        tenant: only this one's.
    """

    path: Path
    length: int
    since: int | None = None
    until: int | None = None
    tenant: str | None = None

    @property
    def window(self) -> int:
        """Length of the windows, in nanoseconds."""
        return self.length

    @property
    def source(self) -> str:
        """The lake's path."""
        return str(self.path)

    def stretches(self) -> Iterator[tuple[int, int]]:
        """Yield parts of days that have some two million rollups at most.

        Raises:
            BadHistory: there is nothing of this resolution in that span.
        """
        found = sorted(self._days(), key=lambda day: day.start)
        if not found:
            raise BadHistory(self._nothing())
        for day in found:
            rows = sum(part.rows for part in live_parts(day.path))
            first = max(day.start, self.since or day.start)
            last = min(day.start + DAY, self.until or day.start + DAY)
            count = max(1, -(-rows * (last - first) // (DAY * _ROWS)))
            windows = -(-(last - first) // self.length)
            edges = [first + windows * at // count * self.length for at in range(count)] + [last]
            for since, until in pairwise(edges):
                if since < until:
                    yield since, until

    def _days(self) -> Iterator[Day]:
        for day in days(self.path):
            if day.window != self.length:
                continue
            if self.since is not None and day.start + DAY <= self.since:
                continue
            if self.until is not None and day.start >= self.until:
                continue
            yield day

    def _nothing(self) -> str:
        there = sorted({day.window for day in days(self.path)})
        if not there:
            return f"{self.path}: there are no rollups: is it sinks.lake.path, and has storage run?"
        if self.length not in there:
            known = ", ".join(format_duration(window) for window in there)
            return f"{self.path}: no rollups of {format_duration(self.length)} (there are: {known})"
        return f"{self.path}: no rollups in that span of time"

    def read(self, since: int, until: int) -> Readings:
        """Return the rollups of a span."""
        rows = self._rows(since, until).select("series", "window_start", "mean", "rate").collect()
        return Readings(
            rows["series"].to_numpy(),
            rows["window_start"].to_numpy(),
            rows["mean"].to_numpy(),
            rows["rate"].to_numpy(),
        )

    def facts(self, series: NDArray[np.uint64], since: int, until: int) -> pl.DataFrame:
        """Return what is known of series."""
        rows = self._rows(since, until).filter(pl.col("series").is_in(pl.Series(series).implode()))
        return (
            rows.select(FACTS.names()).unique("series", keep="first", maintain_order=True).collect()
        )

    def _rows(self, since: int, until: int) -> pl.LazyFrame:
        try:
            rollups = read_rollups(
                self.path, window=self.length, since=since, until=until, tenant=self.tenant,
            )  # fmt: skip
            return rollups.filter(~pl.col("name").str.ends_with(FORECAST))
        except (OSError, pl.exceptions.PolarsError) as error:
            raise BadHistory(f"{self.path}: cannot be read: {error}") from None
