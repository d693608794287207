"""Whether each message is one JSON document, as far as its brackets tell.

Polars parses a poll as one list with the messages for elements. So what one message leaves open,
another may close: two messages that are no JSON become one element, a third that is two documents
makes up for the number, and what is between them counts as another message's. Where every message
closes exactly what it opens, the borders of messages are those of elements.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.decoders.scanning import compiled

__all__ = ["WHITESPACE", "find_whole"]

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


@compiled
def find_whole(
    buffer: NDArray[np.uint8], bounds: NDArray[np.int64], whole: NDArray[np.bool_]
) -> None:
    """Note which messages are one object or array, from the first bracket to the last.

    Of what is between these, only brackets and quotes are looked at; the rest is a parser's affair.
    """
    for message in range(len(bounds) - 1):
        at, end = bounds[message], bounds[message + 1]
        while at < end and _CLASSES[buffer[at]] == _SPACE:
            at += 1
        depth = 0
        opened = at < end and _CLASSES[buffer[at]] == _OPENS
        while opened and at < end:
            kind = _CLASSES[buffer[at]]
            at += 1
            if kind == _QUOTE:
                while at < end and buffer[at] != 34:
                    at += 2 if buffer[at] == 92 else 1
                at += 1
            elif kind == _OPENS:
                depth += 1
            elif kind == _CLOSES:
                depth -= 1
                if depth == 0:
                    break
        while at < end and _CLASSES[buffer[at]] == _SPACE:
            at += 1
        whole[message] = opened and depth == 0 and at == end
