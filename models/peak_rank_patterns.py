"""Boxes around the patterns that a series has shown, as in fuzzy adaptive resonance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from models.peak_rank_state import BOX, BOXES, SIDES, USED

__all__ = ["learn_box", "nearest_box"]


def nearest_box(
    stored: NDArray[np.float32], sides: Any, widest: float
) -> tuple[float, int, int]:  # fmt: skip
    """Return the distance to the nearest box (0 if there is none), that box, and the nearest that may take it in."""
    least, nearest, room, taking = np.inf, -1, np.inf, -1
    for box in range(BOXES):
        if np.float64(stored[USED + box]) < 0.0:
            continue
        away = width = 0.0
        for side in range(SIDES):
            at = BOX + (box * SIDES + side) * 2
            low, high = np.float64(stored[at]), np.float64(stored[at + 1])
            value = sides[side]
            if value < low:
                away += low - value
                width = max(width, high - value)
            elif value > high:
                away += value - high
                width = max(width, value - low)
        if away < least:
            least, nearest = away, box
        if width <= widest and away < room:
            room, taking = away, box
    return (least if nearest >= 0 else 0.0), nearest, taking


def learn_box(stored: NDArray[np.float32], sides: Any, taking: int, seen: float) -> None:
    """Let a box take the pattern in, or begin one in place of that used the longest ago."""
    if taking < 0:
        taking = 0
        for box in range(1, BOXES):
            if np.float64(stored[USED + box]) < np.float64(stored[USED + taking]):
                taking = box
        for side in range(SIDES):
            at = BOX + (taking * SIDES + side) * 2
            stored[at] = sides[side]
            stored[at + 1] = sides[side]
    else:
        for side in range(SIDES):
            at = BOX + (taking * SIDES + side) * 2
            if sides[side] < np.float64(stored[at]):
                stored[at] = sides[side]
            if sides[side] > np.float64(stored[at + 1]):
                stored[at + 1] = sides[side]
    stored[USED + taking] = seen


for _part in (nearest_box, learn_box):
    register_jitable(_part)
