"""Which series a selector selects, and their samples at a time or in a range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from operators.rules.errors import ExpressionError
from operators.rules.frame import Bools, Floats, InstantVector, Range
from operators.rules.label_sets import NAME, Ids, LabelSets, Symbols
from operators.rules.samples import HISTOGRAM
from operators.rules.store import SeriesStore
from operators.templating.regular import compiled
from operators.templating.values import TemplateError

__all__ = ["LabelMatcher", "Selection"]

Longs = NDArray[np.int64]


class LabelMatcher(NamedTuple):
    """A condition on a label: ``operator`` is one of ``=``, ``!=``, ``=~``, ``!~``."""

    name: str
    operator: str
    value: str

    def accepts(self, text: str) -> bool:
        """Return whether a label's value fulfils it; a label that is not there is empty."""
        if self.operator in ("=", "!="):
            return (text == self.value) == (self.operator == "=")
        found = compiled(f"^(?s:{self.value})$").search(text) is not None
        return found == (self.operator == "=~")

    def check(self) -> None:
        """Raise `ExpressionError` if it is a regular expression that RE2 refuses."""
        if self.operator in ("=~", "!~"):
            try:
                compiled(f"^(?s:{self.value})$")
            except TemplateError as error:
                raise ExpressionError(str(error)) from None


class _Verdicts:
    """What a matcher says of each text, by the text's number."""

    def __init__(self, matcher: LabelMatcher, symbols: Symbols) -> None:
        self.matcher = matcher
        self._symbols = symbols
        self._known = np.zeros(0, np.int8)  # 0: not asked yet, 1: no, 2: yes

    def of(self, values: Ids) -> Bools:
        if self.matcher.operator in ("=", "!="):
            number = self._symbols.find(self.matcher.value)
            same: Bools = (values == number) == (self.matcher.operator == "=")
            return same
        if len(self._known) < len(self._symbols):
            grown = np.zeros(len(self._symbols) * 2, np.int8)
            grown[: len(self._known)] = self._known
            self._known = grown
        verdicts = self._known[values]
        if not verdicts.all():
            for number in np.unique(values[verdicts == 0]):
                said = self.matcher.accepts(self._symbols.texts[number])
                self._known[number] = 2 if said else 1
            verdicts = self._known[values]
        result: Bools = verdicts == 2
        return result


class Selection:
    """The series that matchers select. It grows as series come; each is looked at once.

    Args:
        store: where the series are.
        matchers: the conditions, all of which have to hold.
        keep: how long (ms) samples are needed.
    """

    def __init__(self, store: SeriesStore, matchers: Sequence[LabelMatcher], keep: int) -> None:
        self._store = store
        self._names = [m.value for m in matchers if m.name == NAME and m.operator == "="]
        self._others = [
            _Verdicts(m, store.symbols)
            for m in matchers
            if not (m.name == NAME and m.operator == "=")
        ]
        self._pieces = 0
        self._seen = 0
        self.keep = keep
        self.rows: Ids = np.empty(0, np.int32)
        self.sets = LabelSets(store.symbols, 0, {})

    def need(self, keep: int) -> None:
        """Say that samples are needed for that long (ms), too."""
        if keep > self.keep:
            self.keep = keep
            self._keep(self.rows)

    def _keep(self, rows: Ids) -> None:
        keep = self._store.samples.keep
        keep[rows] = np.maximum(keep[rows], self.keep)

    def refresh(self) -> None:
        """Look at the series that have come since the last time."""
        candidates = self._new()
        if not len(candidates):
            return
        sets = self._store.labels(candidates)
        chosen = np.ones(len(candidates), np.bool_)
        for name in self._names[1:]:
            chosen &= sets.column(NAME) == self._store.symbols.find(name)
        for verdicts in self._others:
            chosen &= verdicts.of(sets.column(verdicts.matcher.name))
        if not chosen.any():
            return
        rows = candidates[chosen]
        self._keep(rows)
        added = sets if chosen.all() else sets.take(np.flatnonzero(chosen))
        sets = self.sets.plus(added) if self.sets.size else added
        rows = np.concatenate([self.rows, rows])
        # In an order that does not depend on who came first: sums are to be the same in every run.
        order = np.argsort(sets.signatures(), kind="stable")
        self.sets, self.rows = sets.take(order), rows[order]

    def _new(self) -> Ids:
        store = self._store
        if not self._names:
            found = np.arange(self._seen, len(store), dtype=np.int32)
            self._seen = len(store)
            return found
        pieces = store.named(store.symbols.find(self._names[0]))
        new = pieces[self._pieces :]
        self._pieces = len(pieces)
        return np.concatenate(new) if new else np.empty(0, np.int32)

    def at(self, time: int, lookback: int) -> tuple[InstantVector, Longs]:
        """Return the last value of each series in ``(time - lookback, time]``, and its time.

        A series that ended with a staleness marker is absent.
        """
        samples = self._store.samples
        values, present, when, marked = _at(
            self.rows, samples.ts, samples.values, samples.start, samples.count, time, lookback
        )
        histograms = None
        if marked:
            histograms = self._objects(values, present)
        return InstantVector(self.sets, values, present, histograms), when

    def _objects(self, values: Floats, present: Bools) -> NDArray[np.object_]:
        bits = values.view(np.uint64)
        found = np.full(len(values), None, np.object_)
        for row in np.flatnonzero(present & ((bits >> np.uint64(48)) == HISTOGRAM)):
            found[row] = self._store.histograms[int(bits[row]) & 0xFFFFFFFFFFFF]
            values[row] = 0.0
        return found

    def over(self, start: int, end: int) -> Range:
        """Return the samples of each series in ``(start, end]``, without staleness markers."""
        samples = self._store.samples
        low, high, marked = _bounds(
            self.rows, samples.ts, samples.start, samples.count, samples.last_marker, start, end
        )
        found: dict[int, list[tuple[int, Any]]] = {}
        ts, values = samples.ts, samples.values
        if marked:
            ts, values, low, high, rows, times, numbers = _unmarked(ts, values, low, high)
            for row, time, number in zip(rows, times, numbers, strict=True):
                histogram = self._store.histograms[int(number)]
                found.setdefault(int(row), []).append((int(time), histogram))
        return Range(self.sets, ts, values, low, high, start, end, found)


@njit(cache=True, nogil=True, error_model="numpy")
def _at(
    rows: Ids,
    ts: Longs,
    values: Floats,
    start: Longs,
    count: NDArray[np.int32],
    time: int,
    lookback: int,
) -> tuple[Floats, Bools, Longs, bool]:
    bits = values.view(np.uint64)
    found = np.zeros(len(rows), np.float64)
    present = np.zeros(len(rows), np.bool_)
    when = np.zeros(len(rows), np.int64)
    marked = False
    for i in range(len(rows)):
        first = start[rows[i]]
        place = first + count[rows[i]] - 1
        while place >= first and ts[place] > time:
            place -= 1
        if place < first or ts[place] <= time - lookback:
            continue
        if bits[place] == np.uint64(0x7FF0000000000002):
            continue
        if (bits[place] >> np.uint64(48)) == np.uint64(0x7FFE):
            marked = True
        found[i] = values[place]
        present[i] = True
        when[i] = ts[place]
    return found, present, when, marked


@njit(cache=True, nogil=True, error_model="numpy")
def _bounds(
    rows: Ids,
    ts: Longs,
    start: Longs,
    count: NDArray[np.int32],
    last_marker: Longs,
    begin: int,
    end: int,
) -> tuple[Longs, Longs, bool]:
    low = np.empty(len(rows), np.int64)
    high = np.empty(len(rows), np.int64)
    marked = False
    for i in range(len(rows)):
        first = start[rows[i]]
        place = first + count[rows[i]]
        while place > first and ts[place - 1] > end:
            place -= 1
        high[i] = place
        # The first sample of the range, by halving.
        a = first
        b = place
        while a < b:
            middle = (a + b) >> 1
            if ts[middle] > begin:
                b = middle
            else:
                a = middle + 1
        low[i] = a
        if last_marker[rows[i]] > begin:
            marked = True
    return low, high, marked


@njit(cache=True, nogil=True, error_model="numpy")
def _unmarked(
    ts: Longs, values: Floats, low: Longs, high: Longs
) -> tuple[Longs, Floats, Longs, Longs, Longs, Longs, Longs]:
    """Copy the samples, leaving out markers, and apart from them the native histograms."""
    bits = values.view(np.uint64)
    total = 0
    special = 0
    for i in range(len(low)):
        total += high[i] - low[i]
        for k in range(low[i], high[i]):
            special += (bits[k] >> np.uint64(48)) == np.uint64(0x7FFE)
    new_ts = np.empty(total, np.int64)
    new_values = np.empty(total, np.float64)
    new_low = np.empty(len(low), np.int64)
    new_high = np.empty(len(low), np.int64)
    rows = np.empty(special, np.int64)
    times = np.empty(special, np.int64)
    numbers = np.empty(special, np.int64)
    at = 0
    found = 0
    for i in range(len(low)):
        new_low[i] = at
        for k in range(low[i], high[i]):
            if bits[k] == np.uint64(0x7FF0000000000002):
                continue
            if (bits[k] >> np.uint64(48)) == np.uint64(0x7FFE):
                rows[found] = i
                times[found] = ts[k]
                numbers[found] = np.int64(bits[k] & np.uint64(0xFFFFFFFFFFFF))
                found += 1
                continue
            new_ts[at] = ts[k]
            new_values[at] = values[k]
            at += 1
        new_high[i] = at
    return new_ts, new_values, new_low, new_high, rows, times, numbers
