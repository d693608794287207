"""Scoring of stored rollups: the same detectors, incidents and events, many windows at once.

A flow looks at one window of all series after the other. Detectors know of their own series only,
so stored rollups may come a series after the other, which saves a frame for each window. What does
tie series together is time: alerts that end and series that are forgotten because nothing came for
so long. It is worked out from the gaps, as if a flow had looked at every window as it closed.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from models.artefact import Trained
from models.base import Judgement
from operators.columns.ordering import order_by_number
from operators.contracts.alert import AlertEvent
from operators.contracts.frames import shard_of
from operators.scoring.anomalies import Subject
from operators.scoring.bounds import Natures, may_be_accepted
from operators.scoring.episodes import EpisodeChange
from operators.scoring.in_force import Model, anomaly_events
from operators.scoring.promoted import Promoted
from operators.scoring.step import (
    FEW_EVENTS,
    JUDGED_BY_RATE,
    nothing_watched,
)
from operators.scoring.wanted import ScoringSettings
from operators.scoring.watched import Expectations

__all__ = ["Judgements", "Replay"]

_NEVER: Final = np.iinfo(np.int64).min
_LONG_AGO: Final = _NEVER // 2
"""So far back that a duration can be added and taken away."""


class Judgements(NamedTuple):
    """What is said of rollups: an element each, by series, and in each in the order of time.

    Attributes:
        rows: of the series, in the order in which they were made known.
        starts: of the windows, in nanoseconds.
        values: what was judged.
        judgements: the fields of ``Judgement``, a row each; NaN where nothing is said.
        events: of alerts, each with the event time of its change.
    """

    rows: NDArray[np.int32]
    starts: NDArray[np.int64]
    values: NDArray[np.float64]
    judgements: NDArray[np.float64]
    events: list[tuple[AlertEvent, int]]


class Replay:
    """Judges what was stored of some series.

    The scores are those of a flow that gets every window as it closes, to the last bit.

    Args:
        settings: as the flow has them.
        window: the resolution that is judged, in nanoseconds.
        shards: of the flow; what is new to a shard that has just begun is not new.
        trained: a model that is in force from the beginning.

    Attributes:
        rows_of_alerts: the rows of the series that alerts fired of, by fingerprint.
    """

    def __init__(
        self, settings: ScoringSettings, window: int, shards: int, trained: Trained | None = None
    ) -> None:
        self._settings = settings
        self._window = window
        self._shards = shards
        model = Model() if trained is None else Model.of(Promoted(0, trained))
        detector = model.detector(settings, window)
        self._watched = nothing_watched(settings, window)
        if trained is not None:
            self._watched.adopt(detector.bank(), trained.states, other=True)
        self._natures = Natures(lambda _: True, JUDGED_BY_RATE)
        self._events = anomaly_events(settings, window, detector, model)
        self._quiet = min(settings.stale_after, settings.evict_after)
        self._latest = _LONG_AGO
        self._subjects: list[Subject] = []
        self.rows_of_alerts: dict[str, int] = {}
        self._ids = np.empty(0, np.uint64)
        self._of_shard = np.empty(0, np.int32)
        self._counted = np.empty(0, np.bool_)
        self._only_above = np.empty(0, np.bool_)
        self._largest = np.empty(0)
        self._least = np.empty(0)
        self._seen = np.empty(0, np.int64)

    def know(self, series: pl.DataFrame) -> None:
        """Make series known, which get the next rows.

        Args:
            series: ``tenant``, ``series``, ``name``, ``labels``, ``unit`` and ``kind``, a row each.
        """
        known = self._natures.of(series)
        ids = series["series"].to_numpy()
        self._ids = np.concatenate([self._ids, ids])
        self._of_shard = np.concatenate([self._of_shard, shard_of(ids, self._shards)])
        self._counted = np.concatenate([self._counted, known.by_rate])
        self._only_above = np.concatenate([self._only_above, known.only_above])
        self._largest = np.concatenate([self._largest, known.largest])
        self._least = np.concatenate([self._least, known.least])
        self._seen = np.concatenate([self._seen, np.full(len(ids), _LONG_AGO)])
        texts = series.select("name", "labels", "tenant", pl.col("unit").fill_null(""), "series")
        self._subjects += [
            Subject(name, labels, tenant, f"{unit}/s" if by_rate else unit, number)
            for (name, labels, tenant, unit, number), by_rate in zip(
                texts.iter_rows(), known.by_rate.tolist(), strict=True
            )
        ]

    def judge(
        self,
        rows: NDArray[np.int32],
        starts: NDArray[np.int64],
        values: NDArray[np.float64],
        ticks: NDArray[np.int64],
        began: NDArray[np.int64],
    ) -> Judgements:
        """Judge a stretch of time, which begins where the one before ended.

        Args:
            rows: row of the series of each rollup.
            starts: of the windows; those of a series differ.
            values: what is judged; finite.
            ticks: starts of the windows of this stretch of all series, those that are not judged
                as well; ascending. Of timers a flow thinks at each.
            began: start of the first window of each shard; of those that have begun.
        """
        rows, starts, values = _by_series(rows, starts, values, len(self._ids))
        stretch = np.empty(len(rows), np.int32)
        stretches = _stretches(
            rows, starts, self._seen, ticks, self._latest, self._quiet, stretch
        )  # fmt: skip
        judgements = np.empty((len(Judgement._fields), len(rows)))
        events: list[tuple[AlertEvent, int]] = []
        if stretches == 1:
            judgements = self._judge(rows, starts, values, began, events)
        else:
            for number in range(stretches):
                at = np.flatnonzero(stretch == number)
                self._let_pass(rows[at], starts[at], ticks, events)
                judgements[:, at] = self._judge(rows[at], starts[at], values[at], began, events)
        if len(ticks):
            self._sweep(ticks, events)
        return Judgements(rows, starts, values, judgements, events)

    def _judge(
        self,
        rows: NDArray[np.int32],
        starts: NDArray[np.int64],
        values: NDArray[np.float64],
        began: NDArray[np.int64],
        events: list[tuple[AlertEvent, int]],
    ) -> NDArray[np.float64]:
        if not len(rows):
            return np.empty((len(Judgement._fields), 0))
        largest = self._largest[rows]
        young = self._settings.warm_up * self._window
        judged, changes = self._watched.judge(
            self._ids[rows],
            starts,
            values,
            Expectations(
                only_above=self._only_above[rows],
                acceptable=may_be_accepted(values, largest),
                counted=self._counted[rows],
                least=FEW_EVENTS / (self._window / 1e9),
                grown_up=starts - began[self._of_shard[rows]] >= young,
                lowest=self._least[rows],
                highest=largest,
            ),
        )
        events += [
            self._changed(rows, starts, values, judged[:, change.at], change) for change in changes
        ]
        self._seen_until(rows, starts)
        return judged

    def _changed(
        self,
        rows: NDArray[np.int32],
        starts: NDArray[np.int64],
        values: NDArray[np.float64],
        judgement: NDArray[np.float64],
        change: EpisodeChange,
    ) -> tuple[AlertEvent, int]:
        row = int(rows[change.at])
        subject = self._subjects[row]
        event = self._events.changed(
            subject, change.why, change.incident, Judgement(*judgement.tolist()),
            float(values[change.at]),
        )  # fmt: skip
        self.rows_of_alerts[event["fingerprint"]] = row
        return event, int(starts[change.at]) + self._window

    def _seen_until(self, rows: NDArray[np.int32], starts: NDArray[np.int64]) -> None:
        last = np.flatnonzero(np.append(rows[1:] != rows[:-1], np.True_))
        self._seen[rows[last]] = starts[last]

    def _let_pass(
        self,
        rows: NDArray[np.int32],
        starts: NDArray[np.int64],
        ticks: NDArray[np.int64],
        events: list[tuple[AlertEvent, int]],
    ) -> None:
        """Do what a flow had done before the first rollup of each series, since nothing came."""
        if not len(rows):
            return
        heads = np.flatnonzero(np.append(np.True_, rows[1:] != rows[:-1]))
        heads = heads[self._seen[rows[heads]] > _LONG_AGO]
        passed = _before(ticks, starts[heads], self._latest)
        silent = passed - self._quiet >= self._seen[rows[heads]]
        self._end(rows[heads[silent]], ticks, events)
        gone = passed - self._settings.evict_after >= self._seen[rows[heads]]
        self._watched.forget(self._ids[rows[heads[gone]]])

    def _end(
        self, rows: NDArray[np.int32], ticks: NDArray[np.int64],
        events: list[tuple[AlertEvent, int]],
    ) -> None:  # fmt: skip
        """End the alerts that these series have, at the first tick that is late enough."""
        row_of = dict(zip(self._ids[rows].tolist(), rows.tolist(), strict=True))
        for series, incident in self._watched.end(self._ids[rows]).items():
            at = ticks[np.searchsorted(ticks, incident.seen + self._quiet)]
            subject = self._subjects[row_of[series]]
            ended = self._events.fell_silent(subject, incident)
            events.append((ended, int(at) + self._window))

    def _sweep(self, ticks: NDArray[np.int64], events: list[tuple[AlertEvent, int]]) -> None:
        """Do what a flow had done by the last tick."""
        self._latest = int(ticks[-1])
        known = self._seen > _LONG_AGO
        silent = known & (self._latest - self._quiet >= self._seen)
        self._end(np.flatnonzero(silent).astype(np.int32), ticks, events)
        gone = np.flatnonzero(known & (self._latest - self._settings.evict_after >= self._seen))
        self._watched.forget_quiet(self._latest - self._settings.evict_after)
        self._seen[gone] = _LONG_AGO

    @property
    def state(self) -> pl.DataFrame:
        """What is known of the series that are watched, a row each, as ``Watched`` has it."""
        return self._watched.state


def _by_series(
    rows: NDArray[np.int32], starts: NDArray[np.int64], values: NDArray[np.float64], count: int
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]:
    """Return rollups by series, and those of each in the order of time."""
    if _is_ordered(rows, starts):
        return rows, starts, values
    order = order_by_number(rows, count)[0]
    if not _is_ordered(rows[order], starts[order]):
        order = np.lexsort((starts, rows))
    return rows[order], starts[order], values[order]


def _before(ticks: NDArray[np.int64], starts: NDArray[np.int64], latest: int) -> NDArray[np.int64]:
    """Return the last tick before each start."""
    return np.append(latest, ticks)[np.searchsorted(ticks, starts)]


@njit(cache=True, nogil=True)
def _is_ordered(rows: NDArray[np.int32], starts: NDArray[np.int64]) -> bool:
    for at in range(1, len(rows)):
        if rows[at] < rows[at - 1] or (rows[at] == rows[at - 1] and starts[at] <= starts[at - 1]):
            return False
    return True


@njit(cache=True, nogil=True)
def _stretches(
    rows: NDArray[np.int32],
    starts: NDArray[np.int64],
    seen: NDArray[np.int64],
    ticks: NDArray[np.int64],
    latest: int,
    quiet: int,
    stretch: NDArray[np.int32],
) -> int:
    """Number the stretches of each series: a new one begins where a timer ran out before.

    Returns:
        How many there are at most.
    """
    most = 0
    number = 0
    for at in range(len(rows)):
        head = at == 0 or rows[at] != rows[at - 1]
        before = seen[rows[at]] if head else starts[at - 1]
        if head:
            number = 0
        if before > _LONG_AGO and starts[at] - before > quiet:
            tick = np.searchsorted(ticks, starts[at])
            passed = ticks[tick - 1] if tick else latest
            if passed - quiet >= before:
                number += 1
        stretch[at] = number
        most = max(most, number)
    return most + 1
