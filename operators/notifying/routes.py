"""The tree of routes: which of them an alert takes, and how each came to be asked.

From the root downwards, an alert goes to the first branch that matches it, and to the next ones
too where a branch says ``continue``. A branch of which no twig matches takes it itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from operators.notifying.grouping import Route, Routing
from operators.notifying.matchers import Matchers, matches, written

__all__ = ["Branch", "Step", "explain", "tree_routing", "walk"]


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch: its route, what an alert has to be like to take it, and its twigs in order."""

    route: Route
    matchers: Matchers = ()
    goes_on: bool = False
    """Whether the branches after it are asked as well: ``continue``."""
    children: tuple[Branch, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One branch that was asked on the way of an alert: how deep, and what came of it."""

    depth: int
    node: Branch
    matched: bool
    taken: bool

    def __str__(self) -> str:
        text = "  " * self.depth + written(self.node.matchers)
        if self.taken:
            return f"{text} -> {self.node.route.receiver}"
        return text if self.matched else f"{text} does not match"


def tree_routing(root: Branch) -> Routing:
    """Return the routing along a tree."""
    if not root.children:
        only = (root.route,)
        return lambda _labels: only
    return lambda labels: _match(root, labels)


def walk(root: Branch) -> Iterator[Branch]:
    """All branches, the root first."""
    yield root
    for child in root.children:
        yield from walk(child)


def explain(root: Branch, labels: Mapping[str, str], depth: int = 0) -> list[Step]:
    """Return every branch that is asked for an alert with these labels, in order."""
    if not matches(root.matchers, labels):
        return [Step(depth, root, matched=False, taken=False)]
    below: list[Step] = []
    for child in root.children:
        steps = explain(child, labels, depth + 1)
        below += steps
        if steps[0].matched and not child.goes_on:
            break
    taken = not any(step.taken for step in below)
    return [Step(depth, root, matched=True, taken=taken), *below]


def _match(node: Branch, labels: Mapping[str, str]) -> list[Route]:
    if not matches(node.matchers, labels):
        return []
    found: list[Route] = []
    for child in node.children:
        below = _match(child, labels)
        found += below
        if below and not child.goes_on:
            break
    return found or [node.route]
