"""Which group an alert belongs to: routes, group labels and group keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["EACH_ALONE", "Integration", "Route", "Routing", "group_key", "group_labels", "routing"]

EACH_ALONE: Final = "..."
"""In ``group_by``: every alert is a group of its own."""


@dataclass(frozen=True, slots=True)
class Integration:
    """One channel of one receiver: what a notification is sent to, and logged for."""

    name: str  # receiver/type[index], such as "ops/webhook[0]"
    send_resolved: bool


@dataclass(frozen=True, slots=True)
class Route:
    """How the alerts that match it become notifications. Times are nanoseconds.

    ``id`` is the route's own; ``key`` is how its matchers read in a group key.
    """

    id: str
    key: str
    receiver: str
    integrations: tuple[Integration, ...]
    group_by: frozenset[str]
    group_wait: int
    group_interval: int
    repeat_interval: int


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
    pairs = ", ".join(f"{name}={_go_quote(labels[name])}" for name in sorted(labels))
    return f"{route_key}:{{{pairs}}}"


_PLAIN: Final = re.compile(r"[ !#-\[\]-~]*")
_ESCAPES: Final = {
    '"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r",
    "\t": "\\t", "\v": "\\v",
}  # fmt: skip


def _go_quote(text: str) -> str:
    """Quote as Go's ``strconv.Quote``, which group keys are made with."""
    if _PLAIN.fullmatch(text):
        return f'"{text}"'
    return '"' + "".join(map(_go_escape, text)) + '"'


def _go_escape(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
