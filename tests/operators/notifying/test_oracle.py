"""The same alerts to Alertmanager and to the notifier: both tell their receivers the same.

Real Alertmanager, real HTTP, real time. Groups wait 1 s, then 2 s between notifications, and
repeat after 5 s. Whatever happens, happens at even seconds; both flush at odd ones.
"""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from operators.contracts.alert import Status, fingerprint
from operators.contracts.clock import SystemClock
from operators.notifying.grouping import Integration, routing
from operators.notifying.notifier import Notifier
from sinks.channels.delivery import ChannelDelivery
from sinks.channels.http import Endpoint
from sinks.channels.slack import SlackChannel
from sinks.channels.webhook import WebhookChannel
from tests.backends.alertmanager import AlertmanagerServer
from tests.conftest import running
from tests.operators.notifying.awake import AwakeNotifier
from tests.operators.notifying.samples import SECOND, event, route

EXTERNAL_URL = "http://headrace.example/alerts"
RECEIVER = "team.ops"
GROUP_BY = ("alertname", "service")


@dataclass
class Inbox:
    """What was posted, by path."""

    server: HTTPServer
    bodies: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.server.expect_request(re.compile(".*")).respond_with_handler(self.take)

    def take(self, request: Request) -> Response:
        self.bodies[request.path].append(json.loads(request.get_data()))
        return Response("ok")

    def by_group(self, path: str) -> dict[str, list[Any]]:
        groups: dict[str, list[Any]] = defaultdict(list)
        for body in self.bodies[path]:
            groups[body["groupKey"]].append(body)
        return groups


def configuration(inbox: HTTPServer) -> dict[str, Any]:
    def url(path: str) -> str:
        return inbox.url_for(f"/alertmanager/{path}")

    return {
        "route": {
            "receiver": RECEIVER,
            "group_by": list(GROUP_BY),
            "group_wait": "1s",
            "group_interval": "2s",
            "repeat_interval": "5s",
        },
        "receivers": [
            {
                "name": RECEIVER,
                "webhook_configs": [
                    {"url": url("all"), "send_resolved": True},
                    {"url": url("two"), "send_resolved": True, "max_alerts": 2},
                    {"url": url("firing"), "send_resolved": False},
                ],
                "slack_configs": [
                    {"api_url": url("slack"), "channel": "#ops", "send_resolved": True}
                ],
            }
        ],
    }


def ours(inbox: HTTPServer) -> AwakeNotifier:
    def endpoint(path: str) -> Endpoint:
        return Endpoint(inbox.url_for(f"/headrace/{path}"), timeout=5)

    integrations = (
        Integration(f"{RECEIVER}/all", send_resolved=True),
        Integration(f"{RECEIVER}/two", send_resolved=True),
        Integration(f"{RECEIVER}/firing", send_resolved=False),
        Integration(f"{RECEIVER}/slack", send_resolved=True),
    )
    names = [integration.name for integration in integrations]
    delivery = ChannelDelivery(
        [
            WebhookChannel(names[0], endpoint("all"), external_url=EXTERNAL_URL),
            WebhookChannel(names[1], endpoint("two"), external_url=EXTERNAL_URL, max_alerts=2),
            WebhookChannel(names[2], endpoint("firing"), external_url=EXTERNAL_URL),
            SlackChannel(
                names[3],
                endpoint("slack"),
                external_url=EXTERNAL_URL,
                username="Headrace",
                channel="#ops",
            ),
        ]
    )
    along = route(
        integrations=integrations,
        group_by=GROUP_BY,
        group_wait=SECOND,
        group_interval=2 * SECOND,
        repeat_interval=5 * SECOND,
    )
    notifier = Notifier(routing(along), delivery, SystemClock())
    return AwakeNotifier(notifier, delivery)


LATENCY = {"alertname": "Latency", "service": "shop"}
SUMMARY = {"summary": 'p99 < "1 s" & more', "runbook": "http://wiki/latency"}
Change = tuple[Status, dict[str, str], dict[str, str]]
TIMELINE: dict[float, list[Change]] = {
    0: [
        ("firing", {**LATENCY, "instance": "b:80", "job": "web"}, SUMMARY),
        ("firing", {**LATENCY, "instance": "a:80", "job": "web"}, SUMMARY),
        ("firing", {**LATENCY, "zone": "ä\n\t\u00a0\u2028"}, {"summary": "other"}),
        ("firing", {"alertname": "Disk", "path": 'C:\\"x"'}, {}),
        ("firing", {"alertname": "Flap", "service": "a"}, {}),
        ("firing", {"alertname": "Blip", "service": "a"}, {}),
        ("firing", {"alertname": "Wink", "eye": "left"}, {}),
    ],
    0.5: [
        ("resolved", {"alertname": "Blip", "service": "a"}, {}),
    ],
    2: [
        ("resolved", {**LATENCY, "instance": "b:80", "job": "web"}, SUMMARY),
        ("firing", {**LATENCY, "instance": "c:80"}, SUMMARY),
        ("resolved", {"alertname": "Flap", "service": "a"}, {}),
        ("firing", {"alertname": "Wink", "eye": "right"}, {}),
    ],
    2.5: [
        ("resolved", {"alertname": "Wink", "eye": "right"}, {}),
    ],
    4: [
        ("firing", {"alertname": "Late", "service": "a"}, {}),
        ("resolved", {**LATENCY, "instance": "a:80", "job": "web"}, SUMMARY),
        ("resolved", {**LATENCY, "instance": "c:80"}, SUMMARY),
        ("resolved", {**LATENCY, "zone": "ä\n\t\u00a0\u2028"}, {"summary": "other"}),
    ],
    8: [],
}


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inbox]:
    """What both told their receivers, after the timeline has been played to both."""
    with HTTPServer(host="127.0.0.1", port=0, threaded=True) as server:
        inbox = Inbox(server)
        alertmanager = AlertmanagerServer(
            tmp_path_factory.mktemp("alertmanager"),
            configuration(server),
            external_url=EXTERNAL_URL,
        )
        with running(alertmanager), closing(ours(server)) as notifier:
            play(alertmanager, notifier)
        yield inbox


def play(alertmanager: AlertmanagerServer, notifier: AwakeNotifier) -> None:
    starts: dict[str, int] = {}
    began = time.time()
    for second, changes in TIMELINE.items():
        time.sleep(max(0.0, began + second - time.time()))
        now = time.time_ns() // 1_000_000 * 1_000_000
        events = [
            event(
                labels,
                status,
                since=starts.setdefault(str(labels), now),
                until=now if status == "resolved" else None,
                annotations=annotations,
                generator_url="http://rules/?g0.expr=a&b",
            )
            for status, labels, annotations in changes
        ]
        notifier.receive(events)
        alertmanager.post([as_posted(event) for event in events])


def as_posted(event: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("labels", "annotations", "startsAt", "endsAt", "generatorURL")
    return {key: event[key] for key in kept if event[key] is not None}


GROUPS = {
    '{}:{alertname="Latency", service="shop"}': 3,
    '{}:{alertname="Disk"}': 2,
    '{}:{alertname="Flap", service="a"}': 2,
    '{}:{alertname="Late", service="a"}': 1,
}


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("path", ["all", "two", "firing"])
def test_the_webhook_is_told_what_alertmanager_tells_it(
    inbox: Inbox, path: str, group: str
) -> None:
    theirs = inbox.by_group(f"/alertmanager/{path}")[group]
    told = inbox.by_group(f"/headrace/{path}")[group]
    assert told == theirs


@pytest.mark.parametrize(("group", "number"), GROUPS.items())
def test_the_timeline_gives_them_something_to_tell(inbox: Inbox, group: str, number: int) -> None:
    assert len(inbox.by_group("/alertmanager/all")[group]) == number


WINK = '{}:{alertname="Wink"}'


def test_neither_tells_of_a_group_that_came_and_went(inbox: Inbox) -> None:
    for side in ("alertmanager", "headrace"):
        assert inbox.by_group(f"/{side}/all").keys() == {*GROUPS, WINK}


def test_of_an_alert_that_came_and_went_both_tell_while_others_fire(inbox: Inbox) -> None:
    def eyes(side: str) -> list[list[tuple[str, str]]]:
        bodies = inbox.by_group(f"/{side}/all")[WINK]
        return [[(a["labels"]["eye"], a["status"]) for a in body["alerts"]] for body in bodies]

    left = ("left", "firing")
    assert eyes("alertmanager") == [[left], [left, ("right", "resolved")]]
    assert eyes("headrace") == eyes("alertmanager")


def test_slack_messages_have_the_title_and_colour_of_alertmanagers(inbox: Inbox) -> None:
    def told(side: str) -> list[tuple[str, str, str]]:
        attachments = [body["attachments"][0] for body in inbox.bodies[f"/{side}/slack"]]
        return sorted(
            (a["title"].strip(), a["color"], a["fallback"].partition(" |")[0].strip())
            for a in attachments
            if "Wink" not in a["title"]
        )

    assert told("headrace") == told("alertmanager")
    assert len(told("headrace")) == sum(GROUPS.values())


LABELS = [
    {"alertname": "A"},
    {"alertname": "A", "instance": "a:9090", "job": "x"},
    {"alertname": "ü😀", "zone": "\n\t\x00"},
    {"b": "1", "alertname": "x" * 1000, "_a": "2"},
]


def test_fingerprints_are_alertmanagers(tmp_path_factory: pytest.TempPathFactory) -> None:
    quiet = {"route": {"receiver": "none"}, "receivers": [{"name": "none"}]}
    directory = tmp_path_factory.mktemp("alertmanager")
    with running(AlertmanagerServer(directory, quiet, external_url=EXTERNAL_URL)) as alertmanager:
        alertmanager.post([{"labels": labels} for labels in LABELS])
        theirs = {
            json.dumps(a["labels"], sort_keys=True): a["fingerprint"] for a in alertmanager.alerts()
        }
    assert theirs == {json.dumps(labels, sort_keys=True): fingerprint(labels) for labels in LABELS}
