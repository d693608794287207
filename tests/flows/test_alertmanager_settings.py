"""An `alertmanager.yml` as it is: what it means, and what is refused, with its place.

What is refused here is refused by Alertmanager too, and what is taken is taken: amtool is asked.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from flows.notifying import plan
from flows.process.redaction import Redaction
from flows.settings import NotifierSettings, SettingsError, load_settings
from flows.settings.alertmanager import load_file
from operators.contracts.durations import parse_duration
from operators.notifying.routes import explain, walk

GOOD = """
global:
  resolve_timeout: 2m
  slack_api_url: https://hooks.slack.example/secret-address
  smtp_smarthost: 'localhost:25'
  smtp_from: headrace@example.org
templates: [texts/*.tmpl]
route:
  receiver: mails
  group_by: [alertname, cluster]
  repeat_interval: 3h
  routes:
    - matchers: [service=~"foo1|foo2"]
      active_time_intervals: [hours]
      group_wait: 0s
      routes:
        - match: {severity: critical}
          receiver: pager
          group_by: ['...']
    - match_re: {owner: "team-(X|Y)"}
      continue: true
      receiver: pager
inhibit_rules:
  - source_match: {severity: critical}
    target_match_re: {severity: "warning|info"}
    equal: [alertname]
time_intervals:
  - name: hours
    time_intervals:
      - times: [{start_time: 09:00, end_time: 17:00}]
        weekdays: ['monday:friday']
        days_of_month: ['-3:-1']
        months: [january, '3:5']
        years: ['2026']
        location: Europe/Berlin
receivers:
  - name: mails
    email_configs: [{to: ops@example.org}]
  - name: pager
    pagerduty_configs: [{routing_key_file: key}]
    slack_configs: [{channel: '#x', title: '{{ template "team.title" . }}'}]
    webhook_configs: [{url: 'http://example.org/', max_alerts: 5}]
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "key").write_text("secret-key\n", encoding="utf-8")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "team.tmpl").write_text(
        '{{ define "team.title" }}{{ .Status | title }}{{ end }}', encoding="utf-8"
    )
    return tmp_path


def write(directory: Path, text: str) -> Path:
    file = directory / "alertmanager.yml"
    file.write_text(text, encoding="utf-8")
    return file


def amtool_takes(file: Path) -> bool:
    program = shutil.which("amtool")
    if program is None:
        pytest.skip("amtool is not installed: apt-get install prometheus-alertmanager")
    done = subprocess.run([program, "check-config", str(file)], capture_output=True, check=False)
    return done.returncode == 0


def test_branches_have_what_they_say_and_else_what_is_above_them(directory: Path) -> None:
    going_by = plan(NotifierSettings(config_file=str(write(directory, GOOD))))
    routes = {node.route.key: node.route for node in walk(going_by.root)}
    deep = routes['{}/{service=~"foo1|foo2"}/{severity="critical"}']
    assert (deep.receiver, deep.group_by) == ("pager", {"..."})
    assert (deep.group_wait, deep.group_interval) == (0, parse_duration("5m"))
    assert deep.repeat_interval == parse_duration("3h")
    assert deep.active == ()  # times are of the branch itself
    names = [one.name for one in deep.integrations]
    assert names == ["pager/webhook[0]", "pager/pagerduty[0]", "pager/slack[0]"]
    assert [one.send_resolved for one in deep.integrations] == [True, True, False]
    steps = explain(going_by.root, {"owner": "team-X", "service": "bar"})
    assert [str(step) for step in steps if step.taken] == ['  {owner=~"^(?:team-(X|Y))$"} -> pager']


def test_amtool_takes_the_same_file(directory: Path) -> None:
    assert amtool_takes(write(directory, GOOD))


def test_the_configuration_does_not_show_its_secrets(directory: Path) -> None:
    shown = repr(load_file(write(directory, GOOD)))
    assert "secret-address" not in shown
    assert "secret-key" not in shown


def test_secrets_of_the_file_are_masked_in_what_a_process_says(directory: Path) -> None:
    redact = Redaction(NotifierSettings(config_file=str(write(directory, GOOD))))
    said = redact("401 for secret-key at https://hooks.slack.example/secret-address")
    assert "secret-key" not in said
    assert "secret-address" not in said


WRONG = {
    "an unknown key": ("repeat_interval: 3h", "repeat: 3h", r"route\.repeat: is not known"),
    "a key twice": ("  receiver: mails\n", "  receiver: mails\n  receiver: pager\n", "given twice"),
    "no such receiver": (
        "continue: true\n      receiver: pager",
        "continue: true\n      receiver: nobody",
        r'route\.routes\[1\]\.receiver: there is no receiver "nobody"',
    ),
    "no such time": ("[hours]", "[nights]", r'there is no time interval "nights"'),
    "a bad duration": ("3h", "3 hours", r'route\.repeat_interval: "3 hours" is not a duration'),
    "an interval of nothing": ("3h", "0s", "must be longer than nothing"),
    "a bad expression": ("team-(X|Y)", "team-(X", r"match_re: .*not a regular expression"),
    "a bad matcher": ('service=~"foo1|foo2"', "service", "is not a matcher"),
    "a matcher at the root": (
        "  receiver: mails\n",
        "  receiver: mails\n  match: {a: b}\n",
        "the root takes every alert, always: it has no matchers",
    ),
    "all labels and one more": ("['...']", "['...', a]", '"..." stands for all labels'),
    "a label twice": ("[alertname, cluster]", "[a, a]", "names a label twice"),
    "a receiver twice": ("name: pager", "name: mails", 'two have the name "mails"'),
    "an end before the start": ("end_time: 17:00", "end_time: 08:00", "before the end"),
    "no such day": ("monday:friday", "mon:friday", "not a day of the week"),
    "no such month": ("'3:5'", "'3:15'", "not from 1 to 12"),
    "a day that is none": ("-3:-1", "0:3", "days begin with 1"),
    "no such zone": ("Europe/Berlin", "Europe/Bonn", 'no time zone "Europe/Bonn"'),
    "no address of mail": (
        "to: ops@example.org",
        "from: a@b.c",
        r"email_configs\[0\]\.to: is missing",
    ),
    "no server of mail": ("  smtp_smarthost: 'localhost:25'\n", "", "smarthost is missing"),
    "no address of Slack": (
        "  slack_api_url: https://hooks.slack.example/secret-address\n",
        "",
        r"receivers\[1\]\.slack_configs\[0\]: api_url is missing",
    ),
    "no address of a webhook": ("http://example.org/", "example.org", "begins with http://"),
    "no key": ("routing_key_file: key", "client: x", "routing_key"),
}


@pytest.mark.parametrize(("good", "bad", "said"), WRONG.values(), ids=WRONG)
def test_what_can_not_be_meant_is_refused_with_its_place_as_amtool_refuses_it(
    directory: Path, good: str, bad: str, said: str
) -> None:
    assert good in GOOD
    file = write(directory, GOOD.replace(good, bad))
    with pytest.raises(ValueError, match=said) as refused:
        load_file(file)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value).replace(str(file), "")
    if bad != "'3:15'":  # which Alertmanager takes, and never reaches
        assert not amtool_takes(file)


def test_services_that_apprise_speaks_to_are_named_with_the_way(directory: Path) -> None:
    file = write(
        directory, GOOD.replace("email_configs: [{to: ops@example.org}]", "discord_configs: []")
    )
    with pytest.raises(
        ValueError, match=r'discord_configs .* apprise_configs: \[{url: "discord://'
    ):
        load_file(file)


SETTINGS = {
    "a file and routes": (
        "config_file: alertmanager.yml, route: {receiver: console}",
        "only one of config_file and route",
    ),
    "a file that is not there": (
        "config_file: nowhere.yml",
        "config_file: cannot read nowhere.yml",
    ),
    "an escalation to nobody": (
        "escalations: [{name: x, steps: [{after: 5m, receiver: boss}]}]",
        r'escalations\[0\]\.steps\[0\]: there is no receiver "boss"',
    ),
    "a step that tells nobody": (
        "escalations: [{name: x, steps: [{after: 5m}]}]",
        "a step tells a receiver, or who is on_call",
    ),
    "an API that is open to the world": ("api: {host: 0.0.0.0}", "can be reached by others"),
    "a map of services that is none": (
        "correlation: {service_map_file: map.yml}",
        "service_map_file: cannot read map.yml",
    ),
}


@pytest.mark.parametrize(("given", "said"), SETTINGS.values(), ids=SETTINGS)
def test_settings_that_can_not_be_meant_are_refused(
    directory: Path, monkeypatch: pytest.MonkeyPatch, given: str, said: str
) -> None:
    monkeypatch.chdir(directory)
    write(directory, GOOD)
    file = directory / "headrace.yaml"
    file.write_text(f"notifier: {{{given}}}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=said):
        load_settings(file)


def test_an_inline_configuration_is_read_as_the_file(directory: Path) -> None:
    file = directory / "headrace.yaml"
    inline = GOOD.replace("key}", f"{directory}/key}}").replace("texts/", f"{directory}/texts/")
    indented = inline.replace("\n", "\n    ")
    file.write_text(f"notifier:\n  alertmanager:{indented}\n", encoding="utf-8")
    configuration = load_settings(file).notifier.configuration
    assert configuration is not None
    assert configuration.intervals()["hours"][0].times == ((540, 1020),)
    assert configuration.intervals() == load_file(write(directory, GOOD)).intervals()


def test_damping_and_digests_are_of_a_branch_and_those_on_it(directory: Path) -> None:
    text = GOOD.replace(
        "  repeat_interval: 3h\n",
        "  repeat_interval: 3h\n  flapping: {changes: 3, within: 5m}\n",
    ).replace(
        "          group_by: ['...']\n",
        "          group_by: ['...']\n          flapping: off\n"
        "          digest: {times: ['08:00', 16:30], weekdays: ['monday:friday'],"
        " location: Europe/Berlin, held_back: true}\n",
    )
    going_by = plan(NotifierSettings(config_file=str(write(directory, text))))
    routes = {node.route.key: node.route for node in walk(going_by.root)}
    plain, deep = (routes[f'{{}}/{{service=~"foo1|foo2"}}{more}'] for more in ("", DEEPER))
    assert plain.flapping == (3, parse_duration("5m"))
    assert plain.digest is None
    assert deep.flapping is None
    assert deep.digest is not None
    assert str(deep.digest) == "08:00, 16:30 Europe/Berlin of Mon, Tue, Wed, Thu, Fri"
    assert deep.digest.held_back


DEEPER = '/{severity="critical"}'


def test_damping_and_digests_are_for_routes_of_our_own_too(directory: Path) -> None:
    file = directory / "headrace.yaml"
    file.write_text(
        "notifier: {route: {flapping: {changes: 6}, digest: {times: [08:00, 16:00]}}}\n",
        encoding="utf-8",
    )
    going_by = plan(load_settings(file).notifier)
    assert going_by.root.route.flapping == (6, parse_duration("10m"))
    assert str(going_by.root.route.digest) == "08:00, 16:00 UTC"
