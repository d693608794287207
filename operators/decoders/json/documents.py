"""Whether each message is one JSON document, as far as its brackets and escapes tell.

Polars parses a poll as one list with the messages for elements. So what one message leaves open,
another may close: two messages that are no JSON become one element, a third that is two documents
makes up for the number, and what is between them counts as another message's. Where every message
closes exactly what it opens, the borders of messages are those of elements.

Escapes are looked at too: of half a surrogate pair, which stands for no character, Polars makes a NUL.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.scanning import compiled, signed

__all__ = ["CAUSES", "WHITESPACE", "find_broken"]

WHITESPACE: Final = b" \t\n\r"
"""What JSON has around its tokens."""

_OTHER, _QUOTE, _OPENS, _CLOSES, _SPACE = range(5)


def _classes() -> NDArray[np.uint8]:
    classes = np.zeros(256, np.uint8)
    classes[ord('"')] = _QUOTE
    classes[list(b"[{")] = _OPENS
    classes[list(b"]}")] = _CLOSES
    classes[list(WHITESPACE)] = _SPACE
    return classes


_CLASSES = _classes()


CAUSES: Final = ("", "not one object or array", "an escape is half of a surrogate pair")
"""What is wrong with a message, by the number that ``find_broken`` gives."""
_GOOD, _NOT_ONE, _HALF = range(len(CAUSES))


@compiled
def find_broken(
    buffer: NDArray[np.uint8], bounds: NDArray[np.int64], broken: NDArray[np.uint8]
) -> None:
    """Note 0 for each message that is one object or array, else the number of the cause.

    Of what is between the first bracket and the last, only brackets, quotes and escapes are looked
    at; the rest is a parser's affair.
    """
    for message in range(len(bounds) - 1):
        at, end = bounds[message], bounds[message + 1]
        while at < end and _CLASSES[buffer[at]] == _SPACE:
            at += 1
        depth = 0
        opened = at < end and _CLASSES[buffer[at]] == _OPENS
        halves = False
        while opened and at < end:
            kind = _CLASSES[buffer[at]]
            at += 1
            if kind == _QUOTE:
                while at < end and buffer[at] != 34:
                    if buffer[at] == 92:
                        at, half = _after_escape(buffer, at, end)
                        halves = halves or half
                    else:
                        at += 1
                at += 1
            elif kind == _OPENS:
                depth += 1
            elif kind == _CLOSES:
                depth -= 1
                if depth == 0:
                    break
        while at < end and _CLASSES[buffer[at]] == _SPACE:
            at += 1
        whole = opened and depth == 0 and at == end
        broken[message] = (_HALF if halves else _GOOD) if whole else _NOT_ONE


@compiled
def _after_escape(buffer: NDArray[np.uint8], at: int, end: int) -> tuple[int, bool]:
    """Return where the escape at ``at`` ends, or the pair of two; and whether it is half a pair."""
    code = _code_unit(buffer, at, end)
    if code < 0:
        return at + 2, False
    if not 0xD800 <= code <= 0xDFFF:
        return at + 6, False
    if code < 0xDC00 and 0xDC00 <= _code_unit(buffer, at + 6, end) <= 0xDFFF:
        return at + 12, False
    return at + 6, True


@compiled
def _code_unit(buffer: NDArray[np.uint8], at: int, end: int) -> int:
    """Return the number in an escape such as ``\\u00e9``, -1 if there is none."""
    if end - at < 6 or buffer[at] != 92 or buffer[at + 1] != 117:
        return -1
    code: Any = 0
    for place in range(at + 2, at + 6):
        byte = signed(buffer[place])
        if 48 <= byte <= 57:
            digit = byte - 48
        elif 97 <= byte | 32 <= 102:
            digit = (byte | 32) - 87
        else:
            return -1
        code = code * 16 + digit
    return int(code)
