"""What rules leave behind that are there no longer: alerts that fire, and series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from operators.rules.alerts import FIRING, RESOLVED, AlertingRule, RuleAlert, RuleAlertChange
from operators.rules.files import FileGroup, Rule
from operators.rules.groups import RuleGroup
from operators.rules.samples import STALE
from operators.rules.store import SeriesStore

__all__ = ["EndedAlerts", "end_series"]

GroupKey = tuple[str, str]


class EndedAlerts:
    """The alerts that fired when their rule went away, until somebody is told that they ended."""

    def __init__(self) -> None:
        self._waiting: list[tuple[GroupKey, RuleAlert]] = []

    def add(self, states: Sequence[tuple[Any, Any]], groups: Mapping[GroupKey, RuleGroup]) -> None:
        """Look for alerts of rules that are gone.

        Where there is another rule of the same name, in the same group at best, it goes on with
        them: the rule was moved, or one of several was left out. What its expression does not give
        is resolved the next time.

        Args:
            states: the groups' snapshots from before, by file and name.
            groups: those that there are now, with the state of what stayed.
        """
        for key, state in states:
            if state.get("shadow"):
                continue
            kept = _keys(groups.get(tuple(key)))
            for rule_key, alerts, _ in state["rules"]:
                name, is_alert, _ = rule_key
                if tuple(rule_key) in kept or not is_alert or not alerts:
                    continue
                heir = _heir(name, tuple(key), groups)
                for told in alerts:
                    alert = RuleAlert(**told)
                    if heir is not None:
                        heir.active.setdefault(tuple(sorted(alert.labels.items())), alert)
                    elif alert.state == FIRING:
                        self._waiting.append((tuple(key), alert))

    def take(self, time: int) -> list[tuple[FileGroup, list[RuleAlertChange]]]:
        """Return that alerts are resolved at a time (ms), with a group for each, and forget them."""
        found = []
        for (file, name), alert in self._waiting:
            alert.state, alert.resolved_at = RESOLVED, time
            rule = Rule(alert.labels["alertname"], True, "")
            change = RuleAlertChange(alert, RESOLVED, time)
            found.append((FileGroup(file, name, (rule,)), [change]))
        self._waiting = []
        return found

    def snapshot(self) -> list[Any]:
        """Return plain data."""
        return [(key, dict(vars(alert))) for key, alert in self._waiting]

    def restore(self, state: Sequence[Any]) -> None:
        """Take back what `snapshot` gave."""
        self._waiting = [(tuple(key), RuleAlert(**alert)) for key, alert in state]


def _keys(group: RuleGroup | None) -> set[tuple[str, int, int]]:
    return set() if group is None else set(group.keys())


def _heir(name: str, key: GroupKey, groups: Mapping[GroupKey, RuleGroup]) -> AlertingRule | None:
    """Return the rule that goes on with the alerts of one that is gone."""
    own = groups.get(key)
    for group in ([own] if own else []) + list(groups.values()):
        if not group.group.shadow:
            for rule in group.alerting:
                if rule.rule.name == name:
                    return rule
    return None


def end_series(
    store: SeriesStore,
    states: Sequence[tuple[Any, Any]],
    groups: Mapping[GroupKey, RuleGroup],
) -> None:
    """Put a marker at the end of the series of rules that are gone, as Prometheus does.

    Args:
        store: where the series are.
        states: the groups' snapshots from before, by file and name.
        groups: those that there are now.
    """
    for key, state in states:
        if state["at"] is None:
            continue
        kept = _keys(groups.get(tuple(key)))
        labels = [
            one
            for rule_key, _, made in state["rules"]
            if tuple(rule_key) not in kept
            for one in made
        ]
        if labels:
            rows = store.rows(labels)
            ts = np.full(len(rows), state["at"] + 1, np.int64)
            store.append(rows, ts, np.full(len(rows), STALE))
