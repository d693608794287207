"""The same configuration and the same alerts to Alertmanager and to the notifier: the same is told.

Real Alertmanagers, real HTTP, real time. Each round draws a configuration and a schedule from its
seed: a tree of routes, inhibitions, times and silences, and alerts that come, change and go. All
rounds are played at once. Whatever happens, happens at whole seconds; both flush at half ones.
``HEADRACE_ORACLE_SEED`` and ``HEADRACE_ORACLE_ROUNDS`` play others, and more of them.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from flows.notifying import plan
from flows.settings import NotifierSettings
from flows.settings.alertmanager import AlertmanagerConfiguration
from operators.contracts.alert import fingerprint
from operators.contracts.clock import SystemClock
from operators.notifying.matchers import Matcher
from operators.notifying.notifier import Notifier
from operators.notifying.routes import tree_routing
from operators.notifying.silences import Silence
from tests.backends.alertmanager import AlertmanagerServer
from tests.conftest import running
from tests.operators.notifying.awake import AwakeNotifier
from tests.operators.notifying.samples import SECOND, event

SEED = int(os.environ.get("HEADRACE_ORACLE_SEED", "20"))
ROUNDS = int(os.environ.get("HEADRACE_ORACLE_ROUNDS", "4"))
LASTS = 16
EXTERNAL_URL = "http://headrace.example"
WITHIN = 1.0
STALLED = 0.35


@dataclass
class Inbox:
    """What was posted, and when, by path."""

    server: HTTPServer
    told: dict[str, list[tuple[float, Any]]] = field(default_factory=lambda: defaultdict(list))
    until: float = 0.0
    slowest: float = 0.0

    def __post_init__(self) -> None:
        self.server.expect_request(re.compile(".*")).respond_with_handler(self.take)

    def take(self, request: Request) -> Response:
        self.told[request.path].append((time.time(), json.loads(request.get_data())))
        return Response("ok", 202 if "pagerduty" in request.path else 200)


class Draw:
    """A configuration and a schedule, from a seed."""

    def __init__(self, number: int, inbox: HTTPServer) -> None:
        self.random = random.Random(SEED * 1000 + number)
        self.number = number
        self._inbox = inbox
        self.schedule = self._schedule()

    def configuration(self, side: str) -> dict[str, Any]:
        state = self.random.getstate()
        self.random.seed(SEED * 7919 + self.number)
        made = self._configuration(side)
        self.random.setstate(state)
        return made

    def _configuration(self, side: str) -> dict[str, Any]:
        pick, chance = self.random.choice, self.random.random

        def url(path: str) -> str:
            return self._inbox.url_for(f"/{side}/{self.number}/{path}")

        def receiver(name: str) -> dict[str, Any]:
            webhooks = [{"url": url(f"{name}/webhook"), "send_resolved": chance() < 0.8}]
            if chance() < 0.3:
                webhooks.append({"url": url(f"{name}/few"), "max_alerts": 2})
            return {
                "name": name,
                "webhook_configs": webhooks,
                "slack_configs": [
                    {
                        "api_url": url(f"{name}/slack"),
                        "channel": "#{{ .CommonLabels.service | toUpper }}",
                        "username": "x",
                        "send_resolved": chance() < 0.5,
                        "text": "{{ range .Alerts }}{{ .Labels.instance }} {{ .Status }} "
                        '{{ .Annotations.summary | reReplaceAll "[0-9]+" "<$0>" }}\n{{ end }}',
                        "fields": [
                            {"title": "{{ .Status | title }}", "value": "{{ len .Alerts }}"}
                        ],
                        "actions": [{"type": "button", "text": "see", "url": "{{ .ExternalURL }}"}],
                    }
                ],
                "pagerduty_configs": [
                    {"routing_key": "key", "url": url(f"{name}/pagerduty"), "client": "x"}
                ],
            }

        def matchers() -> dict[str, Any]:
            kinds = [
                {"match": {"severity": pick(["page", "warn"])}},
                {"match_re": {"service": pick(["a|b", "b", "c?"])}},
                {"matchers": [pick(['service="a"', "severity!=page", 'service=~"a|b"'])]},
                {"matchers": ['{instance!~"1|3", severity="page"}']},
                {"matchers": ['missing=""']},
            ]
            return pick(kinds)

        def options() -> dict[str, Any]:
            made: dict[str, Any] = {}
            if chance() < 0.5:
                made["group_by"] = pick(
                    [["alertname"], ["service", "severity"], ["..."], ["instance"]]
                )
            if chance() < 0.4:
                made["group_wait"] = pick(["500ms", "1500ms"])
            if chance() < 0.4:
                made["group_interval"] = pick(["2s", "3s"])
            if chance() < 0.3:
                made["repeat_interval"] = pick(["3s", "7s"])
            if chance() < 0.2:
                made[pick(["mute_time_intervals", "active_time_intervals"])] = [
                    pick(["always", "never"])
                ]
            return made

        def branches(depth: int) -> list[dict[str, Any]]:
            return [
                {
                    **matchers(),
                    **options(),
                    **({"receiver": pick(["one", "two", "three"])} if chance() < 0.7 else {}),
                    **({"continue": True} if chance() < 0.4 else {}),
                    **({"routes": branches(depth - 1)} if depth and chance() < 0.6 else {}),
                }
                for _ in range(self.random.randint(1, 3))
            ]

        never = {"times": [{"start_time": "09:00", "end_time": "17:00"}], "years": ["1990"]}
        return {
            "route": {
                "receiver": "one",
                "group_by": pick([["alertname"], [], ["service"]]),
                "group_wait": "500ms",
                "group_interval": "2s",
                "repeat_interval": "5s",
                "routes": branches(2),
            },
            "inhibit_rules": [
                {
                    "source_matchers": ["severity=page"],
                    "target_match": {"severity": "warn"},
                    "equal": pick([["service"], ["service", "missing"], []]),
                },
                {"source_match": {"alertname": "A"}, "target_match_re": {"alertname": "A|C"}},
            ][: self.random.randint(0, 2)],
            "time_intervals": [
                {"name": "always", "time_intervals": [{}]},
                {"name": "never", "time_intervals": [never]},
            ],
            "receivers": [receiver(name) for name in ("one", "two", "three")],
        }

    def _schedule(self) -> dict[int, list[tuple[str, Any]]]:
        pick, chance = self.random.choice, self.random.random
        labels = [
            {"alertname": name, "severity": severity, "service": service, "instance": instance}
            for name in "ABC"
            for severity in ("page", "warn")
            for service in "ab"
            for instance in "12"
        ]
        firing: list[dict[str, str]] = []
        schedule: dict[int, list[tuple[str, Any]]] = {}
        for second in range(LASTS - 3):
            happens: list[tuple[str, Any]] = []
            for _ in range(self.random.randint(0, 3) if second % 2 == 0 else 0):
                if firing and chance() < 0.45:
                    over = pick(firing)
                    firing.remove(over)
                    happens.append(("resolved", over))
                else:
                    chosen = pick(labels)
                    if chosen not in firing:
                        firing.append(chosen)
                        happens.append(("firing", chosen))
            if second in (3, 7) and chance() < 0.7:
                happens.append(
                    ("silence", {"service": pick("ab"), "severity": pick(["page", "p.*"])})
                )
            if second == 9 and chance() < 0.5:
                happens.append(("expire", None))
            schedule[second] = happens
        return schedule


def awake(configuration: dict[str, Any]) -> AwakeNotifier:
    """Return our notifier of a configuration, at work."""
    settings = NotifierSettings(
        alertmanager=AlertmanagerConfiguration.model_validate(configuration),
        external_url=EXTERNAL_URL,
    )
    going_by = plan(settings)
    delivery = going_by.courier()
    routing = tree_routing(going_by.root)
    holds = going_by.holds(settings)
    return AwakeNotifier(Notifier(routing, delivery, SystemClock(), holds=holds), delivery)


class Round:
    """One configuration in both, and what happens to them."""

    def __init__(self, draw: Draw, alertmanager: AlertmanagerServer, ours: AwakeNotifier) -> None:
        self.draw = draw
        self.alertmanager = alertmanager
        self.ours = ours
        self._starts: dict[str, int] = {}
        self._silences: list[str] = []

    def happen(self, second: int) -> None:
        now = time.time_ns() // 1_000_000 * 1_000_000
        posted = []
        for what, subject in self.draw.schedule.get(second, []):
            if what == "silence":
                self._silence(subject, now)
            elif what == "expire":
                self._expire(now)
            else:
                posted.append(self._event(what, subject, now))
        if posted:
            self.ours.receive(posted)
            keys = ("labels", "annotations", "startsAt", "endsAt", "generatorURL")
            self.alertmanager.post([{k: one[k] for k in keys if one[k]} for one in posted])

    def _event(self, status: Any, labels: dict[str, str], now: int) -> Any:
        name = fingerprint(labels)
        if status == "firing":
            self._starts[name] = now
        summary = {"summary": f"it is {labels['instance']} & <b>"}
        return event(
            labels,
            status,
            since=self._starts[name],
            until=now if status == "resolved" else None,
            annotations=summary,
            generator_url="http://rules/?a=1&b",
        )

    def _silence(self, values: dict[str, str], now: int) -> None:
        matchers = [
            {"name": name, "value": value, "isRegex": name == "severity", "isEqual": True}
            for name, value in values.items()
        ]
        body = {
            "matchers": matchers,
            "startsAt": "2020-01-01T00:00:00Z",
            "endsAt": "2099-01-01T00:00:00Z",
            "createdBy": "test",
            "comment": "test",
        }
        answer = httpx.post(f"{self.alertmanager.url}/api/v2/silences", json=body, timeout=10)
        self._silences.append(answer.raise_for_status().json()["silenceID"])
        made = tuple(
            Matcher(m["name"], "=~" if m["isRegex"] else "=", m["value"]) for m in matchers
        )
        silence = Silence(self._silences[-1], made, 0, 4_000_000_000 * SECOND, "test", "test", now)
        with self.ours.lock:
            self.ours.notifier.holds.silences.put(silence, now)

    def _expire(self, now: int) -> None:
        for name in self._silences:
            httpx.delete(f"{self.alertmanager.url}/api/v2/silence/{name}", timeout=10)
            with self.ours.lock:
                self.ours.notifier.holds.silences.expire(name, now)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Inbox:
    """What was told on both sides, after all rounds have been played."""
    with ExitStack() as stack:
        server = stack.enter_context(HTTPServer(host="127.0.0.1", port=0, threaded=True))
        inbox = Inbox(server)
        rounds = []
        for number in range(ROUNDS):
            draw = Draw(number, server)
            alertmanager = AlertmanagerServer(
                tmp_path_factory.mktemp(f"alertmanager{number}"),
                draw.configuration("theirs"),
                external_url=EXTERNAL_URL,
            )
            stack.enter_context(running(alertmanager))
            ours = awake(draw.configuration("ours"))
            stack.callback(ours.close)
            rounds.append(Round(draw, alertmanager, ours))
        began = time.time()
        inbox.until = began + LASTS - 1
        for second in range(LASTS):
            time.sleep(max(0.0, began + second - time.time()))
            for one in rounds:
                one.happen(second)
            inbox.slowest = max(inbox.slowest, time.time() - began - second)
    if inbox.slowest > STALLED:
        pytest.skip(f"this machine stalled for {inbox.slowest:.1f} s: who was first can't be told")
    return inbox


def told(inbox: Inbox, side: str, number: int) -> dict[tuple[str, str], list[tuple[float, Any]]]:
    """What each receiver was told of each group, in order."""
    found: dict[tuple[str, str], list[tuple[float, Any]]] = defaultdict(list)
    prefix = f"/{side}/{number}/"
    for path, bodies in inbox.told.items():
        if path.startswith(prefix):
            for at, body in bodies:
                if at > inbox.until:
                    continue
                key = body.get("groupKey") or body.get("dedup_key") or _slack_group(body)
                found[path.removeprefix(prefix), key].append((at, body))
    return found


def _slack_group(body: Any) -> str:
    return str(re.sub(r"^\[[^]]*\] ", "", body["attachments"][0]["title"]))


def spoken(at: float, body: Any) -> str:
    """One message in a line, for a person to compare."""
    if "alerts" in body:
        said = [f"{a['labels']['instance']} {a['status']}" for a in body["alerts"]]
    elif "payload" in body:
        said = [body["event_action"], body["payload"]["summary"]]
    else:
        said = [body["attachments"][0]["title"], body["attachments"][0].get("text", "")]
    return f"{at % 100:.1f} {' '.join(said)}"


@pytest.mark.parametrize("number", range(ROUNDS))
def test_both_tell_the_same_at_the_same_time(played: Inbox, number: int) -> None:
    theirs, ours = told(played, "theirs", number), told(played, "ours", number)
    different = {
        key: {
            "theirs": [spoken(*one) for one in theirs.get(key, [])],
            "ours": [spoken(*one) for one in ours.get(key, [])],
        }
        for key in {*theirs, *ours}
        if [body for _, body in theirs.get(key, [])] != [body for _, body in ours.get(key, [])]
    }
    assert not different, json.dumps({str(key): both for key, both in different.items()}, indent=1)
    late = [
        (key, round(mine[0] - other[0], 2))
        for key in theirs
        for mine, other in zip(ours[key], theirs[key], strict=True)
        if abs(mine[0] - other[0]) > WITHIN
    ]
    assert not late


def test_the_rounds_give_them_something_to_tell(played: Inbox) -> None:
    assert sum(map(len, played.told.values())) > 20 * ROUNDS
