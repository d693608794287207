"""Settings of a run: where it begins and ends, its topics, and what it says of itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from flows.settings.values import PositiveDuration, Section

__all__ = ["Monitoring", "Run", "Storage", "Topics"]


class Run(Section):
    """Where a flow begins and ends."""

    until: Literal["forever", "end"] = "forever"
    since: Literal["committed", "earliest", "latest"] = "committed"


class Topics(Section):
    """Names of the topics that Headrace writes."""

    rollups: str = "headrace.rollups"
    """Columnar batches, for our own flows."""
    rollups_json: str | None = None
    """Where flow ``storage`` writes rollups as lines of JSON, for subscribers; nowhere if left out."""
    anomalies: str = "headrace.anomalies"
    alerts: str = "headrace.alerts"
    samples: str = "headrace.samples"
    """Points of series that rules select, for flow ``alerting``. It must keep them for as long as rules
    look back."""
    rule_places: str = "headrace.rule-places"
    """Where groups of rules stand, compacted: flow ``alerting`` remembers it there."""
    commands: str = "headrace.commands"
    notifications: str = "headrace.notifications"
    incidents: str = "headrace.incidents"
    dead_letter: str = "headrace.dead-letter"
    late: str = "headrace.late"
    status: str = "headrace.status"
    models: str = "headrace.models"
    """Promotions of models, compacted."""
    shadow: str = "headrace.shadow"
    """What a model in shadow would have told: events as on the alerts topic, that alert nobody."""
    logs: str = "headrace.logs"
    templates: str = "headrace.log-templates"
    log_counts: str = "headrace.log-counts"
    """Counts of log records as OTLP metrics, which may be an input of the flow ``metrics``."""
    spans: str = "headrace.spans"
    """Spans of traces that are kept."""
    causes: str = "headrace.causes"
    """What flow ``traces`` finds behind services that are worse, and how they and their logs changed, as the
    flows ``traces`` and ``logs`` find it; the notifier says it in alerts."""
    exceptions: str = "headrace.exceptions"
    """What is known of each exception in logs; compacted."""
    audit: str = "headrace.audit"
    """What was erased of whom, by whom and when."""
    partitions: int = Field(default=4, ge=1)
    replication_factor: int = Field(default=-1, ge=-1)
    """Used by ``headrace setup``; -1 takes the broker's default."""


class Storage(Section):
    """How flow ``storage`` reads."""

    readers: int = Field(default=1, ge=1, le=1024)
    """Threads of each destination. Those of a cluster are spread over its processes."""


class Monitoring(Section):
    """Where each process answers ``/metrics`` and ``/health``."""

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    """0 takes a free one; ``headrace status`` shows which."""
    ports: dict[str, Annotated[int, Field(ge=0, le=65535)]] = Field(default_factory=dict)
    """Ports of single flows, by name, where several share a machine: ``{metrics: 9464}``."""
    status_interval: PositiveDuration = "5s"  # type: ignore[assignment]
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def port_of(self, flow: str) -> int:
        """Return the port of a flow."""
        return self.ports.get(flow, self.port)
