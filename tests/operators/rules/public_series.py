"""Random series that the selectors of an expression select."""

from __future__ import annotations

import re
from random import Random
from typing import Any

import promql_parser as parser

from tests.operators.rules.random_promql import SAMPLES, STEP

Series = tuple[dict[str, str], list[int], list[str]]


def nodes_of(text: str) -> list[Any]:
    """Return all parts of an expression."""
    found: list[Any] = []

    def visit(node: Any) -> bool:
        found.append(node)
        return True

    parser.walk(parser.parse(text), visit)
    return found


def series_for(texts: list[str], random: Random) -> list[Series]:
    """Return series for the selectors of expressions, with the labels that they speak of."""
    made: dict[tuple[tuple[str, str], ...], Series] = {}
    for text in texts:
        nodes = nodes_of(text)
        names = _labels(nodes)
        for node in nodes:
            selector = getattr(node, "vector_selector", node)
            if not isinstance(selector, parser.VectorSelector):
                continue
            for labels in _label_sets(selector, names, random):
                key = tuple(sorted(labels.items()))
                if key not in made:
                    made[key] = (labels, *_values(labels["__name__"], random))
    return list(made.values())


def _labels(nodes: list[Any]) -> list[str]:
    names: set[str] = {"instance", "job"}
    for node in nodes:
        modifier = getattr(node, "modifier", None)
        if isinstance(node, parser.AggregateExpr) and modifier:
            names.update(modifier.labels)
        elif isinstance(node, parser.BinaryExpr) and modifier:
            names.update(modifier.group_labels or ())
            if modifier.matching:
                names.update(modifier.matching.labels)
        elif isinstance(node, parser.Call):
            names.update(a.val for a in node.args if isinstance(a, parser.StringLiteral) and re.fullmatch(r"[a-z_]+", a.val))  # fmt: skip
    return sorted(names - {"__name__", "le"})


def _label_sets(
    selector: parser.VectorSelector, names: list[str], random: Random
) -> list[dict[str, str]]:
    metric = selector.name or next(
        (m.value for m in selector.matchers.matchers if m.name == "__name__"), "anything"
    )
    metric = _example(metric, random)
    bounds = ("0.1", "0.5", "1", "5", "+Inf") if metric.endswith("_bucket") else ("",)
    found = []
    for _ in range(4):
        labels = {"__name__": metric}
        for name in names:
            if random.random() < 0.9:
                labels[name] = f"{name[0]}{random.randint(0, 1)}"
        for matcher in selector.matchers.matchers:
            if matcher.name in ("__name__", "le"):
                continue
            kind = str(matcher.op)
            if kind == "MatchOp.Equal":
                labels[matcher.name] = matcher.value
            elif kind == "MatchOp.Re" and random.random() < 0.9:
                labels[matcher.name] = _example(matcher.value, random)
        found += [{**labels, "le": bound} if bound else labels for bound in bounds]
    return [{name: value for name, value in labels.items() if value} for labels in found]


def _example(pattern: str, random: Random) -> str:
    """Return a text that a simple pattern matches: one of its alternatives."""
    alternatives = [one for one in pattern.strip("^$()").split("|") if one]
    chosen = random.choice(alternatives) if alternatives else ""
    return re.sub(r"\.[+*]|\[[^\]]*\][+*]?|[()?+*\\]", "x", chosen).replace("..", ".")


def _values(metric: str, random: Random) -> tuple[list[int], list[str]]:
    counter = metric.endswith(("_total", "_count", "_sum", "_bucket"))
    value = float(random.randint(0, 30))
    shift = random.choice((0, 0, 0, 7_000))
    lost = random.choice((0.0, 0.0, 0.1))
    times, texts = [], []
    for i in range(SAMPLES):
        if counter:
            value = 0.0 if random.random() < 0.02 else value + random.choice((0, 1, 2.5, 7))
        else:
            value = random.choice((0.0, 1.0, 1.0, round(random.uniform(0, 120), 3)))
        if random.random() >= lost:
            times.append(i * STEP + shift)
            texts.append("stale" if random.random() < 0.004 else repr(value))
    return times, texts
