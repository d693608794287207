"""What a template is parsed into."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "Action",
    "Chain",
    "CommandNode",
    "ConstantNode",
    "Dot",
    "Field",
    "Flow",
    "Identifier",
    "Jump",
    "Nil",
    "Node",
    "Operand",
    "Pipeline",
    "TemplateCall",
    "TextNode",
    "Variable",
]


@dataclass(frozen=True, slots=True)
class Dot:
    """``.``: what the template is about at that place."""


@dataclass(frozen=True, slots=True)
class Nil:
    """``nil``: allowed as an argument only."""


@dataclass(frozen=True, slots=True)
class ConstantNode:
    """A number, a text or a truth value."""

    value: Any


@dataclass(frozen=True, slots=True)
class Field:
    """``.A.B`` of the dot."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """``$x.A.B``."""

    name: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Identifier:
    """The name of a function."""

    name: str


@dataclass(frozen=True, slots=True)
class Chain:
    """``(pipeline).A.B``, and fields of what a function without arguments gives."""

    operand: Operand
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CommandNode:
    """A value, or a function or method with its arguments."""

    operands: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands, each of which gets what the one before gave as its last argument.

    ``declared`` are the variables that get the value; they exist already if ``assigns``.
    """

    line: int
    declared: tuple[str, ...]
    assigns: bool
    commands: tuple[CommandNode, ...]


Operand = Dot | Nil | ConstantNode | Field | Variable | Identifier | Chain | Pipeline


@dataclass(frozen=True, slots=True)
class TextNode:
    """What is printed as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class Action:
    """A pipeline whose value is printed, unless it declares a variable."""

    pipeline: Pipeline


@dataclass(frozen=True, slots=True)
class Flow:
    """``if``, ``with`` or ``range``, by ``word``."""

    word: str
    pipeline: Pipeline
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Jump:
    """``break`` or ``continue``, by ``word``."""

    word: str


@dataclass(frozen=True, slots=True)
class TemplateCall:
    """``template "name" pipeline``."""

    line: int
    name: str
    pipeline: Pipeline | None


Node = TextNode | Action | Flow | Jump | TemplateCall
