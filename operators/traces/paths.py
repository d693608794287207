"""A trace as a whole: who called whom, what time is whose own, and what the whole of it waited for.

The *critical path* is walked backwards from the end of the root: at each moment it is with the child that
ended last before, else with the span itself. So its parts add up to the root's duration. Clocks of
machines differ: what of a child reaches beyond its parent, or beyond the child after it on the path, is cut off.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Call", "PathStep", "walk"]

_SERVER: Final = 2
_CLIENT: Final = 3


@dataclass(frozen=True, slots=True)
class Call:
    """A span: ids, and when it began and ended, in nanoseconds."""

    id: str
    parent: str
    begun: int
    ended: int
    kind: int = 0


@dataclass(slots=True)
class PathStep:
    """A span in its place.

    Attributes:
        index: of the span among those that were given.
        depth: how many are above it.
        own: nanoseconds that none of its children covers.
        path: nanoseconds of the critical path that are its.
    """

    index: int
    depth: int
    own: int = 0
    path: int = 0


def walk(calls: Sequence[Call]) -> list[PathStep]:
    """Return the spans of a trace in the order of a waterfall: parents first, then by their begin.

    Of several roots, or spans whose parent is not there, each is a tree, and each has a path of its own. Where
    parents go round in a circle its first span is a root.
    """
    by_id: dict[str, list[int]] = defaultdict(list)
    for index, call in enumerate(calls):
        by_id[call.id].append(index)
    children: dict[int, list[int]] = defaultdict(list)
    over: dict[int, int] = {}
    roots = []
    for index, call in enumerate(calls):
        above = [each for each in by_id.get(call.parent, ()) if each != index]
        # Client and server may share an id, as Zipkin's do: the server is the client's child, and
        # whose parent the id is, is the server's.
        client = [each for each in by_id[call.id] if calls[each].kind == _CLIENT and each != index]
        if call.kind == _SERVER and client:
            over[index] = client[0]
        elif above:
            over[index] = max(above, key=lambda each: calls[each].kind == _SERVER)
        else:
            roots.append(index)
    roots += _of_circles(calls, over)
    for index, parent in sorted(over.items()):
        children[parent].append(index)
    steps: dict[int, PathStep] = {}
    order: list[PathStep] = []
    for root in sorted(roots, key=lambda index: (calls[index].begun, index)):
        _place(calls, children, root, steps, order)
        _follow(calls, children, root, steps)
    return order


def _of_circles(calls: Sequence[Call], over: dict[int, int]) -> list[int]:
    """Return a span of each circle of parents, the first, and take it out from under its parent.

    Args:
        calls: the spans.
        over: the parent of each that has one.
    """
    found = []
    done: set[int] = set()
    for index in list(over):
        way: dict[int, None] = {}
        at = index
        while at in over and at not in done and at not in way:
            way[at] = None
            at = over[at]
        if at in way:
            circle = list(way)[list(way).index(at) :]
            first = min(circle, key=lambda each: (calls[each].begun, each))
            found.append(first)
            del over[first]
        done.update(way)
    return found


def _place(
    calls: Sequence[Call],
    children: dict[int, list[int]],
    root: int,
    steps: dict[int, PathStep],
    order: list[PathStep],
) -> None:
    """Put a tree in order, and tell what is each span's own."""
    ahead = [(root, 0)]
    while ahead:
        index, depth = ahead.pop()
        step = steps[index] = PathStep(index, depth)
        order.append(step)
        call = calls[index]
        below = sorted(children[index], key=lambda each: (calls[each].begun, each))
        covered, until = 0, call.begun
        for each in below:
            begun, ended = max(calls[each].begun, until), min(calls[each].ended, call.ended)
            if ended > begun:
                covered += ended - begun
                until = ended
        step.own = max(call.ended - call.begun - covered, 0)
        ahead += [(each, depth + 1) for each in reversed(below)]


def _follow(
    calls: Sequence[Call], children: dict[int, list[int]], root: int, steps: dict[int, PathStep]
) -> None:
    """Add up the critical path of a tree."""
    first = calls[root]
    ahead = [(root, min(first.begun, first.ended), first.ended)]
    while ahead:
        index, begin, now = ahead.pop()
        for each in sorted(children[index], key=lambda one: (-calls[one].ended, -calls[one].begun)):
            begun, ended = max(calls[each].begun, begin), min(calls[each].ended, now)
            if ended <= begun or calls[each].ended > now:
                continue  # it was not waited for
            steps[index].path += now - ended
            ahead.append((each, begun, ended))
            now = begun
        steps[index].path += now - begin
