"""Which services, or their calls on the way, take longer than usual, whether or not anybody notices it yet.

What a service takes itself is what its receiving spans took without what it waited for, as in
``models.call_causes``; what a call spends on the way, its client's span beyond that of who received it. Compared
are the medians of what the single windows say, now and before: one slow call among thousands makes a window long,
and no median. The logarithms are measured by how far windows were apart
before, so twice as long is much for a service that is always the same and nothing for one that never is.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, islice
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.call_causes import (
    COUNT,
    PAIR,
    RECEIVED,
    TIME,
    WAITED,
    WAY,
    sums_by,
    whose_ways,
)
from operators.contracts.service_changes import ServiceChange
from operators.traces.call_places import NumberedCalls

__all__ = ["WindowTimes", "changed_times", "changed_ways", "times_of"]

_SHORT: Final = 0.1
"""Milliseconds that are added to what a call takes: of next to nothing anything is many times."""
_EVEN: Final = 0.2
"""How far windows are apart at least, as logarithms."""
_DEVIATION: Final = 1.4826
"""The standard deviation of a normal distribution, for a median of deviations."""
_MEASURE: Final = 0.3
"""Brings it to the measure of changes in logs, see ``ServiceChange``."""
_FEWEST: Final = 3
"""Windows with calls that are needed, now and before."""
_CLEAR: Final = 1.0
"""A change is told from this on."""
_TOLD: Final = 20
"""Changes that are told of a tenant and window, the largest."""


class WindowTimes(NamedTuple):
    """What calls took in a window; what came later may be missing at the ends.

    Attributes:
        receives: by service, whether it is one that tells of calls it received.
        own: by service, the logarithm of the milliseconds that a call took of its own; NaN where there were
            no calls.
        way: by pair of a caller and one called, that of those that it spent on the way.
    """

    receives: NDArray[np.bool_]
    own: NDArray[np.float64]
    way: NDArray[np.float64]


class _Changed(NamedTuple):
    """How much longer calls take than before.

    Attributes:
        which: services or pairs that had calls in enough windows.
        before, later: the milliseconds of a call.
        change: see ``ServiceChange``; at least 0 where it is not clear.
    """

    which: NDArray[np.int64]
    before: NDArray[np.float64]
    later: NDArray[np.float64]
    change: NDArray[np.float64]


def times_of(
    calls: NumberedCalls, at: NDArray[np.int64], numbers: NDArray[np.float64]
) -> WindowTimes:
    """Return what calls took in a window, of what was seen at some places: ``CallTotals.numbers`` of those."""
    places = calls.places
    kind, service, pair = places.kind[at], places.service[at], places.pair[at]
    services, pairs = places.services, len(places.called)
    received, waited = np.flatnonzero(kind == RECEIVED), np.flatnonzero(kind == WAITED)
    on_way = np.flatnonzero((kind == PAIR) & calls.waited_for[at])
    receives = np.zeros(services, np.bool_)
    receives[service[received]] = True
    count, took = sums_by(service[received], numbers[[COUNT, TIME]][:, received], services)
    (waits,) = sums_by(service[waited], numbers[[TIME]][:, waited], services)
    calls_on_way, way = sums_by(pair[on_way], numbers[[COUNT, WAY]][:, on_way], pairs)
    return WindowTimes(receives, _long(took - waits, count), _long(way, calls_on_way))


def changed_times(
    calls: NumberedCalls, windows: Sequence[tuple[int, WindowTimes]], since: int, until: int
) -> list[ServiceChange]:
    """Return the services that take longer themselves, those of a tenant that changed most first.

    Args:
        calls: what numbers stand for.
        windows: when each begins, and what calls took in it: those before ``since`` too.
        since, until: the windows that are compared with those before them, in nanoseconds of event time.
    """
    found = _changed(windows, [times.own for _, times in windows], since, calls.places.services)
    return _told(calls, found, found.which, "time", since, until)


def changed_ways(
    calls: NumberedCalls, windows: Sequence[tuple[int, WindowTimes]], since: int, until: int
) -> list[ServiceChange]:
    """Return the services whose calls spend more time on the way than usual, as ``changed_times`` does.

    Whose it is, of who calls and who is called, ``models.call_causes.whose_ways`` says.
    """
    places = calls.places
    # Of who has no spans of its own nothing says what it takes itself.
    receives = np.zeros(places.services, np.bool_)
    for _, times in windows:
        receives[: len(times.receives)] |= times.receives
    ways = [
        np.where(receives[places.called[: len(times.way)]], times.way, np.nan)
        for _, times in windows
    ]
    found = _changed(windows, ways, since, len(places.called))
    if not (found.change >= _CLEAR).any():
        return []
    whose = whose_ways(
        places.caller[found.which], places.called[found.which], found.later - found.before
    )
    # The largest change of each; of even ones that to the first by name.
    clear = sorted(
        np.flatnonzero(found.change >= _CLEAR).tolist(),
        key=lambda at: (-found.change[at], calls.services[places.called[found.which[at]]]),
    )
    _, first = np.unique(whose[clear], return_index=True)
    largest = np.array(clear)[first]
    return _told(
        calls, _Changed._make(each[largest] for each in found), whose[largest], "way", since, until
    )


def _long(took: NDArray[np.float64], count: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithm of what a call took, NaN where there was none."""
    some = count > 0
    each = np.divide(np.maximum(took, 0.0), count, out=np.zeros(len(count)), where=some)
    return np.where(some, np.log(each + _SHORT), np.nan)


def _changed(
    windows: Sequence[tuple[int, WindowTimes]],
    columns: Sequence[NDArray[np.float64]],
    since: int,
    size: int,
) -> _Changed:
    """Return how much longer calls take than before.

    Args:
        windows: when each begins.
        columns: a window each: the logarithms of what calls took, NaN where there were none.
        since: when what is compared begins.
        size: of columns that have all.
    """
    parts = []
    for is_now in (False, True):
        mine = [
            column
            for (start, _), column in zip(windows, columns, strict=True)
            if (start >= since) is is_now
        ]
        part = np.full((size, len(mine)), np.nan)
        for at, column in enumerate(mine):
            part[: len(column), at] = column
        parts.append(part)
    enough = [np.count_nonzero(~np.isnan(part), axis=1) >= _FEWEST for part in parts]
    which = np.flatnonzero(enough[0] & enough[1])
    before, now = parts[0][which], parts[1][which]
    centre, later = _medians(before), _medians(now)
    longer = _MEASURE * (later - centre)
    change = np.zeros(len(which))
    # Those that are the same each time have the largest change, so what is less than theirs is not clear.
    maybe = np.flatnonzero(longer >= _CLEAR * _EVEN)
    apart = _medians(np.abs(before[maybe] - centre[maybe, None])) * _DEVIATION
    change[maybe] = longer[maybe] / (_EVEN + apart)
    return _Changed(which, np.exp(centre) - _SHORT, np.exp(later) - _SHORT, change)


def _medians(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median of each row's numbers that are not NaN; each has some."""
    ordered = np.sort(rows, axis=1)  # NaN come last
    count = np.count_nonzero(~np.isnan(rows), axis=1)
    at = np.arange(len(rows))
    return (ordered[at, (count - 1) // 2] + ordered[at, count // 2]) / 2  # type: ignore[no-any-return]


def _told(
    calls: NumberedCalls,
    found: _Changed,
    services: NDArray[np.int64],
    why: str,
    since: int,
    until: int,
) -> list[ServiceChange]:
    """Return the changes of services that are clear, the largest of a tenant first."""
    clear = np.flatnonzero(found.change >= _CLEAR)
    rows = zip(
        [calls.services[service] for service in services[clear].tolist()],
        found.change[clear].tolist(),
        found.before[clear].tolist(),
        found.later[clear].tolist(),
        strict=True,
    )
    changes = [
        ServiceChange(tenant, name, why, since, until, change, before, later)
        for (tenant, name), change, before, later in rows
    ]
    changes.sort(key=lambda one: (one.tenant, -one.change, one.service))
    return [
        one
        for _, of_tenant in groupby(changes, key=lambda one: one.tenant)
        for one in islice(of_tenant, _TOLD)
    ]
