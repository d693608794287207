"""``headrace trace show``: a trace that was kept, as a waterfall."""

from __future__ import annotations

import time
from typing import Any, Final

import polars as pl
from rich.text import Text

from flows.commands.failure import USAGE, CommandFailed
from flows.commands.terminal import console, printable, table, write_json
from flows.commands.topic_values import topic_values
from flows.settings import Settings
from operators.columns.batches import decode_batch
from operators.contracts.batch_form import SPAN_BATCHES
from operators.contracts.frames import DEFAULT_TENANT, SPANS, empty
from operators.traces.paths import Call, PathStep, walk
from sinks.span_documents import span_document

__all__ = ["show_trace"]

_DIGITS: Final = 32
_FAILED: Final = 2
_WIDTH: Final = 40
_KEYS: Final = ("tenant", "trace_id", "span_id", "kind")
_DEEPEST: Final = 40
"""Levels that are told apart by how far they stand to the right."""
_MOST: Final = 2000
"""Spans that are shown of a trace."""


def show_trace(
    settings: Settings, trace: str, since: int, *, tenant: str | None = None, as_json: bool
) -> None:
    """Write a trace.

    Args:
        settings: the brokers and the topic of spans.
        trace: its id.
        since: how far back, in nanoseconds, its spans were written.
        tenant: whose; needed where several have one of that id.
        as_json: a document instead of a picture.

    Raises:
        CommandFailed: there is no such trace, or there are several.
    """
    wanted = trace.strip().lower()
    if len(wanted) == _DIGITS // 2:  # as Zipkin and Jaeger write those of 64 bits
        wanted = wanted.zfill(_DIGITS)
    if len(wanted) != _DIGITS or set(wanted) - set("0123456789abcdef"):
        raise CommandFailed(
            f"{trace}: not the id of a trace: {_DIGITS} hexadecimal digits, or 16", USAGE
        )
    topic = settings.topics.spans
    begin = max(int(time.time() * 1000) - since // 1_000_000, 0)
    frames = [
        decode_batch(value, SPAN_BATCHES).filter(pl.col("trace_id") == wanted)
        for _, value in topic_values(settings, topic, begin)
    ]
    spans = pl.concat([empty(SPANS), *frames]).unique(_KEYS, keep="first", maintain_order=True)
    if not spans.height:
        raise CommandFailed(
            f"topic {topic}: no span of {wanted} in that time (it was not kept, or look further back: "
            "--since)"
        )
    rows = _of_one(spans, wanted, tenant).rows(named=True)
    steps = walk([_call(row) for row in rows])
    if as_json:
        write_json(
            {
                "schema": "headrace.trace/v1",
                "trace_id": wanted,
                "tenant": rows[0]["tenant"],
                "spans": [
                    {**span_document(rows[step.index]), "depth": step.depth, "self": step.own, "path": step.path}
                    for step in steps
                ],
            },
            indent=True,
        )  # fmt: skip
        return
    _show(rows, steps)


def _of_one(spans: pl.DataFrame, trace: str, tenant: str | None) -> pl.DataFrame:
    """Return the spans of one tenant: others may have a trace of that id."""
    tenants = sorted(spans["tenant"].unique())
    if tenant is None and len(tenants) > 1:
        raise CommandFailed(
            f"{trace}: several tenants have a trace of that id: give --tenant ({', '.join(tenants)})",
            USAGE,
        )
    if tenant is not None and tenant not in tenants:
        raise CommandFailed(f"{trace}: not of tenant {tenant} but of {', '.join(tenants)}")
    return spans.filter(pl.col("tenant") == (tenants[0] if tenant is None else tenant))


def _call(row: dict[str, Any]) -> Call:
    return Call(row["span_id"], row["parent_span_id"], row["begun"], row["ended"], row["kind"])


def _show(rows: list[dict[str, Any]], steps: list[PathStep]) -> None:
    begin, end = min(row["begun"] for row in rows), max(row["ended"] for row in rows)
    first = rows[0]
    reason = f"kept: {first['reason']}" if first["reason"] else "kept"
    services = len({row["service"] for row in rows})
    whose = "" if first["tenant"] == DEFAULT_TENANT else f"tenant {printable(first['tenant'])}, "
    out = console()
    out.print(
        f"{first['trace_id']}  {whose}{_length(end - begin)}, {len(rows)} spans of {services} services, {reason}"
    )
    shown = _shown(rows, steps)
    numbers = ("TOOK", "SELF", "PATH")
    made = table("SERVICE", "SPAN", *numbers, "", right=numbers)
    for step in shown:
        row = rows[step.index]
        document = span_document(row)
        failed = document["status"] == "Error"
        name = Text(_indented(step.depth) + printable(document.get("name", "")))
        if failed:
            said = document.get("status_message", "")
            name = name.append(
                f"  failed{': ' + printable(said) if said else ''}", style="bold red"
            )
        made.add_row(
            printable(row["service"]),
            name,
            _length(row["ended"] - row["begun"]),
            _length(step.own),
            _length(step.path) if step.path else "",
            _bar(row, begin, end, on_path=step.path > 0),
        )
        for event in document.get("events", ()):
            said = event.get("attributes", {})
            kind, message = said.get("exception.type", ""), said.get("exception.message", "")
            if kind or message:
                text = printable(f"{kind}: {message}" if kind else str(message))
                made.add_row(
                    "", Text(_indented(step.depth + 1) + text, style="red"), "", "", "", ""
                )
    out.print(made)
    if len(shown) < len(steps):
        out.print(
            f"and {len(steps) - len(shown)} other spans: these are those that failed, of the critical path, "
            "and the longest; --json has all"
        )


def _shown(rows: list[dict[str, Any]], steps: list[PathStep]) -> list[PathStep]:
    """Return the steps that a page has room for, in their order: those that tell most."""
    if len(steps) <= _MOST:
        return steps

    def tells(number: int) -> tuple[bool, bool, int]:
        row = rows[steps[number].index]
        return row["status"] == _FAILED, steps[number].path > 0, row["ended"] - row["begun"]

    chosen = sorted(range(len(steps)), key=tells, reverse=True)[:_MOST]
    return [steps[number] for number in sorted(chosen)]


def _indented(depth: int) -> str:
    """Return what stands before a name; of a deep one how deep it is."""
    return "  " * depth if depth <= _DEEPEST else "  " * _DEEPEST + f"({depth}) "


def _bar(row: dict[str, Any], begin: int, end: int, *, on_path: bool) -> Text:
    whole = max(end - begin, 1)
    start = (row["begun"] - begin) * _WIDTH // whole
    length = max((row["ended"] - row["begun"]) * _WIDTH // whole, 1)
    mark = "━" if on_path else "─"
    return Text(
        " " * start + mark * min(length, _WIDTH - start + 1), style="bold" if on_path else ""
    )


def _length(nanoseconds: int) -> str:
    for size, unit in ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs")):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds} ns"
