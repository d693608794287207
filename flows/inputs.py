"""What flows read, made from the settings."""

from __future__ import annotations

from flows.settings import Settings
from operators.clock import SystemClock
from operators.decoding import Decoding, Encoded
from operators.enrichment import Enrichment
from operators.low_water import LowWater
from operators.series import SeriesRegistry
from operators.source import KafkaSource
from operators.tenants import TenantHeader

__all__ = ["kafka_source", "metrics_decoding"]


def kafka_source(
    settings: Settings,
    flow: str,
    topics: tuple[str, ...] = (),
    low_water: LowWater | None = None,
) -> KafkaSource:
    """Return the source of ``flow``: of ``topics``, or of all inputs."""
    return KafkaSource(
        settings.kafka,
        topics or tuple(entry.topic for entry in settings.inputs),
        flow=flow,
        until_end=settings.run.until == "end",
        since=settings.run.since,
        idle_timeout=settings.rollups.idle_timeout,
        low_water=low_water,
        tenant_headers={
            entry.topic: TenantHeader(entry.tenant_header, entry.tenant)
            for entry in settings.inputs
            if entry.tenant_header
        },
    )


def metrics_decoding(settings: Settings, low_water: LowWater) -> Decoding:
    """Return the step that turns polls of the metrics inputs into batches for the shards."""
    enrichment = Enrichment(settings.enrichment)

    def new_registry(topic: Encoded) -> SeriesRegistry:
        return SeriesRegistry(
            topic.tenant,
            settings.series.resource_attributes,
            enrichment,
            settings.rollups.shards,
            tenant_attribute=topic.tenant_attribute,
            counters=topic.counters,
        )

    return Decoding(
        {
            entry.topic: Encoded(
                entry.encoding, entry.tenant, entry.tenant_attribute, entry.counters
            )
            for entry in settings.inputs
        },
        new_registry,
        shards=settings.rollups.shards,
        future=settings.rollups.future,
        evict_after=settings.rollups.evict_after,
        clock=SystemClock(),
        low_water=low_water,
    )
