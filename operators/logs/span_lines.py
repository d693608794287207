"""The log lines of spans, as the step that follows their course needs them: a few numbers a line.

They are taken from the records of a poll that is parsed, scrubbed and masked. Lines without a span cost
nothing: of a poll without any only its times in Kafka are looked at.

**What gives way is a function of the set.** Of a service and five seconds at most ``MOST_OF_SERVICE`` lines
are looked at: beyond them those of half of the spans, then of a quarter, chosen by the hash of their ids. A
worker that has enough by itself drops what can't be among them, and says so. Example: 10,000 lines in 2,000
spans come from two workers; an eighth of the spans stays, the same ones as if one worker had read all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.columns.compiling import compiled, leading_zeros
from operators.columns.hash_index import HashIndex, numbered
from operators.columns.scanning import hash_range
from operators.columns.text_column import text_column
from operators.contracts.items import LogBatch, Polled, Rejected, SpanLines
from operators.contracts.watermark import UNKNOWN
from operators.logs.masking import masked_texts

__all__ = [
    "LINES_LAG",
    "MOST_OF_SERVICE",
    "NO_LINES",
    "SETTLES",
    "SPAN_LINE",
    "SpanLineReading",
    "SpanSampler",
    "compile_kernels",
    "slot_keys",
    "slots_of",
]

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

MOST_OF_SERVICE: Final = 2048

LINES_LAG: Final = 10_000_000_000
"""Nanoseconds beyond the disorder that lines may be behind later ones of their partition, as shippers gather
them; where no line of a span says more, event time is so far behind the times in Kafka."""
SETTLES: Final = 5_000_000_000
"""Nanoseconds after the end of a window in which spans that began within it are still read."""
_AHEAD: Final = 60_000_000_000
"""A line further ahead of the newest message of its poll is passed over: its clock is wrong."""
_SEED: Final = np.uint64(0x7370616E)
_LONGEST: Final = 200
"""Characters of a masked text that are kept."""
_TOLD_AGAIN: Final = 300_000_000_000
"""Nanoseconds after which texts are told again: who has forgotten one hears it then."""
_REMEMBERED: Final = 120_000_000_000
"""Nanoseconds for which a worker remembers how many lines there were."""


Levels = tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]
"""Of which keys there are too many lines: keys, slots, and how many zeros the hash of a span has to begin with."""


class SpanSampler:
    """Chooses the spans of which lines are looked at, by a key (of service and window, say).

    Args:
        most: lines of a key.
        state: what ``snapshot`` gave.
    """

    def __init__(self, most: int, state: dict[str, Any] | None = None) -> None:
        self._most = most
        self._index = HashIndex()
        self._slots = np.empty(0, np.int64)
        self._counts = np.empty((0, 65), np.int64)  # lines by the zeros that their hash begins with
        self._levels = np.empty(0, np.int64)  # hashes with fewer zeros are not looked at
        if state is not None:
            self._restore(state)

    def admit(
        self, keys: NDArray[np.uint64], slots: NDArray[np.int64], spans: NDArray[np.uint64]
    ) -> NDArray[np.bool_]:
        """Return which lines may be among those that are looked at.

        Args:
            keys: of each line, well mixed.
            slots: event time of each line in steps, the same for a key; what ``forget`` goes by.
            spans: the hash of its span.
        """
        rows = self._number(keys, slots)
        return _admit(rows, _zeros(spans), self._counts, self._levels, self._most)

    def levels(self, keys: NDArray[np.uint64]) -> Levels | None:
        """Return which of some keys have too many lines, for ``raise_to``; None if none has."""
        rows = np.flatnonzero(self._levels)
        if not len(rows):
            return None
        rows = np.intersect1d(self._index.find(keys), rows)
        return self._index.keys()[rows], self._slots[rows], self._levels[rows]

    def raise_to(
        self, keys: NDArray[np.uint64], slots: NDArray[np.int64], levels: NDArray[np.int64]
    ) -> None:
        """Take up that another one has too many lines of some keys."""
        rows = self._number(keys, slots)
        np.maximum.at(self._levels, rows, levels)

    def _number(self, keys: NDArray[np.uint64], slots: NDArray[np.int64]) -> NDArray[np.int32]:
        rows, fresh = self._index.number(keys)
        if more := len(fresh):
            first = np.empty(more, np.int64)
            new = rows >= len(self._levels)
            first[rows[new] - len(self._levels)] = slots[new]
            self._slots = np.concatenate([self._slots, first])
            self._counts = np.concatenate([self._counts, np.zeros((more, 65), np.int64)])
            self._levels = np.concatenate([self._levels, np.zeros(more, np.int64)])
        return rows

    def still(self, keys: NDArray[np.uint64], spans: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which lines that were admitted are still among those that are looked at."""
        rows = self._index.find(keys)
        levels = np.where(rows >= 0, self._levels[rows], 0) if len(self._levels) else 0 * rows
        return _zeros(spans) >= levels

    def forget(self, before: int) -> None:
        """Forget keys of slots that begin before an event time."""
        kept = self._slots >= before
        if kept.all():
            return
        keys = self._index.keys()[kept]
        self._index = HashIndex()
        self._index.insert(keys, np.arange(len(keys), dtype=np.int32))
        self._slots, self._levels = self._slots[kept], self._levels[kept]
        self._counts = self._counts[kept]

    def snapshot(self) -> dict[str, bytes]:
        """Return plain data."""
        return {
            "keys": self._index.keys().tobytes(),
            "slots": self._slots.tobytes(),
            "counts": self._counts.tobytes(),
            "levels": self._levels.tobytes(),
        }

    def _restore(self, state: dict[str, bytes]) -> None:
        keys = np.frombuffer(state["keys"], np.uint64)
        self._index.insert(keys, np.arange(len(keys), dtype=np.int32))
        self._slots = np.frombuffer(state["slots"], np.int64).copy()
        self._counts = np.frombuffer(state["counts"], np.int64).reshape(-1, 65).copy()
        self._levels = np.frombuffer(state["levels"], np.int64).copy()


def slots_of(ts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the five seconds that each line is in, by their begin."""
    return np.asarray(ts - ts % SETTLES, np.int64)


def slot_keys(origins: NDArray[np.uint64], slots: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return a number of each service and slot, as well mixed as the numbers of services are."""
    spread = slots.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return np.asarray(origins ^ spread ^ (spread >> np.uint64(29)), np.uint64)


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
        of_lines: dict[str, int] = {}
        parts = {
            batch.shard: thread.lines_of(batch, cap, polled.topic, of_lines) for batch in batches
        }
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

    def lines_of(self, batch: LogBatch, cap: int, topic: str, largest: dict[str, int]) -> _Said:
        """Return the lines of spans in a batch, and what a ``SpanLines`` says besides.

        ``largest`` gets how far event time is in their partitions.
        """
        records = batch.records
        at = np.flatnonzero((records["span_id"] != "").to_numpy())
        if not len(at):
            return NO_LINES, {}, (), None
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
        before = self._follow(column("partition").to_numpy(), rows["ts"], cap, topic, largest)
        kept = (rows["ts"] >= before - self._disorder) & (rows["ts"] <= cap + _AHEAD)
        if not kept.all():
            rows, at = rows[kept], at[kept]
        slots = slots_of(rows["ts"])
        keys = slot_keys(rows["origin"], slots)
        kept = self._sampler.admit(keys, slots, rows["span"])
        levels = self._sampler.levels(keys)
        self._go_on(int(slots.max(initial=0)))
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
        ts: NDArray[np.int64],
        cap: int,
        topic: str,
        largest: dict[str, int],
    ) -> NDArray[np.int64]:
        """Return how far event time was in the partition of each line before it."""
        before = np.empty(len(ts), np.int64)
        for number in np.unique(partitions).tolist():
            name = f"{topic}/{number}"
            mine = np.flatnonzero(partitions == number)
            times = np.minimum(ts[mine], cap)
            until = np.maximum.accumulate(np.append(self._reached.get(name, UNKNOWN), times))
            before[mine] = until[:-1]
            self._reached[name] = int(until[-1])
            largest[name] = max(int(times.max()), largest.get(name, UNKNOWN))
        return before

    def _go_on(self, slot: int) -> None:
        if slot > self._until:
            self._until = slot
            self._sampler.forget(slot - _REMEMBERED)
        if slot > self._again:
            self._again = slot + _TOLD_AGAIN
            self._known = HashIndex()

    def _new_texts(
        self, rows: NDArray[Any], bodies: pl.Series, at: NDArray[np.intp]
    ) -> Sequence[tuple[int, int, str]]:
        """Return the texts of shapes that are new; ``at`` says where in ``bodies`` the rows' are."""
        mixed = rows["shape"] ^ rows["origin"]
        codes, fresh = self._known.number(mixed)
        if not len(fresh):
            return ()
        size = len(self._known)
        first = np.full(len(fresh), -1, np.int64)
        new = np.flatnonzero(codes >= size - len(fresh))[::-1]
        first[codes[new] - (size - len(fresh))] = new
        texts = masked_texts(*text_column(bodies.gather(at[first])))
        return [
            (origin, shape, text[:_LONGEST])
            for origin, shape, text in zip(
                rows["origin"][first].tolist(), rows["shape"][first].tolist(), texts, strict=True
            )
        ]


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


@compiled
def _admit(
    rows: NDArray[np.int32],
    zeros_of: NDArray[np.int64],
    counts: NDArray[np.int64],
    levels: NDArray[np.int64],
    most: int,
) -> NDArray[np.bool_]:
    """Count lines by the zeros that their hash begins with; return which are not above the level."""
    kept = np.empty(len(rows), np.bool_)
    above = np.zeros(len(levels), np.int64)
    for key in range(len(levels)):
        for zeros in range(levels[key], 65):
            above[key] += counts[key, zeros]
    for i in range(len(rows)):
        key = rows[i]
        zeros = zeros_of[i]
        if zeros < levels[key]:
            continue
        counts[key, zeros] += 1
        above[key] += 1
        while above[key] > most and levels[key] < 64:
            above[key] -= counts[key, levels[key]]
            levels[key] += 1
    for i in range(len(rows)):
        kept[i] = zeros_of[i] >= levels[rows[i]]
    return kept


@compiled
def _zeros(spans: NDArray[np.uint64]) -> NDArray[np.int64]:
    found = np.full(len(spans), 64, np.int64)
    for i in range(len(spans)):
        if spans[i]:
            found[i] = leading_zeros(spans[i])
    return found


def compile_kernels() -> None:
    """Compile the loops, or load them from the disk, before there is a poll that waits for it."""
    column = text_column(pl.Series(["a"]))
    one = _hashes(*column, *column)
    SpanSampler(1).admit(one, np.zeros(1, np.int64), one)
    numbered(one)
