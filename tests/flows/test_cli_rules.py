"""`headrace rules` says what is wrong and what is doubtful, and runs unit tests."""

import json

import pytest

from flows.commands.failure import CommandFailed
from flows.commands.rules import check_rules, run_tests

RULES = "groups: [{name: g, rules: [{alert: Up, expr: up}, {record: 'a:b', expr: 'sum(up)'}]}]"
TESTS = """
rule_files: [r.yml]
tests:
- interval: 1m
  input_series: [{series: up, values: 1x9}]
  promql_expr_test: [{expr: 'a:b', eval_time: 5m, exp_samples: [{labels: 'a:b{}', value: VALUE}]}]
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "r.yml").write_text(RULES)
    (tmp_path / "wrong.yml").write_text(RULES.replace("sum(up)", "sum(up"))
    (tmp_path / "t.yml").write_text(TESTS.replace("VALUE", "1"))
    (tmp_path / "f.yml").write_text(TESTS.replace("VALUE", "2"))
    return tmp_path


def test_check_names_what_is_wrong_and_what_is_doubtful(folder, capsys):
    check_rules([folder / "r.yml"], "15s", as_json=False)
    said = capsys.readouterr().out
    assert "g: Up: it compares nothing" in said
    assert "2 rules in 1 groups: 0 files wrong, 1 doubts" in said
    with pytest.raises(CommandFailed, match="1 of 2 files can't be used"):
        check_rules([folder / "r.yml", folder / "wrong.yml"], "15s", as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["rules"] == 2
    assert 'rule 2 "a:b": expr' in shown["errors"][0]
    with pytest.raises(CommandFailed, match='--sampling: "x" is not a duration'):
        check_rules([], "x", as_json=False)


def test_unit_tests_fail_with_what_was_expected(folder, capsys):
    run_tests([folder / "t.yml"], as_json=False)
    assert "1 passed, 0 failed" in capsys.readouterr().out
    with pytest.raises(CommandFailed, match="2 of 3 test files failed"):
        run_tests([folder / "t.yml", folder / "f.yml", folder / "none.yml"], as_json=True)
    _, failed, unread = json.loads(capsys.readouterr().out)
    assert "expected: a:b{} 2.0" in failed["failures"][0]
    assert "can't be read" in unread["failures"][0]
