"""Which topics flow ``storage`` carries where, made from the settings.

To add a destination: write its sink, and a few lines here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import polars as pl

from flows.settings import Settings
from operators.columns.batches import decode_batch
from operators.contracts.batch_form import LOG_BATCHES, ROLLUP_BATCHES, SPAN_BATCHES
from sinks.base import Destination
from sinks.carriers import Intake

__all__ = ["destinations", "intakes", "keeps_spans"]

_SOON: Final = 0.1
"""Seconds for which rows are gathered where each request costs the server something."""
_FILES: Final = 1.0
"""Where each write is files, or parts of a table that have to be merged."""
_WHOLE: Final = 2.0
"""Where a write changes a document as a whole: until all shards have told of a window."""


def destinations(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Return the topics that each destination takes in."""
    topics, sinks = settings.topics, settings.sinks
    found: dict[str, tuple[str, ...]] = {}
    if sinks.influxdb is not None:
        found["influxdb"] = (topics.rollups,)
    found |= _to_elasticsearch(settings)
    if sinks.clickhouse is not None:
        if settings.inputs_of("logs"):
            found["clickhouse_logs"] = (topics.logs,)
        if keeps_spans(settings):
            found["clickhouse_spans"] = (topics.spans,)
    if sinks.lake is not None:
        found["lake"] = (topics.rollups,)
        if settings.inputs_of("logs"):
            found["lake_logs"] = (topics.logs,)
        if keeps_spans(settings):
            found["lake_spans"] = (topics.spans,)
    if sinks.otlp is not None and keeps_spans(settings):
        found["otlp"] = (topics.spans,)
    if topics.rollups_json is not None:
        found["rollups_json"] = (topics.rollups,)
    return found


def _to_elasticsearch(settings: Settings) -> dict[str, tuple[str, ...]]:
    topics, sink = settings.topics, settings.sinks.elasticsearch
    if sink is None:
        return {}
    spans = (topics.spans,) if keeps_spans(settings) else ()
    others = (topics.anomalies, topics.alerts, topics.notifications, topics.incidents)
    found: dict[str, tuple[str, ...]] = {"elasticsearch": (*others, *spans)}
    if settings.inputs_of("logs"):
        found["elasticsearch_logs"] = (topics.logs,)
    if sink.jaeger is not None and spans:
        found["elasticsearch_jaeger"] = spans
    if sink.jaeger is not None and settings.inputs_of("traces"):
        found["elasticsearch_jaeger_calls"] = (topics.rollups,)
    return found


def keeps_spans(settings: Settings) -> bool:
    """Say whether the flow traces writes spans that are kept."""
    return bool(settings.inputs_of("traces")) and settings.traces.sampling is not None


def intakes(settings: Settings) -> list[Intake]:
    """Return what each destination takes in, and how it is connected."""
    make = {
        "influxdb": _influxdb, "elasticsearch": _elasticsearch, "lake": _lake,
        "elasticsearch_logs": _elasticsearch_logs, "lake_logs": _lake_logs,
        "rollups_json": _rollups_json, "otlp": _otlp, "lake_spans": _lake_spans,
        "elasticsearch_jaeger": _elasticsearch_jaeger, "clickhouse_logs": _clickhouse_logs,
        "clickhouse_spans": _clickhouse_spans,
        "elasticsearch_jaeger_calls": _elasticsearch_jaeger_calls,
    }  # fmt: skip
    return [make[name](settings) for name in destinations(settings)]


_Decode = Callable[[memoryview], pl.DataFrame]
_Section = TypeVar("_Section")

_rollups: Final[_Decode] = partial(decode_batch, form=ROLLUP_BATCHES)
_logs: Final[_Decode] = partial(decode_batch, form=LOG_BATCHES)
_spans: Final[_Decode] = partial(decode_batch, form=SPAN_BATCHES)


def _of_batches(
    name: str, topic: str, decode: _Decode, sink: _Section | None,
    connect: Callable[[_Section], Destination], linger: float,
) -> Intake:  # fmt: skip
    """Return the intake of a destination that takes in the batches of one topic as they are."""
    assert sink is not None
    return Intake(name, {topic: decode}, lambda: connect(sink), linger)


# What a destination needs is imported where there is one: the start of a flow waits for imports.


def _influxdb(settings: Settings) -> Intake:
    from sinks.influxdb import InfluxDB  # noqa: PLC0415

    topic, sink = settings.topics.rollups, settings.sinks.influxdb
    return _of_batches("influxdb", topic, _rollups, sink, InfluxDB, _SOON)


def _elasticsearch(settings: Settings) -> Intake:
    from sinks.documents import (  # noqa: PLC0415
        alert_documents,
        anomaly_documents,
        incident_documents,
        notification_documents,
    )
    from sinks.elasticsearch import Elasticsearch  # noqa: PLC0415
    from sinks.kafka import read_alert_message  # noqa: PLC0415

    sink = settings.sinks.elasticsearch
    assert sink is not None
    spans: dict[str, _Decode] = {}
    if keeps_spans(settings):
        from sinks.span_documents import span_documents  # noqa: PLC0415

        spans[settings.topics.spans] = lambda value: span_documents(_spans(value), sink.namespace)
    return Intake(
        "elasticsearch",
        {
            **spans,
            settings.topics.anomalies: lambda value: anomaly_documents(
                _rollups(value), sink.namespace
            ),
            settings.topics.alerts: lambda value: alert_documents(
                read_alert_message(value), sink.namespace
            ),
            settings.topics.notifications: partial(
                notification_documents, namespace=sink.namespace
            ),
            settings.topics.incidents: partial(incident_documents, namespace=sink.namespace),
        },
        lambda: Elasticsearch(sink),
        _SOON,
    )


def _lake(settings: Settings) -> Intake:
    from sinks.lake import Lake  # noqa: PLC0415

    topic, sink = settings.topics.rollups, settings.sinks.lake
    return _of_batches("lake", topic, _rollups, sink, Lake, _FILES)


def _elasticsearch_logs(settings: Settings) -> Intake:
    """Records of logs have readers of their own, so that no alert waits behind them."""
    from sinks.elasticsearch import Elasticsearch  # noqa: PLC0415
    from sinks.log_documents import compile_kernels, log_documents  # noqa: PLC0415

    sink = settings.sinks.elasticsearch
    assert sink is not None
    compile_kernels()
    return Intake(
        "elasticsearch_logs",
        {settings.topics.logs: lambda value: log_documents(_logs(value), sink.namespace)},
        lambda: Elasticsearch(sink),
        _SOON,
    )


def _lake_logs(settings: Settings) -> Intake:
    from sinks.log_lake import LogLake  # noqa: PLC0415

    topic, sink = settings.topics.logs, settings.sinks.lake
    return _of_batches("lake_logs", topic, _logs, sink, LogLake, _FILES)


def _clickhouse_logs(settings: Settings) -> Intake:
    from sinks.clickhouse_logs import ClickHouseLogs, compile_kernels  # noqa: PLC0415

    compile_kernels()
    topic, sink = settings.topics.logs, settings.sinks.clickhouse
    return _of_batches("clickhouse_logs", topic, _logs, sink, ClickHouseLogs, _FILES)


def _clickhouse_spans(settings: Settings) -> Intake:
    from sinks.clickhouse_spans import ClickHouseSpans  # noqa: PLC0415

    topic, sink = settings.topics.spans, settings.sinks.clickhouse
    return _of_batches("clickhouse_spans", topic, _spans, sink, ClickHouseSpans, _FILES)


def _elasticsearch_jaeger(settings: Settings) -> Intake:
    from sinks.jaeger import JaegerElasticsearch  # noqa: PLC0415
    from sinks.jaeger_documents import jaeger_documents  # noqa: PLC0415

    sink = settings.sinks.elasticsearch
    assert sink is not None
    assert sink.jaeger is not None
    prefix = sink.jaeger.index_prefix
    return Intake(
        "elasticsearch_jaeger",
        {settings.topics.spans: lambda value: jaeger_documents(_spans(value), prefix)},
        lambda: JaegerElasticsearch(sink),
        _SOON,
    )


def _elasticsearch_jaeger_calls(settings: Settings) -> Intake:
    from sinks.jaeger_calls import JaegerCalls  # noqa: PLC0415
    from sinks.jaeger_hours import service_calls  # noqa: PLC0415

    sink = settings.sinks.elasticsearch
    assert sink is not None
    assert sink.jaeger is not None
    prefix, window = sink.jaeger.index_prefix, settings.rollups.windows[-1]
    return Intake(
        "elasticsearch_jaeger_calls",
        {settings.topics.rollups: lambda value: service_calls(_rollups(value), window)},
        lambda: JaegerCalls(sink, prefix, window),
        _WHOLE,
    )


def _lake_spans(settings: Settings) -> Intake:
    from sinks.span_lake import SpanLake  # noqa: PLC0415

    topic, sink = settings.topics.spans, settings.sinks.lake
    return _of_batches("lake_spans", topic, _spans, sink, SpanLake, _FILES)


def _otlp(settings: Settings) -> Intake:
    from sinks.otlp import OTLP  # noqa: PLC0415
    from sinks.otlp_encoding import compile_kernels  # noqa: PLC0415

    compile_kernels()
    return _of_batches("otlp", settings.topics.spans, _spans, settings.sinks.otlp, OTLP, _SOON)


def _rollups_json(settings: Settings) -> Intake:
    from sinks.kafka import KafkaDestination, rollup_messages  # noqa: PLC0415

    topic = settings.topics.rollups_json
    assert topic is not None
    return Intake(
        "rollups_json",
        {settings.topics.rollups: lambda value: rollup_messages(_rollups(value), topic)},
        lambda: _named("rollups_json", KafkaDestination(settings.kafka)),
        _SOON,
    )


def _named(name: str, destination: Destination) -> Destination:
    destination.name = name
    return destination
