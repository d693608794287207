"""Words that mean something to masking: units, months, weekdays, zones, and keys of names.

They are looked up by a number made of their first bytes and their length, in a table that compiled
loops have as a constant.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import Word, inlined, word_at

__all__ = ["CALENDAR", "INTRODUCES", "MONTH_OR_DAY", "NAME_KEY", "NOTHING", "UNIT", "word_class"]

NOTHING: Final = 0
UNIT: Final = 1
"""Belongs to the number before it: ``* ms`` is ``*``."""
CALENDAR: Final = 2
"""A zone or half of a day: belongs to the time before it."""
MONTH_OR_DAY: Final = 3
"""Belongs to a number on either side."""
NAME_KEY: Final = 4
"""The value that follows it is a name: of a user, a customer, an address."""
INTRODUCES: Final = 5
"""Before a key of a name: what follows that is a name without ``=``, as in ``for user bob``."""

_WORDS: Final = {
    UNIT: (
        "ns us µs ms s sec secs second seconds m min mins minute minutes h hr hrs hour hours d day days "
        "nanoseconds microseconds milliseconds millis nanos micros "
        "B kB KB MB GB TB PB KiB MiB GiB TiB bytes byte bits kb mb gb tb Kb Mb Gb k K M G "
        "Hz kHz MHz GHz Kbps Mbps Gbps kbps pct percent"
    ),
    CALENDAR: "UTC GMT CET CEST EST EDT CST CDT MST MDT PST PDT BST IST JST MSK WET EET AM PM am pm",
    MONTH_OR_DAY: (
        "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec January February March April June July "
        "August September October November December Mon Tue Wed Thu Fri Sat Sun "
        "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
    ),
    NAME_KEY: (
        "user username user_name userName userid user_id userId usr login logname ruser uname account "
        "customer customer_id client_name email e-mail mail owner principal subject acct "
        "first_name last_name firstname lastname firstName lastName fullname full_name patient member "
        "password passwd pwd secret token apikey api_key phone"
    ),
    INTRODUCES: "for of by as invalid Invalid unknown Unknown illegal",
}
_ALSO_IN_CAPITALS: Final = (UNIT, MONTH_OR_DAY, NAME_KEY)

_SLOTS: Final = 1 << 12
_LENGTH: Final = np.uint64(0x9E3779B97F4A7C15)
_SPREAD: Final = np.uint64(0xD6E8FEB86659FD93)


def _key(word: bytes) -> int:
    first = int.from_bytes(word[:8].ljust(8, b"\0"), "little")
    return (first ^ (len(word) * int(_LENGTH))) % 2**64


def _table() -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    keys = np.zeros(_SLOTS, np.uint64)
    classes = np.zeros(_SLOTS, np.uint8)
    for number, text in _WORDS.items():
        words = set(text.split())
        if number in _ALSO_IN_CAPITALS:
            words |= {word.upper() for word in words if len(word) > 1}
        if number == NAME_KEY:
            words |= {word.capitalize() for word in words}
        for word in sorted(words):
            key = _key(word.encode())
            slot = (key * int(_SPREAD)) % 2**64 >> 52
            while classes[slot] and int(keys[slot]) != key:
                slot = (slot + 1) % _SLOTS
            if not classes[slot]:
                keys[slot], classes[slot] = key, number
    return keys, classes


_KEYS, _CLASSES = _table()


@inlined
def word_class(buffer: NDArray[np.uint8], start: int, end: int) -> int:
    """Return what ``buffer[start:end]`` means, ``NOTHING`` if it is any other word."""
    size = end - start
    first: Word = word_at(buffer, start)
    if size < 8:
        first &= (np.uint64(1) << np.uint64(8 * size)) - np.uint64(1)
    key = first ^ (np.uint64(size) * _LENGTH)
    slot = np.int64((key * _SPREAD) >> np.uint64(52))
    while _CLASSES[slot] != 0:
        if _KEYS[slot] == key:
            return np.int64(_CLASSES[slot])  # type: ignore[return-value]
        slot = (slot + 1) & (_SLOTS - 1)
    return NOTHING
