"""Rule files are read as Prometheus reads them, and refused where something is wrong."""

import re

import pytest

from operators.rules.doubts import doubts
from operators.rules.files import RuleFileError, parse_file, read_file

FILE = """
groups:
- name: g
  interval: 30s
  query_offset: 1m
  limit: 10
  labels: {team: infra, severity: low}
  rules:
  - record: job:up:sum
    expr: sum by (job) (up)
  - alert: Down
    expr: up == 0
    for: 1h30m
    keep_firing_for: 10m
    labels: {severity: "{{ $labels.job }}", on: yes, "n": 1}
    annotations: {summary: "{{ $value | humanize }}"}
"""


def test_a_file_is_read():
    (group,) = parse_file(FILE, "f.yml")
    assert (group.name, group.interval, group.offset, group.limit) == ("g", 30_000, 60_000, 10)
    record, alert = group.rules
    assert (record.name, record.is_alert, record.labels) == (
        "job:up:sum",
        False,
        {"team": "infra", "severity": "low"},
    )
    assert (alert.hold, alert.keep_firing) == (5_400_000, 600_000)
    # What YAML 1.1 takes for a truth value or a number is the text that stands there.
    assert alert.labels == {"team": "infra", "severity": "{{ $labels.job }}", "on": "yes", "n": "1"}


def test_an_empty_file_has_no_groups():
    assert parse_file("", "f.yml") == parse_file("groups:\n", "f.yml") == []


def rule(text: str) -> str:
    return f"groups:\n- name: g\n  rules:\n  - {text}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", r"f\.yml: line [12]: "),
        ("groups:\n- name: g\n  name: h\n", 'f.yml: line 3: the key "name" is there twice'),
        ("rules: []", 'f.yml: the key "rules" is unknown'),
        ("groups: {}", "f.yml: groups: a list"),
        ("groups:\n- rules: []", "f.yml: a group has no name"),
        ("groups:\n- {name: g}\n- {name: g}", 'f.yml: group "g": it is there twice'),
        ("groups:\n- {name: g, interval: 5}", 'group "g": interval: "5" is not a duration'),
        ("groups:\n- {name: g, limit: x}", 'limit: "x" is not a whole number'),
        (rule("{expr: up}"), 'group "g": rule 1: either "record" or "alert"'),
        (rule("{alert: A}"), 'rule 1 "A": "expr" has to be there'),
        (rule("{record: a, expr: up, for: 1m}"), '"for" is of alerting rules only'),
        (rule("{record: 'a{}', expr: up}"), "braces in the name"),
        (rule("{alert: A, expr: 'up =='}"), 'rule 1 "A": expr: '),
        (rule("{alert: A, expr: 'up[5m]'}"), "expr: the result is neither"),
        (rule("{alert: A, expr: 'rate(up[5m] smoothed)'}"), 'rule 1 "A": expr: '),
        (rule("{alert: A, expr: 'up{a=~\"(\"}'}"), 'rule 1 "A": expr: '),
        (rule(f"{{alert: A, expr: '{'+'.join(['up'] * 900)}'}}"), "nested too deeply"),
        (rule(f"{{alert: A, expr: '{'-' * 9000}up'}}"), "9000 operators and parentheses"),
        (rule("{alert: A, expr: 'up @ -5'}"), "@ with a time before 1970"),
        (rule('{alert: A, expr: \'up{a="1" or b="2"}\'}'), "which is not PromQL"),
        (rule("{alert: A, expr: up, labels: {'': c}}"), 'labels: "" is not the name'),
        (rule("{alert: A, expr: up, labels: {__name__: c}}"), '"__name__" is not the name'),
        (rule("{alert: A, expr: up, for: 300y}"), "for: .* longer than the 292 years"),
        (rule("{alert: A, expr: up, labels: {a: '{{ nope }}'}}"), 'a: line 1: function "nope"'),
        (rule("{alert: A, expr: up, annotations: {a: '{{ $x }}'}}"), 'undefined variable "\\$x"'),
        (rule("{alert: A, expr: up, annotations: {a: '{{'}}"), "a: line 1: unclosed action"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text, said):
    with pytest.raises(RuleFileError, match=said):
        parse_file(text, "f.yml")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RuleFileError, match=r"none\.yml: can't be read: No such file"):
        read_file(tmp_path / "none.yml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alert: A, expr: 'rate(a_total[20s]) > 1'", "holds fewer than two"),
        ("alert: A, expr: 'rate(queue_length[5m]) > 1'", "not that of a counter"),
        ("alert: A, expr: up", "compares nothing"),
        ("alert: A, expr: 'absent(up{job=~\"a.*\"})'", "goes unnoticed"),
        ("alert: A, expr: 'max_over_time(a[30d]) > 1'", "172800 samples"),
        (
            "alert: A, expr: 'sum by (job) (a) > 1', annotations: {s: '{{ $labels.instance }}'}",
            r"\$labels\.instance is always empty: the result has job",
        ),
    ],
)
def test_what_is_doubtful_is_said(text, said):
    found = [one.text for one in doubts(parse_file(rule(f"{{{text}}}"), "f.yml"), 15_000)]
    assert len(found) == 1
    assert re.search(said, found[0])


def test_of_what_is_sound_nothing_is_said():
    text = "alert: A, expr: 'sum by (job) (rate(a_total[1m])) > 1', annotations: {s: '{{ $labels.job }}'}"
    assert list(doubts(parse_file(rule(f"{{{text}}}"), "f.yml"), 15_000)) == []


def test_null_is_nothing_and_a_label_may_have_any_name():
    text = rule("{alert: A, expr: up, for: ~, labels: {a: null, b.c: 'null'}, annotations: Null}")
    (group,) = parse_file(text.replace("- name: g", "- name: g\n  limit: null"), "f.yml")
    assert (group.limit, group.rules[0].hold) == (0, 0)
    assert group.rules[0].labels == {"a": "", "b.c": "null"}
    (group,) = parse_file(rule("{record: a, expr: up, for: 0s, annotations: {}}"), "f.yml")
    assert not group.rules[0].is_alert
    assert parse_file("groups: null", "f.yml") == []
