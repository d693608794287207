"""Putting rows in the order of small numbers, by counting."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import compiled

__all__ = ["order_by_number"]


@compiled
def order_by_number(
    numbers: NDArray[Any], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of rows by their number, those of one number as they came.

    Args:
        numbers: of each row, from 0.
        count: above every number.

    Returns:
        The order, and its bounds: the places of number ``n`` are ``order[bounds[n]:bounds[n + 1]]``.

    >>> order, bounds = order_by_number(np.array([2, 0, 2]), 3)
    >>> order.tolist(), bounds.tolist()
    ([1, 0, 2], [0, 1, 1, 3])
    """
    bounds = np.zeros(count + 1, np.int64)
    for number in numbers:
        bounds[number + 1] += 1
    for number in range(count):
        bounds[number + 1] += bounds[number]
    place = bounds[:-1].copy()
    order = np.empty(len(numbers), np.int64)
    for row in range(len(numbers)):
        number = numbers[row]
        order[place[number]] = row
        place[number] += 1
    return order, bounds
