"""The demo's `headrace.yaml`: what a user would write, tuned to tell its story in two minutes."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Final

from tests.backends.collector import LOGS_TOPIC, METRICS_TOPIC, SPANS_TOPIC

__all__ = ["FINEST", "JUDGED_SECONDS", "write_configuration"]

JUDGED_SECONDS: Final = 2
"""Length of the windows whose rollups are judged."""

FINEST: Final = JUDGED_SECONDS * 1_000_000_000
"""The same in nanoseconds."""

_TEMPLATE: Final = Template("""\
# The settings of `make demo`. Everything is shorter than in earnest, because nobody wants to
# watch for an hour: `headrace check --show` has the defaults.
kafka:
  bootstrap_servers: "$bootstrap_servers"
  group: $prefix
  readers: 1

inputs:
  - topic: $input
    signal: metrics
    encoding: otlp_proto
  - topic: $logs
    signal: logs
    encoding: otlp_proto
  - topic: $spans
    signal: traces
    encoding: otlp_proto

topics:
  rollups: $prefix.rollups
  anomalies: $prefix.anomalies
  alerts: $prefix.alerts
  dead_letter: $prefix.dead-letter
  late: $prefix.late
  status: $prefix.status
  models: $prefix.models
  shadow: $prefix.shadow
  logs: $prefix.logs
  templates: $prefix.log-templates
  log_counts: $prefix.log-counts
  exceptions: $prefix.exceptions
  spans: $prefix.spans
  causes: $prefix.causes
  partitions: 1

rollups:
  windows: [${window}s, 10s]
  disorder: 1s
  lateness: 10s
  idle_timeout: 5s

logs:
  shards: 1

traces:
  shards: 2
  hold: 2s
  # Failed requests and those that take longer than usual are kept, and one of the others.
  sampling: {slow: 200ms, rest: 1, max_age: 5s}

scoring:
  # What the shop's customers notice. The other series are rolled up all the same.
  metrics: http\\.server\\.(request\\.latency|errors)|system\\.cpu\\.busy
  detector: robust_ewma
  # A deviation of less than half of the mean, width times floor, is nobody's business.
  options: {width: 5, floor: 0.1, clip: 2}
  warm_up: 15
  fire_after: 2
  resolve_after: 3

sinks:
  lake: {path: "$lake"}

models: {path: "$models"}

notifier:
  route:
    receiver: demo
    # One notification a service, not one a series.
    group_by: [alertname, service.name]
    group_wait: 1s
    group_interval: 5s
    repeat_interval: 1h
  receivers:
    - name: demo
      channels:
        - {type: console}
        - {type: webhook, url: "$receiver/webhook"}
        - {type: slack, url: "$receiver/slack"}

monitoring:
  status_interval: 2s
""")


def write_configuration(
    directory: Path, *, bootstrap_servers: str, receiver: str, prefix: str = "headrace"
) -> Path:
    """Write `headrace.yaml` to `directory` and return its path.

    Args:
        directory: where it and the lake are.
        bootstrap_servers: the broker's address.
        receiver: address of what takes notifications.
        prefix: of the names of topics and groups. The input is OpenTelemetry's usual topic, unless
            the prefix says that the broker is shared.
    """
    shared = prefix != "headrace"
    path = directory / "headrace.yaml"
    text = _TEMPLATE.substitute(
        bootstrap_servers=bootstrap_servers,
        receiver=receiver,
        prefix=prefix,
        input=f"{prefix}.{METRICS_TOPIC}" if shared else METRICS_TOPIC,
        logs=f"{prefix}.{LOGS_TOPIC}" if shared else LOGS_TOPIC,
        spans=f"{prefix}.{SPANS_TOPIC}" if shared else SPANS_TOPIC,
        lake=directory / "lake",
        models=directory / "models",
        window=JUDGED_SECONDS,
    )
    path.write_text(text, encoding="utf-8")
    return path
