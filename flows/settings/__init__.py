"""The settings: one YAML file, every key overridable by environment, parsed strictly.

The file is ``$HEADRACE_CONFIG`` (default ``headrace.yaml``); ``HEADRACE__KAFKA__BOOTSTRAP_SERVERS``
overrides ``kafka.bootstrap_servers``. A value that is a mapping or a list is given as JSON.
A secret may be left out of both and read from a file: ``token_file`` instead of ``token``.
"""

from __future__ import annotations

from flows.settings.inputs import Enrichment, Input, Kafka, Lookup, Series
from flows.settings.limits import Limits, TenantLimits
from flows.settings.loading import (
    CONFIG_VARIABLE,
    DEFAULT_CONFIG,
    Settings,
    SettingsError,
    load_settings,
)
from flows.settings.notifying import (
    Channel,
    Console,
    Notifier,
    Receiver,
    Route,
    Slack,
    Webhook,
)
from flows.settings.running import Monitoring, Run, Topics
from flows.settings.sinks import Elasticsearch, InfluxDB, Lake, Sinks
from flows.settings.windows import Rollups, Scoring

__all__ = [
    "CONFIG_VARIABLE", "DEFAULT_CONFIG", "Channel", "Console", "Elasticsearch", "Enrichment", "InfluxDB", "Input",
    "Kafka", "Lake", "Limits", "Lookup", "Monitoring", "Notifier", "Receiver", "Rollups", "Route", "Run",
    "Scoring", "Series", "Settings", "SettingsError", "Sinks", "Slack", "TenantLimits", "Topics", "Webhook",
    "load_settings",
]  # fmt: skip
