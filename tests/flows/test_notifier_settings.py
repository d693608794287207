"""What the notifier's settings mean, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.receivers import own_channels, root_route
from flows.settings import SettingsError, load_settings
from operators.notifying.grouping import Integration
from tests.operators.notifying.samples import HOUR, MINUTE, SECOND

GOOD = """
notifier:
  external_url: http://headrace.example
  route:
    receiver: ops
    group_by: [alertname]
    group_wait: 10s
    group_interval: 1m
    repeat_interval: 1h
  receivers:
    - name: ops
      channels:
        - {type: webhook, url: "http://localhost/secret-path", send_resolved: false}
        - {type: slack, url_file: slack-url, channel: "#ops"}
    - name: other
      channels:
        - {type: console}
"""


def write(directory: Path, text: str) -> Path:
    file = directory / "headrace.yaml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slack-url").write_text("https://hooks.example/secret-path\n", encoding="utf-8")
    return tmp_path


def test_the_route_is_as_written(directory: Path) -> None:
    route = root_route(load_settings(write(directory, GOOD)).notifier)
    assert route.receiver == "ops"
    assert route.integrations == (
        Integration("ops/webhook[0]", send_resolved=False),
        Integration("ops/slack[1]", send_resolved=True),
    )
    assert route.group_by == {"alertname"}
    assert (route.group_wait, route.group_interval) == (10 * SECOND, MINUTE)
    assert route.repeat_interval == HOUR
    assert route.key == "{}"


def test_without_settings_alerts_go_to_the_console_at_alertmanagers_times(directory: Path) -> None:
    route = root_route(load_settings(write(directory, "{}")).notifier)
    assert route.integrations == (Integration("console/console[0]", send_resolved=True),)
    assert (route.group_wait, route.group_interval, route.repeat_interval) == (
        30 * SECOND,
        5 * MINUTE,
        4 * HOUR,
    )


def test_all_receivers_have_their_channels(directory: Path) -> None:
    made = own_channels(load_settings(write(directory, GOOD)).notifier)
    assert [one.name for one in made] == ["ops/webhook[0]", "ops/slack[1]", "other/console[0]"]


def test_the_settings_do_not_show_their_secrets(directory: Path) -> None:
    assert "secret-path" not in repr(load_settings(write(directory, GOOD)).notifier)


WRONG = {
    "an address that is none": (
        ('url: "http://localhost/secret-path"', 'url: "localhost/secret-path"'),
        r"notifier\.receivers\[0\]\.channels\[0\].*: must be an address that begins with http://",
    ),
    "all labels and one more": (
        ("group_by: [alertname]", 'group_by: ["...", alertname]'),
        r'notifier\.route\.group_by: "\.\.\." stands for all labels',
    ),
    "an unknown receiver": (
        ("receiver: ops", "receiver: oops"),
        r'there is no receiver "oops" \(there are: ops, other\)',
    ),
    "a receiver twice": (("name: other", "name: ops"), r"two have the same name"),
    "an interval of nothing": (
        ("group_interval: 1m", "group_interval: 0s"),
        r"notifier\.route\.group_interval: must be longer than nothing",
    ),
    "a channel of a type that there is not": (
        ("type: console", "type: pigeon"),
        r"notifier\.receivers\[1\]\.channels\[0\]: .*'webhook', 'slack', 'console'",
    ),
    "a secret file that is not there": (
        ("url_file: slack-url", "url_file: nowhere"),
        r"notifier\.receivers\[0\]\.channels\[1\].*: url_file: cannot read nowhere",
    ),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_what_can_not_be_meant_is_refused_by_its_key(
    directory: Path, change: tuple[str, str], message: str
) -> None:
    assert change[0] in GOOD
    with pytest.raises(SettingsError, match=message) as refused:
        load_settings(write(directory, GOOD.replace(*change)))
    assert "\n" not in str(refused.value)
    assert "secret-path" not in str(refused.value)
