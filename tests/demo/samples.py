"""A short story, made up for tests: thirty windows of two seconds, and a fault in five of them."""

from __future__ import annotations

from typing import Any

import polars as pl
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from operators.contracts.alert import AlertEvent, Status, alert_event
from operators.contracts.frames import GROUPED_LOGS, QUANTILES, SCORES, SPANS
from tests.demo.observer import WRITTEN, Seen, WrittenEvent
from tests.demo.receiver import Notification
from tests.demo.story import Fault

SECOND = 1_000_000_000
START = 1_700_000_000
FAULT = Fault(began=START + 40.5, ended=START + 50.5)
DELAY = 1.5
"""Seconds from the end of a window to its rollup on the topic."""

LABELS = {"http.route": "/checkout", "service.name": "shop"}
ALERT = {**LABELS, "alertname": "MetricAnomaly", "metric": "http.server.request.latency"}


def rollups(anomalous: tuple[int, ...] = (21, 22, 23, 24, 25)) -> pl.DataFrame:
    """The latency of checkouts; it is judged from the fifteenth window on."""
    count = 30
    starts = [(START + 2 * number) * SECOND for number in range(count)]
    values = [200.0 if number in anomalous else 20.0 for number in range(count)]
    scores = [None if n < 15 else 18.0 if n in anomalous else 0.1 for n in range(count)]
    judged = [None if score is None else 1.0 for score in scores]
    return pl.DataFrame(
        {
            "tenant": "default",
            "series": pl.Series([7] * count, dtype=pl.UInt64),
            "name": "http.server.request.latency",
            "labels": '{"http.route":"/checkout","service.name":"shop"}',
            "unit": "ms",
            "kind": "gauge",
            "window": 2 * SECOND,
            "window_start": starts,
            "count": 2,
            "sum": [2 * value for value in values],
            "min": values,
            "max": values,
            "mean": values,
            "last": values,
            "increase": None,
            "rate": None,
            **dict.fromkeys(QUANTILES),
            "revision": 0,
            "score": scores,
            "expected": [value and 20.0 for value in judged],
            "lower": [value and 10.0 for value in judged],
            "upper": [value and 30.0 for value in judged],
            "detector": "robust_ewma",
            WRITTEN: [start / SECOND + 2 + DELAY for start in starts],
        },
        schema={**SCORES, WRITTEN: pl.Float64},
    )


def event(
    status: Status, starts_at: float, ends_at: float | None = None, **labels: str
) -> AlertEvent:
    return alert_event(
        status=status,
        kind="anomaly",
        labels={**ALERT, **labels},
        annotations={"summary": "http.server.request.latency of shop is 200"},
        starts_at=round(starts_at * SECOND),
        ends_at=None if ends_at is None else round(ends_at * SECOND),
        value=200.0,
    )


def notification(at: float, *events: AlertEvent, channel: str = "webhook") -> Notification:
    alerts: list[dict[str, Any]] = [
        {
            "status": one["status"],
            "labels": one["labels"],
            "annotations": one["annotations"],
            "startsAt": one["startsAt"],
            "endsAt": one["endsAt"],
            "fingerprint": one["fingerprint"],
        }
        for one in events
    ]
    body = {"status": "firing", "alerts": alerts, "groupLabels": {"service.name": "shop"}}
    return Notification(at, channel, body)


FIRING = event("firing", START + 42)
RESOLVED = event("resolved", START + 42, START + 52)


IN_LOGS = alert_event(
    status="firing",
    kind="logs",
    labels={"alertname": "NewException", "service": "shop", "exception": "e1", "type": "sqlite3.OperationalError"},
    annotations={"summary": "shop: sqlite3.OperationalError in order"},
    starts_at=(START + 42) * SECOND,
    ends_at=None,
    value=None,
    evidence={"sample": "Traceback (most recent call last):\nsqlite3.OperationalError: x", "traceIds": ["a" * 32]},
)  # fmt: skip


def log_records() -> pl.DataFrame:
    """Return a line of each ten seconds before the fault, and one every two seconds during it."""
    usual = [(START + 10 * n, 9, "INFO", "GET / 200", 3, "") for n in range(4)]
    failed = [
        (START + 41 + 2 * n, 17, "ERROR", f"order of product {n} failed", -5, "e1")
        for n in range(5)
    ]
    names = ("ts", "severity", "severity_text", "body", "template", "exception")
    nothing: dict[str, Any] = {
        name: "" if kind == pl.String else 0 for name, kind in GROUPED_LOGS.items()
    }
    rows: list[dict[str, Any]] = [
        nothing | dict(zip(names, row, strict=True)) | {"ts": row[0] * SECOND, "service": "shop", "weight": None}
        for row in usual + failed
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=GROUPED_LOGS)


def seen(*, resolved: bool = True, frame: pl.DataFrame | None = None) -> Seen:
    """The fault's alert fires 5 s after it began and is told 1 s later; then it resolves."""
    events = [WrittenEvent(START + 45.5, FIRING)]
    told = [notification(START + 46.5, FIRING)]
    if resolved:
        events.append(WrittenEvent(START + 59.5, RESOLVED))
        told.append(notification(START + 62.5, RESOLVED))
    return Seen(rollups() if frame is None else frame, tuple(events), tuple(told))


def kept_spans() -> pl.DataFrame:
    """Return a slow checkout of the fault, and a longer one from before it."""
    rows = []
    for trace, begin, spans in (
        ("a" * 32, START + 42, (("GET /checkout", "", 0, 300, 2, 0), ("POST payment", "1", 5, 25, 3, 0),
                                ("BEGIN IMMEDIATE", "1", 40, 290, 3, 2))),
        ("b" * 32, START + 3, (("GET /", "", 0, 900, 2, 0),)),
    ):  # fmt: skip
        for number, (name, parent, begun, ended, kind, status) in enumerate(spans, start=1):
            rows.append(
                {
                    "tenant": "default",
                    "trace_id": trace,
                    "span_id": str(number),
                    "parent_span_id": parent,
                    "service": "shop",
                    "operation": name,
                    "kind": kind,
                    "status": status,
                    "begun": begin * SECOND + begun * 1_000_000,
                    "ended": begin * SECOND + ended * 1_000_000,
                    "threshold": 0,
                    "reason": "slow",
                    "span": Span(name=name).SerializeToString(),
                    "resource": b"",
                    "scope": b"",
                }
            )
    return pl.DataFrame(rows, schema=SPANS)
