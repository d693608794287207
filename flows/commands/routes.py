"""``headrace routes``: where an alert would go, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from flows.commands.failure import CommandFailed
from flows.commands.given import given_label
from flows.commands.terminal import console
from flows.notifying import Plan, plan
from flows.settings import Settings
from operators.contracts.clock import SystemClock
from operators.contracts.durations import format_duration
from operators.notifying.grouping import Route, group_key, group_labels
from operators.notifying.intervals import any_contains
from operators.notifying.matchers import matches, written
from operators.notifying.routes import explain

__all__ = ["show_routes", "try_routes", "usable_plan"]


def show_routes(settings: Settings) -> None:
    """Print the tree of routes, a line a branch, and the escalations beside it.

    Raises:
        CommandFailed: the configuration can't be used.
    """
    going_by = usable_plan(settings)
    out = console()
    ahead = [(0, going_by.root)]
    while ahead:
        depth, node = ahead.pop()
        out.print(
            f"{'  ' * depth}{written(node.matchers)} -> {_spoken(node.route)}"
            f"{', and goes on' if node.goes_on else ''}",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
        ahead += [(depth + 1, child) for child in reversed(node.children)]
    for policy in going_by.escalations:
        for step in policy.steps:
            after = format_duration(step.group_wait)
            out.print(
                f"escalation {written(policy.matchers)}: after {after} -> {step.receiver}",
                markup=False, highlight=False, soft_wrap=True,
            )  # fmt: skip


def try_routes(settings: Settings, labels: Sequence[str], *, as_json: bool = False) -> None:
    """Print which receivers an alert with ``labels`` (name=value) goes to, and the way there.

    Raises:
        CommandFailed: the labels or the configuration can't be used.
    """
    alert = dict(map(given_label, labels))
    going_by = usable_plan(settings)
    taken = going_by.routing()(alert)
    if as_json:
        print(orjson.dumps([_document(route, alert) for route in taken]).decode())
        return
    out = console()

    def say(text: str) -> None:
        out.print(text, markup=False, highlight=False, soft_wrap=True)

    for step in explain(going_by.root, alert):
        say(str(step))
    now = SystemClock().now()
    for route in taken:
        group = group_key(route.key, group_labels(alert, route.group_by))
        say(f"{route.receiver}: {_spoken(route)}; group {group}")
        for name in route.mute:
            if any_contains(going_by.intervals[name], now):
                say(f"  now mute: {name}")
        if route.active and not any(any_contains(going_by.intervals[n], now) for n in route.active):
            say(f"  now inactive: outside of {', '.join(route.active)}")
    for rule in going_by.rules:
        if matches(rule.target, alert):
            equal = ", ".join(rule.equal)
            say(
                f"held back while {written(rule.source)} fires"
                + (f" with the same {equal}" if equal else "")
            )


def usable_plan(settings: Settings) -> Plan:
    """Return what the notifier goes by.

    Raises:
        CommandFailed: the configuration can't be used.
    """
    try:
        return plan(settings.notifier)
    except ValueError as error:
        raise CommandFailed(f"notifier: {error}") from None


def _spoken(route: Route) -> str:
    by = ", ".join(sorted(route.group_by)) or "nothing"
    times = (route.group_wait, route.group_interval, route.repeat_interval)
    wait, interval, repeat = map(format_duration, times)
    channels = ", ".join(one.name for one in route.integrations) or "no channel"
    flapping = f", damps {route.flapping}" if route.flapping else ""
    if route.digest is not None:
        return f"{route.receiver} ({channels}), by {by}, a digest at {route.digest}{flapping}"
    return (
        f"{route.receiver} ({channels}), by {by}, wait {wait}, interval {interval}, repeat {repeat}"
        f"{flapping}"
    )


def _document(route: Route, alert: dict[str, str]) -> dict[str, Any]:
    return {
        "receiver": route.receiver,
        "channels": [one.name for one in route.integrations],
        "route": route.key,
        "groupKey": group_key(route.key, group_labels(alert, route.group_by)),
        "groupWait": format_duration(route.group_wait),
        "groupInterval": format_duration(route.group_interval),
        "repeatInterval": format_duration(route.repeat_interval),
        "escalation": route.escalates,
        "flapping": str(route.flapping) if route.flapping else None,
        "digest": str(route.digest) if route.digest else None,
    }
