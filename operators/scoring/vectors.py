"""Signals of a service that are judged together: a vector a window and group.

The rollups of a service are in many shards. Once every shard is past a window its vector is whole
(``operators.scoring.vector_parts`` adds up what each has), so what is judged is the same whatever
batches, workers and restarts there were. A model says how unusual the signals are together
(``models.vector_model``); from there on that number is as the value of any series: the default
detector ranks it among what the group has shown, and incidents have the same rules.

While an alert is out, signals are compared with what was usual before it. The alerts of a vector that is
taken out of the settings are resolved with the first window after that, so there is a step for vectors even
where there are none.
"""

from __future__ import annotations

import io
from collections.abc import Hashable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl

from models.base import Judgement
from models.named import MINUTE
from models.vector_model import VectorModel, new_vector_model
from operators.bytewax import KeyedStream, keyed
from operators.contracts.alert import AlertEvent
from operators.contracts.engine import KeyedLogic
from operators.contracts.events import event_frame
from operators.contracts.items import Events, Passed, VectorParts
from operators.contracts.snapshots import require_version
from operators.contracts.watermark import UNKNOWN, ShardWatermarks
from operators.scoring.anomalies import Subject
from operators.scoring.deploys import Deploy, Deploys
from operators.scoring.episodes import EpisodeChange
from operators.scoring.feedback import NOTHING_REPORTED, Lowered, Reports
from operators.scoring.signals import Vector, off_scale, on_a_scale, value_of
from operators.scoring.vector_events import SignalSeen
from operators.scoring.vector_incidents import ended, nothing_watched, series_of
from operators.scoring.vector_parts import UNIT, VECTOR_PARTS, added_up
from operators.scoring.wanted import ScoringSettings
from operators.scoring.watched import Expectations

__all__ = ["VectorsLogic", "judged_vectors"]

_VERSION: Final = 1
_MOST_FRAMES: Final = 256
_MONTH: Final = 30 * 24 * 60 * MINUTE


def judged_vectors(
    step_id: str,
    up: KeyedStream[tuple[str, VectorParts]],
    vectors: Sequence[Vector],
    settings: ScoringSettings,
    shards: int,
    reports: Reports = NOTHING_REPORTED,
) -> KeyedStream[Events | Passed]:
    """Judge vectors, make alert events of incidents, and tell up to when all is judged.

    Args:
        step_id: name of the step, and of its state.
        up: what each shard adds, with the shard's name, all under one key.
        vectors: that are judged; if there are none, alerts from before are ended.
        settings: when a judgement becomes an alert.
        shards: how many there are.
        reports: what people say of alerts.
    """

    def build(state: dict[str, Any] | None) -> VectorsLogic:
        return VectorsLogic(vectors, settings, shards, state, reports)

    return keyed(step_id, up, build)


class VectorsLogic(KeyedLogic[tuple[str, VectorParts], Events | Passed]):
    """Has a model for each group of each vector.

    Raises:
        RuntimeError: the state is of another version.
    """

    def __init__(
        self,
        vectors: Sequence[Vector],
        settings: ScoringSettings,
        shards: int,
        state: dict[str, Any] | None,
        reports: Reports = NOTHING_REPORTED,
    ) -> None:
        require_version(state, "vectors", _VERSION)
        kept = state["judged"] if state else {}
        self._judged = {
            vector.name: _Judged(vector, settings, kept.get(vector.name), reports)
            for vector in vectors
        }
        self._settings = settings
        # They stay in the state until somebody was told.
        self._gone = {
            name: one for name, one in kept.items() if one["firing"] and name not in self._judged
        }
        self._finest = min((vector.window for vector in vectors), default=MINUTE)
        self._lengths = {vector.name: vector.window for vector in vectors}
        self._windows = pl.DataFrame(
            list(self._lengths.items()), schema={"vector": pl.String, "length": pl.Int64},
            orient="row",
        )  # fmt: skip
        self._shards = ShardWatermarks(shards, state["passed"] if state else None)
        self._until: int = state["until"] if state else UNKNOWN  # windows that end by then are done
        self._told: int = state["told"] if state else UNKNOWN
        self._waiting: list[pl.DataFrame] = []
        if state is not None:
            self._waiting.append(pl.DataFrame(state["waiting"], schema=VECTOR_PARTS, orient="row"))

    def on_batch(self, items: list[tuple[str, VectorParts]]) -> list[Events | Passed]:
        """Take in what shards add, and judge the windows that all of them are past."""
        for shard, parts in items:
            if parts.frame.height:
                self._waiting.append(parts.frame)
            self._shards.hear(shard, parts.passed)
        if len(self._waiting) > _MOST_FRAMES:
            self._waiting = [self._together()]
        watermark = self._shards.reached
        if watermark <= self._told:
            return []
        self._told = watermark
        limit = watermark - watermark % self._finest
        events = self._go_on(limit) if limit > self._until else []
        return [*events, Passed(watermark)]

    def on_end(self) -> list[Events | Passed]:
        """Judge what is left: nothing more comes, so all of it is whole."""
        return list(self._go_on(None))

    def _together(self) -> pl.DataFrame:
        """Return what waits, and of which vector's windows; who is judged no more is left out."""
        open_yet = pl.col("window_start") + pl.col("length") > self._until
        known = added_up(self._waiting).lazy().join(self._windows.lazy(), on="vector")
        return known.filter(open_yet).select(VECTOR_PARTS.names()).collect()

    def _go_on(self, limit: int | None) -> list[Events]:
        waiting = self._together()
        if limit is None:
            due, waiting = waiting, waiting.clear()
        else:
            known = waiting.join(self._windows, on="vector", how="left", maintain_order="left")
            is_due = known["window_start"] + known["length"] <= limit
            due, waiting = waiting.filter(is_due), waiting.filter(~is_due)
        events: list[tuple[AlertEvent, int]] = []
        # In the order of the ends of windows; the rest of the order is that of ``added_up``.
        rows = sorted(due.iter_rows(), key=lambda row: (row[3] + self._lengths[row[1]], row[1]))
        for (start, name), parts in groupby(rows, key=lambda row: (row[3], row[1])):
            events += self._judged[name].take(start, parts)
        self._waiting = [waiting]
        if limit is not None:
            self._until = limit
            for judged in self._judged.values():
                events += judged.sweep(limit)
        for name, state in self._gone.items():
            events += ended(name, state, self._settings, self._until)
        self._gone = {}
        events.sort(key=lambda one: one[1])
        return [Events(event_frame(events))] if events else []

    def snapshot(self) -> dict[str, Any]:
        """Return plain data, with its version."""
        return {
            "version": _VERSION,
            "passed": self._shards.state,
            "until": self._until,
            "told": self._told,
            "waiting": self._together().rows(),
            "judged": self._gone | {name: judged.state for name, judged in self._judged.items()},
        }


class _Seen(NamedTuple):
    """A signal in a window: what it is of, its value, and that on a scale."""

    take: str
    value: float
    scaled: float
    weight: float
    unit: str


class _Group:
    """The model of one group, and that from before an incident while there is one."""

    def __init__(self, subject: Subject, model: VectorModel) -> None:
        self.subject = subject
        self.model = model
        self.before: VectorModel | None = None
        self.seen = UNKNOWN


class _Judged:
    """All groups of one vector."""

    def __init__(
        self, vector: Vector, settings: ScoringSettings, state: dict[str, Any] | None,
        reports: Reports,
    ) -> None:  # fmt: skip
        self._vector = vector
        self._settings = settings
        self._reports = reports
        self._watched, self._events = nothing_watched(vector, settings)
        self._groups: dict[int, _Group] = {}
        self._lowered = Lowered(state["lowered"] if state else ())
        self._deploys = Deploys(state["deploys"] if state else ())
        self._heard: int = state["heard"] if state else -1
        self._firing: set[int] = set(state["firing"]) if state else set()
        if state is not None:
            self._restore(state)

    def take(self, start: int, parts: Iterator[tuple[Any, ...]]) -> list[tuple[AlertEvent, int]]:
        """Judge, then learn, the vectors of one window; ``parts`` are its rows, a group at a time."""
        events = self.sweep(start)
        self._hear(start)
        judged = []
        for (tenant, text), rows in groupby(parts, key=lambda row: (row[0], row[2])):
            group, signals = self._group(tenant, text), self._signals(rows)
            group.seen = start
            scaled: dict[Hashable, float] = {name: one.scaled for name, one in signals.items()}
            score = (group.before or group.model).score(scaled)
            if score is None:
                group.model.learn(scaled)
            else:
                judged.append((group, signals, scaled, score))
        if judged:
            events += self._judge(judged, start)
        return events

    def _judge(self, judged: list[Any], start: int) -> list[tuple[AlertEvent, int]]:
        groups = [group for group, *_ in judged]
        values = np.array([score for *_, score in judged])
        size = len(values)
        nothing = np.zeros(size, np.bool_)
        owners = pl.DataFrame(
            [(group.subject.tenant, group.subject.labels) for group in groups],
            schema={"tenant": pl.String, "labels": pl.String},
            orient="row",
        )
        judgements, changes = self._watched.judge(
            np.array([group.subject.series for group in groups], np.uint64),
            np.full(size, start),
            values,
            Expectations(
                only_above=~nothing,  # nearer to what is usual is no fault
                acceptable=~nothing,
                counted=nothing,
                least=0.0,
                grown_up=np.bool_(False),
                lowest=np.full(size, -np.inf),
                highest=np.full(size, np.inf),
                deployed=self._deploys.times(owners),
            ),
            partial(self._lowered.lower, reasons=self._events.common.reasons),
        )
        events = [self._changed(judged[change.at], judgements[:, change.at], change, start)
                  for change in changes]  # fmt: skip
        for at, (group, _, scaled, _) in enumerate(judged):
            if judgements[0, at] >= 1.0 and group.before is None:
                group.before = self._fresh().resume(group.model.state)
            elif not judgements[0, at] >= 1.0 and group.subject.series not in self._firing:
                group.before = None
            group.model.learn(scaled)
        return events

    def _changed(
        self, one: Any, judgement: Any, change: EpisodeChange, start: int
    ) -> tuple[AlertEvent, int]:
        group, signals, scaled, _ = one
        subject, model = group.subject, group.before or group.model
        parts, expected = model.contributions(scaled), model.expected(scaled)
        window = self._vector.window
        told = {
            name: SignalSeen(
                seen.take,
                seen.value,
                off_scale(seen.take, expected[name], seen.weight, window / 1e9)
                if name in expected
                else None,
                parts.get(name, 0.0),
                seen.unit,
            )
            for name, seen in signals.items()
        }
        deploy = self._deploys.before(
            subject.tenant, subject.service, change.incident.since, self._settings.deploy_settles
        )
        if change.why == "fires":
            self._firing.add(subject.series)
        else:
            self._firing.discard(subject.series)
        event = self._events.changed(
            subject, change.why, change.incident, Judgement(*judgement.tolist()), told, deploy
        )
        if change.why == "accepted":
            group.model.begin_again()
            group.before = None
        return event, start + window

    def _signals(self, rows: Iterator[tuple[Any, ...]]) -> dict[str, _Seen]:
        """Return the signals of a vector: of each the first selector that has a value."""
        seconds = self._vector.window / 1e9
        found: dict[str, _Seen] = {}
        for row in rows:
            signal, choice, amount, weight, most, unit = row[4:]
            if signal in found or signal not in self._vector.signals:
                continue
            selectors = self._vector.signals[signal].selectors
            if choice >= len(selectors):
                continue
            take, events = selectors[choice].take, weight * UNIT
            value = value_of(take, amount * UNIT, events, most, seconds)
            if value is not None:
                scaled = on_a_scale(take, value, events, seconds)
                found[signal] = _Seen(take, value, scaled, events, unit)
        return found

    def _group(self, tenant: str, text: str) -> _Group:
        series = series_of(tenant, self._vector.name, text)
        group = self._groups.get(series)
        if group is None:
            subject = Subject(self._vector.name, text, tenant, "", series)
            group = self._groups[series] = _Group(subject, self._fresh())
        return group

    def _fresh(self) -> VectorModel:
        vector = self._vector
        return new_vector_model(
            vector.detector, vector.options, vector.above, _MONTH / vector.window
        )

    def _hear(self, until: int) -> None:
        for report in self._reports.after(self._heard, until):
            self._heard = max(self._heard, report.effective)
            if isinstance(report, Deploy):
                self._deploys.hear(report)
            else:
                self._lowered.hear(report)

    def sweep(self, now: int) -> list[tuple[AlertEvent, int]]:
        """End the alerts of groups that are silent by ``now``, and forget those that stay so.

        All windows that start before are judged. A long step of time is as many short ones.
        """
        now -= now % self._vector.window
        settings, events = self._settings, []
        quiet = min(settings.stale_after, settings.evict_after)  # no alert outlives its end
        if self._firing:
            for series, incident in self._watched.end_silent(now - quiet).items():
                self._firing.discard(series)
                event = self._events.fell_silent(self._groups[series].subject, incident)
                ends = incident.seen + quiet
                events.append((event, ends + -ends % self._vector.window))
        self._watched.forget_quiet(now - settings.evict_after)
        for series in [
            series for series, group in self._groups.items()
            if UNKNOWN < group.seen <= now - settings.evict_after
        ]:  # fmt: skip
            del self._groups[series]
        self._deploys.forget(now)
        return events

    @property
    def state(self) -> dict[str, Any]:
        """All that is known, as plain data."""
        watched = io.BytesIO()
        self._watched.state.write_ipc(watched, compression="lz4")
        return {
            "kind": _kind(self._vector),
            "window": self._vector.window,
            "watched": watched.getvalue(),
            "groups": [
                (
                    group.subject.tenant, group.subject.labels, group.seen, group.model.state,
                    None if group.before is None else group.before.state,
                )
                for group in self._groups.values()
            ],
            "firing": sorted(self._firing),
            "lowered": self._lowered.state,
            "deploys": self._deploys.state,
            "heard": self._heard,
        }  # fmt: skip

    def _restore(self, state: dict[str, Any]) -> None:
        # Another model's numbers mean nothing to this one: it learns anew, but what fires must end.
        same = state["kind"] == _kind(self._vector)
        self._watched.resume(pl.read_ipc(io.BytesIO(state["watched"])), relearn=not same)
        for tenant, text, seen, model, before in state["groups"]:
            group = self._group(tenant, text)
            group.seen = seen
            if same:
                group.model.resume(model)
                group.before = None if before is None else self._fresh().resume(before)


def _kind(vector: Vector) -> list[Any]:
    return [vector.detector, sorted(map(str, vector.options.items())), sorted(vector.signals)]
