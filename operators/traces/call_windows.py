"""What calls there were: the last windows one by one, and what was usual before them.

What is usual fades with its age, by windows, so it is the same however rollups came. Numbers are kept by
series, since one that comes again stands for itself, and added up by the places where calls are counted.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.call_causes import NUMBERS, CallTotals, sums_by
from operators.traces.call_places import SERIES_OF_CALLS, NumberedCalls
from operators.traces.calls_seen import CALLS_SEEN, NO_CALLS

__all__ = ["CallWindows", "PlaceSums"]

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


class PlaceSums(NamedTuple):
    """What was seen in a window, at the places where any was.

    Attributes:
        places: in their order.
        numbers: of shape (``NUMBERS``, places).
    """

    places: NDArray[np.int64]
    numbers: NDArray[np.float64]


class _Sums(ABC):
    """Numbers of series, and what they come to by place."""

    def __init__(self) -> None:
        self._totals: PlaceSums | None = None

    @abstractmethod
    def series(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return which series there are, in the order of their numbers, and the numbers of each."""

    def totals(self, calls: NumberedCalls) -> PlaceSums:
        """Return the sums by place."""
        if self._totals is None:
            self._totals = _by_place(calls, *self.series())
        return self._totals


class _Window(_Sums):
    """Numbers of the series that were seen in a window.

    There is no room for others: where names change all the time, it sees few of those that are known.
    """

    def __init__(self) -> None:
        super().__init__()
        self._parts = [(np.empty(0, np.int64), np.empty((NUMBERS, 0)))]

    def put(self, rows: NDArray[np.integer[Any]], numbers: NDArray[np.float64]) -> None:
        """Set the numbers of some series; of one given twice the last count."""
        self._parts.append((rows.astype(np.int64), numbers))
        self._totals = None

    def series(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return which series were seen, in the order of their numbers, and what was seen of them."""
        if len(self._parts) > 1:
            # The last are first, as of even ones the first is taken.
            rows = np.concatenate([part[::-1] for part, _ in reversed(self._parts)])
            numbers = np.concatenate([part[:, ::-1] for _, part in reversed(self._parts)], axis=1)
            rows, first = np.unique(rows, return_index=True)
            self._parts = [(rows, numbers[:, first])]
        return self._parts[0]


class _Usual(_Sums):
    """What was usual: numbers of nearly all series that are known, so there is room for all."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = np.zeros((NUMBERS, 0))
        self._seen = np.zeros(0, np.bool_)

    def fade(self, factor: float) -> None:
        """Count all less."""
        self._numbers *= factor
        self._totals = None

    def add(
        self, rows: NDArray[np.integer[Any]], numbers: NDArray[np.float64], factor: float = 1.0
    ) -> None:
        """Add numbers of some series, each of which is there once, times a factor."""
        more = int(rows.max(initial=-1)) + 1 - len(self._seen)
        if more > 0:
            self._numbers = np.hstack([self._numbers, np.zeros((NUMBERS, more))])
            self._seen = np.concatenate([self._seen, np.zeros(more, np.bool_)])
        self._numbers[:, rows] += numbers * factor
        self._seen[rows] = True
        self._totals = None

    def drop_small(self, least: float) -> None:
        """Forget series whose numbers come to no more than this."""
        small = np.abs(self._numbers).sum(axis=0) <= least
        self._numbers[:, small] = 0.0
        self._seen[small] = False
        self._totals = None

    def series(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return which series are known, in the order of their numbers, and what is usual of them."""
        rows = np.flatnonzero(self._seen)
        return rows, self._numbers[:, rows]


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
            self._usual.add(*self._windows.pop(start).series(), self._fades(start, oldest))
        self._usual.drop_small(_LEAST)
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

    def single(self, until: int) -> list[tuple[int, PlaceSums]]:
        """Return when the last windows that begin before an event time did, and what was seen in each.

        Sums are the same object as long as nothing more is heard of a window.
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
            seen[sums.totals(self.calls).places] = True
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
            places, more = sums.totals(self.calls)
            numbers[:, places] += more * factor
            seen[places] = True
        return CallTotals(numbers, seen)

    def _take(self, seen: pl.DataFrame) -> None:
        rows = self.calls.number(seen)
        starts, numbers = seen["window_start"].to_numpy(), _numbers(seen)
        for start in np.unique(starts).tolist():
            mine = np.flatnonzero(starts == start)
            window = self._windows.setdefault(start, _Window())
            window.put(rows[mine], numbers[:, mine])

    def _put_in(self, recent: pl.DataFrame, usual: pl.DataFrame | None) -> None:
        """Begin anew with what ``_frames`` gave."""
        self.calls = NumberedCalls()
        self._windows: dict[int, _Window] = {}
        self._usual = _Usual()
        if usual is not None and usual.height:
            self._usual.add(self.calls.number(usual), _numbers(usual))
        if recent.height:
            self._take(recent)

    def _frames(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the windows as a CALLS_SEEN frame, and what is usual."""
        starts = sorted(self._windows)
        windows = [self._windows[start] for start in starts]
        lengths = [len(window.series()[0]) for window in windows]
        recent = self._texts(windows).with_columns(
            window_start=pl.Series(np.repeat(np.array(starts, np.int64), lengths))
        )
        return recent.select(CALLS_SEEN.names()), self._texts([self._usual])

    def _texts(self, parts: Sequence[_Sums]) -> pl.DataFrame:
        """Return a row of each series that was seen, for one part after the other."""
        if not len(self.calls):
            names = (*SERIES_OF_CALLS, *_NUMBERS)
            return pl.DataFrame(schema={name: CALLS_SEEN[name] for name in names})
        series = [
            (np.empty(0, np.int64), np.empty((NUMBERS, 0))),
            *(part.series() for part in parts),
        ]
        texts = self.calls.texts()[np.concatenate([rows for rows, _ in series])]
        numbers = np.concatenate([each for _, each in series], axis=1)
        return texts.with_columns(
            pl.Series(name, row) for name, row in zip(_NUMBERS, numbers, strict=True)
        )

    def _forget(self) -> None:
        """Number series anew if most of them come no more."""
        if len(self.calls) < _FEW:
            return
        used = np.zeros(len(self.calls), np.bool_)
        every: list[_Sums] = [self._usual, *self._windows.values()]
        for sums in every:
            used[sums.series()[0]] = True
        if 2 * used.sum() < len(used):
            self._put_in(*self._frames())


def _numbers(frame: pl.DataFrame) -> NDArray[np.float64]:
    return np.stack([frame[name].to_numpy() for name in _NUMBERS])


def _by_place(
    calls: NumberedCalls, rows: NDArray[np.int64], numbers: NDArray[np.float64]
) -> PlaceSums:
    """Add up numbers of series by the places where they are counted."""
    of = calls.place_of[rows]
    seen = np.zeros(len(calls.names), np.bool_)
    seen[of] = True
    places = np.flatnonzero(seen)
    return PlaceSums(places, sums_by((np.cumsum(seen) - 1)[of], numbers, len(places)))
