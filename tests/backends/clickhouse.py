"""The engine of ClickHouse behind its HTTP interface (see ``clickhouse_http``)."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import orjson

from tests.backends.process import LOCALHOST, Server, UnavailableError, free_port, listens

__all__ = ["ClickHouseAccess", "ClickHouseServer"]

USER = "default"
PASSWORD = "a-secret-that-nobody-may-see"
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class ClickHouseAccess:
    """What a client needs to know: the user may make databases."""

    url: str
    user: str
    password: str

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Return what a query gives, a mapping a row; 64-bit numbers are numbers."""
        answer = httpx.post(
            self.url,
            params={"output_format_json_quote_64bit_integers": 0},
            content=f"{query} FORMAT JSONEachRow",
            auth=(self.user, self.password),
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        return [orjson.loads(line) for line in answer.text.splitlines()]

    def tell(self, query: str) -> None:
        """Run a query that gives nothing."""
        answer = httpx.post(self.url, content=query, auth=(self.user, self.password), timeout=60)
        assert answer.status_code == 200, answer.text


class ClickHouseServer(Server):
    """One server with one user. A start takes 1 s."""

    name = "ClickHouse (chDB)"

    def __init__(self, directory: Path, port: int | None = None) -> None:
        super().__init__(directory)
        self.port = port or free_port()

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"http://{LOCALHOST}:{self.port}"

    @property
    def access(self) -> ClickHouseAccess:
        """Address, user and password."""
        return ClickHouseAccess(self.url, USER, PASSWORD)

    def command(self) -> list[str]:
        """Return the command line of the server."""
        if find_spec("chdb") is None:
            raise UnavailableError(
                "chdb is not installed (pip install --group dev), or set "
                "HEADRACE_TEST_CLICKHOUSE_URL to use a ClickHouse that is running already"
            )
        return [
            sys.executable, "-m", "tests.backends.clickhouse_http", str(self.port),
            str(self.directory), PASSWORD,
        ]  # fmt: skip

    def environment(self) -> Mapping[str, str]:
        """Return our environment, in which the module of the server is found."""
        return os.environ | {"PYTHONPATH": str(_ROOT)}

    def is_ready(self) -> bool:
        """Say whether the server answers."""
        return listens(self.port) and httpx.get(f"{self.url}/ping").status_code == 200
