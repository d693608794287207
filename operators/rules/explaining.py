"""Why a rule says what it says at a time: each part of its expression, and the samples behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import promql_parser as parser

from operators.rules.errors import EvaluationError
from operators.rules.evaluator import Evaluator
from operators.rules.files import Rule
from operators.rules.frame import Range
from operators.rules.grammar import TRIMS
from operators.rules.planning import parsed

__all__ = ["ExplainedPart", "explained"]

_MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class ExplainedPart:
    """A part of an expression at a time.

    Attributes:
        depth: 0 for the whole.
        expression: the part.
        rows: labels and value of each series, or labels and samples (time in ms, value) of a range.
        left_out: how many more series there are.
        fault: why there is no result.
    """

    depth: int
    expression: str
    rows: list[tuple[dict[str, str], Any]] = field(default_factory=list)
    left_out: int = 0
    fault: str = ""


def explained(
    plan: Evaluator, rule: Rule, time: int, labels: Mapping[str, str], most: int = _MOST
) -> list[ExplainedPart]:
    """Return the parts of a rule's expression at a time (ms), the whole first.

    Args:
        plan: evaluates, over the samples that there are.
        rule: the rule.
        time: when.
        labels: only series that have these, or have no such label, are shown.
        most: how many series of a part are shown.
    """
    plan.begin()
    parts = [
        (depth, " ".join(node.prettify().split()))
        for depth, node in _nodes(parsed(rule.expression), 0)
    ]
    if any(trim in rule.expression for trim in TRIMS):  # The tree has other operators there.
        parts = [(0, rule.expression)]
    return [_part(plan, text, depth, time, labels, most) for depth, text in parts]


def _nodes(node: Any, depth: int) -> Iterator[tuple[int, Any]]:
    match node:
        case parser.NumberLiteral() | parser.StringLiteral():
            return
        case parser.ParenExpr():
            yield from _nodes(node.expr, depth)
            return
    yield depth, node
    match node:
        case parser.BinaryExpr():
            yield from _nodes(node.lhs, depth + 1)
            yield from _nodes(node.rhs, depth + 1)
        case parser.UnaryExpr() | parser.AggregateExpr():
            yield from _nodes(node.expr, depth + 1)
        case parser.Call():
            for argument in node.args:
                yield from _nodes(argument, depth + 1)


def _part(
    plan: Evaluator, text: str, depth: int, time: int, labels: Mapping[str, str], most: int
) -> ExplainedPart:
    try:
        expression = plan.expression(text)
        if expression.is_range:
            found = expression.over(time)
            rows = [
                (of, samples)
                for row in range(found.sets.size)
                if (samples := _samples(found, row)) and _fits(of := found.sets.labels(row), labels)
            ]
        else:
            frame = expression.at(time)
            rows = [
                (of, _value(frame, int(row)))
                for row in np.flatnonzero(frame.present)
                if _fits(of := frame.sets.labels(int(row)), labels)
            ]
    except EvaluationError as error:
        return ExplainedPart(depth, text, fault=str(error))
    return ExplainedPart(depth, text, rows[:most], max(len(rows) - most, 0))


def _samples(found: Range, row: int) -> list[tuple[int, Any]]:
    """Return times (ms) and values of a series, native histograms as texts."""
    part = slice(found.low[row], found.high[row])
    made: list[tuple[int, Any]] = [
        *zip(found.ts[part].tolist(), found.values[part].tolist(), strict=True),
        *((ts, str(one)) for ts, one in found.histograms.get(row, [])),
    ]
    return sorted(made, key=lambda sample: sample[0])


def _value(frame: Any, row: int) -> Any:
    one = None if frame.histograms is None else frame.histograms[row]
    return float(frame.values[row]) if one is None else str(one)


def _fits(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(labels.get(name, value) == value for name, value in wanted.items())
