"""The series of a history, numbered as they are met."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flows.offline.history.base import FACTS, History
from operators.columns.hash_index import HashIndex
from operators.contracts.frames import empty, shard_of
from operators.scoring.step import JUDGED_BY_RATE
from operators.scoring.wanted import ScoringSettings

__all__ = ["Catalog", "Stretch", "judged_stretches"]

_NOT_YET: Final = np.iinfo(np.int64).max


class Stretch(NamedTuple):
    """Rollups of a stretch of time that are judged, and what else a flow would know of it.

    Attributes:
        rows: of the series in the catalog, an element a rollup.
        starts: of the windows.
        values: what is judged; finite.
        ticks: starts of all windows of the stretch, also of those that are not judged; ascending.
        began: start of the first window of each shard.
        new: series that were met for the first time, in the order of their rows: a FACTS frame.
    """

    rows: NDArray[np.int32]
    starts: NDArray[np.int64]
    values: NDArray[np.float64]
    ticks: NDArray[np.int64]
    began: NDArray[np.int64]
    new: pl.DataFrame


class Catalog:
    """Numbers series, and knows which are judged, and by what.

    Args:
        history: what they are of.
        settings: which metrics are judged.
        shards: of the flow.
    """

    def __init__(self, history: History, settings: ScoringSettings, shards: int) -> None:
        self._history = history
        self._judged = re.compile(settings.metrics)
        self._ignored = re.compile(settings.ignore)
        self._index = HashIndex()
        self._facts: list[pl.DataFrame] = []
        self._place = np.empty(0, np.int32)  # by series: row among those judged, -1 of the others
        self._by_rate = np.empty(0, np.bool_)
        self._size = 0
        self._began = np.full(shards, _NOT_YET)

    @property
    def facts(self) -> pl.DataFrame:
        """What is known of the series that are judged: a FACTS frame in the order of their rows."""
        return pl.concat([empty(FACTS), *self._facts])

    def stretch(self, since: int, until: int) -> Stretch:
        """Read a stretch of time, which begins where the one before ended."""
        read = self._history.read(since, until)
        numbers, unknown = self._index.number(read.series)
        new = self._meet(unknown, since, until)
        if len(unknown):  # a shard begins with a series that is new
            self._begin(read.series, read.starts)
        rows = self._place[numbers]
        values = np.where(self._by_rate[numbers], read.rates, read.means)
        chosen = np.isfinite(values) & (rows >= 0)
        ticks = _distinct(read.starts, self._history.window)
        if not chosen.all():
            rows, starts, values = rows[chosen], read.starts[chosen], values[chosen]
        else:
            starts = read.starts
        return Stretch(rows, starts, values, ticks, self._began.copy(), new)

    def _meet(self, series: NDArray[np.uint64], since: int, until: int) -> pl.DataFrame:
        if not len(series):
            return empty(FACTS)
        facts = self._history.facts(series, since, until)
        order = pl.DataFrame({"series": series}, schema={"series": pl.UInt64})
        facts = order.join(facts, on="series", how="left", maintain_order="left").select(
            FACTS.names()
        )
        judged = np.array([self._is_judged(name) for name in facts["name"]], np.bool_)
        place = np.where(judged, self._size + np.cumsum(judged) - 1, -1).astype(np.int32)
        self._place = np.concatenate([self._place, place])
        by_rate = facts["kind"].is_in(JUDGED_BY_RATE).to_numpy()
        self._by_rate = np.concatenate([self._by_rate, by_rate])
        new = facts.filter(pl.Series(judged))
        self._size += new.height
        self._facts.append(new)
        return new

    def _is_judged(self, name: str) -> bool:
        return bool(self._judged.fullmatch(name)) and not self._ignored.fullmatch(name)

    def _begin(self, series: NDArray[np.uint64], starts: NDArray[np.int64]) -> None:
        """Note when each shard began: what its first frame of rollups starts with."""
        if self._began.max(initial=0) < _NOT_YET:
            return
        shards = shard_of(series, len(self._began))
        first = np.full(len(self._began), _NOT_YET)
        np.minimum.at(first, shards, starts)
        fresh = self._began == _NOT_YET
        self._began[fresh] = first[fresh]


def judged_stretches(
    history: History, settings: ScoringSettings, shards: int
) -> tuple[Catalog, Iterator[Stretch]]:
    """Return a catalog, and the stretches of a history, read as they are asked for."""
    catalog = Catalog(history, settings, shards)
    return catalog, (catalog.stretch(since, until) for since, until in history.stretches())


def _distinct(starts: NDArray[np.int64], window: int) -> NDArray[np.int64]:
    """Return the different starts, ascending; windows lie on a grid, so none need be sorted."""
    if not len(starts):
        return starts
    first = int(starts.min())
    there = np.zeros((int(starts.max()) - first) // window + 1, np.bool_)
    there[(starts - first) // window] = True
    return first + np.flatnonzero(there) * window
