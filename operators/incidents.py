"""Hysteresis: one incident is one alert that fires once and resolves once."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from operators.alerts import Status

__all__ = ["Change", "Incident", "Incidents"]

_RECENT: Final = 12
_NEVER: Final = np.iinfo(np.int64).min
_TABLE: Final = np.dtype(
    [
        ("recent", np.float64, (_RECENT,)),  # a ring of the last values
        ("since", np.int64),
        ("until", np.int64),
        ("seen", np.int64),  # start of the latest window
        ("learned", np.int32),  # values that the detector learned
        ("anomalous", np.int32),  # in a row
        ("normal", np.int32),  # in a row, while there is something to resolve
        ("heard", np.uint8),  # values that went into the ring: exact below 12, then modulo 12
        ("firing", np.bool_),
    ],
    align=True,
)
_FRESH: Final = np.zeros((), _TABLE)
_FRESH["seen"] = _NEVER
_CHANGES: Final = np.dtype(
    [
        ("recent", np.float64, (_RECENT,)),
        ("at", np.int64),
        ("since", np.int64),
        ("until", np.int64),
        ("seen", np.int64),
        ("heard", np.uint8),
        ("fires", np.bool_),
    ],
    align=True,
)
_FEW: Final = 64
"""Changes that are reported at once."""


class Incident(NamedTuple):
    """What is known of the incident of one row.

    Attributes:
        since: start of the first anomalous window of the current run or alert.
        until: start of the first normal window of the current run.
        seen: start of the latest window.
        recent: the last values before the one that changed something, the newest last; evidence
            for people.
    """

    since: int
    until: int
    seen: int
    recent: tuple[float, ...]


class Change(NamedTuple):
    """An alert that fires or resolves: at which of the values, and what is known then."""

    at: int
    status: Status
    incident: Incident


class Incidents:
    """Whether series are anomalous, seen over several rollups of each: 136 bytes a series.

    An incident fires after ``fire_after`` anomalous rollups in a row and resolves after
    ``resolve_after`` normal ones in a row; what lies between changes nothing, so flapping makes
    no noise. The incidents are numbered by *rows*, as the detectors of a bank are.
    """

    def __init__(self, warm_up: int, fire_after: int, resolve_after: int) -> None:
        self._limits = (warm_up, fire_after, resolve_after)
        self._table = np.empty(0, _TABLE)

    def __len__(self) -> int:
        return len(self._table)

    def grow(self, count: int) -> None:
        """Add so many rows of which nothing was seen."""
        larger = np.full(len(self._table) + count, _FRESH)
        larger[: len(self._table)] = self._table
        self._table = larger

    def follow(
        self,
        rows: NDArray[np.int32],
        starts: NDArray[np.int64],
        values: NDArray[np.float64],
        scores: NDArray[np.float64],
    ) -> tuple[NDArray[np.bool_], list[Change]]:
        """Take in scored values; say which of the scores count, and what changed.

        Those of detectors that learned fewer than ``warm_up`` values before do not.

        Args:
            rows: row of each value; one may come several times, in the order of time.
            starts: of the windows.
            values, scores: 1 or more is anomalous, all else normal.
        """
        counts = np.empty(len(rows), np.bool_)
        changes: list[Change] = []
        found = np.empty(_FEW, _CHANGES)
        at = 0
        while at < len(rows):
            at, made = _follow_compiled(
                self._table, rows, starts, values, scores, *self._limits, at, counts, found
            )
            changes += [
                Change(int(row["at"]), "firing" if row["fires"] else "resolved", _incident(row))
                for row in found[:made]
            ]
        return counts, changes

    def silent(self, before: int) -> NDArray[np.intp]:
        """Return the rows of alerts that fire, and whose latest window began ``before`` or then."""
        return np.flatnonzero(self._table["firing"] & (self._table["seen"] <= before))

    def of(self, row: int) -> Incident:
        """Return what is known of a row."""
        return _incident(self._table[row])

    def end(self, rows: NDArray[np.intp]) -> None:
        """Resolve because nothing more is heard: what comes later is another incident."""
        for name in ("firing", "anomalous", "normal"):
            self._table[name][rows] = 0

    def quiet(self, before: int) -> NDArray[np.intp]:
        """Return the rows in use whose latest window began ``before`` or then."""
        seen = self._table["seen"]
        return np.flatnonzero((seen <= before) & (seen != _NEVER))

    def forget(self, rows: NDArray[np.intp]) -> None:
        """Have these rows begin anew; they are in use no more."""
        self._table[rows] = _FRESH

    def relearn(self) -> None:
        """Warm up all rows anew, for another detector."""
        self._table["learned"] = 0

    def used(self) -> NDArray[np.intp]:
        """Return the rows of which something was seen."""
        return np.flatnonzero(self._table["seen"] != _NEVER)

    def keep(self, rows: NDArray[np.intp]) -> None:
        """Remove all rows but these, which are numbered anew in their order."""
        self._table = self._table[rows]

    @property
    def state(self) -> dict[str, NDArray[Any]]:
        """The columns, a row each."""
        return {name: self._table[name].copy() for name in _TABLE.names or ()}

    def resume(self, state: dict[str, NDArray[Any]]) -> Self:
        """Take up what ``state`` gave, and return the incidents themselves."""
        self._table = np.empty(len(state["seen"]), _TABLE)
        for name, column in state.items():
            self._table[name] = column
        return self


def _incident(row: Any) -> Incident:
    ring, heard = row["recent"].tolist(), int(row["heard"])
    oldest = max(heard - _RECENT, 0)
    recent = (ring[oldest:] + ring[:oldest])[:heard]
    return Incident(int(row["since"]), int(row["until"]), int(row["seen"]), tuple(recent))


def _follow(
    table: NDArray[Any],
    rows: NDArray[np.int32],
    starts: NDArray[np.int64],
    values: NDArray[np.float64],
    scores: NDArray[np.float64],
    warm_up: int,
    fire_after: int,
    resolve_after: int,
    begin: int,
    counts: NDArray[np.bool_],
    changes: NDArray[Any],
) -> tuple[int, int]:
    """Go on at ``begin``, to the end or until ``changes`` is full; return where, and how many.

    The arrays are not made longer in here: what could be replaced is counted at every turn, which
    takes ten times as long as all the rest.
    """
    made = 0
    for at in range(begin, len(rows)):
        kept = table[rows[at]]
        start = starts[at]
        fires = resolves = False
        counts[at] = kept.learned >= warm_up
        if counts[at]:
            if scores[at] >= 1.0:
                kept.normal = 0
                kept.anomalous += 1
                if not kept.firing:
                    if kept.anomalous == 1:
                        kept.since = start
                    fires = kept.anomalous >= fire_after
            elif kept.firing or kept.anomalous > 0:
                kept.anomalous = 0
                kept.normal += 1
                if kept.normal == 1:
                    kept.until = start
                resolves = kept.firing and kept.normal >= resolve_after
        if fires or resolves:
            kept.firing = fires
            change = changes[made]
            change.at = at
            change.fires = fires
            change.since = kept.since
            change.until = kept.until
            change.seen = kept.seen
            change.heard = kept.heard
            change.recent[:] = kept.recent
            made += 1
        kept.recent[kept.heard % _RECENT] = values[at]
        kept.heard = kept.heard + 1 if kept.heard < 2 * _RECENT - 1 else _RECENT
        kept.learned += 1
        kept.seen = max(kept.seen, start)
        if made == len(changes):
            return at + 1, made
    return len(rows), made


_follow_compiled = njit(cache=True, nogil=True)(_follow)
