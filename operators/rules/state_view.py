"""What rules are doing now, in the words of Prometheus' API: ``/api/v1/rules``, ``/api/v1/alerts``."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

from operators.rules.alert_view import shown_alerts, shown_time
from operators.rules.alerts import FIRING, PENDING, AlertingRule
from operators.rules.groups import RuleGroup
from operators.rules.running import RunningRules

__all__ = ["Board"]


class Board:
    """The rules of all shards of a process. What is asked is answered between two evaluations."""

    def __init__(self) -> None:
        self._running: dict[tuple[int, str], tuple[RunningRules, threading.RLock]] = {}

    def __call__(
        self, shard: int, tenant: str, running: RunningRules, lock: threading.RLock
    ) -> None:
        """Put up the rules of a shard and tenant."""
        self._running[shard, tenant] = running, lock

    def rules(self, asked: Mapping[str, list[str]]) -> dict[str, Any]:
        """Return the answer to ``/api/v1/rules``.

        ``type`` may be ``alert`` or ``record``; ``rule_name[]``, ``rule_group[]`` and ``file[]``
        choose, as in Prometheus. Beyond it, ``tenant`` does.
        """
        kind = asked.get("type", [""])[0]
        names = {key: set(asked.get(f"{key}[]", ())) for key in ("rule_name", "rule_group", "file")}
        groups = []
        for tenant, group in self._groups(asked):
            of = group.group
            if (names["rule_group"] and of.name not in names["rule_group"]) or (
                names["file"] and of.file not in names["file"]
            ):
                continue
            rules = [
                rule
                for number in range(len(group.rules))
                if (rule := _rule(group, number, tenant))["type"].startswith(kind)
                and (not names["rule_name"] or rule["name"] in names["rule_name"])
            ]
            if rules:
                groups.append(_group(group, rules))
        return {"status": "success", "data": {"groups": groups}}

    def alerts(self, asked: Mapping[str, list[str]]) -> dict[str, Any]:
        """Return the answer to ``/api/v1/alerts``: what is pending, and what fires."""
        found = [
            alert
            for tenant, group in self._groups(asked)
            for rule in group.alerting
            for alert in shown_alerts(rule, tenant)
        ]
        return {"status": "success", "data": {"alerts": found}}

    def _groups(self, asked: Mapping[str, list[str]]) -> Iterator[tuple[str, RuleGroup]]:
        wanted = asked.get("tenant", [""])[0]
        for (_, tenant), (running, lock) in sorted(
            self._running.items(), key=lambda entry: entry[0]
        ):
            if wanted in ("", tenant):
                with lock:
                    for group in running.groups:
                        if not group.group.shadow:
                            yield tenant, group


def _group(group: RuleGroup, rules: list[dict[str, Any]]) -> dict[str, Any]:
    of = group.group
    return {
        "name": of.name,
        "file": of.file,
        "rules": rules,
        "interval": of.interval / 1000,
        "limit": of.limit,
        "evaluationTime": group.seconds,
        "lastEvaluation": shown_time(group.evaluated_at),
    }


def _rule(group: RuleGroup, number: int, tenant: str) -> dict[str, Any]:
    state = group.rules[number]
    rule, fault = state.rule, group.faults.get(number)
    health = "unknown" if group.evaluated_at is None else "err" if fault else "ok"
    made: dict[str, Any] = {
        "name": rule.name,
        "query": rule.expression,
        "labels": dict(rule.labels),
        "health": health,
        "evaluationTime": 0,
        "lastEvaluation": shown_time(group.evaluated_at),
    }
    if fault:
        made["lastError"] = fault
    if not isinstance(state, AlertingRule):
        return {**made, "type": "recording"}
    alerts = shown_alerts(state, tenant)
    states = {alert["state"] for alert in alerts}
    return {
        **made,
        "type": "alerting",
        "duration": rule.hold / 1000,
        "keepFiringFor": rule.keep_firing / 1000,
        "annotations": dict(rule.annotations),
        "alerts": alerts,
        "state": next((one for one in (FIRING, PENDING) if one in states), "inactive"),
    }
