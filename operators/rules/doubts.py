"""What is probably not meant in a rule that is no mistake: said by ``headrace rules check``."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import promql_parser as parser

from operators.rules.files import FileGroup, Rule
from operators.rules.planning import parsed

__all__ = ["Doubt", "doubts"]

_COUNTERS: Final = ("rate", "increase", "irate", "resets")
_COUNTER: Final = re.compile(r".*(?:_total|_count|_sum|_bucket|_seconds|_bytes|:.*)$")
_LABEL: Final = re.compile(r"\$labels\.([a-zA-Z_]\w*)|\.Labels\.([a-zA-Z_]\w*)")
_COMPARISONS: Final = ("==", "!=", ">", "<", ">=", "<=", "and", "unless")
_LONG: Final = datetime.timedelta(days=1)


class Doubt(NamedTuple):
    """A doubt about a rule, and what to do."""

    group: str
    rule: str
    text: str


def doubts(groups: list[FileGroup], sampling: int) -> Iterator[Doubt]:
    """Yield what is doubtful in rule files.

    Args:
        groups: the groups of all files.
        sampling: how far apart (ms) the samples of a series are.
    """
    recorded: dict[tuple[str, tuple[tuple[str, str], ...]], str] = {}
    for group in groups:
        for rule in group.rules:
            for text in _of_rule(rule, group, sampling):
                yield Doubt(f"{group.file}: {group.name}", rule.name, text)
            if rule.is_alert:
                continue
            key = (rule.name, tuple(sorted(rule.labels.items())))
            other = recorded.setdefault(key, f"{group.file}: {group.name}")
            if other != f"{group.file}: {group.name}":
                text = f"{other} records the same name: one overwrites the other where labels meet"
                yield Doubt(f"{group.file}: {group.name}", rule.name, text)


def _of_rule(rule: Rule, group: FileGroup, sampling: int) -> Iterator[str]:
    expression = parsed(rule.expression)
    found: list[Any] = []

    def visit(node: Any) -> bool:
        found.append(node)
        return True

    parser.walk(expression, visit)
    calls = [node for node in found if isinstance(node, parser.Call)]
    # A native histogram counts, whatever it is called.
    native = any(call.func.name.startswith("histogram_") for call in calls)
    for node in found:
        if isinstance(node, parser.MatrixSelector):
            yield from _of_range(node, sampling)
        elif isinstance(node, parser.Call):
            yield from _of_call(node, native=native)
    if rule.is_alert:
        yield from _of_alert(rule, group, expression, found)


def _of_range(node: parser.MatrixSelector, sampling: int) -> Iterator[str]:
    length = round(node.range.total_seconds() * 1000)
    if length < 2 * sampling:
        yield (
            f"{node.prettify()}: at a sample each {sampling / 1000:g}s the range holds fewer than"
            f" two, and a rate has no value: write [{4 * sampling // 1000}s] or more"
        )
    if node.range > _LONG:
        yield (
            f"{node.prettify()}: each series keeps {length // sampling} samples for it"
            f" ({length // sampling * 16 // 1024} KB): record a coarser series first"
        )


def _of_call(node: parser.Call, *, native: bool) -> Iterator[str]:
    name = node.func.name
    if not native and name in _COUNTERS and isinstance(node.args[0], parser.MatrixSelector):
        metric = node.args[0].vector_selector.name
        if metric is not None and not _COUNTER.match(metric):
            yield f"{name}({metric}…): the name is not that of a counter"
    if name == "absent" and isinstance(node.args[0], parser.VectorSelector):
        matchers = node.args[0].matchers.matchers
        if any(str(m.op) != "MatchOp.Equal" for m in matchers):
            yield (
                f"{node.prettify()}: it tells of no series at all only: one that is gone beside"
                " others that match goes unnoticed"
            )


def _of_alert(rule: Rule, group: FileGroup, expression: Any, found: list[Any]) -> Iterator[str]:
    if not any(
        (isinstance(node, parser.BinaryExpr) and str(node.op) in _COMPARISONS)
        or (isinstance(node, parser.Call) and node.func.name.startswith("absent"))
        for node in found
    ):
        yield "it compares nothing, so it fires as long as there is a series"
    if rule.hold and group.interval and rule.hold < group.interval:
        yield "for is shorter than the interval of the group: it fires one evaluation later"
    labels = _labels_of(expression)
    if labels is None:
        return
    texts: Mapping[str, str] = {**rule.labels, **rule.annotations}
    for name, text in texts.items():
        for match in _LABEL.finditer(text):
            wanted = match[1] or match[2]
            if wanted not in labels:
                has = ", ".join(sorted(labels)) or "no label at all"
                yield f"{name}: $labels.{wanted} is always empty: the result has {has}"


def _labels_of(node: Any) -> set[str] | None:  # noqa: PLR0911
    """Return the labels that a result can have, None if that can't be told."""
    match node:
        case parser.ParenExpr() | parser.UnaryExpr():
            return _labels_of(node.expr)
        case parser.AggregateExpr():
            modifier: Any = node.modifier
            if str(node.op) in ("topk", "bottomk", "limitk", "limit_ratio", "count_values"):
                return None
            if modifier is None:
                return set()
            if modifier.type != parser.AggModifierType.By:
                return None
            return set(modifier.labels)
        case parser.BinaryExpr():
            return _labels_of_binary(node)
        case parser.NumberLiteral():
            return set()
    return None


def _labels_of_binary(node: Any) -> set[str] | None:
    left, right = _labels_of(node.lhs), _labels_of(node.rhs)
    if isinstance(node.lhs, parser.NumberLiteral):
        return right
    if isinstance(node.rhs, parser.NumberLiteral) or str(node.op) in ("and", "unless"):
        return left
    modifier: Any = node.modifier
    if str(node.op) == "or" or (modifier and (modifier.group_labels or modifier.matching)):
        return None
    return left if left is not None else right
