"""Reading protobuf's wire format in compiled loops: tags, integers, lengths, and what to skip.

Positions are addresses, since arrays handed from one compiled function to the next would be counted
in and out each time, which takes several times as long as the reading. Who calls keeps the buffer
alive; it is followed by ``messages.PADDING`` bytes, since eight are read at once.

A position that is negative is the reason why there is none: ``REASONS`` says it in words. As the
format demands, a tag's field number is not 0, an integer has ten bytes at most, nothing reaches
past the message around it, and a group ends with the tag that it began with.

Source: protobuf.dev, "Encoding".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from operators.columns.compiling import Word, compiled, fold, signed
from operators.columns.memory import byte_at, word_at

__all__ = [
    "BAD_VARINT", "CUT_OFF", "FIXED64", "LENGTH", "NOT_UTF8", "REASONS", "TOO_DEEP", "VARINT", "WRONG_TYPE",
    "hash_bytes", "read_length", "read_tag", "read_varint", "skip",
    "spans_of_field", "take", "zigzag",
]  # fmt: skip

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
_GROUP: Final = 3
_END_OF_GROUP: Final = 4
_FIXED32: Final = 5

CUT_OFF: Final = -1
BAD_VARINT: Final = -2
BAD_TAG: Final = -3
WRONG_TYPE: Final = -4
BAD_GROUP: Final = -5
NOT_UTF8: Final = -6
TOO_DEEP: Final = -7
REASONS: Final[Mapping[int, str]] = {
    CUT_OFF: "it is cut off",
    BAD_VARINT: "an integer has more than 64 bits",
    BAD_TAG: "a field has no valid number or type",
    WRONG_TYPE: "a field is not of its type",
    BAD_GROUP: "a group does not end as it began",
    NOT_UTF8: "a text is not UTF-8",
    TOO_DEEP: "messages lie too deep in each other",
}

_ODD: Final = np.uint64(0xE7037ED1A0B428DB)
_SECRET: Final = np.uint64(0xA0761D6478BD642F)
_OTHER_SECRET: Final = np.uint64(0x8EBC6AF09C88C6E3)

_DEEPEST: Final = 100  # groups in groups, the limit of protobuf's own parsers


@compiled
def hash_bytes(at: int, end: int, seed: Word) -> Word:
    """Return a ``uint64`` hash of the bytes from ``at`` to ``end``, of which no one is beyond reach.

    The construction is that of wyhash: sixteen bytes are folded into what came before. A product
    with zero would forget all that, so both factors have in them what follows from the seed: who
    does not know it can't write a zero.
    """
    mixed = seed ^ np.uint64(end - at) * _ODD
    secret = fold(seed ^ _SECRET, _OTHER_SECRET)
    while end - at >= 16:
        mixed = fold(word_at(at) ^ secret, word_at(at + 8) ^ mixed)
        at += 16
    rest = end - at
    low: Word = np.uint64(0)
    high: Word = np.uint64(0)
    if rest >= 8:
        low = word_at(at)
        if rest > 8:
            high = word_at(at + 8) & _lowest(rest - 8)
    elif rest:
        low = word_at(at) & _lowest(rest)
    return fold(low ^ secret, high ^ mixed)


@compiled
def _lowest(count: int) -> Word:
    """Return a mask of the lowest ``count`` bytes, 1 to 7."""
    return (np.uint64(1) << np.uint64(8 * count)) - np.uint64(1)


@compiled
def read_varint(at: int, end: int) -> tuple[Word, int]:
    """Return the integer at ``at`` as ``uint64``, and the position behind it."""
    # Small enough to be inlined wherever a tag or a length is read; nearly all have one byte.
    if at < end:
        byte = np.uint64(byte_at(at))
        if byte < np.uint64(0x80):
            return byte, at + 1
    return _read_long_varint(at, end)


@compiled
def _read_long_varint(at: int, end: int) -> tuple[Word, int]:
    value: Word = np.uint64(0)
    shift: Word = np.uint64(0)
    for number in range(10):
        if at >= end:
            return value, CUT_OFF
        byte = np.uint64(byte_at(at))
        at += 1
        if number == 9 and byte > np.uint64(1):
            break
        value |= (byte & np.uint64(0x7F)) << shift
        if byte < np.uint64(0x80):
            return value, at
        shift += np.uint64(7)
    return value, BAD_VARINT


@compiled
def read_tag(at: int, end: int) -> tuple[int, int]:
    """Return the tag at ``at``, which is the field's number times 8 plus its type."""
    value, at = read_varint(at, end)
    if at < 0:
        return 0, at
    if value < np.uint64(8) or value > np.uint64(0xFFFFFFFF):
        return 0, BAD_TAG
    return signed(value), at


@compiled
def read_length(at: int, end: int) -> tuple[int, int]:
    """Return where the content of a field of type ``LENGTH`` begins and ends."""
    value, at = read_varint(at, end)
    if at < 0:
        return at, at
    if value > np.uint64(end - at):
        return CUT_OFF, CUT_OFF
    return at, at + signed(value)


@compiled
def skip(tag: int, at: int, end: int) -> int:
    """Return the position behind the content of a field that nobody asks for."""
    kind = tag & 7
    if kind == VARINT:
        return read_varint(at, end)[1]
    if kind == LENGTH:
        return read_length(at, end)[1]
    if kind == FIXED64:
        return at + 8 if end - at >= 8 else CUT_OFF
    if kind == _FIXED32:
        return at + 4 if end - at >= 4 else CUT_OFF
    if kind == _GROUP:
        return _skip_group(tag, at, end)
    return BAD_GROUP if kind == _END_OF_GROUP else BAD_TAG


@compiled
def _skip_group(tag: int, at: int, end: int) -> int:
    """Return the position behind the end of a group, and of those in it."""
    open_groups = np.empty(_DEEPEST, np.int64)
    open_groups[0] = tag >> 3
    depth = 1
    while depth:
        tag, at = read_tag(at, end)
        if at < 0:
            return at
        kind = tag & 7
        if kind == _GROUP:
            if depth == _DEEPEST:
                return BAD_GROUP
            open_groups[depth] = tag >> 3
            depth += 1
        elif kind == _END_OF_GROUP:
            depth -= 1
            if open_groups[depth] != tag >> 3:
                return BAD_GROUP
        elif kind == VARINT:
            at = read_varint(at, end)[1]
        elif kind == LENGTH:
            at = read_length(at, end)[1]
        elif kind == FIXED64:
            at = at + 8 if end - at >= 8 else CUT_OFF
        elif kind == _FIXED32:
            at = at + 4 if end - at >= 4 else CUT_OFF
        else:
            return BAD_TAG
        if at < 0:
            return at
    return at


@compiled
def zigzag(value: Word) -> int:
    """Return the number that a ``sint32`` field's integer stands for."""
    low: int = signed(value & np.uint64(0xFFFFFFFF))
    return (low >> 1) ^ -(low & 1)


@compiled
def spans_of_field(
    base: int,
    messages: NDArray[np.int64],
    numbers: NDArray[np.int64],
    counts: NDArray[np.int64],
    spans: NDArray[np.int64],
) -> int:
    """Find the elements of a repeated field of messages or bytes.

    Args:
        base: the address of the buffer that holds the messages.
        messages: where each begins and ends in it, a row each.
        numbers: the number of the field in each of them.
        counts: is filled with the number of elements of each, or the reason why it is no message.
        spans: is filled with where each element begins and ends, as far as there are rows.

    Returns:
        The number of elements of all.
    """
    found = 0
    for i in range(len(messages)):
        at, end = base + messages[i, 0], base + messages[i, 1]
        before = found
        while 0 <= at < end:
            tag, at = read_tag(at, end)
            if at < 0:
                break
            if tag >> 3 != numbers[i]:
                at = skip(tag, at, end)
            elif tag & 7 != LENGTH:
                at = WRONG_TYPE
            else:
                start, at = read_length(at, end)
                if at < 0:
                    break
                if found < len(spans):
                    spans[found, 0], spans[found, 1] = start - base, at - base
                found += 1
        counts[i] = found - before
        if at < 0:
            counts[i] = at
            found = before
    return found


def take(buffer: NDArray[np.uint8], spans: NDArray[np.int64], kind: pa.DataType) -> pa.Array:
    """Return the bytes between the start and end in each row, as ``binary`` or ``string``."""
    offsets = np.zeros(len(spans) + 1, np.int32)
    np.cumsum(spans[:, 1] - spans[:, 0], out=offsets[1:])
    content = np.empty(int(offsets[-1]), np.uint8)
    _copy(buffer, spans, offsets, content)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(content)]
    return pa.Array.from_buffers(kind, len(spans), buffers)


@compiled
def _copy(
    buffer: NDArray[np.uint8],
    spans: NDArray[np.int64],
    offsets: NDArray[np.int32],
    content: NDArray[np.uint8],
) -> None:
    for i in range(len(spans)):
        for place in range(spans[i, 1] - spans[i, 0]):
            content[offsets[i] + place] = buffer[spans[i, 0] + place]
