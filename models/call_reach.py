"""Loops over who calls whom: all that a service calls, directly or not, and what got worse there.

Services are small integers. Whom each of them calls is one array, in which ``starts`` says where its own begin.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["WorstCalls", "reach_of", "worst_of"]


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


class WorstCalls(NamedTuple):
    """What got worse in the reach of services, an entry each; the others have a row of causes for each.

    Attributes:
        added: all that got worse, together.
        causes: how many of the row count.
        who: whose it is.
        way: whether it is on the way.
        gained: how much it is.
        usual, spent: the milliseconds of a call on the way; of others 0.
    """

    added: NDArray[np.float64]
    causes: NDArray[np.int64]
    who: NDArray[np.int64]
    way: NDArray[np.bool_]
    gained: NDArray[np.float64]
    usual: NDArray[np.float64]
    spent: NDArray[np.float64]


@njit(cache=True, nogil=True)
def worst_of(
    services: NDArray[np.int64],
    starts: NDArray[np.int64],
    called: NDArray[np.int64],
    gained: NDArray[np.float64],
    way_starts: NDArray[np.int64],
    whose: NDArray[np.int64],
    ways: NDArray[np.float64],
    part: float,
) -> WorstCalls:
    """Return what got worse in the reach of services, and what of it is a large part.

    Args:
        services: which are asked about.
        starts, called: the services that each one calls.
        gained: what each service itself adds to its calls.
        way_starts, whose: the ways of each one's calls, and whose they are.
        ways: the milliseconds that were usual, those spent, and of how many calls; of shape (3, ways).
        part: what is a large part of what got worse.
    """
    size, asked, most = len(gained), len(services), int(1 / part) + 1
    found, marks = np.empty(size, np.int64), np.full(size, -1, np.int64)
    blamed, is_blamed = np.empty(size, np.int64), np.full(size, -1, np.int64)
    on_way = np.zeros((3, size))
    worst = WorstCalls(
        np.zeros(asked),
        np.zeros(asked, np.int64),
        np.zeros((asked, most), np.int64),
        np.zeros((asked, most), np.bool_),
        np.zeros((asked, most)),
        np.zeros((asked, most)),
        np.zeros((asked, most)),
    )
    for number in range(asked):
        service = services[number]
        # Who was met by another one before, and meets that one, has the same reach.
        other = marks[service]
        awaited = services[other] if other >= 0 else -1
        count = reach_of(service, starts, called, found, marks, number, awaited)
        if count == 0:
            worst.added[number], worst.causes[number] = worst.added[other], worst.causes[other]
            for column in range(most):
                worst.who[number, column] = worst.who[other, column]
                worst.way[number, column] = worst.way[other, column]
                worst.gained[number, column] = worst.gained[other, column]
                worst.usual[number, column] = worst.usual[other, column]
                worst.spent[number, column] = worst.spent[other, column]
            continue
        added, names = 0.0, 0
        for one in found[:count]:
            added += max(gained[one], 0.0)
            for way in range(way_starts[one], way_starts[one + 1]):
                who = whose[way]
                if is_blamed[who] != number:
                    is_blamed[who] = number
                    on_way[:, who] = 0.0
                    blamed[names] = who
                    names += 1
                for row in range(3):
                    on_way[row, who] += ways[row, way]
        for who in blamed[:names]:
            added += max(on_way[1, who] - on_way[0, who], 0.0)
        worst.added[number] = added
        at = 0
        for one in found[:count]:
            if gained[one] > 0 and gained[one] >= part * added and at < most:
                worst.who[number, at], worst.gained[number, at] = one, gained[one]
                at += 1
        for who in blamed[:names]:
            gain, calls = on_way[1, who] - on_way[0, who], on_way[2, who]
            if gain > 0 and gain >= part * added and at < most:
                worst.who[number, at], worst.gained[number, at] = who, gain
                worst.way[number, at] = True
                worst.usual[number, at] = on_way[0, who] / calls
                worst.spent[number, at] = on_way[1, who] / calls
                at += 1
        worst.causes[number] = at
    return worst
