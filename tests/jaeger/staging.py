"""Puts the golden set into Elasticsearch three times, behind three Jaegers.

| indices | documents of | index templates of |
|---|---|---|
| `theirs` | Jaeger | Jaeger |
| `ours` | Headrace's flows `traces` and `storage` | `headrace setup` |
| `installed` | Headrace's sink | Jaeger |
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import polars as pl
from confluent_kafka import Producer

from flows.settings import ElasticsearchSection
from operators.columns.batches import decode_batches
from operators.contracts.batch_form import SPAN_BATCHES
from sinks.jaeger import JaegerElasticsearch, ensure_jaeger
from sinks.jaeger_calls import JaegerCalls
from sinks.jaeger_documents import jaeger_documents
from tests.backends.jaeger.server import JaegerServer
from tests.backends.topics import make_topics
from tests.flows.metrics_flow import MetricsFlow
from tests.flows.telemetry import values_of
from tests.jaeger.golden import OTHER_TENANT, GoldenTrace, as_sent
from tests.sinks.test_otlp import frame_of, span_row

__all__ = [
    "INSTALLED",
    "OURS",
    "THEIRS",
    "StagingError",
    "fill_by_flows",
    "fill_by_jaeger",
    "fill_by_sink",
    "fill_calls",
    "refresh",
    "send",
    "spans_of",
]

THEIRS, OURS, INSTALLED = "theirs", "ours", "installed"
_PATIENCE = 300


class StagingError(RuntimeError):
    """Spans that were sent are not all there."""


def send(jaeger: JaegerServer, traces: Sequence[GoldenTrace]) -> None:
    """Send each trace to Jaeger's collector."""
    headers = {"Content-Type": "application/x-protobuf"}
    with httpx.Client(timeout=60, headers=headers) as client:
        for trace in traces:
            client.post(jaeger.otlp_url, content=trace.message()).raise_for_status()


def fill_by_jaeger(jaeger: JaegerServer, traces: Sequence[GoldenTrace]) -> None:
    """Send each trace to Jaeger, and wait until all spans are there."""
    send(jaeger, traces)
    wanted = sum(len(trace.spans()) for trace in traces)
    deadline = time.monotonic() + _PATIENCE
    place = f"{jaeger.elasticsearch}/{jaeger.prefix}-jaeger-span-*/_count"
    while True:
        refresh(jaeger.elasticsearch)
        count = httpx.get(place, timeout=60).json()["count"]
        if count == wanted:
            return
        if time.monotonic() > deadline:
            raise StagingError(f"{count} of {wanted} spans are there:\n{jaeger.log_tail()}")
        time.sleep(0.5)


def fill_by_flows(
    directory: Path, kafka: str, elasticsearch: str, traces: Sequence[GoldenTrace]
) -> pl.DataFrame:
    """Send each trace to Kafka, and run the flows `traces` and `storage`; return the kept spans."""
    make_topics(kafka, ("spans-in", "spans-in-b"))
    producer = Producer({"bootstrap.servers": kafka})
    for trace in traces:
        topic = "spans-in-b" if trace.tenant else "spans-in"
        at = trace.ended // 1_000_000
        producer.produce(topic, trace.message(), timestamp=at)
    assert producer.flush(60) == 0
    flow = MetricsFlow(directory, kafka, "spans-in")
    flow.flow = "traces"
    flow.topics["spans"] = f"{flow.name}-spans"
    flow.settings["inputs"] = [
        {"topic": "spans-in", "signal": "traces"},
        {"topic": "spans-in-b", "signal": "traces", "tenant": OTHER_TENANT},
    ]
    flow.settings["traces"] = {"sampling": {"rest": 100_000}}  # all are kept
    flow.write_to_elasticsearch(elasticsearch)
    flow.settings["sinks"]["elasticsearch"]["jaeger"] = {"index_prefix": OURS}
    ensure_jaeger(_settings(elasticsearch, OURS), f"{OURS}-")
    try:
        process = flow.start("-w", "2", until="end", since="earliest")
        flow.wait_for_the_end(process, within=1_200)
    finally:
        flow.kill_all()
    letters = flow.dead_letters()
    if letters:
        raise StagingError(f"refused: {[letter.reason for letter in letters]}")
    return decode_batches(values_of(kafka, flow.topics["spans"]), SPAN_BATCHES)


def fill_by_sink(elasticsearch: str, prefix: str, spans: pl.DataFrame) -> None:
    """Write kept spans into the indices of a prefix."""
    sink = JaegerElasticsearch(_settings(elasticsearch, prefix))
    refused = sink.write(jaeger_documents(spans, f"{prefix}-"))
    sink.close()
    if refused is not None:
        raise StagingError(f"refused: {refused}")


def fill_calls(elasticsearch: str, prefix: str, calls: pl.DataFrame) -> None:
    """Write calls between services, of windows of a minute, into the indices of a prefix."""
    sink = JaegerCalls(_settings(elasticsearch, prefix), f"{prefix}-", 60 * 10**9)
    refused = sink.write(calls)
    sink.close()
    if refused is not None:
        raise StagingError(f"refused: {refused}")


def spans_of(traces: Sequence[GoldenTrace]) -> pl.DataFrame:
    """Return the spans of traces as the flow `traces` keeps them."""
    rows = []
    for trace in traces:
        for group in trace.data.resource_spans:
            for span in group.scope_spans[0].spans:
                parent = span.parent_span_id.hex()
                rows.append(
                    span_row(
                        int.from_bytes(span.span_id, "big"),
                        trace_id=trace.id, parent_span_id=parent, span=as_sent(span),
                        begun=span.start_time_unix_nano, ended=span.end_time_unix_nano,
                        resource=as_sent(group.resource), scope=b"",
                    )
                )  # fmt: skip
    return frame_of(*rows)


def refresh(elasticsearch: str) -> None:
    """Make all that was written be found."""
    httpx.post(f"{elasticsearch}/_refresh", timeout=60).raise_for_status()


def _settings(elasticsearch: str, prefix: str) -> ElasticsearchSection:
    return ElasticsearchSection.model_validate(
        {"hosts": [elasticsearch], "jaeger": {"index_prefix": prefix}, "timeout": "60s"}
    )
