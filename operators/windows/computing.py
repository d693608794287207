"""Computing windows: from all points of some windows to rows and sketches by identity and by series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.contracts.frames import CUMULATIVE, GAUGE, QUANTILES
from operators.windows.classic import Assembled, assemble
from operators.windows.histograms import (
    NO_HISTOGRAMS,
    Histograms,
    concat_histograms,
    observe,
    take_histograms,
)
from operators.windows.levels import Content
from operators.windows.names import REFUSED, Names
from operators.windows.open_windows import NO_POINTS, order_by_window, take_points
from operators.windows.rollups import Rows, concat_rows, merge_rows, take_rows
from operators.windows.sketches import (
    NO_SKETCHES,
    Sketches,
    altered_sketches,
    concat_sketches,
    merge_sketches,
    of_values,
    quantiles,
    take_sketches,
)
from operators.windows.sums import (
    NOTHING_BEFORE,
    Points,
    SortedPoints,
    Tails,
    aggregate,
    sort_points,
)

__all__ = [
    "Computed",
    "Computing",
    "altered",
    "of_rows",
    "percentiles",
    "taken",
    "with_emptied",
    "with_nothing",
]


@dataclass(frozen=True, slots=True)
class Computed:
    """Rows by window and identity, and what belongs to them.

    Attributes:
        rows, starts, origins: each row, the start of its window, and the start time that its last
            point says.
        sketches, sketch_starts: sketches by window and identity, and the starts of theirs.
        tails: the last accepted histogram of each identity; those of numbers are brought forward
            in place.
        duplicates, overlaps: how many number points were left out.
        parts: the points that belong to classic histograms.
        incomplete: how many of them are of scrapes that can't be put together.
    """

    rows: Rows
    starts: NDArray[np.int64]
    origins: NDArray[np.int64]
    sketches: Sketches
    sketch_starts: NDArray[np.int64]
    tails: Histograms
    duplicates: int
    overlaps: int
    parts: Points
    incomplete: int

    def at(self, start: int) -> tuple[Rows, NDArray[np.int64], Sketches]:
        """Return rows, origins and sketches of one window."""
        begin, end = np.searchsorted(self.starts, (start, start + 1)).tolist()
        rows = Rows._make(column[begin:end] for column in self.rows)
        sketches = NO_SKETCHES
        if len(self.sketch_starts):
            sketches = take_sketches(self.sketches, self.sketch_starts == start)
        return rows, self.origins[begin:end], sketches


class Computing:
    """How the windows of a shard are computed.

    Args:
        names: kinds and series of its identities.
        window: length in nanoseconds.
        horizon: see ``operators.windows.sums``.
        sketched: regular expression of the names of gauges that have percentiles; empty for none.
    """

    def __init__(self, names: Names, window: int, horizon: int, sketched: str) -> None:
        self._names = names
        self._window = window
        self._horizon = horizon
        self._sketched = sketched

    def compute(
        self, points: Points, histograms: Histograms, tails: Tails, histogram_tails: Histograms
    ) -> Computed:
        """Compute windows from all that is in them, and from the last points before them."""
        points, classic, parts, incomplete = self.assemble(points, histogram_tails)
        if len(classic.row):  # behind the others: of two alike the first stands
            histograms = concat_histograms([histograms, classic])
        ordered = sort_points(points, self._names.rows)
        rows, starts, origins, counts, duplicates, overlaps = aggregate(
            ordered, self._names.kinds, self._window, self._horizon, tails
        )
        sketches, sketch_starts = NO_SKETCHES, np.empty(0, np.int64)
        if self._sketched:
            sketches, sketch_starts = self._sketch_gauges(ordered, counts)
        if len(histograms.row):
            observed, more, more_starts, histogram_tails = self.observe(histograms, histogram_tails)
            rows = concat_rows([rows, observed])
            starts = np.concatenate([starts, more_starts])
            origins = np.concatenate([origins, np.zeros(len(observed.owner), np.int64)])
            sketches = concat_sketches([sketches, more])
            sketch_starts = np.concatenate([sketch_starts, more_starts])
        order = order_by_window(starts, self._window)
        if order is not None:
            rows, starts, origins = take_rows(rows, order), starts[order], origins[order]
        return Computed(
            rows, starts, origins, sketches, sketch_starts, histogram_tails, duplicates, overlaps,
            parts, incomplete,
        )  # fmt: skip

    def assemble(self, points: Points, tails: Histograms) -> Assembled:
        """Put classic histograms together; ``tails`` are the histograms before the points."""
        parts = self._names.parts
        if not parts:
            return Assembled(points, NO_HISTOGRAMS, NO_POINTS, 0)
        return assemble(points, parts, self._names.kinds < REFUSED, self._window, tails.row)

    def observe(
        self, histograms: Histograms, tails: Histograms
    ) -> tuple[Rows, Sketches, NDArray[np.int64], Histograms]:
        """Compute histograms and summaries alone, see ``operators.windows.histograms.observe``."""
        kinds = self._names.kinds
        of_each = kinds[histograms.row]
        known = np.flatnonzero((of_each > CUMULATIVE) & (of_each < REFUSED))
        named = take_histograms(histograms, known)
        parts = self._names.parts
        shared = parts.homes(len(kinds)) if parts else np.zeros(len(kinds), np.bool_)
        return observe(named, kinds, self._window, self._horizon, tails, shared)

    def by_series(self, rows: Rows, sketches: Sketches) -> Content:
        """Merge the identities that share a series."""
        owner, owners = self._names.owner, self._names.owners
        stream = self._names.identities[rows.owner]
        mine = merge_rows([rows._replace(owner=owner[rows.owner], stream=stream)], owners)
        if not len(sketches.owner):
            return Content(mine, NO_SKETCHES)
        theirs = sketches._replace(owner=owner[sketches.owner])
        return Content(mine, merge_sketches([theirs], in_time=False))

    def _sketch_gauges(
        self, points: SortedPoints, counts: NDArray[np.bool_]
    ) -> tuple[Sketches, NDArray[np.int64]]:
        """Return the sketches of the gauges that are to have some, by identity and window."""
        wanted = (self._names.kinds == GAUGE) & self._names.matching(self._sketched)
        sizes = np.diff(points.bounds)
        row = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        chosen = np.flatnonzero(counts & wanted[row])
        if not len(chosen):
            return NO_SKETCHES, np.empty(0, np.int64)
        starts = points.ts[chosen] - points.ts[chosen] % self._window
        # One number for each identity and window, in the order of ``aggregate``.
        row = row[chosen]
        new = np.ones(len(chosen), np.bool_)
        new[1:] = (row[1:] != row[:-1]) | (starts[1:] != starts[:-1])
        group = (np.cumsum(new) - 1).astype(np.int32)
        merged = merge_sketches(
            [of_values(group, points.ts[chosen], points.value[chosen])], in_time=True
        )
        return merged._replace(owner=row[new]), starts[new]


def percentiles(content: Content) -> NDArray[np.float64]:
    """Return a row for each of the content's, with a column for each of QUANTILES."""
    rows, sketches = content
    found = np.full((len(rows.owner), len(QUANTILES)), np.nan)
    at = np.searchsorted(rows.owner, sketches.owner)
    found[at] = quantiles(sketches, rows.min[at], rows.max[at])
    return found


def taken(points: Any, chosen: NDArray[np.bool_]) -> Any:
    """Return the points, or histograms, chosen by a mask."""
    take = take_histograms if isinstance(points, Histograms) else take_points
    return take(points, np.flatnonzero(chosen))


def of_rows(points: Any, rows: NDArray[np.bool_]) -> Any:
    """Return the points, or histograms, of some rows, given as a mask by row."""
    return taken(points, rows[points.row])


def with_emptied(
    old: Rows, new: Rows, origins: NDArray[np.int64], concerned: NDArray[np.bool_]
) -> tuple[Rows, NDArray[np.int64]]:
    """Add a row of nothing for each that is not there any more.

    That is a delta whose only point overlaps one that came late, or a count whose buckets came late:
    what came out has to be taken back.
    """
    before = old.owner[concerned[old.owner]]
    gone = before[~np.isin(before, new.owner)]
    if not len(gone):
        return new, origins
    return with_nothing(new, origins, gone)


def with_nothing(
    rows: Rows, origins: NDArray[np.int64], gone: NDArray[np.int32]
) -> tuple[Rows, NDArray[np.int64]]:
    """Add a row of nothing for each of the identities ``gone``."""
    size = len(gone)
    none = np.full(size, np.nan)
    nothing = Rows(
        gone, np.zeros(size, np.int64), np.zeros(size), none, none,
        np.full(size, NOTHING_BEFORE), none, np.zeros(size), np.zeros(size, np.int64),
        np.zeros(size, np.int64), np.zeros(size, np.uint64),
    )  # fmt: skip
    return concat_rows([rows, nothing]), np.concatenate([origins, np.zeros(size, np.int64)])


def altered(
    old: tuple[Rows, Sketches], new: tuple[Rows, Sketches], concerned: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Return the identities whose row or sketch is not what it was; a row does not go away."""
    rows, sketches = new
    before = take_rows(old[0], concerned[old[0].owner])
    place = np.full(len(concerned), -1, np.int64)
    place[before.owner] = np.arange(len(before.owner))
    at = place[rows.owner]
    same = at >= 0
    for old_column, new_column in zip(before[1:], rows[1:], strict=True):
        was, now = old_column[at[same]], new_column[same]
        same[same] = (was == now) | (np.isnan(was) & np.isnan(now))
    changed = rows.owner[~same]
    if not len(sketches.owner):
        return changed
    return np.union1d(changed, altered_sketches(old[1], sketches, len(concerned)))
