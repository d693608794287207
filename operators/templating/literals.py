"""Go's constants: numbers, characters and texts in quotes."""

from __future__ import annotations

import re
from typing import Final

from operators.templating.lexing import Token
from operators.templating.values import TemplateError

__all__ = ["number", "unquote"]

_ESCAPE: Final = re.compile(
    r"\\(?:(?P<simple>[abfnrtv\\'\"])|x(?P<hex>[0-9a-fA-F]{2})|(?P<octal>[0-3][0-7]{2})"
    r"|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})|(?P<wrong>.?))",
    re.DOTALL,
)
_SIMPLE: Final = dict(zip("abfnrtv\\'\"", "\a\b\f\n\r\t\v\\'\"", strict=True))
_LARGEST: Final = 1 << 63


def unquote(token: Token) -> str:
    r"""Return the text that stands in double or back quotes.

    >>> unquote(Token("string", r'"a\tb\u00e9\x41"', 1))
    'a\tbéA'

    Raises:
        TemplateError: an escape is none of Go's.
    """
    if token.kind == "raw":
        return token.text[1:-1].replace("\r", "")
    return _unescape(token, token.text[1:-1])


def number(token: Token) -> int | float:
    """Return the number, or the code of the character, that a token stands for.

    Raises:
        TemplateError: it is no number of Go's, or it does not fit into 64 bits.
    """
    if token.kind == "char":
        text = _unescape(token, token.text[1:-1])
        if len(text) != 1:
            raise TemplateError(f"line {token.line}: malformed character constant: {token.text}")
        return ord(text)
    text = token.text
    digits = text.lstrip("+-").lower()
    try:
        if digits.startswith("0x"):
            if "p" in digits or "." in digits:
                return float.fromhex(text.replace("_", ""))
        elif "." in digits or "e" in digits:
            return float(text)
        # Go reads 017 as an octal number, Python not at all.
        octal = re.fullmatch(r"0_?([0-7_]+)", digits)
        value = int(octal[1], 8) if octal else int(digits, 0)
    except ValueError:
        raise TemplateError(f'line {token.line}: bad number syntax: "{text}"') from None
    value = -value if text.startswith("-") else value
    if not -_LARGEST <= value < _LARGEST:
        raise TemplateError(f"line {token.line}: integer overflow: {text}")
    return value


def _unescape(token: Token, text: str) -> str:
    """Replace escapes. Those of bytes make bytes, which are read as UTF-8 with their neighbours."""
    made = bytearray()
    at = 0
    for match in _ESCAPE.finditer(text):
        made += text[at : match.start()].encode("utf-8", "surrogatepass")
        at = match.end()
        kind = str(match.lastgroup)
        if kind == "simple":
            made += _SIMPLE[match["simple"]].encode()
        elif kind == "hex":
            made.append(int(match["hex"], 16))
        elif kind == "octal":
            made.append(int(match["octal"], 8))
        elif kind in ("short", "long"):
            code = int(match[kind], 16)
            if code > 0x10FFFF or 0xD800 <= code < 0xE000:
                raise TemplateError(f"line {token.line}: invalid escape {match[0]}")
            made += chr(code).encode()
        else:
            raise TemplateError(f"line {token.line}: invalid escape {match[0]!r} in {token.text}")
    made += text[at:].encode("utf-8", "surrogatepass")
    return made.decode("utf-8", "replace")
