"""Deltas become running sums: what rules look at is a counter, as it is in Prometheus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from operators.rules.arrivals import Waiting, only
from operators.rules.label_sets import Ids

__all__ = ["RunningSums"]

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]

_NEVER = np.iinfo(np.int64).min


class RunningSums:
    """The sums of series that are told in deltas, by their row in the store.

    A delta that is older than the last one of its series is left out, as Prometheus leaves it out.
    """

    def __init__(self) -> None:
        self._is_delta = np.empty(0, np.bool_)
        self._sums = np.empty(0, np.float64)
        self._last = np.empty(0, np.int64)
        self._resumed: dict[int, tuple[float, int]] = {}

    def mark(self, rows: Ids) -> None:
        """Say that series are told in deltas."""
        self._grow(int(rows.max(initial=-1)) + 1)
        self._is_delta[rows] = True

    def _grow(self, size: int) -> None:
        more = size - len(self._is_delta)
        if more > 0:
            self._is_delta = np.concatenate([self._is_delta, np.zeros(more, np.bool_)])
            self._sums = np.concatenate([self._sums, np.zeros(more)])
            self._last = np.concatenate([self._last, np.full(more, _NEVER)])

    def are_deltas(self, rows: Ids) -> NDArray[np.bool_]:
        """Return which series are told in deltas."""
        self._grow(int(rows.max(initial=-1)) + 1)
        return self._is_delta[rows]

    def of(self, samples: Waiting) -> Waiting:
        """Return samples in the order of time with deltas summed up."""
        if not self._is_delta.any():
            return samples
        self._grow(int(samples.row.max(initial=-1)) + 1)
        self._resume(samples)
        values = samples.value.copy()
        kept = _sum(samples.row, samples.ts, values, self._is_delta, self._sums, self._last)
        summed = samples._replace(value=values)
        return summed if kept.all() else only(summed, kept)

    def _resume(self, samples: Waiting) -> None:
        """Go on from a snapshot: what is read again was in its sums already."""
        for row, (total, last) in self._resumed.items():
            again = (samples.row == row) & (samples.ts <= last) & ~np.isnan(samples.value)
            self._sums[row] = total - samples.value[again].sum()
        self._resumed = {}

    def renumber(self, rows: Ids) -> None:
        """Give the series other rows: those at which ``rows`` has the old ones, -1 to forget."""
        old = np.flatnonzero(self._is_delta & (rows[: len(self._is_delta)] >= 0))
        new = rows[old]
        sums, last = self._sums[old], self._last[old]
        resumed = {int(rows[row]): told for row, told in self._resumed.items() if rows[row] >= 0}
        self.__init__()  # type: ignore[misc]
        self.mark(new)
        self._sums[new], self._last[new] = sums, last
        self._resumed = resumed

    def rows(self) -> Ids:
        """Return the rows of the series."""
        return np.flatnonzero(self._is_delta).astype(np.int32)

    def snapshot(self) -> list[tuple[float, int]]:
        """Return sum and last time of each of `rows`."""
        rows = self.rows()
        told = zip(self._sums[rows].tolist(), self._last[rows].tolist(), strict=True)
        return [self._resumed.get(row, one) for row, one in zip(rows.tolist(), told, strict=True)]

    def restore(self, rows: Ids, state: Sequence[Any]) -> None:
        """Take back what `snapshot` gave, of series that have these rows now."""
        self.mark(rows)
        self._resumed = {
            int(row): (total, last) for row, (total, last) in zip(rows, state, strict=True)
        }


@njit(cache=True, nogil=True, error_model="numpy")
def _sum(
    rows: Ids, ts: Longs, values: Floats, is_delta: NDArray[np.bool_], sums: Floats, last: Longs
) -> NDArray[np.bool_]:
    """Sum up in place; return which samples are kept."""
    kept = np.ones(len(rows), np.bool_)
    for i in range(len(rows)):
        row = rows[i]
        if not is_delta[row] or np.isnan(values[i]):
            continue
        if ts[i] <= last[row]:
            kept[i] = False
            continue
        last[row] = ts[i]
        sums[row] += values[i]
        values[i] = sums[row]
    return kept
