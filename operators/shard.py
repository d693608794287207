"""The open windows of one shard: merging, closing, revising, and going from fine to coarse.

What a run goes through::

    add ──► pending ──close──► settled ──lateness over──► folded into the coarser window

The usual close looks at the new runs alone, and at the last point of each counter before them
(``tails``). Closed runs are kept while late ones may still change their window. When one does,
the slow path computes all kept windows again; the changed ones come out as a revision, and so do
the coarser ones above them and the next window of a counter, whose increase changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.frames import CUMULATIVE, PARTIALS, empty
from operators.names import Names
from operators.rollups import (
    AGGREGATES,
    Columns,
    concat,
    merge,
    rollup_frame,
    take,
    with_increase,
)
from operators.watermark import UNKNOWN

__all__ = ["Shard"]

_EVERYTHING: Final = 2**62
"""An event time after every window's end."""

_FINISHED_SCHEMA: Final = pl.Schema(
    {
        "series": pl.UInt64,
        "window_start": pl.Int64,
        **AGGREGATES,
        "revision": pl.Int64,
        "dirty": pl.Boolean,
    }
)
_EMITTED_SCHEMA: Final = pl.Schema(
    {"series": pl.UInt64, "window_start": pl.Int64, "revision": pl.Int64, "dirty": pl.Boolean}
)


def _columns(frame: pl.DataFrame) -> Columns:
    return {column.name: column.to_numpy() for column in frame}


def _nothing(schema: pl.Schema) -> Columns:
    return _columns(empty(schema))


@dataclass(slots=True)
class _Level:
    """One of the coarser resolutions.

    ``folded`` are merged rows of finer windows that can no longer change; ``emitted`` tells the
    revision of each window that came out, and whether something beneath it changed since.
    """

    window: int
    folded: Columns = field(default_factory=lambda: _nothing(_FINISHED_SCHEMA))
    emitted: Columns = field(default_factory=lambda: _nothing(_EMITTED_SCHEMA))


class Shard:
    """The windows of the series of one shard.

    Args:
        windows: lengths in nanoseconds, from fine to coarse, each a multiple of the one before.
        lateness: nanoseconds after its end that a window can still change.
        horizon: see ``rollups.increases``.
        evict_after: nanoseconds of event time after which a quiet series is forgotten, and so is
            the last point of its counter; at least until its coarsest window can't change.
        state: what ``snapshot`` gave.
    """

    def __init__(
        self,
        windows: tuple[int, ...],
        lateness: int,
        horizon: int,
        evict_after: int,
        state: dict[str, Any] | None = None,
    ) -> None:
        self._window = windows[0]
        self._lateness = lateness
        self._horizon = horizon
        # What an open window of any length holds must keep its name.
        self._evict_after = max(evict_after, windows[-1] + windows[0] + lateness)
        self._names = Names()
        self._pending: list[Columns] = []
        self._settled: list[Columns] = []  # closed runs that late ones can join
        self._finished: list[Columns] = []  # what they came to, by series and window
        self._tails = _nothing(PARTIALS)  # last run of each counter before the pending ones
        self._base_tails = _nothing(PARTIALS)  # and before the settled ones
        self._levels = [_Level(window) for window in windows[1:]]
        self._closed = UNKNOWN  # watermark of the last close
        self._shown = UNKNOWN  # end of the last window that came out, closed or not
        if state is not None:
            self._restore(state)

    @property
    def series(self) -> int:
        """Number of identities with a name in memory."""
        return len(self._names)

    @property
    def open(self) -> bool:
        """Whether something is held that no rollup has shown yet."""
        return bool(self._pending)

    def add(
        self, partials: pl.DataFrame, series: pl.DataFrame, watermark: int
    ) -> pl.DataFrame | None:
        """Take in runs, and the series that they are the first of.

        Returns:
            The rows of ``partials`` that came too late, if any.
        """
        if not partials.height:
            self._names.add(series, watermark)
            return None
        latest = int(partials["last_ts"].max())  # type: ignore[arg-type]
        self._names.add(series, max(watermark, latest))
        late = None
        limit = watermark - self._lateness - self._window
        starts = partials["window_start"]
        if starts.min() <= limit:  # type: ignore[operator]
            late = partials.filter(starts <= limit)
            partials = partials.filter(starts > limit)
        if partials.height:
            self._pending.append(_columns(partials))
        return late

    def due(self, watermark: int) -> bool:
        """Whether ``close`` would give something for this watermark."""
        if watermark // self._window > self._closed // self._window:
            folded = any(len(level.folded["series"]) > 0 for level in self._levels)
            return folded or bool(self._pending) or bool(self._finished)
        # A late run changes what is closed already.
        limit = self._closed - self._window
        return any(int(runs["window_start"].min()) <= limit for runs in self._pending)

    def close(self, watermark: int, *, show_open: bool = False) -> list[pl.DataFrame]:
        """Return the rollups (ROLLUPS frames, one a resolution) that are due.

        Args:
            watermark: windows that end by then are closed.
            show_open: emit the others as they stand, too; more may still come for them.
        """
        self._names.settle()
        limit = _EVERYTHING if show_open else watermark
        runs = concat(self._pending) if self._pending else _nothing(PARTIALS)
        self._names.touch(self._names.rows_of(runs["identity"]), runs["last_ts"])
        ready = runs["window_start"] + self._window <= limit
        rest = take(runs, ~ready)
        self._pending = [rest] if len(rest["identity"]) else []
        runs = take(runs, ready)

        changed = _nothing(_FINISHED_SCHEMA)
        if len(runs["identity"]):
            first_end = int(runs["window_start"].min()) + self._window
            revises = first_end <= max(self._closed, self._shown)
            changed = self._close_again(runs) if revises else self._close_new(runs)
            self._shown = max(self._shown, int(runs["window_start"].max()) + self._window)
        frames = [self._frame(changed, self._window), *self._close_coarser(changed, limit)]
        self._closed = max(self._closed, watermark)
        self._fold()
        self._forget_quiet()
        return [frame for frame in frames if frame.height]

    # The finest windows.

    def _close_new(self, runs: Columns) -> Columns:
        """Finish windows none of which came out before."""
        ordered, kinds, kept = self._order(self._tails, runs)
        increase = with_increase(ordered, kinds, self._horizon)
        ordered, kinds = take(ordered, kept), kinds[kept]
        ordered["increase"] = increase[kept]
        size = len(kinds)
        ordered["revision"], ordered["dirty"] = np.zeros(size, np.int64), np.zeros(size, np.bool_)
        finished = self._by_series(merge(ordered, "identity"))
        self._settled.append({name: ordered[name] for name in PARTIALS})
        self._finished.append(finished)
        self._tails = self._last_runs([self._tails, runs])
        return finished

    def _close_again(self, runs: Columns) -> Columns:
        """Finish all kept windows anew, since ``runs`` join some of them; return the changed."""
        fresh = [np.zeros(len(part["identity"]), np.bool_) for part in self._settled]
        every = concat(
            [
                {**part, "dirty": mark}
                for part, mark in zip(
                    [*self._settled, runs],
                    [*fresh, np.ones(len(runs["identity"]), np.bool_)],
                    strict=True,
                )
            ]
        )
        tails = {**self._base_tails, "dirty": np.zeros(len(self._base_tails["start"]), np.bool_)}
        ordered, kinds, kept = self._order(tails, every)
        increase = with_increase(ordered, kinds, self._horizon)
        ordered = take(ordered, kept)
        ordered["increase"] = increase[kept]
        ordered["revision"] = np.zeros(len(ordered["increase"]), np.int64)
        finished = self._by_series(self._ripple(merge(ordered, "identity")))
        before = concat(self._finished) if self._finished else _nothing(_FINISHED_SCHEMA)
        known, at = _find(before, finished)
        dirty = finished["dirty"]
        revision = np.where(known, before["revision"][at] if len(at) else 0, -1)
        finished["revision"] = revision + dirty
        finished["dirty"] = np.zeros(len(dirty), np.bool_)
        self._settled = [{name: ordered[name] for name in PARTIALS}]
        self._finished = [finished]
        self._tails = self._last_runs([self._base_tails, *self._settled])
        return take(finished, dirty)

    def _order(
        self, tails: Columns, runs: Columns
    ) -> tuple[Columns, NDArray[np.uint8], NDArray[np.bool_]]:
        """Sort by identity and time; also give the kinds, and which rows are no tails."""
        every = concat([tails, runs])
        order = np.lexsort((every["last_ts"], every["first_ts"], every["identity"]))
        ordered = take(every, order)
        kinds = self._names.kinds[self._names.rows_of(ordered["identity"])]
        return ordered, kinds, order >= len(tails["identity"])

    def _by_series(self, groups: Columns) -> Columns:
        groups["series"] = self._names.series[self._names.rows_of(groups["identity"])]
        if not self._names.one_to_one:
            groups = merge(groups, "series")
        return {name: groups[name] for name in _FINISHED_SCHEMA}

    def _ripple(self, groups: Columns) -> Columns:
        """Make the window after a changed one come out again: its counter's increase changed."""
        kinds = self._names.kinds[self._names.rows_of(groups["identity"])]
        after = (
            groups["dirty"][:-1]
            & (groups["identity"][1:] == groups["identity"][:-1])
            & (kinds[1:] == CUMULATIVE)
        )
        groups["dirty"][1:] |= after
        return groups

    def _last_runs(self, parts: list[Columns]) -> Columns:
        """Return the last run of each counter, as the point that the next one counts from."""
        runs = concat(parts)
        kinds = self._names.kinds[self._names.rows_of(runs["identity"])]
        counters = np.flatnonzero(kinds == CUMULATIVE)
        order = counters[np.lexsort((runs["last_ts"][counters], runs["identity"][counters]))]
        identity = runs["identity"][order]
        final = np.ones(len(order), np.bool_)
        final[:-1] = identity[1:] != identity[:-1]
        tails = take(runs, order[final])
        tails["first_ts"], tails["first"] = tails["last_ts"], tails["last"]
        return tails

    # The coarser windows.

    def _close_coarser(self, changed: Columns, limit: int) -> list[pl.DataFrame]:
        """Emit the coarser windows that are due; ``changed`` are the finest ones just emitted."""
        frames: list[pl.DataFrame] = []
        finer: Columns | None = None
        for level in self._levels:
            _mark_changed(level, changed)
            coarse = changed["window_start"] - changed["window_start"] % level.window
            passed = limit // level.window > self._closed // level.window
            if not passed and not (coarse + level.window <= limit).any():
                break  # nor is any resolution above it due, whose ends are among its own
            parts = self._finished if finer is None else [finer]
            merged = merge(concat([level.folded, *parts]), "series", level.window)
            known, at = _find(level.emitted, merged)
            emitted = level.emitted
            dirty = known & (emitted["dirty"][at] if len(at) else False)
            chosen = (merged["window_start"] + level.window <= limit) & (~known | dirty)
            revision = np.where(known, emitted["revision"][at] if len(at) else 0, -1)
            merged["revision"] = revision + chosen
            changed = take(merged, chosen)
            _note_emitted(level, changed)
            frames.append(self._frame(changed, level.window))
            finer = merged
        return frames

    def _fold(self) -> None:
        """Hand windows that can no longer change on to the next resolution."""
        limit = self._closed - self._lateness - self._window
        if not self._finished or int(self._finished[0]["window_start"].min()) > limit:
            return
        frozen: list[Columns] = []
        runs: list[Columns] = []
        self._finished, frozen = _split(self._finished, limit)
        self._settled, runs = _split(self._settled, limit)
        self._base_tails = self._last_runs([self._base_tails, *runs])
        first_kept = min(
            (int(part["window_start"].min()) for part in self._finished), default=_EVERYTHING
        )
        handed = concat(frozen)
        for level in self._levels:
            merged = merge(concat([level.folded, handed]), "series", level.window)
            end = merged["window_start"] + level.window
            done = (end <= first_kept) & (end + self._lateness <= self._closed)
            handed = take(merged, done)
            level.folded = take(merged, ~done)
            end = level.emitted["window_start"] + level.window
            done = (end <= first_kept) & (end + self._lateness <= self._closed)
            level.emitted = take(level.emitted, ~done)

    def _forget_quiet(self) -> None:
        gone = self._names.quiet(self._closed - self._evict_after)
        if len(gone):
            for name in ("_tails", "_base_tails"):
                tails = getattr(self, name)
                setattr(self, name, take(tails, ~np.isin(tails["identity"], gone)))

    def _frame(self, rows: Columns, window: int) -> pl.DataFrame:
        return rollup_frame(rows, self._names.describe(rows["series"]), window)

    def describe(self, partials: pl.DataFrame) -> pl.DataFrame:
        """Return ``partials`` with tenant, name and labels, for those who read what is late."""
        self._names.settle()
        series = self._names.series[self._names.rows_of(partials["identity"].to_numpy())]
        names = self._names.describe(series)
        return partials.with_columns(names["tenant"], names["name"], names["labels"])

    # Recovery.

    def snapshot(self) -> dict[str, Any]:
        """Return plain data: frames as Arrow IPC."""
        nothing = _nothing(PARTIALS)
        return {
            "pending": _ipc(concat([nothing, *self._pending]), PARTIALS),
            "settled": _ipc(concat([nothing, *self._settled]), PARTIALS),
            "finished": _ipc(
                concat([_nothing(_FINISHED_SCHEMA), *self._finished]), _FINISHED_SCHEMA
            ),
            "tails": _ipc(self._tails, PARTIALS),
            "base_tails": _ipc(self._base_tails, PARTIALS),
            "names": _ipc_frame(self._names.snapshot()),
            "closed": self._closed,
            "shown": self._shown,
            "levels": {
                level.window: (
                    _ipc(level.folded, _FINISHED_SCHEMA),
                    _ipc(level.emitted, _EMITTED_SCHEMA),
                )
                for level in self._levels
            },
        }

    def _restore(self, state: dict[str, Any]) -> None:
        def read(data: bytes) -> Columns:
            return _columns(pl.read_ipc_stream(data))

        self._names = Names(pl.read_ipc_stream(state["names"]))
        for name in ("pending", "settled", "finished"):
            rows = read(state[name])
            setattr(self, f"_{name}", [rows] if len(rows["window_start"]) else [])
        self._tails, self._base_tails = read(state["tails"]), read(state["base_tails"])
        self._closed, self._shown = state["closed"], state["shown"]
        for level in self._levels:
            if level.window in state["levels"]:
                folded, emitted = state["levels"][level.window]
                level.folded, level.emitted = read(folded), read(emitted)


def _split(parts: list[Columns], limit: int) -> tuple[list[Columns], list[Columns]]:
    """Return the rows of windows that start after ``limit``, and the others."""
    kept: list[Columns] = []
    frozen: list[Columns] = []
    for part in parts:
        past = part["window_start"] <= limit
        if past.all():
            frozen.append(part)
        elif past.any():
            frozen.append(take(part, past))
            kept.append(take(part, ~past))
        else:
            kept.append(part)
    return kept, frozen


def _keys(rows: Columns) -> NDArray[np.uint64]:
    """Return one number for a series and a window."""
    start = np.ascontiguousarray(rows["window_start"]).view(np.uint64)
    keys: NDArray[np.uint64] = rows["series"] ^ (start * np.uint64(0x9E3779B97F4A7C15))
    return keys


def _find(known: Columns, rows: Columns) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Return whether each of ``rows`` is among ``known``, and its row there (0 if it is not)."""
    if not len(known["series"]):
        return np.zeros(len(rows["series"]), np.bool_), np.empty(0, np.intp)
    keys, wanted = _keys(known), _keys(rows)
    order = np.argsort(keys)
    at = order[np.minimum(np.searchsorted(keys[order], wanted), len(order) - 1)]
    return keys[at] == wanted, at


def _mark_changed(level: _Level, changed: Columns) -> None:
    """Note which windows that came out have a changed one beneath them."""
    if len(level.emitted["series"]) and len(changed["series"]):
        start = changed["window_start"] - changed["window_start"] % level.window
        below = _keys({"series": changed["series"], "window_start": start})
        level.emitted["dirty"] = level.emitted["dirty"] | np.isin(_keys(level.emitted), below)


def _note_emitted(level: _Level, rows: Columns) -> None:
    new = {name: rows[name] for name in ("series", "window_start", "revision")}
    new["dirty"] = np.zeros(len(rows["series"]), np.bool_)
    known, _ = _find(new, level.emitted)
    level.emitted = concat([take(level.emitted, ~known), new])


def _ipc(columns: Columns, schema: pl.Schema) -> bytes:
    return _ipc_frame(pl.DataFrame({name: columns[name] for name in schema}, schema=schema))


def _ipc_frame(frame: pl.DataFrame) -> bytes:
    return frame.write_ipc_stream(None, compression="lz4").getvalue()
