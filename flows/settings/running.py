"""Settings of a run: where it begins and ends, its topics, and what it says of itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from flows.settings.values import PositiveDuration, Section

__all__ = ["Monitoring", "Run", "Topics"]


class Run(Section):
    """Where a flow begins and ends."""

    until: Literal["forever", "end"] = "forever"
    since: Literal["committed", "earliest", "latest"] = "committed"


class Topics(Section):
    """Names of the topics that Headrace writes."""

    rollups: str = "headrace.rollups"
    alerts: str = "headrace.alerts"
    dead_letter: str = "headrace.dead-letter"
    late: str = "headrace.late"
    status: str = "headrace.status"
    partitions: int = Field(default=4, ge=1)
    replication_factor: int = Field(default=-1, ge=-1)
    """Used by ``headrace setup``; -1 takes the broker's default."""


class Monitoring(Section):
    """Where each process answers ``/metrics`` and ``/health``."""

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    """0 takes a free one; ``headrace status`` shows which."""
    status_interval: PositiveDuration = "5s"  # type: ignore[assignment]
    log_level: Literal["debug", "info", "warning", "error"] = "info"
