"""How far event time is in each partition before each of its messages.

That is a function of what stands in the partition, so it is the same however it is polled: what
rests on it comes out alike in a live flow, in a backlog and in a replay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from operators.contracts.watermark import UNKNOWN

__all__ = ["PartitionProgress", "compile_kernels"]


class PartitionProgress:
    """Follows partitions, each from the first message that is met of it.

    A partition is read by one thread, so that threads can share this.
    """

    def __init__(self) -> None:
        self._reached: dict[str, int] = {}
        self._first: dict[str, int] = {}

    def reached(self, partition: str) -> int:
        """Return the largest event time of a partition up to now, ``UNKNOWN`` before the first."""
        return self._reached.get(partition, UNKNOWN)

    def first(self, partition: str) -> int:
        """Return the largest event time of the first message that had one."""
        return self._first.get(partition, UNKNOWN)

    def follow(
        self,
        names: Sequence[str],
        places: NDArray[np.int64],
        caps: NDArray[np.int64],
        times: Iterable[tuple[NDArray[np.uint32], NDArray[np.int64]]],
    ) -> NDArray[np.int64]:
        """Take in a poll; return of each message the largest event time of its partition before it.

        Args:
            names: of the partitions.
            places: of each message, which of ``names`` it came from.
            caps: of each message, how far it moves event time at most.
            times: the message and the event time of each point, of each kind of points.
        """
        largest = np.full(len(places), UNKNOWN, np.int64)
        for message, ts in times:
            _note_largest(message, ts, caps, largest)
        reached = np.array([self.reached(name) for name in names], np.int64)
        first = np.array([self.first(name) for name in names], np.int64)
        before = _before(largest, places, reached, first)
        self._reached.update(zip(names, reached.tolist(), strict=True))
        self._first.update(zip(names, first.tolist(), strict=True))
        return before


@njit(cache=True, nogil=True)
def _note_largest(
    message: NDArray[np.uint32],
    ts: NDArray[np.int64],
    caps: NDArray[np.int64],
    largest: NDArray[np.int64],
) -> None:
    """Fill in the largest event time of each message, as far as it is believed."""
    for i in range(len(ts)):
        of = message[i]
        largest[of] = max(largest[of], min(ts[i], caps[of]))


@njit(cache=True, nogil=True)
def _before(
    largest: NDArray[np.int64],
    places: NDArray[np.int64],
    reached: NDArray[np.int64],
    first: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return how far each message's partition was before it; ``reached`` and ``first`` go on."""
    before = np.empty(len(largest), np.int64)
    unknown = np.int64(-(2**62))
    for i in range(len(largest)):
        place = places[i]
        before[i] = reached[place]
        if largest[i] > unknown and first[place] == unknown:
            first[place] = largest[i]
        reached[place] = max(reached[place], largest[i])
    return before


def compile_kernels() -> None:
    """Compile the loops, or load them from the disk, before there is a poll that waits for it."""
    one = np.ones(1, np.int64)
    _note_largest(np.zeros(1, np.uint32), one, one, one.copy())
    _before(one, np.zeros(1, np.int64), one.copy(), one.copy())
