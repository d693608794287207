"""The operator of the traces: one keyed state a shard has all spans of its traces.

It counts calls, errors and durations, and joins clients with those who received their calls. All that
it tells is a function of the *set* of spans: each counts once, in the window in which it ended, however
often and in whatever order it came. What it counted goes to the shards of the series as points
(``operators.traces.meter``), and event time with it: to their windows this shard is a reader of one
partition, whose watermark is its own.

How long something is held, in event time after the end of a window::

    window ends ──► calls and edges are told; what comes later revises them
    + hold      ──► a span that ended in it is late, and goes to the late topic
    + 2 hold    ──► clients whose call nobody received are told by whom they call; it is forgotten

Spans are in no snapshot: Kafka has them, and they are read again after a restart
(``operators.kafka.low_water``), which is from ``2 hold`` before the first window that the series'
windows have open. So what is told of windows again is the same as before, and changes nothing.
"""

from __future__ import annotations

from datetime import datetime
from time import perf_counter
from typing import Any, Final

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from operators.bytewax import KeyedStream, keyed
from operators.contracts.clock import Clock, SystemClock
from operators.contracts.engine import KeyedLogic
from operators.contracts.frames import empty
from operators.contracts.items import (
    NO_SAMPLES,
    Candidates,
    Kept,
    Late,
    Named,
    ShardBatch,
    SpanBatch,
)
from operators.contracts.monitoring import BATCH_SECONDS, OPEN_SPANS, SPANS_LEFT_OUT
from operators.contracts.snapshots import require_version
from operators.contracts.watermark import UNKNOWN, Mark, Watermark
from operators.series.enrichment import Enricher
from operators.series.labels import combined, hashes
from operators.traces.edges import called, from_outside, to_databases, unanswered
from operators.traces.links import Links, LinkWindow
from operators.traces.meter import Meter
from operators.traces.metrics import SpanMetrics
from operators.traces.rows import chosen, starts_of
from operators.traces.rules import TraceSettings
from operators.traces.sampling import CANDIDATES, CROWDED, lost_frame
from operators.traces.table import OperationTable
from operators.traces.undecided import SpanDecision, Undecided
from operators.traces.windows import SpanWindow, Windows

__all__ = ["TracingLogic", "traces"]

_VERSION: Final = 1
_EVERYTHING: Final = 2**62
_HEARTBEAT: Final = 60_000_000_000
"""Nanoseconds of event time after which tenants without new series are named all the same."""

_NO_CANDIDATES: Final = empty(CANDIDATES)

Out = ShardBatch | Named | Late | Kept | Candidates
"""What comes of spans."""


def traces(
    step_id: str,
    up: KeyedStream[SpanBatch],
    settings: TraceSettings,
    enrichment: Enricher,
    readers: int,
    clock: Clock | None = None,
) -> KeyedStream[Out]:
    """Turn the spans of each shard into points of series; what can't count any more is ``Late``."""
    clock = clock or SystemClock()

    def build(state: dict[str, Any] | None) -> TracingLogic:
        return TracingLogic(settings, enrichment, readers, clock, state)

    return keyed(step_id, up, build)


class TracingLogic(KeyedLogic[SpanBatch, Out]):
    """Holds the spans of one shard.

    Raises:
        RuntimeError: the state is of another version.
    """

    def __init__(
        self,
        settings: TraceSettings,
        enrichment: Enricher,
        readers: int,
        clock: Clock,
        state: dict[str, Any] | None,
    ) -> None:
        require_version(state, "traces", _VERSION)
        self._settings = settings
        self._enrichment = enrichment
        self._clock = clock
        self._watermark = Watermark(
            readers,
            settings.disorder,
            state["watermark"] if state else None,
            bound=settings.partition_lag,
        )
        self._table = OperationTable()
        self._windows = Windows(settings.window)
        self._links = Links(settings.hold, self._table)
        self._put_off: list[SpanBatch] = []
        self._replaying = state is not None
        self._told: int = state["told"] if state else UNKNOWN
        self._shown: int = state["shown"] if state else UNKNOWN  # end of the last window told of
        self._final: int = state["final"] if state else UNKNOWN
        self._refused: dict[int, NDArray[np.uint64]] = {
            start: np.frombuffer(keys, np.uint64)
            for start, keys in (state["refused"].items() if state else ())
        }
        self._mark: Mark | None = None
        self._passed = UNKNOWN
        self._shard = 0
        self._meter: Meter | None = None
        self._undecided: Undecided | None = None
        if settings.sampling is not None:
            self._undecided = Undecided(
                settings.sampling,
                settings.window,
                settings.hold,
                self._table,
                state["undecided"] if state else None,
            )
        self._named_until = UNKNOWN
        self._tenants: dict[str, int] = {}  # when each was last named

    # The engine calls these.

    def on_batch(self, items: list[SpanBatch]) -> list[Out]:
        """Take in spans; tell of windows that are due."""
        started = perf_counter()
        out: list[Out] = []
        now = self._clock.monotonic()
        for batch in items:
            if self._meter is None:
                self._begin(batch.shard)
            self._table.learn(batch.operations)
            self._final = max(self._final, batch.final)
            self._passed = max(self._passed, batch.passed)
            before = self._watermark.value
            self._watermark.update(
                batch.reader, batch.largest, batch.marks, replay=batch.replay, now=now
            )
            self._watermark.reach(batch.passed)
            if not self._replaying:
                out += self._add(batch, before)
                continue
            if batch.replay:
                known = self._not_refused(batch.rows)
                self._windows.add(known, starts_of(known, self._settings.window))
                if self._undecided is not None:
                    self._undecided.add(batch.rows, batch.content, replay=True)
            else:
                self._put_off.append(batch)
            if not self._watermark.awaits:
                out += self._rebuild()
                for waiting in self._put_off:
                    out += self._add(waiting, before)
                self._put_off = []
        if not self._replaying:
            out += self._close()
        BATCH_SECONDS.labels("traces").observe(perf_counter() - started)
        return out

    def on_end(self) -> list[Out]:
        """Tell what is left."""
        return [] if self._replaying or self._meter is None else self._close()

    def wake_at(self) -> datetime | None:
        """Need no waking: time goes on with the data alone."""
        return None

    def snapshot(self) -> dict[str, Any]:
        """Return plain data, with its version: how far it is, and which spans it refused."""
        return {
            "version": _VERSION,
            "watermark": self._watermark.snapshot(),
            "told": self._told,
            "shown": self._shown,
            "final": self._final,
            "undecided": self._undecided.snapshot() if self._undecided is not None else None,
            "refused": {start: keys.tobytes() for start, keys in self._refused.items()},
        }

    # What comes in.

    def _begin(self, shard: int) -> None:
        self._shard = shard
        self._meter = Meter(shard, self._settings.series_shards, self._enrichment)
        self._metrics = SpanMetrics(self._meter, self._table)

    def _add(self, batch: SpanBatch, watermark: int) -> list[Out]:
        """Put spans into their windows; return what is late."""
        rows = batch.rows
        if not len(rows):
            return []
        length = self._settings.window
        first = watermark - self._settings.hold - length
        ended_in = starts_of(rows, length)
        late = ended_in <= first
        out: list[Out] = []
        if self._undecided is not None:
            out += self._sampled(self._undecided.add(rows, batch.content), None)
        if not late.any():
            self._windows.add(rows, ended_in)
            return out
        refused = chosen(rows, late)
        self._windows.add(chosen(rows, ~late), ended_in[~late])
        starts = ended_in[late]
        again = starts > first - 4 * (self._settings.hold + length)  # they may be read again
        for start in np.unique(starts[again]).tolist():
            keys = self._keys(chosen(refused, starts == start))
            known = self._refused.get(start, keys[:0])
            self._refused[start] = np.union1d(known, keys)
        SPANS_LEFT_OUT.labels("late").inc(len(refused))
        return out if batch.known else [*out, Late(self._late(refused))]

    def _not_refused(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return what of a replay had not come too late before."""
        if not self._refused or not len(rows):
            return rows
        return rows[~np.isin(self._keys(rows), np.concatenate(list(self._refused.values())))]

    def _keys(self, rows: NDArray[Any]) -> NDArray[np.uint64]:
        """Return a number for each span, by which one that was refused is known again.

        Tenants may have one trace id, and client and server one span id.
        """
        names = ("trace_high", "trace_low", "span", "ended", "kind")
        numbers = [np.ascontiguousarray(rows[name]).astype(np.uint64) for name in names]
        return combined(*numbers, self._table.salt[self._table.find(rows["operation"])])

    def _late(self, rows: NDArray[Any]) -> pl.DataFrame:
        found = self._table.frame[self._table.find(rows["operation"]).tolist()]
        labels = [
            orjson.dumps(
                {
                    "service.name": service,
                    "trace_id": f"{row['trace_high']:016x}{row['trace_low']:016x}",
                    "span_id": f"{row['span']:016x}",
                }
            ).decode()
            for row, service in zip(rows, found["service"], strict=True)
        ]
        return pl.DataFrame(
            {
                "identity": self._keys(rows),
                "tenant": found["tenant"],
                "name": found["name"],
                "labels": labels,
                "ts": rows["ended"],
                "start": rows["begun"],
                "reason": ["late span"] * len(rows),
            }
        )

    # What comes out.

    def _rebuild(self) -> list[Out]:
        """End a replay: tell again of windows that the series' windows may have lost."""
        self._replaying = False
        settings = self._settings
        self._windows.drop(self._told - 3 * (settings.hold + settings.window))
        until = max(self._told, self._shown)
        self._compute(
            [w for w in self._windows if w.changed and w.start + settings.window <= until]
        )
        self._settle(self._told)
        return self._tell(self._told, replay=True)

    def _close(self) -> list[Out]:
        """Tell of windows that are due, and how far event time is."""
        watermark, ended = self._watermark.value, self._watermark.ended
        length = self._settings.window
        limit = _EVERYTHING if self._watermark.silent else watermark
        due = [w for w in self._windows if w.changed and w.start + length <= limit]
        self._compute(due)
        settled = self._settle(_EVERYTHING if ended else watermark)
        mark = Mark.ENDED if ended else Mark.IDLE if self._watermark.silent else Mark.LIVE
        if self._watermark.awaits:
            return []
        sampled: list[Out] = []
        if self._undecided is not None and watermark > UNKNOWN:
            before = self._undecided.decided
            decision = self._undecided.decide(watermark, ended=ended)
            decided = _EVERYTHING if ended else self._undecided.decided
            if decided != before and not (ended and self._mark is Mark.ENDED):
                sampled = self._sampled(decision, decided)
            elif decision.crowded is not None:
                sampled = self._sampled(decision, None)
        went_on = watermark // length > self._told // length
        if not (due or settled or went_on or mark is not self._mark):
            return sampled
        self._mark = mark
        out = self._tell(watermark)
        self._forget(watermark)
        OPEN_SPANS.labels(str(self._shard)).set(len(self._windows))
        return out + sampled

    def _sampled(self, decision: SpanDecision, decided: int | None) -> list[Out]:
        """Return what becomes of traces; with ``decided`` every shard of operations is told of it."""
        out: list[Out] = []
        if decision.kept is not None:
            out.append(Kept(self._shard, decision.kept))
        if decision.lost is not None:
            SPANS_LEFT_OUT.labels("late").inc(decision.lost.height)
            out.append(Late(lost_frame(decision.lost)))
        if decision.crowded is not None:
            SPANS_LEFT_OUT.labels("crowded").inc(decision.crowded.height)
            out.append(Late(lost_frame(decision.crowded, CROWDED)))
        if decided is None and decision.late is None:
            return out
        rules = self._settings.sampling
        assert rules is not None
        candidates, late = (
            _by_shard(frame, self._settings.shards, tenants=rules.budget)
            for frame in (decision.candidates, decision.late)
        )
        until = decided if decided is not None else UNKNOWN
        for number in range(self._settings.shards):
            if decided is not None or number in late:
                some, more = (each.get(number, _NO_CANDIDATES) for each in (candidates, late))
                out.append(Candidates(number, self._shard, until, some, more))
        return out

    def _compute(self, due: list[SpanWindow]) -> None:
        """Count what ended in windows, and the calls between services that became known by it."""
        if not due:
            return
        counted = []
        duplicates = 0
        for window in due:
            spans = window.compute(self._table, self._settings.window)
            duplicates += spans.twice
            self._metrics.calls(spans.rows, spans.operations, window.start)
            counted.append(LinkWindow(window.start, spans.rows, spans.operations))
        SPANS_LEFT_OUT.labels("duplicate").inc(duplicates)
        self._shown = max(self._shown, due[-1].start + self._settings.window)
        self._links.add(counted)
        met = self._links.meet(due[0].start)
        self._metrics.edges(called(met, self._table), "")
        new = self._links.of(window.start for window in due)
        self._metrics.edges(to_databases(new, self._table), "/databases")
        self._metrics.edges(from_outside(new, self._table), "/outside")

    def _settle(self, watermark: int) -> bool:
        """Tell of calls that nobody received, once nobody can any more."""
        reached = watermark - self._settings.window - 2 * self._settings.hold
        settled = [w for w in self._windows if not w.settled and w.start <= reached]
        if not settled:
            return False
        for window in settled:
            window.settled = True
        alone = self._links.of(window.start for window in settled)
        self._metrics.edges(unanswered(alone, self._table), "/unanswered")
        return True

    def _tell(self, watermark: int, *, replay: bool = False) -> list[Out]:
        meter = self._meter
        assert meter is not None
        told = meter.told(self._settings.window)
        place = f"traces/{self._shard}"
        largest = {place: watermark} if watermark > UNKNOWN else {}
        marks = {place: self._mark or Mark.LIVE}
        out: list[Out] = [*self._named(told.new, watermark)]
        for shard in range(self._settings.series_shards):
            samples, observed = told.samples.get(shard, NO_SAMPLES), told.observed.get(shard)
            if replay and not len(samples.ts) and observed is None:
                continue
            out.append(
                ShardBatch(
                    shard,
                    self._shard,
                    largest,
                    {} if replay else marks,
                    replay,
                    samples,
                    observed,
                    self._passed,
                    final=self._final,
                )
            )
        if not replay:
            self._told = max(self._told, watermark)
        return out

    def _named(self, new: pl.DataFrame, seen: int) -> list[Named]:
        """Name what is new to those that may refuse it, and tell them now and then that time goes on."""
        parts: dict[str, pl.DataFrame] = {}
        if new.height:
            parts = {
                str(tenant): part
                for (tenant,), part in new.partition_by("tenant", as_dict=True).items()
            }
        if seen > UNKNOWN:
            for tenant, when in list(self._tenants.items()):
                if tenant not in parts and seen - when >= _HEARTBEAT:
                    parts[tenant] = new.clear()
            self._tenants |= dict.fromkeys(parts, seen)
        shards = self._settings.series_shards
        return [
            Named(tenant, part, max(seen, 0), self._shard, shards) for tenant, part in parts.items()
        ]

    def _forget(self, watermark: int) -> None:
        """Let go of what can't change any more; name series anew now and then."""
        if watermark == UNKNOWN:
            return
        settings = self._settings
        self._windows.seal(watermark - settings.hold - settings.window)
        forgotten = watermark - 2 * settings.hold - 2 * settings.window
        self._windows.drop(forgotten)
        self._links.drop(forgotten)
        oldest = watermark - 5 * (settings.hold + settings.window)
        self._refused = {start: keys for start, keys in self._refused.items() if start >= oldest}
        if watermark >= self._named_until:
            # No series may be forgotten that is in use: see ``operators.series.step``.
            if self._named_until > UNKNOWN and self._meter is not None:
                self._meter.forget()
            self._named_until = watermark + settings.evict_after // 2


def _by_shard(frame: pl.DataFrame | None, shards: int, *, tenants: bool) -> dict[int, pl.DataFrame]:
    """Part candidates by the shard of their root operation, or of their tenant."""
    if frame is None or not frame.height:
        return {}
    of = hashes(frame["tenant"]) if tenants else frame["group"].to_numpy()
    numbers = of % np.uint64(shards)
    if (numbers == numbers[0]).all():  # as of one tenant
        return {int(numbers[0]): frame}
    parts = frame.hstack([pl.Series("shard", numbers)]).partition_by(
        "shard", as_dict=True, include_key=False, maintain_order=True
    )
    return {int(shard): part for (shard,), part in parts.items()}
