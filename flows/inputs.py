"""What flows read, made from the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.process.reloading import on_reload
from flows.settings import Settings
from operators.kafka.low_water import LowWater
from operators.kafka.source import KafkaSource
from operators.kafka.tenant_header import TenantHeader
from operators.series.classic import CLASSIC_ENCODINGS
from operators.series.enrichment import Enricher
from operators.series.registry import SeriesRegistry, Services
from operators.series.step import Decoding, Encoded

# Of logs, traces and rules no more is imported than a flow has: each costs its start some tenths of a second.
if TYPE_CHECKING:
    from operators.logs.decoding import LogDecoding
    from operators.logs.joining.held_lines import HeldLines
    from operators.rules.loading import RuleFiles
    from operators.rules.tap import Tap
    from operators.traces.decoding import EncodedSpans, TraceDecoding
    from operators.traces.operations import Operations

__all__ = [
    "kafka_source", "logs_decoding", "metrics_decoding", "metrics_tap", "traces_decoding",
]  # fmt: skip


def kafka_source(
    settings: Settings,
    flow: str,
    topics: tuple[str, ...] = (),
    low_water: LowWater | None = None,
    *,
    idle_timeout: int | None = None,
    commits: bool = True,
    poll_bytes: int | None = None,
) -> KafkaSource:
    """Return the source of ``flow``: of ``topics``, or of all inputs of metrics.

    Without an ``idle_timeout`` (nanoseconds) that of rollups counts. ``poll_bytes`` counts where the settings
    do not say it.
    """
    kafka = settings.kafka
    if poll_bytes is not None and "poll_bytes" not in kafka.model_fields_set:
        kafka = kafka.model_copy(update={"poll_bytes": poll_bytes})
    return KafkaSource(
        kafka,
        topics or tuple(entry.topic for entry in settings.inputs_of("metrics")),
        flow=flow,
        until_end=settings.run.until == "end",
        since=settings.run.since,
        idle_timeout=idle_timeout or settings.rollups.idle_timeout,
        low_water=low_water,
        commits=commits,
        tenant_headers={
            entry.topic: TenantHeader(entry.tenant_header, entry.tenant)
            for entry in settings.inputs
            if entry.tenant_header
        },
    )


def metrics_decoding(settings: Settings, low_water: LowWater, tap: Tap | None = None) -> Decoding:
    """Return the step that turns polls of the metrics inputs into batches for the shards."""
    enrichment = Enricher(settings.enrichment)

    def new_registry(topic: Encoded) -> SeriesRegistry:
        return SeriesRegistry(
            topic.tenant,
            settings.series.resource_attributes,
            enrichment,
            settings.rollups.shards,
            tenant_attribute=topic.tenant_attribute,
            counters=topic.counters,
            since_boot=settings.series.counters_since_boot,
            services=Services(settings.series.service_from, topic.service),
            classic=topic.classic,
        )

    return Decoding(
        {
            entry.topic: Encoded(
                entry.encoding,
                entry.tenant,
                entry.tenant_attribute,
                entry.counters,
                entry.service,
                entry.classic_histograms and entry.encoding in CLASSIC_ENCODINGS,
            )
            for entry in settings.inputs_of("metrics")
        },
        new_registry,
        shards=settings.rollups.shards,
        future=settings.rollups.future,
        evict_after=settings.rollups.evict_after,
        disorder=settings.rollups.disorder,
        low_water=low_water,
        window=settings.rollups.windows[0],
        tap=tap,
    )


def metrics_tap(settings: Settings, rules: RuleFiles | None = None) -> Tap | None:
    """Return what takes the points that rules select; None without rules.

    Args:
        settings: say what is on each topic, and which rules there are.
        rules: other ones.

    Raises:
        RuleFileError: a rule file can't be used; the text names file, group and rule.
    """
    if rules is None and not settings.rules.active:
        return None
    from operators.rules.tap import Tap, TappedTopic, compile_kernels  # noqa: PLC0415

    compile_kernels()
    if rules is None:
        rules = settings.rules.loaded()
        on_reload(rules.read_again)
    return Tap(
        rules,
        {
            entry.topic: TappedTopic(
                entry.encoding.startswith("prometheus"), entry.tenant, entry.tenant_attribute
            )
            for entry in settings.inputs_of("metrics")
        },
        settings.rules.promote_resource_attributes,
        settings.rules.lookback,
    )


def logs_decoding(settings: Settings, held: HeldLines) -> LogDecoding:
    """Return the step that turns polls of the logs inputs into records for the shards."""
    from operators.logs.decoding import EncodedLogs, LogDecoding  # noqa: PLC0415

    return LogDecoding(
        {
            entry.topic: EncodedLogs(entry.encoding, entry.tenant, entry.timezone, entry.multiline)
            for entry in settings.inputs_of("logs")
        },
        {
            "": settings.logs.scrubbing.rules(),
            **{tenant: each.rules() for tenant, each in settings.logs.tenants.items()},
        },
        shards=settings.logs.shards,
        timeout=settings.logs.line_timeout,
        held=held,
    )


def traces_decoding(settings: Settings, low_water: LowWater) -> TraceDecoding:
    """Return the step that turns polls of the traces inputs into spans for the shards."""
    from operators.traces.decoding import EncodedSpans, TraceDecoding  # noqa: PLC0415
    from operators.traces.operations import Operations  # noqa: PLC0415

    more = [name for name in settings.series.resource_attributes if name != "service.name"]

    sampling = settings.traces.sampling

    def new_operations(topic: EncodedSpans) -> Operations:
        return Operations(
            topic.tenant,
            settings.traces.dimensions,
            more,
            topic.tenant_attribute,
            sampling.attributes if sampling is not None else {},
        )

    return TraceDecoding(
        {
            entry.topic: EncodedSpans(entry.encoding, entry.tenant, entry.tenant_attribute)
            for entry in settings.inputs_of("traces")
        },
        new_operations,
        shards=settings.traces.shards,
        future=settings.rollups.future,
        content=sampling is not None,
        severity=settings.limits.severity,
        low_water=low_water,
    )
