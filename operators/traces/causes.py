"""Which service and operation is behind what a service shows: found from the rollups of calls.

``models.call_causes`` says whose own change adds most to a call, and what is a service's own. Compared are the
calls since an incident began, or of the last six windows, with those before. What is usual fades with its age, by
windows, so it is the same however rollups came.

Calls side by side count as one after the other here, so a service that waits for several at once seems to
take less itself than it does, before the incident as in it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from models.call_causes import FAILURES, TIME, CallTotals, own_changes
from operators.contracts.durations import format_duration
from operators.contracts.service_changes import ServiceCalls, ServiceChange
from operators.traces.metrics import CLIENT_SECONDS, DURATION, FAILED, REQUESTS, SERVER_SECONDS
from operators.traces.own_times import changed_times, changed_ways

__all__ = ["CALLS_SEEN", "CauseBook", "LikelyCause", "ServiceRanking", "calls_seen"]

CALLS_SEEN: Final = pl.Schema(
    {
        "tenant": pl.String,
        "window_start": pl.Int64,
        "series": pl.UInt64,
        "edge": pl.Boolean,  # of the service graph; else of an operation
        "service": pl.String,  # of an edge: who calls
        "operation": pl.String,  # of an edge: whom
        "kind": pl.String,  # of a span, or of a connection
        "count": pl.Float64,
        "total": pl.Float64,  # milliseconds
        "failed": pl.Float64,
        "way": pl.Float64,  # of an edge: milliseconds of the caller's beyond those of who received the call
    }
)
"""What the rollups of a window tell of calls; a row a series."""
_NAMES: Final = (DURATION, REQUESTS, FAILED, CLIENT_SECONDS, SERVER_SECONDS)
_LABELS: Final = (
    "service.name", "span.name", "span.kind", "status.code", "client", "server", "connection_type",
)  # fmt: skip
_KEY: Final = ("series", "tenant", "edge", "service", "operation", "kind")
_NUMBERS: Final = ("count", "total", "failed", "way")

_RECENT: Final = 24
"""Windows that are kept one by one; what is older is folded into what is usual."""
_FADES: Final = 0.97
"""What is usual counts less by this factor with each window before the incident, folded or not."""
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


def calls_seen(rollups: pl.DataFrame) -> pl.DataFrame:
    """Return a CALLS_SEEN frame of rollups; all but those of calls are passed over.

    Args:
        rollups: of ROLLUPS' columns, of one resolution.
    """
    ours = rollups.filter(pl.col("name").is_in(_NAMES))
    if not ours.height:
        return pl.DataFrame(schema=CALLS_SEEN)
    name, labels = pl.col("name"), pl.col("labels")
    said = ours.with_columns(
        labels.str.json_decode(pl.Struct(dict.fromkeys(_LABELS, pl.String))).struct.unnest()
    )
    of_span = name == DURATION
    observed = name.is_in((DURATION, CLIENT_SECONDS))
    failed = pl.when(of_span & (pl.col("status.code") == "STATUS_CODE_ERROR")).then("count")
    # Of a database there is only what its caller waits; who receives a message takes its time later.
    on_the_way = pl.col("connection_type").fill_null("") == ""
    side = pl.when(name == CLIENT_SECONDS).then(1000.0).when(name == SERVER_SECONDS).then(-1000.0)
    return said.select(
        "tenant",
        "window_start",
        "series",
        edge=~of_span,
        service=pl.when(of_span).then("service.name").otherwise("client"),
        operation=pl.when(of_span).then("span.name").otherwise("server"),
        kind=pl.when(of_span).then("span.kind").otherwise("connection_type"),
        count=pl.when(of_span).then("count").when(name == REQUESTS).then("increase").otherwise(0.0),
        total=pl.when(observed)
        .then(pl.col("sum") * pl.when(of_span).then(1.0).otherwise(1000.0))
        .otherwise(0.0),
        failed=pl.when(name == FAILED).then("increase").otherwise(failed.fill_null(0)),
        way=pl.when(on_the_way).then(pl.col("sum") * side).otherwise(0.0),
    ).select(
        pl.col(column).fill_null("" if kind == pl.String else 0).cast(kind)
        for column, kind in CALLS_SEEN.items()
    )


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


def _length(milliseconds: float) -> str:
    if milliseconds >= 10_000:
        return f"{milliseconds / 1000:.3g} s"
    return f"{milliseconds:.3g} ms" if milliseconds else format_duration(0)


class CauseBook:
    """Remembers what calls there were, and finds causes.

    Args:
        window: length of the windows, in nanoseconds.
        state: what ``snapshot`` gave.
    """

    def __init__(self, window: int, state: dict[str, Any] | None = None) -> None:
        self._window = window
        self._folded = 0  # windows that begin before this are folded
        self._recent = pl.DataFrame(schema=CALLS_SEEN)
        self._usual = pl.DataFrame(schema={name: CALLS_SEEN[name] for name in (*_KEY, *_NUMBERS)})
        if state is not None:
            self._recent, self._usual = (
                pl.read_ipc(io.BytesIO(state[name])) for name in ("recent", "usual")
            )
            self._folded = state.get("folded", 0)
        self._totals: dict[tuple[str, int, int], tuple[CallTotals, CallTotals]] = {}

    def snapshot(self) -> dict[str, Any]:
        """Return plain data: a few windows as they were, and what was usual before them."""
        found: dict[str, Any] = {"folded": self._folded}
        for name, frame in (("recent", self._recent), ("usual", self._usual)):
            buffer = io.BytesIO()
            frame.write_ipc(buffer, compression="zstd")
            found[name] = buffer.getvalue()
        return found

    def observe(self, seen: pl.DataFrame) -> None:
        """Take in a CALLS_SEEN frame; of a series and window that comes again the last counts."""
        if not seen.height:
            return
        self._totals = {}
        self._recent = pl.concat([self._recent, seen]).unique(
            ("series", "window_start"), keep="last", maintain_order=True
        )
        starts = self._recent["window_start"].unique().sort()
        if len(starts) <= _RECENT:
            return
        oldest = starts[-_RECENT]
        old = self._recent.filter(pl.col("window_start") < oldest)
        self._usual = (
            self._before(self._usual, old, oldest)
            .pipe(_summed)
            .filter(pl.col("count") + pl.col("total") + pl.col("way").abs() > 1e-6)
        )
        self._recent = self._recent.filter(pl.col("window_start") >= oldest)
        self._folded = oldest

    def _before(self, usual: pl.DataFrame, old: pl.DataFrame, since: int) -> pl.DataFrame:
        """Return what is usual at an event time: the window before it counts whole."""
        age = (since - pl.col("window_start")) // self._window - 1
        faded = old.with_columns(
            pl.col(name) * pl.lit(_FADES).pow(age.cast(pl.Float64)) for name in _NUMBERS
        )
        fades = _FADES ** max((since - self._folded) // self._window, 0)
        return pl.concat(
            [
                usual.with_columns(pl.col(name) * fades for name in _NUMBERS),
                faded.select(usual.columns),
            ]
        )

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
        before, now = self._both(tenant, since, until)
        found: list[LikelyCause] = []
        for why in ("errors", "time"):
            if about in ("", why) and not found:
                _, found = _likeliest(before, now, service, why)
        return found

    @property
    def reached(self) -> int:
        """Return the end of the newest window of which calls are known, 0 without any."""
        return int(self._recent["window_start"].max()) + self._window if self._recent.height else 0  # type: ignore[arg-type]

    def rank(self, until: int) -> list[ServiceRanking]:
        """Return what is behind each service that is clearly worse than before, of all tenants.

        Args:
            until: the end of the newest window that counts, in nanoseconds of event time.
        """
        since = until - _RANKED * self._window
        found = []
        for tenant in self._recent["tenant"].unique().sort().to_list():
            before, now = self._both(tenant, since, until)
            for service in now.services():
                if now.count(service) < _FEWEST:
                    continue
                for why, clear in (("time", _CLEAR), ("errors", _CLEAR / 20)):
                    worse, causes = _likeliest(before, now, service, why)
                    if causes and worse >= clear:
                        found.append(
                            ServiceRanking(tenant, service, why, since, until, worse, tuple(causes))
                        )
        return found

    def changes(self, until: int) -> list[ServiceChange]:
        """Return which services take longer themselves, or their calls on the way, of all tenants.

        Args:
            until: the end of the newest window that counts, in nanoseconds of event time.
        """
        since = until - _RANKED * self._window
        return [
            *changed_times(self._recent, since, until),
            *changed_ways(self._recent, since, until),
        ]

    def calls(self, until: int) -> list[ServiceCalls]:
        """Return whom each service calls, as far as is known at an event time, by tenant and name."""
        since = until - _RANKED * self._window
        found = []
        for tenant in self._recent["tenant"].unique().sort().to_list():
            both = self._both(tenant, since, until)
            for service in sorted({name for totals in both for name in totals.calls}):
                called = {
                    name
                    for totals in both
                    for name, numbers in totals.calls.get(service, {}).items()
                    if numbers[0] >= _CALLED
                }
                found.append(
                    ServiceCalls(tenant, service, until, tuple(sorted(called)[:_MOST_CALLED]))
                )
        return found

    def _both(self, tenant: str, since: int, until: int) -> tuple[CallTotals, CallTotals]:
        since -= since % self._window
        key = tenant, since, until
        if key not in self._totals:
            mine = pl.col("tenant") == tenant
            recent = self._recent.filter(mine, pl.col("window_start") < until)
            began = pl.col("window_start") >= since
            old = self._before(self._usual.filter(mine), recent.filter(~began), since)
            self._totals[key] = _totals(old), _totals(recent.filter(began))
        return self._totals[key]


def _summed(calls: pl.DataFrame) -> pl.DataFrame:
    """Return a row a series: a number is quicker to group by than the texts that it stands for."""
    return calls.group_by("series", maintain_order=True).agg(pl.first(*_KEY[1:]), pl.sum(*_NUMBERS))


def _totals(calls: pl.DataFrame) -> CallTotals:
    """Return the totals of calls of one tenant."""
    columns = ("edge", "service", "operation", "kind", *_NUMBERS)
    return CallTotals.of(_summed(calls).select(columns).rows())


def _likeliest(
    before: CallTotals, now: CallTotals, service: str, why: str
) -> tuple[float, list[LikelyCause]]:
    """Return how much worse a service is, and the likely causes of it, the likeliest first.

    Args:
        before, now: what was seen.
        service: its name.
        why: ``time`` or ``errors``.

    Returns:
        What all that got worse adds to a call: a part of what one took, or a share that fails; and three
        causes at most.
    """
    calls = now.count(service)
    if not calls or not before.count(service):
        return 0.0, []
    number = FAILURES if why == "errors" else TIME
    took = 1.0 if why == "errors" else max(before.whole(service), 1e-9)
    least = _LEAST_FAILED if why == "errors" else _LEAST_TIME * took
    changes = own_changes(before, now, service, number)
    worse = sum(change.added for change in changes if change.added > 0)
    found: dict[str, LikelyCause] = {}
    for change in changes:
        if change.added < least or change.added < _LEAST_PART * worse:
            continue
        cause = LikelyCause(
            change.service,
            "" if change.way else now.operation(change.service, before, number),
            "way" if change.way else why,
            change.before,
            change.now,
            change.added / worse,
            change.service == service,
        )
        found.setdefault(change.service, cause)
    return worse / took, list(found.values())[:3]
