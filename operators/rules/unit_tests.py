"""Unit tests of rules: the files that ``promtool test rules`` takes, unchanged."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from operators.rules.alerts import FIRING
from operators.rules.durations import milliseconds
from operators.rules.errors import EvaluationError, ExpressionError
from operators.rules.evaluator import Evaluator
from operators.rules.files import FileGroup, read_file
from operators.rules.frame import InstantVector
from operators.rules.groups import RuleGroup
from operators.rules.label_sets import NAME
from operators.rules.native_histogram import NativeHistogram
from operators.rules.sequences import Item, SequenceError, labels_of, sequence
from operators.rules.store import SeriesStore
from operators.rules.yaml_text import YamlError, load

__all__ = ["TestFileError", "UnitTestReport", "run_file"]

_MINUTE: Final = 60_000
# Sums in another order differ in the last bit, which no test is about.
_ULPS: Final = 1


class TestFileError(ValueError):
    """A test file that can't be run; the text names the place and says why."""

    __test__ = False  # It is no test, whatever its name.


@dataclass
class UnitTestReport:
    """What came of a file: how many expectations held, and what is wrong with the others."""

    file: str
    passed: int = 0
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Case:
    """One expectation: alerts by name, or samples of an expression, at a time (ms)."""

    time: int
    alert: str
    expression: str
    expected: Sequence[Any]


def run_file(path: Path) -> UnitTestReport:
    """Run a test file.

    Raises:
        TestFileError: it can't be read, or something in it is wrong.
        RuleFileError: the same of a rule file that it names.
    """
    try:
        content = load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TestFileError(f"{path}: can't be read: {reason}") from error
    except YamlError as error:
        raise TestFileError(f"{path}: {error}") from None
    place = str(path)
    _only(
        content,
        place,
        {"rule_files", "evaluation_interval", "group_eval_order", "tests", "fuzzy_compare"},
    )
    groups: list[FileGroup] = []
    for pattern in content.get("rule_files") or ():
        found = sorted(path.parent.glob(pattern)) if not Path(pattern).is_absolute() else [Path(pattern)]  # fmt: skip
        if not found:
            raise TestFileError(f"{place}: rule_files: no file matches {pattern}")
        for file in found:
            groups.extend(read_file(file))
    interval = _duration(content, "evaluation_interval", place) or _MINUTE
    order = list(content.get("group_eval_order") or ())
    groups.sort(key=lambda group: order.index(group.name) if group.name in order else 0)
    report = UnitTestReport(place)
    for number, test in enumerate(content.get("tests") or (), 1):
        name = test.get("name") if isinstance(test, dict) else ""
        where = f"{place}: test {number}{f' {name}' if name else ''}"
        _run_test(test, where, groups, interval, report)
    return report


def _only(content: Any, place: str, keys: set[str]) -> None:
    if not isinstance(content, dict):
        raise TestFileError(f"{place}: a mapping should stand here")
    for key in content:
        if key not in keys:
            raise TestFileError(f'{place}: the key "{key}" is unknown')


def _duration(content: Mapping[str, Any], key: str, place: str) -> int:
    text = content.get(key) or "0"
    try:
        return milliseconds(text)
    except (ValueError, TypeError):
        raise TestFileError(f'{place}: {key}: "{text}" is not a duration') from None


def _start(test: Mapping[str, Any], place: str) -> int:
    text = test.get("start_timestamp") or "0"
    try:
        return round(float(text) * 1000)
    except ValueError:
        try:
            return round(datetime.datetime.fromisoformat(text).timestamp() * 1000)
        except ValueError:
            raise TestFileError(f'{place}: start_timestamp: "{text}" is no time') from None


def _run_test(
    test: Any, place: str, groups: Sequence[FileGroup], interval: int, report: UnitTestReport
) -> None:
    _only(
        test,
        place,
        {"interval", "input_series", "alert_rule_test", "promql_expr_test", "external_labels",
         "external_url", "name", "start_timestamp"},
    )  # fmt: skip
    start = _start(test, place)
    store = SeriesStore()
    plan = Evaluator(store, default_step=interval)
    # Expressions are looked at when all is over, also at times that are long past.
    plan.keeps_all = True
    try:
        running = [
            RuleGroup(group, plan, test.get("external_labels") or {}, test.get("external_url") or "")
            for group in groups
        ]  # fmt: skip
    except ExpressionError as error:
        raise TestFileError(f"{place}: {error}") from error
    feed = _Feed(store, test, place, _duration(test, "interval", place) or interval, start)
    cases = _cases(test, place)
    alerts = sorted((case for case in cases if case.alert), key=lambda case: case.time)
    end = max((case.time for case in cases), default=0)
    for time in range(0, end + 1, interval):
        feed.until(start + time)
        plan.begin()
        for group in running:
            done = group.evaluate(start + time)
            if done.failures:
                failure = done.failures[0]
                report.failures.append(
                    f"{place}: at {_text(time)}: rule {failure.rule}: {failure.reason}"
                )
                return
        while alerts and alerts[0].time < time + interval:
            _check_alerts(alerts.pop(0), running, place, report)
    for case in cases:
        if not case.alert:
            plan.begin()
            _check_samples(case, plan, start, place, report)


class _Feed:
    """The input series of a test, which come as time passes."""

    def __init__(
        self, store: SeriesStore, test: Mapping[str, Any], place: str, step: int, start: int
    ) -> None:
        self._store = store
        rows: list[int] = []
        times: list[int] = []
        values: list[float] = []
        self._histograms: list[tuple[int, int, NativeHistogram]] = []
        for one in test.get("input_series") or ():
            _only(one, f"{place}: input_series", {"series", "values"})
            try:
                row = int(store.rows([labels_of(one.get("series", ""))])[0])
                items: list[Item] = sequence(one.get("values", ""))
            except SequenceError as error:
                raise TestFileError(f"{place}: input_series: {error}") from None
            for i, item in enumerate(items):
                if isinstance(item, NativeHistogram):
                    self._histograms.append((start + i * step, row, item))
                elif item is not None:
                    rows.append(row)
                    times.append(start + i * step)
                    values.append(item)
        order = np.argsort(np.array(times, np.int64), kind="stable")
        self._rows = np.array(rows, np.int32)[order]
        self._times = np.array(times, np.int64)[order]
        self._values = np.array(values, np.float64)[order]
        self._histograms.sort(key=lambda entry: entry[0], reverse=True)
        self._at = 0

    def until(self, time: int) -> None:
        """Put in what there is up to a time (ms)."""
        end = int(np.searchsorted(self._times, time, side="right"))
        span = slice(self._at, end)
        if end > self._at:
            self._store.append(self._rows[span], self._times[span], self._values[span])
        self._at = end
        while self._histograms and self._histograms[-1][0] <= time:
            at, row, one = self._histograms.pop()
            self._store.append_histogram(row, at, one)


def _cases(test: Mapping[str, Any], place: str) -> list[_Case]:
    cases = []
    for one in test.get("alert_rule_test") or ():
        _only(one, f"{place}: alert_rule_test", {"eval_time", "alertname", "exp_alerts"})
        if not one.get("alertname"):
            raise TestFileError(f"{place}: alert_rule_test: alertname has to be there")
        time = _duration(one, "eval_time", f"{place}: alert_rule_test")
        cases.append(_Case(time, one["alertname"], "", one.get("exp_alerts") or ()))
    for one in test.get("promql_expr_test") or ():
        _only(one, f"{place}: promql_expr_test", {"expr", "eval_time", "exp_samples"})
        time = _duration(one, "eval_time", f"{place}: promql_expr_test")
        cases.append(_Case(time, "", one.get("expr", ""), one.get("exp_samples") or ()))
    return cases


def _check_alerts(
    case: _Case, groups: Sequence[RuleGroup], place: str, report: UnitTestReport
) -> None:
    got = sorted(
        (sorted(alert.labels.items()), sorted(_filled(alert.annotations).items()))
        for group in groups
        for rule in group.alerting
        if rule.rule.name == case.alert
        for alert in rule.active.values()
        if alert.state == FIRING
    )
    expected = []
    for one in case.expected:
        _only(one, f"{place}: exp_alerts", {"exp_labels", "exp_annotations"})
        labels = {**(one.get("exp_labels") or {}), "alertname": case.alert}
        annotations = _filled(one.get("exp_annotations") or {})
        expected.append((sorted(_filled(labels).items()), sorted(annotations.items())))
    if got == sorted(expected):
        report.passed += 1
    else:
        report.failures.append(
            f"{place}: alert {case.alert} at {_text(case.time)}:"
            f"\n    expected: {_shown(sorted(expected))}\n    got:      {_shown(got)}"
        )


def _filled(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels without those that are empty, which are none."""
    return {name: value for name, value in labels.items() if value}


def _shown(alerts: Sequence[Any]) -> str:
    lines = [f"{dict(labels)} {dict(annotations)}" for labels, annotations in alerts]
    return "\n              ".join(lines) or "nothing"


def _check_samples(
    case: _Case, plan: Evaluator, start: int, place: str, report: UnitTestReport
) -> None:
    where = f"{place}: {case.expression} at {_text(case.time)}"
    try:
        got = _samples(plan.expression(case.expression).at(start + case.time))
    except (ExpressionError, EvaluationError) as error:
        report.failures.append(f"{where}: {error}")
        return
    expected: dict[tuple[tuple[str, str], ...], Item] = {}
    for one in case.expected:
        _only(one, f"{place}: exp_samples", {"labels", "value", "histogram"})
        try:
            labels = labels_of(one.get("labels") or "{}")
            item = sequence(one["histogram"])[0] if one.get("histogram") else _number(one)
        except (SequenceError, ValueError) as error:
            raise TestFileError(f"{place}: exp_samples: {error}") from None
        expected[tuple(sorted(labels.items()))] = item
    same = got.keys() == expected.keys() and all(
        _same(got[labels], item) for labels, item in expected.items()
    )
    if same:
        report.passed += 1
    else:
        report.failures.append(
            f"{where}:\n    expected: {_listed(expected)}\n    got:      {_listed(got)}"
        )


def _number(sample: Mapping[str, str]) -> float:
    text = (sample.get("value") or "0").lower().replace(".inf", "inf").replace(".nan", "nan")
    return float(text)


def _samples(frame: InstantVector) -> dict[tuple[tuple[str, str], ...], Item]:
    found: dict[tuple[tuple[str, str], ...], Item] = {}
    for row in np.flatnonzero(frame.present):
        one = None if frame.histograms is None else frame.histograms[row]
        key = tuple(frame.sets.labels(int(row)).items())
        found[key] = float(frame.values[row]) if one is None else one
    return found


def _same(got: Item, expected: Item) -> bool:
    """Return whether two values are equal; sums in another order differ by some last bits."""
    if isinstance(got, NativeHistogram) or isinstance(expected, NativeHistogram):
        both = isinstance(got, NativeHistogram) and isinstance(expected, NativeHistogram)
        return both and got.same(expected)  # type: ignore[union-attr,arg-type]
    if got is None or expected is None:
        return False
    if math.isnan(got) or math.isnan(expected):
        return math.isnan(got) and math.isnan(expected)
    return got == expected or abs(got - expected) <= _ULPS * math.ulp(max(abs(got), abs(expected)))


def _listed(samples: Mapping[tuple[tuple[str, str], ...], Item]) -> str:
    lines = []
    for labels, item in sorted(samples.items()):
        rest = ", ".join(f'{name}="{value}"' for name, value in labels if name != NAME)
        lines.append(f"{dict(labels).get(NAME, '')}{{{rest}}} {item}")
    return "\n              ".join(lines) or "nothing"


def _text(time: int) -> str:
    hours, rest = divmod(time, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    parts = [f"{hours}h" if hours else "", f"{minutes}m" if minutes else ""]
    seconds = f"{rest / 1000:g}s" if rest or not time else ""
    return "".join((*parts, seconds))
