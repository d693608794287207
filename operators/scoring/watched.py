"""The series of a shard that are judged: one row each in a bank of detectors and of incidents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.base import Bank
from operators.columns.hash_index import HashIndex
from operators.scoring.episodes import Episode, EpisodeChange, Episodes

__all__ = ["Expectations", "Watched"]

_ZEROS: Final = 120
"""Values that a series of faults is taken to have had before it appeared: all were zero."""
_FINE: Final = 0.99
"""Score at most of what is no fault, however unusual."""

_SLACK: Final = 16
"""A sixteenth more rows than are needed are made, and so many may lie idle."""


Lower = Callable[[NDArray[np.uint64], NDArray[np.float64]], None]


class Expectations(NamedTuple):
    """What is known of values besides: an element a value, or one for all.

    Attributes:
        only_above: less than expected is no fault.
        acceptable: may become the new level in an incident.
        counted: is a rate of events that are counted.
        least: rate below which too few events were counted to conclude anything.
        grown_up: what is new now was not there before.
        lowest, highest: where possible values end.
        deployed: when the service was deployed last; None if none was.
    """

    only_above: NDArray[np.bool_]
    acceptable: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    least: float
    grown_up: NDArray[np.bool_] | np.bool_
    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]
    deployed: NDArray[np.int64] | None = None

    def bound(self, values: NDArray[np.float64], judgements: NDArray[np.float64]) -> None:
        """Have what is expected, and its band, end where possible values do, in place."""
        np.minimum(judgements[3], self.highest, out=judgements[3])
        # What is below must be possible, whatever its name says.
        possible = np.where(values >= self.lowest, self.lowest, -np.inf)
        np.maximum(judgements[1:4], possible, out=judgements[1:4])

    def no_evidence(
        self, values: NDArray[np.float64], expected: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Return which values are no fault, however unusual."""
        few = self.counted & (np.maximum(values, expected) < self.least)
        fine: NDArray[np.bool_] = few | (self.only_above & (values <= expected))
        return fine


class Watched:
    """Detectors and incidents by series id.

    The row of a series that is forgotten is fresh again, and stays in the index: should the series
    come back it has a row. Idle rows are removed together, since the index has to be made anew.

    Args:
        bank: an empty one.
        incidents: empty ones.
    """

    def __init__(self, bank: Bank, incidents: Episodes) -> None:
        self._bank = bank
        self._incidents = incidents
        self._index = HashIndex()
        self._series = np.empty(0, np.uint64)
        self._size = 0
        self._trained = HashIndex()
        self._states: pl.Series | None = None

    def __len__(self) -> int:
        return self._size

    def judge(
        self,
        series: NDArray[np.uint64],
        starts: NDArray[np.int64],
        values: NDArray[np.float64],
        expectations: Expectations | None = None,
        lower: Lower | None = None,
    ) -> tuple[NDArray[np.float64], list[EpisodeChange]]:
        """Judge, then learn, finite values in their order, which is that of time.

        Args:
            series: id of the series of each value; one may come several times.
            starts: of the windows.
            values: what is judged.
            expectations: what is known of them besides; nothing if left out.
            lower: changes the judgements of these series in place.

        Returns:
            The fields of ``Judgement``, a row each, NaN where a detector is not warm; and what
            that changed.
        """
        rows = self._rows_of(series)
        if expectations is not None:
            faults = expectations.only_above & expectations.grown_up
            self._take_for_zero(rows, starts, faults)
        judgements = self._bank.judge_then_learn(rows, values, starts)
        if lower is not None:
            lower(series, judgements)
        acceptable = deployed = None
        if expectations is not None:
            acceptable, deployed = expectations.acceptable, expectations.deployed
            expectations.bound(values, judgements)
            fine = expectations.no_evidence(values, judgements[1])
            judgements[0, fine] = np.minimum(judgements[0, fine], _FINE)
        counts, changes = self._incidents.follow(
            rows, starts, values, judgements, acceptable, deployed
        )
        if not counts.all():
            judgements[:, ~counts] = np.nan
        return judgements, changes

    def _take_for_zero(
        self,
        rows: NDArray[np.int32],
        starts: NDArray[np.int64],
        faults: NDArray[np.bool_],
    ) -> None:
        """Have new series of faults learn that there were none before: so it was."""
        if not faults.any():
            return
        unseen = np.flatnonzero(self._incidents.unseen(rows))
        new, at = np.unique(rows[unseen], return_index=True)
        # It is the first value of a series that says whether anybody was there before it.
        first = unseen[at]
        new, first = new[faults[first]], starts[first[faults[first]]]
        if not len(new):
            return
        back = np.arange(_ZEROS, 0, -1, dtype=np.int64)
        times = (first[:, np.newaxis] - back * self._incidents.window).ravel()
        self._bank.judge_then_learn(
            np.repeat(new.astype(np.int32), _ZEROS), np.zeros(len(times)), times
        )
        self._incidents.warm(new)

    def _rows_of(self, series: NDArray[np.uint64]) -> NDArray[np.int32]:
        # In the order of meeting: the next frame will have them in the same, and so will memory.
        rows, new = self._index.number(series)
        if len(new):
            first, self._size = self._size, self._size + len(new)
            self._make_room()
            self._series[first : self._size] = new
            self._teach(np.arange(first, self._size))
        return rows

    def _make_room(self) -> None:
        more = self._size - len(self._series)
        if more > 0:
            more += self._size // _SLACK
            self._series = np.concatenate([self._series, np.zeros(more, np.uint64)])
            self._bank.grow(more)
            self._incidents.grow(more)

    def end_silent(self, before: int) -> dict[int, Episode]:
        """End the alerts of series not seen after ``before``; return their incidents by series."""
        rows = self._incidents.silent(before)
        ended = {int(self._series[row]): self._incidents.of(row) for row in rows}
        self._incidents.end(rows)
        return dict(sorted(ended.items()))

    def end(self, series: NDArray[np.uint64]) -> dict[int, Episode]:
        """End the alerts of those of these series that have one; return them by series."""
        rows = self._known(series)
        rows = rows[self._incidents.firing(rows)]
        ended = {int(self._series[row]): self._incidents.of(row) for row in rows}
        self._incidents.end(rows)
        return ended

    def forget(self, series: NDArray[np.uint64]) -> None:
        """Forget these series; they may come again."""
        self._forget(self._known(series))

    def adopt(self, bank: Bank, states: pl.DataFrame | None, *, other: bool) -> None:
        """Take up trained detectors: of the series that are here, and of others as they come.

        Args:
            bank: an empty one of the detectors that are in force from now on.
            states: ``series`` and ``detector``, a row each; none if left out.
            other: its detectors are of another kind: those that are not trained begin anew.
        """
        if other:
            bank.grow(len(self._series))
            self._bank = bank
            self._incidents.relearn()
        self.trained(states)
        self._teach(np.arange(self._size))

    def trained(self, states: pl.DataFrame | None) -> None:
        """Have series that come from now on, or come again, begin with these states."""
        self._trained = HashIndex()
        self._states = None
        if states is not None and states.height:
            series = states["series"].to_numpy()
            self._trained.insert(series, np.arange(len(series), dtype=np.int32))
            self._states = states["detector"]

    def _teach(self, rows: NDArray[np.intp]) -> None:
        """Give those of these rows their trained detectors that have one."""
        if self._states is None or not len(rows):
            return
        places = self._trained.find(self._series[rows])
        there = places >= 0
        if there.any():
            known = rows[there]
            self._bank.put(known, self._states.gather(places[there]))
            self._incidents.warm(known.astype(np.int32))

    def _known(self, series: NDArray[np.uint64]) -> NDArray[np.intp]:
        rows = self._index.find(series)
        return rows[rows >= 0].astype(np.intp)

    def forget_quiet(self, before: int) -> None:
        """Forget the series not seen after ``before``."""
        rows = self._incidents.quiet(before)
        if len(rows):
            self._forget(rows)
            self._remove_idle(self._size // _SLACK)

    def _forget(self, rows: NDArray[np.intp]) -> None:
        self._bank.forget(rows)
        self._incidents.forget(rows)
        self._teach(rows)

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
        # Rows are made ahead of need: both have as many.
        columns: dict[str, Any] = {"series": self._series, "detector": self._bank.state}
        columns |= self._incidents.state
        return pl.DataFrame({name: column[: self._size] for name, column in columns.items()})

    def resume(self, state: pl.DataFrame, *, relearn: bool) -> None:
        """Take up what ``state`` gave.

        Args:
            state: what was known.
            relearn: the detectors are others than those whose state this is, and begin anew;
                what fires goes on.
        """
        detectors = state["detector"]
        columns = {column.name: column.to_numpy() for column in state if column.name != "detector"}
        self._set_series(columns.pop("series").copy())
        self._incidents.resume(columns)
        if relearn:
            self._incidents.relearn()
            self._bank.grow(self._size)
        else:
            self._bank.resume(detectors)
