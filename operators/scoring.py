"""Online scoring: each rollup of the judged resolution is scored, then learned.

Python touches what changes, an alert that fires or resolves; all else is columns.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final, Protocol

import bytewax.operators as op
import numpy as np
import polars as pl
from bytewax.operators import KeyedStream, StatefulBatchLogic
from numpy.typing import NDArray

from models import DETECTORS
from models.base import Judgement
from operators.alerts import AlertEvent
from operators.anomalies import AnomalyEvents, Subject
from operators.events import Events, event_frame
from operators.frames import CUMULATIVE, DELTA, KINDS, SCORE_COLUMNS
from operators.incidents import Change, Incidents
from operators.monitoring import BATCH_SECONDS, SCORES_MADE
from operators.watched import Watched
from operators.windows import Closed

__all__ = [
    "JUDGED_BY_RATE",
    "Events",
    "Scored",
    "ScoringLogic",
    "ScoringSettings",
    "compile_kernels",
    "scoring",
]

_VERSION: Final = 2
JUDGED_BY_RATE: Final = (KINDS[DELTA], KINDS[CUMULATIVE])
"""Names of the kinds that are judged by their rate; all others are by their mean."""


class ScoringSettings(Protocol):
    """What scoring needs to know; ``flows.settings.Scoring`` is one. Times in nanoseconds."""

    @property
    def enabled(self) -> bool:
        """Whether anything is judged."""
        ...

    @property
    def metrics(self) -> str:
        """Regular expression of the names of the judged metrics."""
        ...

    @property
    def detector(self) -> str:
        """Name in ``models.DETECTORS``."""
        ...

    @property
    def options(self) -> Mapping[str, float]:
        """Arguments of the detector."""
        ...

    @property
    def warm_up(self) -> int:
        """Rollups that are learned before one is judged."""
        ...

    @property
    def fire_after(self) -> int:
        """Anomalous rollups in a row that make an alert fire."""
        ...

    @property
    def resolve_after(self) -> int:
        """Normal ones in a row that resolve it."""
        ...

    @property
    def stale_after(self) -> int:
        """Silence after which a firing alert resolves."""
        ...

    @property
    def evict_after(self) -> int:
        """Silence after which a series is forgotten."""
        ...

    @property
    def severity(self) -> str:
        """Label of the alerts."""
        ...


@dataclass(frozen=True, slots=True)
class Scored:
    """Rollups with what a detector says of them: a SCORES frame."""

    frame: pl.DataFrame


def scoring(
    step_id: str, up: KeyedStream[Closed], settings: ScoringSettings, window: int
) -> KeyedStream[Scored | Events]:
    """Score the rollups, and make alert events of incidents.

    Args:
        step_id: name of the step, and of its state.
        up: rollups by shard.
        settings: which rollups are judged, and how.
        window: the resolution that is judged, in nanoseconds.
    """
    if settings.enabled:
        compile_kernels(settings)

    def build(state: dict[str, Any] | None) -> ScoringLogic:
        return ScoringLogic(settings, window, state)

    return op.stateful_batch(step_id, up, build)


def compile_kernels(settings: ScoringSettings) -> None:
    """Compile what scoring runs on, or load it from the cache, before the first rollup comes."""
    watched = _nothing_watched(settings)
    watched.judge(np.zeros(1, np.uint64), np.zeros(1, np.int64), np.zeros(1))
    _nothing_watched(settings).resume(watched.state, relearn=False)


class ScoringLogic(StatefulBatchLogic[Closed, "Scored | Events", dict[str, Any]]):
    """Keeps a detector and an incident for each series of a shard.

    Raises:
        RuntimeError: the state is of another version.
    """

    def __init__(
        self, settings: ScoringSettings, window: int, state: dict[str, Any] | None
    ) -> None:
        if state is not None and state["version"] != _VERSION:
            raise RuntimeError(
                f"the recovery store holds scoring of version {state['version']}, this Headrace "
                f"reads {_VERSION}: start with an empty recovery directory and run.since: earliest"
            )
        self._settings = settings
        self._window = window
        self._judged = re.compile(settings.metrics)
        self._names: dict[str, bool] = {}  # whether the metric of this name is judged
        self._watched = _nothing_watched(settings)
        self._firing: dict[int, Subject] = {}  # who could fall silent while an alert is out
        self._events = AnomalyEvents(window, settings.detector, settings.severity)
        self._latest = 0
        self._swept = 0
        if state is not None:
            self._restore(state)

    def on_batch(self, values: list[Closed]) -> tuple[list[Scored | Events], bool]:
        """Score the frames in their order; rollups of other resolutions pass unscored."""
        started = perf_counter()
        events: list[tuple[AlertEvent, int]] = []
        out: list[Scored | Events] = []
        for frame in (closed.frame for closed in values):
            judged = self._settings.enabled and int(frame["window"][0]) == self._window
            out.append(Scored(self._score(frame, events) if judged else _unscored(frame)))
        events += self._sweep()
        if events:
            out.append(Events(event_frame(events)))
        BATCH_SECONDS.labels("score").observe(perf_counter() - started)
        return out, StatefulBatchLogic.RETAIN

    def _score(self, frame: pl.DataFrame, events: list[tuple[AlertEvent, int]]) -> pl.DataFrame:
        starts = frame["window_start"].to_numpy()
        if np.any(starts[1:] < starts[:-1]):
            frame = frame.sort("window_start")
            starts = frame["window_start"].to_numpy()
        self._latest = max(self._latest, int(starts[-1]))
        values = _judged_values(frame)
        # A revision is not judged again: the detector has learned what came first.
        chosen = np.isfinite(values) & (frame["revision"].to_numpy() == 0)
        refused = self._refused(frame["name"])
        if refused:
            chosen &= ~frame["name"].is_in(refused).to_numpy()
        at = np.flatnonzero(chosen)
        series = frame["series"].to_numpy()[at]
        judged, changes = self._watched.judge(series, starts[at], values[at])
        events += [
            self._changed(frame, int(at[change.at]), judged[:, change.at], change)
            for change in changes
        ]
        return self._scored(frame, at, judged)

    def _refused(self, names: pl.Series) -> list[str]:
        """Return those of the names that are not judged."""
        unique = names.unique().to_list()
        for name in unique:
            if name not in self._names:
                self._names[name] = self._judged.fullmatch(name) is not None
        return [name for name in unique if not self._names[name]]

    def _changed(
        self, frame: pl.DataFrame, at: int, judgement: NDArray[np.float64], change: Change
    ) -> tuple[AlertEvent, int]:
        row = frame.row(at, named=True)
        subject = Subject(row["name"], row["labels"], row["tenant"])
        if change.status == "firing":
            self._firing[row["series"]] = subject
        else:
            self._firing.pop(row["series"], None)
        value = row["rate"] if row["kind"] in JUDGED_BY_RATE else row["mean"]
        event = self._events.changed(
            subject, change.status, change.incident, Judgement(*judgement.tolist()), value
        )
        return event, row["window_start"] + self._window

    def _scored(
        self, frame: pl.DataFrame, at: NDArray[np.intp], judged: NDArray[np.float64]
    ) -> pl.DataFrame:
        """Return a SCORES frame; column ``i`` of ``judged`` is for row ``at[i]``."""
        columns = judged
        if len(at) < frame.height:
            columns = np.full((len(judged), frame.height), np.nan)
            for column, numbers in zip(columns, judged, strict=True):
                column[at] = numbers
        score = columns[0]
        is_judged = ~np.isnan(score)
        anomalous = int(np.count_nonzero(score >= 1))
        SCORES_MADE.labels("anomalous").inc(anomalous)
        SCORES_MADE.labels("normal").inc(int(np.count_nonzero(is_judged)) - anomalous)
        detector = pl.Series("detector", [None, self._settings.detector], pl.String)
        return frame.hstack(
            [
                *(
                    pl.Series(name, column, nan_to_null=True)
                    for name, column in zip(Judgement._fields, columns, strict=True)
                ),
                detector.gather(is_judged.view(np.uint8)),
            ]
        )

    def _sweep(self) -> list[tuple[AlertEvent, int]]:
        """Resolve alerts of series that fell silent, and forget series that stay so."""
        if self._latest - self._swept < self._window:
            return []
        self._swept = self._latest
        stale_after, evict_after = self._settings.stale_after, self._settings.evict_after
        events = []
        if self._firing:
            # An alert never outlives what would resolve it.
            silent = self._watched.end_silent(self._latest - min(stale_after, evict_after))
            for series, incident in silent.items():
                event = self._events.fell_silent(self._firing.pop(series), incident)
                events.append((event, self._latest))
        self._watched.forget_quiet(self._latest - evict_after)
        return events

    def snapshot(self) -> dict[str, Any]:
        """Return plain data, with its version: columns as Arrow IPC, and the texts of what fires."""
        watched = io.BytesIO()
        self._watched.state.write_ipc(watched, compression="lz4")
        return {
            "version": _VERSION,
            "detector": self._settings.detector,
            "latest": self._latest,
            "swept": self._swept,
            "firing": {series: tuple(subject) for series, subject in self._firing.items()},
            "watched": watched.getvalue(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self._latest, self._swept = state["latest"], state["swept"]
        self._firing = {series: Subject(*texts) for series, texts in state["firing"].items()}
        # Another detector's numbers mean nothing to this one: it learns anew, but what is firing
        # must still resolve.
        other = state["detector"] != self._settings.detector
        self._watched.resume(pl.read_ipc(io.BytesIO(state["watched"])), relearn=other)


def _nothing_watched(settings: ScoringSettings) -> Watched:
    detector = DETECTORS[settings.detector](**settings.options)
    incidents = Incidents(settings.warm_up, settings.fire_after, settings.resolve_after)
    return Watched(detector.bank(), incidents)


def _judged_values(frame: pl.DataFrame) -> NDArray[np.float64]:
    """Return what each rollup is judged by, NaN where there is nothing."""
    by_rate = frame["kind"].is_in(JUDGED_BY_RATE).to_numpy()
    return np.where(by_rate, frame["rate"].to_numpy(), frame["mean"].to_numpy())


def _unscored(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.hstack(
        [pl.repeat(None, frame.height, dtype=dtype, eager=True).alias(name)
         for name, dtype in SCORE_COLUMNS.items()]
    )  # fmt: skip
