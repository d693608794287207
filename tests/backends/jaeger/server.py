"""A whole Jaeger in one process: it takes OTLP, writes to Elasticsearch, and answers queries."""

import json
import urllib.request
from pathlib import Path

from tests.backends.cache import Progress, silent
from tests.backends.jaeger.module import VERSION, built
from tests.backends.process import LOCALHOST, Server, free_port, listens

__all__ = ["JaegerServer", "prepare"]

NAME = f"Jaeger {VERSION}"


class JaegerServer(Server):
    """Jaeger's own program with Elasticsearch behind it; its pages are placeholders.

    The first use builds it, which takes minutes; a start takes some seconds.

    Args:
        directory: for its configuration and log.
        elasticsearch: the node's address, version 8 or 9.
        prefix: of the names of its indices, without a hyphen at its end.
        installs: whether it installs its index templates.
        progress: is told what takes long.
    """

    name = NAME
    start_seconds = 120

    def __init__(
        self,
        directory: Path,
        elasticsearch: str,
        prefix: str,
        *,
        installs: bool,
        progress: Progress = silent,
    ) -> None:
        super().__init__(directory)
        self.elasticsearch = elasticsearch
        self.prefix = prefix
        self.installs = installs
        self.progress = progress
        self.port, self.otlp_port, self._grpc_port = free_port(), free_port(), free_port()

    @property
    def url(self) -> str:
        """The address for queries."""
        return f"http://{LOCALHOST}:{self.port}"

    @property
    def otlp_url(self) -> str:
        """Where spans go, as OTLP over HTTP."""
        return f"http://{LOCALHOST}:{self.otlp_port}/v1/traces"

    def command(self) -> list[str]:
        """Write the configuration, and return the command line."""
        program = prepare(self.progress)
        days = {
            "date_layout": "2006-01-02", "rollover_frequency": "day", "shards": 1, "replicas": 0
        }  # fmt: skip
        storage = {
            "server_urls": [self.elasticsearch],
            # The node has no `GET /`, by which Jaeger would find out; 9 takes what is meant for 8.
            "version": 8,
            "disable_health_check": True,
            "create_mappings": self.installs,
            "bulk_processing": {"flush_interval": "200ms"},
            "indices": {
                "index_prefix": self.prefix,
                **dict.fromkeys(("spans", "services", "dependencies", "sampling"), days),
            },
        }
        settings = {
            "service": {
                "extensions": ["jaeger_storage", "jaeger_query"],
                "pipelines": {
                    "traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}
                },
                "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "info"}},
            },
            "extensions": {
                "jaeger_storage": {"backends": {"store": {"elasticsearch": storage}}},
                "jaeger_query": {
                    "storage": {"traces": "store"},
                    "max_clock_skew_adjust": "10s",
                    "http": {"endpoint": f"{LOCALHOST}:{self.port}"},
                    "grpc": {"endpoint": f"{LOCALHOST}:{self._grpc_port}"},
                },
            },
            "receivers": {
                "otlp": {"protocols": {"http": {"endpoint": f"{LOCALHOST}:{self.otlp_port}"}}}
            },
            "exporters": {"jaeger_storage_exporter": {"trace_storage": "store"}},
        }
        place = self.directory / "jaeger.json"  # YAML can be JSON
        place.write_text(json.dumps(settings, indent=1), encoding="utf-8")
        return [str(program), f"--config=file:{place}"]

    def is_ready(self) -> bool:
        """Say whether it takes spans and answers queries."""
        if not (listens(self.port) and listens(self.otlp_port)):
            return False
        with urllib.request.urlopen(f"{self.url}/api/services", timeout=10) as response:
            return bool(response.status == 200)


def prepare(progress: Progress = silent) -> Path:
    """Return the path of the program, building it the first time.

    Raises: `UnavailableError` if there is no Go or the build fails.
    """
    return built(NAME, "cmd/jaeger", "jaeger", progress)
