"""Masking: what of a line changes from one to the next becomes ``*``, and the rest is its shape.

A line is split at white space and ``,;=()[]{}<>"'|:``. A word is masked if it has a digit, is a path or
a URL, an address with an ``@``, eight or more letters of hexadecimal numbers, nothing but stars, or the value of a key
that names a person (``user=``). Groups of hexadecimal digits joined by ``:`` are one word, so is a
host with its port. A unit, month, weekday or zone beside ``*`` belongs to it; neighbouring ``*`` are
one, whatever stands between them.

No state is needed for it, so a line has the same shape in every process, for one ``VERSION`` of
the rules.
"""

# ruff: noqa: PLR0912, PLR0915, PLR1714, SIM102, SIM109 -- a scanner is one long loop

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import compiled, inlined, uncounted
from operators.columns.scanning import hash_range
from operators.logs.templates.mask_words import (
    CALENDAR,
    INTRODUCES,
    MONTH_OR_DAY,
    NAME_KEY,
    UNIT,
    word_class,
)

__all__ = ["SEPARATORS", "VERSION", "masked_texts", "shapes"]

VERSION: Final = 1
"""Of the rules. A shape is comparable with those of the same version only."""

SEPARATORS: Final = ",;=()[]{}<>\"'|:"
"""Beside white space, what words are split at."""

_LONGEST: Final = 2048
"""Bytes of a line that are looked at; what follows is one more ``*``."""
_SEED: Final = np.uint64(0x6C6F6773 + VERSION)

_SPACE: Final = 1
_SEPARATOR: Final = 2  # white space included
_DIGIT: Final = 4
_HEX: Final = 8  # digits and letters of hexadecimal numbers
_END_OF_PATH: Final = 16
_END_OF_SENTENCE: Final = 32

_DOT: Final = ord(".")
_SLASH: Final = ord("/")
_COLON: Final = ord(":")
_STAR: Final = ord("*")
_BLANK: Final = ord(" ")


def _classes() -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    for code in (*range(33), 127):
        table[code] |= _SPACE | _SEPARATOR | _END_OF_PATH
    for char in SEPARATORS:
        table[ord(char)] |= _SEPARATOR
    for char in "\"'<>()[]{}|,;":
        table[ord(char)] |= _END_OF_PATH
    for char in "0123456789":
        table[ord(char)] |= _DIGIT | _HEX
    for char in "abcdefABCDEF":
        table[ord(char)] |= _HEX
    for char in ".!?":
        table[ord(char)] |= _END_OF_SENTENCE
    return table


_CLASS: Final = _classes()


@inlined
def _opens(byte: int) -> bool:
    return bool(byte == 40 or byte == 91 or byte == 123 or byte == 60)


@inlined
def _closes(byte: int) -> bool:
    return bool(byte == 41 or byte == 93 or byte == 125 or byte == 62)


@inlined
def _copy_between(
    buffer: NDArray[np.uint8],
    at: int,
    end: int,
    out: NDArray[np.uint8],
    filled: int,
    after_star: bool,
    before_star: bool,
    opened: int,
) -> int:
    """Write what stands between two words, in its plain form, and return how far ``out`` is filled.

    White space is one blank, dots are three at most. Beside a ``*`` empty brackets are left out,
    and brackets of which the other half was within it.
    """
    while at < end:
        byte = buffer[at]
        if _CLASS[byte] & _SPACE:
            if filled > 0 and out[filled - 1] != _BLANK:
                out[filled] = _BLANK
                filled += 1
            at += 1
            continue
        if after_star:
            if opened > 0 and _closes(byte):
                opened -= 1
                at += 1
                continue
            if _opens(byte) and at + 1 < end and _closes(buffer[at + 1]):
                at += 2
                continue
        if before_star and byte == 60 and at + 1 == end:
            at += 1
            continue
        if byte == _DOT and filled > 2 and out[filled - 1] == _DOT and out[filled - 2] == _DOT:
            if out[filled - 3] == _DOT:
                at += 1
                continue
        out[filled] = byte
        filled += 1
        at += 1
    return filled


@inlined
def _end_of_groups(buffer: NDArray[np.uint8], at: int, end: int) -> int:
    """Return where groups of hexadecimal digits that ``:`` joins end, ``at`` if there are none.

    ``at`` is where the first group ends. Addresses of devices and of IPv6 are such.
    """
    groups = 1
    empty = False
    place = at
    while place < end and buffer[place] == _COLON:
        after = place + 1
        if after < end and buffer[after] == _COLON and not empty:
            empty = True
            after += 1
        first = after
        while after < end and _CLASS[buffer[after]] & _HEX:
            after += 1
        if after - first > 4 or (after == first and not empty):
            return at
        groups += after > first
        place = after
        if after == first:
            break
    if groups < 3 and not (empty and groups > 1):
        return at
    if place < end and not _CLASS[buffer[place]] & (_SEPARATOR | _END_OF_SENTENCE):
        return at
    return place


@inlined
def _end_of_path(buffer: NDArray[np.uint8], at: int, end: int) -> int:
    """Return where a path or URL ends that begins before ``at``."""
    while at < end and not _CLASS[buffer[at]] & _END_OF_PATH:
        at += 1
    while buffer[at - 1] == _COLON or _CLASS[buffer[at - 1]] & _END_OF_SENTENCE:
        at -= 1
    return at


@inlined
def _names_before(buffer: NDArray[np.uint8], start: int, end: int, introduced: bool) -> bool:
    """Say whether what stands between a key and a word makes the word the key's value."""
    if start == end:
        return False
    byte = buffer[start]
    if byte == 61:  # =
        start += 1
    elif byte == _COLON:
        start += 1
        if start < end and buffer[start] == _BLANK:
            start += 1
    else:
        while start < end and buffer[start] == _BLANK:
            start += 1
        if start == end:
            return introduced
    if start < end and (buffer[start] == 34 or buffer[start] == 39):
        start += 1
    return bool(start == end)


@uncounted
def _mask(buffer: NDArray[np.uint8], start: int, end: int, out: NDArray[np.uint8]) -> int:
    """Write the masked text of ``buffer[start:end]`` to ``out``, and return its length."""
    cut = end - start > _LONGEST
    if cut:
        end = start + _LONGEST
        while end > start and not _CLASS[buffer[end]] & _SEPARATOR:
            end -= 1
    at = start
    filled = 0
    star = False  # the last word was masked
    opened, closed = 0, 0  # brackets within a "*", without their other halves
    calendar = -1  # where in ``out`` the months and weekdays that were just written begin
    names = False  # the last word was the key of a name
    introduced = False  # and it is one after which a name may come without "="
    introduces = False
    before = at
    while True:
        before = at
        while at < end and _CLASS[buffer[at]] & (_SEPARATOR | _END_OF_SENTENCE):
            at += 1
        if at >= end:
            break
        word = at
        flags = np.uint8(0)
        plain = np.uint8(_HEX)
        slashes, points = 0, 0
        masked = buffer[word] == _SLASH or buffer[word] == 92  # a backslash
        address = False
        stars = True
        while at < end:
            byte = buffer[at]
            kind = _CLASS[byte]
            if kind & _SEPARATOR:
                break
            if byte == _DOT:
                if at + 2 < end and buffer[at + 1] == _DOT and buffer[at + 2] == _DOT:
                    break
                points += 1
            elif byte == _SLASH:
                slashes += 1
            elif byte == 64:  # @
                address = True
            stars = stars and byte == _STAR
            flags |= kind
            plain &= kind
            at += 1
        while at - 1 > word and _CLASS[buffer[at - 1]] & _END_OF_SENTENCE:
            points -= buffer[at - 1] == _DOT
            at -= 1
        after = at
        if masked or slashes > 1 or (slashes == 1 and points > 0):
            masked = at - word > 1
            if masked:
                after = _end_of_path(buffer, at, end)
        elif at + 2 < end and buffer[at] == _COLON and buffer[at + 1] == _SLASH:
            if buffer[at + 2] == _SLASH:
                masked = True
                after = _end_of_path(buffer, at + 3, end)
        elif at + 1 < end and buffer[at] == _COLON:
            if plain & _HEX and at - word <= 4:
                after = _end_of_groups(buffer, at, end)
                masked = after > at
            elif points > 0 and _CLASS[buffer[at + 1]] & _DIGIT:
                masked = True
        masked = masked or flags & _DIGIT != 0 or address or stars
        masked = masked or (plain & _HEX != 0 and at - word >= 8)
        masked = masked or (names and _names_before(buffer, before, word, introduced))
        at = max(at, after)
        names = False
        if masked:
            introduces = False
            if calendar >= 0:
                filled = calendar
                star = filled > 0 and out[filled - 1] == _STAR
                if not star:
                    out[filled] = _STAR
                    filled += 1
                    opened, closed = 0, 0
            elif star:
                for place in range(before, word):
                    if _opens(buffer[place]):
                        if closed > 0:
                            closed -= 1
                        else:
                            opened += 1
                    elif _closes(buffer[place]):
                        if opened > 0:
                            opened -= 1
                        else:
                            closed += 1
            else:
                filled = _copy_between(buffer, before, word, out, filled, False, True, 0)
                out[filled] = _STAR
                filled += 1
                opened, closed = 0, 0
            star = True
            calendar = -1
            continue
        kind = word_class(buffer, word, at)
        if kind == UNIT or kind == CALENDAR or kind == MONTH_OR_DAY:
            near = True
            for place in range(before, word):
                near = near and (buffer[place] == _BLANK or buffer[place] == 44)
            if star and near and word - before <= 2:
                continue
            if kind == MONTH_OR_DAY:
                if calendar < 0 or not near:
                    filled = _copy_between(buffer, before, word, out, filled, star, False, opened)
                    calendar = filled
                else:
                    filled = _copy_between(buffer, before, word, out, filled, False, False, 0)
                for place in range(word, at):
                    out[filled] = buffer[place]
                    filled += 1
                star = False
                continue
        filled = _copy_between(buffer, before, word, out, filled, star, False, opened)
        for place in range(word, at):
            out[filled] = buffer[place]
            filled += 1
        names = kind == NAME_KEY
        introduced = names and introduces
        introduces = kind == INTRODUCES
        star = False
        calendar = -1
    filled = _copy_between(buffer, before, end, out, filled, star, False, opened)
    if cut and not star:
        out[filled] = _STAR
        filled += 1
    while filled > 0 and out[filled - 1] == _BLANK:
        filled -= 1
    out[filled : filled + 16] = 0
    return filled


@compiled
def shapes(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Return the shape of each line: the hash of its masked text.

    Args:
        buffer: the lines' bytes, and ``PADDING``.
        starts: where each line begins in it.
        ends: where each line ends.
    """
    out = np.empty(2 * _LONGEST, np.uint8)
    found = np.empty(len(starts), np.uint64)
    for row in range(len(starts)):
        size = _mask(buffer, starts[row], ends[row], out)
        found[row] = hash_range(out, 0, size, _SEED)
    return found


@compiled
def _write(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    text: NDArray[np.uint8],
    bounds: NDArray[np.int64],
) -> None:
    out = np.empty(2 * _LONGEST, np.uint8)
    filled = 0
    for row in range(len(starts)):
        size = _mask(buffer, starts[row], ends[row], out)
        text[filled : filled + size] = out[:size]
        filled += size
        bounds[row + 1] = filled


def masked_texts(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> list[str]:
    """Return the masked text of each line; what is not UTF-8 is replaced.

    It is meant for the lines whose shape is new.
    """
    room = np.minimum(ends - starts, _LONGEST) + 2
    text = np.empty(int(room.sum()), np.uint8)
    bounds = np.zeros(len(starts) + 1, np.int64)
    _write(buffer, starts, ends, text, bounds)
    content = text.tobytes()
    limits = bounds.tolist()
    return [
        content[limits[row] : limits[row + 1]].decode(errors="replace")
        for row in range(len(starts))
    ]
