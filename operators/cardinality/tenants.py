"""The operator that limits how many tenants there are: one state for all workers together.

A header of a message can name any tenant, and each has a state, limits and metrics of its own. So
names of new tenants pass here first. What is of a tenant beyond the limit is refused like a series
beyond one; those that are there flow on, and one that nobody names for ``evict_after`` gives its
place free.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal

import numpy as np

from operators.bytewax import KeyedStream, keyed
from operators.contracts.alert import AlertEvent, alert_event
from operators.contracts.durations import format_duration
from operators.contracts.engine import KeyedLogic
from operators.contracts.events import event_frame
from operators.contracts.frames import shard_of
from operators.contracts.items import Events, Named, Refused
from operators.contracts.monitoring import ACTIVE_TENANTS, TENANTS_BEYOND

__all__ = ["BEYOND", "TenantsLogic", "tenants_limit"]

_VERSION: Final = 1
_ALERT_NAME: Final = "TenantsLimitReached"
BEYOND: Final = "(beyond limits.active_tenants)"
"""The one name, in metrics, of all tenants beyond the limit."""
_EXAMPLES: Final = 5


def tenants_limit(
    step_id: str, up: KeyedStream[Named], limit: int, severity: str, evict_after: int
) -> KeyedStream[Named | Refused | Events]:
    """Let names of known tenants pass, and of new ones while there are few.

    Args:
        step_id: name of the step, and of its state.
        up: all names, under one key.
        limit: how many tenants may be active.
        severity: label of the alert.
        evict_after: nanoseconds of event time after which a tenant that nobody names is forgotten.
    """

    def build(state: dict[str, Any] | None) -> TenantsLogic:
        return TenantsLogic(limit, severity, evict_after, state)

    return keyed(step_id, up, build)


class TenantsLogic(KeyedLogic[Named, Named | Refused | Events]):
    """Knows who is there."""

    def __init__(
        self, limit: int, severity: str, evict_after: int, state: dict[str, Any] | None
    ) -> None:
        self._limit = limit
        self._severity = severity
        self._evict_after = evict_after
        self._seen: dict[str, int] = dict(state["seen"]) if state else {}
        self._now: int = state["now"] if state else 0
        self._since: int = state["since"] if state else 0  # of an alert
        self._until: int = state["until"] if state else 0
        self._examples: list[str] = list(state["examples"]) if state else []

    def on_batch(self, items: list[Named]) -> list[Named | Refused | Events]:
        """Pass names on in their order, or refuse them."""
        out: list[Named | Refused | Events] = []
        events: list[tuple[AlertEvent, int]] = []
        for named in items:
            self._now = max(self._now, named.seen)
            if named.tenant not in self._seen and len(self._seen) >= self._limit:
                self._forget()
            if named.tenant in self._seen or len(self._seen) < self._limit:
                self._seen[named.tenant] = max(named.seen, self._seen.get(named.tenant, 0))
                out.append(named)
                continue
            out += _refusals(named)
            TENANTS_BEYOND.inc()
            if named.tenant not in self._examples and len(self._examples) < _EXAMPLES:
                self._examples.append(named.tenant[:100])
            self._until = self._now
            if not self._since:
                self._since = self._now
                events.append((self._event("firing"), self._now))
        if self._since and self._now - self._until >= self._evict_after:
            events.append((self._event("resolved"), self._now))
            self._since, self._examples = 0, []
        ACTIVE_TENANTS.set(len(self._seen))
        if events:
            out.append(Events(event_frame(events)))
        return out

    def snapshot(self) -> dict[str, Any]:
        """Return plain data, with its version."""
        return {
            "version": _VERSION,
            "seen": dict(self._seen),
            "now": self._now,
            "since": self._since,
            "until": self._until,
            "examples": list(self._examples),
        }

    def _forget(self) -> None:
        before = self._now - self._evict_after
        self._seen = {tenant: seen for tenant, seen in self._seen.items() if seen >= before}

    def _event(self, status: Literal["firing", "resolved"]) -> AlertEvent:
        summary = (
            f"no tenant was refused for {format_duration(self._evict_after)}"
            if status == "resolved"
            else f"{self._limit:,} tenants are active, which is limits.active_tenants; what is of "
            f"others is refused, as of {', '.join(self._examples)}. Look at what writes the tenant "
            "into headers or resource attributes"
        )
        return alert_event(
            status=status,
            kind="cardinality",
            labels={"alertname": _ALERT_NAME, "severity": self._severity, "limit": "tenants"},
            annotations={"summary": summary},
            starts_at=self._since,
            ends_at=self._until if status == "resolved" else None,
            value=float(len(self._seen)),
            evidence={"maximum": self._limit, "examples": list(self._examples)},
        )


def _refusals(named: Named) -> Iterator[Refused]:
    """Yield what each shard is to drop."""
    shards = shard_of(named.series["series"].to_numpy(), named.shards)
    identities = named.series["identity"].to_numpy()
    for shard in np.unique(shards).tolist():
        yield Refused(shard, BEYOND, identities[shards == shard])
