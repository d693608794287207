"""A group's thread in Slack outlives a kill -9 at any point of it, and nothing is in it twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from tests.conftest import TopicFactory
from tests.flows.test_notifier import Notifier, Webhook
from tests.operators.notifying.samples import event
from tests.sinks.slack_api import TOKEN, SlackServer

A, B = {"alertname": "Slow", "host": "a"}, {"alertname": "Slow", "host": "b"}


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with HTTPServer(host="127.0.0.1", port=0, threaded=True) as server:
        yield SlackServer(server)


def wait_for(done: Callable[[], bool], within: float = 60.0) -> None:
    deadline = time.monotonic() + within
    while not done():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


def test_a_thread_goes_on_after_a_kill_while_it_is_written_and_has_nothing_twice(
    tmp_path: Path, kafka: str, topic: TopicFactory, slack: SlackServer
) -> None:
    notifier = Notifier(tmp_path, kafka, topic, Webhook(slack.server))
    notifier.settings["notifier"] = {
        "route": {
            "receiver": "ops", "group_by": ["alertname"],
            "group_wait": "200ms", "group_interval": "500ms",
        },
        "receivers": [{"name": "ops", "channels": [
            {"type": "slack", "bot_token": TOKEN, "web_api_url": slack.url, "channel": "#ops"}
        ]}],
    }  # fmt: skip
    arguments = notifier.recoverable()
    since = time.time_ns()

    slack.delay = {"chat.postMessage": 3.0}  # it is there long before the answer is
    process = notifier.start(*arguments)
    notifier.produce(event(A, since=since))
    wait_for(lambda: len(slack.messages) == 1)
    process.kill()
    process.wait()

    slack.delay = {}
    process = notifier.start(*arguments)
    notifier.produce(event(B, since=since))
    wait_for(lambda: len(slack.messages) == 2)
    slack.delay = {"chat.postMessage": 3.0}
    notifier.produce(event(A, "resolved", since=since, until=since + 10**9))
    wait_for(lambda: len(slack.messages) == 3)
    process.kill()
    process.wait()

    slack.delay = {}
    notifier.produce(event(B, "resolved", since=since, until=since + 10**9))
    notifier.run_to_the_end(*arguments)
    (parent,) = slack.parents
    said = [one["attachments"][0]["title"] for one in slack.thread(parent["ts"])]
    assert said[:2] == ["[FIRING:2] Slow", "[FIRING:1] Slow"]
    assert [title.split()[0] for title in said[2:]] == ["[RESOLVED]"]
    assert parent["attachments"][0]["color"] == "good"
