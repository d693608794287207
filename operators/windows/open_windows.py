"""The finest windows of a shard that can still change, and the points in them."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from operators.columns.ordering import order_by_number
from operators.windows.histograms import Histograms, concat_histograms, take_histograms
from operators.windows.levels import EMPTY, Content, Emitted
from operators.windows.names import Renumbered
from operators.windows.rollups import NO_ROWS, Rows
from operators.windows.sketches import NO_SKETCHES, Sketches
from operators.windows.sums import Points

__all__ = [
    "NO_POINTS",
    "OpenWindow",
    "any_out",
    "concat_points",
    "order_by_window",
    "split_by_window",
    "split_histograms",
    "take_points",
]

_MANY: Final = 1024
NO_POINTS: Final = Points(
    np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
)


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

    @property
    def early(self) -> bool:
        """Whether it was shown before event time passed its end, and not since."""
        return self.emitted is not None and self.emitted.early

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


def take_points(points: Points, chosen: NDArray[np.intp]) -> Points:
    """Return the points at the indexes ``chosen``, in that order."""
    return Points._make(column[chosen] for column in points)


def concat_points(parts: list[Points]) -> Points:
    """Return the points of all ``parts``, one after the other."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return NO_POINTS
    return Points._make(np.concatenate(columns) for columns in zip(*parts, strict=True))


def split_by_window(points: Points, window: int) -> list[tuple[int, Points]]:
    """Return the points of each window, in the order of their coming, with its start."""
    size = len(points.ts)
    if not size:
        return []
    lowest, highest = _span(points.ts, window)
    if lowest == highest:
        return [(lowest, points)]
    if (highest - lowest) // window < max(_MANY, size):
        bounds, ordered = _by_window(points, lowest, highest, window)
        edges = bounds.tolist()
        return [
            (lowest + k * window, Points._make(column[begin:end] for column in ordered))
            for k, (begin, end) in enumerate(pairwise(edges))
            if begin < end
        ]
    # Far apart: no table has a place for each window.
    starts = points.ts - points.ts % window
    return [
        (int(starts[part[0]]), Points._make(column[part] for column in points))
        for part in _parts(starts)
    ]


def order_by_window(starts: NDArray[np.int64], window: int) -> NDArray[np.int64] | None:
    """Return the order in which starts of windows rise, equal ones as they are; None if they do."""
    if not len(starts):
        return None
    lowest, highest = _span(starts, window)
    if lowest == highest:
        return None
    if (highest - lowest) // window < max(_MANY, len(starts)):
        slots = (starts - lowest) // window
        return order_by_number(slots, (highest - lowest) // window + 1)[0]
    return np.argsort(starts, kind="stable")


def split_histograms(points: Histograms, window: int) -> list[tuple[int, Histograms]]:
    """Return the histograms of each window, in the order of their coming, with its start."""
    if not len(points.ts):
        return []
    lowest, highest = _span(points.ts, window)
    if lowest == highest:
        return [(lowest, points)]
    starts = points.ts - points.ts % window
    return [(int(starts[part[0]]), take_histograms(points, part)) for part in _parts(starts)]


def _parts(starts: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """Return the indexes that have the same start, for each start."""
    if not len(starts):
        return []
    order = np.argsort(starts, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(starts[order])) + 1)


@njit(cache=True, nogil=True)
def any_out(
    row: NDArray[np.int32],
    ts: NDArray[np.int64],
    kinds: NDArray[np.uint8],
    first_kept: int,
    refused: int,
) -> bool:
    """Say whether a point is earlier than ``first_kept``, or of a row of the kind ``refused``."""
    for i in range(len(ts)):  # noqa: SIM110 - compiled
        if ts[i] < first_kept or kinds[row[i]] == refused:
            return True
    return False


@njit(cache=True, nogil=True)
def _span(ts: NDArray[np.int64], window: int) -> tuple[int, int]:
    """Return the starts of the first and of the last window."""
    least = most = ts[0]
    for time in ts:
        least = min(least, time)
        most = max(most, time)
    return least - least % window, most - most % window


@njit(cache=True, nogil=True)
def _by_window(
    points: Points, lowest: int, highest: int, window: int
) -> tuple[NDArray[np.int64], Points]:
    """Sort points by window; those of the k-th from ``lowest`` on are at ``bounds[k:k + 2]``."""
    size = len(points.ts)
    count = (highest - lowest) // window + 1
    bounds = np.zeros(count + 1, np.int64)
    slots = np.empty(size, np.int32)
    for i in range(size):
        slot = (points.ts[i] - lowest) // window
        slots[i] = slot
        bounds[slot + 1] += 1
    for k in range(count):
        bounds[k + 1] += bounds[k]
    place = bounds[:-1].copy()
    row, ts = np.empty(size, np.int32), np.empty(size, np.int64)
    start, value = np.empty(size, np.int64), np.empty(size)
    for i in range(size):
        at = place[slots[i]]
        place[slots[i]] = at + 1
        row[at], ts[at] = points.row[i], points.ts[i]
        start[at], value[at] = points.start[i], points.value[i]
    return bounds, Points(row, ts, start, value)
