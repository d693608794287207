"""The windows of one shard: points are kept while their window can change, and computed when due.

What points go through::

    add ──► open window ──close──► computed ──lateness over──► folded into the coarser window

A rollup is a function of the set of points of its window and of the last point before it, so it
does not matter in which order, batches or partitions they came. A window is computed once, when
the watermark passes its end. When late points join computed windows, all of those are computed
again for the identities concerned, and what changed comes out as a revision.

Which points are late is decided by their partition alone: a point that stands behind one by which
time was past the end of its window waits until the windows that were due before it came have come
out. So what comes out first, and is judged, is the same however much is read at once. An example,
with windows of 10 s: in a partition stand points of 0:04, 0:21 and 0:07. The window of 0:00 comes
out without the third, and once more with it, also if all three are read in one poll. So is what
comes too late: by more than the lateness after its own partition passed the end of its window.

A snapshot holds what is *folded*: the last points before the first window that can still change,
and the coarser windows. The points of open windows are not in it. They are in Kafka, from where
they are read again after a restart (``operators.kafka.low_water``): until ``rebuild`` is called, what
is added is such a replay.
"""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.contracts.frames import CUMULATIVE, DELTA, WHOLE
from operators.contracts.snapshots import pack, unpack
from operators.contracts.watermark import UNKNOWN
from operators.windows.computing import (
    Computing,
    altered,
    of_rows,
    percentiles,
    taken,
    with_emptied,
    with_nothing,
)
from operators.windows.histograms import (
    NO_HISTOGRAMS,
    Histograms,
    concat_histograms,
    take_histograms,
)
from operators.windows.levels import Emitted, Levels, Out, Times, emitted_state, restored_emitted
from operators.windows.names import REFUSED, UNNAMED, Names, Renumbered
from operators.windows.open_windows import (
    OpenWindow,
    any_out,
    concat_points,
    split_by_window,
    split_histograms,
)
from operators.windows.rollups import concat_rows, rollup_frame, take_rows
from operators.windows.sketches import concat_sketches, take_sketches
from operators.windows.sums import Points, Tails, grown, no_tails

__all__ = ["Shard", "Tally", "TooLate"]

_EVERYTHING: Final = 2**62
"""An event time after every window's end."""


class Tally:
    """What was left out, since it was last asked."""

    __slots__ = ("duplicates", "incomplete", "overlaps", "refused")

    def __init__(self) -> None:
        self.duplicates = self.incomplete = self.overlaps = 0
        self.refused: Counter[str] = Counter()  # by tenant


class TooLate:
    """Points that came too late: ``rows`` as the shard numbers them."""

    __slots__ = ("histograms", "points")

    def __init__(self, points: Points, histograms: Histograms) -> None:
        self.points = points
        self.histograms = histograms

    def __len__(self) -> int:
        return len(self.points.row) + len(self.histograms.row)


class Shard:
    """The windows of the series of one shard.

    Args:
        windows: lengths in nanoseconds, from fine to coarse, each a multiple of the one before.
        lateness: nanoseconds after its end that a window can still change.
        horizon: see ``operators.windows.sums``.
        evict_after: nanoseconds of event time after which a quiet series is forgotten, and so is
            the last point of its counter; at least until its coarsest window can't change.
        sketched: regular expression of the names of gauges that have percentiles; empty for none.
    """

    def __init__(
        self,
        windows: tuple[int, ...],
        lateness: int,
        horizon: int,
        evict_after: int,
        sketched: str = "",
    ) -> None:
        self.names = Names()
        self.tally = Tally()
        self._window = windows[0]
        self._lateness = lateness
        # What an open window of any length holds must keep its name.
        self._evict_after = max(evict_after, windows[-1] + windows[0] + lateness)
        self._computing = Computing(self.names, windows[0], horizon, sketched)
        self._open: dict[int, OpenWindow] = {}
        # What waits, by the end of the last window that comes out without it.
        self._behind: dict[int, list[tuple[Points, Histograms]]] = {}
        self._levels = Levels(windows[1:])
        self._tails = no_tails(0)  # the last point of each row in a computed window
        self._base = no_tails(0)  # and before the first open one
        self._histogram_tails = NO_HISTOGRAMS
        self._histogram_base = NO_HISTOGRAMS
        self._closed = UNKNOWN  # watermark of the last close
        self._computed = UNKNOWN  # end of the last computed window
        self._swept = UNKNOWN
        self._owed: dict[int, NDArray[np.int32]] = {}  # what has to come out again after a restart
        self._restored: dict[str, Any] | None = None
        self._kinds_restored = np.empty(0, np.uint8)

    @property
    def replaying(self) -> bool:
        """Whether it was restored, and not rebuilt since."""
        return self._restored is not None

    @property
    def open(self) -> bool:
        """Whether something is held that no rollup has shown yet."""
        return (
            self._levels.open
            or bool(self._owed)
            or bool(self._behind)
            or any(not window.computed or window.late for window in self._open.values())
        )

    @property
    def closed(self) -> int:
        """The watermark of the last close."""
        return self._closed

    @property
    def frozen(self) -> int:
        """Event time before which no point changes anything any more."""
        if self._closed == UNKNOWN:
            return UNKNOWN
        last = self._closed - self._lateness - self._window
        return last - last % self._window + self._window

    def add(
        self,
        points: Points,
        histograms: Histograms,
        watermark: int,
        behind: int = UNKNOWN,
    ) -> TooLate | None:
        """Take in points; ``row`` is what ``names.number`` gave.

        Args:
            points, histograms: of one poll.
            watermark: how far event time was before it.
            behind: the end of the last window that comes out without them.

        Returns:
            Those that came too late, if any. In a replay they are what was dealt with before.
        """
        limit = max(watermark, behind) - self._lateness - self._window
        late_points, points = self._split_late(points, limit)
        late_histograms, histograms = self._split_late(histograms, limit)
        if behind > max(self._computed, self._start_of(self._closed)):
            if len(points.ts) or len(histograms.ts):
                self._behind.setdefault(behind, []).append((points, histograms))
        else:
            self._put(points, histograms)
        if late_points is None and late_histograms is None:
            return None
        return TooLate(
            concat_points([late_points] if late_points is not None else []),
            late_histograms if late_histograms is not None else NO_HISTOGRAMS,
        )

    def _put(self, points: Points, histograms: Histograms) -> None:
        for start, part in split_by_window(points, self._window):
            self._window_at(start).add(part)
        for start, observed in split_histograms(histograms, self._window):
            self._window_at(start).add_histograms(observed)

    def _start_of(self, ts: int) -> int:
        """Return the start of the window that ``ts`` is in."""
        return ts - ts % self._window

    def name(self, series: pl.DataFrame, seen: int) -> None:
        """Learn the names of identities; points that waited for theirs count from now on."""
        waiting = self.names.name(series, seen)
        if len(waiting):
            for window in self._open.values():
                if window.computed:
                    window.late.append(waiting)

    def refuse(self, identities: NDArray[np.uint64], tenant: str, seen: int) -> None:
        """Drop the points of these from now on, and those that waited for a name."""
        self.names.refuse(identities, tenant, seen)

    def due(self, watermark: int) -> bool:
        """Whether ``close`` would give something for this watermark."""
        if any(end <= watermark for end in self._behind):
            return True
        late = [start for start, window in self._open.items() if window.late or window.early]
        if any(start + self._window <= watermark for start in (*late, *self._owed)):
            return True
        if watermark // self._window > self._closed // self._window:
            return bool(self._open) or self._levels.pending()
        return False

    def settle(self, watermark: int) -> None:
        """Note how far time is although nothing is due, so that all shards are equally far."""
        self._pass(watermark)
        self._fold()

    def close(
        self, watermark: int, *, show_open: bool = False, ended: bool = False
    ) -> list[pl.DataFrame]:
        """Return the rollups that are due: ROLLUPS frames, each of one resolution.

        What waits because it came late joins between the windows that are without it and those that
        are with it, so a resolution may have several frames, in the order of time.

        They have one more column, WHOLE: true the first time that a row comes out after event time
        passed the end of its window. A row that was shown early comes out again then, also if
        nothing changed, so that whoever learns from rows can wait for the whole ones.

        Args:
            watermark: windows that end by then are closed.
            show_open: emit the others as they stand, too; more may still come for them.
            ended: nothing more will come, so all are whole.
        """
        frames = []
        for end in sorted(end for end in self._behind if end <= watermark):
            if self._closed == UNKNOWN or end > self._start_of(self._closed):
                frames += self._close(end, show_open=False, ended=False)
            for waiting in self._behind.pop(end):
                self._put(*(self._split_late(part, UNKNOWN)[1] for part in waiting))
        return frames + self._close(watermark, show_open=show_open, ended=ended)

    def _close(self, watermark: int, *, show_open: bool, ended: bool) -> list[pl.DataFrame]:
        passed = _EVERYTHING if ended else watermark
        limit = _EVERYTHING if show_open else watermark
        changed = self._compute_again()
        for start, owners in self._owed.items():
            changed[start] = np.union1d(owners, changed.get(start, owners)).astype(np.int32)
        self._owed = {}
        for start in self._compute_due(limit):
            changed[start] = self._open[start].content.rows.owner
        for start, window in self._open.items():
            if window.early and start + self._window <= passed:
                changed[start] = window.content.rows.owner
        finest = {start: w.content for start, w in self._open.items() if w.computed}
        due = [self._emitted(start, changed[start], passed) for start in sorted(changed)]
        times = Times(limit, self._closed, passed)
        due += self._levels.close(finest, changed, times, self.names.owners)
        frames = [
            self._frame(length, list(parts))
            for length, parts in groupby(due, key=lambda part: part[0])
        ]
        self._pass(watermark)
        self._fold()
        self._forget_quiet()
        return [frame for frame in frames if frame.height]

    def _pass(self, watermark: int) -> None:
        """Note that all windows up to ``watermark`` were computed, those of nothing too."""
        self._closed = max(self._closed, watermark)
        if self._closed > UNKNOWN:
            self._computed = max(self._computed, self._closed - self._closed % self._window)

    # Computing windows.

    def _split_late(self, points: Any, limit: int) -> tuple[Any, Any]:
        """Return what is too late, None if nothing is, and the rest without the refused."""
        first_kept = limit - limit % self._window + self._window
        kinds = self.names.kinds
        if not len(points.ts) or not any_out(points.row, points.ts, kinds, first_kept, REFUSED):
            return None, points
        keep = points.ts - points.ts % self._window > limit
        refused = kinds[points.row] == REFUSED
        self.tally.refused.update(self.names.refused(points.row[refused]))
        late = ~keep & ~refused
        rest = taken(points, keep & ~refused)
        return (taken(points, late) if late.any() else None), rest

    def _window_at(self, start: int) -> OpenWindow:
        window = self._open.get(start)
        if window is None:
            window = self._open[start] = OpenWindow()
            # One that comes after later ones were computed is as late as a point in those.
            window.computed = start < self._computed
        return window

    def _compute_due(self, limit: int) -> list[int]:
        """Compute the windows that end by ``limit`` for the first time; return their starts."""
        due = sorted(
            start
            for start, window in self._open.items()
            if not window.computed and start + self._window <= limit
        )
        if not due:
            return []
        self._grow_tails()
        windows = [self._open[start] for start in due]
        points = concat_points([window.all_points() for window in windows])
        histograms = concat_histograms([window.all_histograms() for window in windows])
        computed = self._computing.compute(points, histograms, self._tails, self._histogram_tails)
        self._histogram_tails = computed.tails
        self.tally.duplicates += computed.duplicates
        self.tally.overlaps += computed.overlaps
        self.tally.incomplete += computed.incomplete
        self.names.touch(self._tails.ts)
        self.names.touch_rows(computed.parts.row, computed.parts.ts)
        self.names.touch_rows(computed.rows.owner, computed.rows.last_ts)
        for start, window in zip(due, windows, strict=True):
            window.rows, window.origins, window.sketches = computed.at(start)
            window.content = self._computing.by_series(window.rows, window.sketches)
            window.computed = True
        self._computed = max(self._computed, due[-1] + self._window)
        return due

    def _compute_again(self) -> dict[int, NDArray[np.int32]]:
        """Bring late points into computed windows; return the series that changed, by start."""
        if not any(window.late for window in self._open.values()):
            return {}
        self._grow_tails()
        concerned = np.zeros(self.names.rows, np.bool_)
        for window in self._open.values():
            for rows_of_late in window.late:
                concerned[rows_of_late] = True
            window.late = []
        concerned = self.names.parts.joined(concerned)
        concerned &= self.names.kinds != REFUSED  # what came out before that stands
        computed = {s: w for s, w in sorted(self._open.items()) if w.computed}
        points = concat_points([of_rows(w.all_points(), concerned) for w in computed.values()])
        histograms = concat_histograms(
            [of_rows(w.all_histograms(), concerned) for w in computed.values()]
        )
        tails = Tails._make(column.copy() for column in self._base)
        again = self._computing.compute(
            points, histograms, tails, of_rows(self._histogram_base, concerned)
        )
        for mine, new in zip(self._tails, tails, strict=True):
            mine[concerned] = new[concerned]
        self._histogram_tails = _by_row([of_rows(self._histogram_tails, ~concerned), again.tails])
        changed: dict[int, NDArray[np.int32]] = {}
        for start, window in computed.items():
            fresh, fresh_origins, fresh_sketches = again.at(start)
            fresh, fresh_origins = with_emptied(window.rows, fresh, fresh_origins, concerned)
            if not len(fresh.owner):
                continue
            changed_rows = altered(
                (window.rows, window.sketches), (fresh, fresh_sketches), concerned
            )
            kept = ~concerned[window.rows.owner]
            window.origins = np.concatenate([window.origins[kept], fresh_origins])
            window.rows = concat_rows([take_rows(window.rows, kept), fresh])
            window.sketches = concat_sketches(
                [take_sketches(window.sketches, ~concerned[window.sketches.owner]), fresh_sketches]
            )
            if len(changed_rows):
                window.content = self._computing.by_series(window.rows, window.sketches)
                changed[start] = np.unique(self.names.owner[changed_rows])
        return changed

    # What comes out.

    def _emitted(self, start: int, owners: NDArray[np.int32], passed: int) -> Out:
        """Return what comes out of one of the finest windows, of which ``owners`` changed."""
        window = self._open[start]
        whole = start + self._window <= passed
        if window.emitted is None:
            rows = window.content.rows
            window.emitted = Emitted(rows.owner)
            window.emitted.early = not whole
            # One that has its first points after its time is late, as a late series of others is.
            whole = whole and start + self._window > self._closed
            revisions = np.zeros(len(rows.owner), np.int64)
            return Out(self._window, start, window.content, revisions, whole)
        if whole and window.emitted.early:
            window.emitted.early = False
            revisions = window.emitted.next(window.content.rows.owner)
            return Out(self._window, start, window.content, revisions, True)
        chosen = np.zeros(self.names.owners, np.bool_)
        chosen[owners] = True
        content = window.content.of(chosen)
        return Out(self._window, start, content, window.emitted.next(content.rows.owner), False)

    def _frame(self, length: int, parts: list[Out]) -> pl.DataFrame:
        """Return one frame of all that comes out of a resolution."""
        rows = concat_rows([part.content.rows for part in parts])
        sizes = [len(part.content.rows.owner) for part in parts]
        starts = np.repeat(np.array([part.start for part in parts]), sizes)
        whole = np.repeat(np.array([part.whole for part in parts]), sizes)
        revision = np.concatenate([part.revisions for part in parts])
        quantiles = None
        if any(len(part.content.sketches.owner) for part in parts):
            quantiles = np.concatenate([percentiles(part.content) for part in parts])
        names = self.names.describe(rows.owner)
        frame = rollup_frame(rows, names, length, starts, revision, quantiles)
        return frame.with_columns(pl.Series(WHOLE, whole))

    # What can no longer change.

    def _fold(self) -> None:
        """Hand windows that can no longer change on to the next resolution."""
        frozen = sorted(start for start in self._open if start < self.frozen)
        if frozen:
            windows = [self._open.pop(start) for start in frozen]
            for window in windows:
                last = ~np.isnan(window.rows.last)  # histograms have tails of their own
                rows = take_rows(window.rows, last)
                self._base.ts[rows.owner] = rows.last_ts
                self._base.start[rows.owner] = window.origins[last]
                self._base.value[rows.owner] = rows.last
            base, histograms = self._histogram_base, [w.all_histograms() for w in windows]
            if self.names.parts:
                points = concat_points([window.all_points() for window in windows])
                histograms.append(self._computing.assemble(points, base).histograms)
            *_, self._histogram_base = self._computing.observe(concat_histograms(histograms), base)
            handed = {start: window.content for start, window in zip(frozen, windows, strict=True)}
        else:
            handed = {}
        if self._closed > UNKNOWN:
            self._levels.fold(handed, self._closed - self._lateness, self.names.owners)

    def _forget_quiet(self) -> None:
        if self._closed - self._swept < self._evict_after // 8:
            return
        self._swept = self._closed
        parts: list[Points | Histograms] = []
        for window in self._open.values():
            parts += [*window.points, *window.histograms]
        for waiting in self._behind.values():
            parts += [part for both in waiting for part in both]
        for part in parts:
            self.names.touch_rows(part.row, part.ts)
        change = self.names.forget(self._closed - self._evict_after, self._closed)
        if change is None:
            return
        kept = np.flatnonzero(change.rows[: len(self._base.ts)] >= 0)
        self._tails = Tails._make(column[kept] for column in self._tails)
        self._base = Tails._make(column[kept] for column in self._base)
        self._histogram_tails = _renumbered(self._histogram_tails, change)
        self._histogram_base = _renumbered(self._histogram_base, change)
        for window in self._open.values():
            window.renumber(change)
        self._behind = {
            end: [
                (
                    points._replace(row=change.rows[points.row]),
                    histograms._replace(row=change.rows[histograms.row]),
                )
                for points, histograms in waiting
            ]
            for end, waiting in self._behind.items()
        }
        self._levels.renumber(change)

    # Recovery.

    def snapshot(self, put_off: NDArray[np.int64]) -> dict[str, Any]:
        """Return plain data: what is folded, and what came out of windows that can still change.

        Of what came out only what can't be told otherwise: revisions, and windows that were shown
        before the watermark passed them.

        Args:
            put_off: times of points that could not be added because of a replay. They come again
                with the next one, where they must not be taken for what had come out.
        """
        if self._restored is not None:
            starts = np.unique(put_off - put_off % self._window).tolist()
            return {**self._restored, "owed": sorted({*self._restored["owed"], *starts})}
        kept = np.flatnonzero(np.isin(self.names.kinds[: len(self._base.ts)], (DELTA, CUMULATIVE)))
        return {
            "closed": self._closed,
            "names": self.names.snapshot(),
            "counters": kept.astype(np.int32).tobytes(),
            "tails": pack(Tails._make(column[kept] for column in self._base)),
            "histogram_tails": pack(self._histogram_base),
            "emitted": {
                start: state
                for start, window in self._open.items()
                if (state := emitted_state(window.emitted, start + self._window > self._closed))
                and state["owners"]  # with nothing in it, it is as if it had not come out
            },
            "owed": [s for s, window in self._open.items() if window.emitted and window.late],
            "levels": self._levels.snapshot(self._closed),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what ``snapshot`` gave. A replay of the open windows' points is to follow."""
        self._restored = state
        self._closed = state["closed"]
        self.names.restore(state["names"])
        self._kinds_restored = self.names.kinds.copy()
        self._base = no_tails(self.names.rows)
        counters = np.frombuffer(state["counters"], np.int32)
        for column, values in zip(self._base, unpack(no_tails(0), state["tails"]), strict=True):
            column[counters] = values
        self._tails = Tails._make(column.copy() for column in self._base)
        self._histogram_base = unpack(NO_HISTOGRAMS, state["histogram_tails"])
        self._histogram_tails = self._histogram_base
        self._levels.restore(state["levels"])

    def rebuild(self) -> None:
        """End the replay: compute what was computed, and say nothing of it."""
        state = self._restored
        if state is None:
            return
        self._restored = None
        # Windows that were shown early are among those that came out, whatever the watermark is.
        shown = max((start + self._window for start in state["emitted"]), default=UNKNOWN)
        # And nothing had come out of identities that had no name.
        kinds = self.names.kinds
        nameless = np.ones(len(kinds), np.bool_)
        nameless[: len(self._kinds_restored)] = self._kinds_restored >= REFUSED
        named_since = np.flatnonzero(nameless & (kinds < REFUSED))
        known = kinds[named_since]
        kinds[named_since] = UNNAMED
        owed = {start for start in state["owed"] if start >= self.frozen}
        for start in self._compute_due(max(self._closed, shown)):
            window = self._open[start]
            if start + self._window <= self._closed:
                window.emitted = Emitted(window.content.rows.owner)
            elif start not in state["emitted"]:
                owed.add(start)
        self._pass(self._closed)
        for start, emitted in state["emitted"].items():
            window = self._window_at(start)
            window.emitted = restored_emitted(window.emitted, emitted)
            window.emitted.early = start + self._window > self._closed
            self._take_back(window)
        if owed:  # what changed a window may have changed those after it
            first = min(owed)
            owed |= {s for s, w in self._open.items() if w.emitted is not None and s >= first}
        for start in owed:
            self._owed[start] = self._window_at(start).content.rows.owner
        finest = {start: w.content for start, w in self._open.items() if w.computed}
        self._levels.rebuild(finest, state["levels"], self._closed, self.names.owners)
        kinds[named_since] = known
        if len(named_since):
            for window in self._open.values():
                if window.computed:
                    window.late.append(named_since.astype(np.int32))
        self.tally = Tally()

    def _take_back(self, window: OpenWindow) -> None:
        """Add rows of nothing for what came out before a restart, and would not any more.

        Coarser windows may still have to take it back.
        """
        out = window.emitted.owners if window.emitted is not None else window.content.rows.owner
        gone = out[~np.isin(out, window.content.rows.owner)]
        rows = np.flatnonzero(np.isin(self.names.owner, gone)).astype(np.int32)
        if not len(rows):
            return
        _, first = np.unique(self.names.owner[rows], return_index=True)
        window.rows, window.origins = with_nothing(window.rows, window.origins, rows[first])
        window.content = self._computing.by_series(window.rows, window.sketches)

    def _grow_tails(self) -> None:
        more = self.names.rows - len(self._tails.ts)
        if more > 0:
            self._tails = grown(self._tails, self.names.rows)
            self._base = grown(self._base, self.names.rows)


def _by_row(parts: list[Histograms]) -> Histograms:
    every = concat_histograms(parts)
    return take_histograms(every, np.argsort(every.row, kind="stable"))


def _renumbered(tails: Histograms, change: Renumbered) -> Histograms:
    rows = change.rows[tails.row]
    kept = take_histograms(tails, np.flatnonzero(rows >= 0))
    return kept._replace(row=change.rows[kept.row])
