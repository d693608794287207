"""Which group an alert belongs to: routes, group labels and group keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from operators.notifying.digest import Digest
from operators.notifying.flapping import Flapping
from operators.notifying.quoting import go_quote

__all__ = ["EACH_ALONE", "Integration", "Route", "Routing", "group_key", "group_labels", "routing"]

EACH_ALONE: Final = "..."
"""In ``group_by``: every alert is a group of its own."""


@dataclass(frozen=True, slots=True)
class Integration:
    """One channel of one receiver: what a notification is sent to, and logged for.

    One that ``keeps_alive`` is told at every flush what fires, since it would forget it.
    """

    name: str  # receiver/type[index], such as "ops/webhook[0]"
    send_resolved: bool
    keeps_alive: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """How the alerts that match it become notifications. Times are nanoseconds.

    ``id`` is the route's own; ``key`` is how its matchers read in a group key. ``mute`` and
    ``active`` name the times in which it tells nothing, and those in which alone it tells. A route that
    ``escalates`` tells nothing of what somebody has acknowledged. One with a ``rota`` tells
    only while its receiver is on call. Along one with ``flapping``, alerts that flap are damped.
    One with a ``digest`` tells summaries, and nothing else. One with ``most_repeats`` tells the same
    no more often again than that.
    """

    id: str
    key: str
    receiver: str
    integrations: tuple[Integration, ...]
    group_by: frozenset[str]
    group_wait: int
    group_interval: int
    repeat_interval: int
    mute: tuple[str, ...] = ()
    active: tuple[str, ...] = ()
    escalates: bool = False
    rota: str = ""
    flapping: Flapping | None = None
    digest: Digest | None = None
    most_repeats: int | None = None

    def first_flush(self, now: int) -> int:
        """Return when a group that begins now is told first."""
        return self.digest.following(now) if self.digest else now + self.group_wait

    def next_flush(self, now: int) -> int:
        """Return when a group that is told now is told next."""
        return self.digest.following(now) if self.digest else now + self.group_interval


Routing = Callable[[Mapping[str, str]], Sequence[Route]]
"""Gives the routes that alerts with these labels take, in order."""


def routing(root: Route) -> Routing:
    """Return the routing that sends every alert along ``root``."""
    only = (root,)
    return lambda _labels: only


def group_labels(labels: Mapping[str, str], group_by: frozenset[str]) -> dict[str, str]:
    """Return the labels that name the group of an alert; one that it lacks is left out.

    >>> group_labels({"alertname": "Slow", "host": "a"}, frozenset({"alertname", "zone"}))
    {'alertname': 'Slow'}
    """
    if EACH_ALONE in group_by:
        return dict(labels)
    return {name: value for name, value in labels.items() if name in group_by}


def group_key(route_key: str, labels: Mapping[str, str]) -> str:
    """Return the key of a group, as it reads in Alertmanager's webhook body.

    >>> group_key("{}", {"alertname": "Slow", "path": 'a"b'})
    '{}:{alertname="Slow", path="a\\\\"b"}'
    """
    pairs = ", ".join(f"{name}={go_quote(labels[name])}" for name in sorted(labels))
    return f"{route_key}:{{{pairs}}}"
