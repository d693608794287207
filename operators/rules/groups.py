"""A group of rules: evaluated one after the other, each seeing what those before it recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.rules.alerts import AlertingRule, RuleAlertChange, TooManyAlertsError
from operators.rules.errors import EvaluationError
from operators.rules.evaluator import Evaluator
from operators.rules.files import FileGroup, Rule
from operators.rules.label_sets import NAME, Ids, LabelSets, groups_of
from operators.rules.native_histogram import NativeHistogram
from operators.rules.node import KeptByLabels, check_distinct
from operators.rules.samples import STALE

__all__ = ["Evaluated", "Failure", "RecordedSamples", "RecordingRule", "RuleGroup"]


@dataclass(frozen=True)
class Failure:
    """A rule that had no result at a time; ``reason`` says why."""

    rule: str
    reason: str


@dataclass(frozen=True)
class RecordedSamples:
    """Samples that a rule made at a time (ms), in rows of the store; markers are not among them.

    Native histograms are apart from the numbers, with rows of their own.
    """

    time: int
    rows: Ids
    values: NDArray[np.float64]
    histogram_rows: Ids
    histograms: Sequence[NativeHistogram]

    def __len__(self) -> int:
        return len(self.rows) + len(self.histogram_rows)

    @classmethod
    def of(
        cls, time: int, rows: Ids, values: NDArray[np.float64], objects: Sequence[Any] = ()
    ) -> RecordedSamples:
        """Return samples, ``objects`` having the native histograms and None for each number."""
        natives = np.array([one is not None for one in objects] or [False] * len(rows), np.bool_)
        histograms = [one for one in objects if one is not None]
        return cls(time, rows[~natives], values[~natives], rows[natives], histograms)


@dataclass
class Evaluated:
    """What came of one evaluation of a group."""

    changes: list[RuleAlertChange] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    recorded: list[RecordedSamples] = field(default_factory=list)


class RecordingRule:
    """A rule whose result is a series of its own."""

    def __init__(self, rule: Rule, evaluator: Evaluator) -> None:
        self.rule = rule
        self.evaluator = evaluator
        self.expression = evaluator.expression(rule.expression)
        self._recorded = KeptByLabels(self._record)

    def _record(self, sets: LabelSets) -> tuple[LabelSets, Ids | None, Ids]:
        symbols = self.evaluator.store.symbols
        for name, value in {**self.rule.labels, NAME: self.rule.name}.items():
            sets = sets.replace(name, np.full(sets.size, symbols.number(value), np.int32))
        groups, first = groups_of(sets.signatures())
        rows = np.full(sets.size, -1, np.int32)
        return sets, None if len(first) == sets.size else groups, rows

    def evaluate(self, time: int, limit: int = 0) -> tuple[Ids, NDArray[np.float64], list[Any]]:
        """Return the rows in the store and the values of the series, and native histograms.

        Raises:
            EvaluationError: there is no result, two series become one, or there are too many.
        """
        frame = self.expression.at(time)
        sets, groups, rows = self._recorded(frame.sets)
        if groups is not None:
            check_distinct(groups, frame.present)
        there = np.flatnonzero(frame.present)
        if limit and len(there) > limit:
            raise EvaluationError(f"exceeded limit of {limit} with {len(there)} series")
        new = there[rows[there] < 0]
        if len(new):
            rows[new] = self.evaluator.store.rows_of(sets.take(new))
        objects = [] if frame.histograms is None else list(frame.histograms[there])
        return rows[there], frame.values[there], objects


class RuleGroup:
    """The rules of a group, with their state.

    Args:
        group: the group of a file.
        evaluator: evaluates the expressions, over the store that recorded series go to.
        external_labels: what ``$externalLabels`` is in templates.
        external_url: what ``externalURL`` gives there.
        keeps_unknown: whether alerts go on firing while the series that they came of are gone.
    """

    def __init__(
        self,
        group: FileGroup,
        evaluator: Evaluator,
        external_labels: Mapping[str, str] | None = None,
        external_url: str = "",
        *,
        keeps_unknown: bool = False,
    ) -> None:
        self.group = group
        self._evaluator = evaluator
        self.rules: list[AlertingRule | RecordingRule] = [
            AlertingRule(rule, evaluator, external_labels or {}, external_url, keeps_unknown)
            if rule.is_alert
            else RecordingRule(rule, evaluator)
            for rule in group.rules
        ]
        # The series that each rule had the last time: those that are gone get a marker.
        self._before: list[Ids] = [np.zeros(0, np.int32) for _ in self.rules]
        self.faults: dict[int, str] = {}
        """Why rules had no result the last time, by their number."""
        self.evaluated_at: int | None = None
        self.seconds = 0.0

    @property
    def alerting(self) -> Sequence[AlertingRule]:
        """The rules that alert."""
        return [rule for rule in self.rules if isinstance(rule, AlertingRule)]

    def evaluate(self, time: int) -> Evaluated:
        """Evaluate all rules at a time (ms), and put what they record into the store."""
        started = perf_counter()
        done = Evaluated()
        offset = self.group.offset or 0
        limit = self.group.limit
        for number, rule in enumerate(self.rules):
            try:
                if isinstance(rule, AlertingRule):
                    done.changes.extend(rule.evaluate(time, offset, limit))
                    rows, values = self._alerts(rule)
                    self._put(number, rows, values, time - offset)
                    made = RecordedSamples.of(time - offset, rows, values)
                else:
                    rows, values, objects = rule.evaluate(time - offset, limit)
                    self._put(number, rows, values, time - offset, rule.rule.name, objects)
                    made = RecordedSamples.of(time - offset, rows, values, objects)
                self.faults.pop(number, None)
                if len(made):
                    done.recorded.append(made)
            except EvaluationError as error:
                if isinstance(error, TooManyAlertsError):
                    done.changes.extend(error.changes)
                self.faults[number] = str(error)
                done.failures.append(Failure(rule.rule.name, str(error)))
        self.evaluated_at = time
        self.seconds = perf_counter() - started
        return done

    def rows(self) -> Ids:
        """Return the rows of the store that its rules have made and not ended."""
        return np.concatenate([np.empty(0, np.int32), *self._before])

    def snapshot(self) -> dict[str, Any]:
        """Return the alerts of its rules, and the labels of the series that they made, as plain data."""
        labels = self._evaluator.store.labels
        state = []
        for key, rule, before in zip(self.keys(), self.rules, self._before, strict=True):
            sets = labels(before)
            alerts = rule.snapshot() if isinstance(rule, AlertingRule) else []
            state.append((key, alerts, [sets.labels(row) for row in range(len(before))]))
        return {"rules": state, "at": self.evaluated_at, "shadow": self.group.shadow}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `snapshot` gave; a rule that is not in it begins anew."""
        by_key = {tuple(key): (alerts, labels) for key, alerts, labels in state["rules"]}
        self.evaluated_at = state["at"]
        for number, (key, rule) in enumerate(zip(self.keys(), self.rules, strict=True)):
            alerts, labels = by_key.get(key, ([], []))
            if isinstance(rule, AlertingRule):
                rule.restore(alerts)
            if labels:
                self._before[number] = self._evaluator.store.rows(labels)

    def keys(self) -> list[tuple[str, int, int]]:
        """Return what tells its rules apart: their names, and the number of each of its name."""
        met: dict[tuple[str, int], int] = {}
        keys = []
        for rule in self.group.rules:
            name = rule.name, int(rule.is_alert)
            met[name] = met.get(name, 0) + 1
            keys.append((*name, met[name]))
        return keys

    def _alerts(self, rule: AlertingRule) -> tuple[Ids, NDArray[np.float64]]:
        samples = rule.samples()
        if not samples:
            return np.zeros(0, np.int32), np.zeros(0)
        rows = self._evaluator.store.rows([labels for labels, _ in samples])
        return rows, np.array([value for _, value in samples])

    def _put(
        self,
        number: int,
        rows: Ids,
        values: NDArray[np.float64],
        time: int,
        name: str = "ALERTS",
        objects: Sequence[Any] = (),
    ) -> None:
        store = self._evaluator.store
        gone = np.setdiff1d(self._before[number], rows)
        self._before[number] = rows
        natives = np.array([one is not None for one in objects], np.bool_)
        if natives.any():
            for row, one in zip(rows[natives], np.array(objects)[natives], strict=True):
                store.append_histogram(int(row), time, one)
            rows, values = rows[~natives], values[~natives]
        rows = np.concatenate([rows, gone]).astype(np.int32)
        if not len(rows):
            return
        values = np.concatenate([values, np.full(len(gone), STALE)])
        store.touch(rows, np.full(len(rows), time, np.int64), values, name)
        if name == "ALERTS":
            store.touched("ALERTS_FOR_STATE")
