"""The log lines of spans, as the step that follows their course needs them: a few numbers a line.

They are taken from the records of a poll that is parsed, scrubbed and masked. Lines without a span cost
nothing: of a poll without any only its times in Kafka are looked at.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.columns.compiling import compiled
from operators.columns.hash_index import HashIndex, numbered
from operators.columns.scanning import hash_range
from operators.columns.text_column import text_column
from operators.contracts.items import LogBatch, Polled, Rejected, SpanLines
from operators.contracts.monitoring import LOG_LINES_LATE
from operators.contracts.watermark import UNKNOWN
from operators.logs.courses.span_sampling import (
    MOST_OF_SERVICE,
    Levels,
    SpanSampler,
    slot_keys,
    slots_of,
)
from operators.logs.templates.masking import masked_texts

__all__ = ["LINES_LAG", "NO_LINES", "SPAN_LINE", "SpanLineReading", "compile_kernels"]

SPAN_LINE: Final = np.dtype(
    [
        ("origin", np.uint64),  # a number of tenant and service
        ("span", np.uint64),  # hash of the ids of trace and span
        ("ts", np.int64),
        ("place", np.int64),  # where it is in its partition: what orders lines of the same time
        ("shape", np.uint64),
    ]
)
NO_LINES: Final = np.empty(0, SPAN_LINE)

LINES_LAG: Final = 10_000_000_000
"""Nanoseconds beyond the disorder that lines may be behind later ones of their partition, as shippers gather
them; where no line of a span says more, event time is so far behind the times in Kafka."""
_AHEAD: Final = 60_000_000_000
"""A line further ahead of the newest message of its poll is passed over: its clock is wrong."""
_SEED: Final = np.uint64(0x7370616E)
_LONGEST: Final = 200
"""Characters of a masked text that are kept."""
_TOLD_AGAIN: Final = 300_000_000_000
"""Nanoseconds after which texts are told again: who has forgotten one hears it then."""
_REMEMBERED: Final = 120_000_000_000
"""Nanoseconds for which a worker remembers how many lines there were."""


class SpanLineReading:
    """Callable for ``flat_map``: what a poll becomes, and for each shard the lines of spans in it.

    Args:
        decoding: what makes records of a poll, ``LogDecoding``.
        topics: of logs; what a reader says of others is passed over.
        shards: number of shards.
        disorder: nanoseconds that a line may be behind a later one of its partition, beside ``LINES_LAG``.
            What is later is left out: which that is is said by the order of the partition, however it is
            polled.
    """

    def __init__(
        self,
        decoding: Callable[[Polled], Sequence[LogBatch | Rejected]],
        topics: Sequence[str],
        *,
        shards: int,
        disorder: int,
    ) -> None:
        self._decoding = decoding
        self._topics = frozenset(topics)
        self._shards = shards
        self._disorder = disorder
        self._threads: dict[int, _Thread] = {}

    def __call__(self, polled: Polled) -> Sequence[LogBatch | Rejected | SpanLines]:
        """Decode a poll."""
        out: list[LogBatch | Rejected | SpanLines] = list(self._decoding(polled))
        batches = [item for item in out if isinstance(item, LogBatch)]
        marks = {
            name: mark
            for name, mark in polled.marks.items()
            if name.rpartition("/")[0] in self._topics
        }
        if polled.replay and not batches:
            return out
        # All else is told on, without a line too: a reader that has no partition holds nobody back.
        # By the thread's number, see ``LogDecoding``.
        thread = self._threads.setdefault(threading.get_ident(), _Thread(self._disorder))
        newest = _newest(polled) if polled.topic in self._topics else {}
        cap = max(newest.values(), default=0) or 2**62
        parts, of_lines = thread.lines_of(batches, cap, polled.topic)
        largest = {name: at - LINES_LAG for name, at in newest.items()} | of_lines
        out += [
            SpanLines(
                shard, polled.reader, largest, marks, polled.replay, *parts.get(shard, (NO_LINES,))
            )
            for shard in range(self._shards)
        ]
        return out


_Said = tuple[
    NDArray[Any], Mapping[int, tuple[str, str]], Sequence[tuple[int, int, str]], Levels | None
]


class _Thread:
    """What one thread knows."""

    def __init__(self, disorder: int) -> None:
        self._disorder = disorder + LINES_LAG
        self._reached: dict[str, int] = {}  # by partition
        self._sampler = SpanSampler(MOST_OF_SERVICE)
        self._known = HashIndex()
        self._until = 0
        self._again = 0

    def lines_of(
        self, batches: Sequence[LogBatch], cap: int, topic: str
    ) -> tuple[dict[int, _Said], dict[str, int]]:
        """Return the lines of spans in a poll, and what a ``SpanLines`` says besides, by shard.

        Beside it, how far event time is in their partitions.
        """
        # Lines that waited for more come beside those of the poll, in a batch of their own.
        records: dict[int, list[pl.DataFrame]] = {}
        for batch in batches:
            records.setdefault(batch.shard, []).append(batch.records)
        found = {shard: _rows_of(pl.concat(parts)) for shard, parts in records.items()}
        found = {shard: one for shard, one in found.items() if len(one.at)}
        said: dict[int, _Said] = {}
        largest: dict[str, int] = {}
        if not found:
            return said, largest
        # Of all shards together: which line was before which is a matter of their partition.
        partitions = np.concatenate([one.partitions for one in found.values()])
        rows = np.concatenate([one.rows for one in found.values()])
        before = self._follow(partitions, rows, cap, topic, largest)
        ends = np.cumsum([len(one.at) for one in found.values()])
        its = rows["ts"][rows["ts"] <= cap + _AHEAD]
        newest = int(slots_of(its).max(initial=0))
        if newest > self._again:
            self._again = newest + _TOLD_AGAIN
            self._known = HashIndex()
        for (shard, one), until in zip(found.items(), np.split(before, ends[:-1]), strict=True):
            said[shard] = self._said(one, until, cap)
        if newest > self._until:
            self._until = newest
            self._sampler.forget(newest - _REMEMBERED)
        return said, largest

    def _said(self, found: _Rows, before: NDArray[np.int64], cap: int) -> _Said:
        records, at, rows = found.records, found.at, found.rows
        kept = (rows["ts"] >= before - self._disorder) & (rows["ts"] <= cap + _AHEAD)
        if not kept.all():
            LOG_LINES_LATE.inc(len(kept) - int(kept.sum()))
            rows, at = rows[kept], at[kept]
        slots = slots_of(rows["ts"])
        keys = slot_keys(rows["origin"], slots)
        kept = self._sampler.admit(keys, slots, rows["span"])
        levels = self._sampler.levels(keys)
        if not kept.all():
            rows, at = rows[kept], at[kept]
        if not len(rows):
            return NO_LINES, {}, (), levels
        _, first = numbered(np.ascontiguousarray(rows["origin"]))
        names = {
            origin: (records["tenant"][row], records["service"][row])
            for origin, row in zip(rows["origin"][first].tolist(), at[first].tolist(), strict=True)
        }
        return rows, names, self._new_texts(rows, records["body"], at), levels

    def _follow(
        self,
        partitions: NDArray[np.int32],
        rows: NDArray[Any],
        cap: int,
        topic: str,
        largest: dict[str, int],
    ) -> NDArray[np.int64]:
        """Return how far event time was in the partition of each line before it."""
        before = np.empty(len(rows), np.int64)
        for number in np.unique(partitions).tolist():
            name = f"{topic}/{number}"
            mine = np.flatnonzero(partitions == number)
            mine = mine[np.argsort(rows["place"][mine], kind="stable")]
            times = np.minimum(rows["ts"][mine], cap)
            until = np.maximum.accumulate(np.append(self._reached.get(name, UNKNOWN), times))
            before[mine] = until[:-1]
            self._reached[name] = int(until[-1])
            largest[name] = int(times.max())
        return before

    def _new_texts(
        self, rows: NDArray[Any], bodies: pl.Series, at: NDArray[np.intp]
    ) -> Sequence[tuple[int, int, str]]:
        """Return the texts of shapes that are new; ``at`` says where in ``bodies`` the rows' are."""
        mixed = rows["shape"] ^ rows["origin"]
        _, new = self._known.meet(mixed)
        if not len(new):
            return ()
        texts = masked_texts(*text_column(bodies.gather(at[new])))
        return [
            (origin, shape, text[:_LONGEST])
            for origin, shape, text in zip(
                rows["origin"][new].tolist(), rows["shape"][new].tolist(), texts, strict=True
            )
        ]


class _Rows(NamedTuple):
    """The lines of spans in records."""

    records: pl.DataFrame
    at: NDArray[np.intp]  # which of the records they are
    partitions: NDArray[np.int32]
    rows: NDArray[Any]


def _rows_of(records: pl.DataFrame) -> _Rows:
    at = np.flatnonzero((records["span_id"] != "").to_numpy())
    if not len(at):
        return _Rows(records, at, np.empty(0, np.int32), NO_LINES)
    whole = len(at) == records.height

    def column(name: str) -> pl.Series:
        return records[name] if whole else records[name].gather(at)

    rows = np.empty(len(at), SPAN_LINE)
    for name in ("origin", "ts", "shape"):
        rows[name] = column(name).to_numpy()
    rows["place"] = column("offset").to_numpy()
    rows["place"] <<= 16
    rows["place"] |= column("index").to_numpy() & 0xFFFF
    rows["span"] = _hashes(*text_column(column("trace_id")), *text_column(column("span_id")))
    return _Rows(records, at, column("partition").to_numpy(), rows)


def _newest(polled: Polled) -> dict[str, int]:
    """Return the newest time in Kafka of each partition of a poll; none where it has no times."""
    if polled.times is None or not len(polled.times):
        return {}
    return {
        f"{polled.topic}/{number}": newest
        for number in np.unique(polled.partitions).tolist()
        if (newest := int(polled.times[polled.partitions == number].max())) > 0
    }


@compiled
def _hashes(
    traces: NDArray[np.uint8],
    trace_starts: NDArray[np.int64],
    trace_ends: NDArray[np.int64],
    spans: NDArray[np.uint8],
    span_starts: NDArray[np.int64],
    span_ends: NDArray[np.int64],
) -> NDArray[np.uint64]:
    found = np.empty(len(span_starts), np.uint64)
    for row in range(len(span_starts)):
        of_trace = hash_range(traces, trace_starts[row], trace_ends[row], _SEED)
        found[row] = hash_range(spans, span_starts[row], span_ends[row], of_trace)
    return found


def compile_kernels() -> None:
    """Compile the loops, or load them from the disk, before there is a poll that waits for it."""
    column = text_column(pl.Series(["a"]))
    one = _hashes(*column, *column)
    SpanSampler(1).admit(one, np.zeros(1, np.int64), one)
    numbered(one)
