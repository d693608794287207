"""Whose own change is behind what a service shows, from sums of calls.

What a service takes *itself* for a call it received is what its receiving spans took without what it waited
for others, its client spans; what fails *by itself* is what failed beyond its failed calls to others. A
database, a queue or a third party has no spans: it is seen by those who call it. What a caller waits for beyond
what the called service takes is spent *on the way*: in the network, or where a call waits to be taken. Of the
service and all that it calls, directly or not, the one comes first that adds most to a call, and is least like
itself before.

Services, pairs of a caller and one called, and the places where calls are counted are small integers here, so
all services are judged at once, in arrays. The numbers of a call are rows of them: ``COUNT``, milliseconds
(``TIME``), how many failed (``FAILURES``), and milliseconds on the way (``WAY``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.call_reach import worst_of

__all__ = [
    "COUNT",
    "FAILURES",
    "NUMBERS",
    "PAIR",
    "RECEIVED",
    "RECEIVES",
    "TIME",
    "WAITED",
    "WAITS",
    "WAY",
    "CallComparison",
    "CallPlaces",
    "CallTotals",
    "OwnChange",
    "Worse",
    "sums_by",
    "whose_ways",
]  # fmt: skip

COUNT: Final = 0
TIME: Final = 1
FAILURES: Final = 2
WAY: Final = 3
NUMBERS: Final = 4
"""The rows of numbers."""
RECEIVES: Final = ("SPAN_KIND_SERVER", "SPAN_KIND_CONSUMER")
WAITS: Final = "SPAN_KIND_CLIENT"
"""The kinds of spans that receive a call, and of those that wait for one."""
RECEIVED: Final = 1
WAITED: Final = 2
PAIR: Final = 3
"""What calls are of a place: those that an operation of a service received, that a service waited for, or that
one service made to another. Others count nowhere."""
_TIMES_AT_MOST: Final = 10.0
"""A change to more times of what was before counts no more: of next to nothing anything is many times."""
_FEW: Final = 3.0
"""Calls of a pair of services that say what is usual on the way between them."""
_PART: Final = 0.1
"""A way changed, as another did, if it did so by this part of it at least."""

_Floats = NDArray[np.float64]
_Integers = NDArray[np.int64]
_Marks = NDArray[np.bool_]


class OwnChange(NamedTuple):
    """How a service's own part of a call changed: milliseconds, or share of its calls that fail.

    ``added`` is what that adds to a call of the service that was asked about. ``way`` says that it is what its
    calls spend on the way.
    """

    service: int
    before: float
    now: float
    added: float
    way: bool = False


class CallPlaces(NamedTuple):
    """Where calls are counted.

    Attributes:
        kind: by place, ``RECEIVED``, ``WAITED``, ``PAIR``, or 0.
        service: by place, who received, waited or called.
        pair: by place, which pair it is of, where it is of one. Several places may be of the same.
        caller, called: by pair, the services.
        services: how many there are.
    """

    kind: _Integers
    service: _Integers
    pair: _Integers
    caller: _Integers
    called: _Integers
    services: int


class CallTotals(NamedTuple):
    """The calls that were seen in a span of time.

    Attributes:
        numbers: of shape (``NUMBERS``, places).
        seen: by place, whether anything was told of it, be it that there were no calls.
    """

    numbers: _Floats
    seen: _Marks


class Worse(NamedTuple):
    """How much worse services are, an entry each.

    Attributes:
        added: what all that got worse adds to their calls, those of the span of time together.
        most: the largest part of it that is of one service, its own or on the way.
        changes: those that are a large part of it, the likeliest cause first.
    """

    added: _Floats
    most: _Floats
    changes: Sequence[Sequence[OwnChange]]


@dataclass(frozen=True)
class _Sums:
    """What was seen in a span of time, by service and by pair."""

    places: CallPlaces
    totals: CallTotals

    @cached_property
    def received(self) -> tuple[_Floats, _Marks]:
        """Return the numbers of calls that services received, and which of them are told of."""
        return self._by(RECEIVED, self.places.service, self.places.services)

    @cached_property
    def waited(self) -> _Floats:
        """Return the numbers of calls that services waited for."""
        return self._by(WAITED, self.places.service, self.places.services)[0]

    @cached_property
    def pairs(self) -> tuple[_Floats, _Marks]:
        """Return the numbers of calls by pair, and which of them are told of."""
        return self._by(PAIR, self.places.pair, len(self.places.called))

    @cached_property
    def called(self) -> _Floats:
        """Return the numbers of calls that services were seen to be called, by those who call."""
        pairs, _ = self.pairs
        return sums_by(self.places.called, pairs, self.places.services)

    @cached_property
    def count(self) -> _Floats:
        """Return how many calls each service received; one without spans, by those who call it."""
        received, told = self.received
        count: _Floats = np.where(told, received[COUNT], self.called[COUNT])
        return count

    def own(self, number: int) -> _Floats:
        """Return what each service adds itself to a call: milliseconds, or the share that fails."""
        received, told = self.received
        own = np.where(
            told, np.maximum(received[number] - self.waited[number], 0.0), self.called[number]
        )
        return _parts(own, self.count)

    def _by(self, kind: int, where: _Integers, size: int) -> tuple[_Floats, _Marks]:
        mine = np.flatnonzero(self.totals.seen & (self.places.kind == kind))
        told = np.zeros(size, np.bool_)
        told[where[mine]] = True
        return sums_by(where[mine], self.totals.numbers[:, mine], size), told


class CallComparison:
    """What changed for each service, of two spans of time."""

    def __init__(self, places: CallPlaces, before: CallTotals, now: CallTotals) -> None:
        self._places = places
        self._before, self._now = _Sums(places, before), _Sums(places, now)
        self._owns: dict[int, tuple[_Floats, _Floats, _Floats]] = {}
        self._operations: dict[tuple[int, int], tuple[_Integers, _Floats]] = {}

    @property
    def received(self) -> _Integers:
        """Return the services that received calls now."""
        return np.flatnonzero(self._now.received[1])

    @property
    def count(self) -> _Floats:
        """Return how many calls each service received now."""
        return self._now.count

    @property
    def count_before(self) -> _Floats:
        """Return how many calls each service received before."""
        return self._before.count

    @cached_property
    def whole_before(self) -> _Floats:
        """Return the milliseconds that a call of each service took, with all that it waited for."""
        return _parts(self._before.received[0][TIME], self.count_before)

    @property
    def pairs(self) -> tuple[_Marks, _Floats]:
        """Return which pairs are told of, before or now, and the most calls of them in either."""
        (before, told_before), (now, told_now) = self._before.pairs, self._now.pairs
        return told_before | told_now, np.maximum(before[COUNT], now[COUNT])

    def worse(self, services: _Integers, number: int, least: _Floats, part: float) -> Worse:
        """Return how much worse services are, and what changed of them and all that they call.

        Args:
            services: which are asked about; all have received calls now.
            number: ``TIME`` or ``FAILURES``.
            least: by entry, what is added to all its calls by one change that counts.
            part: what is a large part of all that got worse.
        """
        before, now, gained = self._own(number)
        ways = self._ways if number == TIME else _no_ways(self._places.services)
        gains = np.maximum(ways.numbers[1] - ways.numbers[0], 0.0)
        on_way = np.bincount(ways.whose, weights=gains, minlength=self._places.services)
        # Nothing that anybody is the cause of adds more than this, so most services are left out at once.
        most = max(gained.max(initial=0.0), on_way.max(initial=0.0))
        all_added, all_most = np.zeros(len(services)), np.zeros(len(services))
        changes: list[list[OwnChange]] = [[] for _ in services]
        asked = np.flatnonzero((most > 0) & (least <= most))
        if not len(asked):
            return Worse(all_added, all_most, changes)
        worst = worst_of(
            services[asked], *self._calls, gained, ways.starts, ways.whose, ways.numbers, part
        )
        all_added[asked], all_most[asked] = worst.added, worst.gained.max(axis=1)
        old = np.where(worst.way, worst.usual, before[worst.who])
        new = np.where(worst.way, worst.spent, now[worst.who])
        unlike = np.minimum((new - old) / np.maximum(old, 1e-9), _TIMES_AT_MOST)
        added = worst.gained / self.count[services[asked], None]
        weight = added * unlike if number == TIME else added
        order = np.argsort(-weight, axis=1, kind="stable")
        for at in np.flatnonzero(all_most[asked] >= least[asked]).tolist():
            chosen = order[at]
            chosen = chosen[chosen < worst.causes[at]]
            columns = (
                column[at, chosen].tolist() for column in (worst.who, old, new, added, worst.way)
            )
            changes[asked[at]] = [OwnChange(*row) for row in zip(*columns, strict=True)]
        return Worse(all_added, all_most, changes)

    def operations(self, service: int, number: int) -> tuple[_Integers, _Floats]:
        """Return the places of a service's operations now, and what was added at each since before."""
        if (service, number) in self._operations:
            return self._operations[service, number]
        totals, old = self._now.totals, self._before.totals
        starts, places = self._received_at
        found = places[starts[service] : starts[service + 1]]
        usual = _parts(old.numbers[number, found], old.numbers[COUNT, found])
        gained = totals.numbers[number, found] - usual * totals.numbers[COUNT, found]
        self._operations[service, number] = found, gained
        return found, gained

    @cached_property
    def _received_at(self) -> tuple[_Integers, _Integers]:
        """Return the places where calls were received now, by service, and where each one's start."""
        found = np.flatnonzero((self._places.kind == RECEIVED) & self._now.totals.seen)
        service = self._places.service[found]
        order = np.argsort(service, kind="stable")
        return _starts(service, self._places.services), found[order]

    def _own(self, number: int) -> tuple[_Floats, _Floats, _Floats]:
        """Return what services add themselves before and now, and what that adds to all calls."""
        if number not in self._owns:
            before, now = self._before.own(number), self._now.own(number)
            self._owns[number] = before, now, (now - before) * self._now.count
        return self._owns[number]

    @cached_property
    def _calls(self) -> tuple[_Integers, _Integers]:
        """Return the services called now, in the order of who calls, and where each one's start."""
        pairs = np.flatnonzero(self._now.pairs[1])
        caller = self._places.caller[pairs]
        order = np.argsort(caller, kind="stable")
        return _starts(caller, self._places.services), self._places.called[pairs[order]]

    @cached_property
    def _ways(self) -> _Ways:
        """Return what is spent on each way, and whose it is."""
        places = self._places
        (old, told_before), (new, told) = self._before.pairs, self._now.pairs
        # Of who has no spans of its own nothing says what it takes itself.
        receives = self._now.received[1] & self._before.received[1]
        known = np.flatnonzero(
            told & told_before & receives[places.called]
            & (new[COUNT] >= _FEW) & (old[COUNT] >= _FEW)
        )  # fmt: skip
        known = known[np.argsort(places.caller[known], kind="stable")]
        caller, called = places.caller[known], places.called[known]
        usual = old[WAY, known] / old[COUNT, known]
        count, spent = new[COUNT, known], new[WAY, known]
        whose = whose_ways(caller, called, spent / count - usual)
        numbers = np.stack([usual * count, spent, count])
        return _Ways(_starts(caller, places.services), whose, numbers)


class _Ways(NamedTuple):
    """Ways between services, in the order of their callers.

    ``starts`` says where each service's own begin, ``whose`` whose they are. ``numbers`` are the milliseconds
    that were usual, those that were spent, and of how many calls; of shape (3, ways).
    """

    starts: _Integers
    whose: _Integers
    numbers: _Floats


def _no_ways(services: int) -> _Ways:
    return _Ways(np.zeros(services + 1, np.int64), np.empty(0, np.int64), np.empty((3, 0)))


def whose_ways(caller: _Integers, called: _Integers, change: _Floats) -> _Integers:
    """Return whose it is that calls spend more time on the way.

    Where all ways to and from a service changed, it is the service's: of the two ends the one of which that is
    true, or that has more ways. Else it is the called one's, who may not take calls as soon as before.

    Args:
        caller, called: services, a pair an entry, each pair once.
        change: the milliseconds that each pair spends more on the way.

    Here 0 calls 1 and 2, and 1 calls 2:

    >>> whose_ways(np.array([0, 1, 0]), np.array([1, 2, 2]), np.array([90.0, 70.0, 0.1])).tolist()
    [1, 1, 2]
    """
    services = max(caller.max(initial=-1), called.max(initial=-1)) + 1
    least = np.full(services, np.inf)
    np.minimum.at(least, caller, change)
    np.minimum.at(least, called, change)
    ways = np.bincount(caller, minlength=services) + np.bincount(called, minlength=services)
    of_caller, of_called = (least[end] >= _PART * change for end in (caller, called))
    return np.where(of_caller & (~of_called | (ways[caller] > ways[called])), caller, called)


def sums_by(where: _Integers, numbers: _Floats, size: int) -> _Floats:
    """Add up columns of numbers by where they belong.

    Args:
        where: what each column is of, from 0 on.
        numbers: of any number of rows.
        size: of what columns are of.

    Returns:
        The sums, a column of each.
    """
    return np.stack([np.bincount(where, weights=row, minlength=size) for row in numbers])


def _parts(of: _Floats, count: _Floats) -> _Floats:
    """Return what falls to each of ``count``, 0 of none."""
    return np.divide(of, count, out=np.zeros(len(of)), where=count != 0)


def _starts(sorted_or_not: _Integers, size: int) -> _Integers:
    """Return where each number's entries start once they are sorted, and at last their count."""
    return np.concatenate([[0], np.cumsum(np.bincount(sorted_or_not, minlength=size))])
