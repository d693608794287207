"""Protobuf looked over before a library parses it: ptars follows groups in groups without an end.

A few hundred thousand bytes that each begin a group overflow its stack, and with it goes the
process. So messages are walked first, down through those that the library descends into. In doing
so, all is found that is not protobuf, or not UTF-8, for a small part of what parsing it costs, and
which of many messages it is.
"""

# ruff: noqa: PLR0912 -- a parser is a list of fields and errors

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.scanning import compiled
from operators.columns.utf8 import first_not_utf8
from operators.decoders.protobuf.reading import (
    CUT_OFF,
    LENGTH,
    NOT_UTF8,
    TOO_DEEP,
    read_length,
    read_tag,
    skip,
)
from operators.decoders.protobuf.reduced_descriptor import REPEATED, Field, Messages

__all__ = ["find_faults", "layout_of"]

_FIELDS: Final = 32
_DEEPEST: Final = 100  # messages in messages, the limit of protobuf's own parsers

_ANYTHING: Final = -1
_TEXT: Final = -2
_DOUBLES: Final = -3


def layout_of(root: str, messages: Messages) -> NDArray[np.int64]:
    """Return what the fields of messages are, as far as it is looked at.

    A row is a message, that of ``root`` the first one; a column is the number of a field. The
    element is the row of the message that stands there, or negative: a text, packed doubles, or
    anything else.
    """
    rows = [root, *(name for name in messages if name != root)]
    layout = np.full((len(rows), _FIELDS), _ANYTHING, np.int64)
    for row, name in enumerate(rows):
        for _, number, kind, modifier in messages[name]:
            if isinstance(kind, str):
                layout[row, number] = rows.index(kind)
            elif kind == Field.TYPE_STRING:
                layout[row, number] = _TEXT
            elif kind == Field.TYPE_DOUBLE and modifier == REPEATED:
                layout[row, number] = _DOUBLES
    return layout


@compiled
def find_faults(
    base: int, spans: NDArray[np.int64], layout: NDArray[np.int64], faults: NDArray[np.int64]
) -> None:
    """Note for each message 0, or the key in ``protobuf.REASONS`` of why it is not well-formed.

    Args:
        base: the address of the buffer that holds the messages.
        spans: where each begins and ends in it, a row each.
        layout: as ``layout_of`` gives it.
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
                kind = layout[kinds[depth], tag >> 3] if tag >> 3 < _FIELDS else _ANYTHING
                if at < 0 or kind == _ANYTHING:
                    pass
                elif kind == _TEXT:
                    if first_not_utf8(begin, at) >= 0:
                        at = NOT_UTF8
                elif kind == _DOUBLES:
                    if (at - begin) % 8:
                        at = CUT_OFF
                elif depth + 1 == _DEEPEST:
                    at = TOO_DEEP
                else:
                    depth += 1
                    ends[depth], kinds[depth] = at, kind
                    at = begin
            elif at >= 0:
                at = skip(tag, at, ends[depth])
            if at < 0:
                faults[i] = at
                break
