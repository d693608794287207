"""From the text of a template to its tokens."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from operators.templating.values import TemplateError

__all__ = ["Token", "tokens"]

# What stands between {{ and }}, by its kind. A field takes its dot along; a dot alone is a value.
_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<assign>:=|=)
    |(?P<pipe>\|)
    |(?P<comma>,)
    |(?P<open>\()
    |(?P<close>\))
    |(?P<string>"(?:[^"\\\n]|\\.)*")
    |(?P<raw>`[^`]*`)
    |(?P<char>'(?:[^'\\\n]|\\.[^'\n]*)')
    |(?P<number>[+-]?(?:
        0[xX][0-9a-fA-F_]+(?:\.[0-9a-fA-F_]*)?(?:[pP][+-]?[0-9_]+)?
        |0[bB][01_]+|0[oO][0-7_]+
        |(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?)(?!\w))
    |(?P<variable>\$\w*)
    |(?P<field>\.[^\W\d]\w*)
    |(?P<dot>\.)
    |(?P<word>[^\W\d]\w*)""",
    re.VERBOSE,
)
_SPACE: Final = " \t\r\n"
_TRIMS_RIGHT: Final = re.compile(r"[ \t\r\n]-\}\}")


class Token(NamedTuple):
    """One token: ``text`` outside of actions, else the kinds of the pattern, or ``end`` of one."""

    kind: str
    text: str
    line: int


def tokens(text: str) -> list[Token]:
    """Return the tokens of a template, each action ended by an ``end``.

    Raises:
        TemplateError: an action, a text in quotes or a comment is not closed, or a character has
            no place in an action.
    """
    found: list[Token] = []
    at, trims = 0, False
    while True:
        start = text.find("{{", at)
        plain = text[at:] if start < 0 else text[at:start]
        line = text.count("\n", 0, at) + 1
        if trims:
            plain = plain.lstrip(_SPACE)
        if start < 0:
            if plain:
                found.append(Token("text", plain, line))
            return found
        inside = start + 2
        if text[inside : inside + 1] == "-" and text[inside + 1 : inside + 2] in (*_SPACE,):
            plain = plain.rstrip(_SPACE)
            inside += 2
        if plain:
            found.append(Token("text", plain, line))
        at, trims = _action(text, inside, found)


def _action(text: str, at: int, found: list[Token]) -> tuple[int, bool]:
    """Add the tokens of one action; return where it ends, and whether it trims what follows."""
    line = text.count("\n", 0, at) + 1
    comment = re.compile(r"[ \t\r\n]*/\*").match(text, at)
    if comment and (text[at : at + 2] == "/*" or text[at - 1] in _SPACE):
        ended = text.find("*/", comment.end())
        if ended < 0:
            raise TemplateError(f"line {line}: unclosed comment")
        if _TRIMS_RIGHT.match(text, ended + 2):
            return ended + 6, True
        if text[ended + 2 : ended + 4] != "}}":
            raise TemplateError(f"line {line}: comment ends before closing delimiter")
        return ended + 4, False
    while True:
        line = text.count("\n", 0, at) + 1
        if text.startswith("}}", at):
            found.append(Token("end", "}}", line))
            return at + 2, False
        if _TRIMS_RIGHT.match(text, at):
            found.append(Token("end", "}}", line))
            return at + 4, True
        if at >= len(text):
            raise TemplateError(f"line {line}: unclosed action")
        match = _TOKEN.match(text, at)
        if match is None:
            what = "unterminated quoted string" if text[at] in "\"'`" else "unexpected character"
            raise TemplateError(f"line {line}: {what} {text[at]!r} in action")
        kind = str(match.lastgroup)
        end = match.end()
        if kind == "space" and (trim := text.find("-}}", at, end + 3)) >= 0 and trim == end:
            end = max(at, end - 1)  # The last space belongs to the mark that trims.
            if end == at:
                continue
        found.append(Token(kind, text[at:end], line))
        at = end
