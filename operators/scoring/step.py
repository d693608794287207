"""Online scoring: each rollup of the judged resolution is scored, then learned.

Python touches what changes, an alert that fires or resolves; all else is columns.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import partial
from time import perf_counter
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.base import Detector, Judgement
from models.named import new_detector
from operators.contracts.alert import AlertEvent
from operators.contracts.engine import KeyedLogic
from operators.contracts.events import event_frame
from operators.contracts.frames import CUMULATIVE, DELTA, KINDS, SCORE_COLUMNS, SCORES, WHOLE
from operators.contracts.items import Closed, Events, Passed, Scored
from operators.contracts.monitoring import BATCH_SECONDS, SCORES_MADE
from operators.contracts.snapshots import require_version
from operators.scoring.anomalies import Subject
from operators.scoring.bounds import Known, Natures, may_be_accepted
from operators.scoring.deploys import Deploy, Deploys
from operators.scoring.episodes import EpisodeChange, Episodes
from operators.scoring.feedback import NOTHING_REPORTED, FalseAlarm, Lowered, Reports
from operators.scoring.in_force import Model, anomaly_events
from operators.scoring.promoted import NOTHING_PROMOTED, Promoted, Promotions
from operators.scoring.wanted import ScoringSettings
from operators.scoring.watched import Expectations, Watched

__all__ = [
    "FEW_EVENTS",
    "JUDGED_BY_RATE",
    "ScoringLogic",
    "compile_kernels",
    "detector_of",
    "nothing_watched",
    "unscored",
]

_COLUMNS: Final = ("score", "expected", "lower", "upper")
_VERSION: Final = 3
FEW_EVENTS: Final = 5.0
"""So many events in a window are the least that anything can be concluded from."""
_SMALL: Final = 10_000
JUDGED_BY_RATE: Final = (KINDS[DELTA], KINDS[CUMULATIVE])
"""Names of the kinds that are judged by their rate; all others are by their mean."""


def compile_kernels(settings: ScoringSettings) -> None:
    """Compile what scoring runs on, or load it from the cache, before the first rollup comes."""
    watched = nothing_watched(settings, 1)
    watched.judge(np.zeros(1, np.uint64), np.zeros(1, np.int64), np.zeros(1))
    nothing_watched(settings, 1).resume(watched.state, relearn=False)


class ScoringLogic(KeyedLogic[Closed | Passed, Scored | Events | Passed]):
    """Keeps a detector and an incident for each series of a shard.

    A model is in force from the first window that starts at its event time or later, in whatever
    batch it comes; every score says which it is of.

    Raises:
        RuntimeError: the state is of another version.
    """

    def __init__(
        self,
        settings: ScoringSettings,
        window: int,
        state: dict[str, Any] | None,
        promotions: Promotions = NOTHING_PROMOTED,
        reports: Reports = NOTHING_REPORTED,
    ) -> None:
        require_version(state, "scoring", _VERSION)
        self._settings = settings
        self._window = window
        self._judged = re.compile(settings.metrics)
        self._ignored = re.compile(settings.ignore)
        self._natures = Natures(self._judges, JUDGED_BY_RATE)
        self._watched = nothing_watched(settings, window)
        self._firing: dict[int, Subject] = {}  # who could fall silent while an alert is out
        self._promotions = promotions
        self._reports = reports
        self._lowered = Lowered()
        self._deploys = Deploys()
        self._heard = -1  # event time of the newest report that was taken in
        self._model = Model()
        self._events = anomaly_events(settings, window, detector_of(settings, window))
        self._began = 0
        self._latest = 0
        self._swept = 0
        if state is not None:
            self._restore(state)

    def on_batch(self, items: list[Closed | Passed]) -> list[Scored | Events | Passed]:
        """Score the frames in their order; rollups of other resolutions pass unscored."""
        started = perf_counter()
        events: list[tuple[AlertEvent, int]] = []
        out: list[Scored | Events | Passed] = []
        passed: Passed | None = None
        for item in items:
            if isinstance(item, Passed):
                # The latest window that can have been closed by then.
                self._latest = max(self._latest, item.watermark - self._window)
                passed = item
                continue
            frame = item.frame
            judged = self._settings.enabled and int(frame["window"][0]) == self._window
            if judged:
                scored = [self._score(part, events) for part in self._between_changes(frame)]
            else:
                scored = [unscored(frame)]
            # Not ``select``, which plans a query: there are many small frames.
            out += [
                Scored(pl.DataFrame([part.get_column(name) for name in SCORES])) for part in scored
            ]
        events += self._sweep()
        if events:
            out.append(Events(event_frame(events)))
        if passed is not None:
            out.append(passed)
        BATCH_SECONDS.labels("score").observe(perf_counter() - started)
        return out

    def _between_changes(self, frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Yield the frame in the order of time, cut where a model or a report comes into force."""
        starts = frame["window_start"].to_numpy()
        if np.any(starts[1:] < starts[:-1]):
            frame = frame.sort("window_start")
            starts = frame["window_start"].to_numpy()
        last = int(starts[-1])
        changes: list[Promoted | FalseAlarm | Deploy] = [
            *self._promotions.after(self._model.effective, last),
            *self._reports.after(self._heard, last),
        ]
        begin = 0
        for change in sorted(changes, key=lambda change: change.effective):
            cut = int(np.searchsorted(starts, change.effective))
            if cut > begin:
                yield frame[begin:cut]
                begin = cut
            if isinstance(change, Promoted):
                self._take_up(change)
            else:
                self._hear(change)
        yield frame[begin:] if begin else frame

    def _hear(self, report: FalseAlarm | Deploy) -> None:
        self._heard = max(self._heard, report.effective)
        if isinstance(report, Deploy):
            self._deploys.hear(report)
        else:
            self._lowered.hear(report)

    def _take_up(self, promoted: Promoted) -> None:
        before, self._model = self._model, Model.of(promoted)
        detector = self._model.detector(self._settings, self._window)
        self._watched.adopt(
            detector.bank(),
            None if promoted.trained is None else promoted.trained.states,
            other=self._model.kind_in(self._settings) != before.kind_in(self._settings),
        )
        self._events = anomaly_events(self._settings, self._window, detector, self._model)

    def _score(self, frame: pl.DataFrame, events: list[tuple[AlertEvent, int]]) -> pl.DataFrame:
        starts = frame["window_start"].to_numpy()
        self._latest = max(self._latest, int(starts[-1]))
        self._began = self._began or int(starts[0])
        known = self._natures.of(frame)
        values = np.where(known.by_rate, frame["rate"].to_numpy(), frame["mean"].to_numpy())
        at = np.flatnonzero(known.judged & np.isfinite(values) & _whole(frame))
        series = frame["series"].to_numpy()
        # Also if it is all of them: loops are compiled for one kind of array, see ``read_only``.
        known = Known._make(column[at] for column in known)
        series, values, starts = series[at], values[at], starts[at]
        judged, changes = self._watched.judge(
            series,
            starts,
            values,
            Expectations(
                only_above=known.only_above,
                acceptable=may_be_accepted(values, known.largest),
                counted=known.by_rate,
                least=FEW_EVENTS / (self._window / 1e9),
                # In a flow that just began, what is new to it is not new.
                grown_up=np.bool_(
                    self._latest - self._began >= self._settings.warm_up * self._window
                ),
                lowest=known.least,
                highest=known.largest,
                deployed=self._deploys.times(frame if len(at) == frame.height else frame[at]),
            ),
            partial(self._lowered.lower, reasons=self._events.reasons),
        )
        events += [
            self._changed(frame, int(at[change.at]), judged[:, change.at], change)
            for change in changes
        ]
        return self._scored(frame, at, judged)

    def _judges(self, name: str) -> bool:
        """Say whether the metric of this name is judged."""
        judged = self._judged.fullmatch(name) is not None
        return judged and self._ignored.fullmatch(name) is None

    def _changed(
        self, frame: pl.DataFrame, at: int, judgement: NDArray[np.float64], change: EpisodeChange
    ) -> tuple[AlertEvent, int]:
        row = frame.row(at, named=True)
        by_rate = row["kind"] in JUDGED_BY_RATE
        unit = row["unit"] or ""
        subject = Subject(
            row["name"],
            row["labels"],
            row["tenant"],
            f"{unit}/s" if by_rate else unit,
            row["series"],
        )
        if change.status == "firing":
            self._firing[row["series"]] = subject
        else:
            self._firing.pop(row["series"], None)
        value = row["rate"] if by_rate else row["mean"]
        deploy = self._deploys.before(
            subject.tenant, subject.service, change.incident.since, self._settings.deploy_settles
        )
        event = self._events.changed(
            subject, change.why, change.incident, Judgement(*judgement.tolist()), value, deploy
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
        detector = pl.Series("detector", [None, self._events.detector], pl.String)
        return frame.hstack(
            [
                *(
                    pl.Series(name, column, nan_to_null=True)
                    for name, column in zip(_COLUMNS, columns, strict=False)
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
                events.append((event, self._latest + self._window))
        self._watched.forget_quiet(self._latest - evict_after)
        self._deploys.forget(self._latest)
        if len(self._natures) > max(_SMALL, 2 * len(self._watched)):
            self._natures.forget()  # most of it is of series that are no more
        return events

    def snapshot(self) -> dict[str, Any]:
        """Return plain data, with its version: columns as Arrow IPC, and the texts of what fires."""
        watched = io.BytesIO()
        self._watched.state.write_ipc(watched, compression="lz4")
        return {
            "version": _VERSION,
            "detector": self._settings.detector,
            "model": self._model._asdict(),
            "heard": self._heard,
            "lowered": self._lowered.state,
            "deploys": self._deploys.state,
            "began": self._began,
            "latest": self._latest,
            "swept": self._swept,
            "firing": {series: tuple(subject) for series, subject in self._firing.items()},
            "watched": watched.getvalue(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self._began = state["began"]
        self._latest, self._swept = state["latest"], state["swept"]
        self._firing = {series: Subject(*texts) for series, texts in state["firing"].items()}
        # Another detector's numbers mean nothing to this one: it learns anew, but what is firing
        # must still resolve.
        other = state["detector"] != self._settings.detector
        self._heard = state.get("heard", -1)
        self._lowered = Lowered(state.get("lowered", ()))
        self._deploys = Deploys(state.get("deploys", ()))
        self._model = Model(**state.get("model", {}))
        if self._model.kind is not None:
            other = False
            self._go_on_with_model()
        self._watched.resume(pl.read_ipc(io.BytesIO(state["watched"])), relearn=other)

    def _go_on_with_model(self) -> None:
        """Have the detectors of the model that was in force: the state is theirs."""
        detector = self._model.detector(self._settings, self._window)
        self._watched = Watched(detector.bank(), _no_incidents(self._settings, self._window))
        self._events = anomaly_events(self._settings, self._window, detector, self._model)
        trained = self._promotions.of(self._model.version)
        if trained is not None:
            self._watched.trained(trained.states)


def detector_of(settings: ScoringSettings, window: int) -> Detector:
    """Return a fresh detector of the kind that the settings ask for, for a value each ``window``."""
    return new_detector(
        settings.detector, settings.options, alerts=settings.alerts_per_series_month,
        window=window, features=settings.features,
    )  # fmt: skip


def nothing_watched(settings: ScoringSettings, window: int) -> Watched:
    """Return what watches series as the settings say, and has seen none yet."""
    return Watched(detector_of(settings, window).bank(), _no_incidents(settings, window))


def _no_incidents(settings: ScoringSettings, window: int) -> Episodes:
    return Episodes(
        settings.warm_up, settings.fire_after, settings.resolve_after, window, settings.accept_after,
        settings.deploy_settles,
    )  # fmt: skip


def _whole(frame: pl.DataFrame) -> NDArray[np.bool_]:
    """Return which rows are judged: those that are whole for the first time.

    What was shown early is judged once event time passed the end of its window. A revision is not
    judged again: the detector has learned what was whole first.
    """
    whole = frame[WHOLE] if WHOLE in frame.columns else frame["revision"] == 0
    return whole.to_numpy()


def unscored(frame: pl.DataFrame) -> pl.DataFrame:
    """Return rollups that nothing is said of."""
    # Not ``pl.repeat``, which plans a query for each column: there are many small frames.
    return frame.hstack(
        [pl.Series(name, [None], dtype).new_from_index(0, frame.height)
         for name, dtype in SCORE_COLUMNS.items()]
    )  # fmt: skip
