"""A backtest of rules as a page: one file, which needs nothing from elsewhere."""

from __future__ import annotations

from datetime import datetime
from html import escape
from typing import Any, Final

__all__ = ["page"]

_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem;color:#222}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin:2rem 0 .3rem}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.2rem .6rem .2rem 0;border-bottom:1px solid #ddd;vertical-align:top}
.n{text-align:right;font-variant-numeric:tabular-nums}.bar{position:relative;height:1rem;background:#eef;
min-width:20rem}.bar i{position:absolute;top:0;bottom:0;min-width:2px;background:#c33}
code{font-size:.9em}.quiet{color:#777}@media (prefers-color-scheme:dark){body{background:#181818;color:#ddd}
td,th{border-color:#444}.bar{background:#334}}
"""


def page(report: dict[str, Any]) -> str:
    """Return HTML of a report, see ``flows.commands.rules_backtest_report``."""
    begin, end = (datetime.fromisoformat(report[key]).timestamp() for key in ("begin", "end"))
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Backtest of rules</title>",
        f"<style>{_STYLE}</style><h1>Backtest of rules</h1>",
        f"<p>{escape(report['begin'])} to {escape(report['end'])}: {report['samples']} samples, "
        f"{report['evaluations']} evaluations of groups.</p>",
        "<table><tr><th>Alert<th>Group<th>File<th class=n>Fired<th class=n>Seconds<th>When</tr>",
    ]
    for rule in sorted(report["rules"], key=lambda rule: -rule["firing_seconds"]):
        quiet = "" if rule["fired"] else " class=quiet"
        parts.append(
            f"<tr{quiet}><td>{escape(rule['alert'])}<td>{escape(rule['group'])}"
            f"<td><code>{escape(rule['file'])}</code><td class=n>{rule['fired']}"
            f"<td class=n>{rule['firing_seconds']:.0f}<td>{_bar(rule['firings'], begin, end)}</tr>"
        )
    parts.append("</table>")
    if (difference := report.get("compared")) is not None:
        parts.append(_difference(difference))
    for rule in report["rules"]:
        if rule["fired"]:
            parts.append(f"<h2>{escape(rule['alert'])}</h2>{_firings(rule['firings'])}")
    if report["failures"]:
        parts.append("<h2>Rules without a result</h2><table>")
        parts += [
            f"<tr><td>{escape(one['rule'])}<td class=n>{one['times']}<td>{escape(one['reason'])}"
            for one in report["failures"]
        ]
        parts.append("</table>")
    return "\n".join(parts) + "\n"


def _bar(firings: list[dict[str, Any]], begin: float, end: float) -> str:
    length = max(end - begin, 1e-9)
    marks = []
    for one in firings:
        start = (datetime.fromisoformat(one["startsAt"]).timestamp() - begin) / length
        ends = one["endsAt"]
        stop = 1.0 if ends is None else (datetime.fromisoformat(ends).timestamp() - begin) / length
        marks.append(
            f"<i style='left:{start * 100:.3f}%;width:{max(stop - start, 0) * 100:.3f}%'"
            f' title="{escape(one["startsAt"])}"></i>'
        )
    return f"<div class=bar>{''.join(marks)}</div>"


def _firings(firings: list[dict[str, Any]]) -> str:
    rows = [
        f"<tr><td>{escape(one['startsAt'])}<td>{escape(one['endsAt'] or 'fires')}"
        f"<td class=n>{_number(one['value'])}"
        f"<td><code>{_labels(one['labels'])}</code>"
        f"<td>{escape(one['annotations'].get('summary', ''))}</tr>"
        for one in firings
    ]
    head = "<tr><th>From<th>To<th class=n>Value<th>Labels<th>Summary</tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def _difference(difference: dict[str, Any]) -> str:
    parts = [f"<h2>Against the other version</h2><p>{difference['same']} the same.</p>"]
    for key, title in (("only_here", "More"), ("only_there", "Fewer")):
        if difference[key]:
            parts.append(f"<h2>{title}</h2>{_firings(difference[key])}")
    return "".join(parts)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _labels(labels: dict[str, str]) -> str:
    return escape(", ".join(f'{k}="{v}"' for k, v in sorted(labels.items()) if k != "alertname"))
