"""Settings of the limits: how many series a tenant may have."""

from __future__ import annotations

from pydantic import Field

from flows.settings.inputs import Tenant
from flows.settings.values import Section

__all__ = ["Limits", "TenantLimits"]


class TenantLimits(Section):
    """What a tenant may have."""

    series: int = Field(default=2_000_000, ge=1)
    """Active series, as they are written: after labels were dropped."""
    series_per_metric: int = Field(default=1_000_000, ge=1)
    """Active series of one metric's name."""


class Override(Section):
    """What is different for a tenant; the rest is as for all."""

    series: int | None = Field(default=None, ge=1)
    series_per_metric: int | None = Field(default=None, ge=1)


class Limits(TenantLimits):
    """Cardinality limits. Series beyond them are refused, those that are there flow on."""

    active_tenants: int = Field(default=1000, ge=1)
    """How many tenants there may be at a time; what is of others is refused."""
    tenants: dict[Tenant, Override] = Field(default_factory=dict)
    severity: str = Field(default="warning", min_length=1)
    """Label of the alert ``SeriesLimitReached``."""

    def of(self, tenant: str) -> TenantLimits:
        """Return the limits of a tenant."""
        override = self.tenants.get(tenant, Override())
        return TenantLimits(
            series=override.series or self.series,
            series_per_metric=override.series_per_metric or self.series_per_metric,
        )
