"""A group's first notification is a message in Slack, what follows is in its thread."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from flows.channels import channels_of
from flows.settings.alertmanager import AlertmanagerConfiguration
from operators.contracts.clock import ManualClock, SystemClock
from operators.notifying.dedup import Reason
from operators.notifying.notification import Notification
from sinks.channels import slack_threads
from sinks.channels.base import Channel, Delivered, Outcome, RefusedByReceiver, Retry, Unreachable
from sinks.channels.http import Endpoint
from sinks.channels.slack import slack_message
from sinks.channels.slack_threads import SlackThreads
from tests.operators.notifying.samples import alert
from tests.sinks.notifications import notification
from tests.sinks.slack_api import TOKEN, SlackServer

ONE = alert({"alertname": "Slow", "host": "web-1"})
TWO = alert({"alertname": "Slow", "host": "web-2"})
FIRST = replace(notification(ONE), id="n1")
LATER = replace(notification(ONE, TWO), id="n2", reason=Reason.NEW_ALERTS)
OVER = replace(
    notification(alert(dict(ONE.labels), "resolved"), alert(dict(TWO.labels), "resolved")),
    id="n3",
    reason=Reason.ALL_RESOLVED,
)


@pytest.fixture
def slack() -> Any:
    with HTTPServer(host="127.0.0.1", port=0, threaded=True) as server:
        yield SlackServer(server)


class Settled(ManualClock):
    """A clock by which the start was long ago; its time is that of the machine."""

    def __init__(self) -> None:
        super().__init__(SystemClock().now())

    def monotonic(self) -> float:
        made, self._started = getattr(self, "_started", 0.0), 1e6
        return made


def channel(slack: SlackServer, *, to: str = "#ops", token: str = TOKEN, new: bool = False) -> Any:
    endpoint = Endpoint(slack.url, bearer_token=token, timeout=2.0)
    return SlackThreads(
        "ops/slack[0]",
        endpoint,
        lambda told: {"username": "Headrace", "channel": to} | slack_message(told, "http://h"),
        SystemClock() if new else Settled(),
    )


def send(one: Channel, *told: Notification) -> list[Outcome]:
    """Send one after the other, each with the receipt of the one before."""

    async def all_of_them() -> list[Outcome]:
        outcomes: list[Outcome] = []
        receipt = told[0].receipt
        for each in told:
            outcome = await one.send(replace(each, receipt=receipt))
            receipt = outcome.receipt if isinstance(outcome, Delivered) else receipt
            outcomes.append(outcome)
        await one.close()
        return outcomes

    return asyncio.run(all_of_them())


def titles(messages: list[dict[str, Any]]) -> list[str]:
    return [one["attachments"][0]["title"] for one in messages]


def test_what_follows_is_in_the_thread_of_the_first_which_says_how_things_are(
    slack: SlackServer,
) -> None:
    outcomes = send(channel(slack), FIRST, LATER, OVER)
    (parent,) = slack.parents
    assert outcomes == [Delivered(f"{slack.channel}/{parent['ts']}")] * 3
    assert titles(slack.thread(parent["ts"])) == [
        "[FIRING:2] Slow", "[RESOLVED] Slow",
    ]  # fmt: skip
    assert titles([parent]) == ["[RESOLVED] Slow"]
    assert parent["attachments"][0]["color"] == "good"
    assert slack.calls == ["chat.postMessage"] + ["chat.update", "chat.postMessage"] * 2


@pytest.mark.parametrize("to", ["#ops", "ops", "C0123ABC"])
def test_after_a_start_what_is_there_is_not_posted_again(slack: SlackServer, to: str) -> None:
    send(channel(slack, to=to), FIRST)
    again = send(channel(slack, to=to, new=True), FIRST)
    (parent,) = slack.parents
    assert again == [Delivered(f"{slack.channel}/{parent['ts']}")]
    later = replace(LATER, receipt=again[0].receipt)  # type: ignore[union-attr]
    send(channel(slack, to=to), later)
    send(channel(slack, to=to, new=True), later)
    assert len(slack.thread(parent["ts"])) == 1


def test_the_message_of_a_group_is_found_again_though_its_receipt_is_lost(
    slack: SlackServer,
) -> None:
    send(channel(slack), FIRST)
    other = replace(notification(alert({"alertname": "Other"})), id="x")
    send(channel(slack), other)
    changed = replace(LATER, reason=Reason.FIRST, unsure=True)
    send(channel(slack), changed)
    assert titles(slack.parents) == ["[FIRING:2] Slow", "[FIRING:1] Other"]
    assert len(slack.thread(slack.parents[0]["ts"])) == 1
    # One that is over is none to go on with.
    send(channel(slack), replace(OVER, unsure=True))
    send(channel(slack), replace(FIRST, id="n9", unsure=True))
    assert len(slack.parents) == 3


def test_an_answer_that_did_not_come_makes_no_double(slack: SlackServer) -> None:
    slack.delay = {"chat.postMessage": 0.6}
    one = channel(slack)
    one._api._client.timeout = 0.3

    async def twice() -> list[Outcome]:
        outcomes = [await one.send(FIRST)]
        slack.delay = {}
        outcomes.append(await one.send(FIRST))
        await one.close()
        return outcomes

    lost, found = asyncio.run(twice())
    assert isinstance(lost, Retry)
    assert lost.perhaps
    assert isinstance(found, Delivered)
    assert len(slack.messages) == 1


def test_a_message_that_was_deleted_is_posted_anew(slack: SlackServer) -> None:
    (first,) = send(channel(slack), FIRST)
    slack.messages.clear()
    assert isinstance(first, Delivered)
    (outcome,) = send(channel(slack), replace(LATER, receipt=first.receipt))
    (parent,) = slack.parents
    assert outcome == Delivered(f"{slack.channel}/{parent['ts']}")


def test_an_app_that_may_not_read_posts_all_the_same(
    slack: SlackServer, caplog: pytest.LogCaptureFixture
) -> None:
    slack.scopes = frozenset({"chat:write"})
    assert isinstance(send(channel(slack, new=True), FIRST, LATER)[1], Delivered)
    assert "channels:history" in caplog.text
    assert len(slack.messages) == 2


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        ("not_in_channel", RefusedByReceiver, "invite the app"),
        ("invalid_auth", RefusedByReceiver, "set bot_token"),
        ("ratelimited", Retry, "ratelimited"),
        ("internal_error", Retry, "internal_error"),
        (Response("", 429, {"Retry-After": "7"}), Retry, "429"),
        (Response("<html>", 200), RefusedByReceiver, "no word that it is done"),
    ],
)
def test_what_slack_says_tells_whether_to_try_again(
    slack: SlackServer, fault: Any, kind: type[Retry] | type[RefusedByReceiver], said: str
) -> None:
    slack.faults = {"chat.postMessage": [fault]}
    (outcome,) = send(channel(slack), FIRST)
    assert isinstance(outcome, kind)
    assert said in outcome.reason
    assert TOKEN not in outcome.reason
    if isinstance(fault, Response) and isinstance(outcome, Retry):
        assert outcome.after == 7


def test_the_token_can_be_tried_without_a_message(slack: SlackServer) -> None:
    assert "knows us as headrace" in asyncio.run(channel(slack).reach())
    with pytest.raises(Unreachable, match="set bot_token"):
        asyncio.run(channel(slack, token="xoxb-wrong-token").reach())
    assert slack.messages == []


def test_a_configured_app_posts_the_texts_of_its_templates(
    slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slack_threads, "UNSURE_SECONDS", 0.0)
    options = {
        "bot_token": TOKEN, "web_api_url": slack.url, "channel": "ops", "title": "{{ .Status }}!",
    }  # fmt: skip
    configuration = AlertmanagerConfiguration.model_validate(
        {"route": {"receiver": "ops"}, "receivers": [{"name": "ops", "slack_configs": [options]}]}
    )
    (made,) = channels_of(configuration, "http://h")
    send(made, FIRST, OVER)
    assert titles(slack.messages) == ["resolved!", "resolved!"]
    assert slack.calls == ["chat.postMessage", "chat.update", "chat.postMessage"]
