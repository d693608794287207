"""Settings of what is read: the broker, the topics, and what identifies a series."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from flows.settings.values import (
    PositiveDuration,
    RegularExpression,
    Section,
    regular_expression,
    with_secret_files,
)
from operators.contracts.frames import DEFAULT_TENANT
from operators.decoders import DECODERS, LOG_DECODERS, SPAN_DECODERS
from operators.kafka.clients import is_secret
from operators.kafka.tenant_header import MAX_LENGTH, is_tenant
from operators.logs.parsing.timestamps import is_zone

__all__ = ["Enrichment", "Input", "Kafka", "Lookup", "Series", "Tenant"]


def _tenant(name: str) -> str:
    if not is_tenant(name):
        raise ValueError(
            f"not the name of a tenant: 1 to {MAX_LENGTH} characters, no control characters"
        )
    return name


Tenant = Annotated[str, AfterValidator(_tenant)]
"""Name of a tenant."""


class Kafka(Section):
    """Where the broker is, and how it is read."""

    bootstrap_servers: str = "localhost:9092"
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)
    group: str = "headrace"
    readers: int = Field(default=4, ge=1, le=1024)
    """Readers of input partitions; fixed, as shards are. At most this many workers read."""
    poll_messages: int = Field(default=50_000, ge=1)
    poll_bytes: int = Field(default=8 << 20, ge=1)
    """Flow ``traces`` reads twice as much at once where this is not set."""
    poll_time: PositiveDuration = "100ms"  # type: ignore[assignment]

    @field_validator("options", mode="before")
    @classmethod
    def _read_secret_files(cls, options: Any) -> Any:
        """Take what a file holds for ``<option>_file``, of options that are secrets."""
        return with_secret_files(options, is_secret) if isinstance(options, dict) else options


class Input(Section):
    """A topic to read, and what is on it."""

    topic: str = Field(min_length=1)
    signal: Literal["metrics", "logs", "traces"] = "metrics"
    encoding: str = "otlp_proto"
    tenant: Tenant = DEFAULT_TENANT
    """Whose the metrics are, if neither of the next two says so."""
    tenant_header: str | None = Field(default=None, min_length=1)
    """Header of a message whose value is its tenant, as ``X-Scope-OrgID``; upper and lower case
    are the same, as in HTTP."""
    tenant_attribute: str | None = Field(default=None, min_length=1)
    """Resource attribute whose value is the tenant."""
    timezone: str = "UTC"
    """Of the times in logs that say none, an IANA name: ``Europe/Berlin``."""
    multiline: str = "auto"
    """Lines of logs that belong together: ``auto`` joins stack traces where a record says of which file
    or container it is, and in ``text``; ``off`` makes each line a record; else it is a regular
    expression of the lines that begin a record."""
    counters: RegularExpression | None = None
    """Regular expression of the whole names of metrics that are counters, where the format has no
    types: they are taken for cumulative and monotonic."""

    classic_histograms: bool = True
    """Put the buckets, count and sum of Prometheus' classic histograms together: ``X_bucket`` with a
    label ``le``, ``X_count`` and ``X_sum`` become the histogram ``X``. For remote write, and the formats
    of prometheus-kafka-adapter and Telegraf (whose input ``prometheus`` needs ``metric_version = 2``);
    the others have histograms. If not, they stay counters. Inputs that bring the same series should
    agree on it."""

    service: str = ""
    """The ``service.name`` of metrics that have none and nothing that it could be taken from."""

    @field_validator("multiline")
    @classmethod
    def _is_a_mode(cls, multiline: str) -> str:
        return multiline if multiline in ("auto", "off") else regular_expression(multiline)

    @model_validator(mode="after")
    def _tenant_in_one_place(self) -> Self:
        if self.tenant_header is not None and self.tenant_attribute is not None:
            raise ValueError("give either tenant_header or tenant_attribute")
        return self

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        if not is_zone(name):
            raise ValueError(f'there is no time zone "{name}" (write UTC, Europe/Berlin)')
        return name

    @field_validator("encoding")
    @classmethod
    def _has_a_decoder(cls, encoding: str, info: ValidationInfo) -> str:
        signal = info.data.get("signal", "metrics")
        by_signal: dict[str, Collection[str]] = {"logs": LOG_DECODERS, "traces": SPAN_DECODERS}
        decoders = by_signal.get(signal, DECODERS)
        if encoding not in decoders:
            raise ValueError(
                f'there is no decoder{f" of {signal}" if signal in by_signal else ""} for "{encoding}" '
                f"(there are: {', '.join(decoders)})"
            )
        return encoding

    @model_validator(mode="after")
    def _is_of_its_signal(self) -> Self:
        if self.signal == "logs" and (self.counters or self.tenant_attribute):
            raise ValueError("counters and tenant_attribute are for metrics")
        if self.signal == "traces" and self.counters:
            raise ValueError("counters are for metrics")
        return self


class Series(Section):
    """What identifies a series beside its name and attributes."""

    resource_attributes: tuple[str, ...] = (
        "service.name",
        "service.namespace",
        "host.name",
        "deployment.environment.name",
    )
    service_from: tuple[str, ...] = ("job", "app", "host.name", "host")
    """Labels that a metric without ``service.name`` gets it from; the first that it has."""
    counters_since_boot: RegularExpression = r"system\..*"
    """Regular expression of the whole names of counters that count since their host or server began,
    whatever start time comes with them: it is often that of the process that reads them."""


class Lookup(Section):
    """A table (CSV or Parquet) whose columns become labels where ``on`` matches."""

    path: Path
    on: str
    labels: tuple[str, ...] = ()
    """Columns to take; all but ``on`` if empty."""


class Enrichment(Section):
    """Changes to the labels of every series, in this order: lookup, static, drop, rename."""

    lookups: tuple[Lookup, ...] = ()
    static: dict[str, str] = Field(default_factory=dict)
    drop: tuple[str, ...] = ()
    rename: dict[str, str] = Field(default_factory=dict)
