"""Half an hour of telemetry with one incident, for dashboards to show."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from operators.contracts.alert import Status, alert_event, encode_event
from operators.contracts.frames import ALERT_EVENTS, QUANTILES, SCORES
from tests.sinks.log_records import records

SECOND = 1_000_000_000
SPAN = 1_800  # seconds
END = int(time.time()) // 60 * 60
START = END - SPAN

CHECKOUT = {"service.name": "checkout", "host.name": "web-2"}
INCIDENT = (START + 900, START + 960)
"""Seconds in which the processor of web-2 is far busier than expected."""


@dataclass(frozen=True)
class Series:
    """A series, and how large it is; a counter's level is its rate, a histogram's its mean."""

    name: str
    labels: Mapping[str, str]
    kind: str = "gauge"
    level: float = 1.0
    often: float = 0.0  # a histogram's observations a second
    unit: str = "1"


CPU = "system.cpu.utilization"
REQUESTS = "http.server.requests"
DURATION = "http.server.request.duration"
STATUS = "http.response.status_code"
HISTOGRAM = "cumulative_histogram"

SERVICES = [
    Series(CPU, {"service.name": "checkout", "host.name": "web-1"}, level=0.3),
    Series(CPU, CHECKOUT, level=0.3),
    Series(CPU, {"service.name": "pay/ments (eu)", "host.name": "web-3"}, level=0.2),
    Series(
        REQUESTS,
        {"service.name": "cart", "host.name": "web-1"},
        "cumulative",
        level=40.0,
        unit="{request}",
    ),
    Series("room.temperature", {"room": "2.17"}, level=21.0, unit=""),
    Series(DURATION, {"service.name": "cart", STATUS: "200"}, HISTOGRAM, 0.2, 36.0, "s"),
    Series(DURATION, {"service.name": "cart", STATUS: "503"}, HISTOGRAM, 0.2, 4.0, "s"),
]

FLOW = {"service.name": "headrace", "flow": "metrics"}


def _counter(name: str, level: float = 1.0, **labels: str) -> Series:
    return Series(name, FLOW | labels, "cumulative", level)


def _gauge(name: str, level: float, **labels: str) -> Series:
    return Series(name, FLOW | labels, "gauge", level)


HEADRACE = [
    _counter("headrace_points_decoded_total", 5_000, topic="otlp_metrics"),
    _counter("headrace_rollups_total", 80, window="10s", revised="no"),
    _counter("headrace_scores_total", 79, verdict="normal"),
    _counter("headrace_scores_total", 1, verdict="anomalous"),
    _counter("headrace_sink_rows_total", 80, sink="influxdb"),
    _counter("headrace_sink_retries_total", 0.1, sink="elasticsearch"),
    _counter("headrace_source_errors_total", 0.1, topic="otlp_metrics", code="_TRANSPORT"),
    _counter("headrace_late_points_total", 0.2, reason="late"),
    _counter("headrace_points_skipped_total", 3, reason="histogram"),
    _counter("headrace_dead_letters_total", 0.1, origin="input"),
    _counter("headrace_alert_events_total", 0.1, kind="anomaly", status="firing"),
    _counter("headrace_notifications_total", 0.1, channel="console"),
    _counter("headrace_notification_failures_total", 0.1, channel="slack"),
    _counter("process_cpu_seconds_total", 0.4),
    _gauge("process_resident_memory_bytes", 3e8),
    _gauge("headrace_watermark_lag_seconds", 7, shard="3"),
    _gauge("headrace_watermark_lag_seconds", 9, shard="4"),
    _gauge("headrace_source_lag_messages", 120, topic="otlp_metrics", partition="0"),
    _gauge("headrace_source_lag_messages", 130, topic="otlp_metrics", partition="1"),
    _gauge("headrace_open_series", 800, shard="3"),
    _gauge("headrace_sink_blocked", 0, sink="influxdb"),
    _gauge("headrace_sink_blocked", 1, sink="elasticsearch"),
]


def scores(series: list[Series], window: int) -> pl.DataFrame:
    """Return a SCORES frame: every window (seconds) of every series, scored but for the first."""
    frames = [_rollups(number, one, window) for number, one in enumerate(series)]
    return pl.concat(frames)


def _rollups(number: int, series: Series, window: int) -> pl.DataFrame:
    starts = range(START, END, window)
    incident = [
        series.labels == CHECKOUT and INCIDENT[0] <= start < INCIDENT[1] for start in starts
    ]
    level = [series.level * (1.0 + 0.05 * math.sin(start / 60)) for start in starts]
    values = [value * 3 if bad else value for value, bad in zip(level, incident, strict=True)]
    counts = series.kind == "cumulative"
    frame = pl.DataFrame({"window_start": starts, "value": values, "incident": incident})
    value, total = pl.col("value"), pl.col("value").cum_sum() * window + 1e6
    none = pl.lit(None, pl.Float64)
    rate = value if counts else pl.lit(series.often) if series.often else none
    scored = pl.col("window_start") > START
    rollups = frame.select(
        tenant=pl.lit("default"),
        series=pl.lit(number + 1),
        name=pl.lit(series.name),
        labels=pl.lit(json.dumps(series.labels, sort_keys=True)),
        unit=pl.lit(series.unit),
        kind=pl.lit(series.kind),
        window=pl.lit(window * SECOND),
        window_start=pl.col("window_start") * SECOND,
        count=pl.lit(2),
        sum=total * 2 if counts else value * 2,
        min=total if counts else value,
        max=total if counts else value,
        mean=total if counts else value,
        last=total if counts else value,
        increase=rate * window,
        rate=rate,
        **{name: value * (0.5 + q) if series.often else none for name, q in QUANTILES.items()},
        revision=pl.lit(0),
        score=pl.when(scored).then(pl.when("incident").then(4.0).otherwise(0.2)),
        expected=pl.when(scored).then(pl.lit(series.level)),
        lower=pl.when(scored).then(pl.lit(series.level * 0.9)),
        upper=pl.when(scored).then(pl.lit(series.level * 1.1)),
        detector=pl.when(scored).then(pl.lit("robust_ewma")),
    )
    return rollups.select(SCORES.names()).cast(SCORES)


def logs() -> pl.DataFrame:
    """Return records of half an hour, each sixth of them an error with an exception."""
    rows = []
    for number in range(60):
        row: dict[str, object] = {"ts": (START + 30 * number) * SECOND, "template": 1 + number % 3}
        if number % 6 == 0:
            row |= {"severity": 17, "severity_text": "ERROR", "exception": "e" * 16}
        rows.append(row)
    return records(*rows)


def alerts() -> pl.DataFrame:
    """Return an ALERT_EVENTS frame: the incident fires and resolves, another one only fires."""
    first, last = INCIDENT
    cpu, requests = SERVICES[1], SERVICES[3]
    changes: list[tuple[Series, Status, int, int, int | None]] = [
        (cpu, "firing", first + 20, first, None),
        (cpu, "resolved", last + 30, first, last),
        (requests, "firing", END - 60, END - 80, None),
    ]
    events = [
        alert_event(
            status=status,
            kind="anomaly",
            labels={
                **series.labels,
                "alertname": "MetricAnomaly", "metric": series.name, "severity": "warning",
            },
            annotations={"summary": f"{series.name} of {series.labels['service.name']}: {status}"},
            starts_at=since * SECOND,
            ends_at=until * SECOND if until else None,
            value=series.level * 3,
        )
        for series, status, _, since, until in changes
    ]  # fmt: skip
    return pl.DataFrame(
        {
            "id": [event["id"] for event in events],
            "fingerprint": [event["fingerprint"] for event in events],
            "status": [event["status"] for event in events],
            "at": [at * SECOND for _, _, at, _, _ in changes],
            "event": [encode_event(event) for event in events],
        },
        schema=ALERT_EVENTS,
    )
