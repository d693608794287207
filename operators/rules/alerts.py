"""An alerting rule: which alerts are pending and which fire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from operators.rules.errors import EvaluationError
from operators.rules.evaluator import Evaluator
from operators.rules.files import Rule
from operators.rules.frame import InstantVector
from operators.rules.label_sets import NAME
from operators.rules.selectors import inputs_of
from operators.rules.templates import Expander, in_order

__all__ = ["AlertingRule", "Key", "RuleAlert", "RuleAlertChange", "TooManyAlertsError"]

PENDING: Final = "pending"
FIRING: Final = "firing"
RESOLVED: Final = "resolved"
_RETENTION: Final = 15 * 60_000  # How long a resolved alert is kept, as in Prometheus.

Key = tuple[tuple[str, str], ...]
"""What tells alerts of a rule apart: their labels, by name."""


@dataclass
class RuleAlert:
    """One alert. Times are in ms, None where it has not come to that.

    ``state`` is ``pending``, ``firing`` or ``resolved``. ``unknown_since`` says from when on there is
    nothing that its rule could be evaluated on, where that keeps an alert.
    """

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    value: float
    active_at: int
    state: str = PENDING
    fired_at: int | None = None
    resolved_at: int | None = None
    kept_since: int | None = None
    unknown_since: int | None = None

    @property
    def is_active(self) -> bool:
        """Whether it is pending or fires."""
        return self.state != RESOLVED


@dataclass(frozen=True)
class RuleAlertChange:
    """An alert that began to fire, or that was resolved, at a time (ms)."""

    alert: RuleAlert
    status: str
    time: int


class TooManyAlertsError(EvaluationError):
    """A rule has more alerts than its group's limit: it loses all of them.

    ``changes`` has those that fired before. Prometheus says no more of them, so that their receiver
    takes them for resolved after a while; here they are resolved at once.
    """

    def __init__(self, text: str, changes: Sequence[RuleAlertChange]) -> None:
        super().__init__(text)
        self.changes = changes


@dataclass
class AlertingRule:
    """The alerts of one rule, from one evaluation to the next.

    Args:
        rule: the rule.
        evaluator: evaluates its expression.
        external_labels: what ``$externalLabels`` is in its templates.
        external_url: what ``externalURL`` gives there.
        keeps_unknown: whether an alert goes on firing while the series that it came of are gone.
    """

    rule: Rule
    evaluator: Evaluator
    external_labels: Mapping[str, str] = field(default_factory=dict)
    external_url: str = ""
    keeps_unknown: bool = False

    def __post_init__(self) -> None:
        self.expression = self.evaluator.expression(self.rule.expression)
        self._inputs = inputs_of(self.expression.node) if self.keeps_unknown else []
        self.active: dict[Key, RuleAlert] = {}

    def evaluate(self, time: int, offset: int = 0, limit: int = 0) -> list[RuleAlertChange]:
        """Evaluate the rule at a time (ms), looking back by ``offset``; return what changed.

        Raises:
            EvaluationError: the expression has no result, or two series make the same alert.
            TooManyAlertsError: there are more alerts than the limit, which ends all of them.
        """
        at = time - offset
        fired = [alert for alert in self.active.values() if alert.state == FIRING]
        frame = self.expression.at(at)
        found = self._found(frame, time)
        for key, alert in found.items():
            known = self.active.get(key)
            if known is not None and known.is_active:
                known.value = alert.value
                known.annotations = alert.annotations
            else:
                self.active[key] = alert
        changes = self._step(found.keys(), time, at)
        number = sum(alert.is_active for alert in self.active.values())
        if limit and number > limit:
            self.active = {}
            for alert in fired:
                alert.state, alert.resolved_at = RESOLVED, time
            ended = [RuleAlertChange(alert, RESOLVED, time) for alert in fired]
            raise TooManyAlertsError(f"exceeded limit of {limit} with {number} alerts", ended)
        return changes

    def _found(self, frame: InstantVector, time: int) -> dict[Key, RuleAlert]:
        rule = self.rule
        found: dict[Key, RuleAlert] = {}
        expander = Expander(
            # As in Prometheus, not by query_offset earlier.
            lambda text: in_order(self.evaluator.expression(text).at(time)),
            time,
            self.external_labels,
            self.external_url,
        )
        for row in np.flatnonzero(frame.present):
            labels = frame.sets.labels(int(row))
            one: Any = None if frame.histograms is None else frame.histograms[row]
            value = float(frame.values[row])
            shown = value if one is None else str(one)
            made = {name: text for name, text in labels.items() if name != NAME}
            for name, text in rule.labels.items():
                expanded = expander.expand(text, labels, shown)
                if expanded:
                    made[name] = expanded
                else:
                    made.pop(name, None)
            made["alertname"] = rule.name
            key = tuple(sorted(made.items()))
            if key in found:
                raise EvaluationError(
                    "vector contains metrics with the same labelset after applying alert labels"
                )
            annotations = {
                name: expander.expand(text, labels, shown)
                for name, text in rule.annotations.items()
            }
            found[key] = RuleAlert(dict(key), annotations, value, time)
        return found

    def _step(self, found: Any, time: int, at: int) -> list[RuleAlertChange]:
        """Let alerts fire, go on, or end."""
        rule = self.rule
        changes = []
        for key, alert in list(self.active.items()):
            if key not in found and not (
                self._keeps(alert, time) or self._unknown(alert, time, at)
            ):
                resolved_at = alert.resolved_at
                if alert.state == PENDING or (
                    resolved_at is not None and time - resolved_at > _RETENTION
                ):
                    del self.active[key]
                if alert.state == FIRING:
                    alert.state, alert.resolved_at = RESOLVED, time
                    changes.append(RuleAlertChange(alert, RESOLVED, time))
                continue
            if key in found:
                alert.kept_since = alert.unknown_since = None
            if alert.state == PENDING and time - alert.active_at >= rule.hold:
                alert.state, alert.fired_at = FIRING, time
                changes.append(RuleAlertChange(alert, FIRING, time))
            elif alert.state == FIRING and time - alert.active_at < rule.hold:
                # The rule holds longer than it did when the alert fired.
                alert.state, alert.fired_at, alert.kept_since = PENDING, None, None
        return changes

    def _keeps(self, alert: RuleAlert, time: int) -> bool:
        """Return whether an alert whose series is gone goes on firing for a while."""
        if alert.state != FIRING or not self.rule.keep_firing:
            return False
        if alert.kept_since is None:
            alert.kept_since = time
        return time - alert.kept_since < self.rule.keep_firing

    def _unknown(self, alert: RuleAlert, time: int, at: int) -> bool:
        """Return whether an alert fires whose series are all gone, so that nobody can tell."""
        if alert.state != FIRING or not self._inputs:
            return False
        symbols = self.evaluator.store.symbols
        own = {"alertname", *self.rule.labels}
        wanted = [(n, symbols.find(v)) for n, v in alert.labels.items() if n not in own]
        for selector in self._inputs:
            frame = selector.at_last(at)
            there = frame.present.copy()
            for name, value in wanted:
                column = frame.sets.column(name)
                there &= (column == 0) | (column == value)
            if there.any():
                alert.unknown_since = None
                return False
        if alert.unknown_since is None:
            alert.unknown_since = time
        return True

    def samples(self) -> list[tuple[dict[str, str], float]]:
        """Return the series ``ALERTS`` and ``ALERTS_FOR_STATE`` of the alerts that are active."""
        made: list[tuple[dict[str, str], float]] = []
        for alert in self.active.values():
            if alert.is_active:
                labels = dict(alert.labels)
                made.append(({**labels, NAME: "ALERTS", "alertstate": alert.state}, 1.0))
                seconds = float(alert.active_at // 1000)
                made.append(({**labels, NAME: "ALERTS_FOR_STATE"}, seconds))
        return made

    def snapshot(self) -> list[dict[str, Any]]:
        """Return the alerts as plain data."""
        return [dict(vars(alert)) for alert in self.active.values()]

    def restore(self, alerts: list[dict[str, Any]]) -> None:
        """Take back what `snapshot` gave."""
        restored = [RuleAlert(**alert) for alert in alerts]
        self.active = {tuple(sorted(alert.labels.items())): alert for alert in restored}
