"""Templates of HTML: what a label holds can't become markup, nor a link that runs a script.

Every value that is printed goes through an escape, as in Go's ``html/template``; where it begins an
address it must begin with a scheme that is only an address. Values inside of scripts and styles are
escaped as text, so nothing useful can be put there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from operators.templating import Function
from operators.templating.formatting import text_of
from operators.templating.nodes import (
    Action,
    CommandNode,
    Flow,
    Identifier,
    Node,
    Pipeline,
    TextNode,
)

__all__ = ["ESCAPES", "SafeText", "escaped"]


class SafeText(str):
    """A text that may stand in HTML as it is: its template says so."""

    __slots__ = ()


_REPLACED: Final = str.maketrans(
    {
        "\0": "\ufffd",
        '"': "&#34;",
        "&": "&amp;",
        "'": "&#39;",
        "+": "&#43;",
        "<": "&lt;",
        ">": "&gt;",
    }
)
_OPENS_ADDRESS: Final = re.compile(r"(?:href|src|action)\s*=\s*[\"']?\s*$", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"(?:https?|mailto|tel):|[^:]*$|[^:]*[/?#]", re.IGNORECASE)
_REFUSED: Final = "#refused"


def _html(value: Any) -> str:
    if isinstance(value, SafeText):
        return value
    return ("" if value is None else text_of(value)).translate(_REPLACED)


def _address(value: Any) -> str:
    if isinstance(value, SafeText):
        return value.translate(_REPLACED)
    text = "" if value is None else text_of(value)
    return (text if _ADDRESS.match(text.strip()) else _REFUSED).translate(_REPLACED)


ESCAPES: Final[Mapping[str, Function]] = {"_html": _html, "_address": _address}
"""Functions that escaped templates call."""


def escaped(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Return nodes that print every value escaped."""
    return _Escaping().nodes(nodes)


class _Escaping:
    def __init__(self) -> None:
        self._before = ""

    def nodes(self, nodes: Sequence[Node]) -> tuple[Node, ...]:
        return tuple(map(self._node, nodes))

    def _node(self, node: Node) -> Node:
        match node:
            case TextNode(text):
                self._before = text
                return node
            case Action(pipeline):
                if pipeline.declared:
                    return node
                opens = _OPENS_ADDRESS.search(self._before)
                self._before = ""
                return Action(_through("_address" if opens else "_html", pipeline))
            case Flow():
                before = self._before
                body = self.nodes(node.body)
                self._before = before
                return replace(node, body=body, otherwise=self.nodes(node.otherwise))
            case _:
                self._before = ""
                return node


def _through(name: str, pipeline: Pipeline) -> Pipeline:
    return replace(pipeline, commands=(*pipeline.commands, CommandNode((Identifier(name),))))
