"""Everything that the demo starts, and in which order."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException

from flows import with_input
from flows.settings import Settings, load_settings
from operators.kafka.clients import admin_client
from tests.backends.cache import Progress
from tests.backends.collector import RotelCollector
from tests.backends.kafka import KafkaServer
from tests.backends.process import LOCALHOST, Server, ServerError, free_port
from tests.demo import faults, host, load, service
from tests.demo.configuration import write_configuration
from tests.demo.observer import Observer
from tests.demo.programs import Flow, Program, environment
from tests.demo.receiver import Receiver

__all__ = ["Stage", "set_up"]

BROKER_VARIABLE: Final = "HEADRACE__KAFKA__BOOTSTRAP_SERVERS"


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs, for those who want to look at it.

    Attributes:
        directory: with the settings, the lake, and a directory with its log for each program.
        config: the settings' file.
        settings: as the flows read them.
        observer: of what Headrace writes.
        fault: starts the fault, and stops it.
        flows: by name.
        collector: takes OTLP.
        shop: address of the service.
        receiver: of the notifications.
        servers: all that must stay up.
    """

    directory: Path
    config: Path
    settings: Settings
    observer: Observer
    fault: Program
    flows: dict[str, Flow]
    collector: RotelCollector
    shop: str
    receiver: Receiver
    servers: tuple[Server, ...]

    def check(self) -> None:
        """Make sure that everything still runs.

        Raises: `ServerError` with the end of the log of what does not.
        """
        for server in self.servers:
            if not server.running:
                raise ServerError(f"{server.name} has ended; its log:\n{server.log_tail()}")


@contextlib.contextmanager
def set_up(directory: Path, progress: Progress) -> Iterator[Stage]:
    """Start all of it, and stop all of it at the end, the last first.

    Args:
        directory: an empty one.
        progress: told what is being started.

    Raises: `ServerError`: something does not start, and why.
    """
    with ExitStack() as started:
        servers: list[Server] = []

        def start(server: Server) -> None:
            progress(f"starting {server.name}")
            started.enter_context(server)
            servers.append(server)

        broker = os.environ.get(BROKER_VARIABLE)
        prefix = "headrace"
        if broker is None:
            kafka = KafkaServer(directory / "kafka", heap="512m", progress=progress)
            start(kafka)
            broker = kafka.bootstrap_servers
        else:
            progress(f"using the broker in {BROKER_VARIABLE}")
            prefix = f"headrace-demo-{uuid.uuid4().hex[:8]}"

        receiver = started.enter_context(Receiver())
        config = write_configuration(
            directory, bootstrap_servers=broker, receiver=receiver.url, prefix=prefix
        )
        settings = _settings(config)
        progress("creating topics: headrace setup")
        _make_topics(config)
        if prefix != "headrace":
            started.callback(_clean_up, settings)

        metrics, logs, spans = (
            settings.inputs_of(flow)[0].topic for flow in ("metrics", "logs", "traces")
        )
        topics = (metrics, logs, spans)
        collector = RotelCollector(directory / "rotel", broker, topics=topics)
        start(collector)
        flows = {name: Flow(name, directory / name, config) for name in with_input(settings)}
        for flow in flows.values():
            start(flow)
        observer = started.enter_context(Observer(settings, receiver))

        database = directory / "shop" / "shop.db"
        port = free_port()
        shop = f"http://{LOCALHOST}:{port}"

        def program(name: str, module: str, *arguments: str) -> Program:
            place = directory / name.replace(" ", "-")
            return Program(name, place, config, module, arguments)

        endpoint = collector.http_endpoint
        start(program("host", host.__name__, endpoint))
        start(program("shop", service.__name__, str(port), endpoint, str(database)))
        start(program("customers", load.__name__, shop))
        fault = program("runaway job", faults.__name__, str(database))
        started.callback(fault.stop)
        yield Stage(
            directory, config, settings, observer, fault, flows, collector, shop, receiver,
            tuple(servers),
        )  # fmt: skip


def _settings(config: Path) -> Settings:
    """Read the settings as the flows do: with the variables that are passed on, and no others."""
    before = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(environment(config))
        return load_settings()
    finally:
        os.environ.clear()
        os.environ.update(before)


def _make_topics(config: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "setup"],
        env=environment(config),
        cwd=config.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ServerError(f"headrace setup failed:\n{done.stdout}{done.stderr}")


def _clean_up(settings: Settings) -> None:
    """Leave somebody else's broker as it was: without our topics, the collector's too, and groups.

    Everything else has been stopped by now. What the broker does not allow stays.
    """
    admin = admin_client(settings.kafka)
    prefix = f"{settings.kafka.group}."
    with contextlib.suppress(KafkaException):
        topics = [name for name in admin.list_topics(timeout=10).topics if name.startswith(prefix)]
        # Without topics or groups these calls are errors of their own.
        done = list(admin.delete_topics(topics, operation_timeout=10).values()) if topics else []
        groups = [
            group.group_id
            for group in admin.list_consumer_groups().result(timeout=10).valid
            if group.group_id.startswith(prefix)
        ]
        done += admin.delete_consumer_groups(groups).values() if groups else []
        for one in done:
            with contextlib.suppress(KafkaException):
                one.result(timeout=15)
