"""Whose own change is behind what a service shows, from sums of calls.

What a service takes *itself* for a call it received is what its receiving spans took without what it waited
for others, its client spans; what fails *by itself* is what failed beyond its failed calls to others. A
database, a queue or a third party has no spans: it is seen by those who call it. What a caller waits for beyond
what the called service takes is spent *on the way*: in the network, or where a call waits to be taken. Of the
service and all that it calls, directly or not, the one comes first that adds most to a call, and is least like
itself before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

__all__ = [
    "FAILURES", "RECEIVES", "TIME", "WAITS", "CallTotals", "OwnChange", "own_changes", "whose_ways",
]  # fmt: skip

TIME: Final = 1
FAILURES: Final = 2
"""Which of the numbers is looked at: milliseconds, or calls that failed."""
RECEIVES: Final = ("SPAN_KIND_SERVER", "SPAN_KIND_CONSUMER")
WAITS: Final = "SPAN_KIND_CLIENT"
"""The kinds of spans that receive a call, and of those that wait for one."""
_WAY: Final = 3
"""Where the milliseconds on the way are, among the numbers of a pair of services."""
_TIMES_AT_MOST: Final = 10.0
"""A change to more times of what was before counts no more: of next to nothing anything is many times."""
_FEW: Final = 3.0
"""Calls of a pair of services that say what is usual on the way between them."""
_PART: Final = 0.1
"""A way changed, as another did, if it did so by this part of it at least."""


class OwnChange(NamedTuple):
    """How a service's own part of a call changed: milliseconds, or share of its calls that fail.

    ``added`` is what that adds to a call of the service that was asked about. ``way`` says that it is what its
    calls spend on the way.
    """

    service: str
    before: float
    now: float
    added: float
    way: bool = False


_Ways = dict[str, list[tuple[str, tuple[float, float, float]]]]
"""By caller: whose a way is, the milliseconds that are usual on it, those that were spent, and calls."""


@dataclass(slots=True)
class CallTotals:
    """The calls that were seen in a span of time.

    Numbers are how many there were, the milliseconds that they took, how many failed, and the milliseconds on
    the way: by service and operation of those who received them, by service of those who waited for them, and
    by caller and called.
    """

    received: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(lambda: [0.0] * 4))
    )
    waited: dict[str, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0.0] * 4))
    calls: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(lambda: [0.0] * 4))
    )
    called: dict[str, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0.0] * 4))
    ways: tuple[CallTotals, _Ways] | None = None  # against which other totals, and what came of it
    _counts: dict[str, float] = field(default_factory=dict)
    _owns: dict[tuple[str, int], float] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[tuple[Any, ...]]) -> CallTotals:
        """Add up rows of edge, service, operation, kind and the four numbers.

        Where ``edge`` is set, a service calls another, whose name is in the place of the operation.
        """
        found = cls()
        for edge, service, operation, kind, *numbers in rows:
            if edge:
                _add(found.calls[service][operation], numbers)
                _add(found.called[operation], numbers)
            elif kind in RECEIVES:
                _add(found.received[service][operation], numbers)
            elif kind == WAITS:
                _add(found.waited[service], numbers)
        return found

    def services(self) -> list[str]:
        """Return the services that received calls, by name."""
        return sorted(self.received)

    def count(self, service: str) -> float:
        """Return how many calls a service received."""
        if (known := self._counts.get(service)) is None:
            known = self._counts[service] = self._count(service)
        return known

    def _count(self, service: str) -> float:
        if service in self.received:
            return sum(numbers[0] for numbers in self.received[service].values())
        return self.called[service][0] if service in self.called else 0.0

    def whole(self, service: str) -> float:
        """Return the milliseconds that a call took, with all that was waited for."""
        count = self.count(service)
        total = sum(numbers[1] for numbers in self.received.get(service, {}).values())
        return total / count if count else 0.0

    def own(self, service: str, number: int) -> float:
        """Return what a service adds itself to a call: milliseconds (1) or failures (2)."""
        if (known := self._owns.get((service, number))) is None:
            known = self._owns[service, number] = self._own(service, number)
        return known

    def _own(self, service: str, number: int) -> float:
        count = self.count(service)
        if not count:
            return 0.0
        if service not in self.received:
            return self.called[service][number] / count
        total = sum(numbers[number] for numbers in self.received[service].values())
        waited = self.waited[service][number] if service in self.waited else 0.0
        return max(total - waited, 0.0) / count

    def reach(self, service: str) -> list[str]:
        """Return a service and all that it calls, directly or not, the nearest first."""
        found = {service: None}
        waiting = [service]
        while waiting:
            for other in self.calls.get(waiting.pop(0), {}):
                if other not in found:
                    found[other] = None
                    waiting.append(other)
        return list(found)

    def operation(self, service: str, before: CallTotals, number: int) -> str:
        """Return where most was added since before, by milliseconds (1) or failures (2)."""
        gained = {}
        for operation, numbers in self.received.get(service, {}).items():
            old = before.received.get(service, {}).get(operation, [0.0] * 4)
            usual = old[number] / old[0] if old[0] else 0.0
            gained[operation] = numbers[number] - usual * numbers[0]
        return max(gained, key=lambda name: (gained[name], name)) if gained else ""


def _add(to: list[float], numbers: Iterable[float]) -> None:
    for at, number in enumerate(numbers):
        to[at] += number


def own_changes(before: CallTotals, now: CallTotals, service: str, number: int) -> list[OwnChange]:
    """Return the changes of a service and all that it calls, the likeliest cause first.

    Args:
        before, now: what is compared.
        service: which has received calls now.
        number: ``TIME`` or ``FAILURES``.
    """
    calls = now.count(service)
    changes = []
    reach = now.reach(service)
    for name in reach:
        old, new = before.own(name, number), now.own(name, number)
        changes.append(OwnChange(name, old, new, (new - old) * now.count(name) / calls))
    if number == TIME:
        changes += _on_the_way(before, now, reach, calls)

    def weight(change: OwnChange) -> float:
        if number == FAILURES or change.added <= 0:
            return change.added
        unlike = (change.now - change.before) / max(change.before, 1e-9)
        return change.added * min(unlike, _TIMES_AT_MOST)

    return sorted(changes, key=lambda change: -weight(change))


def whose_ways(changed: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], str]:
    """Return whose it is that calls spend more time on the way, by caller and called.

    Where all ways to and from a service changed, it is the service's: of the two ends the one of which that is
    true, or that has more ways. Else it is the called one's, who may not take calls as soon as before.

    Args:
        changed: the milliseconds that each pair spends more on the way.

    >>> whose_ways({("web", "cart"): 90.0, ("cart", "pay"): 70.0, ("web", "pay"): 0.1})
    {('web', 'cart'): 'cart', ('cart', 'pay'): 'cart', ('web', 'pay'): 'pay'}
    """
    of: dict[str, list[float]] = defaultdict(list)
    for pair, change in changed.items():
        for name in pair:
            of[name].append(change)
    least = {name: min(changes) for name, changes in of.items()}
    found = {}
    for (caller, called), change in changed.items():
        all_changed = [least[name] >= _PART * change for name in (caller, called)]
        callers = all_changed[0] and (not all_changed[1] or len(of[caller]) > len(of[called]))
        found[caller, called] = caller if callers else called
    return found


def _ways(before: CallTotals, now: CallTotals) -> _Ways:
    """Return what is spent on each way, and whose it is; worked out once for two totals."""
    if now.ways is not None and now.ways[0] is before:
        return now.ways[1]
    ways = {
        (caller, called): (old, new)
        for caller, others in now.calls.items()
        for called, new in others.items()
        # Of who has no spans of its own nothing says what it takes itself.
        if called in now.received and new[0] >= _FEW
        if called in before.received and called in before.calls.get(caller, {})
        if (old := before.calls[caller][called])[0] >= _FEW
    }
    whose = whose_ways(
        {pair: new[_WAY] / new[0] - old[_WAY] / old[0] for pair, (old, new) in ways.items()}
    )
    found: _Ways = defaultdict(list)
    for (caller, called), (old, new) in ways.items():
        usual = old[_WAY] / old[0] * new[0]
        found[caller].append((whose[caller, called], (usual, new[_WAY], new[0])))
    now.ways = before, found
    return found


def _on_the_way(
    before: CallTotals, now: CallTotals, reach: Iterable[str], calls: float
) -> list[OwnChange]:
    """Return what is spent on the way, by whose it is.

    Args:
        before, now: what is compared.
        reach: whose calls count.
        calls: of the service that was asked about, now.
    """
    ways = _ways(before, now)
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0] * 3)
    for caller in reach:
        for name, numbers in ways.get(caller, ()):
            _add(sums[name], numbers)
    return [
        OwnChange(name, usual / count, spent / count, (spent - usual) / calls, way=True)
        for name, (usual, spent, count) in sums.items()
    ]
