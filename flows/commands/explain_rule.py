"""`headrace rules explain`: the series and values behind an alert at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from flows.commands.failure import CommandFailed
from flows.commands.given import given_label
from flows.commands.instants import instant
from flows.commands.rules_backtest import history, of_files
from flows.commands.terminal import write_json
from flows.settings import Settings
from operators.contracts.frames import DEFAULT_TENANT
from operators.rules.backtest import Backtest
from operators.rules.explaining import ExplainedPart, explained
from operators.rules.files import FileGroup, Rule

__all__ = ["explain"]

_SHOWN = 20
_MS = 1_000_000


def explain(
    settings: Settings,
    alert: str,
    files: Sequence[Path],
    *,
    at: str,
    labels: Sequence[str],
    source: str,
    tenant: str = DEFAULT_TENANT,
    as_json: bool,
) -> None:
    """Say what a rule's expression and each part of it gave at a time, and of which samples.

    Args:
        settings: say how rules are evaluated, and what there is to read.
        alert: name of an alerting or recording rule.
        files: the rule files; those of the settings if there is none.
        at: the time; the last evaluation until then is explained.
        labels: ``name=value``: only series that have these, or have no such label.
        source: ``inputs``, ``samples`` or ``lake``.
        tenant: whose series.
        as_json: write a document for programs.

    Raises:
        CommandFailed: there is no such rule, or nothing can be read.
    """
    rules = of_files(settings.rules, files)
    found = [
        (group, rule) for group in rules().groups for rule in group.rules if rule.name == alert
    ]
    if not found:
        names = sorted({rule.name for group in rules().groups for rule in group.rules})
        raise CommandFailed(f"there is no rule {alert} (there are: {', '.join(names)})")
    wanted = dict(given_label(text) for text in labels)
    moment = instant(at, "--at")
    shown: list[dict[str, Any]] = []
    for group, rule in found:
        time = moment // _MS // group.interval * group.interval
        run = Backtest(rules, settings.rules, settings.kafka.readers, settings.fixed_tenants)
        for frame in history(settings, rules, source, None, time * _MS + 1):
            run.take(frame)
        run.finish()
        running = run.logic.tenants.get(tenant)
        if running is None:
            raise CommandFailed(f"there is no sample of the tenant {tenant} until then")
        parts = explained(running.plan, rule, time - (group.offset or 0), wanted)
        alerts = [
            one
            for one in running.alerts(group, rule.name)
            if all(one["labels"].get(k, v) == v for k, v in wanted.items())
        ]
        shown.append(_document(group, rule, time, alerts, parts))
    if as_json:
        write_json({"schema": "headrace.explanation/v1", "rules": shown}, indent=True)
    else:
        for one in shown:
            _show(one)


def _document(
    group: FileGroup,
    rule: Rule,
    time: int,
    alerts: list[dict[str, Any]],
    parts: list[ExplainedPart],
) -> dict[str, Any]:
    return {
        "file": group.file,
        "group": group.name,
        "rule": rule.name,
        "at": _text(time),
        "alerts": alerts,
        "parts": [
            {
                "depth": part.depth,
                "expression": part.expression,
                "series": [
                    {"labels": labels, "samples": [[_text(ts), v] for ts, v in value]}
                    if isinstance(value, list)
                    else {"labels": labels, "value": value}
                    for labels, value in part.rows
                ],
                "left_out": part.left_out,
                **({"fault": part.fault} if part.fault else {}),
            }
            for part in parts
        ],
    }


def _show(document: dict[str, Any]) -> None:
    typer.echo(f"{document['rule']} of {document['file']}, {document['group']}, {document['at']}")
    for alert in document["alerts"]:
        typer.echo(f"  {alert['state']} since {alert['activeAt']}: {_name(alert['labels'])}")
    for part in document["parts"]:
        indent = "  " * (part["depth"] + 1)
        typer.echo(f"{indent}{part['expression']}")
        if "fault" in part:
            typer.echo(f"{indent}    no result: {part['fault']}")
        elif not part["series"]:
            typer.echo(f"{indent}    nothing")
        for one in part["series"][:_SHOWN]:
            if "samples" in one:
                values = " ".join(
                    f"{ts[11:19]}={_shown(value)}" for ts, value in one["samples"][-_SHOWN:]
                )
            else:
                values = _shown(one["value"])
            typer.echo(f"{indent}    {_name(one['labels'])} {values}")
        more = part["left_out"] + max(len(part["series"]) - _SHOWN, 0)
        if more:
            typer.echo(f"{indent}    and {more} more")


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _name(labels: dict[str, str]) -> str:
    rest = ", ".join(f'{k}="{v}"' for k, v in sorted(labels.items()) if k != "__name__")
    return f"{labels.get('__name__', '')}{{{rest}}}"


def _text(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
