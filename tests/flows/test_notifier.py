"""The flow as people run it: from Kafka to a webhook, killed, resumed, and to the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Consumer, Producer, TopicPartition
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from operators.contracts.alert import AlertEvent, encode_event
from tests.backends.process import free_port
from tests.conftest import TopicFactory
from tests.operators.notifying.samples import event

ROOT = Path(__file__).parents[2]


@dataclass
class Webhook:
    """A receiver that keeps what it is sent."""

    server: HTTPServer
    bodies: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server.expect_request("/hook").respond_with_handler(self.take)

    def take(self, request: Request) -> Response:
        self.bodies.append(json.loads(request.get_data()))
        return Response("")

    def told(self) -> list[tuple[str, list[tuple[str, str]]]]:
        return [
            (b["status"], [(a["labels"]["alertname"], a["status"]) for a in b["alerts"]])
            for b in self.bodies
        ]

    def wait_for(self, number: int, within: float = 90.0) -> None:
        deadline = time.monotonic() + within
        while len(self.bodies) < number:
            assert time.monotonic() < deadline, f"told {len(self.bodies)} of {number}"
            time.sleep(0.05)


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with HTTPServer(host="127.0.0.1", port=0, threaded=True) as server:
        yield Webhook(server)


class Notifier:
    """The flow in a process of its own, with its settings and its recovery store."""

    def __init__(self, directory: Path, kafka: str, topic: TopicFactory, webhook: Webhook) -> None:
        self.alerts = topic(2, name="alerts")
        self.dead_letters = topic(name="dead-letter")
        self.kafka = kafka
        self.store = directory / "recovery"
        self.store.mkdir()
        self.log = directory / "log"
        self.settings: dict[str, Any] = {
            "kafka": {"bootstrap_servers": kafka, "group": self.alerts, "readers": 2},
            "topics": {
                "alerts": self.alerts,
                "dead_letter": self.dead_letters,
                "commands": topic(1, name="commands"),
                "notifications": topic(2, name="notifications"),
                "incidents": topic(1, name="incidents"),
            },
            "notifier": {
                "route": {"receiver": "ops", "group_wait": "200ms", "group_interval": "500ms"},
                "receivers": [
                    {
                        "name": "ops",
                        "channels": [{"type": "webhook", "url": webhook.server.url_for("/hook")}],
                    }
                ],
            },
        }
        self._file = directory / "headrace.yaml"
        self._producer = Producer({"bootstrap.servers": kafka})
        command = [sys.executable, "-m", "bytewax.recovery", str(self.store), "1"]
        subprocess.run(command, check=True, cwd=ROOT)

    def produce(self, *events: AlertEvent | bytes) -> None:
        for item in events:
            payload = item if isinstance(item, bytes) else encode_event(item)
            key = b"" if isinstance(item, bytes) else item["fingerprint"]
            self._producer.produce(self.alerts, payload, key)
        assert self._producer.flush(120) == 0

    def start(self, *arguments: str, until: str = "forever") -> subprocess.Popen[str]:
        settings = {**self.settings, "run": {"until": until}}
        self._file.write_text(yaml.safe_dump(settings), encoding="utf-8")
        return subprocess.Popen(
            [sys.executable, "-m", "bytewax.run", "flows.notifier", *arguments],
            cwd=ROOT,
            env={**os.environ, "HEADRACE_CONFIG": str(self._file)},
            stdout=subprocess.PIPE,
            stderr=self.log.open("a"),
            text=True,
        )

    def recoverable(self) -> Sequence[str]:
        return ("-r", str(self.store), "-s", "1", "-b", "0")

    def wait_for_commits(self, messages: int) -> None:
        """Wait until so many alerts are committed: a snapshot holds what they did."""
        partitions = [TopicPartition(self.alerts, number) for number in range(2)]
        group = Consumer({"bootstrap.servers": self.kafka, "group.id": f"{self.alerts}.notifier"})
        deadline = time.monotonic() + 60
        with closing(group):
            while sum(max(0, at.offset) for at in group.committed(partitions, 20)) < messages:
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.1)

    def run_to_the_end(self, *arguments: str) -> str:
        process = self.start(*arguments, until="end")
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, self.log.read_text()
        return output


@pytest.fixture
def notifier(tmp_path: Path, kafka: str, topic: TopicFactory, webhook: Webhook) -> Notifier:
    return Notifier(tmp_path, kafka, topic, webhook)


def read(kafka: str, topic: str, number: int) -> list[Any]:
    consumer = Consumer(
        {"bootstrap.servers": kafka, "group.id": topic, "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    try:
        messages = consumer.consume(number, timeout=20)
        assert len(messages) == number
        return messages
    finally:
        consumer.close()


A, B = {"alertname": "A", "service.name": "shop"}, {"alertname": "B"}


def test_bounded_runs_tell_what_is_new_and_remember_what_was_told(
    notifier: Notifier, webhook: Webhook
) -> None:
    notifier.produce(event(A), event(B), event(B, "resolved"))
    notifier.run_to_the_end(*notifier.recoverable())
    notifier.produce(event(A, "resolved"))
    notifier.run_to_the_end(*notifier.recoverable())
    notifier.run_to_the_end(*notifier.recoverable())
    assert webhook.told() == [("firing", [("A", "firing")]), ("resolved", [("A", "resolved")])]
    assert webhook.bodies[0]["groupKey"] == '{}:{alertname="A", service.name="shop"}'


def test_what_is_no_alert_event_goes_to_the_dead_letter_topic(
    notifier: Notifier, webhook: Webhook, kafka: str
) -> None:
    notifier.produce(b"not an alert", event(A), b"{}")
    notifier.run_to_the_end("-w", "2")
    letters = read(kafka, notifier.dead_letters, 2)
    assert {letter.value() for letter in letters} == {b"not an alert", b"{}"}
    assert webhook.told() == [("firing", [("A", "firing")])]


def test_a_flow_that_is_killed_tells_nothing_twice_and_loses_nothing(
    notifier: Notifier, webhook: Webhook
) -> None:
    process = notifier.start(*notifier.recoverable())
    try:
        notifier.produce(event(A))
        webhook.wait_for(1)
        notifier.wait_for_commits(1)
    finally:
        process.kill()
        process.communicate()
    notifier.produce(event(A, "resolved"), event(B))
    process = notifier.start(*notifier.recoverable())
    try:
        webhook.wait_for(3)
        time.sleep(2)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    first, *others = webhook.told()
    assert first == ("firing", [("A", "firing")])
    assert sorted(others) == [("firing", [("B", "firing")]), ("resolved", [("A", "resolved")])]


def test_a_receiver_that_is_down_delays_no_other(notifier: Notifier, webhook: Webhook) -> None:
    dead = {"type": "webhook", "url": f"http://127.0.0.1:{free_port()}/hook"}
    notifier.settings["notifier"]["receivers"][0]["channels"].insert(0, dead)
    process = notifier.start()
    try:
        notifier.produce(event(A))
        webhook.wait_for(1)
        notifier.produce(event(A, "resolved"))
        webhook.wait_for(2)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert webhook.told() == [("firing", [("A", "firing")]), ("resolved", [("A", "resolved")])]
    assert "ops/webhook[0]: 127.0.0.1:" in notifier.log.read_text()


def test_the_console_is_standard_output(notifier: Notifier) -> None:
    notifier.settings["notifier"]["receivers"][0]["channels"] = [{"type": "console"}]
    notifier.produce(event(A, annotations={"summary": "slower than ever"}))
    output = notifier.run_to_the_end()
    assert output.splitlines() == [
        "2026-09-21T14:13:20Z  FIRING    A  service.name=shop  slower than ever"
    ]


def test_a_bounded_run_fails_when_it_could_not_tell(notifier: Notifier, webhook: Webhook) -> None:
    refusing = webhook.server.url_for("/nowhere")
    notifier.settings["notifier"]["receivers"][0]["channels"][0]["url"] = refusing
    notifier.produce(event(A))
    process = notifier.start(until="end")
    process.communicate(timeout=120)
    assert process.returncode == 1
    assert (
        "1 notifications were not delivered, the first to ops/webhook[0]"
        in notifier.log.read_text()
    )
