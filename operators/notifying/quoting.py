"""Texts in quotes as Go's ``strconv`` writes and reads them: group keys and matchers have them."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["go_quote", "go_unquote"]

_PLAIN: Final = re.compile(r"[ !#-\[\]-~]*")
_ESCAPES: Final = {
    '"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r",
    "\t": "\\t", "\v": "\\v",
}  # fmt: skip
_UNESCAPES: Final = {escape[1]: character for character, escape in _ESCAPES.items()}
_ESCAPED: Final = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.)|$)", re.DOTALL
)


def go_quote(text: str) -> str:
    r"""Quote as ``strconv.Quote``.

    >>> print(go_quote('a"b\n'))
    "a\"b\n"
    """
    if _PLAIN.fullmatch(text):
        return f'"{text}"'
    return '"' + "".join(map(_escape, text)) + '"'


def go_unquote(text: str) -> str:
    r"""Read what stands in double quotes, as ``strconv.Unquote``.

    >>> go_unquote('"\\u00e4\\t"')
    'ä\t'

    Raises:
        ValueError: an escape that there is not.
    """

    def character(match: re.Match[str]) -> str:
        byte, short, long, octal, plain = match.groups()
        if code := byte or short or long:
            return chr(int(code, 16))
        if octal:
            return chr(int(octal, 8))
        if plain not in _UNESCAPES:
            raise ValueError(f'{text}: "{match.group()}" stands for no character')
        return _UNESCAPES[plain]

    return _ESCAPED.sub(character, text[1:-1])


def _escape(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
