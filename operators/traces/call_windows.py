"""What calls there were: the last windows one by one, and what was usual before them.

What is usual fades with its age, by windows, so it is the same however rollups came. Numbers are kept by
series, since one that comes again stands for itself, and added up by the places where calls are counted.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.call_causes import NUMBERS, CallTotals
from operators.traces.call_places import SERIES_OF_CALLS, NumberedCalls
from operators.traces.calls_seen import CALLS_SEEN, NO_CALLS

__all__ = ["CallWindows"]

_NUMBERS: Final = ("count", "total", "failed", "way")
"""The columns that are ``COUNT``, ``TIME``, ``FAILURES`` and ``WAY``."""
_RECENT: Final = 24
"""Windows that are kept one by one; what is older is folded into what is usual."""
_FADES: Final = 0.97
"""What is usual counts less by this factor with each window before the incident, folded or not."""
_LEAST: Final = 1e-6
"""What is usual and comes to no more than this is forgotten."""
_FEW: Final = 1000
"""So many series are not worth a look at how many of them are still of use."""


class _Sums:
    """Numbers of series, and what they come to by place."""

    def __init__(self) -> None:
        self.numbers = np.zeros((NUMBERS, 0))
        self.seen = np.zeros(0, np.bool_)
        self._totals: CallTotals | None = None

    def put(self, rows: NDArray[np.integer[Any]], numbers: NDArray[np.float64], size: int) -> None:
        """Set the numbers of some series, of ``size`` that there are; of one given twice the last count."""
        self._reserve(size)
        self.numbers[:, rows] = numbers
        self.seen[rows] = True
        self._totals = None

    def fade(self, factor: float) -> None:
        """Count all less."""
        self.numbers *= factor
        self._totals = None

    def add(self, other: _Sums, factor: float) -> None:
        """Add what another has, times a factor."""
        size = len(other.seen)
        self._reserve(size)
        self.numbers[:, :size] += other.numbers * factor
        self.seen[:size] |= other.seen
        self._totals = None

    def drop(self, rows: NDArray[np.bool_]) -> None:
        """Forget some series."""
        self.numbers[:, rows] = 0.0
        self.seen[rows] = False
        self._totals = None

    def totals(self, calls: NumberedCalls) -> CallTotals:
        """Return the sums by place; those that came later may be missing at the end."""
        if self._totals is None:
            rows = np.flatnonzero(self.seen)
            places = calls.place_of[rows]
            size = len(calls.names)
            seen = np.zeros(size, np.bool_)
            seen[places] = True
            numbers = [np.bincount(places, row, size) for row in self.numbers[:, rows]]
            self._totals = CallTotals(np.stack(numbers), seen)
        return self._totals

    def _reserve(self, size: int) -> None:
        more = size - len(self.seen)
        if more > 0:
            self.numbers = np.concatenate([self.numbers, np.zeros((NUMBERS, more))], axis=1)
            self.seen = np.concatenate([self.seen, np.zeros(more, np.bool_)])


class CallWindows:
    """Remembers what calls there were.

    Args:
        window: length of the windows, in nanoseconds.
        state: what ``snapshot`` gave.

    Attributes:
        calls: numbers of services and places. Another object once they are numbered anew.
    """

    def __init__(self, window: int, state: dict[str, Any] | None = None) -> None:
        self._window = window
        self._folded = 0  # windows that begin before this are folded
        self._put_in(NO_CALLS, None)
        if state is not None:
            recent, usual = (pl.read_ipc(io.BytesIO(state[name])) for name in ("recent", "usual"))
            self._folded = state.get("folded", 0)
            self._put_in(recent, usual)

    def snapshot(self) -> dict[str, Any]:
        """Return plain data: a few windows as they were, and what was usual before them."""
        found: dict[str, Any] = {"folded": self._folded}
        for name, frame in zip(("recent", "usual"), self._frames(), strict=True):
            buffer = io.BytesIO()
            frame.write_ipc(buffer, compression="zstd")
            found[name] = buffer.getvalue()
        return found

    @property
    def reached(self) -> int:
        """Return the end of the newest window of which calls are known, 0 without any."""
        return max(self._windows) + self._window if self._windows else 0

    def observe(self, seen: pl.DataFrame) -> None:
        """Take in a CALLS_SEEN frame; of a series and window that comes again the last counts."""
        self._take(seen)
        starts = sorted(self._windows)
        if len(starts) <= _RECENT:
            return
        oldest = starts[-_RECENT]
        self._usual.fade(self._faded(oldest))
        for start in starts[:-_RECENT]:
            self._usual.add(self._windows.pop(start), self._fades(start, oldest))
        self._usual.drop(np.abs(self._usual.numbers).sum(axis=0) <= _LEAST)
        self._folded = oldest
        self._forget()

    def before(self, since: int, until: int) -> CallTotals:
        """Return what was usual at an event time: the window before it counts whole.

        Args:
            since: the event time.
            until: later windows count neither.
        """
        windows = [
            (self._fades(start, since), sums)
            for start, sums in self._windows.items()
            if start < min(since, until)
        ]
        return self._added([(self._faded(since), self._usual), *windows])

    def between(self, since: int, until: int) -> CallTotals:
        """Return what was seen in the windows that begin in a span of event time."""
        return self._added(
            (1.0, sums) for start, sums in self._windows.items() if since <= start < until
        )

    def single(self, until: int) -> list[tuple[int, CallTotals]]:
        """Return when the last windows that begin before an event time did, and what was seen in each.

        Totals are the same object as long as nothing more is heard of a window. Places that came later may be
        missing at their end.
        """
        return [
            (start, self._windows[start].totals(self.calls))
            for start in sorted(self._windows)
            if start < until
        ]

    def tenants(self) -> set[str]:
        """Return whose calls were seen in the last windows."""
        places = self.calls.places
        seen = np.zeros(len(places.kind), np.bool_)
        for sums in self._windows.values():
            totals = sums.totals(self.calls)
            seen[: len(totals.seen)] |= totals.seen
        services = np.unique(places.service[seen & (places.kind > 0)])
        return {self.calls.services[service][0] for service in services.tolist()}

    def _fades(self, start: int, since: int) -> float:
        """Return by which factor a window counts less at an event time."""
        return float(_FADES ** ((since - start) // self._window - 1))

    def _faded(self, since: int) -> float:
        """Return by which factor what is folded counts less than when it was."""
        return float(_FADES ** max((since - self._folded) // self._window, 0))

    def _added(self, parts: Iterable[tuple[float, _Sums]]) -> CallTotals:
        size = len(self.calls.names)
        numbers, seen = np.zeros((NUMBERS, size)), np.zeros(size, np.bool_)
        for factor, sums in parts:
            totals = sums.totals(self.calls)
            known = len(totals.seen)
            numbers[:, :known] += totals.numbers * factor
            seen[:known] |= totals.seen
        return CallTotals(numbers, seen)

    def _take(self, seen: pl.DataFrame) -> None:
        rows = self.calls.number(seen)
        starts, numbers = seen["window_start"].to_numpy(), _numbers(seen)
        for start in np.unique(starts).tolist():
            mine = np.flatnonzero(starts == start)
            window = self._windows.setdefault(start, _Sums())
            window.put(rows[mine], numbers[:, mine], len(self.calls))

    def _put_in(self, recent: pl.DataFrame, usual: pl.DataFrame | None) -> None:
        """Begin anew with what ``_frames`` gave."""
        self.calls = NumberedCalls()
        self._windows: dict[int, _Sums] = {}
        self._usual = _Sums()
        if usual is not None and usual.height:
            self._usual.put(self.calls.number(usual), _numbers(usual), len(self.calls))
        if recent.height:
            self._take(recent)

    def _frames(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the windows as a CALLS_SEEN frame, and what is usual."""
        starts = sorted(self._windows)
        windows = [self._windows[start] for start in starts]
        lengths = [int(window.seen.sum()) for window in windows]
        recent = self._texts(windows).with_columns(
            window_start=pl.Series(np.repeat(np.array(starts, np.int64), lengths))
        )
        return recent.select(CALLS_SEEN.names()), self._texts([self._usual])

    def _texts(self, parts: list[_Sums]) -> pl.DataFrame:
        """Return a row of each series that was seen, for one part after the other."""
        if not len(self.calls):
            names = (*SERIES_OF_CALLS, *_NUMBERS)
            return pl.DataFrame(schema={name: CALLS_SEEN[name] for name in names})
        rows = [np.flatnonzero(part.seen) for part in parts]
        numbers = np.concatenate(
            [
                np.empty((NUMBERS, 0)),
                *(p.numbers[:, row] for p, row in zip(parts, rows, strict=True)),
            ],
            axis=1,
        )
        texts = self.calls.texts()[np.concatenate([np.empty(0, np.int64), *rows])]
        return texts.with_columns(
            pl.Series(name, row) for name, row in zip(_NUMBERS, numbers, strict=True)
        )

    def _forget(self) -> None:
        """Number series anew if most of them come no more."""
        if len(self.calls) < _FEW:
            return
        used = np.zeros(len(self.calls), np.bool_)
        for sums in (self._usual, *self._windows.values()):
            used[: len(sums.seen)] |= sums.seen
        if 2 * used.sum() < len(used):
            self._put_in(*self._frames())


def _numbers(frame: pl.DataFrame) -> NDArray[np.float64]:
    return np.stack([frame[name].to_numpy() for name in _NUMBERS])
