"""The real InfluxDB 2.7, built from its source (see `tests/backends/influxd`)."""

import json
import os
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.backends.cache import Progress, silent
from tests.backends.influxd.build import NAME, influxd
from tests.backends.process import LOCALHOST, Server, free_port, listens

USER = "headrace"
PASSWORD = "headrace-password"
ORGANISATION = "headrace"
BUCKET = "headrace"
TOKEN = "headrace-token"


@dataclass(frozen=True)
class InfluxdbAccess:
    """What a client needs to know: the token may do everything in the organisation."""

    url: str
    org: str
    token: str


class InfluxdbServer(Server):
    """One `influxd`, set up with the organisation `headrace` and an endless bucket `headrace`.

    The program is built once, in 2 to 5 minutes. From then on a start takes 1 to 2 s.
    """

    name = NAME

    def __init__(
        self, directory: Path, port: int | None = None, *, progress: Progress = silent
    ) -> None:
        super().__init__(directory)
        self.port = port or free_port()
        self.progress = progress

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"http://{LOCALHOST}:{self.port}"

    @property
    def access(self) -> InfluxdbAccess:
        """Address, organisation and token."""
        return InfluxdbAccess(self.url, ORGANISATION, TOKEN)

    def start(self) -> Self:
        """Start the server, and on its first start set up user, organisation, bucket and token."""
        super().start()
        if self._setup("GET")["allowed"]:
            self._setup(
                "POST",
                username=USER,
                password=PASSWORD,
                org=ORGANISATION,
                bucket=BUCKET,
                token=TOKEN,
                retentionPeriodSeconds=0,
            )
        return self

    def command(self) -> list[str]:
        """Return the server's command line."""
        options = {
            "bolt-path": self.directory / "influxd.bolt",
            "sqlite-path": self.directory / "influxd.sqlite",
            "engine-path": self.directory / "engine",
            "http-bind-address": f"{LOCALHOST}:{self.port}",
            "reporting-disabled": "true",
        }
        program = influxd(self.progress)
        return [str(program), *(f"--{name}={value}" for name, value in options.items())]

    def environment(self) -> Mapping[str, str]:
        """Return our environment without the settings of another InfluxDB."""
        return {
            name: value for name, value in os.environ.items() if not name.startswith("INFLUXD_")
        }

    def is_ready(self) -> bool:
        """Say whether the server passes its own check."""
        if not listens(self.port):
            return False
        with urllib.request.urlopen(f"{self.url}/health", timeout=5) as response:
            return bool(response.status == 200)

    def _setup(self, method: str, **body: object) -> Any:
        request = urllib.request.Request(
            f"{self.url}/api/v2/setup",
            method=method,
            data=json.dumps(body).encode() if body else None,
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)
