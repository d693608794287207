"""promtool's unit-test files run as they are; promtool itself is asked about random ones."""

import shutil
import subprocess
from random import Random

import numpy as np
import pytest
import yaml

from operators.rules.evaluator import Evaluator
from operators.rules.files import RuleFileError, parse_file
from operators.rules.groups import RuleGroup
from operators.rules.sequences import labels_of, sequence
from operators.rules.store import SeriesStore
from operators.rules.unit_tests import TestFileError, run_file
from tests.backends import in_ci

RULES = """
groups:
- name: g
  rules:
  - record: job:up:sum
    expr: sum by (job) (up)
  - alert: Down
    expr: up == 0
    for: 2m
    labels: {severity: page}
    annotations: {summary: "{{ $labels.instance }} is {{ $value }}"}
"""
TESTS = """
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
- interval: 1m
  input_series:
  - {series: 'up{job="a", instance="x"}', values: '1 1 0x3 1'}
  - {series: 'up{job="a", instance="y"}', values: '1+0x5 stale'}
  alert_rule_test:
  - {eval_time: 3m, alertname: Down, exp_alerts: []}
  - eval_time: 4m
    alertname: Down
    exp_alerts:
    - exp_labels: {severity: page, job: a, instance: x}
      exp_annotations: {summary: "x is 0"}
  promql_expr_test:
  - {expr: job:up:sum, eval_time: 3m, exp_samples: [{labels: 'job:up:sum{job="a"}', value: 1}]}
  - {expr: 'count(up)', eval_time: 6m, exp_samples: [{labels: '{}', value: 1}]}
"""


def run(folder, tests=TESTS, rules=RULES):
    (folder / "rules.yml").write_text(rules)
    (folder / "test.yml").write_text(tests)
    return run_file(folder / "test.yml")


def test_expectations_hold_or_are_shown_beside_what_came(tmp_path):
    report = run(tmp_path)
    assert (report.passed, report.failures) == (4, [])
    wrong = run(
        tmp_path,
        TESTS.replace("x is 0", "x is 1").replace(
            "value: 1}]}\n  - {expr: 'c", "value: 2}]}\n  - {expr: 'c"
        ),
    )
    assert wrong.passed == 2
    assert "alert Down at 4m" in wrong.failures[0]
    assert "'summary': 'x is 1'" in wrong.failures[0]
    assert "job:up:sum at 3m" in wrong.failures[1]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("rules.yml", "none.yml", "rule_files: no file matches none.yml"),
        ("evaluation_interval: 1m", "evaluation_interval: 1", 'evaluation_interval: "1" is not'),
        (
            "interval: 1m\n  input",
            "intervall: 1m\n  input",
            'test 1: the key "intervall" is unknown',
        ),
        ("0x3", "0xx3", "input_series: "),
        ("alertname: Down, exp", "alertnam: Down, exp", 'the key "alertnam" is unknown'),
    ],
)
def test_what_is_wrong_in_a_test_file_is_named(tmp_path, old, new, said):
    with pytest.raises(TestFileError, match=said):
        run(tmp_path, TESTS.replace(old, new))


def test_what_is_wrong_in_a_rule_file_is_named(tmp_path):
    with pytest.raises(RuleFileError, match='rule 2 "Down": expr'):
        run(tmp_path, rules=RULES.replace("up == 0", "up ="))


def random_files(random: Random) -> tuple[str, dict]:
    """Return rules and a test whose expectations promtool is asked about."""
    rules = [
        {"record": "job:m:sum", "expr": "sum by (job) (m)"},
        {"record": "job:c:rate", "expr": "sum by (job) (rate(c_total[3m10s]))"},
    ]
    expressions = (
        "m > 2", "m == 0", "job:m:sum > 5", "job:c:rate > 0.01", "rate(c_total[2m30s]) > 0.02",
        "absent(m{job=\"a\"})", "m > on (instance, job) group_left n", "m unless n",
        "max_over_time(m[4m10s]) - m > 1", "sum without (instance) (m) < 4",
        "count_over_time(m[5m30s]) < 4", "avg(m) by (job) > 1.5 or n > 3",
    )  # fmt: skip
    for number, expression in enumerate(random.sample(expressions, 7)):
        rules.append(
            {
                "alert": f"A{number}",
                "expr": expression,
                "for": f"{random.choice((0, 1, 3))}m",
                "labels": {"severity": random.choice(("page", "{{ $labels.job }}-x"))},
                "annotations": {
                    "s": '{{ $labels.instance }}={{ printf "%.3f" $value }} {{ humanize $value }}'
                    " {{ $value | humanizePercentage }}"
                },
            }
        )
    series = []
    for job in "ab":
        for instance in range(2):
            for name in ("m", "n", "c_total"):
                if name == "n" and instance:
                    continue
                # Far from zero, so that old versions extrapolate a rate as new ones do.
                value, values = 1000, []
                for _ in range(25):
                    step = random.choice(("_", "stale", 0, 1, 2, 5, 5))
                    value = value + step if name == "c_total" and isinstance(step, int) else step
                    values.append(str(value if isinstance(step, int) else step))
                    value = value if isinstance(value, int) else 1000
                labels = f'job="{job}", instance="{instance}"'
                series.append({"series": f"{name}{{{labels}}}", "values": " ".join(values)})
    return yaml.safe_dump({"groups": [{"name": "g", "rules": rules}]}), {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series}],
    }


def firing(rules: str, series: list[dict[str, str]]) -> dict[tuple[str, str], list[dict]]:
    """Return the alerts that fire, by minute and name, as a test file expects them."""
    store = SeriesStore()
    plan = Evaluator(store)
    group = RuleGroup(parse_file(rules, "rules.yml")[0], plan)
    for one in series:
        row = store.rows([labels_of(one["series"])])
        items = sequence(one["values"])
        times = [i for i, item in enumerate(items) if item is not None]
        values = np.array([items[i] for i in times], np.float64)
        rows = np.full(len(times), row[0], np.int32)
        store.append(rows, np.array(times, np.int64) * 60_000, values)
    found: dict[tuple[str, str], list[dict]] = {}
    for minute in range(25):
        plan.begin()
        assert not group.evaluate(minute * 60_000).failures
        for rule in group.alerting:
            for alert in rule.active.values():
                if alert.state == "firing":
                    labels = {k: v for k, v in alert.labels.items() if k != "alertname"}
                    found.setdefault((f"{minute}m", rule.rule.name), []).append(
                        {"exp_labels": labels, "exp_annotations": dict(alert.annotations)}
                    )
    return found


def test_promtool_expects_what_comes_of_random_rules(tmp_path):
    promtool = shutil.which("promtool")
    if promtool is None:
        if in_ci():
            pytest.fail("promtool is not installed: apt-get install prometheus", pytrace=False)
        pytest.skip("promtool is not installed: apt-get install prometheus")
    for seed in range(6):
        folder = tmp_path / str(seed)
        folder.mkdir()
        rules, tests = random_files(Random(seed))
        (folder / "rules.yml").write_text(rules)
        names = [
            rule["alert"] for rule in yaml.safe_load(rules)["groups"][0]["rules"] if "alert" in rule
        ]
        tests["tests"][0]["alert_rule_test"] = [
            {"eval_time": f"{minute}m", "alertname": name, "exp_alerts": []}
            for minute in range(0, 25, 2)
            for name in names
        ]
        # What comes is what promtool is then asked to expect.
        came = firing(rules, tests["tests"][0]["input_series"])
        for case in tests["tests"][0]["alert_rule_test"]:
            case["exp_alerts"] = came.get((case["eval_time"], case["alertname"]), [])
        assert sum(bool(case["exp_alerts"]) for case in tests["tests"][0]["alert_rule_test"]) > 5
        (folder / "test.yml").write_text(yaml.safe_dump(tests))
        assert not run_file(folder / "test.yml").failures
        said = subprocess.run(
            [promtool, "test", "rules", str(folder / "test.yml")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert said.returncode == 0, f"seed {seed}: {said.stdout}{said.stderr}"
