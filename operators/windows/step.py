"""The operator of the windows: one keyed state a shard, whatever the number of series."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any, Final, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.bytewax import KeyedStream, keyed
from operators.contracts.clock import Clock, SystemClock
from operators.contracts.durations import format_duration
from operators.contracts.engine import KeyedLogic
from operators.contracts.items import (
    Admitted,
    Closed,
    Late,
    Observed,
    Passed,
    Refused,
    Samples,
    ShardBatch,
)
from operators.contracts.monitoring import (
    BATCH_SECONDS,
    LATE_POINTS,
    OPEN_SERIES,
    PARTITIONS_BEHIND,
    POINTS_REFUSED,
    POINTS_SKIPPED,
    ROLLUPS_EMITTED,
    SNAPSHOT_SECONDS,
    WATERMARK_LAG,
)
from operators.contracts.snapshots import require_version
from operators.contracts.watermark import UNKNOWN, Watermark
from operators.kafka.low_water import LowWater
from operators.windows.delays import note_delays
from operators.windows.held_back import HeldBack
from operators.windows.histograms import NO_HISTOGRAMS, Histograms
from operators.windows.late import late_frame
from operators.windows.open_windows import NO_POINTS
from operators.windows.shard import Shard, Tally
from operators.windows.sums import Points

_log = logging.getLogger(__name__)

__all__ = ["RollupSettings", "windows"]

_VERSION: Final = 4
_FIRST_SHARD: Final = "0"
"""All shards wait for the same partitions, so one of them tells."""
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
    def partition_lag(self) -> int:
        """How far a partition that is read to its end may be behind others and hold windows back."""
        ...

    @property
    def lateness(self) -> int:
        """How long after its end a window can still change."""
        ...

    @property
    def counter_horizon(self) -> int:
        """See ``operators.windows.sums``."""
        ...

    @property
    def evict_after(self) -> int:
        """Silence after which a series is forgotten."""
        ...

    @property
    def percentiles(self) -> str:
        """Regular expression of the names of gauges that have percentiles; empty for none."""
        ...


def windows(
    step_id: str,
    up: KeyedStream[ShardBatch | Admitted | Refused],
    settings: RollupSettings,
    readers: int,
    low_water: LowWater | None = None,
    clock: Clock | None = None,
    idle_timeout: int | None = None,
) -> KeyedStream[Closed | Late | Passed]:
    """Turn the points of each shard into rollups; what can't be in one any more is ``Late``.

    With an ``idle_timeout``, in nanoseconds, a partition that holds windows back for longer is
    named.
    """
    clock = clock or SystemClock()
    shared = low_water or LowWater()
    held_back = HeldBack(idle_timeout, clock) if idle_timeout is not None else None

    def build(state: dict[str, Any] | None) -> WindowLogic:
        return WindowLogic(settings, readers, clock, state, shared, held_back)

    return keyed(step_id, up, build)


class WindowLogic(KeyedLogic[ShardBatch | Admitted | Refused, Closed | Late | Passed]):
    """Closes the windows of one shard as its watermark passes."""

    def __init__(
        self,
        settings: RollupSettings,
        readers: int,
        clock: Clock,
        state: dict[str, Any] | None,
        low_water: LowWater | None = None,
        held_back: HeldBack | None = None,
    ) -> None:
        require_version(state, "windows", _VERSION)
        self._clock = clock
        self._low_water = low_water or LowWater()
        self._held_back = held_back
        self._watermark = Watermark(
            readers,
            settings.disorder,
            state["watermark"] if state else None,
            bound=settings.partition_lag,
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
        self._finest = settings.windows[0]
        self._disorder = settings.disorder
        self._told = UNKNOWN
        # Windows that end by then came out before a recovery store was lost.
        self._final: int = state.get("final", UNKNOWN) if state else UNKNOWN
        self._name = "?"
        self._told_behind: frozenset[str] = frozenset()
        self._not_before = 0.0
        self._waits_since: float | None = None
        self._wake: datetime | None = None

    def on_batch(
        self, items: list[ShardBatch | Admitted | Refused]
    ) -> list[Closed | Late | Passed]:
        """Take in points; close windows if it is time."""
        out: list[Closed | Late | Passed] = []
        now = self._clock.monotonic()
        for batch in items:
            if not isinstance(batch, ShardBatch):
                self._hear(batch)
                continue
            self._name = str(batch.shard)
            self._final = max(self._final, batch.final)
            before = self._watermark.value
            self._watermark.update(
                batch.reader, batch.largest, batch.marks, replay=batch.replay, now=now
            )
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
        self._tell_left_behind()
        if self._held_back is not None and self._name == _FIRST_SHARD:
            self._held_back.look(self._watermark)
        return out + self._close(force=self._watermark.silent) + self._passed()

    def _tell_left_behind(self) -> None:
        """Say once which partitions windows do not wait for any more; one shard does, for all."""
        behind = self._watermark.left_behind
        if self._name != _FIRST_SHARD or behind == self._told_behind:
            return
        for partition in sorted(behind - self._told_behind):
            _log.warning(
                "%s is read to its end and further behind than rollups.partition_lag: windows do "
                "not wait for it, and what is late may be refused; the clock of its producers may "
                "be slow",
                partition,
            )
        self._told_behind = behind
        PARTITIONS_BEHIND.set(len(behind))

    def _passed(self) -> list[Closed | Late | Passed]:
        """Tell how far event time is, once a window, so that what waits for it needs no rollups."""
        watermark = self._watermark.value
        behind = self._shard.replaying or self._wake is not None or bool(self._outbox)
        if behind or watermark // self._finest == self._told // self._finest:
            return []
        self._told = watermark
        return [Passed(watermark)]

    def on_wake(self) -> list[Closed | Late | Passed]:
        """Close what was put off."""
        return self._close(force=False) + self._passed()

    def on_end(self) -> list[Closed | Late | Passed]:
        """Close what was put off, now."""
        self._shard.names.wait_no_more()
        return self._close(force=True) + self._passed()

    def wake_at(self) -> datetime | None:
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
            "final": self._final,
            "outbox": [frame.write_ipc_stream(None).getvalue() for frame in self._outbox],
        }
        SNAPSHOT_SECONDS.observe(perf_counter() - started)
        return state

    def _times_put_off(self) -> NDArray[np.int64]:
        """Return the times of points that are put off, which only Kafka has."""
        times = [batch.samples.ts for batch in self._put_off]
        times += [batch.observed.ts for batch in self._put_off if batch.observed is not None]
        for batch in self._put_off:
            for samples, observed in batch.behind.values():
                times += [samples.ts, *([] if observed is None else [observed.ts])]
        return np.concatenate(times) if times else np.empty(0, np.int64)

    def _hear(self, verdict: Admitted | Refused) -> None:
        """Learn what becomes of identities that were named."""
        seen = self._watermark.value
        if isinstance(verdict, Admitted):
            self._shard.name(verdict.series, seen)
        else:
            self._shard.refuse(verdict.identities, verdict.tenant, seen)

    def _add(self, batch: ShardBatch, watermark: int) -> list[Closed | Late | Passed]:
        """Put a batch into the shard; return what is too late."""
        out = self._add_part(batch, batch.samples, batch.observed, watermark)
        for end, (samples, observed) in batch.behind.items():
            out += self._add_part(batch, samples, observed, watermark, end)
        return out

    def _add_part(
        self,
        batch: ShardBatch,
        samples: Samples,
        observed: Observed | None,
        watermark: int,
        behind: int = UNKNOWN,
    ) -> list[Closed | Late | Passed]:
        shard = self._shard
        seen = max(watermark, max(batch.largest.values(), default=UNKNOWN))
        points = NO_POINTS
        if len(samples.ts):
            points = Points(shard.names.number(samples.identity, seen), *samples[1:])
        histograms = NO_HISTOGRAMS
        if observed is not None:
            histograms = Histograms(shard.names.number(observed.identity, seen), *observed[1:])
        # A replay brings what was not folded yet, and that is told by the last close.
        late = shard.add(points, histograms, shard.closed if batch.replay else watermark, behind)
        if late is None or batch.replay or batch.known:
            return []
        LATE_POINTS.labels("late").inc(len(late))
        return [Late(late_frame(late.points, late.histograms, shard.names))]

    def _close(self, *, force: bool) -> list[Closed | Late | Passed]:
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

    def _unsaid(self, frames: list[pl.DataFrame]) -> list[pl.DataFrame]:
        """Leave out windows that came out whole before a recovery store was lost."""
        if self._final == UNKNOWN:
            return frames
        end = pl.col("window_start") + pl.col("window")
        frames = [frame.filter(end > self._final) for frame in frames]
        return [frame for frame in frames if frame.height]

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
        ended = show_open and self._watermark.ended
        frames = self._unsaid(self._shard.close(watermark, show_open=show_open, ended=ended))
        self._low_water.freeze(self._shard.closed, self._shard.frozen)
        if self._name == _FIRST_SHARD and not show_open:
            end = watermark - watermark % self._finest
            note_delays(self._watermark, end, self._disorder, self._clock.now())
        BATCH_SECONDS.labels("windows").observe(perf_counter() - started)
        tally, self._shard.tally = self._shard.tally, Tally()
        POINTS_SKIPPED.labels("duplicate").inc(tally.duplicates)
        POINTS_SKIPPED.labels("overlap").inc(tally.overlaps)
        POINTS_SKIPPED.labels("incomplete_histogram").inc(tally.incomplete)
        for tenant, count in tally.refused.items():
            POINTS_REFUSED.labels(tenant).inc(count)
        for frame in frames:
            revised = int((frame["revision"] > 0).sum())
            window = format_duration(int(frame["window"][0]))
            ROLLUPS_EMITTED.labels(window, "no").inc(frame.height - revised)
            ROLLUPS_EMITTED.labels(window, "yes").inc(revised)
        return frames
