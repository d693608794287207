"""Alerts of a rule in the words of Prometheus' API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from operators.contracts.frames import DEFAULT_TENANT
from operators.rules.alerts import AlertingRule, RuleAlert

__all__ = ["shown_alerts", "shown_time"]


def shown_alerts(rule: AlertingRule, tenant: str = DEFAULT_TENANT) -> list[dict[str, Any]]:
    """Return what is pending or fires of a rule, as Prometheus' API has it."""
    return [
        _alert(alert, tenant)
        for _, alert in sorted(rule.active.items(), key=lambda entry: entry[0])
        if alert.is_active
    ]


def _alert(alert: RuleAlert, tenant: str) -> dict[str, Any]:
    labels = dict(alert.labels)
    if tenant != DEFAULT_TENANT:
        labels["tenant"] = tenant
    made = {
        "labels": labels,
        "annotations": dict(alert.annotations),
        "state": alert.state,
        "activeAt": shown_time(alert.active_at),
        "value": _number(alert.value),
    }
    if alert.kept_since is not None:
        made["keepFiringSince"] = shown_time(alert.kept_since)
    if alert.unknown_since is not None:
        made["unknownSince"] = shown_time(alert.unknown_since)
    return made


def _number(value: float) -> str:
    """Return a number as Prometheus' API writes it, with an exponent."""
    if not np.isfinite(value):
        return "NaN" if np.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return str(np.format_float_scientific(value, trim="-", exp_digits=2))


def shown_time(milliseconds: int | None) -> str:
    """Return a time in UTC; that of what never happened is Go's zero."""
    if milliseconds is None:
        return "0001-01-01T00:00:00Z"
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
