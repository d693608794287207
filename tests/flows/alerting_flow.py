"""The flows metrics and alerting as a user runs them, over remote write that a test made."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import yaml
from confluent_kafka import Producer

from operators.contracts.alert import decode_event
from tests.backends.topics import make_topics
from tests.flows.telemetry import values_of
from tests.operators.decoders.remote_write_reference import v1

ROOT = Path(__file__).parents[2]
Series = tuple[Mapping[str, str], float, float]
"""Labels, a time in seconds, and a value."""


def remote_write(samples: Iterable[Series], begin: float = 0) -> bytes:
    """Return a request with a series for each sample, times counted from ``begin``."""
    request = v1["WriteRequest"]()
    for labels, time, value in samples:
        pairs = [v1["Label"](name=name, value=text) for name, text in sorted(labels.items())]
        sample = v1["Sample"](value=value, timestamp=round((begin + time) * 1000))
        request.timeseries.add(labels=pairs, samples=[sample])
    body: bytes = pa.compress(request.SerializeToString(), "snappy", asbytes=True)
    return body


class AlertingFlow:
    """Both flows, with topics and recovery stores of their own, over an input topic."""

    def __init__(self, directory: Path, kafka: str, topic: str, rules: Mapping[str, Any]) -> None:
        self.name = f"t{uuid.uuid4().hex[:10]}"
        self.directory = directory / self.name
        self.directory.mkdir()
        self.kafka = kafka
        roles = (
            "rollups", "anomalies", "alerts", "samples", "rule_places", "dead_letter", "late", "status"
        )  # fmt: skip
        self.topics = {role: f"{self.name}-{role}" for role in roles}
        make_topics(kafka, self.topics.values(), 2)
        self.settings: dict[str, Any] = {
            "kafka": {"bootstrap_servers": kafka, "group": self.name, "readers": 2},
            "inputs": [{"topic": topic, "encoding": "prometheus_remote_write"}],
            "rollups": {"windows": ["10s"]},
            "scoring": {"enabled": False},
            "topics": self.topics,
            "rules": rules,
            "run": {"until": "end"},
        }

    def start(self, flow: str, *arguments: str, until: str = "end") -> subprocess.Popen[str]:
        """Start a flow."""
        file = self.directory / f"{flow}.yaml"
        file.write_text(yaml.safe_dump({**self.settings, "run": {"until": until}}), "utf-8")
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("HEADRACE", "BYTEWAX"))
        }
        with (self.directory / f"{flow}.log").open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "bytewax.run", f"flows.{flow}", *arguments],
                cwd=ROOT,
                env=environment | {"HEADRACE_CONFIG": str(file)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def run(self, flow: str, *arguments: str) -> None:
        """Run a flow to the end of what there is."""
        code = self.start(flow, *arguments).wait(200)
        assert code == 0, (self.directory / f"{flow}.log").read_text()[-3000:]

    def recovery(self, flow: str) -> list[str]:
        """Make a recovery store for a flow; return what the runner has to be told of it."""
        store = self.directory / f"recovery-{flow}"
        store.mkdir()
        subprocess.run(
            [sys.executable, "-m", "bytewax.recovery", str(store), "1"], check=True, cwd=ROOT
        )
        return ["-r", str(store), "-s", "1", "-b", "0"]

    def events(self) -> dict[str, bytes]:
        """Return the alert events by id; those that came twice are the same to the byte."""
        found: dict[str, bytes] = {}
        for value in values_of(self.kafka, self.topics["alerts"]):
            name = decode_event(value)["id"]
            assert found.setdefault(name, value) == value
        return found

    def told(self) -> list[tuple[str, str, str, str]]:
        """Return alert, instance, status and time of all events, in the order of the times."""
        made = []
        for value in self.events().values():
            event = orjson.loads(value)
            at = event["endsAt"] or event["startsAt"]
            labels = event["labels"]
            made.append((at, labels["alertname"], labels.get("instance", ""), event["status"]))
        return sorted(made)


def produce(kafka: str, topic: str, messages: Iterable[tuple[int, float, bytes]]) -> None:
    """Write messages: their partition, the timestamp that Kafka has of them (s), and their value."""
    producer = Producer({"bootstrap.servers": kafka, "linger.ms": 20})
    for partition, time, value in messages:
        producer.produce(topic, value, partition=partition, timestamp=round(time * 1000))
        producer.poll(0)
    assert producer.flush(60) == 0
