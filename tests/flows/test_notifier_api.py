"""The API as programs use it: amtool, Prometheus and people, with the flow in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from operators.notifying.calendars import read_calendar
from operators.notifying.times import parse_instant
from tests.backends.process import free_port
from tests.backends.topics import make_topics
from tests.operators.notifying.test_calendars import calendar

ROOT = Path(__file__).parents[2]
TOKEN, READER = "a-token-that-may-write", "a-token-that-may-read"
CONFIGURATION = """
route:
  receiver: all
  group_by: [alertname]
  routes:
    - matchers: [severity="page", 'service=~"pay|shop"']
      receiver: pager
    - matchers: [alertname="Flaps"]
      flapping: {changes: 2, within: 10m}
inhibit_rules:
  - {source_matchers: [severity=page], target_matchers: [severity=warn], equal: [service]}
receivers:
  - {name: all, console_configs: [{}]}
  - {name: pager, console_configs: [{}]}
"""


class Running:
    """The notifier, and what amtool makes of it."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url = url
        self.api = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20
        )
        self._http = directory / "http.yml"
        self._http.write_text(f"authorization: {{credentials: {TOKEN}}}\n", encoding="utf-8")

    def amtool(self, *arguments: str, fails: bool = False) -> str:
        program = shutil.which("amtool")
        if program is None:
            pytest.skip("amtool is not installed: apt-get install prometheus-alertmanager")
        where = [f"--alertmanager.url={self.url}", f"--http.config.file={self._http}"]
        done = subprocess.run(
            [program, *where, *arguments], capture_output=True, text=True, check=False, timeout=60
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    def get(self, path: str, **parameters: Any) -> Any:
        answer = self.api.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def wait_for_alerts(self, number: int) -> list[Any]:
        deadline = time.monotonic() + 120
        while len(found := self.get("/api/v2/alerts")) < number:
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        return list(found)


@pytest.fixture(scope="module")
def notifier(tmp_path_factory: pytest.TempPathFactory, kafka: str) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("notifier")
    port = free_port()
    (directory / "alertmanager.yml").write_text(CONFIGURATION, encoding="utf-8")
    shifts = directory / "shifts.ics"
    shifts.write_bytes(calendar("SUMMARY:ALL\nDTSTART:20260101T000000Z\nDURATION:P2000D"))
    tokens = [
        {"name": "alice", "token": TOKEN, "role": "write"},
        {"name": "bob", "token": READER},
    ]
    kinds = ("alerts", "commands", "notifications", "incidents", "dead_letter")
    names = {kind: f"{kind}-{uuid.uuid4().hex[:8]}" for kind in kinds}
    make_topics(kafka, names.values())
    settings = {
        "kafka": {"bootstrap_servers": kafka, "group": names["alerts"]},
        "topics": names,
        "notifier": {
            "config_file": str(directory / "alertmanager.yml"),
            "on_call": [
                {"name": "week", "receivers": ["pager", "all"], "starts": "2026-01-05T09:00:00Z"},
                {"name": "shifts", "receivers": ["pager", "all"], "calendar": str(shifts)},
            ],
            "escalations": [
                {
                    "name": "boss",
                    "matchers": ['alertname="Escalates"'],
                    "steps": [{"after": "1h", "receiver": "pager"}],
                }
            ],
            "api": {"port": port, "tokens": tokens},
        },
    }
    file = directory / "headrace.yaml"
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    log = (directory / "log").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "bytewax.run", "flows.notifier"],
        cwd=ROOT,
        env={**os.environ, "HEADRACE_CONFIG": str(file)},
        stdout=log,
        stderr=log,
    )
    running = Running(f"http://127.0.0.1:{port}", directory)
    try:
        deadline = time.monotonic() + 150
        while True:
            try:
                if httpx.get(f"{running.url}/-/ready").status_code == 200:
                    break
            except httpx.TransportError:
                assert process.poll() is None, (directory / "log").read_text()
                assert time.monotonic() < deadline, (directory / "log").read_text()
                time.sleep(0.2)
        yield running
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
        print((directory / "log").read_text()[-3000:])


def test_amtool_adds_and_shows_alerts(notifier: Running) -> None:
    notifier.amtool("alert", "add", "alertname=Slow", "service=shop", "severity=warn",
                    "--annotation=summary=slower than ever")  # fmt: skip
    notifier.wait_for_alerts(1)
    (shown,) = json.loads(notifier.amtool("alert", "query", "service=~sh.p", "-o", "json"))
    assert shown["labels"] == {"alertname": "Slow", "service": "shop", "severity": "warn"}
    assert shown["annotations"] == {"summary": "slower than ever"}
    assert shown["status"]["state"] == "active"
    assert json.loads(notifier.amtool("alert", "query", "service=other", "-o", "json")) == []


def test_amtool_shows_and_tests_routes(notifier: Running) -> None:
    shown = notifier.amtool("config", "routes", "show")
    assert '{service=~"pay|shop",severity="page"}' in shown
    assert "receiver: pager" in shown
    taken = notifier.amtool("config", "routes", "test", "severity=page", "service=pay")
    assert taken.strip() == "pager"
    assert notifier.amtool("config", "routes", "test", "severity=page").strip() == "all"
    assert "all" in notifier.amtool("config", "show")


def test_amtool_sets_shows_changes_and_ends_silences(notifier: Running) -> None:
    name = notifier.amtool(
        "silence", "add", "alertname=Slow", "-a", "carol", "-c", "we know", "-d", "2h"
    ).strip()
    (shown,) = json.loads(notifier.amtool("silence", "query", "-o", "json"))
    assert (shown["id"], shown["createdBy"], shown["comment"]) == (name, "carol", "we know")
    (alert,) = json.loads(notifier.amtool("alert", "query", "-s", "-o", "json"))
    assert alert["status"] == {
        "state": "suppressed", "silencedBy": [name], "inhibitedBy": [], **_more(alert),
    }  # fmt: skip
    changed = notifier.amtool("silence", "update", name, "-d", "3h", "-c", "still")
    assert name in changed
    (shown,) = json.loads(notifier.amtool("silence", "query", "-o", "json"))
    assert shown["comment"] == "still"
    notifier.amtool("silence", "expire", name)
    assert json.loads(notifier.amtool("silence", "query", "-o", "json")) == []
    expired = json.loads(notifier.amtool("silence", "query", "--expired", "-o", "json"))
    assert [one["id"] for one in expired] == [name]
    notifier.amtool("silence", "expire", "0d6d2c1c-0000-0000-0000-000000000000", fails=True)


def _more(alert: Any) -> dict[str, Any]:
    return {key: [] for key in alert["status"] if key == "mutedBy"}


def test_prometheus_posts_alerts_again_and_again_and_then_their_end(notifier: Running) -> None:
    def post(ends: float, **more: str) -> int:
        def text(at: float) -> str:
            return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))

        alert = {
            "labels": {"alertname": "Down", "service": "pay", "severity": "page", **more},
            "startsAt": text(began),
            "endsAt": text(ends),
            "generatorURL": "http://prometheus/graph",
        }
        return notifier.api.post("/api/v2/alerts", json=[alert]).status_code

    began = time.time() - 5
    assert [post(time.time() + 240), post(time.time() + 240)] == [200, 200]
    notifier.wait_for_alerts(2)
    groups = notifier.get("/api/v2/alerts/groups", receiver="pager")
    assert [(g["labels"], len(g["alerts"])) for g in groups] == [({"alertname": "Down"}, 1)]
    assert post(time.time() - 1) == 200
    deadline = time.monotonic() + 120
    while len(notifier.get("/api/v2/alerts", filter='alertname="Down"')) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.1)
    assert notifier.get("/api/v2/alerts", filter='alertname="Down"') == []
    assert post(began - 100) == 400


def test_an_alert_is_acknowledged_for_a_time_and_released(notifier: Running) -> None:
    notifier.amtool("alert", "add", "alertname=Full", "service=db")
    notifier.wait_for_alerts(2)

    def care() -> Any:
        (alert,) = notifier.get("/api/v2/alerts", filter="alertname=Full")
        return alert.get("acknowledged")

    body = {"matchers": ["alertname=Full"], "lasts": "2h", "comment": "on it"}
    assert notifier.api.post("/api/headrace/v1/acknowledge", json=body).status_code == 200
    assert (care()["by"], care()["care"], care()["comment"]) == ("alice", "acknowledged", "on it")
    assert notifier.api.post("/api/headrace/v1/release", json=body).status_code == 200
    assert care() is None
    (told, before, *_) = notifier.get("/api/headrace/v1/commands")
    assert (told["by"], told["do"], told["about"]) == ("alice", "release", "Full")
    assert (before["do"], before["comment"], before["outcome"]) == ("acknowledge", "on it", "")
    body = {"matchers": ["alertname=Nothing"]}
    assert notifier.api.post("/api/headrace/v1/acknowledge", json=body).status_code == 404


def test_schedules_are_served_as_calendars_and_say_who_is_on_call(notifier: Running) -> None:
    told = {one["name"]: one["receivers"] for one in notifier.get("/api/headrace/v1/on-call")}
    assert told["shifts"] == ["all"]
    # Calendar programs send the token as a password.
    address = f"{notifier.url}/api/headrace/v1/on-call/week.ics"
    assert httpx.get(address).status_code == 401
    answer = httpx.get(address, auth=("bob", READER))
    assert answer.headers["Content-Type"] == "text/calendar; charset=utf-8"
    now = time.time_ns()
    week = read_calendar(answer.content, {"pager": "pager", "all": "all"})
    (shift,) = week.shifts(now, now + 1)
    assert [shift.receiver] == told["week"]
    (listed,) = [one for one in notifier.get("/api/headrace/v1/on-call") if one["name"] == "week"]
    assert parse_instant(listed["until"]) == shift.ends
    assert listed["next"]["receiver"] == {"pager": "all", "all": "pager"}[shift.receiver]
    assert listed["next"]["startsAt"] == listed["until"]
    weeks = (shift.starts // 10**9 - 1_767_603_600) / (7 * 86_400)  # 2026-01-05, 09:00 UTC
    assert weeks == int(weeks)
    assert shift.receiver == ("pager", "all")[int(weeks) % 2]
    assert notifier.api.get("/api/headrace/v1/on-call/none.ics").status_code == 404


@pytest.mark.parametrize(("token", "reads", "writes"), [(READER, 200, 403), ("wrong", 401, 401)])
def test_a_token_lets_in_as_far_as_its_role(
    notifier: Running, token: str, reads: int, writes: int
) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{notifier.url}/api/v2/alerts", headers=headers).status_code == reads
    posted = httpx.post(f"{notifier.url}/api/v2/alerts", headers=headers, json=[])
    assert posted.status_code == writes


WRONG = {
    "no matcher": ({"matchers": []}, "matchers"),
    "a matcher of everything": (
        {"matchers": [{"name": "a", "value": ".*", "isRegex": True}]},
        "must not match the empty string",
    ),
    "not a regular expression": (
        {"matchers": [{"name": "a", "value": "(", "isRegex": True}]},
        "not a regular expression",
    ),
    "an end before the start": ({"endsAt": "2020-01-01T00:00:00Z"}, "start time must be before"),
    "an unknown silence": ({"id": "none"}, "silence none not found"),
}


@pytest.mark.parametrize(("change", "said"), WRONG.values(), ids=WRONG)
def test_a_silence_that_can_not_be_meant_is_refused(
    notifier: Running, change: dict[str, Any], said: str
) -> None:
    good = {
        "matchers": [{"name": "a", "value": "b", "isRegex": False}],
        "startsAt": "2026-01-01T00:00:00Z",
        "endsAt": "2099-01-01T00:00:00Z",
        "createdBy": "me",
        "comment": "x",
    }
    answer = notifier.api.post("/api/v2/silences", json={**good, **change})
    assert answer.status_code in (400, 404)
    assert said in answer.json()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real browser, as narrow as a telephone."""
    webdriver = pytest.importorskip("selenium.webdriver")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("chromium is not installed: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    made.set_window_size(400, 800)
    yield made
    made.quit()


@pytest.fixture
def find(browser: Any) -> Callable[[str], Any]:
    """Return what finds an element by its XPath, once it is shown."""

    def find(path: str) -> Any:
        deadline = time.monotonic() + 120
        while not (found := browser.find_elements("xpath", path)) or not found[0].is_displayed():
            assert time.monotonic() < deadline, browser.page_source[-4000:]
            time.sleep(0.1)
        return found[0]

    return find


def test_people_see_acknowledge_and_silence_alerts_on_the_page(
    notifier: Running, browser: Any, find: Callable[[str], Any]
) -> None:
    hostile = {"alertname": "Page", "note": "<img src=x onerror=document.title='hacked'>"}
    assert notifier.api.post("/api/v2/alerts", json=[{"labels": hostile}]).status_code == 200
    browser.get(notifier.url)
    find("//input[@id='token']").send_keys(TOKEN)
    find("//button[text()='Enter']").click()
    card = "//article[h3='Page']"
    assert hostile["note"] in find(f"{card}//li[starts-with(., 'note=')]").text
    assert browser.title == "Headrace alerts"
    find(f"{card}//button[.='Acknowledge']").click()
    assert "acknowledged by alice" in find(f"{card}/p[contains(., 'acknowledged')]").text
    find(f"{card}//button[.='Silence']").click()
    find("//input[@id='who']").send_keys("dora")
    find("//input[@id='why']").send_keys("maintenance")
    assert "matches 1" in find("//p[@id='preview'][contains(., 'matches')]").text
    find("//button[@id='silence-ok']").click()
    assert "by dora: maintenance" in find("//div[@id='silences']//p[contains(., 'dora')]").text
    assert "silenced" in find(f"{card}/p[contains(., 'silenced')]").text
    width = browser.execute_script("return [document.body.scrollWidth, window.innerWidth]")
    assert width[0] <= width[1]


def test_people_see_what_flaps_and_who_is_on_call_and_escalate(
    notifier: Running, browser: Any, find: Callable[[str], Any]
) -> None:
    def post(name: str, **more: str) -> None:
        alert = {"labels": {"alertname": name}, **more}
        assert notifier.api.post("/api/v2/alerts", json=[alert]).status_code == 200

    def at(seconds: float) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))

    began = at(-40)
    post("Flaps", startsAt=began)
    post("Flaps", startsAt=began, endsAt=at(-30))
    post("Flaps", startsAt=at(-20))
    post("Escalates")
    browser.get(notifier.url)
    if browser.find_elements("id", "login")[0].is_displayed():
        find("//input[@id='token']").send_keys(TOKEN)
        find("//button[text()='Enter']").click()
    find("//article[h3='Escalates']//button[.='Silence']")
    assert not browser.find_elements("xpath", "//article[h3='Page']//button[.='Escalate']")
    assert "escalates to pager at" in find("//article[h3='Escalates']/p[contains(., 'to')]").text
    find("//article[h3='Escalates']//button[.='Escalate']").click()
    assert find("//article[h3='Escalates']/p[contains(., 'escalated to pager')]")
    body = {"matchers": ["alertname=Escalates"]}
    answer = notifier.api.post("/api/headrace/v1/escalate", json=body)
    assert (answer.status_code, answer.json()) == (404, "there is no further step for these alerts")
    assert "alice: escalate Escalates" in find("//ol[@id='commands']/li").text
    shown = find("//div[@id='on-call']/article[h3='shifts']").text
    assert "all until" in shown
    assert find("//div[@id='on-call']/article[h3='week']//a[.='calendar']")
    assert "flaps: told once" in find("//article[h3='Flaps']/p[contains(., 'flaps')]").text
