"""The series that rules select, with their labels and recent samples: one store a tenant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from operators.columns.hash_index import HashIndex
from operators.rules.label_sets import NAME, Ids, LabelSets, Symbols
from operators.rules.samples import HISTOGRAM, SampleStore

__all__ = ["SeriesStore"]

_NUMBER: Final = (1 << 48) - 1


class SeriesStore:
    """Series by row number, which they keep, an index from names to rows, and their samples.

    Labels are one list of pairs of numbers, of which each row has a run: columns of every label
    that there is would be mostly empty.

    Args:
        keep: how long (ms) samples are kept that nobody asks for; 0 is for ever.
    """

    def __init__(self, keep: int = 0) -> None:
        self._keep = keep
        self.symbols = Symbols()
        self.samples = SampleStore()
        self.histograms: list[Any] = []
        """Native histograms by the number that stands for them among the values."""
        self._index = HashIndex()
        self._offsets = np.zeros(1, np.int64)
        self._names = np.empty(0, np.int32)
        self._values = np.empty(0, np.int32)
        self._pairs = 0
        self._by_name: dict[int, list[Ids]] = {}
        self.versions: dict[int, int] = {}
        """How often something was put in, by the number of the metric's name."""
        self.version = 0

    def __len__(self) -> int:
        return len(self._index)

    def rows(self, labels: Sequence[Mapping[str, str]]) -> Ids:
        """Return the rows of series by their labels; those that are new get the next ones."""
        return self.rows_of(LabelSets.of(self.symbols, labels))

    def rows_of(self, sets: LabelSets) -> Ids:
        """Return the rows of series; those that are new get the next ones."""
        before = len(self._index)
        rows, new = self._index.meet(sets.signatures())
        if len(new):
            self._add(sets.take(new), before)
        return rows

    def rows_like(self, other: SeriesStore, rows: Ids) -> Ids:
        """Return the rows here of the series that stand in some rows of another store."""
        sets, texts = other.labels(rows), other.symbols.texts
        used = np.unique(np.concatenate([np.zeros(1, np.int32), *sets.columns.values()]))
        numbers = np.zeros(len(texts), np.int32)
        numbers[used] = [self.symbols.number(texts[number]) for number in used]
        columns = {
            self.symbols.number(texts[name]): numbers[values]
            for name, values in sets.columns.items()
        }
        return self.rows_of(LabelSets(self.symbols, sets.size, columns))

    def _add(self, sets: LabelSets, before: int) -> None:
        counts = np.zeros(sets.size, np.int64)
        for values in sets.columns.values():
            counts += values > 0
        offsets = self._offsets[-1] + np.cumsum(counts)
        needed = int(offsets[-1]) if len(offsets) else self._pairs
        for name in ("_names", "_values"):
            old = getattr(self, name)
            if needed > len(old):
                grown = np.empty(max(needed, 2 * len(old)), np.int32)
                grown[: self._pairs] = old[: self._pairs]
                setattr(self, name, grown)
        at = offsets - counts
        for number, values in sets.columns.items():
            _put(np.int32(number), values, at, self._names, self._values)
        self._pairs = needed
        self._offsets = np.concatenate([self._offsets, offsets])
        self.samples.grow(before + sets.size)
        self.samples.keep[before:] = self._keep
        metric = sets.column(NAME)
        order = np.argsort(metric, kind="stable")
        bounds = np.flatnonzero(np.diff(metric[order], prepend=-1))
        for begin, end in zip(bounds, [*bounds[1:], len(order)], strict=True):
            name_of = int(metric[order[begin]])
            chunk = (order[begin:end] + before).astype(np.int32)
            self._by_name.setdefault(name_of, []).append(chunk)

    def append(self, rows: Ids, ts: NDArray[np.int64], values: NDArray[np.float64]) -> int:
        """Put in samples of series; see `Samples.append`.

        Results that were worked out before hold no longer. Use `touch` if few metrics change.
        """
        self.version += 1
        return self.samples.append(rows, ts, values)

    def touch(
        self, rows: Ids, ts: NDArray[np.int64], values: NDArray[np.float64], name: str
    ) -> int:
        """Put in samples of one metric; results of expressions about other metrics still hold."""
        self.touched(name)
        return self.samples.append(rows, ts, values)

    def touched(self, name: str) -> None:
        """Say that a metric has other samples than before."""
        number = self.symbols.number(name)
        self.versions[number] = self.versions.get(number, 0) + 1

    def append_histogram(self, row: int, ts: int, histogram: Any) -> None:
        """Put in a native histogram of one series."""
        self.append(np.array([row], np.int32), np.array([ts]), self.boxed([histogram]))

    def boxed(self, histograms: Sequence[Any]) -> NDArray[np.float64]:
        """Keep native histograms; return the values that stand for them among the samples."""
        first = len(self.histograms)
        self.histograms.extend(histograms)
        numbers = np.arange(first, len(self.histograms), dtype=np.uint64)
        return (numbers | np.uint64(HISTOGRAM << 48)).view(np.float64)

    def histogram(self, value: float) -> Any:
        """Return the native histogram that a value stands for."""
        return self.histograms[int(np.float64(value).view(np.uint64)) & _NUMBER]

    @staticmethod
    def are_histograms(values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which values stand for native histograms."""
        bits = np.ascontiguousarray(values).view(np.uint64)
        found: NDArray[np.bool_] = (bits >> np.uint64(48)) == HISTOGRAM
        return found

    def forget_histograms(self, waiting: Sequence[NDArray[np.float64]]) -> None:
        """Forget the native histograms that no sample stands for any more.

        Args:
            waiting: values that are not among the samples yet; they are changed in place.
        """
        samples = self.samples
        marked = np.flatnonzero(samples.last_marker > np.iinfo(np.int64).min)
        counts = samples.count[marked]
        within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        places = np.repeat(samples.start[marked], counts) + within
        places = places[self.are_histograms(samples.values[places])]
        parts = [(samples.values, places)]
        parts += [(values, np.flatnonzero(self.are_histograms(values))) for values in waiting]
        old, self.histograms = self.histograms, []
        for values, at in parts:
            numbers = values[at].view(np.uint64) & np.uint64(_NUMBER)
            values[at] = self.boxed([old[number] for number in numbers.tolist()])

    def named(self, name: int | None) -> list[Ids]:
        """Return the rows of a metric in pieces, in the order in which they came; None is of all.

        The pieces that were there before are there again, so a reader can tell what is new.
        """
        if name is None:
            return [np.arange(len(self), dtype=np.int32)]
        return self._by_name.get(name, [])

    def labels(self, rows: Ids) -> LabelSets:
        """Return the labels of some series."""
        if not len(rows):
            return LabelSets(self.symbols, 0, {})
        numbers = _names_of(rows, self._offsets, self._names, len(self.symbols))
        places = np.full(len(self.symbols), -1, np.int32)
        places[numbers] = np.arange(len(numbers), dtype=np.int32)
        table = np.zeros((len(numbers), len(rows)), np.int32)
        _fill(table, rows, self._offsets, self._names, self._values, places)
        return LabelSets(self.symbols, len(rows), dict(zip(numbers.tolist(), table, strict=True)))


@njit(cache=True, nogil=True, error_model="numpy")
def _put(name: np.int32, column: Ids, at: NDArray[np.int64], names: Ids, values: Ids) -> None:
    """Put a label of each row that has it behind those it has got already."""
    for row in range(len(column)):
        if column[row]:
            names[at[row]] = name
            values[at[row]] = column[row]
            at[row] += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _names_of(rows: Ids, offsets: NDArray[np.int64], names: Ids, size: int) -> Ids:
    """Return the numbers of the names that labels of these rows have."""
    seen = np.zeros(size, np.bool_)
    for row in rows:
        for k in range(offsets[row], offsets[row + 1]):
            seen[names[k]] = True
    return np.flatnonzero(seen).astype(np.int32)


@njit(cache=True, nogil=True, error_model="numpy")
def _fill(
    table: NDArray[np.int32],
    rows: Ids,
    offsets: NDArray[np.int64],
    names: Ids,
    values: Ids,
    places: Ids,
) -> None:
    for i in range(len(rows)):
        for k in range(offsets[rows[i]], offsets[rows[i] + 1]):
            table[places[names[k]], i] = values[k]
