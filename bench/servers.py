"""The servers that a benchmark runs against: those that are there already, else our own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console

from flows.settings import InfluxDBSection
from sinks.influxdb_setup import ensure
from tests.backends.influxdb import InfluxdbAccess, InfluxdbServer
from tests.backends.kafka import KafkaServer
from tests.backends.process import ServerError

__all__ = ["BOOTSTRAP", "Servers", "influxdb_settings", "servers"]

BOOTSTRAP = "HEADRACE__KAFKA__BOOTSTRAP_SERVERS"


@dataclass(frozen=True, slots=True)
class Servers:
    """Where they are; InfluxDB is None if it can't be had."""

    bootstrap: str
    influxdb: InfluxdbAccess | None


@contextmanager
def servers(directory: Path, say: Console, *, influxdb: bool) -> Iterator[Servers]:
    """Start a broker, unless the environment names one, and InfluxDB if it is needed."""
    with ExitStack() as stack:
        bootstrap = os.environ.get(BOOTSTRAP)
        if bootstrap is None:
            kafka = KafkaServer(directory / "kafka", progress=say.print, fast=True)
            bootstrap = stack.enter_context(kafka).bootstrap_servers
        access = None
        if influxdb:
            try:
                server = InfluxdbServer(directory / "influxdb", progress=say.print)
                access = stack.enter_context(server).access
            except ServerError as error:
                say.print(f"without InfluxDB: {str(error).splitlines()[0]}")
        yield Servers(bootstrap, access)


def influxdb_settings(access: InfluxdbAccess, name: str, windows: Sequence[int]) -> dict[str, str]:
    """Make a bucket for each window (nanoseconds), and return the settings of the sink."""
    bucket = f"{name}_{{window}}"
    settings = InfluxDBSection(
        url=access.url, org=access.org, token=SecretStr(access.token), bucket=bucket
    )
    ensure(settings, windows)
    prefix = "HEADRACE__SINKS__INFLUXDB__"
    return {
        f"{prefix}URL": access.url,
        f"{prefix}ORG": access.org,
        f"{prefix}TOKEN": access.token,
        f"{prefix}BUCKET": bucket,
    }
