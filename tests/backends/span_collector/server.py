"""OpenTelemetry's own collector, with what it makes of spans, built from its Go modules."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.backends.cache import Progress, silent
from tests.backends.go_program import built
from tests.backends.process import Server

__all__ = ["VERSION", "SpanCollector"]

VERSION = "0.158.0"
_SOURCES = ("main.go", "go.mod", "go.sum")
_READY = b"Everything is ready."


class SpanCollector(Server):
    """Reads spans from Kafka through span_metrics, service_graph and tail_sampling, and forgets what comes of it.

    The first use builds it, which takes 3 minutes of CPU. The groups of all begin at the topic's
    beginning.

    Args:
        directory: for its configuration and log.
        bootstrap_servers, topic, group: what it reads, OTLP in protobuf, and its consumer group.
        sampling: settings of the processor tail_sampling.
        window: seconds between two flushes of metrics.
        hold: seconds for which a client waits for who received its call.
        progress: is told what takes long.
    """

    name = f"OpenTelemetry collector {VERSION}"
    start_seconds = 60

    def __init__(
        self,
        directory: Path,
        bootstrap_servers: str,
        topic: str,
        group: str,
        *,
        sampling: Mapping[str, Any],
        window: int = 10,
        hold: int = 30,
        progress: Progress = silent,
    ) -> None:
        super().__init__(directory)
        self._program = built(
            self.name, Path(__file__).parent, _SOURCES, f"span-collector-{VERSION}", "collector",
            progress, "minutes",
        )  # fmt: skip
        every = f"{window}s"
        self._settings = {
            "receivers": {
                "kafka": {
                    "brokers": [bootstrap_servers],
                    "group_id": group,
                    "initial_offset": "earliest",
                    "traces": {"topics": [topic], "encoding": "otlp_proto"},
                }
            },
            "processors": {"tail_sampling": dict(sampling)},
            "connectors": {
                # As finely as Headrace measures: buckets of a scale, and no edge lost.
                "span_metrics": {
                    "histogram": {"exponential": {"max_size": 160}},
                    "aggregation_temporality": "AGGREGATION_TEMPORALITY_DELTA",
                    "metrics_flush_interval": every,
                },
                "service_graph": {
                    "exponential_histogram_max_size": 160,
                    "metrics_flush_interval": every,
                    "store": {"max_items": 10_000_000, "ttl": f"{hold}s"},
                },
            },
            "exporters": {"nop": {}},
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {
                    "traces/metrics": {
                        "receivers": ["kafka"],
                        "exporters": ["span_metrics", "service_graph"],
                    },
                    "traces/sampled": {
                        "receivers": ["kafka"],
                        "processors": ["tail_sampling"],
                        "exporters": ["nop"],
                    },
                    "metrics": {
                        "receivers": ["span_metrics", "service_graph"],
                        "exporters": ["nop"],
                    },
                },
            },
        }

    def command(self) -> list[str]:
        """Write the configuration, and return the command line."""
        place = self.directory / "collector.json"  # YAML can be JSON
        place.write_text(json.dumps(self._settings, indent=1), encoding="utf-8")
        return [str(self._program), f"--config=file:{place}"]

    def is_ready(self) -> bool:
        """Say whether it has started all of its parts."""
        return _READY in self.log.read_bytes()
