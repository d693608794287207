"""Loops over who calls whom: all that a service calls, directly or not, and what got worse there.

Services are small integers. Whom each of them calls is one array, in which ``starts`` says where its own begin.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["reach_of", "worst_of"]


@njit(cache=True, nogil=True)
def reach_of(
    service: int,
    starts: NDArray[np.int64],
    called: NDArray[np.int64],
    found: NDArray[np.int64],
    marks: NDArray[np.int64],
    mark: int,
    awaited: int,
) -> int:
    """Write a service and all that it calls to ``found``, the nearest first; return how many they are.

    Args:
        starts, called: the services that each one calls.
        found: room for all services.
        marks: by service, who was met has ``mark`` then; before nobody has.
        awaited: a service that is not to be met. If it is, 0 is returned at once.
    """
    found[0] = service
    marks[service] = mark
    count = 1
    at = 0
    while at < count:
        one = found[at]
        at += 1
        if one == awaited:
            return 0
        for call in range(starts[one], starts[one + 1]):
            other = called[call]
            if marks[other] != mark:
                marks[other] = mark
                found[count] = other
                count += 1
    return count


@njit(cache=True, nogil=True)
def worst_of(
    services: NDArray[np.int64],
    starts: NDArray[np.int64],
    called: NDArray[np.int64],
    gained: NDArray[np.float64],
    way_starts: NDArray[np.int64],
    whose: NDArray[np.int64],
    way_gained: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what got worse in the reach of services: all of it, and the largest part, of one service.

    Args:
        services: which are asked about.
        starts, called: the services that each one calls.
        gained: what each service itself adds to its calls.
        way_starts, whose, way_gained: the ways of each one's calls: whose they are, and what they add.
    """
    size = len(gained)
    found, marks = np.empty(size, np.int64), np.full(size, -1, np.int64)
    on_way, blamed, is_blamed = (
        np.zeros(size),
        np.empty(size, np.int64),
        np.full(size, -1, np.int64),
    )
    added, most = np.zeros(len(services)), np.zeros(len(services))
    for number in range(len(services)):
        service = services[number]
        # Who was met by another one before, and meets that one, has the same reach.
        other = marks[service]
        awaited = services[other] if other >= 0 else -1
        count = reach_of(service, starts, called, found, marks, number, awaited)
        if count == 0:
            added[number], most[number] = added[other], most[other]
        names = 0
        for one in found[:count]:
            if gained[one] > 0:
                added[number] += gained[one]
                most[number] = max(most[number], gained[one])
            for way in range(way_starts[one], way_starts[one + 1]):
                who = whose[way]
                if is_blamed[who] != number:
                    is_blamed[who] = number
                    on_way[who] = 0.0
                    blamed[names] = who
                    names += 1
                on_way[who] += way_gained[way]
        for who in blamed[:names]:
            if on_way[who] > 0:
                added[number] += on_way[who]
                most[number] = max(most[number], on_way[who])
    return added, most
