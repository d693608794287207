"""What every channel does, and what each one writes."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from operators.contracts.clock import ManualClock
from operators.notifying.alert import Alert
from operators.notifying.notification import Notification
from sinks.channels.base import Channel, Delivered, Outcome, RefusedByReceiver, Retry
from sinks.channels.console import ConsoleChannel
from sinks.channels.http import Endpoint
from sinks.channels.slack import SlackChannel
from sinks.channels.webhook import WebhookChannel
from tests.backends.process import free_port
from tests.operators.notifying.samples import MINUTE, SECOND, START, alert
from tests.sinks.notifications import notification

SECRET = "/services/T0123456/B0123456/verysecrettoken"
TOKEN = "another-secret-token"


@dataclass
class Receiver:
    """The other end of a channel over HTTP, which answers as it is told."""

    server: HTTPServer
    answer: Response = field(default_factory=lambda: Response("ok"))
    delay: float = 0.0
    received: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server.expect_request(SECRET).respond_with_handler(self.handle)

    @property
    def url(self) -> str:
        return self.server.url_for(SECRET)

    def handle(self, request: Request) -> Response:
        request.get_data()
        self.received.append(request)
        time.sleep(self.delay)
        return self.answer

    def bodies(self) -> list[Any]:
        return [json.loads(request.get_data()) for request in self.received]


@pytest.fixture
def receiver(httpserver: HTTPServer) -> Iterator[Receiver]:
    receiver = Receiver(httpserver)
    yield receiver
    time.sleep(receiver.delay)  # the server has one thread: let it get free


def webhook(url: str, **options: Any) -> Channel:
    endpoint = Endpoint(url, bearer_token=TOKEN, timeout=0.5, clock=ManualClock(START))
    return WebhookChannel("ops/webhook[0]", endpoint, external_url="http://headrace", **options)


def slack(url: str, channel: str | None = None) -> Channel:
    endpoint = Endpoint(url, timeout=0.5, clock=ManualClock(START))
    return SlackChannel(
        "ops/slack[0]",
        endpoint,
        external_url="http://headrace",
        username="Headrace",
        channel=channel,
    )


def console(_url: str) -> Channel:
    return ConsoleChannel("ops/console[0]", io.StringIO())


OVER_HTTP: dict[str, Callable[[str], Channel]] = {"webhook": webhook, "slack": slack}
ALL: dict[str, Callable[[str], Channel]] = {**OVER_HTTP, "console": console}

FIRING = alert({"alertname": "Slow", "severity": "page", "host": "web-1"})
RESOLVED = alert({"alertname": "Slow", "severity": "page", "host": "web-2"}, "resolved")

every_channel = pytest.mark.parametrize("make", ALL.values(), ids=ALL)
every_http_channel = pytest.mark.parametrize("make", OVER_HTTP.values(), ids=OVER_HTTP)


def send(channel: Channel, *notifications: Notification) -> list[Outcome]:
    async def all_at_once() -> list[Outcome]:
        try:
            return list(await asyncio.gather(*map(channel.send, notifications)))
        finally:
            await channel.close()

    return asyncio.run(all_at_once())


# Every channel.


@every_channel
@pytest.mark.parametrize("alerts", [[FIRING], [RESOLVED], [FIRING, RESOLVED]])
def test_firing_and_resolved_are_delivered(
    make: Callable[[str], Channel], alerts: list[Alert], receiver: Receiver
) -> None:
    assert send(make(receiver.url), notification(*alerts)) == [Delivered()]


@every_channel
def test_what_was_delivered_can_be_again(
    make: Callable[[str], Channel], receiver: Receiver
) -> None:
    told = notification(FIRING)
    assert send(make(receiver.url), told, told) == [Delivered(), Delivered()]


HOSTILE = {
    "alertname": "\x1b[31mred\x1b[0m",
    "quote": '"\\',
    "mention": "<!channel> & <https://evil.example|click>",
    "lines": "a\nb\r\nc\u2028d",
    "emoji": "😀",
    "bidi": "\u202e",
    "nul": "\x00",
    "empty": "",
}


@every_channel
def test_labels_may_hold_anything(make: Callable[[str], Channel], receiver: Receiver) -> None:
    hostile = alert(HOSTILE, annotations={"summary": "<!here>\x07\n"})
    assert send(make(receiver.url), notification(hostile)) == [Delivered()]


@every_channel
def test_a_group_may_be_large(make: Callable[[str], Channel], receiver: Receiver) -> None:
    alerts = [alert({"alertname": "Slow", "host": f"web-{n}"}) for n in range(5_000)]
    assert send(make(receiver.url), notification(*alerts)) == [Delivered()]


@every_channel
def test_an_alert_may_have_nothing_but_its_name(
    make: Callable[[str], Channel], receiver: Receiver
) -> None:
    assert send(make(receiver.url), notification(alert({"alertname": "Slow"}))) == [Delivered()]


# Every channel over HTTP.


@every_http_channel
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_to_be_tried_again(
    make: Callable[[str], Channel], status: int, receiver: Receiver
) -> None:
    receiver.answer = Response("busy", status)
    (outcome,) = send(make(receiver.url), notification(FIRING))
    assert isinstance(outcome, Retry)
    assert outcome.after is None
    assert outcome.perhaps == (status in (502, 504))
    assert f"answered {status}: busy" in outcome.reason


@every_http_channel
@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413])
def test_what_the_receiver_faults_is_not(
    make: Callable[[str], Channel], status: int, receiver: Receiver
) -> None:
    receiver.answer = Response("no such hook", status)
    (outcome,) = send(make(receiver.url), notification(FIRING))
    assert isinstance(outcome, RefusedByReceiver)
    assert f"answered {status}: no such hook" in outcome.reason


LATER = format_datetime(datetime.fromtimestamp(START / SECOND + 90, UTC), usegmt=True)


@every_http_channel
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("header", "seconds"),
    [("30", 30.0), ("0", 0.0), ("-1", 0.0), (LATER, 90.0), ("soon", None), ("nan", 0.0)],
)
def test_a_receiver_can_ask_to_be_left_alone(
    make: Callable[[str], Channel],
    status: int,
    header: str,
    seconds: float | None,
    receiver: Receiver,
) -> None:
    receiver.answer = Response("", status, headers={"Retry-After": header})
    (outcome,) = send(make(receiver.url), notification(FIRING))
    assert isinstance(outcome, Retry)
    assert outcome.after == seconds


@every_http_channel
def test_a_receiver_that_is_away_is_to_be_tried_again(make: Callable[[str], Channel]) -> None:
    port = free_port()
    (outcome,) = send(make(f"http://127.0.0.1:{port}{SECRET}"), notification(FIRING))
    assert isinstance(outcome, Retry)
    assert not outcome.perhaps
    assert f"127.0.0.1:{port}" in outcome.reason


@every_http_channel
def test_a_receiver_that_does_not_answer_is_to_be_tried_again(
    make: Callable[[str], Channel], receiver: Receiver
) -> None:
    receiver.delay = 1.0
    (outcome,) = send(make(receiver.url), notification(FIRING))
    assert isinstance(outcome, Retry)
    assert "no answer in time" in outcome.reason
    assert outcome.perhaps


@every_http_channel
def test_a_redirection_is_not_followed_for_it_would_lose_the_notification(
    make: Callable[[str], Channel], receiver: Receiver
) -> None:
    receiver.answer = Response("", 302, headers={"Location": "/elsewhere"})
    (outcome,) = send(make(receiver.url), notification(FIRING))
    assert isinstance(outcome, RefusedByReceiver)
    assert "write the address that it leads to in the settings" in outcome.reason


@every_http_channel
@pytest.mark.parametrize("status", [200, 302, 404, 429, 500])
def test_no_secret_is_told(
    make: Callable[[str], Channel],
    status: int,
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = f"cannot serve {receiver.url} or {SECRET}, nor verysecrettoken"
    if make is webhook:
        echo += f" to {TOKEN}"
    receiver.answer = Response(echo, status, headers={"Location": SECRET})
    (outcome,) = send(make(receiver.url), notification(FIRING))
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith("werkzeug")]
    said = "\n".join([repr(outcome), *ours])
    for secret in (SECRET, TOKEN, "verysecrettoken", "T0123456"):
        assert secret not in said


# Each channel.


def test_the_webhook_takes_any_2xx(receiver: Receiver) -> None:
    receiver.answer = Response("", 204)
    assert send(webhook(receiver.url), notification(FIRING)) == [Delivered()]


def test_the_webhook_sends_json_and_its_token(receiver: Receiver) -> None:
    send(webhook(receiver.url), notification(FIRING))
    (request,) = receiver.received
    assert request.method == "POST"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"


def test_the_webhook_cuts_off_what_is_too_much_and_says_how_much(receiver: Receiver) -> None:
    """As Alertmanager: all that describes the alerts is about those that are left."""
    alerts = [
        alert({"alertname": "Slow", "host": "1", "zone": "a"}, "resolved"),
        alert({"alertname": "Slow", "host": "2", "zone": "a"}, "resolved"),
        alert({"alertname": "Slow", "host": "3", "zone": "b"}),
    ]
    send(webhook(receiver.url, max_alerts=2), notification(*alerts))
    (body,) = receiver.bodies()
    assert [a["labels"]["host"] for a in body["alerts"]] == ["1", "2"]
    assert body["truncatedAlerts"] == 1
    assert body["status"] == "resolved"
    assert body["commonLabels"] == {"alertname": "Slow", "zone": "a"}


def test_slack_is_told_in_its_format(receiver: Receiver) -> None:
    firing = alert(
        {"alertname": "Slow", "severity": "page", "host": "web-1"},
        annotations={"summary": "4 s, expected < 1 s"},
    )
    send(slack(receiver.url, "#ops"), notification(firing, RESOLVED))
    (body,) = receiver.bodies()
    began, ended = START // SECOND, (START + MINUTE) // SECOND
    form = "{date_short_pretty} {time_secs}"
    assert body == {
        "username": "Headrace",
        "channel": "#ops",
        "attachments": [
            {
                "title": "[FIRING:1] Slow (page)",
                "title_link": "http://headrace",
                "text": (
                    ":red_circle: host=web-1: 4 s, expected &lt; 1 s, "
                    f"since <!date^{began}^{form}|2026-09-21T14:13:20Z>\n"
                    ":large_green_circle: host=web-2, "
                    f"since <!date^{began}^{form}|2026-09-21T14:13:20Z>, "
                    f"until <!date^{ended}^{form}|2026-09-21T14:14:20Z>"
                ),
                "fallback": "[FIRING:1] Slow (page) | http://headrace",
                "color": "danger",
                "fields": [
                    {"title": "alertname", "value": "Slow", "short": True},
                    {"title": "severity", "value": "page", "short": True},
                ],
                "footer": "Headrace: first notification",
                "mrkdwn_in": ["text"],
            }
        ],
    }


def test_slack_is_green_when_all_is_over(receiver: Receiver) -> None:
    send(slack(receiver.url), notification(RESOLVED))
    (attachment,) = receiver.bodies()[0]["attachments"]
    assert (attachment["color"], attachment["title"]) == ("good", "[RESOLVED] Slow (web-2 page)")


def test_slack_lists_so_many_alerts_and_counts_the_rest(receiver: Receiver) -> None:
    alerts = [alert({"alertname": "Slow", "host": f"web-{n:03}"}) for n in range(100)]
    send(slack(receiver.url), notification(*alerts))
    (attachment,) = receiver.bodies()[0]["attachments"]
    lines = attachment["text"].splitlines()
    assert len(lines) == 21
    assert lines[-1] == "… and 80 more"


def test_slack_reads_no_mention_or_link_in_a_label(receiver: Receiver) -> None:
    send(slack(receiver.url), notification(alert(HOSTILE, annotations={"summary": "<!here>"})))
    message = json.dumps(receiver.bodies())
    assert "<!channel>" not in message
    assert "<!here>" not in message
    assert "<https://evil" not in message


def test_slack_titles_are_cut_to_what_slack_shows(receiver: Receiver) -> None:
    send(slack(receiver.url), notification(alert({"alertname": "x" * 3000})))
    (attachment,) = receiver.bodies()[0]["attachments"]
    assert len(attachment["title"]) == 1024


def test_slack_means_no_when_it_does_not_say_ok(receiver: Receiver) -> None:
    receiver.answer = Response("channel_is_archived", 200)
    (outcome,) = send(slack(receiver.url), notification(FIRING))
    assert isinstance(outcome, RefusedByReceiver)
    assert "channel_is_archived" in outcome.reason


def lines(*alerts: Alert) -> list[str]:
    stream = io.StringIO()
    send(ConsoleChannel("ops/console[0]", stream), notification(*alerts))
    return stream.getvalue().splitlines()


def test_the_console_says_each_alert_in_a_line() -> None:
    firing = alert(
        {"alertname": "Slow", "severity": "page", "host": "web-1", "service.name": "shop"},
        annotations={"summary": "4 s, expected < 1 s"},
    )
    assert lines(firing, RESOLVED) == [
        "2026-09-21T14:14:20Z  RESOLVED  Slow  page  host=web-2  (since 2026-09-21T14:13:20Z)",
        "2026-09-21T14:13:20Z  FIRING    Slow  page  host=web-1 service.name=shop  "
        "4 s, expected < 1 s",
    ]


def test_the_console_keeps_its_line_and_its_terminal_whatever_a_label_holds() -> None:
    (line,) = lines(alert(HOSTILE, annotations={"summary": "[bold]a[/bold]\n" + "x" * 500}))
    assert all(character.isprintable() for character in line)
    assert "[bold]a[/bold] xxx" in line


def test_the_console_says_so_when_nobody_listens() -> None:
    class Broken(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    (outcome,) = send(ConsoleChannel("ops/console[0]", Broken()), notification(FIRING))
    assert outcome == Retry("cannot write to standard output: Broken pipe")
