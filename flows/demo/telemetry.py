"""How the demo's own programs send metrics: OpenTelemetry's SDK, once a second, over HTTP."""

from __future__ import annotations

import platform
from typing import Final

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

__all__ = ["metrics_of"]

_INTERVAL_MILLISECONDS: Final = 1_000


def metrics_of(service: str, endpoint: str) -> MeterProvider:
    """Return a provider that exports every second; the caller shuts it down.

    Args:
        service: the resource's `service.name`.
        endpoint: of the collector, as `http://127.0.0.1:4318`.
    """
    exporter = OTLPMetricExporter(f"{endpoint}/v1/metrics", timeout=5)
    reader = PeriodicExportingMetricReader(exporter, _INTERVAL_MILLISECONDS)
    resource = Resource.create({"service.name": service, "host.name": platform.node()})
    return MeterProvider([reader], resource)
