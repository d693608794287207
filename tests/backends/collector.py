"""A real OpenTelemetry collector, from a Python package that has its program inside: Rotel."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from tests.backends.process import LOCALHOST, Server, UnavailableError, free_port, listens

METRICS_TOPIC = "otlp_metrics"
LOGS_TOPIC = "otlp_logs"
SPANS_TOPIC = "otlp_spans"


class RotelCollector(Server):
    """Takes OTLP over HTTP and gRPC, and writes it to Kafka in one or two tenths of a second.

    Nothing is downloaded: the program is in the package `rotel`. A start takes well under a
    second, and does not need the broker to be there: what comes meanwhile waits in its memory.

    `encoding` is that of the records in Kafka. The topics are `otlp_metrics`, `otlp_logs` and
    `otlp_spans`, unless `topics` names others in that order.
    """

    name = "Rotel (OTLP collector)"
    start_seconds = 20

    def __init__(
        self,
        directory: Path,
        bootstrap_servers: str,
        *,
        http_port: int | None = None,
        grpc_port: int | None = None,
        encoding: Literal["protobuf", "json"] = "protobuf",
        topics: tuple[str, str, str] = (METRICS_TOPIC, LOGS_TOPIC, SPANS_TOPIC),
    ) -> None:
        super().__init__(directory)
        self.bootstrap_servers = bootstrap_servers
        self.http_port = http_port or free_port()
        self.grpc_port = grpc_port or free_port()
        self.encoding = encoding
        self.topics = topics

    @property
    def http_endpoint(self) -> str:
        """What `OTEL_EXPORTER_OTLP_ENDPOINT` is for the protocol http/protobuf."""
        return f"http://{LOCALHOST}:{self.http_port}"

    @property
    def grpc_endpoint(self) -> str:
        """What `OTEL_EXPORTER_OTLP_ENDPOINT` is for the protocol grpc."""
        return f"http://{LOCALHOST}:{self.grpc_port}"

    def command(self) -> list[str]:
        """Return the collector's command line.

        Raises: `UnavailableError` if the package `rotel` is not installed.
        """
        package = find_spec("rotel")
        if package is None or package.origin is None:
            raise UnavailableError(f"{self.name} is not installed (pip install --group dev)")
        metrics, logs, spans = self.topics
        options = {
            "otlp-http-endpoint": f"{LOCALHOST}:{self.http_port}",
            "otlp-grpc-endpoint": f"{LOCALHOST}:{self.grpc_port}",
            "exporter": "kafka",
            "kafka-exporter-brokers": self.bootstrap_servers,
            "kafka-exporter-format": self.encoding,
            "kafka-exporter-metrics-topic": metrics,
            "kafka-exporter-logs-topic": logs,
            "kafka-exporter-traces-topic": spans,
            "batch-timeout": "100ms",
            # Or the second collector on a machine would share these with the first.
            "pid-file": str(self.directory / "rotel.pid"),
            "log-file": str(self.directory / "rotel.log"),
        }
        program = Path(package.origin).with_name("rotel-agent")
        return [str(program), "start", *(f"--{name}={value}" for name, value in options.items())]

    def environment(self) -> Mapping[str, str]:
        """Return our environment without the settings of another collector."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith("ROTEL_")}
        return ours | {"NO_COLOR": "1"}

    def is_ready(self) -> bool:
        """Say whether both receivers listen."""
        return listens(self.http_port) and listens(self.grpc_port)
