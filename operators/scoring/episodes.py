"""Hysteresis: one incident is one alert that fires once and resolves once."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Self

import numpy as np
from numba import njit
from numba.extending import register_jitable
from numpy.typing import NDArray

from operators.contracts.alert import Status

__all__ = ["Episode", "EpisodeChange", "Episodes"]

_RECENT: Final = 12
_FOREVER: Final = np.iinfo(np.int64).max
_NEVER: Final = np.iinfo(np.int64).min
_APART: Final = 3
"""Windows further apart than this many times the series' own rhythm are not in a row."""
_TABLE: Final = np.dtype(
    [
        ("recent", np.float64, (_RECENT,)),  # a ring of the last values
        ("lower", np.float64),  # what was expected before the run or alert, NaN if that is unknown
        ("upper", np.float64),
        ("rhythm", np.float64),  # time between two windows, in nanoseconds
        ("since", np.int64),
        ("loud", np.int64),  # start of the latest window whose score was anomalous
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
        ("lower", np.float64),
        ("upper", np.float64),
        ("heard", np.uint8),
        ("what", np.uint8),
    ],
    align=True,
)
_FIRES, _BACK, _ACCEPTED = 1, 2, 3
_WHY: Final = {_FIRES: "fires", _BACK: "back", _ACCEPTED: "accepted"}
_FEW: Final = 64
"""Changes that are reported at once."""


class Episode(NamedTuple):
    """What is known of the incident of one row.

    Attributes:
        since: start of the first anomalous window of the current run or alert.
        until: start of the first normal window of the current run.
        seen: start of the latest window.
        lower, upper: what was expected before it began; NaN where nobody knows.
        recent: the last values before the one that changed something, the newest last; evidence
            for people.
    """

    since: int
    until: int
    seen: int
    lower: float
    upper: float
    recent: tuple[float, ...]


class EpisodeChange(NamedTuple):
    """An alert that fires or resolves: at which of the values, why, and what is known then.

    ``why`` is "fires"; or "back", where the value was expected before it fired; or "accepted", as
    the new level.
    """

    at: int
    why: str
    incident: Episode

    @property
    def status(self) -> Status:
        """What it does to the alert."""
        return "firing" if self.why == "fires" else "resolved"


class Episodes:
    """Whether series are anomalous, seen over several rollups of each: 176 bytes a series.

    An incident fires after ``fire_after`` anomalous rollups in a row. It goes on while the value is
    outside of what was expected *before* it, whatever the detector has learned since, and resolves
    after ``resolve_after`` rollups in a row that are back there; or as accepted, when it stayed
    where it is for ``accept_after`` without a new anomaly. What lies between changes nothing, so
    flapping makes no noise. The incidents are numbered by *rows*, as the detectors of a bank are.

    Args:
        warm_up, fire_after, resolve_after: numbers of rollups.
        window: their length, in nanoseconds.
        accept_after: in nanoseconds.
        settles: how long after a deploy an incident counts as of it, and how long it has to stay
            until it is accepted then; in nanoseconds.
    """

    def __init__(
        self,
        warm_up: int,
        fire_after: int,
        resolve_after: int,
        window: int = 1,
        accept_after: int = _FOREVER,
        settles: int = 0,
    ) -> None:
        self._limits = (warm_up, fire_after, resolve_after, window, accept_after, settles)
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
        judgements: NDArray[np.float64],
        acceptable: NDArray[np.bool_] | None = None,
        deployed: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.bool_], list[EpisodeChange]]:
        """Take in judged values; say which of the scores count, and what changed.

        Those of detectors that learned fewer than ``warm_up`` values before do not.

        Args:
            rows: row of each value; one may come several times, in the order of time.
            starts: of the windows.
            values: what is judged.
            judgements: the fields of ``Judgement``, a row each.
            acceptable: whether each value may become the new level; all if left out.
            deployed: when the service of each was deployed last; never if left out.
        """
        if acceptable is None:
            acceptable = np.ones(len(rows), np.bool_)
        if deployed is None:
            deployed = np.full(len(rows), _FOREVER)
        scores, _, lowers, uppers = judgements[:4]
        counts = np.empty(len(rows), np.bool_)
        changes: list[EpisodeChange] = []
        found = np.empty(_FEW, _CHANGES)
        at = 0
        while at < len(rows):
            at, made = _follow_compiled(
                self._table, rows, starts, values, scores, lowers, uppers, acceptable,
                deployed, *self._limits, at, counts, found,
            )  # fmt: skip
            changes += [
                EpisodeChange(int(row["at"]), _WHY[int(row["what"])], _incident(row))
                for row in found[:made]
            ]
        return counts, changes

    def silent(self, before: int) -> NDArray[np.intp]:
        """Return the rows of alerts that fire, and whose latest window began ``before`` or then."""
        return np.flatnonzero(self._table["firing"] & (self._table["seen"] <= before))

    def firing(self, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return which of these rows have an alert that fires."""
        found: NDArray[np.bool_] = self._table["firing"][rows]
        return found

    def of(self, row: int) -> Episode:
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

    @property
    def window(self) -> int:
        """Length of the windows, in nanoseconds."""
        return self._limits[3]

    def unseen(self, rows: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return of which rows nothing was seen or learned."""
        seen, learned = self._table["seen"][rows], self._table["learned"][rows]
        found: NDArray[np.bool_] = (seen == _NEVER) & (learned == 0)
        return found

    def warm(self, rows: NDArray[np.int32]) -> None:
        """Let the scores of these rows count from now on."""
        self._table["learned"][rows] = self._limits[0]

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


def _incident(row: Any) -> Episode:
    ring, heard = row["recent"].tolist(), int(row["heard"])
    oldest = max(heard - _RECENT, 0)
    recent = (ring[oldest:] + ring[:oldest])[:heard]
    return Episode(
        int(row["since"]), int(row["until"]), int(row["seen"]), float(row["lower"]),
        float(row["upper"]), tuple(recent),
    )  # fmt: skip


def _keep_time(kept: Any, start: int, window: int) -> None:
    """Learn the rhythm of a series; what is too long ago is not in a row with what comes now."""
    if kept.seen == _NEVER or start <= kept.seen:
        return
    gap = float(start - kept.seen)
    known = kept.rhythm > 0.0 and not kept.firing
    if known and gap > _APART * max(kept.rhythm, float(window)):
        kept.anomalous = 0
        kept.normal = 0
    usual = kept.rhythm if kept.rhythm > 0.0 else gap
    kept.rhythm = usual + 0.125 * (min(gap, 4.0 * usual) - usual)


def _anomalous(
    kept: Any, start: int, value: float, score: float, lower: float, upper: float,
    fire_after: int, accept_after: int,
) -> int:  # fmt: skip
    """Take in an anomalous value, or one that is not back yet; return what that changes."""
    kept.normal = 0
    kept.anomalous += 1
    if score >= 1.0:
        kept.loud = start
    if kept.firing:
        if start - kept.loud < accept_after:
            return 0
        kept.until = start
        kept.anomalous = 0
        return _ACCEPTED
    if kept.anomalous == 1:
        kept.since = start
        kept.lower = np.nan
        kept.upper = np.nan
        if value < lower or value > upper:
            kept.lower = lower
            kept.upper = upper
    return _FIRES if kept.anomalous >= fire_after else 0


def _normal(kept: Any, start: int, resolve_after: int) -> int:
    """Take in a value that is back, while there is something to resolve; return what it changes."""
    kept.anomalous = 0
    kept.normal += 1
    if kept.normal == 1:
        kept.until = start
    return _BACK if kept.firing and kept.normal >= resolve_after else 0


def _note(change: Any, kept: Any, at: int, what: int) -> None:
    change.at = at
    change.what = what
    change.since = kept.since
    change.until = kept.until
    change.seen = kept.seen
    change.lower = kept.lower
    change.upper = kept.upper
    change.heard = kept.heard
    change.recent[:] = kept.recent


for _part in (_keep_time, _anomalous, _normal, _note):
    register_jitable(_part)


def _follow(
    table: NDArray[Any],
    rows: NDArray[np.int32],
    starts: NDArray[np.int64],
    values: NDArray[np.float64],
    scores: NDArray[np.float64],
    lowers: NDArray[np.float64],
    uppers: NDArray[np.float64],
    acceptable: NDArray[np.bool_],
    deployed: NDArray[np.int64],
    warm_up: int,
    fire_after: int,
    resolve_after: int,
    window: int,
    accept_after: int,
    settles: int,
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
        start, value, score = starts[at], values[at], scores[at]
        what = 0
        _keep_time(kept, start, window)
        counts[at] = kept.learned >= warm_up and not np.isnan(score)
        if counts[at]:
            going_on = kept.firing or kept.anomalous > 0
            if score >= 1.0 or (going_on and (value < kept.lower or value > kept.upper)):
                patience = accept_after if acceptable[at] else _FOREVER
                # Not a difference that could overflow: who was never deployed has the largest.
                if acceptable[at] and kept.since >= deployed[at] >= kept.since - settles:
                    patience = min(patience, settles)
                what = _anomalous(
                    kept, start, value, score, lowers[at], uppers[at], fire_after, patience
                )
            elif going_on:
                what = _normal(kept, start, resolve_after)
        if what:
            kept.firing = what == _FIRES
            _note(changes[made], kept, at, what)
            made += 1
        kept.recent[kept.heard % _RECENT] = value
        kept.heard = kept.heard + 1 if kept.heard < 2 * _RECENT - 1 else _RECENT
        kept.learned += 1
        kept.seen = max(kept.seen, start)
        if made == len(changes):
            return at + 1, made
    return len(rows), made


_follow_compiled = njit(cache=True, nogil=True)(_follow)
