"""Online scoring: each rollup of the judged resolution is scored, then learned.

This is the one place where rows are taken one by one: a River detector learns from one value
after the other. It does so on rollups, of which there is one a series and window.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from math import nan
from time import perf_counter
from typing import Any, Final, Protocol

import bytewax.operators as op
import numpy as np
import orjson
import polars as pl
from bytewax.operators import KeyedStream, StatefulBatchLogic

from models import DETECTORS
from models.base import Detector, Judgement
from operators.alerts import AlertEvent, Status, alert_event
from operators.durations import format_duration
from operators.events import Events, event_frame
from operators.frames import DEFAULT_TENANT, KINDS, SCORE_COLUMNS, SCORES
from operators.incidents import Incident
from operators.monitoring import BATCH_SECONDS, SCORES_MADE
from operators.windows import Closed

__all__ = ["Events", "Scored", "ScoringSettings", "scoring"]

_VERSION: Final = 1
_ALERT_NAME: Final = "MetricAnomaly"
_GAUGE: Final = KINDS[0]
_NO_JUDGEMENT: Final = Judgement(nan, nan, nan, nan)


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


@dataclass(slots=True)
class _Watched:
    """One series: its detector, its incident, and what an event about it says."""

    detector: Detector
    name: str
    labels: str
    tenant: str
    learned: int = 0
    seen: int = 0
    incident: Incident = field(default_factory=Incident)


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

    def build(state: dict[str, Any] | None) -> ScoringLogic:
        return ScoringLogic(settings, window, state)

    return op.stateful_batch(step_id, up, build)


class ScoringLogic(StatefulBatchLogic[Closed, "Scored | Events", dict[str, Any]]):
    """Keeps a detector and an incident for each series of a shard."""

    def __init__(
        self, settings: ScoringSettings, window: int, state: dict[str, Any] | None
    ) -> None:
        self._settings = settings
        self._window = window
        self._judged = re.compile(settings.metrics)
        self._names: dict[str, bool] = {}  # whether the metric of this name is judged
        self._watched: dict[int, _Watched] = {}
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
        frame = frame.sort("window_start")
        self._latest = max(self._latest, int(frame["window_start"][-1]))
        value = pl.when(pl.col("kind") == _GAUGE).then("mean").otherwise("rate")
        rows = (
            frame.with_row_index("row")
            .select("row", "series", "window_start", "revision", "name", value=value)
            # A revision is not judged again: the detector has learned what came first.
            .filter(pl.col("revision") == 0, pl.col("value").is_finite(), self._is_judged(frame))
        )
        verdicts = np.full((frame.height, len(Judgement._fields)), np.nan)
        if rows.height:
            judged = self._judge(rows, frame, events)
            numbers = np.fromiter(chain.from_iterable(judged), np.float64, 4 * len(judged))
            verdicts[rows["row"].to_numpy()] = numbers.reshape(-1, 4)
        scores = {
            name: pl.Series(name, verdicts[:, number], nan_to_null=True)
            for number, name in enumerate(Judgement._fields)
        }
        anomalous = int((scores["score"] >= 1).sum())
        SCORES_MADE.labels("anomalous").inc(anomalous)
        SCORES_MADE.labels("normal").inc(scores["score"].count() - anomalous)
        detector = pl.when(scores["score"].is_not_null()).then(pl.lit(self._settings.detector))
        return frame.with_columns(scores.values()).with_columns(detector=detector)

    def _is_judged(self, frame: pl.DataFrame) -> pl.Expr:
        for name in frame["name"].unique():
            if name not in self._names:
                self._names[name] = self._judged.fullmatch(name) is not None
        refused = [name for name, judged in self._names.items() if not judged]
        return ~pl.col("name").is_in(refused) if refused else pl.lit(True)

    def _judge(
        self, rows: pl.DataFrame, frame: pl.DataFrame, events: list[tuple[AlertEvent, int]]
    ) -> list[Judgement]:
        """Score, then learn, each value in its order."""
        warm_up = self._settings.warm_up
        watched_series = self._watched
        verdicts: list[Judgement] = []
        columns = (rows[name].to_list() for name in ("row", "series", "window_start", "value"))
        for row, series, start, value in zip(*columns, strict=True):
            watched = watched_series.get(series)
            if watched is None:
                watched = watched_series[series] = self._watch(frame, row)
            detector, incident = watched.detector, watched.incident
            if watched.learned < warm_up:
                verdicts.append(_NO_JUDGEMENT)
            else:
                judgement = detector.judge(value)
                verdicts.append(judgement)
                if judgement.score >= 1 or incident.active:
                    self._follow(watched, judgement, value, start, events)
            incident.recent.append(value)
            detector.learn(value)
            watched.learned += 1
            watched.seen = max(watched.seen, start)
        return verdicts

    def _watch(self, frame: pl.DataFrame, row: int) -> _Watched:
        detector = DETECTORS[self._settings.detector](**self._settings.options)
        return _Watched(detector, frame["name"][row], frame["labels"][row], frame["tenant"][row])

    def _follow(
        self,
        watched: _Watched,
        judgement: Judgement,
        value: float,
        start: int,
        events: list[tuple[AlertEvent, int]],
    ) -> None:
        change = watched.incident.step(
            anomaly=judgement.score >= 1,
            window_start=start,
            fire_after=self._settings.fire_after,
            resolve_after=self._settings.resolve_after,
        )
        if change is not None:
            status: Status = "firing" if change == "fire" else "resolved"
            event = self._event(watched, status, judgement, value)
            events.append((event, start + self._window))

    def _event(
        self,
        watched: _Watched,
        status: Status,
        judgement: Judgement | None,
        value: float | None,
        ends_at: int | None = None,
    ) -> AlertEvent:
        labels = orjson.loads(watched.labels)
        labels |= {
            "alertname": _ALERT_NAME, "metric": watched.name, "severity": self._settings.severity
        }  # fmt: skip
        if watched.tenant != DEFAULT_TENANT:
            labels["tenant"] = watched.tenant
        evidence: dict[str, Any] = {
            "window": format_duration(self._window),
            "detector": self._settings.detector,
            "recent": list(watched.incident.recent),
        }
        if judgement is not None:
            evidence |= judgement._asdict()
        incident = watched.incident
        if status == "resolved" and ends_at is None:
            ends_at = incident.until
        return alert_event(
            status=status,
            kind="anomaly",
            labels=labels,
            annotations={"summary": _summary(watched, status, judgement, value)},
            starts_at=incident.since,
            ends_at=ends_at,
            value=value,
            evidence=evidence,
        )

    def _sweep(self) -> list[tuple[AlertEvent, int]]:
        """Resolve alerts of series that fell silent, and forget series that stay so."""
        events: list[tuple[AlertEvent, int]] = []
        if self._latest - self._swept < self._window:
            return events
        self._swept = self._latest
        stale_after, evict_after = self._settings.stale_after, self._settings.evict_after
        for series, watched in list(self._watched.items()):
            quiet = self._latest - watched.seen
            # An alert never outlives what would resolve it.
            if watched.incident.firing and quiet >= min(stale_after, evict_after):
                ends_at = watched.seen + self._window
                events.append((self._event(watched, "resolved", None, None, ends_at), self._latest))
                watched.incident.end()
            if quiet >= evict_after:
                del self._watched[series]
        return events

    def snapshot(self) -> dict[str, Any]:
        """Return plain data, with its version: a few numbers and two texts a series."""
        return {
            "version": _VERSION,
            "detector": self._settings.detector,
            "latest": self._latest,
            "swept": self._swept,
            "watched": {
                series: (
                    watched.detector.state,
                    (watched.name, watched.labels, watched.tenant),
                    (watched.learned, watched.seen),
                    _plain(watched.incident),
                )
                for series, watched in self._watched.items()
            },
        }

    def _restore(self, state: dict[str, Any]) -> None:
        if state["version"] != _VERSION:
            return
        # Another detector's numbers mean nothing to this one: it learns anew, but what is firing
        # must still resolve.
        same = state["detector"] == self._settings.detector
        self._latest, self._swept = state["latest"], state["swept"]
        for series, (numbers, texts, counts, incident) in state["watched"].items():
            detector = DETECTORS[self._settings.detector](**self._settings.options)
            name, labels, tenant = texts
            learned, seen = counts
            if same:
                detector.resume(numbers)
            watched = _Watched(detector, name, labels, tenant, learned if same else 0, seen)
            *fields, recent = incident
            watched.incident = Incident(*fields)
            watched.incident.recent.extend(recent)
            self._watched[series] = watched


def _plain(incident: Incident) -> tuple[Any, ...]:
    return (
        incident.anomalous, incident.normal, incident.firing, incident.since, incident.until,
        tuple(incident.recent),
    )  # fmt: skip


def _unscored(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(
        pl.lit(None, dtype=dtype).alias(name) for name, dtype in SCORE_COLUMNS.items()
    ).select(SCORES.names())


def _summary(
    watched: _Watched, status: Status, judgement: Judgement | None, value: float | None
) -> str:
    labels = orjson.loads(watched.labels)
    where = labels.get("service.name") or labels.get("host.name")
    subject = f"{watched.name} of {where}" if where else watched.name
    if judgement is None or value is None:
        return f"{subject}: no data any more"
    expected = f"{judgement.lower:.4g} to {judgement.upper:.4g}"
    if status == "resolved":
        return f"{subject} is back to normal: {value:.4g}, expected {expected}"
    side = "above" if value > judgement.expected else "below"
    return f"{subject} is {value:.4g}, {side} the expected {expected}"
