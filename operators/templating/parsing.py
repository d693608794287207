"""From tokens to nodes, by the grammar of Go's ``text/template/parse``."""

# ruff: noqa: PLR0911, PLR0912 -- one case a kind of token

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NoReturn

from operators.templating.lexing import Token, tokens
from operators.templating.literals import number, unquote
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
from operators.templating.values import TemplateError

__all__ = ["parse"]

_CONSTANTS: dict[str, Any] = {"true": True, "false": False}
_DEEPEST = 100


def parse(
    text: str, functions: Collection[str]
) -> tuple[tuple[Node, ...], dict[str, tuple[Node, ...]]]:
    """Return the nodes of a template and those of the templates that it defines.

    Args:
        text: the template.
        functions: the names that may be called.

    Raises:
        TemplateError: it is no template, or it names a function or a variable that is not there.
    """
    parser = _Parser(tokens(text), functions)
    body, ended = parser.body(top=True)
    assert not ended
    return body, parser.defined


class _Parser:
    def __init__(self, found: list[Token], functions: Collection[str]) -> None:
        self._tokens = found
        self._at = 0
        self._functions = functions
        self._variables = ["$"]
        self._ranges = 0
        self._depth = 0
        self.defined: dict[str, tuple[Node, ...]] = {}

    # Tokens.

    def _peek(self) -> Token:
        if self._at < len(self._tokens):
            return self._tokens[self._at]
        last = self._tokens[-1].line if self._tokens else 1
        return Token("eof", "end of the template", last)

    def _next(self) -> Token:
        token = self._peek()
        self._at += 1
        return token

    def _peek_solid(self) -> Token:
        while self._peek().kind == "space":
            self._at += 1
        return self._peek()

    def _next_solid(self) -> Token:
        self._peek_solid()
        return self._next()

    def _fail(self, what: str, token: Token | None = None) -> NoReturn:
        raise TemplateError(f"line {(token or self._peek()).line}: {what}")

    def _end(self, where: str) -> None:
        token = self._next_solid()
        if token.kind != "end":
            self._fail(f'unexpected "{token.text}" in {where}', token)

    # Bodies.

    def body(self, top: bool = False) -> tuple[tuple[Node, ...], str]:
        """Return the nodes up to an ``end`` or ``else``, and that word; at the top, to the end."""
        self._depth += 1
        if self._depth > _DEEPEST:
            self._fail("nested too deeply")
        nodes: list[Node] = []
        while True:
            token = self._peek()
            if token.kind == "eof":
                if not top:
                    self._fail("unexpected end of the template: an {{end}} is missing")
                return tuple(nodes), ""
            if token.kind == "text":
                nodes.append(TextNode(self._next().text))
                continue
            word = self._peek_solid()
            if word.kind == "word" and word.text in ("end", "else"):
                if top:
                    self._fail(f"unexpected {{{{{word.text}}}}}")
                self._at += 1
                self._depth -= 1
                return tuple(nodes), word.text
            nodes.extend(self._action(word, top))

    def _action(self, token: Token, top: bool) -> list[Node]:
        word = token.text if token.kind == "word" else ""
        if word in ("if", "with", "range"):
            self._at += 1
            return [self._flow(word)]
        if word in ("break", "continue"):
            self._at += 1
            if not self._ranges:
                self._fail(f"{{{{{word}}}}} outside {{{{range}}}}", token)
            self._end(word)
            return [Jump(word)]
        if word in ("template", "block"):
            self._at += 1
            return [self._call(word)]
        if word == "define":
            if not top:
                self._fail("unexpected {{define}}", token)
            self._at += 1
            name = self._name("define clause")
            self._end("define clause")
            self._define(name)
            return []
        pipeline = self._pipeline("command")
        self._end("command")
        return [Action(pipeline)]

    def _flow(self, word: str) -> Flow:
        marked = len(self._variables)
        pipeline = self._pipeline(word, ranges=word == "range")
        self._end(word)
        self._ranges += word == "range"
        body, ended = self.body()
        self._ranges -= word == "range"
        otherwise: tuple[Node, ...] = ()
        if ended == "else":
            following = self._peek_solid()
            if following.kind == "word" and following.text == word and word in ("if", "with"):
                # {{else if}} is an if inside of the else, and one end closes both.
                self._at += 1
                self._depth += 1
                if self._depth > _DEEPEST:
                    self._fail("nested too deeply")
                otherwise = (self._flow(word),)
                self._depth -= 1
                del self._variables[marked:]
                return Flow(word, pipeline, body, otherwise)
            self._end("else")
            otherwise, ended = self.body()
            if ended == "else":
                self._fail("expected end; found {{else}}")
        self._end("end")
        del self._variables[marked:]
        return Flow(word, pipeline, body, otherwise)

    def _call(self, word: str) -> TemplateCall:
        name = self._name(f"{word} clause")
        line = self._peek().line
        pipeline = None
        if self._peek_solid().kind != "end":
            pipeline = self._pipeline(f"{word} clause")
        self._end(f"{word} clause")
        if word == "block":
            self._define(name)
        return TemplateCall(line, name, pipeline)

    def _define(self, name: str) -> None:
        outer, self._variables = self._variables, ["$"]
        ranges, self._ranges = self._ranges, 0
        body, ended = self.body()
        if ended == "else":
            self._fail("unexpected {{else}} in define clause")
        self._end("end")
        self._variables, self._ranges = outer, ranges
        self.defined[name] = body

    def _name(self, where: str) -> str:
        token = self._next_solid()
        if token.kind not in ("string", "raw"):
            self._fail(f'unexpected "{token.text}" in {where}', token)
        return unquote(token)

    # Pipelines.

    def _pipeline(self, where: str, ranges: bool = False) -> Pipeline:
        line = self._peek_solid().line
        declared, assigns = self._declarations(ranges)
        commands = []
        while True:
            token = self._peek_solid()
            if token.kind in ("end", "close"):
                break
            commands.append(self._command())
            token = self._peek_solid()
            if token.kind != "pipe":
                break
            self._at += 1
            if self._peek_solid().kind in ("end", "close"):
                self._fail(f"missing value for {where}")
        if not commands:
            self._fail(f"missing value for {where}")
        for command in commands[1:]:
            if isinstance(command.operands[0], (ConstantNode, Dot, Nil)):
                self._fail("non executable command in pipeline")
        return Pipeline(line, declared, assigns, tuple(commands))

    def _declarations(self, ranges: bool) -> tuple[tuple[str, ...], bool]:
        """Read ``$x :=``, ``$x =`` or, of a range, ``$i, $x :=``, if it stands there."""
        start = self._at
        names: list[str] = []
        while self._peek_solid().kind == "variable":
            names.append(self._next().text)
            token = self._next_solid()
            if token.kind == "assign":
                if token.text == ":=":
                    self._variables.extend(names)
                elif missing := [name for name in names if name not in self._variables]:
                    self._fail(f'undefined variable "{missing[0]}"', token)
                return tuple(names), token.text == "="
            if token.kind != "comma" or len(names) > 1:
                break
            if not ranges:
                self._fail("too many declarations in a pipeline", token)
        self._at = start
        return (), False

    def _command(self) -> CommandNode:
        operands: list[Operand] = []
        while True:
            self._peek_solid()
            operand = self._operand()
            if operand is not None:
                operands.append(operand)
            token = self._peek()
            if token.kind == "space":
                following = self._peek_solid()
                if following.kind in ("end", "close", "pipe"):
                    break
                continue
            if token.kind in ("end", "close", "pipe"):
                break
            self._fail(f'unexpected "{token.text}" in operand')
        if not operands:
            self._fail("empty command")
        return CommandNode(tuple(operands))

    def _operand(self) -> Operand | None:
        operand = self._term()
        if operand is None or self._peek().kind != "field":
            return operand
        names = []
        while self._peek().kind == "field":
            names.append(self._next().text[1:])
        match operand:
            case Field(before):
                return Field((*before, *names))
            case Variable(name, before):
                return Variable(name, (*before, *names))
            case ConstantNode() | Nil() | Dot():
                self._fail(f'unexpected ".{names[0]}" after a value without fields')
        return Chain(operand, tuple(names))

    def _term(self) -> Operand | None:
        token = self._peek()
        match token.kind:
            case "word":
                self._at += 1
                if token.text in _CONSTANTS:
                    return ConstantNode(_CONSTANTS[token.text])
                if token.text == "nil":
                    return Nil()
                if token.text not in self._functions:
                    self._fail(f'function "{token.text}" not defined', token)
                return Identifier(token.text)
            case "dot":
                self._at += 1
                return Dot()
            case "variable":
                self._at += 1
                if token.text not in self._variables:
                    self._fail(f'undefined variable "{token.text}"', token)
                return Variable(token.text, ())
            case "field":
                self._at += 1
                return Field((token.text[1:],))
            case "number" | "char":
                self._at += 1
                return ConstantNode(number(token))
            case "string" | "raw":
                self._at += 1
                return ConstantNode(unquote(token))
            case "open":
                self._at += 1
                self._depth += 1
                if self._depth > _DEEPEST:
                    self._fail("nested too deeply")
                pipeline = self._pipeline("parenthesized pipeline")
                closing = self._next_solid()
                if closing.kind != "close":
                    self._fail("unclosed left paren", closing)
                self._depth -= 1
                return pipeline
        return None
