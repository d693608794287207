"""What the logs said of the fault: the exceptions that were new, and the templates that rose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from tests.demo.story import Alert, Fault, Story

__all__ = ["Found", "LogView", "Template", "log_view"]

_MOST: Final = 8
_SAMPLE_LINES: Final = 12


@dataclass(frozen=True, slots=True)
class Found:
    """An exception that was new.

    Attributes:
        title: its type.
        summary: what the event says.
        after: seconds from the beginning of the fault to the event.
        told: seconds until somebody was told; None if nobody was.
        times: records in the lake that have it.
        sample: the end of its stack trace.
        trace: the trace that it was raised in, empty if none is known.
    """

    title: str
    summary: str
    after: float
    told: float | None
    times: int
    sample: str
    trace: str


@dataclass(frozen=True, slots=True)
class Template:
    """A template: its text, and how many of its lines came in a second, before the fault and during it."""

    text: str
    severity: str
    before: float
    during: float
    new: bool


@dataclass(frozen=True, slots=True)
class LogView:
    """What the report shows of logs."""

    records: int
    found: tuple[Found, ...]
    templates: tuple[Template, ...]


def log_view(
    records: pl.DataFrame, templates: Mapping[str, str], story: Story, fault: Fault
) -> LogView:
    """Return what the logs said.

    Args:
        records: a GROUPED_LOGS frame, of the lake.
        templates: texts by id, as they came over the topic of templates.
        story: with the events of logs.
        fault: when there was cause for it.
    """
    began = fault.began or 0.0
    found = tuple(
        _found(alert, records, began)
        for alert in story.of_logs
        if alert.firing["labels"]["alertname"] == "NewException" and alert.fired >= began
    )
    return LogView(records.height, found, tuple(_rates(records, templates, fault)))


def _found(alert: Alert, records: pl.DataFrame, began: float) -> Found:
    labels, evidence = alert.firing["labels"], alert.firing.get("evidence", {})
    traces = evidence.get("traceIds", [])
    return Found(
        title=labels.get("type", ""),
        summary=alert.firing["annotations"].get("summary", ""),
        after=alert.fired - began,
        told=None if alert.notified is None else alert.notified - began,
        times=records.filter(exception=labels["exception"]).height,
        sample="\n".join(str(evidence.get("sample", "")).splitlines()[-_SAMPLE_LINES:]),
        trace=traces[0] if traces else "",
    )


def _rates(records: pl.DataFrame, templates: Mapping[str, str], fault: Fault) -> list[Template]:
    """Return the templates by how much they rose, the most first."""
    if not records.height or fault.began is None or fault.ended is None:
        return []
    at = pl.col("ts") / 1e9
    first = float(records["ts"].min() or 0) / 1e9  # type: ignore[arg-type]
    before, during = max(fault.began - first, 1.0), max(fault.ended - fault.began, 1.0)
    rates = (
        records.filter(at < fault.ended)
        .group_by("template")
        .agg(
            ((at < fault.began).sum() / before).alias("before"),
            ((at >= fault.began).sum() / during).alias("during"),
            pl.last("severity_text"),
            pl.last("body"),
        )
        .sort(pl.col("during") - pl.col("before"), "template", descending=[True, False])
        .head(_MOST)
    )
    return [
        Template(
            text=templates.get(f"{row['template'] % 2**64:016x}", row["body"]),
            severity=row["severity_text"],
            before=row["before"],
            during=row["during"],
            new=row["before"] == 0,
        )
        for row in rates.rows(named=True)
    ]
