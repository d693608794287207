"""The notifier is killed at any moment, again and again: nothing is lost, nothing told twice.

``HEADRACE_KILL_ROUNDS`` kills more often, ``HEADRACE_KILL_SEED`` at other moments.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.conftest import TopicFactory
from tests.flows.test_notifier import Notifier, Webhook
from tests.operators.notifying.samples import event

ROUNDS = int(os.environ.get("HEADRACE_KILL_ROUNDS", "4"))
SEED = int(os.environ.get("HEADRACE_KILL_SEED", "1"))


class Receiver(Webhook):
    """Takes each message once, by its id, as a receiver should that wants no doubles."""

    def __post_init__(self) -> None:
        self.seen: Counter[str] = Counter()
        super().__post_init__()

    def take(self, request: Request) -> Response:
        name = request.headers["webhook-id"]
        self.seen[name] += 1
        return super().take(request) if self.seen[name] == 1 else Response("")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with HTTPServer(host="127.0.0.1", port=0, threaded=True) as server:
        yield Receiver(server)


def wait_for(done: Any, within: float = 60.0) -> None:
    deadline = time.monotonic() + within
    while not done() and time.monotonic() < deadline:
        time.sleep(0.1)


def test_killed_at_any_moment_each_alert_is_told_to_fire_once_and_to_be_over_once(
    tmp_path: Path, kafka: str, topic: TopicFactory, receiver: Receiver
) -> None:
    order = random.Random(SEED)
    notifier = Notifier(tmp_path, kafka, topic, receiver)
    firing: list[dict[str, str]] = []
    expected: set[tuple[str, str]] = set()

    def told() -> Counter[tuple[str, str]]:
        return Counter(
            (alert["labels"]["alertname"], alert["status"])
            for body in list(receiver.bodies)
            for alert in body["alerts"]
        )

    for number in range(ROUNDS):
        process = notifier.start(*notifier.recoverable())
        try:
            # One that is killed before it has begun would prove nothing.
            wait_for(lambda: notifier.log.read_text().count("flow notifier, version") > number)  # noqa: B023
            for step in range(3):
                one = {"alertname": f"A{number}-{step}"}
                notifier.produce(event(one))
                firing.append(one)
                expected.add((one["alertname"], "firing"))
                if number and step == 1:
                    over = firing.pop(0)
                    # An end that comes before anything was told is told to nobody.
                    wait_for(lambda name=over["alertname"]: told()[name, "firing"])  # type: ignore[misc]
                    notifier.produce(event(over, "resolved"))
                    expected.add((over["alertname"], "resolved"))
                time.sleep(order.uniform(0, 1.5))
            if number == 0:
                wait_for(lambda: receiver.bodies)
            time.sleep(order.uniform(0, 2))
        finally:
            process.kill()
            process.communicate()
    process = notifier.start(*notifier.recoverable())
    try:
        wait_for(lambda: set(told()) == expected)
        time.sleep(2)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert set(told()) == expected
    assert {name: number for name, number in told().items() if number > 1} == {}
    doubles = sum(number - 1 for number in receiver.seen.values())
    print(f"{ROUNDS} kills: {len(receiver.seen)} messages, {doubles} of them came again")
