"""Inhibition: alerts that are not told while another one fires that says more.

The rules are Alertmanager's. A label that is missing equals an empty one. An alert that is a source
and a target of the same rule is not inhibited by others of that kind, and so not by itself. Whether
a source is told, silenced or inhibited in turn does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from operators.notifying.alert import Alert
from operators.notifying.matchers import Matchers, matches

__all__ = ["InhibitRule", "Inhibitor"]


@dataclass(frozen=True, slots=True)
class InhibitRule:
    """While an alert like ``source`` fires, those like ``target`` with the same values are held.

    ``equal`` are the labels whose values have to be the same.
    """

    source: Matchers
    target: Matchers
    equal: tuple[str, ...] = ()


class Inhibitor:
    """Knows the alerts that fire and inhibit others.

    Finding out costs a look-up a rule, however many alerts fire.
    """

    def __init__(self, rules: Iterable[InhibitRule], firing: Iterable[Alert] = ()) -> None:
        self._rules = [_Sources(rule) for rule in rules]
        for alert in firing:
            self.put(alert)

    def put(self, alert: Alert) -> None:
        """Take in the newest state of an alert."""
        for sources in self._rules:
            sources.put(alert)

    def inhibited_by(self, labels: Mapping[str, str], now: int) -> str | None:
        """Return the fingerprint of an alert that inhibits one with these labels, if one does."""
        for sources in self._rules:
            if (found := sources.inhibiting(labels, now)) is not None:
                return found
        return None


class _Sources:
    """The sources of one rule that fire, by the values of its labels."""

    def __init__(self, rule: InhibitRule) -> None:
        self._rule = rule
        self._all: dict[tuple[str, ...], dict[str, Alert]] = {}
        self._no_targets: dict[tuple[str, ...], dict[str, Alert]] = {}

    def put(self, alert: Alert) -> None:
        rule = self._rule
        if not matches(rule.source, alert.labels):
            return
        values = self._values(alert.labels)
        kept = [self._all]
        if not matches(rule.target, alert.labels):
            kept.append(self._no_targets)
        for sources in kept:
            if alert.resolved:
                if found := sources.get(values):
                    found.pop(alert.fingerprint, None)
                    if not found:
                        del sources[values]
            else:
                sources.setdefault(values, {})[alert.fingerprint] = alert

    def inhibiting(self, labels: Mapping[str, str], now: int) -> str | None:
        rule = self._rule
        if not (self._all and matches(rule.target, labels)):
            return None
        both = matches(rule.source, labels)
        found = (self._no_targets if both else self._all).get(self._values(labels), {})
        return next((name for name, alert in found.items() if not alert.at(now).resolved), None)

    def _values(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(labels.get(name, "") for name in self._rule.equal)
