"""Protobuf looked over before a library parses it: ptars follows groups in groups without an end.

A few hundred thousand bytes that each begin a group overflow its stack, and with it goes the
process. So messages are walked first, down through those that the library descends into; in doing
so, all that is not protobuf is found, for a small part of what parsing it costs.
"""

# ruff: noqa: PLR0912 -- a parser is a list of fields and errors

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.decoders.protobuf import LENGTH, read_length, read_tag, skip
from operators.decoders.reduced_descriptor import Messages
from operators.decoders.scanning import compiled

__all__ = ["find_faults", "nesting_of"]

_FIELDS: Final = 32
_DEEPEST: Final = 16
_NO_MESSAGE: Final = -1


def nesting_of(root: str, messages: Messages) -> NDArray[np.int64]:
    """Return which fields of which messages are messages themselves.

    A row is a message, that of ``root`` the first one; a column is the number of a field; the
    element is the row of the message that stands there, -1 for anything else.
    """
    rows = [root, *(name for name in messages if name != root)]
    nesting = np.full((len(rows), _FIELDS), _NO_MESSAGE, np.int64)
    for row, name in enumerate(rows):
        for _, number, kind, _ in messages[name]:
            if isinstance(kind, str):
                nesting[row, number] = rows.index(kind)
    return nesting


@compiled
def find_faults(
    base: int, spans: NDArray[np.int64], nesting: NDArray[np.int64], faults: NDArray[np.int64]
) -> None:
    """Note for each message 0, or the key in ``protobuf.REASONS`` of why it is not well-formed.

    Args:
        base: the address of the buffer that holds the messages.
        spans: where each begins and ends in it, a row each.
        nesting: as ``nesting_of`` gives it.
        faults: to be filled.
    """
    ends = np.empty(_DEEPEST, np.int64)
    kinds = np.empty(_DEEPEST, np.int64)
    for i in range(len(spans)):
        at = base + spans[i, 0]
        ends[0], kinds[0] = base + spans[i, 1], 0
        depth = 0
        faults[i] = 0
        while True:
            while depth and at == ends[depth]:
                depth -= 1
            if at == ends[depth]:
                break
            tag, at = read_tag(at, ends[depth])
            if at >= 0 and tag & 7 == LENGTH:
                begin, at = read_length(at, ends[depth])
                kind = nesting[kinds[depth], tag >> 3] if tag >> 3 < _FIELDS else _NO_MESSAGE
                if at >= 0 and kind >= 0:
                    depth += 1
                    ends[depth], kinds[depth] = at, kind
                    at = begin
            elif at >= 0:
                at = skip(tag, at, ends[depth])
            if at < 0:
                faults[i] = at
                break
