"""Renders nodes: the evaluator of Go's ``text/template``."""

# ruff: noqa: PLR0911 -- one case a kind of node

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from operators.templating.builtins import LAZY
from operators.templating.formatting import text_of
from operators.templating.nodes import (
    Action,
    Chain,
    CommandNode,
    ConstantNode,
    Dot,
    Field,
    Flow,
    Identifier,
    Jump,
    Nil,
    Node,
    Operand,
    Pipeline,
    TemplateCall,
    TextNode,
    Variable,
)
from operators.templating.values import (
    ABSENT,
    Function,
    List,
    Map,
    Object,
    TemplateError,
    kind,
    truth,
)

__all__ = ["Rendering"]

_DEEPEST: Final = 100
_NONE: Final = object()  # No value comes from the command before.


class _Break(Exception):
    """``{{break}}``."""


class _Continue(Exception):
    """``{{continue}}``."""


class Rendering:
    """One rendering of a template, with its variables.

    Args:
        functions: by name.
        templates: the nodes of the templates that may be called.
        largest: the most characters that may come of it; None is no limit.
    """

    def __init__(
        self,
        functions: Mapping[str, Function],
        templates: Mapping[str, tuple[Node, ...]],
        largest: int | None = None,
    ) -> None:
        self._functions = functions
        self._templates = templates
        self._largest = largest
        self._written: list[str] = []
        self._length = 0
        self._variables: list[tuple[str, Any]] = []
        self._depth = 0

    def render(self, nodes: Sequence[Node], dot: Any) -> str:
        """Return the text.

        Raises:
            TemplateError: a value is not of the kind that the template needs.
        """
        self._variables = [("$", dot)]
        self._walk(nodes, dot)
        return "".join(self._written)

    # Nodes.

    def _write(self, text: str) -> None:
        self._length += len(text)
        if self._largest is not None and self._length > self._largest:
            raise TemplateError(f"the text is longer than {self._largest} characters")
        self._written.append(text)

    def _walk(self, nodes: Sequence[Node], dot: Any) -> None:
        for node in nodes:
            match node:
                case TextNode(text):
                    self._write(text)
                case Action(pipeline):
                    value = self._pipeline(pipeline, dot)
                    if not pipeline.declared:
                        self._write(self._printed(value))
                case Flow("range"):
                    self._range(node, dot)
                case Flow():
                    self._branch(node, dot)
                case TemplateCall():
                    self._template(node, dot)
                case Jump(word):
                    raise _Break if word == "break" else _Continue

    def _printed(self, value: Any) -> str:
        if value is None or value is ABSENT:
            return "<no value>"
        if callable(value) and not isinstance(value, Object):
            raise TemplateError("can't print a function")
        return text_of(value)

    def _branch(self, node: Flow, dot: Any) -> None:
        marked = len(self._variables)
        value = self._pipeline(node.pipeline, dot)
        if truth(value):
            self._walk(node.body, value if node.word == "with" else dot)
        else:
            self._walk(node.otherwise, dot)
        del self._variables[marked:]

    def _range(self, node: Flow, dot: Any) -> None:
        marked = len(self._variables)
        value = self._pipeline(node.pipeline, dot, ranges=True)
        if isinstance(value, (str, float, bool, Object)):
            line = node.pipeline.line
            raise TemplateError(f"line {line}: range can't iterate over {text_of(value)}")
        names = node.pipeline.declared
        ran = False
        for key, item in _items(value):
            ran = True
            inner = len(self._variables)
            pair = [item] if len(names) == 1 else [key, item]
            for name, element in zip(names, pair, strict=False):
                if node.pipeline.assigns:
                    self._assign(name, element)
                else:
                    self._variables.append((name, element))
            try:
                self._walk(node.body, item)
            except _Continue:
                pass
            except _Break:
                break
            finally:
                del self._variables[inner:]
        if not ran:
            self._walk(node.otherwise, dot)
        del self._variables[marked:]

    def _template(self, node: TemplateCall, dot: Any) -> None:
        nodes = self._templates.get(node.name)
        if nodes is None:
            raise TemplateError(f'line {node.line}: template "{node.name}" not defined')
        if self._depth >= _DEEPEST:
            raise TemplateError(f"line {node.line}: exceeded maximum template depth ({_DEEPEST})")
        inner = self._pipeline(node.pipeline, dot) if node.pipeline else None
        outer, self._variables = self._variables, [("$", inner)]
        self._depth += 1
        self._walk(nodes, inner)
        self._depth -= 1
        self._variables = outer

    # Pipelines.

    def _pipeline(self, pipeline: Pipeline, dot: Any, ranges: bool = False) -> Any:
        value: Any = _NONE
        try:
            for command in pipeline.commands:
                value = self._command(command, dot, value)
        except TemplateError as error:
            text = str(error)
            if text.startswith("line "):
                raise
            raise TemplateError(f"line {pipeline.line}: {text}") from error
        if not ranges:
            for name in pipeline.declared:
                if pipeline.assigns:
                    self._assign(name, value)
                else:
                    self._variables.append((name, value))
        return value

    def _assign(self, name: str, value: Any) -> None:
        for i in range(len(self._variables) - 1, -1, -1):
            if self._variables[i][0] == name:
                self._variables[i] = (name, value)
                return
        raise TemplateError(f'undefined variable "{name}"')

    def _lookup(self, name: str) -> Any:
        for known, value in reversed(self._variables):
            if known == name:
                return value
        raise TemplateError(f'undefined variable "{name}"')

    def _command(self, command: CommandNode, dot: Any, final: Any) -> Any:
        first, *rest = command.operands
        match first:
            case Field(names):
                return self._fields(dot, names, rest, final, dot)
            case Variable(name, names):
                value = self._lookup(name)
                if names:
                    return self._fields(value, names, rest, final, dot)
            case Chain(operand, names):
                return self._fields(self._operand(operand, dot), names, rest, final, dot)
            case Identifier(name):
                return self._function(name, rest, final, dot)
            case Nil():
                raise TemplateError("nil is not a command")
        if rest or final is not _NONE:
            raise TemplateError("can't give argument to non-function")
        return self._operand(first, dot)

    def _operand(self, operand: Operand, dot: Any) -> Any:
        match operand:
            case Dot():
                return dot
            case Nil():
                return None
            case ConstantNode(value):
                return value
            case Field(names):
                return self._fields(dot, names, (), _NONE, dot)
            case Variable(name, names):
                return self._fields(self._lookup(name), names, (), _NONE, dot)
            case Chain(inner, names):
                return self._fields(self._operand(inner, dot), names, (), _NONE, dot)
            case Identifier(name):
                return self._function(name, (), _NONE, dot)
            case Pipeline():
                return self._pipeline(operand, dot)

    def _fields(
        self, value: Any, names: Sequence[str], rest: Sequence[Operand], final: Any, dot: Any
    ) -> Any:
        """Follow field after field; arguments are of the last one."""
        for i, name in enumerate(names):
            last = i == len(names) - 1
            value = self._field(value, name, rest if last else (), final if last else _NONE, dot)
        return value

    def _field(self, value: Any, name: str, rest: Sequence[Operand], final: Any, dot: Any) -> Any:
        if value is None or value is ABSENT:
            raise TemplateError(f"nil data; no entry for key {name!r}")
        if isinstance(value, (List, Map, Object)) and name in value.methods:
            arguments = [self._operand(operand, dot) for operand in rest]
            if final is not _NONE:
                arguments.append(final)
            return self._called(name, value.methods[name], arguments)
        given = bool(rest) or final is not _NONE
        if isinstance(value, Object):
            if name not in value.fields:
                raise TemplateError(f"can't evaluate field {name} in type struct")
            if given:
                raise TemplateError(f"{name} has arguments but cannot be invoked as function")
            return value.fields[name]
        if isinstance(value, Mapping):
            if given:
                raise TemplateError(f"{name} is not a method but has arguments")
            return value.get(name, value.zero if isinstance(value, Map) else ABSENT)
        raise TemplateError(f"can't evaluate field {name} in type {kind(value)}")

    def _function(self, name: str, rest: Sequence[Operand], final: Any, dot: Any) -> Any:
        if name in LAZY:
            return self._lazy(name, rest, final, dot)
        arguments = [self._operand(operand, dot) for operand in rest]
        if final is not _NONE:
            arguments.append(final)
        return self._called(name, self._functions[name], arguments)

    def _lazy(self, name: str, rest: Sequence[Operand], final: Any, dot: Any) -> Any:
        """``and`` and ``or`` give the first argument that decides, and look at no further one."""
        if not rest and final is _NONE:
            raise TemplateError(f"wrong number of args for {name}: want at least 1 got 0")
        value: Any = None
        for operand in rest:
            value = self._operand(operand, dot)
            if truth(value) == (name == "or"):
                return value
        return value if final is _NONE else final

    def _called(self, name: str, function: Function, arguments: Sequence[Any]) -> Any:
        try:
            return function(*arguments)
        except TemplateError as error:
            raise TemplateError(f"error calling {name}: {error}") from error
        except (TypeError, ValueError, OverflowError, AttributeError) as error:
            raise TemplateError(f"error calling {name}: {error}") from error


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the keys and values that ``range`` goes over; those of a mapping by order of the keys."""
    if value is None or value is ABSENT:
        return
    if isinstance(value, Mapping):
        for key in sorted(value):
            yield key, value[key]
    elif isinstance(value, (list, tuple)):
        yield from enumerate(value)
    else:
        for i in range(value):
            yield i, i
