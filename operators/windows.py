"""The operator of the windows: one keyed state a shard, whatever the number of series."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any, Final, Protocol

import bytewax.operators as op
import numpy as np
import polars as pl
from bytewax.operators import KeyedStream, StatefulBatchLogic
from numpy.typing import NDArray

from operators.admission import Admitted, Refused
from operators.clock import Clock, SystemClock
from operators.decoding import ShardBatch
from operators.durations import format_duration
from operators.histograms import NO_HISTOGRAMS, Histograms
from operators.late import late_frame
from operators.low_water import LowWater
from operators.monitoring import (
    BATCH_SECONDS,
    LATE_POINTS,
    OPEN_SERIES,
    POINTS_REFUSED,
    POINTS_SKIPPED,
    ROLLUPS_EMITTED,
    SNAPSHOT_SECONDS,
    WATERMARK_LAG,
)
from operators.open_windows import NO_POINTS
from operators.shard import Shard, Tally
from operators.sums import Points
from operators.watermark import UNKNOWN, Watermark

_log = logging.getLogger(__name__)

__all__ = ["Closed", "Late", "RollupSettings", "windows"]

_VERSION: Final = 2
_SHORT_WAIT: Final = 0.05
_LONGEST_WAIT: Final = 10.0
"""Seconds to wait for the names of new streams before windows are closed without them."""
_GATHER: Final = 0.25
"""Seconds between two closings of a shard."""
_BACKLOG: Final = 60.0
_GATHER_BACKLOG: Final = 1.0
"""In a backlog, when event time is a minute behind, watermarks pass many windows a second; closing
several at once costs little more than closing one, and nobody waits for them."""


class RollupSettings(Protocol):
    """What windows need to know; ``flows.settings.Rollups`` is one. Times in nanoseconds."""

    @property
    def windows(self) -> tuple[int, ...]:
        """Lengths, from fine to coarse."""
        ...

    @property
    def disorder(self) -> int:
        """How far a point may lag behind a later one of its partition."""
        ...

    @property
    def lateness(self) -> int:
        """How long after its end a window can still change."""
        ...

    @property
    def counter_horizon(self) -> int:
        """See ``operators.sums``."""
        ...

    @property
    def evict_after(self) -> int:
        """Silence after which a series is forgotten."""
        ...

    @property
    def percentiles(self) -> str:
        """Regular expression of the names of gauges that have percentiles; empty for none."""
        ...


@dataclass(frozen=True, slots=True)
class Closed:
    """Windows of one resolution that closed, or changed since: a ROLLUPS frame."""

    frame: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Late:
    """Points refused for their time, see ``operators.late``."""

    frame: pl.DataFrame


def windows(
    step_id: str,
    up: KeyedStream[ShardBatch | Admitted | Refused],
    settings: RollupSettings,
    readers: int,
    low_water: LowWater | None = None,
    clock: Clock | None = None,
) -> KeyedStream[Closed | Late]:
    """Turn the points of each shard into rollups; what can't be in one any more is ``Late``."""
    clock = clock or SystemClock()
    shared = low_water or LowWater()

    def build(state: dict[str, Any] | None) -> WindowLogic:
        return WindowLogic(settings, readers, clock, state, shared)

    return op.stateful_batch(step_id, up, build)


class WindowLogic(
    StatefulBatchLogic[ShardBatch | Admitted | Refused, "Closed | Late", dict[str, Any]]
):
    """Closes the windows of one shard as its watermark passes."""

    def __init__(
        self,
        settings: RollupSettings,
        readers: int,
        clock: Clock,
        state: dict[str, Any] | None,
        low_water: LowWater | None = None,
    ) -> None:
        if state is not None and state["version"] != _VERSION:
            raise RuntimeError(
                f"the recovery store holds windows of version {state['version']}, this Headrace "
                f"reads {_VERSION}: start with an empty recovery directory and run.since: earliest"
            )
        self._clock = clock
        self._low_water = low_water or LowWater()
        self._watermark = Watermark(
            readers, settings.disorder, state["watermark"] if state else None
        )
        self._shard = Shard(
            settings.windows,
            settings.lateness,
            settings.counter_horizon,
            settings.evict_after,
            settings.percentiles,
        )
        self._put_off: list[ShardBatch] = []  # what is no replay, while there is one
        self._outbox: list[pl.DataFrame] = []  # closed for a snapshot, not given yet
        if state is not None:
            self._shard.restore(state["shard"])
            self._outbox = [pl.read_ipc_stream(frame) for frame in state["outbox"]]
        self._name = "?"
        self._not_before = 0.0
        self._waits_since: float | None = None
        self._wake: datetime | None = None

    def on_batch(
        self, values: list[ShardBatch | Admitted | Refused]
    ) -> tuple[list[Closed | Late], bool]:
        """Take in points; close windows if it is time."""
        out: list[Closed | Late] = []
        for batch in values:
            if not isinstance(batch, ShardBatch):
                self._hear(batch)
                continue
            self._name = str(batch.shard)
            before = self._watermark.value
            self._watermark.update(batch.reader, batch.largest, batch.marks, replay=batch.replay)
            self._watermark.reach(batch.passed)
            if not self._shard.replaying:
                out += self._add(batch, before)
                continue
            if batch.replay:
                self._add(batch, before)
            else:
                self._put_off.append(batch)
            if not self._watermark.awaits:
                self._shard.rebuild()
                for waiting in self._put_off:
                    out += self._add(waiting, before)
                self._put_off = []
        return out + self._close(force=self._watermark.silent), StatefulBatchLogic.RETAIN

    def on_notify(self) -> tuple[list[Closed | Late], bool]:
        """Close what was put off."""
        return self._close(force=False), StatefulBatchLogic.RETAIN

    def on_eof(self) -> tuple[list[Closed | Late], bool]:
        """Close what was put off, now."""
        self._shard.names.wait_no_more()
        return self._close(force=True), StatefulBatchLogic.RETAIN

    def notify_at(self) -> datetime | None:
        """Wake up when a closing was put off."""
        return datetime.now(UTC) if self._outbox else self._wake

    def snapshot(self) -> dict[str, Any]:
        """Return plain data, with its version.

        What is due is closed first: a reader takes what was closed anywhere as closed everywhere.
        What comes of it is given when the logic is next awake, after a restart too.
        """
        started = perf_counter()
        self._outbox += self._closed(show_open=False)
        if not self._shard.replaying:
            self._shard.settle(self._watermark.value)
            self._low_water.freeze(self._shard.closed, self._shard.frozen)
        state = {
            "version": _VERSION,
            "watermark": self._watermark.snapshot(),
            "shard": self._shard.snapshot(self._times_put_off()),
            "outbox": [frame.write_ipc_stream(None).getvalue() for frame in self._outbox],
        }
        SNAPSHOT_SECONDS.observe(perf_counter() - started)
        return state

    def _times_put_off(self) -> NDArray[np.int64]:
        """Return the times of points that are put off, which only Kafka has."""
        times = [batch.samples.ts for batch in self._put_off]
        times += [batch.observed.ts for batch in self._put_off if batch.observed is not None]
        return np.concatenate(times) if times else np.empty(0, np.int64)

    def _hear(self, verdict: Admitted | Refused) -> None:
        """Learn what becomes of identities that were named."""
        seen = self._watermark.value
        if isinstance(verdict, Admitted):
            self._shard.name(verdict.series, seen)
        else:
            self._shard.refuse(verdict.identities, verdict.tenant, seen)

    def _add(self, batch: ShardBatch, watermark: int) -> list[Closed | Late]:
        """Put a batch into the shard; return what is too late."""
        shard = self._shard
        seen = max(watermark, max(batch.largest.values(), default=UNKNOWN))
        samples, observed = batch.samples, batch.observed
        points = NO_POINTS
        if len(samples.ts):
            points = Points(shard.names.number(samples.identity, seen), *samples[1:])
        histograms = NO_HISTOGRAMS
        if observed is not None:
            histograms = Histograms(shard.names.number(observed.identity, seen), *observed[1:])
        # A replay brings what was not folded yet, and that is told by the last close.
        late = shard.add(points, histograms, shard.closed if batch.replay else watermark)
        if late is None or batch.replay:
            return []
        LATE_POINTS.labels("late").inc(len(late))
        return [Late(late_frame(late.points, late.histograms, shard.names))]

    def _close(self, *, force: bool) -> list[Closed | Late]:
        self._wake = None
        frames, self._outbox = self._outbox, []
        show_open = self._watermark.silent and self._shard.open
        if self._shard.replaying or not (show_open or self._shard.due(self._watermark.value)):
            return [Closed(frame) for frame in frames]
        began = self._clock.monotonic()
        not_before = self._named_by(began) if self._shard.names.waiting else self._not_before
        if began < not_before and not (force and not self._shard.names.waiting):
            self._wake = datetime.now(UTC) + timedelta(seconds=not_before - began)
            return [Closed(frame) for frame in frames]
        lag = (self._clock.now() - self._watermark.value) / 1e9
        self._waits_since = None
        self._not_before = began + (_GATHER if lag < _BACKLOG else _GATHER_BACKLOG)
        frames += self._closed(show_open=show_open)
        OPEN_SERIES.labels(self._name).set(self._shard.names.owners)
        if self._watermark.value > UNKNOWN:
            WATERMARK_LAG.labels(self._name).set(lag)
        return [Closed(frame) for frame in frames]

    def _named_by(self, now: float) -> float:
        """Return when to close although identities have no name yet, which come another way."""
        if self._waits_since is None:
            self._waits_since = now
        if now - self._waits_since < _LONGEST_WAIT:
            return now + _SHORT_WAIT
        _log.warning(
            "shard %s: %d streams have no name after %.0f s; their points are left out until they do",
            self._name,
            self._shard.names.waiting,
            _LONGEST_WAIT,
        )
        self._shard.names.wait_no_more()
        return now

    def _closed(self, *, show_open: bool) -> list[pl.DataFrame]:
        """Close what is due, and count it."""
        watermark = self._watermark.value
        if self._shard.replaying or not (show_open or self._shard.due(watermark)):
            return []
        started = perf_counter()
        frames = self._shard.close(watermark, show_open=show_open)
        self._low_water.freeze(self._shard.closed, self._shard.frozen)
        BATCH_SECONDS.labels("windows").observe(perf_counter() - started)
        tally, self._shard.tally = self._shard.tally, Tally()
        POINTS_SKIPPED.labels("duplicate").inc(tally.duplicates)
        POINTS_SKIPPED.labels("overlap").inc(tally.overlaps)
        for tenant, count in tally.refused.items():
            POINTS_REFUSED.labels(tenant).inc(count)
        for frame in frames:
            revised = int((frame["revision"] > 0).sum())
            window = format_duration(int(frame["window"][0]))
            ROLLUPS_EMITTED.labels(window, "no").inc(frame.height - revised)
            ROLLUPS_EMITTED.labels(window, "yes").inc(revised)
        return frames
