"""What a node of an expression gives at one time: numbers for label sets."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.rules.label_sets import LabelSets

__all__ = ["Bools", "Floats", "InstantVector", "Range", "empty"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class InstantVector(NamedTuple):
    """An instant vector: ``values`` of those label sets that are ``present``.

    Label sets that are absent stay in their places, so nothing that was worked out from them has
    to be worked out again when they come back. ``histograms`` has the native histograms, None
    where a value is a number; None for the whole if there is none. ``order`` is that of the rows
    of a function that sorts.
    """

    sets: LabelSets
    values: Floats
    present: Bools
    histograms: NDArray[np.object_] | None = None
    order: NDArray[np.int64] | None = None

    def has_histograms(self) -> bool:
        """Return whether a value that is present is a native histogram."""
        return self.histograms is not None and any(
            one is not None for one in self.histograms[self.present]
        )

    def numbers(self) -> Bools:
        """Return where a number is present, and not a native histogram."""
        if self.histograms is None:
            return self.present
        return self.present & np.array([one is None for one in self.histograms], np.bool_)


class Range(NamedTuple):
    """A range vector: of each label set the samples from ``low`` to before ``high`` of an arena.

    ``start`` (exclusive) and ``end`` are the bounds of the range in ms. ``histograms`` has, by
    row, the times and native histograms of those that have some; they are not in the arena.
    """

    sets: LabelSets
    ts: NDArray[np.int64]
    values: Floats
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    start: int
    end: int
    histograms: dict[int, list[tuple[int, Any]]]


def empty(sets: LabelSets) -> InstantVector:
    """Return a frame in which nothing is present."""
    return InstantVector(sets, np.zeros(sets.size), np.zeros(sets.size, np.bool_))
