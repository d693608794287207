"""The application: one thin module a flow, its settings, and the commands around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flows.garbage import leave_garbage_at_start
from flows.heap import share_one_heap

if TYPE_CHECKING:
    from flows.settings import Settings

# Before NumPy and others are imported: they begin threads, and a heap that is there is used.
share_one_heap()
# Before all else is imported, too.
leave_garbage_at_start()

__all__ = ["FLOWS", "STATELESS", "with_input"]

FLOWS: Final = ("metrics", "logs", "traces", "alerting", "storage", "notifier")
"""The names of the flows, in the order of the data: each reads what those before it write."""
STATELESS: Final = frozenset({"storage"})
"""Flows without a recovery store: what they have done is in the offsets that they committed."""

_BY_SIGNAL: Final = frozenset({"metrics", "logs", "traces"})


def with_input(settings: Settings) -> tuple[str, ...]:
    """Return the flows that the settings have something to do for."""
    idle = {flow for flow in _BY_SIGNAL if not settings.inputs_of(flow)}
    if not settings.rules.active:
        idle.add("alerting")
    return tuple(flow for flow in FLOWS if flow not in idle)
