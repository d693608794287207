"""A compiled scanner of JSON: it finds values in a buffer of bytes, and checks all that it passes.

It accepts what RFC 8259 does and nothing else: that is tested against orjson. Positions are indexes
into one ``uint8`` array that ``scanning.joined`` made; a text ends where its message does. Values
are read by ranges: ``members`` checks a whole object and notes where the wanted ones are, and what
lies in a range that has been checked can be walked without further checks.

What needs more than a scanner is left to a parser of JSON, as ``DOUBTFUL``: a key that is written
with escapes, a wanted key that stands twice.
"""

# ruff: noqa: PLR0911, PLR0912, PLR1714 -- a scanner is one long loop

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import trailing_zeros
from operators.columns.scanning import (
    MALFORMED,
    READ,
    inlined,
    scan_float,
    uncounted,
    word_at,
)
from operators.columns.utf8 import after_character

__all__ = [
    "ABSENT",
    "ACCEPTED",
    "DOUBTFUL",
    "MOST_LEVELS",
    "first_element",
    "first_member",
    "key_table",
    "members",
    "next_element",
    "next_member",
    "precedes",
    "scan_number",
    "scan_string",
    "scan_text_number",
    "skip_space",
    "skip_value",
    "which_of",
]

ACCEPTED: Final = 0
"""Status of a message: it is JSON, and of the format."""
DOUBTFUL: Final = 1
"""Status of a message: not JSON, or JSON that only a parser can tell the meaning of."""

ABSENT: Final = 0
"""Where a member begins and ends that an object does not have: no value begins with the buffer."""

MOST_LEVELS: Final = 1024
"""Of nesting, as orjson has it."""

_WIDTH: Final = 32  # bytes of a key in a table, at least eight of them zeros

_ONES: Final = np.uint64(0x0101010101010101)
_HIGHS: Final = np.uint64(0x8080808080808080)
_SPACES: Final = np.uint64(0x2020202020202020)
_QUOTES: Final = np.uint64(0x2222222222222222)
_BACKSLASHES: Final = np.uint64(0x5C5C5C5C5C5C5C5C)


def key_table(*names: str) -> NDArray[np.uint8]:
    """Return the keys that ``members`` is to look for: a row of bytes each, flattened.

    The first byte of a row is the key's length, which is 23 at most.
    """
    table = np.zeros((len(names), _WIDTH), np.uint8)
    for row, name in zip(table, names, strict=True):
        row[0] = len(name)
        row[1 : 1 + len(name)] = np.frombuffer(name.encode(), np.uint8)
    return table.ravel()


@inlined
def skip_space(buffer: NDArray[np.uint8], at: int, end: int) -> int:
    """Return the first position from ``at`` on that is not white space, ``end`` if there is none."""
    # Mostly there is none, so that is one comparison.
    while at < end and buffer[at] <= 32:
        byte = buffer[at]
        if byte != 32 and byte != 10 and byte != 13 and byte != 9:
            break
        at += 1
    return at


@uncounted
def _hex4(buffer: NDArray[np.uint8], at: int, end: int) -> int:
    """Return the number that four hexadecimal digits are, -1 if they are none."""
    if at + 4 > end:
        return -1
    number = 0
    for each in range(at, at + 4):
        digit = int(buffer[each])
        if 48 <= digit <= 57:
            digit -= 48
        elif 97 <= digit | 32 <= 102:
            digit = (digit | 32) - 87
        else:
            return -1
        number = number * 16 + digit
    return number


@uncounted
def _skip_escape(buffer: NDArray[np.uint8], at: int, end: int) -> int:
    """Return where the escape ends whose backslash is at ``at``, -1 if it is none."""
    if at + 1 >= end:
        return -1
    kind = buffer[at + 1]
    if kind != 117:
        short = kind in (34, 92, 47, 98, 102, 110, 114, 116)
        return at + 2 if short else -1
    code = _hex4(buffer, at + 2, end)
    if code < 0 or 0xDC00 <= code <= 0xDFFF:
        return -1
    if code < 0xD800 or code > 0xDBFF:
        return at + 6
    # The first half of a pair: the second must follow.
    if at + 12 > end or buffer[at + 6] != 92 or buffer[at + 7] != 117:
        return -1
    code = _hex4(buffer, at + 8, end)
    return at + 12 if 0xDC00 <= code <= 0xDFFF else -1


@uncounted
def _skip_wide(buffer: NDArray[np.uint8], at: int, end: int) -> int:
    """Return where a character of several bytes ends, -1 if it is not UTF-8."""
    base = buffer.ctypes.data
    after = after_character(base + at, base + end)
    return after - base if after >= 0 else -1


@inlined
def scan_string(buffer: NDArray[np.uint8], at: int, end: int) -> tuple[int, bool]:
    """Find the end of the string whose first byte after the quotation mark is at ``at``.

    Returns:
        Where its closing quotation mark is, -1 if it is no string; whether it has escapes.
    """
    escaped = False
    while at < end:
        word = word_at(buffer, at)
        quotes, slashes = word ^ _QUOTES, word ^ _BACKSLASHES
        # The lowest high bit that is set belongs to the first byte that is a quotation mark, a
        # backslash, a control character, or not ASCII.
        special = (
            ((quotes - _ONES) & ~quotes)
            | ((slashes - _ONES) & ~slashes)
            | ((word - _SPACES) & ~word)
            | word
        ) & _HIGHS
        if special == np.uint64(0):
            at += 8
            continue
        at += trailing_zeros(special) >> 3
        if at >= end:
            break
        byte = buffer[at]
        if byte == 34:
            return at, escaped
        if byte == 92:
            escaped = True
            at = _skip_escape(buffer, at, end)
        elif byte >= 128:
            at = _skip_wide(buffer, at, end)
        else:
            return -1, escaped
        if at < 0:
            return -1, escaped
    return -1, escaped


@inlined
def _skip_digits(buffer: NDArray[np.uint8], at: int, end: int) -> int:
    while at < end and 48 <= buffer[at] <= 57:
        at += 1
    return at


@inlined
def _skip_number(buffer: NDArray[np.uint8], start: int, end: int) -> int:
    """Return where a number ends, -1 if it is none or too large for a double."""
    at = start
    if at < end and buffer[at] == 45:
        at += 1
    whole = at
    at = _skip_digits(buffer, at, end)
    if at == whole or (at > whole + 1 and buffer[whole] == 48):
        return -1
    plain = True
    if at < end and buffer[at] == 46:
        at = _skip_digits(buffer, at + 1, end)
        if buffer[at - 1] == 46:
            return -1
    if at < end and (buffer[at] | 32) == 101:
        plain = False
        at += 1
        if at < end and (buffer[at] == 43 or buffer[at] == 45):
            at += 1
        exponent = at
        at = _skip_digits(buffer, at, end)
        if at == exponent:
            return -1
    if not plain or at - start > 300:
        number, _, _ = scan_float(buffer, start, at)
        if np.isinf(number):
            return -1
    return at


@uncounted
def scan_number(buffer: NDArray[np.uint8], start: int, end: int) -> tuple[float, int]:
    """Read a number.

    Returns:
        The number and a status, as ``scan_float`` has it; ``MALFORMED`` if not all of the range
        is one number of JSON's.
    """
    after = _skip_number(buffer, start, end)
    if after != end:
        return 0.0, MALFORMED
    number, _, status = scan_float(buffer, start, end)
    return number, status


@uncounted
def scan_text_number(buffer: NDArray[np.uint8], start: int, end: int) -> tuple[float, int]:
    """Read a number that is a string, between its quotation marks: ``1.5``, ``+Inf``, ``NaN``.

    Returns:
        The number and a status, as ``scan_float`` has it; ``MALFORMED`` if it is not all a number.
    """
    number, after, status = scan_float(buffer, start, end)
    if status != MALFORMED and after == end:
        return number, status
    negative = buffer[start] == 45
    at = start + (negative or buffer[start] == 43)
    letters = word_at(buffer, at) & np.uint64(0xDFDFDFDFDFDFDFDF)
    short = letters & np.uint64(0xFFFFFF)
    if end - at == 3 and short == np.uint64(0x4E414E):
        return np.nan, READ
    infinity = (end - at == 3 and short == np.uint64(0x464E49)) or (
        end - at == 8 and letters == np.uint64(0x5954494E49464E49)
    )
    if infinity:
        return -np.inf if negative else np.inf, READ
    return 0.0, MALFORMED


@inlined
def _skip_word(buffer: NDArray[np.uint8], at: int, end: int) -> int:
    """Return where ``true``, ``false`` or ``null`` ends, -1 if it is none of them."""
    word = word_at(buffer, at)
    half = word & np.uint64(0xFFFFFFFF)
    if half == np.uint64(0x65757274) or half == np.uint64(0x6C6C756E):
        after = at + 4
    elif word & np.uint64(0xFFFFFFFFFF) == np.uint64(0x65736C6166):
        after = at + 5
    else:
        return -1
    return after if after <= end else -1


@inlined
def _skip_key(buffer: NDArray[np.uint8], at: int, end: int) -> int:
    """Return where the value begins whose key is at ``at``, -1 if there is none."""
    if at >= end or buffer[at] != 34:
        return -1
    close, _ = scan_string(buffer, at + 1, end)
    if close < 0:
        return -1
    at = skip_space(buffer, close + 1, end)
    if at >= end or buffer[at] != 58:
        return -1
    return skip_space(buffer, at + 1, end)


@uncounted
def skip_value(buffer: NDArray[np.uint8], at: int, end: int, levels: NDArray[np.uint8]) -> int:
    """Return where the value ends that begins at ``at``, -1 if it is not JSON.

    ``levels`` is room for ``MOST_LEVELS``, of nesting.
    """
    depth = 0
    while at < end:
        byte = buffer[at]
        if byte == 34:
            close, _ = scan_string(buffer, at + 1, end)
            at = close + 1 if close >= 0 else -1
        elif byte == 123 or byte == 91:
            inside = skip_space(buffer, at + 1, end)
            if inside < end and buffer[inside] == byte + 2:
                if depth >= MOST_LEVELS:
                    return -1
                at = inside + 1
            else:
                if depth >= MOST_LEVELS:
                    return -1
                levels[depth] = byte
                depth += 1
                at = _skip_key(buffer, inside, end) if byte == 123 else inside
                if at < 0:
                    return -1
                continue
        elif byte == 45 or 48 <= byte <= 57:
            at = _skip_number(buffer, at, end)
        else:
            at = _skip_word(buffer, at, end)
        if at < 0:
            return -1
        # A value has ended: so may what it is in.
        while True:
            if depth == 0:
                return at
            at = skip_space(buffer, at, end)
            if at >= end:
                return -1
            if buffer[at] == 44:
                at = skip_space(buffer, at + 1, end)
                if levels[depth - 1] == 123:
                    at = _skip_key(buffer, at, end)
                    if at < 0:
                        return -1
                break
            if buffer[at] != levels[depth - 1] + 2:
                return -1
            depth -= 1
            at += 1
    return -1


@uncounted
def which_of(buffer: NDArray[np.uint8], start: int, end: int, keys: NDArray[np.uint8]) -> int:
    """Return which of ``keys`` the text of the range is, as it is written, -1 if it is none."""
    length = end - start
    for row in range(len(keys) // _WIDTH):
        place = row * _WIDTH
        if keys[place] != length:
            continue
        at = 0
        while at + 8 <= length and word_at(buffer, start + at) == word_at(keys, place + 1 + at):
            at += 8
        if at + 8 > length:
            rest = (np.uint64(1) << np.uint64(8 * (length - at))) - np.uint64(1)
            differing = word_at(buffer, start + at) ^ word_at(keys, place + 1 + at)
            if differing & rest == np.uint64(0):
                return row
    return -1


@uncounted
def members(
    buffer: NDArray[np.uint8],
    at: int,
    end: int,
    keys: NDArray[np.uint8],
    found: NDArray[np.int64],
    levels: NDArray[np.uint8],
    parsed: bool,
) -> int:
    """Check the object that begins at ``at``, and note where the values of ``keys`` are.

    Args:
        buffer: the bytes.
        at: where its brace should be.
        end: of the message.
        keys: what ``key_table`` made.
        found: at least one row a key: where its value begins and ends (``ABSENT`` where there
            is none). Written to.
        levels: room, as for ``skip_value``.
        parsed: the text was written by a parser: no key stands twice.

    Returns:
        Where it ends, -1 if it is no object, or doubtful.
    """
    for row in range(len(keys) // _WIDTH):
        found[row, 0] = ABSENT
        found[row, 1] = ABSENT
    if at >= end or buffer[at] != 123:
        return -1
    at = skip_space(buffer, at + 1, end)
    if at < end and buffer[at] == 125:
        return at + 1
    while at < end and buffer[at] == 34:
        close, escaped = scan_string(buffer, at + 1, end)
        if close < 0 or (escaped and not parsed):
            return -1
        row = which_of(buffer, at + 1, close, keys)
        at = skip_space(buffer, close + 1, end)
        if at >= end or buffer[at] != 58:
            return -1
        start = skip_space(buffer, at + 1, end)
        at = skip_value(buffer, start, end, levels)
        if at < 0:
            return -1
        if row >= 0:
            if found[row, 0] != ABSENT:
                return -1
            found[row, 0] = start
            found[row, 1] = at
        at = skip_space(buffer, at, end)
        if at >= end:
            return -1
        if buffer[at] == 125:
            return at + 1
        if buffer[at] != 44:
            return -1
        at = skip_space(buffer, at + 1, end)
    return -1


@uncounted
def first_element(buffer: NDArray[np.uint8], start: int, end: int) -> int:
    """Return where the first element of a checked array at ``start`` begins, -1 if it is empty."""
    at = skip_space(buffer, start + 1, end)
    return -1 if buffer[at] == 93 else at


@uncounted
def next_element(buffer: NDArray[np.uint8], after: int, end: int) -> int:
    """Return where the element behind the one that ends at ``after`` begins, -1 at the end."""
    at = skip_space(buffer, after, end)
    return -1 if buffer[at] != 44 else skip_space(buffer, at + 1, end)


@uncounted
def first_member(buffer: NDArray[np.uint8], start: int, end: int) -> tuple[int, int, int, bool]:
    """Find the first member of a checked object.

    Returns:
        Where its key begins and ends, without quotation marks, and its value begins; whether the
        key has escapes. The key begins at -1 if the object is empty.
    """
    at = skip_space(buffer, start + 1, end)
    if buffer[at] == 125:
        return -1, -1, -1, False
    close, escaped = scan_string(buffer, at + 1, end)
    colon = skip_space(buffer, close + 1, end)
    return at + 1, close, skip_space(buffer, colon + 1, end), escaped


@uncounted
def next_member(buffer: NDArray[np.uint8], after: int, end: int) -> tuple[int, int, int, bool]:
    """Find the member behind the one that ends at ``after``, as ``first_member`` does."""
    at = skip_space(buffer, after, end)
    if buffer[at] == 125:
        return -1, -1, -1, False
    return first_member(buffer, at, end)


@uncounted
def precedes(buffer: NDArray[np.uint8], start: int, end: int, other: int, other_end: int) -> bool:
    """Tell whether the bytes of one range sort before those of another."""
    for step in range(min(end - start, other_end - other)):
        if buffer[start + step] != buffer[other + step]:
            return bool(buffer[start + step] < buffer[other + step])
    return end - start < other_end - other
