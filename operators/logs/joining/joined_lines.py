"""Joining lines: what a program wrote at once, and a shipper sent as one record a line.

Two things are joined, in each stream of lines by itself (a file, or the output of a container):

- the parts that a container's runtime cut a long line into, marked ``P`` up to the one marked ``F``;
- the lines of a stack trace, and of what else is indented, behind the line that they belong to. Only
  a line that may begin such a thing waits for more; all others go on at once.

Whether two lines belong together is told by the two of them alone and by their times in Kafka, so it
is the same for every way to cut the stream into polls, and after a restart. What waits is let go by
the next line that begins anew, once the partition's time has gone on by the timeout, or when the
reader says that nothing came for as long.
"""

# ruff: noqa: PLR1714, SIM109 -- a compiled loop, in which a comparison is one instruction

from __future__ import annotations

from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.columns.compiling import compiled
from operators.columns.hash_index import HashIndex
from operators.columns.repeated_texts import repeated
from operators.columns.replacing import replaced
from operators.columns.text_column import text_column
from operators.contracts.items import Polled
from operators.contracts.watermark import Mark
from operators.logs.joining.held_lines import HeldLines, Opened, PartitionLines
from operators.logs.joining.line_signs import marked_lines, source_hashes, text_hashes
from operators.logs.parsing.severities import ERROR

__all__ = ["AUTO", "OFF", "Joiner", "compile_kernels"]

AUTO: Final = "auto"
"""Lines of stack traces are joined."""
OFF: Final = "off"
"""Every line is a record."""

_MOST_LINES: Final = 1_000
_MOST_BYTES: Final = 256 << 10
"""Of a joined record, as ``operators.logs.parsing.records`` takes one."""
_MOST_STREAMS: Final = 10_000
"""Of a partition, that wait; beyond it the oldest wait no longer."""

_PART: Final = '"logtag":"P"'
_ERROR: Final = (
    r"(?i-u:error|exception|panic|traceback|fatal|critical|severe|fail|throwable|unhandled)"
)
_MORE: Final = (
    r"^(?:[ \t]+\S|Traceback \(most recent call last\)|goroutine \d+ \["
    r"|During handling of the above exception|The above exception was the direct cause|\[signal )"
)
_FRAME: Final = r"^(?:[ \t]+(?:at |\.\.\. )|Caused by: |Suppressed: )"
_DOTTED: Final = (
    r'^(?:Exception in thread "[^"]*" )?(?:[\w$]+\.)+[\w$]*(?:Exception|Error|Throwable)(?::|$)'
)
_WITHIN: Final = (
    r"^(?:[\w$.]*(?:Exception|Error|Warning|Interrupt|Exit)(?::|$)|created by "
    r"|[\w./-]+(?:\(\*?\w+\))?[\w.\[\]]*\(.*\)$)"
)
_BEGINS: Final = r"^(?:panic: |fatal error: )"
# What a line is to the one before it.
_ITSELF: Final = 0
_IS_MORE: Final = 1
"""It is more of a line that may have more, or of a trace."""
_IS_HEAD: Final = 2
"""An exception of Java: more of the message that tells of it."""
_IS_WITHIN: Final = 3
"""More of a trace, but nothing by itself: the last line of Python's, a call of Go's."""
_IS_BEGIN: Final = 4
"""The begin of a trace."""
_IS_BLANK: Final = 5
"""It may part a trace."""
_IS_FRAME: Final = 6
"""As ``_IS_MORE``, of a trace that names its exception first."""
_WHOLE: Final = r"^(?:\s*\{|<\d)|\n"
"""Objects, messages of syslog, and what came with several lines: nothing comes behind them."""
_TEXTS: Final = ("text", "otlp_raw")
"""Encodings in which a partition is a stream where nothing else is said."""

_PLACE: Final = ("partition", "offset", "index")


class Joiner:
    """Joins the lines of one topic.

    Args:
        topic: its name.
        encoding: of its messages.
        mode: ``AUTO``, or a regular expression of lines that begin a record; all others are more of
            the one before.
        timeout: nanoseconds, of the times of messages in Kafka, after which no line is more of one.
        held: what waits, by partition.
    """

    def __init__(self, topic: str, encoding: str, mode: str, timeout: int, held: HeldLines) -> None:
        self._topic = topic
        self._timeout = timeout
        self._held = held
        self._whole_topic = encoding in _TEXTS
        self._begin = None if mode == AUTO else mode

    def take(self, records: pl.DataFrame, polled: Polled) -> pl.DataFrame:
        """Return the records that wait for nothing, joined.

        Args:
            records: a LOG_RECORDS frame of a poll, and its ``partition`` and ``offset``.
            polled: the poll. Of one that is read again, nothing comes out.
        """
        states = {
            int(number): self._held.of(f"{self._topic}/{number}")
            for number in np.unique(polled.partitions)
        }
        flags = self._flags(records)
        idle = all(state.rows is None and state.resumed is None for state in states.values())
        if idle and not any(flags[name].any() for name in ("part", "kind", "opens")):
            _note_done(polled, states, {})
            return records.clear() if _again(polled) else records
        rows = replaced(records, clock=self._clock(records, polled, states), **flags)
        rows = self._resumed(rows, states)
        waiting = [state.rows for state in states.values() if state.rows is not None]
        rows = pl.concat([*waiting, rows])
        groups, stays = self._grouped(rows, states)
        if polled.known:
            # Without a snapshot nobody knows where a trace began that came out before.
            stays &= rows["kind"].gather(groups).to_numpy() == _ITSELF
        rows = rows.with_columns(group=pl.Series(groups))
        begun = rows.filter(pl.Series(stays)).partition_by("partition", as_dict=True)
        _note_done(polled, states, begun)
        return _plain(rows.clear() if _again(polled) else _joined(rows.filter(~pl.Series(stays))))

    def release(self, polled: Polled) -> pl.DataFrame | None:
        """Return what waited in partitions from which nothing comes for now; None if nothing did."""
        found = []
        for name, mark in polled.marks.items():
            topic, _, _ = name.rpartition("/")
            if topic != self._topic or mark not in (Mark.IDLE, Mark.ENDED):
                continue
            state = self._held.of(name)
            if state.rows is not None:
                found.append(state.rows)
            state.rows, state.opened, state.resumed = None, {}, None
        if not found:
            return None
        rows = pl.concat(found)
        # Of a stream there is one record that waits.
        return _plain(_joined(rows.with_columns(group=pl.struct("partition", "key").rank("dense"))))

    @staticmethod
    def _clock(
        records: pl.DataFrame, polled: Polled, states: dict[int, PartitionLines]
    ) -> NDArray[np.int64]:
        """Return for each record the latest time of its partition so far, as Kafka has it."""
        size = len(polled.values)
        times = polled.times if polled.times is not None else np.zeros(size, np.int64)
        clock = np.zeros(size, np.int64)
        for number, state in states.items():
            rows = np.flatnonzero(polled.partitions == number)
            fresh = polled.offsets[rows] >= state.done
            running = np.maximum.accumulate(np.where(fresh, times[rows], 0))
            clock[rows] = np.maximum(running, state.clock)
        by_record: NDArray[np.int64] = clock[records["message"].to_numpy()]
        return by_record

    def _flags(self, rows: pl.DataFrame) -> dict[str, NDArray[Any]]:
        """Say of each line what it is to those around it, and which stream it is of."""
        attributes = text_column(rows["attributes"])
        source = source_hashes(*attributes)
        key = source.copy()
        for name in ("tenant", "service", "resource"):
            _fold_hashes(rows[name], key)
        part = np.zeros(rows.height, np.bool_)
        if _PART.encode() in attributes.buffer.tobytes():
            part = rows["attributes"].str.contains(_PART, literal=True).to_numpy()
        kind = np.zeros(rows.height, np.uint8)
        opens = np.zeros(rows.height, np.bool_)
        able = np.ones(rows.height, np.bool_) if self._whole_topic else source != 0
        marked = able
        if self._begin is None:
            errors = (rows["severity"] >= ERROR).to_numpy()
            marked = able & (errors | marked_lines(*text_column(rows["body"])))
        at = np.flatnonzero(marked)
        if len(at):
            looked = rows[["body", "severity", "stack"]][at].select(*self._looks())
            kind[at], opens[at] = looked["kind"].to_numpy(), looked["opens"].to_numpy()
        return {
            "part": part,
            "kind": kind,
            "opens": opens,
            "sure": np.zeros(rows.height, np.bool_),
            "group": np.zeros(rows.height, np.int64),
            "key": key,
        }

    def _looks(self) -> list[pl.Expr]:
        """Return ``kind`` and ``opens`` of lines that may be of a trace."""
        body = pl.col("body")
        if self._begin is not None:
            kind = pl.when(body.str.contains(self._begin)).then(_ITSELF).otherwise(_IS_MORE)
            return [kind.cast(pl.UInt8).alias("kind"), pl.lit(value=True).alias("opens")]
        kind = (
            pl.when(body.str.contains(_WHOLE) | (pl.col("stack") != ""))
            .then(_ITSELF)
            .when(body.str.contains(_FRAME))
            .then(_IS_FRAME)
            .when(body.str.contains(_MORE))
            .then(_IS_MORE)
            .when(body.str.contains(_DOTTED))
            .then(_IS_HEAD)
            .when(body.str.contains(_WITHIN))
            .then(_IS_WITHIN)
            .when(body.str.contains(_BEGINS))
            .then(_IS_BEGIN)
            .when(body.str.contains(r"^\s*$"))
            .then(_IS_BLANK)
            .otherwise(_ITSELF)
        )
        opens = (pl.col("severity") >= ERROR) | body.str.contains(_ERROR)
        able = ~body.str.contains(_WHOLE) & (pl.col("stack") == "")
        return [kind.cast(pl.UInt8).alias("kind"), (opens & able).alias("opens")]

    def _resumed(self, rows: pl.DataFrame, states: dict[int, PartitionLines]) -> pl.DataFrame:
        """Of what a partition reads again, keep what waited at the snapshot."""
        again = {number: each for number, each in states.items() if each.resumed is not None}
        if not again:
            return rows
        for number, state in again.items():
            mine = rows.filter(partition=number)
            before = mine.filter(pl.col("offset") < state.done)
            if not before.height:
                continue
            opened = state.resumed or {}
            first = [opened.get(_name(key)) for key in before["key"]]
            place = before.select("offset", "index").rows()
            kept = [
                one is not None and at >= (one.offset, one.index)
                for one, at in zip(first, place, strict=True)
            ]
            waited = before.filter(pl.Series(kept, dtype=pl.Boolean)).with_columns(
                clock=pl.Series(
                    [one.clock for one, keep in zip(first, kept, strict=True) if one and keep],
                    dtype=pl.Int64,
                ),
                sure=pl.lit(value=True),
            )
            parts = [each for each in (state.rows, waited) if each is not None and each.height]
            state.rows = pl.concat(parts) if parts else None
            rows = rows.filter((pl.col("partition") != number) | (pl.col("offset") >= state.done))
        return rows

    def _grouped(
        self, rows: pl.DataFrame, states: dict[int, PartitionLines]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the record that each line is of, as the number of its first, and whether it waits."""
        place = rows["partition"].cast(pl.UInt64) * 0x9E3779B97F4A7C15 ^ rows["key"]
        streams, _ = HashIndex().number(place.to_numpy())
        latest = {number: state.clock for number, state in states.items()}
        ends = rows.group_by("partition").agg(pl.max("clock")).rows()
        now = {number: max(clock, latest.get(number, 0)) for number, clock in ends}
        groups, stays = _group(
            streams.astype(np.int64),
            rows["clock"].to_numpy(),
            rows["part"].to_numpy(),
            rows["kind"].to_numpy(),
            rows["opens"].to_numpy(),
            rows["sure"].to_numpy(),
            rows["body"].str.len_bytes().to_numpy().astype(np.int64),
            rows["partition"].replace_strict(now, return_dtype=pl.Int64).to_numpy(),
            self._timeout,
            _MOST_LINES,
            _MOST_BYTES,
        )
        waiting = np.unique(groups[stays])
        if len(waiting) > _MOST_STREAMS:
            stays &= groups >= waiting[-_MOST_STREAMS]
        return groups, stays


def _fold_hashes(column: pl.Series, hashes: NDArray[np.uint64]) -> None:
    """Fold the hash of each text into what is there."""
    found = repeated(column)
    if found is None:
        text_hashes(*text_column(column), hashes)
        return
    buffer, starts, ends = text_column(pl.Series(found.texts, dtype=pl.String))
    text_hashes(buffer, starts[found.codes], ends[found.codes], hashes)


def _note_done(
    polled: Polled, states: dict[int, PartitionLines], begun: dict[tuple[Any, ...], pl.DataFrame]
) -> None:
    """Note how far each partition was looked at, and what waits in it."""
    for number, state in states.items():
        mine = polled.partitions == number
        done = int(polled.offsets[mine].max()) + 1
        if done > state.done:
            latest = int(polled.times[mine].max()) if polled.times is not None else 0
            state.clock = max(state.clock, latest)
            state.done, state.resumed = done, None
        state.rows = begun.get((number,))
        if state.resumed is None:
            state.opened = {} if state.rows is None else _opened(state.rows)


def _again(polled: Polled) -> bool:
    return polled.replay or polled.known


def _opened(rows: pl.DataFrame) -> dict[str, Opened]:
    found = rows.group_by("key", maintain_order=True).agg(
        pl.first("offset"), pl.first("index"), pl.last("clock")
    )
    return {_name(key): Opened(*place) for key, *place in found.rows()}


def _name(key: int) -> str:
    """Return what a snapshot calls a stream."""
    return f"{key:016x}"


def _plain(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.drop("clock", "part", "kind", "opens", "sure", "group", "key")


def _joined(rows: pl.DataFrame) -> pl.DataFrame:
    """Return a record for each group: the first of its lines, with the text of all."""
    alone = rows.select(pl.col("group").is_unique()).to_series()
    if alone.all():
        return rows
    several = rows.filter(~alone)
    # A part has what comes behind it on its own line.
    between = (
        pl.when(pl.col("part").shift(1).over("group").fill_null(value=True))
        .then(pl.lit(""))
        .otherwise(pl.lit("\n"))
    )
    line = (
        pl.when(pl.col("part")).then("body").otherwise(pl.col("body").str.strip_chars_end("\r\n"))
    )
    texts = (
        several.select("group", text=pl.concat_str(between, line))
        .group_by("group", maintain_order=True)
        .agg(pl.col("text").str.join(""))
    )
    others = [name for name in several.columns if name != "group"]
    firsts = several.group_by("group", maintain_order=True).agg(pl.first(*others))
    joined = firsts.with_columns(body=texts["text"]).select(rows.columns)
    return pl.concat([rows.filter(alone), joined]).sort(*_PLACE)


@compiled
def _group(
    streams: NDArray[np.int64],
    clocks: NDArray[np.int64],
    part: NDArray[np.bool_],
    kind: NDArray[np.uint8],
    opens: NDArray[np.bool_],
    sure: NDArray[np.bool_],
    sizes: NDArray[np.int64],
    now: NDArray[np.int64],
    timeout: int,
    most_lines: int,
    most_bytes: int,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Number the records of lines, which are in the order in which they came.

    Args:
        streams: by line, the stream that it is of.
        clocks: by line, the time of its partition when it came.
        part: it is a part of a line, and the rest comes behind it.
        kind: what it is to the line before.
        opens: it may have more.
        sure: it is more of the line before, whatever it says.
        sizes: bytes.
        now: by line, the time of its partition.
        timeout: after which no line is more of one.
        most_lines: of a record.
        most_bytes: of a record.
    """
    count = len(streams)
    groups = np.empty(count, np.int64)
    stays = np.zeros(count, np.bool_)
    last = np.full(streams.max() + 1 if count else 0, -1, np.int64)
    lines = np.zeros(count, np.int64)
    bytes_ = np.zeros(count, np.int64)
    for row in range(count):
        before = last[streams[row]]
        joins = False
        if before >= 0:
            first = groups[before]
            belongs = part[before]
            of = kind[before]
            if kind[row] == _IS_MORE or kind[row] == _IS_FRAME:
                belongs = belongs or opens[before] or of != _ITSELF
            elif kind[row] == _IS_HEAD:
                belongs = belongs or (opens[before] and of == _ITSELF) or of == _IS_MORE
            elif kind[row] == _IS_WITHIN:
                belongs = belongs or of == _IS_MORE or of == _IS_BEGIN
            elif kind[row] == _IS_BLANK:
                belongs = belongs or (of != _ITSELF and of != _IS_BLANK)
            joins = sure[row] or (
                belongs
                and clocks[row] - clocks[before] <= timeout
                and lines[first] < most_lines
                and bytes_[first] + sizes[row] <= most_bytes
            )
        if joins:
            groups[row] = groups[before]
        else:
            groups[row] = row
        lines[groups[row]] += 1
        bytes_[groups[row]] += sizes[row]
        last[streams[row]] = row
    for row in range(count):
        end = last[streams[row]]
        if groups[row] == groups[end]:
            open_ended = part[end] or opens[end] or kind[end] != _ITSELF
            stays[row] = open_ended and now[row] - clocks[end] <= timeout
    return groups, stays


def compile_kernels() -> None:
    """Compile the loop, or load it from the disk, before there is a line."""
    one, yes = np.zeros(1, np.int64), np.zeros(1, np.bool_)
    texts = text_column(pl.Series(['{"a":1}']))
    marked_lines(*texts)
    text_hashes(*texts, np.zeros(1, np.uint64))
    source_hashes(*texts)
    _group(one, one, yes, np.zeros(1, np.uint8), yes, yes, one, one, 1, 1, 1)
