"""The flows metrics and storage as a user runs them: a settings file, and ``bytewax.run``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import orjson
import polars as pl
import yaml

from flows.settings import ElasticsearchSection, InfluxDBSection, Kafka
from operators.contracts.durations import parse_duration
from sinks import elasticsearch_setup, influxdb_setup
from sinks.dead_letter_reader import Letter, read_dead_letters
from sinks.line_protocol import UNITS
from tests.backends.influxdb import InfluxdbAccess
from tests.backends.process import LOCALHOST, free_port
from tests.backends.topics import make_topics
from tests.flows.expectation import SCHEMA, series_key
from tests.flows.telemetry import records

ROOT = Path(__file__).parents[2]
Process = subprocess.Popen[str]


READ_BY_STORAGE = ("rollups", "anomalies", "alerts", "notifications", "incidents")


class MetricsFlow:
    """Flow metrics, with topics, buckets, data streams and a recovery store of its own.

    Where there are databases or a lake, flow storage runs beside it; both log to the same file.

    Attributes:
        flow: the module to run.
    """

    flow = "metrics"

    def __init__(self, directory: Path, bootstrap_servers: str, topic: str) -> None:
        self.name = f"t{uuid.uuid4().hex[:10]}"
        self.directory = directory / self.name
        self.directory.mkdir()
        self.kafka = bootstrap_servers
        self.topic = topic
        self.log = self.directory / "log"
        self.influxdb: InfluxdbAccess | None = None
        self.elasticsearch: str | None = None
        roles = (*READ_BY_STORAGE, "causes", "dead_letter", "late", "status")
        self.topics = {role: f"{self.name}-{role}" for role in roles}
        self.settings: dict[str, Any] = {
            "kafka": {"bootstrap_servers": bootstrap_servers, "group": self.name},
            "inputs": [{"topic": topic}],
            "rollups": {"windows": ["10s"]},
            "scoring": {"enabled": False},
            "sinks": {},
            "topics": self.topics,
            "run": {},
        }
        self.prefix: Sequence[str] = ()
        """What to put before the command."""
        self.modules: dict[str, str] = {}
        """What to run instead of a flow, by its name."""
        self.storage: Process | None = None
        self.topics_are_there = False
        """Whether they need not be made, or can't be."""
        self._processes: list[Process] = []

    def write_to_influxdb(self, access: InfluxdbAccess) -> None:
        """Add the sink, and make its buckets."""
        self.influxdb = access
        sink: dict[str, Any] = {"url": access.url, "org": access.org, "token": access.token}
        sink["bucket"] = f"{self.name}_{{window}}"
        self.settings["sinks"]["influxdb"] = sink
        windows = [parse_duration(window) for window in self.settings["rollups"]["windows"]]
        influxdb_setup.ensure(InfluxDBSection(**sink), windows)

    def write_to_elasticsearch(self, url: str) -> None:
        """Add the sink, and install its templates."""
        self.elasticsearch = url
        sink: dict[str, Any] = {"hosts": [url], "namespace": self.name}
        self.settings["sinks"]["elasticsearch"] = sink
        elasticsearch_setup.ensure(ElasticsearchSection(**sink), logs=self.flow == "logs")

    # Running it.

    def start(self, *arguments: str, until: str = "forever", since: str = "committed") -> Process:
        """Start the flow, and if it is to go on, flow storage as well."""
        self.make_topics()
        process = self._launch(self.flow, *arguments, until=until, since=since)
        if until == "forever" and self.settings["sinks"]:
            self.start_storage()
        return process

    def start_storage(self) -> None:
        """Start flow storage, unless it runs."""
        if self.storage is None or self.storage.poll() is not None:
            self.storage = self._launch("storage", until="forever", since="committed")

    def make_topics(self) -> None:
        """Make the flows' topics, as ``headrace setup`` does."""
        if not self.topics_are_there:
            read = [self.topics[role] for role in READ_BY_STORAGE]
            make_topics(self.kafka, read, 2)
            make_topics(self.kafka, set(self.topics.values()) - set(read))
            self.topics_are_there = True

    def _launch(self, flow: str, *arguments: str, until: str, since: str) -> Process:
        file = self.directory / f"headrace-{until}-{since}.yaml"
        settings = {**self.settings, "run": {"until": until, "since": since}}
        file.write_text(yaml.safe_dump(settings), encoding="utf-8")
        ours = ("HEADRACE", "BYTEWAX", "RUST_BACKTRACE")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        module = self.modules.get(flow, f"flows.{flow}")
        with self.log.open("a") as log:
            process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "bytewax.run", module, *arguments],
                cwd=ROOT,
                env=environment | {"HEADRACE_CONFIG": str(file)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._processes.append(process)
        return process

    def run_to_the_end(self, *arguments: str, since: str = "committed") -> None:
        """Read what is there, and wait for the end."""
        self.wait_for_the_end(self.start(*arguments, until="end", since=since))

    def run_cluster_to_the_end(self, processes: int = 2, *arguments: str) -> None:
        """Do it with several processes."""
        addresses = ";".join(f"{LOCALHOST}:{free_port()}" for _ in range(processes))
        cluster = [
            self.start("-i", str(number), "-a", addresses, *arguments, until="end")
            for number in range(processes)
        ]
        for process in cluster[:-1]:
            assert process.wait(150) == 0, self.log_tail()
        self.wait_for_the_end(cluster[-1])

    def wait_for_the_end(self, process: Process, within: float = 150) -> None:
        """Wait until the process has ended well, and carry what it wrote to databases and files."""
        code = process.wait(within)
        assert code == 0, f"exit status {code}:\n{self.log_tail()}"
        if self.settings["sinks"]:
            self.carry(within)

    def carry(self, within: float = 150) -> None:
        """Run flow storage to the end of its topics."""
        if self.storage is not None:
            self.end(self.storage)
            self.storage = None
        code = self._launch("storage", until="end", since="committed").wait(within)
        assert code == 0, f"exit status of storage {code}:\n{self.log_tail()}"

    def end(self, process: Process, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; return the exit status, and the seconds until the end."""
        began = time.monotonic()
        process.send_signal(number)
        return process.wait(60), time.monotonic() - began

    def kill_all(self) -> None:
        """End what is still running."""
        for process in self._processes:
            process.kill()
            process.wait()

    def recovery(self, partitions: int = 2) -> Sequence[str]:
        """Return the arguments for a recovery store, after making it the first time."""
        store = self.directory / "recovery"
        if not store.exists():
            store.mkdir()
            command = [sys.executable, "-m", "bytewax.recovery", str(store), str(partitions)]
            subprocess.run(command, check=True, cwd=ROOT)
        return ("-r", str(store), "-s", "1", "-b", "0")

    def log_tail(self, lines: int = 25) -> str:
        """Return the last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait_until(
        self, what: str, condition: Callable[[], bool], process: Process, within: float = 60
    ) -> None:
        """Wait for a condition while the flows run."""
        deadline = time.monotonic() + within
        while not condition():
            running = [process] + ([self.storage] if self.storage else [])
            assert all(each.poll() is None for each in running), f"a flow ended:\n{self.log_tail()}"
            assert time.monotonic() < deadline, f"{within} s without {what}:\n{self.log_tail()}"
            time.sleep(0.2)

    # What it wrote.

    def rollups(
        self, window: str = "10s", *, scores: bool = False, percentiles: bool = False
    ) -> pl.DataFrame:
        """Return all points of a bucket: fields of ``expectation.SCHEMA``, and others if wanted.

        A field that is not among them fails the test.
        """
        more = (SCORE_FIELDS if scores else ()) + (PERCENTILES if percentiles else ())
        schema = SCHEMA | dict.fromkeys(more, pl.Float64)
        columns: dict[str, list[Any]] = {name: [] for name in schema}
        for answer in self.ask(window, "SELECT * FROM /.*/ GROUP BY *"):
            if answer["name"] == UNITS:
                continue
            tags = {key: value for key, value in answer.get("tags", {}).items() if value}
            size = len(answer["values"])
            columns["series"] += [series_key(answer["name"], tags)] * size
            given = dict(zip(answer["columns"], zip(*answer["values"], strict=True), strict=True))
            # Every answer has the fields of all measurements, that of units too.
            assert not any(given.pop("seen", ()))
            assert set(given) <= set(schema), f"fields nobody asked for: {sorted(given)}"
            for name in schema:
                if name != "series":
                    columns[name] += given.get(name, [None] * size)
        return pl.DataFrame(columns, schema=schema).sort("series", "time")

    def rollups_there(self, window: str = "10s") -> int:
        """Return the number of points in a bucket."""
        answers = self.ask(window, 'SELECT count("count") FROM /.*/')
        return sum(answer["values"][0][1] for answer in answers)

    def ask(self, window: str, query: str) -> list[dict[str, Any]]:
        """Return what InfluxDB answers to a query of a window's bucket, in InfluxQL."""
        assert self.influxdb is not None
        answer = httpx.get(
            f"{self.influxdb.url}/query",
            params={"db": f"{self.name}_{window}", "q": query, "epoch": "ns"},
            headers={"Authorization": f"Token {self.influxdb.token}"},
            timeout=120,
        )
        answer.raise_for_status()
        (result,) = orjson.loads(answer.content)["results"]
        assert "error" not in result, result
        return list(result.get("series", []))

    def topics_hold_nothing(self, *roles: str) -> bool:
        """Say whether nothing was written to these topics."""
        return not any(records(self.kafka, self.topics[role]) for role in roles)

    def alerts(self) -> list[dict[str, Any]]:
        """Return the events on the topic of alerts, in their order."""
        return [orjson.loads(each.value) for each in records(self.kafka, self.topics["alerts"])]

    def dead_letters(self) -> list[Letter]:
        """Return what is on the dead-letter topic now."""
        settings = Kafka(bootstrap_servers=self.kafka, group=self.name)
        return list(read_dead_letters(settings, self.topics["dead_letter"]))

    def documents(self, kind: str) -> list[dict[str, Any]]:
        """Return the documents of the data stream of ``anomalies`` or ``alerts``."""
        assert self.elasticsearch is not None
        stream = f"{self.elasticsearch}/{kind}-headrace-{self.name}"
        httpx.post(f"{stream}/_refresh", timeout=60)
        patience = time.monotonic() + 60
        while True:
            answer = httpx.get(f"{stream}/_search", params={"size": 10_000}, timeout=60)
            # A server that has just come up answers so until it has found its shards.
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > patience:
                break
            time.sleep(0.5)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return []
        answer.raise_for_status()
        return [hit["_source"] | {"_id": hit["_id"]} for hit in answer.json()["hits"]["hits"]]


PERCENTILES = ("p50", "p90", "p95", "p99")
SCORE_FIELDS = ("score", "expected", "lower", "upper")
