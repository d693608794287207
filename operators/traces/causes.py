"""Which service and operation is behind what a service shows: found from the rollups of calls.

``models.call_causes`` says whose own change adds most to a call, and what is a service's own. Compared are the
calls since an incident began, or of the last six windows, with those before. What is usual fades with its age, by
windows, so it is the same however rollups came.

Calls side by side count as one after the other here, so a service that waits for several at once seems to
take less itself than it does, before the incident as in it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.call_causes import FAILURES, RECEIVES, TIME, CallComparison, OwnChange
from operators.contracts.durations import format_duration
from operators.contracts.service_changes import ServiceCalls, ServiceChange
from operators.traces.call_places import NumberedCalls
from operators.traces.call_windows import CallWindows, PlaceSums
from operators.traces.calls_seen import CALLS_SEEN
from operators.traces.own_times import WindowTimes, changed_times, changed_ways, times_of

__all__ = ["CauseBook", "LikelyCause", "ServiceRanking", "compile_kernels"]

_LEAST_TIME: Final = 0.1
"""A change of time counts from this part of what a call of the service took before."""
_LEAST_FAILED: Final = 0.01
"""A change of failures counts from this share of the service's calls."""
_LEAST_PART: Final = 0.2
"""A cause explains at least this part of all that got worse."""
_RANKED: Final = 6
"""Windows that a ranking of a window compares with what was before them."""
_CLEAR: Final = 0.2
"""A ranking is told if a call takes longer by this part, or fails more often by a twentieth of it."""
_CALLED: Final = 0.5
"""A service is called by another if so many calls are known, those of long ago fading."""
_MOST_CALLED: Final = 200
"""Services that are told to be called by one."""
_FEWEST: Final = 20
"""A ranking is told of a service that received so many calls at least."""
_TOLD: Final = 3
"""Causes that are told at most."""


@dataclass(frozen=True, slots=True)
class LikelyCause:
    """What is behind an incident.

    Attributes:
        service: whose change it is; a database, queue or third party too.
        operation: where it changed most; empty where it has no spans of its own.
        why: ``time``, ``errors``, or ``way``: its calls spend more time on the way.
        before, now: milliseconds of its own a call, those that a call spends on the way, or the share of its
            calls that fail by themselves.
        part: of all that got worse, as far as the service's calls show it.
        own: whether it is the service itself.
    """

    service: str
    operation: str
    why: str
    before: float
    now: float
    part: float
    own: bool

    def document(self) -> dict[str, Any]:
        """Return plain data, for the evidence of an alert."""
        unit = "share" if self.why == "errors" else "milliseconds"
        return {
            "service": self.service,
            "operation": self.operation,
            "why": self.why,
            "before": round(self.before, 6),
            "now": round(self.now, 6),
            "unit": unit,
            "part": round(self.part, 3),
        }

    def sentence(self) -> str:
        """Say it, as the end of a sentence.

        >>> LikelyCause("pay", "charge", "time", 30.0, 412.0, 0.9, False).sentence()
        'the likely cause is pay (charge): 412 ms of its own a call, 30 ms before'
        """
        who = "its own" if self.own else self.service
        where = f" ({self.operation})" if self.operation else ""
        if self.why == "time":
            said = f"{_length(self.now)} of its own a call, {_length(self.before)} before"
        elif self.why == "way":
            said = f"{_length(self.now)} on the way a call, {_length(self.before)} before"
        else:
            said = f"{self.now:.1%} of its calls fail by themselves, {self.before:.1%} before"
        return f"the likely cause is {who}{where}: {said}"


@dataclass(frozen=True, slots=True)
class ServiceRanking:
    """What is behind a change of a service, by what changed, as the windows up to an event time show it.

    Attributes:
        tenant, service: whose change it is.
        why: ``time`` or ``errors``.
        since, until: the windows, in nanoseconds of event time.
        worse: by what part of it a call takes longer, or by what share more calls fail.
        causes: the likeliest first.
    """

    tenant: str
    service: str
    why: str
    since: int
    until: int
    worse: float
    causes: tuple[LikelyCause, ...]


class CauseBook:
    """Remembers what calls there were, and finds causes.

    Args:
        window: length of the windows, in nanoseconds.
        state: what ``snapshot`` gave.
    """

    def __init__(self, window: int, state: dict[str, Any] | None = None) -> None:
        self._window = window
        self._seen = CallWindows(window, state)
        self._compared: dict[tuple[int, int], CallComparison] = {}
        self._times: dict[int, tuple[PlaceSums, WindowTimes]] = {}
        self._called: _Called | None = None

    def snapshot(self) -> dict[str, Any]:
        """Return plain data: a few windows as they were, and what was usual before them."""
        return self._seen.snapshot()

    def observe(self, seen: pl.DataFrame) -> None:
        """Take in a CALLS_SEEN frame; of a series and window that comes again the last counts."""
        if seen.height:
            self._compared = {}
            self._seen.observe(seen)

    def find(
        self, tenant: str, service: str, since: int, until: int, about: str
    ) -> list[LikelyCause]:
        """Return the likely causes of what a service shows, the likeliest first, three at most.

        Args:
            tenant: whose it is.
            service: its name.
            since, until: the incident, in nanoseconds of event time.
            about: ``time``, ``errors``, or empty for what of the two changed more.
        """
        number = self._seen.calls.find(tenant, service)
        if number is None:
            return []
        compared = self._compare(since, until)
        for why in ("errors", "time"):
            if about in ("", why):
                for _, _, causes in self._likeliest(compared, np.array([number]), why, 0.0):
                    return causes
        return []

    @property
    def reached(self) -> int:
        """Return the end of the newest window of which calls are known, 0 without any."""
        return self._seen.reached

    def rank(self, until: int) -> list[ServiceRanking]:
        """Return what is behind each service that is clearly worse than before, of all tenants.

        Args:
            until: the end of the newest window that counts, in nanoseconds of event time.
        """
        since = until - _RANKED * self._window
        compared = self._compare(since, until)
        services = compared.received
        services = services[compared.count[services] >= _FEWEST]
        found = [
            ServiceRanking(
                *self._seen.calls.services[service], why, since, until, worse, tuple(causes)
            )
            for why, clear in (("time", _CLEAR), ("errors", _CLEAR / 20))
            for service, worse, causes in self._likeliest(compared, services, why, clear)
        ]
        # Of a service its time comes first.
        return sorted(found, key=lambda one: (one.tenant, one.service))

    def changes(self, until: int) -> list[ServiceChange]:
        """Return which services take longer themselves, or their calls on the way, of all tenants.

        Args:
            until: the end of the newest window that counts, in nanoseconds of event time.
        """
        since, calls = until - _RANKED * self._window, self._seen.calls
        windows = []
        for start, sums in self._seen.single(until):
            known = self._times.get(start)
            if known is None or known[0] is not sums:
                known = sums, times_of(calls, *sums)
            windows.append((start, known))
        self._times = dict(windows)
        times = [(start, one) for start, (_, one) in windows]
        return [
            *changed_times(calls, times, since, until),
            *changed_ways(calls, times, since, until),
        ]

    def calls(self, until: int) -> list[ServiceCalls]:
        """Return whom each service calls, as far as is known at an event time, by tenant and name."""
        told, most = self._compare(until - _RANKED * self._window, until).pairs
        known, tenants, calls = most >= _CALLED, self._seen.tenants(), self._seen.calls
        last = self._called
        if (
            last is None
            or last.calls is not calls
            or last.tenants != tenants
            or not np.array_equal(last.told, told)
            or not np.array_equal(last.known, known)
        ):
            last = self._called = _Called(
                calls, tenants, told, known, _whom_each_calls(calls, tenants, told, known)
            )
        return [ServiceCalls(*service, until, whom) for service, whom in last.whom]

    def _compare(self, since: int, until: int) -> CallComparison:
        since -= since % self._window
        if (since, until) not in self._compared:
            before = self._seen.before(since, until)
            now = self._seen.between(since, until)
            self._compared[since, until] = CallComparison(self._seen.calls.places, before, now)
        return self._compared[since, until]

    def _likeliest(
        self, compared: CallComparison, services: NDArray[np.int64], why: str, clear: float
    ) -> list[tuple[int, float, list[LikelyCause]]]:
        """Return services that are worse, how much, and the likely causes of it, the likeliest first.

        Args:
            compared: what was seen.
            services: which are asked about.
            why: ``time`` or ``errors``.
            clear: how much worse they are at least.

        Returns:
            What all that got worse adds to a call is a part of what one took, or a share that fails. Causes are
            three at most, and of services without any nothing is told.
        """
        services = services[(compared.count[services] > 0) & (compared.count_before[services] > 0)]
        if not len(services):
            return []
        calls = compared.count[services]
        if why == "errors":
            number, took, share = FAILURES, np.ones(len(services)), _LEAST_FAILED
        else:
            number, share = TIME, _LEAST_TIME
            took = np.maximum(compared.whole_before[services], 1e-9)
        least = share * took
        added, most, changes = compared.worse(services, number, least * calls, _LEAST_PART)
        worse = added / calls
        found = []
        for at in np.flatnonzero((worse >= clear * took) & (most > 0)).tolist():
            service = int(services[at])
            first: dict[int, OwnChange] = {}
            for change in changes[at]:
                if change.added >= least[at]:
                    first.setdefault(change.service, change)
            if first:
                causes = [
                    self._cause(compared, service, change, why, worse[at])
                    for change in islice(first.values(), _TOLD)
                ]
                found.append((service, float(worse[at] / took[at]), causes))
        return found

    def _cause(
        self, compared: CallComparison, service: int, change: OwnChange, why: str, worse: float
    ) -> LikelyCause:
        """Return a change, of a service or those that it calls, as the cause of so much."""
        calls, operation = self._seen.calls, ""
        if not change.way:
            number = FAILURES if why == "errors" else TIME
            places, gained = compared.operations(change.service, number)
            names = (calls.names[place] for place in places.tolist())
            _, operation = max(zip(gained.tolist(), names, strict=True), default=(0.0, ""))
        return LikelyCause(
            calls.services[change.service][1],
            operation,
            "way" if change.way else why,
            change.before,
            change.now,
            float(change.added / worse),
            change.service == service,
        )


def compile_kernels() -> None:
    """Compile the loops that find causes, or load them from the disk."""
    called = (False, "called", "", RECEIVES[0])
    book = CauseBook(1)
    for start, took in ((0, 1.0), (_RANKED, 10.0)):
        calls = [
            ("", start, number, *who, 2.0 * _FEWEST, took * _FEWEST, 0.0, 0.0)
            for number, who in enumerate((called, (True, "caller", "called", "")))
        ]
        book.observe(pl.DataFrame(calls, schema=CALLS_SEEN, orient="row"))
    book.rank(_RANKED + 1)


class _Called(NamedTuple):
    """Whom services call, and of which pairs that was told and known."""

    calls: NumberedCalls
    tenants: set[str]
    told: NDArray[np.bool_]
    known: NDArray[np.bool_]
    whom: list[tuple[tuple[str, str], tuple[str, ...]]]


def _whom_each_calls(
    calls: NumberedCalls, tenants: set[str], told: NDArray[np.bool_], known: NDArray[np.bool_]
) -> list[tuple[tuple[str, str], tuple[str, ...]]]:
    """Return tenant and name of each service that calls others, and whom, by name.

    Args:
        calls: what numbers stand for.
        tenants: whose services are told of.
        told: by pair of services, whether the one was seen to call the other.
        known: whether there were enough calls.
    """
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    pairs = np.flatnonzero(told)
    for caller, called, enough in zip(
        calls.places.caller[pairs].tolist(),
        calls.places.called[pairs].tolist(),
        known[pairs].tolist(),
        strict=True,
    ):
        if calls.services[caller][0] in tenants:
            found[calls.services[caller]] += [calls.services[called][1]] if enough else []
    return [
        (service, tuple(sorted(whom)[:_MOST_CALLED])) for service, whom in sorted(found.items())
    ]


def _length(milliseconds: float) -> str:
    if milliseconds >= 10_000:
        return f"{milliseconds / 1000:.3g} s"
    return f"{milliseconds:.3g} ms" if milliseconds else format_duration(0)
