"""The functions of alert templates; what is expected is from Prometheus' own tests and manual."""

import numpy as np
import pytest

from operators.rules.errors import EvaluationError
from operators.rules.frame import InstantVector
from operators.rules.label_sets import LabelSets, Symbols
from operators.rules.templates import Expander, check_template
from operators.templating import TemplateError


def query(text: str) -> InstantVector:
    if text == "fails":
        raise EvaluationError("it can't be had")
    labels = [] if text == "nothing" else [
        {"__name__": "metric", "instance": "b"}, {"__name__": "metric", "instance": "a"},
    ]  # fmt: skip
    sets = LabelSets.of(Symbols(), labels)
    return InstantVector(
        sets, np.array([21.0, 11.0][: len(labels)]), np.ones(len(labels), np.bool_)
    )


def expand(text: str) -> str:
    expander = Expander(query, 1_353_755_652_000, {"region": "eu"}, "http://host:9090/path")
    return expander.expand(text, {"job": "web", "instance": "host.dc:9100"}, 1.5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain {", "plain {"),
        ("{{ $labels.job }} {{ $labels.none }}|{{ $value }} {{ $externalLabels.region }}", "web |1.5 eu"),
        ("{{ .Labels.job }} {{ .Value }} {{ .ExternalURL }}", "web 1.5 http://host:9090/path"),
        ('{{ query "metric" | first | value }}', "21"),
        ('{{ query "metric" | first | label "instance" }}', "b"),
        ('{{ range query "metric" | sortByLabel "instance" }}{{ .Labels.instance }}:{{ .Value }}: {{ end }}', "a:11: b:21: "),
        ('{{ range query "nothing" }}x{{ else }}none{{ end }}', "none"),
        ("{{ range $i, $x := query \"metric\" }}{{ $i }}{{ end }}", "01"),
        ("{{ 0.0 | humanize }}:{{ 1.0 | humanize }}:{{ 1234567.0 | humanize }}:{{ .12 | humanize }}", "0:1:1.235M:120m"),
        ("{{ humanize1024 0.0 }}:{{ humanize1024 1048576.0 }}:{{ humanize1024 .12 }}", "0:1Mi:0.12"),
        ("{{ humanizeDuration 60 }}:{{ humanizeDuration 93600.0 }}:{{ humanizeDuration -183845 }}", "1m 0s:1d 2h 0m 0s:-2d 3h 4m 5s"),
        ("{{ humanizeDuration .1 }}:{{ humanizeDuration .12345 }}:{{ humanizeDuration \"899.99\" }}", "100ms:123.5ms:14m 59s"),
        ("{{ humanizePercentage -0.22222 }}:{{ humanizePercentage 0.1234567 }}", "-22.22%:12.35%"),
        ("{{ humanizeTimestamp 1435065584.128 }}", "2015-06-23 13:19:44.128 +0000 UTC"),
        ("{{ (1435065584.128 | toTime).Year }} {{ (toTime 0).Format \"2006-01-02T15:04:05Z07:00\" }}", "2015 1970-01-01T00:00:00Z"),
        ("{{ (3723.25 | toTime).Format \"Mon Jan _2 3:4:05.000 PM '06\" }} {{ (86399 | toTime).Format \"Jan 2, 2006 at 3:04pm (MST)\" }}", "Thu Jan  1 1:2:03.250 AM '70 Jan 1, 1970 at 11:59pm (UTC)"),
        ("{{ 1800.5 | toDuration }} {{ toDuration 0.0015 }}", "30m0.5s 1.5ms"),
        ("{{ parseDuration \"1h2m10ms\" }} {{ now }}", "3720.01 1.353755652e+09"),
        ('{{ reReplaceAll "(a)b" "x$1" "abab" }} {{ match "a+" "aa" }} {{ "aa BB CC" | title }}', "xaxa true Aa BB CC"),
        ('{{ "a" | toUpper }}{{ "B" | toLower }} {{ safeHtml "<" }}', "Ab <"),
        ('{{ "host.dc:9100" | stripPort }} {{ "host.dc:9100" | stripDomain }} {{ "10.0.0.1:80" | stripDomain }} {{ "[::1]:80" | stripPort }}', "host.dc host:9100 10.0.0.1:80 ::1"),
        ('{{ graphLink "up == 0" }} {{ tableLink "up" }}', "/graph?g0.expr=up+%3D%3D+0&g0.tab=0 /graph?g0.expr=up&g0.tab=1"),
        ("{{ pathPrefix }} {{ externalURL }} {{ urlQueryEscape \"a b\" }}", "/path http://host:9090/path a+b"),
        ('{{ define "x" }}[{{ .arg0 }}/{{ .arg1 }}]{{ end }}{{ template "x" (args 1 "b") }}', "[1/b]"),
        ('{{ if gt $value 1.0 }}more{{ end }} {{ printf "%.2f%%" $value }}', "more 1.50%"),
    ],
)  # fmt: skip
def test_a_template_gives_what_prometheus_gives(text, expected):
    assert expand(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{{ query "nothing" | first }}', "first() called on vector with no elements"),
        ('{{ query "fails" }}', "error calling query: it can't be had"),
        ('{{ humanize "x" }}', '"x" is no number'),
        ('{{ reReplaceAll "(" "" "" }}', "is no regular expression of RE2"),
        ("{{ gt $value 1 }}", "incompatible types for comparison"),
        ("{{ toTime 1e300 }}", "too far"),
    ],
)
def test_what_fails_is_said_in_the_place_of_the_text(text, said):
    made = expand(text)
    assert made.startswith("<error expanding template: line 1: ")
    assert said in made


def test_what_can_not_be_parsed_is_found_before_it_is_needed():
    check_template("{{ $labels.job | humanize }}")
    with pytest.raises(TemplateError, match='function "humanise" not defined'):
        check_template("{{ $value | humanise }}")
