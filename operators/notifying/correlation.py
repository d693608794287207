"""When alerts belong together: services that need each other, labels in common, nearness in time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from operators.notifying.matchers import Matchers

__all__ = ["Correlation", "ServiceMap"]


class ServiceMap:
    """Which service needs which.

    Args:
        needs: for each service, those that it calls.
    """

    def __init__(self, needs: Mapping[str, Iterable[str]] | None = None) -> None:
        self._needs = {service: frozenset(called) for service, called in (needs or {}).items()}
        self.all_needed_by = lru_cache(maxsize=65_536)(self._all_needed_by)

    def are_related(self, one: str, other: str) -> bool:
        """Whether one service needs the other, directly or through others, or both call a third."""
        return (
            one == other
            or other in self.all_needed_by(one)
            or one in self.all_needed_by(other)
            or not self._needs.get(one, frozenset()).isdisjoint(self._needs.get(other, ()))
        )

    def _all_needed_by(self, service: str) -> frozenset[str]:
        """Return all services that one needs, directly or through others."""
        found: set[str] = set()
        ahead = deque(self._needs.get(service, ()))
        while ahead:
            needed = ahead.popleft()
            if needed not in found and needed != service:
                found.add(needed)
                ahead.extend(self._needs.get(needed, ()))
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class Correlation:
    """When alerts belong together.

    Args:
        window: nanoseconds between the newest event of an incident and an alert that joins it.
        service: the labels that name a service: the first that an alert has counts.
        services: which needs which.
        together: sets of labels: alerts that have the same values of all of one set belong
            together.
        matchers: which alerts are correlated at all.
    """

    window: int
    service: tuple[str, ...] = ("service.name", "service")
    services: ServiceMap = field(default_factory=ServiceMap)
    together: tuple[tuple[str, ...], ...] = ()
    matchers: Matchers = ()

    def service_of(self, labels: Mapping[str, str]) -> str:
        """Return the service that an alert is about, or nothing."""
        return next((labels[name] for name in self.service if labels.get(name)), "")
