"""Traces of which it is not decided yet whether they are kept, and what was decided lately.

A trace belongs to the *slot*, the window, in which its first root ended. A slot is decided once nothing
that ended in it counts any more (``hold`` after its end), and all spans of its traces that are there by
then go one way. One whose root never comes is decided after ``max_age``, by its first span. What comes of
a decided trace later follows it, so no trace is kept in half. Where there is more than the memory allows
some are decided early, and left out (``operators.traces.crowding``).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.columns.hash_index import HashIndex
from operators.contracts.monitoring import TRACES_CROWDED_OUT
from operators.traces.calls import unique
from operators.traces.chunks import Chunk, Taken, bytes_of, compacted
from operators.traces.crowding import Crowd, GaveWay
from operators.traces.fates import (
    DROPPED,
    ERROR,
    REASONS,
    REST,
    SENT,
    SLOW,
    foremost,
    judge,
    says_due,
)
from operators.traces.kept import BatchPart, spans_of
from operators.traces.rows import FAILED, joined_chosen, keys_of
from operators.traces.rules import KeepingRules
from operators.traces.table import OperationTable
from operators.traces.usual import UsualDurations

__all__ = ["SpanDecision", "Undecided"]

_log = logging.getLogger(__name__)

_QUIET: Final = 60_000_000_000
"""Nanoseconds of event time for which a shard does not say again that its memory is full."""


@dataclass(slots=True)
class SpanDecision:
    """What is decided, as SPANS frames; None of what there is none.

    Attributes:
        kept: of traces that are kept for what they are.
        candidates: of those of which some are kept, with ``slot``, ``group`` and ``randomness``.
        late: the same of traces that were candidates before.
        lost: of traces that were left out before, spans that failed.
        crowded: the same of traces for which there is no memory.
    """

    kept: pl.DataFrame | None = None
    candidates: pl.DataFrame | None = None
    late: pl.DataFrame | None = None
    lost: pl.DataFrame | None = None
    crowded: pl.DataFrame | None = None


class Undecided:
    """The traces of one shard.

    Args:
        rules: which are kept.
        window, hold: see ``operators.traces.step``.
        table: of the operations.
        state: what ``snapshot`` gave.
    """

    def __init__(
        self,
        rules: KeepingRules,
        window: int,
        hold: int,
        table: OperationTable,
        state: dict[str, Any] | None = None,
    ) -> None:
        self._rules = rules
        self._window = window
        self._age = -(-rules.max_age // window) * window
        self._hold = hold
        self._table = table
        self._chunks: list[Chunk] = []
        self.decided: int = state["decided"] if state else -(2**62)
        """Slots that begin before this event time are decided."""
        columns = state["memory"] if state else [b""] * 5
        kinds = (np.uint64, np.int64, np.uint8, np.uint64, np.int64)
        self._memory: list[NDArray[Any]] = [
            np.frombuffer(content, kind) for content, kind in zip(columns, kinds, strict=True)
        ]  # key, slot, what became of it or why it is kept, group, randomness
        self._index = HashIndex()
        self._index.insert(self._memory[0], np.arange(len(self._memory[0]), dtype=np.int32))
        self._usual: UsualDurations | None = None
        if rules.slow_quantile:
            usual = state.get("usual") if state else None
            self._usual = UsualDurations(rules.slow_quantile, rules.slow_history, window, usual)
        self._crowd = Crowd(rules, window, hold, self._age, table)
        self._warned = -(2**62)

    def __len__(self) -> int:
        return sum(len(chunk.rows) for chunk in self._chunks)

    def snapshot(self) -> dict[str, Any]:
        """Return plain data: what was decided lately. Undecided spans are read again."""
        return {
            "decided": self.decided,
            "memory": [column.tobytes() for column in self._memory],
            "usual": self._usual.snapshot() if self._usual is not None else None,
        }

    def add(
        self, rows: NDArray[Any], content: NDArray[np.uint8], *, replay: bool = False
    ) -> SpanDecision:
        """Take in spans; those of decided traces follow what was decided.

        Args:
            rows, content: of a batch.
            replay: they were taken in before, so nothing is said of decided ones.
        """
        if not len(rows):
            return SpanDecision()
        operations = self._table.find(rows["operation"])
        keys = keys_of(rows, self._table.salt[operations])
        first = int(rows["ended"].min())
        chunk = Chunk(rows, content, operations, keys, bytes_of(rows), first)
        at = self._index.find(chunk.keys)
        decided = at >= 0
        found = SpanDecision()
        if not decided.any():
            self._chunks.append(chunk)
        else:
            if not decided.all():
                self._chunks.append(chunk.of(~decided))
            if not replay:
                found = self._follow(chunk.of(decided), at[decided])
        failed = self._give_way(self._crowd.add(rows, chunk.keys, operations))
        found.crowded = None if replay else failed
        return found

    def _give_way(self, crowds: Sequence[GaveWay]) -> pl.DataFrame | None:
        """Leave traces out that are not decided; return what of them failed."""
        gone: list[Chunk] = []
        for crowd in crowds:
            new = self._index.find(crowd.keys) < 0  # a trace that is kept stays so
            keys = crowd.keys[new]
            if not len(keys):
                continue
            self._remember(
                keys,
                np.full(len(keys), crowd.start),
                np.full(len(keys), DROPPED, np.uint8),
                np.zeros(len(keys), np.uint64),
                crowd.randomness[new],
            )
            index = HashIndex()
            index.number(keys)
            left, spans = [], 0
            for chunk in self._chunks:
                mine = index.find(chunk.keys) >= 0
                if not mine.any():
                    left.append(chunk)
                    continue
                spans += int(mine.sum())
                failed = mine & (chunk.rows["status"] == FAILED)
                if failed.any():
                    gone.append(chunk.of(failed))
                if not mine.all():
                    left.append(compacted(chunk.of(~mine)))
            self._chunks = left
            tenant = next(t for t, n in self._table.tenants.items() if n == crowd.tenant)
            TRACES_CROWDED_OUT.labels(tenant).inc(len(keys))
            if crowd.start >= self._warned + _QUIET:
                self._warned = crowd.start
                _log.warning(
                    "traces: tenant %s has more undecided spans than traces.sampling.memory allows: "
                    "%d traces with %d spans are left out early; raise it, or have fewer spans",
                    tenant, len(keys), spans,
                )  # fmt: skip
        if not gone:
            return None
        return self._frame(gone, np.zeros(sum(len(chunk.rows) for chunk in gone), np.uint8))

    def _remember(
        self,
        traces: NDArray[np.uint64],
        slots: NDArray[np.int64],
        fates: NDArray[np.uint8],
        groups: NDArray[np.uint64],
        randomness: NDArray[np.int64],
    ) -> None:
        more: tuple[NDArray[Any], ...] = (traces, slots, fates, groups, randomness)
        size = len(self._memory[0])
        self._memory = [
            np.concatenate([old, new]) for old, new in zip(self._memory, more, strict=True)
        ]
        self._index.insert(traces, np.arange(size, size + len(traces), dtype=np.int32))

    def _follow(self, chunk: Chunk, at: NDArray[np.int32]) -> SpanDecision:
        _, slots, fates, groups, randomness = self._memory
        fate = fates[at]
        found = SpanDecision()
        kept = fate < SENT
        if kept.any():
            found.kept = self._frame([chunk.of(kept)], fate[kept])
        sent = fate == SENT
        if sent.any():
            frame = self._frame([chunk.of(sent)], np.full(int(sent.sum()), REST))
            found.late = _placed(frame, slots[at][sent], groups[at][sent], randomness[at][sent])
        lost = (fate == DROPPED) & (chunk.rows["status"] == FAILED)
        if lost.any():
            found.lost = self._frame([chunk.of(lost)], np.zeros(int(lost.sum()), np.uint8))
        return found

    def decide(self, watermark: int, *, ended: bool = False) -> SpanDecision:
        """Decide all slots that are due.

        Args:
            watermark: event time.
            ended: nothing more will come, so all are due.
        """
        window = self._window
        limit = 2**62 if ended else (watermark - self._hold) // window * window
        crowded = self._give_way(self._crowd.fill_up(2**62 if ended else watermark))
        if limit <= self.decided:
            return SpanDecision(crowded=crowded)
        if not ended:
            self.decided = limit
        # Slots before ``limit``, and traces that began to be heard of too long ago to wait on.
        oldest = 2**62 if ended else limit - self._age
        due = [
            chunk.keys[says_due(chunk.rows, limit, oldest)]
            for chunk in self._chunks
            if chunk.first < max(limit, oldest)
        ]
        keys = np.concatenate([np.empty(0, np.uint64), *due])
        found = self._decide(keys) if len(keys) else SpanDecision()
        waiting = self._crowd.wait(
            limit - self._hold, oldest, lambda each: self._index.find(each) < 0
        )
        more = self._give_way(waiting)
        failed = [frame for frame in (crowded, more) if frame is not None]
        found.crowded = pl.concat(failed) if failed else None
        self._forget(self.decided)
        return found

    def _decide(self, keys: NDArray[np.uint64]) -> SpanDecision:
        index = HashIndex()
        _, traces = index.number(keys)
        whole: list[Chunk] = []
        numbers: list[NDArray[np.int32]] = []
        masks: list[NDArray[np.bool_]] = []
        left: list[Chunk] = []
        for chunk in self._chunks:
            trace = index.find(chunk.keys)
            mine = trace >= 0
            if not mine.any():
                left.append(chunk)
                continue
            whole.append(chunk)
            numbers.append(trace[mine])
            masks.append(mine)
            if not mine.all():
                left.append(compacted(chunk.of(~mine)))
        self._chunks = left
        rows = joined_chosen([chunk.rows for chunk in whole], masks)
        operations = np.concatenate(
            [chunk.operations[mine] for chunk, mine in zip(whole, masks, strict=True)]
        )
        trace = np.concatenate(numbers)
        taken = Taken(
            rows, operations, [(c.content, len(n)) for c, n in zip(whole, numbers, strict=True)]
        )
        # Duplicates count for nothing, and are not kept.
        once = np.zeros(len(rows), np.bool_)
        once[unique(rows, operations, self._table.tenant)] = True
        fates, slots, roots, randomness, durations = judge(
            rows, operations, trace, once, self._table.wanted, len(traces), self._rules.errors,
            self._rules.slow, self._window, self._age,
        )  # fmt: skip
        groups = self._table.root[operations[roots]]
        if self._usual is not None:
            fates[self._usual.slow(slots, groups, durations) & (fates != ERROR)] = SLOW
        rest = np.flatnonzero(fates == 0)
        fate = fates.copy()
        fate[rest] = DROPPED
        fate[rest[foremost(slots[rest], groups[rest], randomness[rest], self._rules.rest + 1)]] = (
            SENT
        )
        of_row = fate[trace]
        # Those with less would have had to give way, so each that did not stands for some.
        least = self._crowd.least(traces)[trace]
        found = SpanDecision()
        kept, sent = once & (of_row < SENT), once & (of_row == SENT)
        count, more = int(kept.sum()), int(sent.sum())
        if count or more:
            reasons = np.concatenate([of_row[kept], np.full(more, REST, np.uint8)])
            frame = self._framed([*taken.parts(kept), *taken.parts(sent)], reasons)
            frame = _at_least(frame, np.concatenate([least[kept], least[sent]]))
            found.kept = frame[:count] if count else None
            if more:
                mine = trace[sent]
                found.candidates = _placed(
                    frame[count:], slots[mine], groups[mine], randomness[mine]
                )
        self._remember(traces, slots, fate, groups, randomness)
        return found

    def _frame(self, chunks: Sequence[Chunk], reasons: NDArray[Any]) -> pl.DataFrame:
        parts = [BatchPart(chunk.rows, chunk.content, chunk.operations) for chunk in chunks]
        return self._framed(parts, reasons)

    def _framed(self, parts: Sequence[BatchPart], reasons: NDArray[Any]) -> pl.DataFrame:
        return spans_of(parts, self._table, REASONS[pl.Series(reasons)])

    def _forget(self, decided: int) -> None:
        """Forget what was decided so long ago that nothing is read again of it."""
        before = decided - 2 * (self._rules.max_age + 4 * (self._hold + self._window))
        slots = self._memory[1]
        old = slots < before
        if 4 * int(old.sum()) > len(slots):
            self._memory = [column[~old] for column in self._memory]
            self._index = HashIndex()
            self._index.insert(self._memory[0], np.arange(len(self._memory[0]), dtype=np.int32))


def _at_least(frame: pl.DataFrame, least: NDArray[np.int64]) -> pl.DataFrame:
    if not least.any():
        return frame
    return frame.with_columns(threshold=pl.max_horizontal("threshold", pl.Series(least)))


def _placed(
    frame: pl.DataFrame,
    slots: NDArray[np.int64],
    groups: NDArray[np.uint64],
    randomness: NDArray[np.int64],
) -> pl.DataFrame:
    more = {"slot": slots, "group": groups, "randomness": randomness}
    return frame.hstack([pl.Series(name, column) for name, column in more.items()])
