"""The series of a shard that are judged: one row each in a bank of detectors and of incidents."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.base import Bank
from operators.hash_index import HashIndex
from operators.incidents import Change, Incident, Incidents

__all__ = ["Watched"]

_SLACK: Final = 16
"""A sixteenth more rows than are needed are made, and so many may lie idle."""


class Watched:
    """Detectors and incidents by series id.

    The row of a series that is forgotten is fresh again, and stays in the index: should the series
    come back it has a row. Idle rows are removed together, since the index has to be made anew.

    Args:
        bank: an empty one.
        incidents: empty ones.
    """

    def __init__(self, bank: Bank, incidents: Incidents) -> None:
        self._bank = bank
        self._incidents = incidents
        self._index = HashIndex()
        self._series = np.empty(0, np.uint64)
        self._size = 0

    def judge(
        self, series: NDArray[np.uint64], starts: NDArray[np.int64], values: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], list[Change]]:
        """Judge, then learn, finite values in their order, which is that of time.

        Args:
            series: id of the series of each value; one may come several times.
            starts: of the windows.
            values: what is judged.

        Returns:
            The fields of ``Judgement``, a row each, NaN where a detector is not warm; and what
            that changed.
        """
        rows = self._rows_of(series)
        judgements = self._bank.judge_then_learn(rows, values)
        counts, changes = self._incidents.follow(rows, starts, values, judgements[0])
        if not counts.all():
            judgements[:, ~counts] = np.nan
        return judgements, changes

    def _rows_of(self, series: NDArray[np.uint64]) -> NDArray[np.int32]:
        rows = self._index.find(series)
        unknown = np.flatnonzero(rows < 0)
        if len(unknown):
            met = series[unknown]
            _, at = np.unique(met, return_index=True)
            # In the order of meeting: the next frame will have them in the same, and so will memory.
            new = met[np.sort(at)]
            first, self._size = self._size, self._size + len(new)
            self._make_room()
            self._series[first : self._size] = new
            self._index.insert(new, np.arange(first, self._size, dtype=np.int32))
            rows[unknown] = self._index.find(series[unknown])
        return rows

    def _make_room(self) -> None:
        more = self._size - len(self._series)
        if more > 0:
            more += self._size // _SLACK
            self._series = np.concatenate([self._series, np.zeros(more, np.uint64)])
            self._bank.grow(more)
            self._incidents.grow(more)

    def end_silent(self, before: int) -> dict[int, Incident]:
        """End the alerts of series not seen after ``before``; return their incidents by series."""
        rows = self._incidents.silent(before)
        ended = {int(self._series[row]): self._incidents.of(row) for row in rows}
        self._incidents.end(rows)
        return dict(sorted(ended.items()))

    def forget_quiet(self, before: int) -> None:
        """Forget the series not seen after ``before``."""
        rows = self._incidents.quiet(before)
        if len(rows):
            self._bank.forget(rows)
            self._incidents.forget(rows)
            self._remove_idle(self._size // _SLACK)

    def _remove_idle(self, most: int) -> None:
        """Remove the rows without a series, if they are more than ``most``."""
        used = self._incidents.used()
        if self._size - len(used) > most:
            self._bank.keep(used)
            self._incidents.keep(used)
            self._set_series(self._series[used])

    def _set_series(self, series: NDArray[np.uint64]) -> None:
        self._series, self._size = series, len(series)
        self._index = HashIndex()
        self._index.insert(series, np.arange(len(series), dtype=np.int32))

    @property
    def state(self) -> pl.DataFrame:
        """All that is known, a row for each series."""
        self._remove_idle(0)
        columns = {"series": self._series, "detector": self._bank.state, **self._incidents.state}
        return pl.DataFrame({name: column[: self._size] for name, column in columns.items()})

    def resume(self, state: pl.DataFrame, *, relearn: bool) -> None:
        """Take up what ``state`` gave.

        Args:
            state: what was known.
            relearn: the detectors are others than those whose state this is, and begin anew;
                what fires goes on.
        """
        columns = {column.name: column.to_numpy() for column in state}
        detectors = columns.pop("detector")
        self._set_series(columns.pop("series").copy())
        self._incidents.resume(columns)
        if relearn:
            self._incidents.relearn()
            self._bank.grow(self._size)
        else:
            self._bank.resume(detectors)
