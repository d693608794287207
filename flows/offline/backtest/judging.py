"""The flow's scoring over a history, on all cores."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flows.offline.backtest.pasts import Life, Pasts
from flows.offline.history.base import FACTS, History
from flows.offline.history.catalog import Catalog, Stretch, judged_stretches
from models.artefact import Trained
from models.base import ScalarBank
from operators.contracts.alert import AlertEvent
from operators.contracts.frames import empty
from operators.scoring.replay import Judgements, Replay
from operators.scoring.step import detector_of
from operators.scoring.together import all_together
from operators.scoring.wanted import ScoringSettings

__all__ = ["Found", "Wanted", "judge", "scores_of"]

_STATES: Final = pl.Schema({"series": pl.UInt64, "detector": pl.Null})
Progress = Callable[[int], None]
"""Is told up to which event time everything is judged, in nanoseconds."""


class Found(NamedTuple):
    """What was found in a history.

    Attributes:
        series: those that are judged: a FACTS frame with ``rollups``, ``scored`` and ``anomalous``,
            which count, and ``first`` and ``last``, the starts of their first and last window.
        events: of alerts, each with the event time of its change, in the order of that time.
        began, ended: start of the first and end of the last window of all series, those that are
            not judged as well; 0 without any.
        pasts: what the series did around alerts, as ``Pasts`` has it; empty if nobody asked.
        states: ``series`` and ``detector``: what was learned in the end; empty if nobody asked.
        alone: the events of all series by themselves: members of a cause, too.
    """

    series: pl.DataFrame
    events: list[tuple[AlertEvent, int]]
    began: int
    ended: int
    pasts: dict[Life, pl.DataFrame]
    states: pl.DataFrame
    alone: list[tuple[AlertEvent, int]]


class Wanted(NamedTuple):
    """What is kept of a run besides, and what it begins with.

    Attributes:
        pasts: what series did around alerts.
        states: what was learned.
        trained: the model that is in force from the beginning.
    """

    pasts: bool = False
    states: bool = False
    trained: Trained | None = None


def judge(
    history: History,
    settings: ScoringSettings,
    *,
    shards: int,
    cores: int,
    wanted: Wanted = Wanted(),  # noqa: B008
    progress: Progress = lambda _: None,
) -> Found:
    """Return what a flow with these settings would have found.

    Scores and events are those of a flow that gets every window as it closes, whatever ``cores``
    is. A compiled detector runs in threads; any other, which holds Python's lock, in processes, in
    which case only the first of them reports progress.

    Args:
        history: what is judged.
        settings: of scoring.
        shards: ``rollups.shards`` of the flow.
        cores: how many to use.
        wanted: what is kept besides.
        progress: is told how far it is.

    Raises:
        BadHistory: it can't be read.
    """
    trained = wanted.trained
    detector = detector_of(settings, history.window) if trained is None else trained.new_detector()
    if cores > 1 and isinstance(detector.bank(), ScalarBank):
        parts = _in_processes(history, settings, shards, cores, wanted)
    else:
        parts = [_judge(history, settings, shards, cores, None, wanted, progress)]
    events = [event for part in parts for event in part.events]
    events.sort(key=lambda event: (event[1], event[0]["fingerprint"], event[0]["status"]))
    told = all_together(events, settings.together) if settings.together else events
    series = pl.concat([part.series for part in parts]).sort("tenant", "name", "labels", "series")
    kept = {key: past for part in parts for key, past in part.pasts.items()}
    states = pl.concat([part.states for part in parts])
    return Found(series, told, parts[0].began, parts[0].ended, kept, states, events)


def _in_processes(
    history: History, settings: ScoringSettings, shards: int, cores: int, wanted: Wanted
) -> list[Found]:
    # Threads and what holds locks do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, context) as pool:
        jobs = [
            pool.submit(_judge, history, settings, shards, 1, (number, cores), wanted, None)
            for number in range(cores)
        ]
        return [job.result() for job in jobs]


def scores_of(
    history: History, settings: ScoringSettings, *, shards: int
) -> Iterator[tuple[pl.DataFrame, Judgements]]:
    """Yield the judgements of a history, a stretch of time each, and the series that they are of."""
    catalog, stretches = judged_stretches(history, settings, shards)
    replay = Replay(settings, history.window, shards)
    for stretch in stretches:
        replay.know(stretch.new)
        yield (
            catalog.facts,
            replay.judge(
                stretch.rows, stretch.starts, stretch.values, stretch.ticks, stretch.began
            ),
        )


def _judge(
    history: History,
    settings: ScoringSettings,
    shards: int,
    threads: int,
    only: tuple[int, int] | None,
    wanted: Wanted,
    progress: Progress | None,
) -> Found:
    """Judge all series, or those of one part of several; in so many threads."""
    catalog, stretches = judged_stretches(history, settings, shards)
    of = threads if only is None else only[1]
    numbers = range(of) if only is None else [only[0]]
    parts = [
        _Part(Replay(settings, history.window, shards, wanted.trained), number, of)
        for number in numbers
    ]
    if wanted.pasts:
        for part in parts:
            part.pasts = Pasts(history.window)
    began, ended = 0, 0
    with ThreadPoolExecutor(threads, "judge") as pool, ThreadPoolExecutor(1, "read") as reader:
        coming = reader.submit(next, stretches, None)
        while (stretch := coming.result()) is not None:
            coming = reader.submit(next, stretches, None)
            list(pool.map(_Part.take, parts, [stretch] * len(parts)))
            if len(stretch.ticks):
                began = began or int(stretch.ticks[0])
                ended = int(stretch.ticks[-1]) + history.window
                if progress is not None:
                    progress(ended)
    return Found(
        pl.concat([part.series(catalog) for part in parts]),
        [event for part in parts for event in part.events],
        began,
        ended,
        {key: past for part in parts if part.pasts for key, past in part.pasts.found.items()},
        pl.concat([part.learned for part in parts] if wanted.states else [empty(_STATES)]),
        [],
    )


class _Part:
    """Every so-manieth series, and what was found of them."""

    def __init__(self, replay: Replay, number: int, of: int) -> None:
        self._replay = replay
        self._number, self._of = number, of
        self._known = 0
        self.pasts: Pasts | None = None
        self.events: list[tuple[AlertEvent, int]] = []
        self._counts: dict[str, NDArray[np.int64]] = {
            name: np.zeros(0, np.int64)
            for name in ("rollups", "scored", "anomalous", "first", "last")
        }

    def take(self, stretch: Stretch) -> None:
        """Judge what of a stretch is of this part."""
        self._know(stretch.new)
        mine = stretch.rows % self._of == self._number
        judged = self._replay.judge(
            stretch.rows[mine] // self._of,
            stretch.starts[mine],
            stretch.values[mine],
            stretch.ticks,
            stretch.began,
        )
        self.events += judged.events
        self._count(judged)
        if self.pasts is not None:
            self.pasts.take(judged, self._replay.rows_of_alerts)

    def _know(self, new: pl.DataFrame) -> None:
        # The series are numbered through all parts.
        first = (self._number - self._known) % self._of
        mine = new.gather_every(self._of, first) if new.height > first else new.clear()
        self._known += new.height
        self._replay.know(mine)
        for name, counts in self._counts.items():
            self._counts[name] = np.concatenate([counts, np.zeros(mine.height, np.int64)])

    def _count(self, judged: Judgements) -> None:
        if not len(judged.rows):
            return
        counts, size = self._counts, len(self._counts["rollups"])
        heads = np.flatnonzero(np.append(np.True_, judged.rows[1:] != judged.rows[:-1]))
        ends = np.append(heads[1:], len(judged.rows)) - 1
        rows = judged.rows[heads]
        fresh = counts["rollups"][rows] == 0
        counts["first"][rows[fresh]] = judged.starts[heads[fresh]]
        counts["last"][rows] = judged.starts[ends]
        counts["rollups"][rows] += ends - heads + 1
        score = judged.judgements[0]
        counts["scored"] += np.bincount(judged.rows[~np.isnan(score)], minlength=size)
        counts["anomalous"] += np.bincount(judged.rows[score >= 1], minlength=size)

    @property
    def learned(self) -> pl.DataFrame:
        """Return ``series`` and ``detector``: what was learned."""
        return self._replay.state.select("series", "detector")

    def series(self, catalog: Catalog) -> pl.DataFrame:
        """Return the series of this part, and what was counted of each."""
        mine = catalog.facts.gather_every(self._of, self._number)
        columns = [pl.Series(name, counts, pl.Int64) for name, counts in self._counts.items()]
        return mine.select(FACTS.names()).hstack(columns)
