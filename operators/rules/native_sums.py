"""Native histograms that are told in deltas become running sums, as numbers do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.rules.arrivals import Waiting, only
from operators.rules.label_sets import Ids
from operators.rules.native_histogram import IncompatibleError, NativeHistogram
from operators.rules.store import SeriesStore

__all__ = ["NativeSums", "plain", "restored"]


def plain(histogram: NativeHistogram) -> dict[str, Any]:
    """Return a histogram as plain data."""
    return asdict(histogram)


def restored(told: Mapping[str, Any]) -> NativeHistogram:
    """Take back what `plain` gave."""
    return NativeHistogram(**told)


class NativeSums:
    """The sums of histograms by their row in the store; see `RunningSums` for the rules."""

    def __init__(self) -> None:
        self._sums: dict[int, tuple[NativeHistogram, int]] = {}
        self._resumed: dict[int, tuple[NativeHistogram, int]] = {}

    def of(self, samples: Waiting, is_delta: NDArray[np.bool_], store: SeriesStore) -> Waiting:
        """Return samples in the order of time with histograms that are deltas summed up.

        Args:
            samples: of a tick.
            is_delta: of each, whether it is a delta.
            store: has the histograms, and gets the sums.
        """
        places = np.flatnonzero(is_delta & store.are_histograms(samples.value))
        self._resume(samples, places, store)
        if not len(places):
            return samples
        values, kept, sums = samples.value.copy(), np.ones(len(samples.row), np.bool_), []
        for place in places.tolist():
            row, ts = int(samples.row[place]), int(samples.ts[place])
            one = store.histogram(values[place])
            total, last = self._sums.get(row, (None, None))
            if last is not None and ts <= last:
                kept[place] = False
                continue
            if total is not None:
                # A producer that has buckets of another kind now begins anew.
                with suppress(IncompatibleError):
                    one = total.plus(one)
            self._sums[row] = one, ts
            sums.append(one)
        values[places[kept[places]]] = store.boxed(sums)
        return only(samples._replace(value=values), kept)

    def _resume(self, samples: Waiting, places: NDArray[np.intp], store: SeriesStore) -> None:
        """Go on from a snapshot: what is read again was in its sums already."""
        for row, (total, last) in self._resumed.items():
            again = places[(samples.row[places] == row) & (samples.ts[places] <= last)]
            left = total
            for place in again.tolist():
                with suppress(IncompatibleError):
                    left = left.plus(store.histogram(samples.value[place]), -1.0)
            first = samples.ts[again].min(initial=last + 1)
            self._sums[row] = left, int(first) - 1
        self._resumed = {}

    def renumber(self, rows: Ids) -> None:
        """Give the series other rows: those at which ``rows`` has the old ones, -1 to forget."""
        for name in ("_sums", "_resumed"):
            old = getattr(self, name)
            setattr(self, name, {int(rows[row]): one for row, one in old.items() if rows[row] >= 0})

    def rows(self) -> Ids:
        """Return the rows of the series."""
        return np.array(sorted(self._sums.keys() | self._resumed.keys()), np.int32)

    def snapshot(self) -> list[tuple[dict[str, Any], int]]:
        """Return sum and last time of each of `rows`."""
        both = {**self._sums, **self._resumed}
        return [(plain(both[row][0]), both[row][1]) for row in self.rows().tolist()]

    def restore(self, rows: Ids, state: Sequence[Any]) -> None:
        """Take back what `snapshot` gave, of series that have these rows now."""
        self._resumed = {
            int(row): (restored(told), last) for row, (told, last) in zip(rows, state, strict=True)
        }
