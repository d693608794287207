"""The operator of the windows: one keyed state a shard, whatever the number of series."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any, Final, Protocol

import bytewax.operators as op
import polars as pl
from bytewax.operators import KeyedStream, StatefulBatchLogic

from operators.clock import Clock, SystemClock
from operators.decoding import ShardBatch
from operators.durations import format_duration
from operators.frames import PARTIALS
from operators.monitoring import (
    BATCH_SECONDS,
    LATE_POINTS,
    OPEN_SERIES,
    ROLLUPS_EMITTED,
    WATERMARK_LAG,
)
from operators.partials import partial_rows
from operators.shard import Shard
from operators.watermark import UNKNOWN, Watermark

__all__ = ["Closed", "Late", "RollupSettings", "windows"]

_VERSION: Final = 1
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
        """See ``rollups.increases``."""
        ...

    @property
    def evict_after(self) -> int:
        """Silence after which a series is forgotten."""
        ...


@dataclass(frozen=True, slots=True)
class Closed:
    """Windows of one resolution that closed, or changed since: a ROLLUPS frame."""

    frame: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Late:
    """Runs refused for their time: PARTIALS with tenant, name, labels and the reason."""

    frame: pl.DataFrame


def windows(
    step_id: str,
    up: KeyedStream[ShardBatch],
    settings: RollupSettings,
    readers: int,
    clock: Clock | None = None,
) -> KeyedStream[Closed | Late]:
    """Turn the runs of each shard into rollups; what can't be in one any more is ``Late``."""
    clock = clock or SystemClock()

    def build(state: dict[str, Any] | None) -> WindowLogic:
        return WindowLogic(settings, readers, clock, state)

    return op.stateful_batch(step_id, up, build)


class WindowLogic(StatefulBatchLogic[ShardBatch, "Closed | Late", dict[str, Any]]):
    """Closes the windows of one shard as its watermark passes."""

    def __init__(
        self, settings: RollupSettings, readers: int, clock: Clock, state: dict[str, Any] | None
    ) -> None:
        if state is not None and state["version"] != _VERSION:
            raise RuntimeError(
                f"the recovery store holds windows of version {state['version']}, this Headrace "
                f"reads {_VERSION}: start with an empty recovery directory and run.since: earliest"
            )
        self._clock = clock
        self._watermark = Watermark(
            readers, settings.disorder, state["watermark"] if state else None
        )
        self._shard = Shard(
            settings.windows,
            settings.lateness,
            settings.counter_horizon,
            settings.evict_after,
            state["shard"] if state else None,
        )
        self._name = "?"
        self._not_before = 0.0
        self._wake: datetime | None = None

    def on_batch(self, values: list[ShardBatch]) -> tuple[list[Closed | Late], bool]:
        """Take in runs; close windows if it is time."""
        out: list[Closed | Late] = []
        for batch in values:
            self._name = str(batch.shard)
            late = self._shard.add(batch.partials, batch.series, self._watermark.value)
            if late is not None:
                out.append(self._refuse(late, "late"))
            if batch.future.height:
                out.append(self._refuse(batch.future, "future"))
            self._watermark.update(batch.reader, batch.largest, batch.marks)
        return out + self._close(force=self._watermark.silent), StatefulBatchLogic.RETAIN

    def on_notify(self) -> tuple[list[Closed | Late], bool]:
        """Close what was put off."""
        return self._close(force=False), StatefulBatchLogic.RETAIN

    def on_eof(self) -> tuple[list[Closed | Late], bool]:
        """Close what was put off, now."""
        return self._close(force=True), StatefulBatchLogic.RETAIN

    def notify_at(self) -> datetime | None:
        """Wake up when a closing was put off."""
        return self._wake

    def snapshot(self) -> dict[str, Any]:
        """Return plain data, with its version."""
        return {
            "version": _VERSION,
            "watermark": self._watermark.snapshot(),
            "shard": self._shard.snapshot(),
        }

    def _close(self, *, force: bool) -> list[Closed | Late]:
        self._wake = None
        show_open = self._watermark.silent and self._shard.open
        if not show_open and not self._shard.due(self._watermark.value):
            return []
        began = self._clock.monotonic()
        if not force and began < self._not_before:
            wait = timedelta(seconds=self._not_before - began)
            self._wake = datetime.now(UTC) + wait
            return []
        lag = (self._clock.now() - self._watermark.value) / 1e9
        self._not_before = began + (_GATHER if lag < _BACKLOG else _GATHER_BACKLOG)
        started = perf_counter()
        frames = self._shard.close(self._watermark.value, show_open=show_open)
        BATCH_SECONDS.labels("windows").observe(perf_counter() - started)
        OPEN_SERIES.labels(self._name).set(self._shard.series)
        if self._watermark.value > UNKNOWN:
            WATERMARK_LAG.labels(self._name).set(lag)
        for frame in frames:
            revised = int((frame["revision"] > 0).sum())
            window = format_duration(int(frame["window"][0]))
            ROLLUPS_EMITTED.labels(window, "no").inc(frame.height - revised)
            ROLLUPS_EMITTED.labels(window, "yes").inc(revised)
        return [Closed(frame) for frame in frames]

    def _refuse(self, partials: pl.DataFrame, reason: str) -> Late:
        LATE_POINTS.labels(reason).inc(partial_rows(partials))
        named = self._shard.describe(partials.select(PARTIALS.names()))
        return Late(named.with_columns(reason=pl.lit(reason)))
