"""Which series some rule looks at, and on which shards: asked once for each series."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import promql_parser as parser

from operators.rules.errors import ExpressionError
from operators.rules.evaluator import Evaluator
from operators.rules.files import FileGroup, Rule
from operators.rules.label_sets import NAME
from operators.rules.planning import parsed
from operators.rules.selecting import LabelMatcher
from operators.rules.store import SeriesStore

__all__ = [
    "SelectedSeries",
    "expressions_in",
    "looks_at",
    "reach_of",
    "recorded_by",
    "selectors_of",
    "size_of",
]

_TEXT: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|`([^`]*)`')
_ACTION: Final = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_VERB: Final = re.compile(r"%[-+# 0]*[\d.]*[a-zA-Z]")
_ANY: Final = "headrace_any_text"
"""Stands in a query of a template for what is only known when the alert is there."""

Selector = tuple[tuple[LabelMatcher, ...], int]
"""Conditions that a series has to fulfil, and for how long (ms) its samples are needed."""


def expressions_in(rule: Rule) -> Iterator[str]:
    """Yield the expression of a rule, and those that its templates ask for by ``query``.

    Where such a query has a part that is put in by ``printf``, a text stands for it.
    """
    yield rule.expression
    for text in (*rule.labels.values(), *rule.annotations.values()):
        for action in _ACTION.findall(text):
            if "query" not in action:
                continue
            for match in _TEXT.finditer(action):
                found = match[2] if match[1] is None else re.sub(r"\\(.)", r"\1", match[1])
                yield _VERB.sub(_ANY, found)


@lru_cache(1 << 15)
def _selected_by(texts: tuple[str, ...], lookback: int, step: int) -> tuple[Selector, ...]:
    """Return what the expressions of one rule select, the first of which is its own."""
    plan = Evaluator(SeriesStore(), lookback, step)
    for number, text in enumerate(texts):
        try:
            plan.expression(text)
        except ExpressionError:
            if not number:
                raise
    return tuple(
        (tuple(m for m in matchers if _ANY not in m.value), selection.keep)
        for matchers, selection in plan.selections.items()
    )


def selectors_of(
    rules: Iterable[Rule], lookback: int = 300_000, step: int = 60_000
) -> list[Selector]:
    """Return what the rules select, each selector once.

    Raises:
        ExpressionError: one of them is no expression.
    """
    found: dict[tuple[LabelMatcher, ...], int] = {}
    for rule in rules:
        for matchers, keep in _selected_by(tuple(expressions_in(rule)), lookback, step):
            found[matchers] = max(found.get(matchers, 0), keep)
    return list(found.items())


def reach_of(rules: Iterable[Rule], lookback: int = 300_000, step: int = 60_000) -> int:
    """Return how far back (ms) the rules look, offsets included."""
    kept = (keep for _, keep in selectors_of(rules, lookback, step))
    return max(kept, default=lookback)


class SelectedSeries:
    """Says of a series which sets of rules look at it.

    Args:
        sets: the rules of each set, of which there are 63 at most.
        lookback: how old (ms) the last sample of a series may be.
        step: the step (ms) of subqueries that say none.
    """

    def __init__(
        self, sets: Sequence[Iterable[Rule]], lookback: int = 300_000, step: int = 60_000
    ) -> None:
        self._named: dict[str, dict[tuple[LabelMatcher, ...], int]] = defaultdict(dict)
        self._others: dict[tuple[LabelMatcher, ...], int] = {}
        for number, rules in enumerate(sets):
            for matchers, _ in selectors_of(rules, lookback, step):
                names = [m.value for m in matchers if m.name == NAME and m.operator == "="]
                into = self._named[names[0]] if names else self._others
                into[matchers] = into.get(matchers, 0) | 1 << number

    def __bool__(self) -> bool:
        return bool(self._named or self._others)

    def may_select(self, name: str) -> bool:
        """Return whether a series of this name can be one, whatever its other labels are."""
        return name in self._named or bool(self._others)

    def asks_for(self, name: str) -> bool:
        """Return whether something selects series by this very name."""
        return name in self._named

    def of(self, labels: Mapping[str, str]) -> int:
        """Return the sets that look at a series with these labels, a bit for each."""
        found = 0
        named = self._named.get(labels.get(NAME, ""), {})
        for matchers, sets in (*named.items(), *self._others.items()):
            if sets & ~found and all(m.accepts(labels.get(m.name, "")) for m in matchers):
                found |= sets
        return found


def recorded_by(group: FileGroup) -> set[str]:
    """Return the names of the series that a group makes."""
    made = {rule.name for rule in group.rules if not rule.is_alert}
    if any(rule.is_alert for rule in group.rules):
        made |= {"ALERTS", "ALERTS_FOR_STATE"}
    return made


def looks_at(group: FileGroup) -> list[tuple[LabelMatcher, ...]]:
    """Return the conditions of the series that a group looks at."""
    return [matchers for matchers, _ in selectors_of(group.rules)]


def size_of(rule: Rule) -> int:
    """Return how much work a rule is, roughly: the nodes of its expression, ranges for several."""
    return _size(parsed(rule.expression))


def _size(node: Any) -> int:
    match node:
        case parser.MatrixSelector() | parser.SubqueryExpr():
            return 4 + (_size(node.expr) if isinstance(node, parser.SubqueryExpr) else 0)
        case parser.BinaryExpr():
            return 1 + _size(node.lhs) + _size(node.rhs)
        case parser.ParenExpr() | parser.UnaryExpr() | parser.AggregateExpr():
            return 1 + _size(node.expr)
        case parser.Call():
            return 1 + sum(_size(argument) for argument in node.args)
    return 1
