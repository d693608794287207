"""The finest windows of a shard that can still change, and the points in them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from operators.histograms import Histograms, concat_histograms, take_histograms
from operators.levels import EMPTY, Content, Emitted
from operators.names import Renumbered
from operators.rollups import NO_ROWS, Rows
from operators.sketches import NO_SKETCHES, Sketches
from operators.sums import Points

__all__ = ["NO_POINTS", "OpenWindow", "concat_points", "split_by_window"]

NO_POINTS = Points(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))


class OpenWindow:
    """Points of one window, and what they come to once it was computed.

    Attributes:
        computed: whether ``rows``, ``origins``, ``sketches`` and ``content`` are there: by
            identity, and by series.
        late: rows whose points came after that.
        emitted: what came out of it; None before that.
    """

    __slots__ = (
        "computed", "content", "emitted", "histograms", "late", "origins", "points", "rows",
        "sketches",
    )  # fmt: skip

    def __init__(self) -> None:
        self.points: list[Points] = []
        self.histograms: list[Histograms] = []
        self.computed = False
        self.late: list[NDArray[np.int32]] = []
        self.rows: Rows = NO_ROWS
        self.origins: NDArray[np.int64] = np.empty(0, np.int64)
        self.sketches: Sketches = NO_SKETCHES
        self.content: Content = EMPTY
        self.emitted: Emitted | None = None

    def add(self, points: Points) -> None:
        """Take in points of this window."""
        self.points.append(points)
        if self.computed:
            self.late.append(points.row)

    def add_histograms(self, points: Histograms) -> None:
        """Take in histograms and summaries of this window."""
        self.histograms.append(points)
        if self.computed:
            self.late.append(points.row)

    def all_points(self) -> Points:
        """Return all points; from now on they are one piece."""
        whole = concat_points(self.points)
        self.points = [whole] if len(whole.row) else []
        return whole

    def all_histograms(self) -> Histograms:
        """Return all histograms; from now on they are one piece."""
        whole = concat_histograms(self.histograms)
        self.histograms = [whole] if len(whole.row) else []
        return whole

    def renumber(self, change: Renumbered) -> None:
        """Take up new numbers of rows and owners; what is forgotten has nothing here."""
        rows = change.rows
        self.points = [part._replace(row=rows[part.row]) for part in self.points]
        self.histograms = [part._replace(row=rows[part.row]) for part in self.histograms]
        self.late = [rows[part] for part in self.late]
        self.rows = self.rows._replace(owner=rows[self.rows.owner])
        self.sketches = self.sketches._replace(owner=rows[self.sketches.owner])
        content = self.content
        self.content = Content(
            content.rows._replace(owner=change.owners[content.rows.owner]),
            content.sketches._replace(owner=change.owners[content.sketches.owner]),
        )
        if self.emitted is not None:
            self.emitted.renumber(change.owners)


def concat_points(parts: list[Points]) -> Points:
    """Return the points of all ``parts``, one after the other."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return NO_POINTS
    return Points._make(np.concatenate(columns) for columns in zip(*parts, strict=True))


def split_by_window(points: Any, starts: NDArray[np.int64]) -> list[tuple[int, Any]]:
    """Return the points of each window: its start, and Points or Histograms.

    ``starts`` has the start of each one's window.
    """
    if not len(starts):
        return []
    if (starts == starts[0]).all():
        return [(int(starts[0]), points)]
    order = np.argsort(starts, kind="stable")
    ordered = starts[order]
    edges = np.flatnonzero(np.diff(ordered)) + 1
    parts = np.split(order, edges)
    if isinstance(points, Histograms):
        return [(int(starts[part[0]]), take_histograms(points, part)) for part in parts]
    return [(int(starts[part[0]]), Points(*_take_points(points, part))) for part in parts]


@njit(cache=True, nogil=True)
def _take_points(points: Points, chosen: NDArray[np.int64]) -> Points:
    size = len(chosen)
    row, ts = np.empty(size, np.int32), np.empty(size, np.int64)
    start, value = np.empty(size, np.int64), np.empty(size)
    for k in range(size):
        i = chosen[k]
        row[k], ts[k], start[k], value[k] = (
            points.row[i], points.ts[i], points.start[i], points.value[i]
        )  # fmt: skip
    return Points(row, ts, start, value)
