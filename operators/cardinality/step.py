"""The operator of the cardinality limits: one keyed state a tenant, for all workers together.

Workers name series, shards hold their points. Between the two, one place has to know all series of
a tenant, or its limit would depend on how many workers there are. Every name goes through it and
on to its shard, which keeps points until it has heard what becomes of them.

Admitting and refusing is as good as the order in which names come in: of series that compete for
the last places the first one wins. What does not depend on it: there are never more series than
the limit, what is active is never refused, and no place stays empty while something asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import Any, Final, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.bytewax import KeyedStream, keyed
from operators.cardinality.policy import Admission, LimitChange
from operators.contracts.alert import AlertEvent, alert_event
from operators.contracts.durations import format_duration
from operators.contracts.engine import KeyedLogic
from operators.contracts.events import event_frame
from operators.contracts.frames import DEFAULT_TENANT, shard_of
from operators.contracts.items import Admitted, Events, Named, Refused
from operators.contracts.monitoring import (
    ACTIVE_SERIES,
    BATCH_SECONDS,
    SERIES_LIMIT,
    SERIES_REFUSED,
)
from operators.contracts.snapshots import require_version

__all__ = ["LimitSettings", "TenantLimitSettings", "admission"]

_VERSION: Final = 1
_ALERT_NAME: Final = "SeriesLimitReached"
_METRICS_COUNTED: Final = 100
"""Metrics of a tenant that have a counter of their own: a metric's name may be what explodes."""


class TenantLimitSettings(Protocol):
    """The limits of one tenant."""

    @property
    def series(self) -> int:
        """How many series may be active."""
        ...

    @property
    def series_per_metric(self) -> int:
        """How many of them may share a metric's name."""
        ...


class LimitSettings(Protocol):
    """What the limits are; ``flows.settings.Limits`` is one."""

    @property
    def severity(self) -> str:
        """Label of the alerts."""
        ...

    def of(self, tenant: str) -> TenantLimitSettings:
        """Return the limits of a tenant."""
        ...


def admission(
    step_id: str, up: KeyedStream[Named], settings: LimitSettings, evict_after: int
) -> KeyedStream[Admitted | Refused | Events]:
    """Admit or refuse what workers name, and raise alerts when a limit begins to refuse.

    Every row that comes in goes out once, admitted or refused, to its shard (``contracts.frames.shard_of``).

    Args:
        step_id: name of the step, and of its state.
        up: names by tenant.
        settings: the limits.
        evict_after: nanoseconds of event time after which a series that nobody names is forgotten.
    """

    def build(state: dict[str, Any] | None) -> AdmissionLogic:
        return AdmissionLogic(settings, evict_after, state)

    return keyed(step_id, up, build)


class AdmissionLogic(KeyedLogic[Named, Admitted | Refused | Events]):
    """Knows the series of one tenant."""

    def __init__(
        self, settings: LimitSettings, evict_after: int, state: dict[str, Any] | None
    ) -> None:
        require_version(state, "series", _VERSION)
        self._settings = settings
        self._evict_after = evict_after
        self._state = state["admission"] if state else None
        self._admission: Admission | None = None
        self._counted: set[str] = set()

    @property
    def finished(self) -> bool:
        """Whether no series of the tenant is active any more."""
        return self._admission is not None and self._admission.idle

    def on_batch(self, items: list[Named]) -> list[Admitted | Refused | Events]:
        """Answer names in their order."""
        started = perf_counter()
        tenant = items[0].tenant
        if self._admission is None:  # Bytewax tells a state its key only with the first item
            self._admission, self._state = self._build(tenant), None
        admission = self._admission
        out: list[Admitted | Refused | Events] = []
        events: list[tuple[AlertEvent, int]] = []
        for named in items:
            decision = admission.decide(named.series, named.seen, named.reader)
            out += _answers(named, decision.admitted)
            for metric, count in decision.refused.items():
                self._count(tenant, metric, count)
            events += [
                (self._event(tenant, change), _changed_at(change, self._evict_after))
                for change in decision.changes
            ]
        if events:
            out.append(Events(event_frame(events)))
        ACTIVE_SERIES.labels(tenant).set(len(admission))
        if admission.idle:  # whoever comes next must not find the metrics of all before
            ACTIVE_SERIES.remove(tenant)
            SERIES_LIMIT.remove(tenant)
        BATCH_SECONDS.labels("admission").observe(perf_counter() - started)
        return out

    def _build(self, tenant: str) -> Admission:
        limits = self._settings.of(tenant)
        SERIES_LIMIT.labels(tenant).set(limits.series)
        return Admission(limits.series, limits.series_per_metric, self._evict_after, self._state)

    def _count(self, tenant: str, metric: str, count: int) -> None:
        if len(self._counted) < _METRICS_COUNTED:
            self._counted.add(metric)
        SERIES_REFUSED.labels(tenant, metric if metric in self._counted else "").inc(count)

    def _event(self, tenant: str, change: LimitChange) -> AlertEvent:
        labels = {
            "alertname": _ALERT_NAME,
            "severity": self._settings.severity,
            "limit": change.limit,
            "metric": change.metric,
            "label": change.label,
            "tenant": "" if tenant == DEFAULT_TENANT else tenant,
        }
        return alert_event(
            status=change.status,
            kind="cardinality",
            labels={name: value for name, value in labels.items() if value},
            annotations={"summary": _summary(tenant, change, self._evict_after)},
            starts_at=change.since,
            ends_at=change.until if change.status == "resolved" else None,
            value=float(change.active),
            evidence={
                "maximum": change.maximum,
                "active": change.active,
                "refused": change.refused,
                "values": change.labels,
                "examples": change.examples,
            },
        )

    def snapshot(self) -> dict[str, Any]:
        """Return plain data, with its version: about ten bytes a series."""
        state = self._admission.snapshot() if self._admission else self._state
        return {"version": _VERSION, "admission": state}


def _answers(named: Named, admitted: NDArray[np.bool_]) -> Iterator[Admitted | Refused]:
    """Split a frame by what became of its rows, and by shard."""
    frame = named.series
    if not admitted.all():
        refused = frame.filter(~admitted)
        identities = refused["identity"].to_numpy()
        for shard, rows in _by_shard(refused["series"], named.shards):
            yield Refused(shard, named.tenant, identities[rows])
        frame = frame.filter(admitted)
    for shard, rows in _by_shard(frame["series"], named.shards):
        yield Admitted(shard, named.tenant, frame[rows])


def _by_shard(series: pl.Series, shards: int) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Yield each shard that has some of the series, and their rows."""
    shard = shard_of(series.to_numpy(), shards).astype(np.uint16)
    order = np.argsort(shard, kind="stable")
    counts = np.bincount(shard, minlength=shards)
    ends = np.cumsum(counts)
    for index in np.flatnonzero(counts):
        yield int(index), order[ends[index] - counts[index] : ends[index]]


def _changed_at(change: LimitChange, evict_after: int) -> int:
    return change.since if change.status == "firing" else change.until + evict_after


def _summary(tenant: str, change: LimitChange, evict_after: int) -> str:
    of_tenant = "" if tenant == DEFAULT_TENANT else f" of {tenant}"
    whose = f"{change.metric}{of_tenant}" if change.limit == "series_per_metric" else (
        f"tenant {tenant}"
    )  # fmt: skip
    if change.status == "resolved":
        return f"{whose}: no new series was refused for {format_duration(evict_after)}"
    said = f"{whose} is at its limit of {change.maximum:,} series; new ones are refused"
    if change.label:
        values = change.labels[change.label]
        where = "" if change.limit == "series_per_metric" else f" of {change.metric}"
        said += f". The label {change.label}{where} has about {values:,} values"
    return said
