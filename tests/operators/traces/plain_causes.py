"""What is told of causes, worked out plainly: from all calls that there ever were, in dictionaries, slowly.

It follows what the docstrings say, and shares nothing with what it judges but the limits and the factors,
which are written here as numbers.
"""

from collections import defaultdict
from math import exp, log
from statistics import median
from typing import NamedTuple

RECEIVES = ("SPAN_KIND_SERVER", "SPAN_KIND_CONSUMER")
WAITS = "SPAN_KIND_CLIENT"
RANKED = 6
COUNT, TIME, FAILURES, WAY = range(4)


class Series(NamedTuple):
    """Who a series is of; ``copy`` tells several of the same apart."""

    tenant: str
    edge: bool
    service: str
    operation: str
    kind: str
    copy: int


class Totals:
    """What was seen of one tenant: lists of the four numbers, each times the factor of its window."""

    def __init__(self, windows, tenant):
        """Add up pairs of a factor and a window: numbers by series."""
        self.received = defaultdict(lambda: defaultdict(lambda: [0.0] * 4))
        self.waited = defaultdict(lambda: [0.0] * 4)
        self.pairs = defaultdict(lambda: [0.0] * 4)
        for factor, window in windows:
            for one, numbers in window.items():
                if one.tenant != tenant:
                    continue
                if one.edge:
                    to = self.pairs[one.service, one.operation]
                elif one.kind in RECEIVES:
                    to = self.received[one.service][one.operation]
                elif one.kind == WAITS:
                    to = self.waited[one.service]
                else:
                    continue
                for at, number in enumerate(numbers):
                    to[at] += factor * number

    def sum(self, service, number):
        """Return a number of all calls that a service received, by who it is or by those who call it."""
        if service in self.received:
            return sum(each[number] for each in self.received[service].values())
        return sum(each[number] for (_, called), each in self.pairs.items() if called == service)

    def own(self, service, number):
        """Return what is a service's own of a call."""
        count, own = self.sum(service, COUNT), self.sum(service, number)
        if service in self.received and service in self.waited:
            own = max(own - self.waited[service][number], 0)
        return own / count if count else 0.0

    def whole(self, service):
        """Return what a call took with all that was waited for."""
        return self.sum(service, TIME) / self.sum(service, COUNT) if service in self.received else 0

    def reach(self, service):
        """Return a service and all that it calls, directly or not."""
        found = {service}
        while more := {b for a, b in self.pairs if a in found} - found:
            found |= more
        return found


def whose(changed):
    """Return whose the ways are, by pair of caller and called."""
    ways = {name: [] for pair in changed for name in pair}
    for pair, change in changed.items():
        for name in pair:
            ways[name].append(change)
    found = {}
    for (caller, called), change in changed.items():
        all_of = {name: min(ways[name]) >= change * 0.1 for name in (caller, called)}
        more = len(ways[caller]) > len(ways[called])
        is_callers = all_of[caller] and (more or not all_of[called])
        found[caller, called] = caller if is_callers else called
    return found


def rankings(windows, until):
    """Return by tenant, service and why: how much worse, and causes as tuples, the likeliest first.

    Args:
        windows: numbers by series, by the number of the window.
        until: the number of the first window that does not count.
    """
    found = {}
    since = until - RANKED
    for tenant in {one.tenant for seen in windows.values() for one in seen}:
        now = Totals([(1, seen) for at, seen in windows.items() if since <= at < until], tenant)
        before = Totals(
            [(0.97 ** (since - at - 1), seen) for at, seen in windows.items() if at < since], tenant
        )
        for service in now.received:
            if now.sum(service, COUNT) < 20 or not before.sum(service, COUNT):
                continue
            for why, number in (("time", TIME), ("errors", FAILURES)):
                worse, causes = _behind(before, now, service, number)
                if causes and worse >= (0.2 if why == "time" else 0.01):
                    found[tenant, service, why] = worse, causes
    return found


def _behind(before, now, service, number):
    calls, reach = now.sum(service, COUNT), now.reach(service)
    changes = []  # what it adds to a call, who, on the way or not, before, now
    for name in reach:
        old, new = before.own(name, number), now.own(name, number)
        changes.append(((new - old) * now.sum(name, COUNT) / calls, name, False, old, new))
    if number == TIME:
        changes += _on_the_way(before, now, reach, calls)
    worse = sum(added for added, *_ in changes if added > 0)
    took = before.whole(service) or 1e-9
    unit, least = (took, 0.1 * took) if number == TIME else (1, 0.01)

    def weight(change):
        added, _, _, old, new = change
        return added * (min((new - old) / max(old, 1e-9), 10) if number == TIME else 1)

    first = {}
    for change in sorted(changes, key=weight, reverse=True):
        added, name, way, old, new = change
        if added >= least and added >= 0.2 * worse:
            operation = "" if way else _operation(before, now, name, number)
            why = "way" if way else {TIME: "time", FAILURES: "errors"}[number]
            first.setdefault(name, (name, operation, why, old, new, added / worse))
    return worse / unit, list(first.values())[:3]


def _on_the_way(before, now, reach, calls):
    known = [
        pair
        for pair in now.pairs
        if pair in before.pairs and pair[1] in now.received and pair[1] in before.received
        and now.pairs[pair][COUNT] >= 3 and before.pairs[pair][COUNT] >= 3
    ]  # fmt: skip

    def each(totals, pair):
        return totals.pairs[pair][WAY] / totals.pairs[pair][COUNT]

    owners = whose({pair: each(now, pair) - each(before, pair) for pair in known})
    found = []
    for name in set(owners.values()):
        mine = [pair for pair in known if owners[pair] == name and pair[0] in reach]
        if mine:
            count = sum(now.pairs[pair][COUNT] for pair in mine)
            usual = sum(each(before, pair) * now.pairs[pair][COUNT] for pair in mine)
            spent = sum(now.pairs[pair][WAY] for pair in mine)
            found.append(((spent - usual) / calls, name, True, usual / count, spent / count))
    return found


def _operation(before, now, service, number):
    gained = {}
    for operation, numbers in now.received.get(service, {}).items():
        old = before.received.get(service, {}).get(operation, [0] * 4)
        usual = old[number] / old[COUNT] if old[COUNT] else 0
        gained[operation] = numbers[number] - usual * numbers[COUNT]
    return max(gained, key=gained.get, default="")


def changes(windows, until):
    """Return who takes longer, by tenant, service and why: the change, and milliseconds before and now."""
    last = [at for at in sorted(windows)[-24:] if at < until]  # so many are known one by one
    found, since = {}, until - RANKED
    for tenant in {one.tenant for at in last for one in windows[at]}:
        single = {at: Totals([(1, windows[at])], tenant) for at in last}
        receives = {name for totals in single.values() for name in totals.received}
        own = {}
        for name in receives:
            took = {
                at: (t.sum(name, TIME) - t.waited[name][TIME], t.sum(name, COUNT))
                for at, t in single.items()
                if name in t.received
            }
            own[name] = _longer(took, since)
        # Through a queue nobody waits for the other.
        direct = {
            at: Totals(
                [(1, {one: n for one, n in windows[at].items() if not one.kind})], tenant
            ).pairs
            for at in last
        }
        ways = {}
        for pair in {pair for pairs in direct.values() for pair in pairs}:
            took = {at: (p[pair][WAY], p[pair][COUNT]) for at, p in direct.items() if pair in p}
            if pair[1] in receives and (longer := _longer(took, since)):
                ways[pair] = longer
        owners = whose({pair: later - before for pair, (_, before, later) in ways.items()})
        for name, longer in own.items():
            if longer and longer[0] >= 1:
                found[tenant, name, "time"] = longer
        for pair, longer in ways.items():
            key = tenant, owners[pair], "way"
            if longer[0] >= 1 and longer[0] > found.get(key, (0,))[0]:
                found[key] = longer
    return found


def _longer(took, since):
    """Return the change of a call's time, and what it was before and is now; nothing if that is not known."""
    long = {
        at: log(max(total, 0) / count + 0.1) for at, (total, count) in took.items() if count > 0
    }
    before = [each for at, each in long.items() if at < since]
    now = [each for at, each in long.items() if at >= since]
    if len(before) < 3 or len(now) < 3:
        return None
    usual, later = median(before), median(now)
    apart = 1.4826 * median(abs(each - usual) for each in before)
    return 0.3 * (later - usual) / (0.2 + apart), exp(usual) - 0.1, exp(later) - 0.1


def calls(windows, until):
    """Return whom services call, by tenant and service: all of whom so many calls are known."""
    found, since = defaultdict(set), until - RANKED
    for tenant in {one.tenant for at in sorted(windows)[-24:] for one in windows[at]}:
        now = Totals([(1, seen) for at, seen in windows.items() if since <= at < until], tenant)
        before = Totals(
            [(0.97 ** (since - at - 1), seen) for at, seen in windows.items() if at < since], tenant
        )
        for totals in (before, now):
            for (caller, called), numbers in totals.pairs.items():
                found[tenant, caller] |= {called} if numbers[COUNT] >= 0.5 else set()
    return {service: tuple(sorted(called)) for service, called in found.items()}
