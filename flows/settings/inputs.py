"""Settings of what is read: the broker, the topics, and what identifies a series."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from flows.settings.values import PositiveDuration, Section, regular_expression
from operators.decoders import DECODERS
from operators.frames import DEFAULT_TENANT
from operators.tenants import MAX_LENGTH, is_tenant

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
    poll_time: PositiveDuration = "100ms"  # type: ignore[assignment]


class Input(Section):
    """A topic to read, and what is on it."""

    topic: str = Field(min_length=1)
    signal: Literal["metrics"] = "metrics"
    encoding: str = "otlp_proto"
    tenant: Tenant = DEFAULT_TENANT
    """Whose the metrics are, if neither of the next two says so."""
    tenant_header: str | None = Field(default=None, min_length=1)
    """Header of a message whose value is its tenant, as ``X-Scope-OrgID``; upper and lower case
    are the same, as in HTTP."""
    tenant_attribute: str | None = Field(default=None, min_length=1)
    """Resource attribute whose value is the tenant."""
    counters: str | None = None
    """Regular expression of the whole names of metrics that are counters, where the format has no
    types: they are taken for cumulative and monotonic."""

    @field_validator("counters")
    @classmethod
    def _is_an_expression(cls, counters: str | None) -> str | None:
        return None if counters is None else regular_expression(counters)

    @model_validator(mode="after")
    def _tenant_in_one_place(self) -> Self:
        if self.tenant_header is not None and self.tenant_attribute is not None:
            raise ValueError("give either tenant_header or tenant_attribute")
        return self

    @field_validator("encoding")
    @classmethod
    def _has_a_decoder(cls, encoding: str) -> str:
        if encoding not in DECODERS:
            raise ValueError(
                f'there is no decoder for "{encoding}" (there are: {", ".join(DECODERS)})'
            )
        return encoding


class Series(Section):
    """What identifies a series beside its name and attributes."""

    resource_attributes: tuple[str, ...] = (
        "service.name",
        "service.namespace",
        "host.name",
        "deployment.environment.name",
    )


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
