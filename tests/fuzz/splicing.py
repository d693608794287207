"""Random numbers and the one change that all others are made of, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import compiled, signed

__all__ = ["below", "repeat", "splice"]


@compiled
def below(state: NDArray[np.uint64], end: int) -> int:
    """Return a random integer from 0 to ``end`` - 1, by SplitMix64 (Steele, Lea and Flood 2014)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    mixed = state[0]
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed = mixed ^ (mixed >> np.uint64(31))
    return signed(mixed % np.uint64(end)) if end > 1 else 0


@compiled
def splice(
    work: NDArray[np.uint8],
    size: int,
    at: int,
    removed: int,
    source: NDArray[np.uint8],
    begin: int,
    taken: int,
    limit: int,
) -> int:
    """Put bytes of ``source`` in the place of some of ``work``; return its new size.

    Nothing is done if the message would be longer than ``limit``. ``source`` is not ``work``.
    """
    after = size - removed + taken
    if after > limit:
        return size
    rest = size - at - removed
    if taken < removed:
        for place in range(rest):
            work[at + taken + place] = work[at + removed + place]
    elif taken > removed:
        for place in range(rest - 1, -1, -1):
            work[at + taken + place] = work[at + removed + place]
    for place in range(taken):
        work[at + place] = source[begin + place]
    return after


@compiled
def repeat(
    work: NDArray[np.uint8],
    size: int,
    at: int,
    source: NDArray[np.uint8],
    begin: int,
    taken: int,
    times: int,
    limit: int,
) -> int:
    """Put bytes of ``source`` into ``work`` ``times`` times, or as often as there is room."""
    if not taken or size >= limit:
        return size
    added = taken * min(times, (limit - size) // taken)
    for place in range(size - 1, at - 1, -1):
        work[added + place] = work[place]
    for place in range(added):
        work[at + place] = source[begin + place % taken]
    return size + added
