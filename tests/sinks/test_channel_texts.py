"""Texts from templates: dates as Go writes them, and values that can't break the HTML around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from operators.contracts.clock import ManualClock
from operators.notifying.alert import Alert
from sinks.channels.texts import Texts, UnsupportedTemplate
from sinks.channels.texts.go_time import GoTime, format_duration_go
from tests.operators.notifying.samples import HOUR, MINUTE, START, alert
from tests.sinks.notifications import notification

SLOW = alert({"alertname": "Slow", "severity": "page", "z": "<b>"}, annotations={"summary": "a+b"})


def text(template: str, *alerts: Alert, **options: Any) -> str:
    texts = Texts(
        external_url="http://headrace", clock=ManualClock(START + HOUR + MINUTE), **options
    )
    return texts.text(template)(texts.data(notification(*(alerts or (SLOW,)))))


# The expected texts were printed by Go 1.26's time package for the same instant.
INSTANT = 1_790_000_000_123_456_000
LAYOUTS = {
    "2006-01-02T15:04:05Z07:00": "2026-09-21T14:13:20Z",
    "Mon, 02 Jan 2006 15:04:05 MST": "Mon, 21 Sep 2026 14:13:20 UTC",
    "Monday _2 January 06 3:04PM": "Monday 21 September 26 2:13PM",
    "15:04:05.000 .999999 -0700": "14:13:20.123 .123456 +0000",
    "002 1/2 3pm": "264 9/21 2pm",
}


@pytest.mark.parametrize(("layout", "expected"), LAYOUTS.items(), ids=LAYOUTS)
def test_dates_are_written_as_go_writes_them(layout: str, expected: str) -> None:
    assert GoTime(INSTANT).format(layout) == expected


def test_instants_and_durations_print_as_in_go() -> None:
    assert GoTime(INSTANT).text == "2026-09-21 14:13:20.123456 +0000 UTC"
    assert GoTime(None).text == "0001-01-01 00:00:00 +0000 UTC"
    assert GoTime(INSTANT).at("America/New_York").format("15:04 MST -07:00") == "10:13 EDT -04:00"
    assert [format_duration_go(n) for n in (0, 90 * 10**9, 1_500)] == ["0s", "1m30s", "1.5µs"]


RENDERED = {
    "{{ .CommonLabels.severity | toUpper }}": "PAGE",
    "{{ .CommonLabels.nothing }}|": "|",
    "{{ range .CommonLabels.SortedPairs }}{{ .Name }},{{ end }}": "alertname,severity,z,",
    '{{ (.CommonLabels.Remove .GroupLabels.Names).Names | join "-" }}': "severity-z",
    '{{ reReplaceAll "(S)l" "$1-" .GroupLabels.alertname }}': "S-ow",
    '{{ if match "^Sl" .GroupLabels.alertname }}yes{{ end }}': "yes",
    "{{ (index .Alerts 0).StartsAt | since | humanizeDuration }}": "1h 1m 0s",
    '{{ (index .Alerts 0).StartsAt | tz "Europe/Berlin" | date "15:04" }}': "16:13",
    "{{ len .Alerts.Firing }}{{ len .Alerts.Resolved }}{{ .Status }}": "10firing",
    "{{ .Reason }} {{ .GroupKey }}": 'first notification {}:{alertname="Slow"}',
    '{{ "a b" | title }} {{ stringSlice "x" "y" | join "+" }}': "A B x+y",
    '{{ template "__alertmanagerURL" . }}': "http://headrace/#/alerts?receiver=ops",
}


@pytest.mark.parametrize(("template", "expected"), RENDERED.items(), ids=RENDERED)
def test_templates_say_what_alertmanager_s_users_expect(template: str, expected: str) -> None:
    assert text(template) == expected


def test_templates_say_which_services_are_behind_an_alert() -> None:
    causes = [
        {"service": name, "operation": "charge", "why": "time", "now": 412.5} for name in "ab"
    ]
    template = "{{ range .Alerts }}{{ range .Causes }}{{ .service }} {{ .operation }} {{ .now }},{{ end }}{{ end }}"
    told = alert({"alertname": "Slow"}, evidence={"causes": causes})
    assert text(template, told) == "a charge 412.5,b charge 412.5,"
    assert text(template) == ""


HTML = {
    "a label": ("<p>{{ .CommonLabels.z }}</p>", "<p>&lt;b&gt;</p>"),
    "an attribute": ('<p title="{{ .CommonAnnotations.summary }}">', '<p title="a&#43;b">'),
    "what is said to be safe": ("{{ .CommonLabels.z | safeHtml }}", "<b>"),
    "an address": ('<a href="{{ .ExternalURL }}">', '<a href="http://headrace">'),
    "a script for an address": ('<a href="{{ "javascript:x" }}">', '<a href="#refused">'),
    "in a template of a file": ('{{ template "row" . }}', "<td>&lt;b&gt;</td>"),
}


@pytest.mark.parametrize(("template", "expected"), HTML.values(), ids=HTML)
def test_values_can_not_break_the_html_around_them(
    template: str, expected: str, tmp_path: Path
) -> None:
    file = tmp_path / "row.tmpl"
    file.write_text('{{ define "row" }}<td>{{ .CommonLabels.z }}</td>{{ end }}', encoding="utf-8")
    texts = Texts([str(tmp_path / "*.tmpl")], "http://headrace")
    assert texts.html(template)(texts.data(notification(SLOW))) == expected


def test_a_file_that_is_no_template_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "bad.tmpl"
    file.write_text("fine\n{{ if }}", encoding="utf-8")
    with pytest.raises(UnsupportedTemplate, match=r"bad\.tmpl: line 2: "):
        Texts([str(file)])


def test_a_file_that_calls_what_is_not_there_is_named(tmp_path: Path) -> None:
    file = tmp_path / "bad.tmpl"
    file.write_text('{{ define "x" }}{{ template "y" . }}{{ end }}', encoding="utf-8")
    with pytest.raises(
        UnsupportedTemplate, match=r'bad\.tmpl: x: line 1: there is no template "y"'
    ):
        Texts([str(file)])
