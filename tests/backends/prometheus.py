"""Prometheus, as Debian packages it: the producer of remote write, and the oracle for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.backends.process import LOCALHOST, Server, UnavailableError, free_port


class PrometheusServer(Server):
    """One Prometheus that scrapes itself and `targets` each second, and writes on to `receiver`.

    Args:
        directory: where it keeps its files.
        receiver: the URL that it sends remote write 1.0 to.
        targets: further addresses to scrape; those that offer native histograms are asked for.
        rules: the text of a rule file that it evaluates each second.
    """

    name = "Prometheus"

    def __init__(
        self, directory: Path, receiver: str, targets: Sequence[str] = (), rules: str = ""
    ) -> None:
        super().__init__(directory)
        self.port = free_port()
        self._receiver = receiver
        self._targets = list(targets)
        self._rules = rules

    @property
    def url(self) -> str:
        return f"http://{LOCALHOST}:{self.port}"

    def command(self) -> list[str]:
        program = shutil.which("prometheus")
        if program is None:
            raise UnavailableError("Prometheus is not installed: apt-get install prometheus")
        configuration: dict[str, Any] = {
            "global": {
                "scrape_interval": "1s",
                "scrape_timeout": "1s",
                "evaluation_interval": "1s",
            },
            "scrape_configs": [
                {"job_name": name, "static_configs": [{"targets": targets}]}
                for name, targets in {
                    "itself": [f"{LOCALHOST}:{self.port}"],
                    "others": self._targets,
                }.items()
            ],
            "remote_write": [
                {
                    "url": self._receiver,
                    "send_native_histograms": True,
                    # One shard sends in order.
                    "queue_config": {"batch_send_deadline": "1s", "max_shards": 1},
                }
            ],
        }
        if self._rules:
            rules = self.directory / "rules.yml"
            rules.write_text(self._rules, encoding="utf-8")
            configuration["rule_files"] = [str(rules)]
        file = self.directory / "prometheus.json"  # JSON is YAML
        file.write_text(json.dumps(configuration), encoding="utf-8")
        return [
            program,
            f"--config.file={file}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address={LOCALHOST}:{self.port}",
            "--enable-feature=native-histograms",
        ]

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=1).status_code == 200
        except httpx.HTTPError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query."""
        answer = httpx.post(f"{self.url}/api/v1/query", data={"query": expression}, timeout=30)
        found: list[dict[str, Any]] = answer.raise_for_status().json()["data"]["result"]
        return found

    def query_range(self, expression: str, start: float, end: float) -> list[dict[str, Any]]:
        """The result of a range query with a step of one second."""
        asked = {"query": expression, "start": start, "end": end, "step": 1}
        answer = httpx.post(f"{self.url}/api/v1/query_range", data=asked, timeout=30)
        found: list[dict[str, Any]] = answer.raise_for_status().json()["data"]["result"]
        return found
