"""The head of a line: the time and the severity that most programs begin their lines with.

A severity counts only where a head has it: at the beginning, behind the time, or behind what else
stands in heads (``[main]``, ``name -``, ``file.go:12``). A word in the message never does.
"""

# ruff: noqa: PLR0911, PLR0912, PLR0915, PLR1714, SIM102 -- a scanner is a list of cases

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import Word, compiled, inlined, signed, uncounted, word_at
from operators.logs.parsing.severities import DEBUG, ERROR, FATAL, INFO, WARN, WORDS
from operators.logs.parsing.timestamps import NONE, WrittenTimes, scan_time

__all__ = ["Heads", "heads_of"]

_NO_YEAR: Final = 3
_MOST_BETWEEN: Final = 5
_WIDTH: Final = 13  # of the longest word, and one

_DAY: Final = 86_400 * 1_000_000_000


class Heads(NamedTuple):
    """What heads say: times; severities, 0 for none; and where the message begins."""

    times: WrittenTimes
    severity: NDArray[np.uint8]
    message: NDArray[np.int64]


def _words() -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    keys = np.zeros((len(WORDS), 2), np.uint64)
    for row, word in enumerate(WORDS):
        text = word.encode().ljust(16, b"\0")
        keys[row] = int.from_bytes(text[:8], "little"), int.from_bytes(text[8:], "little")
    return keys, np.array([(len(word), number) for word, number in WORDS.items()])


_KEYS, _NUMBERS = _words()
_LOW: Final = np.uint64(0x2020202020202020)


@inlined
def _lowered(buffer: NDArray[np.uint8], at: int, size: int) -> Word:
    word: Word = word_at(buffer, at) | _LOW
    if size < 8:
        word &= (np.uint64(1) << np.uint64(8 * max(size, 0))) - np.uint64(1)
    return word


@uncounted
def _severity(buffer: NDArray[np.uint8], start: int, end: int) -> int:
    """Return the severity that a word of letters is, 0 if it is none."""
    size = end - start
    if size < 3 or size > _WIDTH:
        return 0
    first = _lowered(buffer, start, size)
    second: Word = np.uint64(0)
    if size > 8:
        second = _lowered(buffer, start + 8, size - 8)
    for row in range(len(_KEYS)):
        if _KEYS[row, 0] == first and _NUMBERS[row, 0] == size and _KEYS[row, 1] == second:
            return _NUMBERS[row, 1]  # type: ignore[no-any-return]
    return 0


@inlined
def _letters(buffer: NDArray[np.uint8], at: int, end: int) -> int:
    """Return where the letters end that begin at ``at``."""
    while at < end and 97 <= (buffer[at] | 32) <= 122:
        at += 1
    return at


@inlined
def _between(buffer: NDArray[np.uint8], at: int, end: int) -> int:
    """Skip what stands between the parts of a head: blanks, and signs that blanks follow."""
    while at < end:
        byte = buffer[at]
        if byte == 32 or byte == 9:
            at += 1
            continue
        if byte != 45 and byte != 124 and byte != 58 and byte != 44:
            break
        after = at
        while after < end and buffer[after] == byte:
            after += 1
        if after < end and buffer[after] > 32:
            break
        at = after
    return at


@uncounted
def _klog(buffer: NDArray[np.uint8], at: int, end: int) -> tuple[int, int, int]:
    """Read ``I0131 10:00:00.123456   12345 file.go:12] ``; the message begins at -1 if it is none."""
    if at + 15 > end or buffer[at + 5] != 32:
        return 0, 0, -1
    letter = buffer[at]
    severity = 0
    if letter == 73:
        severity = INFO
    elif letter == 87:
        severity = WARN
    elif letter == 69:
        severity = ERROR
    elif letter == 70:
        severity = FATAL
    elif letter == 68:
        severity = DEBUG
    if severity == 0:
        return 0, 0, -1
    for place in range(at + 1, at + 5):
        if buffer[place] < 48 or buffer[place] > 57:
            return 0, 0, -1
    month = (signed(buffer[at + 1]) - 48) * 10 + signed(buffer[at + 2]) - 48
    day = (signed(buffer[at + 3]) - 48) * 10 + signed(buffer[at + 4]) - 48
    clock, lacks, after = scan_time(buffer, at + 6, end, False)
    if lacks != 4 or month < 1 or month > 12 or day < 1 or day > 31:
        return 0, 0, -1
    # Days of 1972, which is a leap year.
    days = 730 + day - 1
    for earlier in range(1, month):
        days += 29 if earlier == 2 else 31 - (earlier in (4, 6, 9, 11))
    place = after
    while place + 1 < end and not (buffer[place] == 93 and buffer[place + 1] == 32):
        if buffer[place] == 10:
            return 0, 0, -1
        place += 1
    if place + 1 >= end:
        return 0, 0, -1
    return days * _DAY + clock, severity, place + 2


@uncounted
def _head(buffer: NDArray[np.uint8], start: int, end: int) -> tuple[int, int, int, int]:
    """Read a head: time, what it lacks, severity, and where the message begins."""
    at = start
    while at < end and buffer[at] <= 32:
        at += 1
    ts, severity, message = _klog(buffer, at, end)
    if message >= 0:
        return ts, _NO_YEAR, severity, message
    first = at
    if at < end and buffer[at] == 91:
        at += 1
    ts, lacks, after = scan_time(buffer, at, end, False)
    timed = lacks != NONE
    if timed:
        at = after
        if at < end and buffer[at] == 93:
            at += 1
        if (
            at < end
            and buffer[at] > 32
            and buffer[at] != 91
            and buffer[at] != 58
            and buffer[at] != 124
        ):
            if buffer[at] != 44 and buffer[at] != 45:
                return 0, NONE, 0, start  # a number that goes on is no time
        at = _between(buffer, at, end)
    else:
        at = first
    message = at
    for _ in range(_MOST_BETWEEN):
        if at >= end or buffer[at] == 10:
            break
        bracket = buffer[at] == 91 or buffer[at] == 40 or buffer[at] == 60
        word = at + bracket
        while bracket and word < end and buffer[word] == 32:
            word += 1
        stop = _letters(buffer, word, end)
        severity = _severity(buffer, word, stop)
        if severity > 0:
            close = stop
            while bracket and close < end and buffer[close] == 32:
                close += 1
            byte = buffer[close] if close < end else np.uint8(0)
            capitals = buffer[word] < 97 and buffer[stop - 1] < 97
            closed = bracket and (byte == 93 or byte == 41 or byte == 62)
            colon = byte == 58 and (close + 1 == end or buffer[close + 1] <= 32)
            bare = byte <= 32 or byte == 124
            apart = (colon and (timed or buffer[word] >= 97)) or byte == 124
            # "ERROR x", "[error] x", "error: x"; behind a time also "error x".
            if closed or (
                not bracket and ((capitals and (bare or colon)) or apart or (timed and bare))
            ):
                after = close + (closed or colon)
                return ts, lacks, severity, _between(buffer, after, end)
        if not timed:
            break
        # Another part of a head may stand before the severity; a plain word is the message.
        strange = bracket
        depth = 0
        while at < end and (buffer[at] > 32 or depth > 0) and buffer[at] != 10:
            byte = buffer[at]
            if byte == 91 or byte == 40:
                depth += 1
            elif (byte == 93 or byte == 41) and depth > 0:
                depth -= 1
            elif byte == 46 or byte == 35 or byte == 47 or byte == 95 or 48 <= byte <= 57:
                strange = True
            at += 1
        following = at
        while following < end and buffer[following] == 32:
            following += 1
        dash = following + 1 < end and (buffer[following] == 45 or buffer[following] == 124)
        if not strange and not (dash and buffer[following + 1] <= 32):
            break
        at = _between(buffer, at, end)
    if timed and lacks != 4:
        return ts, lacks, 0, message
    return 0, NONE, 0, start


@compiled
def _scan(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    ts: NDArray[np.int64],
    lacks: NDArray[np.uint8],
    severity: NDArray[np.uint8],
    message: NDArray[np.int64],
) -> None:
    for row in range(len(starts)):
        ts[row], lacks[row], severity[row], message[row] = _head(buffer, starts[row], ends[row])


def heads_of(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> Heads:
    """Read the heads of lines."""
    size = len(starts)
    ts, lacks = np.zeros(size, np.int64), np.zeros(size, np.uint8)
    severity, message = np.zeros(size, np.uint8), np.zeros(size, np.int64)
    _scan(buffer, starts, ends, ts, lacks, severity, message)
    return Heads(WrittenTimes(ts, lacks), severity, message)
