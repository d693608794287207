"""Alertmanager, as Debian packages it: the oracle for what is told, when, and how."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.backends.process import LOCALHOST, Server, UnavailableError, free_port

PROGRAMS = ("prometheus-alertmanager", "alertmanager")


class AlertmanagerServer(Server):
    """One Alertmanager with the given configuration, alone, on a free port.

    Args:
        directory: where it keeps its files.
        configuration: what would be in `alertmanager.yml`.
        external_url: what it calls itself.
    """

    name = "Alertmanager"

    def __init__(
        self, directory: Path, configuration: Mapping[str, Any], *, external_url: str
    ) -> None:
        super().__init__(directory)
        self.port = free_port()
        self._configuration = configuration
        self._external_url = external_url

    @property
    def url(self) -> str:
        return f"http://{LOCALHOST}:{self.port}"

    def command(self) -> list[str]:
        program = next(filter(None, map(shutil.which, PROGRAMS)), None)
        if program is None:
            raise UnavailableError(
                "Alertmanager is not installed: apt-get install prometheus-alertmanager"
            )
        file = self.directory / "alertmanager.json"  # JSON is YAML
        file.write_text(json.dumps(self._configuration), encoding="utf-8")
        return [
            program,
            f"--config.file={file}",
            f"--storage.path={self.directory / 'data'}",
            f"--web.listen-address={LOCALHOST}:{self.port}",
            f"--web.external-url={self._external_url}",
            "--web.route-prefix=/",
            "--cluster.listen-address=",
        ]

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=1).status_code == 200
        except httpx.HTTPError:
            return False

    def post(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        """Send alerts, as a Prometheus server would."""
        answer = httpx.post(f"{self.url}/api/v2/alerts", json=list(alerts), timeout=10)
        answer.raise_for_status()

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that it knows to fire."""
        answer = httpx.get(f"{self.url}/api/v2/alerts", timeout=10)
        found: list[dict[str, Any]] = answer.raise_for_status().json()
        return found
