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
from flows.settings.logs import Logs, Scrubbing
from flows.settings.notifying import (
    Api,
    ApiToken,
    Channel,
    Console,
    NotifierSettings,
    Receiver,
    RouteSettings,
    Slack,
    Webhook,
)
from flows.settings.rules import RuleSettings, Threshold
from flows.settings.running import Monitoring, Run, Storage, Topics
from flows.settings.sinks import (
    ClickHouseSection,
    ElasticsearchSection,
    InfluxDBSection,
    LakeSection,
    Sinks,
)
from flows.settings.traces import Traces
from flows.settings.windows import Rollups, Scoring

__all__ = [
    "CONFIG_VARIABLE", "DEFAULT_CONFIG", "Api", "ApiToken", "Channel", "ClickHouseSection", "Console", "ElasticsearchSection", "Enrichment", "InfluxDBSection", "Input",
    "Kafka", "LakeSection", "Limits", "Logs", "Lookup", "Monitoring", "NotifierSettings", "Receiver", "Rollups", "RouteSettings", "RuleSettings", "Run", "Scoring", "Scrubbing", "Series", "Settings", "SettingsError", "Sinks", "Slack", "Storage", "TenantLimits", "Threshold", "Topics", "Traces", "Webhook",
    "load_settings",
]  # fmt: skip
