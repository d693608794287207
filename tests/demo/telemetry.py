"""How the demo's own programs send metrics, spans and logs: OpenTelemetry's SDK, once a second, over HTTP."""

from __future__ import annotations

import platform
from typing import Final

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

__all__ = ["logs_of", "metrics_of", "traces_of"]

_INTERVAL_MILLISECONDS: Final = 1_000


def metrics_of(service: str, endpoint: str) -> MeterProvider:
    """Return a provider that exports every second; the caller shuts it down.

    Args:
        service: the resource's `service.name`.
        endpoint: of the collector, as `http://127.0.0.1:4318`.
    """
    exporter = OTLPMetricExporter(f"{endpoint}/v1/metrics", timeout=5)
    reader = PeriodicExportingMetricReader(exporter, _INTERVAL_MILLISECONDS)
    return MeterProvider([reader], _resource(service))


def traces_of(service: str, endpoint: str) -> TracerProvider:
    """Return a provider that exports every second; the arguments are those of `metrics_of`."""
    provider = TracerProvider(resource=_resource(service))
    exporter = OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=5)
    processor = BatchSpanProcessor(exporter, schedule_delay_millis=_INTERVAL_MILLISECONDS)
    provider.add_span_processor(processor)
    return provider


def logs_of(service: str, endpoint: str) -> LoggerProvider:
    """Return a provider that exports every second; the arguments are those of `metrics_of`."""
    provider = LoggerProvider(resource=_resource(service))
    exporter = OTLPLogExporter(f"{endpoint}/v1/logs", timeout=5)
    processor = BatchLogRecordProcessor(exporter, schedule_delay_millis=_INTERVAL_MILLISECONDS)
    provider.add_log_record_processor(processor)
    return provider


def _resource(service: str) -> Resource:
    return Resource.create({"service.name": service, "host.name": platform.node()})
