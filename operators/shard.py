"""The open windows of one shard: merging, closing, revising, and going from fine to coarse.

Runs are kept until their window can no longer change (its end plus the allowed lateness), so a
late run makes its window, the coarser ones above it, and the next increase of its counter come
out again, whole, as a revision. Then they are folded into the window of the next resolution, and
of a counter only its last point stays.
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

_TAIL: Final = UNKNOWN
"""Window of a row that is no run but the last point of a counter before all kept windows."""

_EVERYTHING: Final = 2**62
"""An event time after every window's end."""

_RUN_SCHEMA: Final = pl.Schema({**PARTIALS, "revision": pl.Int64, "dirty": pl.Boolean})
_LEVEL_SCHEMA: Final = pl.Schema(
    {
        "series": pl.UInt64,
        "window_start": pl.Int64,
        **{
            name: pl.Float64 if dtype is np.float64 else pl.Int64
            for name, dtype in AGGREGATES.items()
        },
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
    folded: Columns = field(default_factory=lambda: _nothing(_LEVEL_SCHEMA))
    emitted: Columns = field(default_factory=lambda: _nothing(_EMITTED_SCHEMA))


class Shard:
    """The windows of the series of one shard.

    Args:
        windows: lengths in nanoseconds, from fine to coarse, each a multiple of the one before.
        lateness: nanoseconds after its end that a window can still change.
        horizon: see ``rollups.increases``.
        evict_after: nanoseconds of event time after which a quiet series is forgotten, and so is
            the last point of its counter.
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
        self._evict_after = evict_after
        self._pending: list[Columns] = []
        self._runs = _nothing(_RUN_SCHEMA)
        self._levels = [_Level(window) for window in windows[1:]]
        self._names = Names()
        self._closed = UNKNOWN
        if state is not None:
            self._restore(state)

    @property
    def series(self) -> int:
        """Number of identities with a name in memory."""
        return len(self._names)

    def add(
        self, partials: pl.DataFrame, series: pl.DataFrame, watermark: int
    ) -> pl.DataFrame | None:
        """Take in runs, and the series that they are the first of.

        Returns:
            The rows of ``partials`` that came too late, if any.
        """
        self._names.add(series, watermark)
        if not partials.height:
            return None
        late = None
        limit = watermark - self._lateness - self._window
        starts = partials["window_start"]
        if starts.min() <= limit:  # type: ignore[operator]
            late = partials.filter(starts <= limit)
            partials = partials.filter(starts > limit)
        runs = _columns(partials)
        runs["revision"] = np.full(partials.height, -1)
        runs["dirty"] = np.ones(partials.height, np.bool_)
        self._pending.append(runs)
        return late

    def due(self, watermark: int) -> bool:
        """Whether ``close`` would give something for this watermark."""
        if watermark // self._window > self._closed // self._window:
            held = [self._runs["identity"], *(level.folded["series"] for level in self._levels)]
            return bool(self._pending) or any(map(len, held))
        # A late run changes what is closed already.
        return any(
            len(runs["window_start"]) > 0
            and int(runs["window_start"].min()) + self._window <= self._closed
            for runs in self._pending
        )

    @property
    def open(self) -> bool:
        """Whether something is held that no rollup has shown yet."""
        return bool(self._pending) or bool(self._runs["dirty"].any())

    def close(self, watermark: int, *, show_open: bool = False) -> list[pl.DataFrame]:
        """Return the rollups (ROLLUPS frames, one a resolution) that are due.

        Args:
            watermark: windows that end by then are closed.
            show_open: emit the others as they stand, too; they stay open.
        """
        self._names.settle()
        limit = _EVERYTHING if show_open else watermark
        runs = concat([self._runs, *self._pending])
        runs = take(runs, np.lexsort((runs["last_ts"], runs["first_ts"], runs["identity"])))
        self._pending = []
        at = self._names.rows_of(runs["identity"])
        kinds = self._names.kinds[at]
        self._names.touch(at, runs["last_ts"])
        runs["increase"] = with_increase(runs, kinds, self._horizon)
        tails = runs["window_start"] == _TAIL
        groups = self._ripple(merge(take(runs, ~tails), "identity"))
        groups["series"] = self._names.series[self._names.rows_of(groups["identity"])]
        finest = groups if self._names.one_to_one else merge(groups, "series")

        chosen = finest["dirty"] & (finest["window_start"] + self._window <= limit)
        finest["revision"] = finest["revision"] + chosen
        finest["dirty"] = finest["dirty"] & ~chosen
        shown = take(finest, chosen)
        frames = [self._frame(shown, self._window)]
        frames += self._close_coarser(finest, shown, limit)
        self._keep_marks(runs, tails, groups, finest)
        self._fold(finest, watermark)
        self._drop_frozen(runs, kinds, watermark)
        self._closed = max(self._closed, watermark)
        self._forget_quiet(watermark)
        return [frame for frame in frames if frame.height]

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

    def _close_coarser(self, finest: Columns, shown: Columns, limit: int) -> list[pl.DataFrame]:
        """Emit the coarser windows that are due; ``shown`` are the finest ones just emitted."""
        frames: list[pl.DataFrame] = []
        finer, changed = finest, shown
        for level in self._levels:
            self._mark_changed(level, changed)
            coarse = changed["window_start"] - changed["window_start"] % level.window
            passed = limit // level.window > self._closed // level.window
            if not passed and not (coarse + level.window <= limit).any():
                break  # nor is any resolution above it due, whose ends are among its own
            merged = merge(concat([level.folded, _as_level(finer)]), "series", level.window)
            known, revision, dirty = self._look_up(level, merged)
            ended = merged["window_start"] + level.window <= limit
            chosen = ended & (~known | dirty)
            merged["revision"] = np.where(known, revision, -1) + chosen
            changed = take(merged, chosen)
            self._note_emitted(level, changed)
            frames.append(self._frame(changed, level.window))
            finer = merged
        return frames

    @staticmethod
    def _mark_changed(level: _Level, changed: Columns) -> None:
        start = changed["window_start"] - changed["window_start"] % level.window
        emitted = level.emitted
        if len(emitted["series"]):
            keys = _keys(changed["series"], start)
            emitted["dirty"] = emitted["dirty"] | np.isin(
                _keys(emitted["series"], emitted["window_start"]), keys
            )

    @staticmethod
    def _look_up(
        level: _Level, merged: Columns
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.bool_]]:
        """Return for each merged row: whether it came out before, its revision, its dirt."""
        size = len(merged["series"])
        emitted = level.emitted
        if not len(emitted["series"]):
            return np.zeros(size, np.bool_), np.zeros(size, np.int64), np.zeros(size, np.bool_)
        known_keys = _keys(emitted["series"], emitted["window_start"])
        order = np.argsort(known_keys)
        keys = _keys(merged["series"], merged["window_start"])
        at = order[np.minimum(np.searchsorted(known_keys[order], keys), len(order) - 1)]
        known = known_keys[at] == keys
        return known, emitted["revision"][at], known & emitted["dirty"][at]

    @staticmethod
    def _note_emitted(level: _Level, rows: Columns) -> None:
        new = {name: rows[name] for name in ("series", "window_start", "revision")}
        new["dirty"] = np.zeros(len(rows["series"]), np.bool_)
        emitted = level.emitted
        again = np.isin(
            _keys(emitted["series"], emitted["window_start"]),
            _keys(new["series"], new["window_start"]),
        )
        level.emitted = concat([take(emitted, ~again), new])

    def _keep_marks(
        self, runs: Columns, tails: NDArray[np.bool_], groups: Columns, finest: Columns
    ) -> None:
        """Write revisions and dirt back to the runs that they are about."""
        if finest is not groups:
            keys = _keys(finest["series"], finest["window_start"])
            order = np.argsort(keys)
            wanted = _keys(groups["series"], groups["window_start"])
            at = order[np.searchsorted(keys[order], wanted)]
        else:
            at = np.arange(len(groups["identity"]))
        live = np.flatnonzero(~tails)
        identity, start = runs["identity"][live], runs["window_start"][live]
        if len(live):
            # Runs are sorted by identity and time, so a group's runs stand together, in its order.
            changes = (identity[1:] != identity[:-1]) | (start[1:] != start[:-1])
            group = np.concatenate(([0], np.cumsum(changes)))
            runs["revision"][live] = finest["revision"][at[group]]
            runs["dirty"][live] = finest["dirty"][at[group]]

    def _fold(self, finest: Columns, watermark: int) -> None:
        """Hand windows that can no longer change on to the next resolution."""
        frozen = finest["window_start"] + self._window + self._lateness <= watermark
        handed = _as_level(take(finest, frozen))
        for level in self._levels:
            if not len(handed["series"]) and not len(level.folded["series"]):
                break
            merged = merge(concat([level.folded, handed]), "series", level.window)
            done = merged["window_start"] + level.window + self._lateness <= watermark
            handed = take(merged, done)
            level.folded = take(merged, ~done)
            emitted = level.emitted
            kept = emitted["window_start"] + level.window + self._lateness > watermark
            level.emitted = take(emitted, kept)

    def _drop_frozen(self, runs: Columns, kinds: NDArray[np.uint8], watermark: int) -> None:
        """Keep the runs whose windows can change, and the last point of each counter before."""
        del runs["increase"]
        frozen = runs["window_start"] + self._window + self._lateness <= watermark
        past = np.flatnonzero(frozen & (kinds == CUMULATIVE))
        order = past[np.lexsort((runs["last_ts"][past], runs["identity"][past]))]
        identity = runs["identity"][order]
        final = np.ones(len(order), np.bool_)
        final[:-1] = identity[1:] != identity[:-1]
        tails = take(runs, order[final])
        tails["window_start"] = np.full(len(tails["identity"]), _TAIL)
        tails["count"] = np.zeros(len(tails["identity"]), np.int64)
        tails["first_ts"], tails["first"] = tails["last_ts"], tails["last"]
        tails["dirty"] = np.zeros(len(tails["identity"]), np.bool_)
        self._runs = concat([take(runs, ~frozen), tails])

    def _forget_quiet(self, watermark: int) -> None:
        gone = self._names.quiet(watermark - self._evict_after)
        if len(gone):
            self._runs = take(self._runs, ~np.isin(self._runs["identity"], gone))

    def _frame(self, rows: Columns, window: int) -> pl.DataFrame:
        return rollup_frame(rows, self._names.describe(rows["series"]), window)

    def describe(self, partials: pl.DataFrame) -> pl.DataFrame:
        """Return ``partials`` with tenant, name and labels, for what is kept for its readers."""
        self._names.settle()
        series = self._names.series[self._names.rows_of(partials["identity"].to_numpy())]
        names = self._names.describe(series)
        return partials.with_columns(names["tenant"], names["name"], names["labels"])

    def snapshot(self) -> dict[str, Any]:
        """Return plain data: frames as Arrow IPC."""
        return {
            "runs": _ipc(concat([self._runs, *self._pending]), _RUN_SCHEMA),
            "names": _ipc_frame(self._names.snapshot()),
            "closed": self._closed,
            "levels": [
                {
                    "window": level.window,
                    "folded": _ipc(level.folded, _LEVEL_SCHEMA),
                    "emitted": _ipc(level.emitted, _EMITTED_SCHEMA),
                }
                for level in self._levels
            ],
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self._runs = _columns(pl.read_ipc_stream(state["runs"]))
        self._names = Names(pl.read_ipc_stream(state["names"]))
        self._closed = state["closed"]
        saved = {level["window"]: level for level in state["levels"]}
        for level in self._levels:
            if level.window in saved:
                level.folded = _columns(pl.read_ipc_stream(saved[level.window]["folded"]))
                level.emitted = _columns(pl.read_ipc_stream(saved[level.window]["emitted"]))


def _as_level(rows: Columns) -> Columns:
    return {name: rows[name] for name in _LEVEL_SCHEMA}


def _keys(series: NDArray[np.uint64], start: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return one number for a series and a window."""
    return series ^ (start.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15))


def _ipc(columns: Columns, schema: pl.Schema) -> bytes:
    return _ipc_frame(pl.DataFrame(columns, schema=schema))


def _ipc_frame(frame: pl.DataFrame) -> bytes:
    return frame.write_ipc_stream(None, compression="lz4").getvalue()
