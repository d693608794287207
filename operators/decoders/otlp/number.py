"""Reading a data point of a gauge or sum: the one loop that runs for every number."""

# ruff: noqa: PLR0912, PLR0915 -- a parser is a list of fields and errors

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from operators.columns.compiling import signed
from operators.columns.memory import double_at, word_at
from operators.columns.scanning import Word, compiled, fold
from operators.decoders.otlp.kinds import NO_RECORDED_VALUE
from operators.decoders.otlp.levels import MIX, NO_TIME, NO_VALUE, NOT_FINITE, STALE
from operators.decoders.protobuf.reading import (
    CUT_OFF,
    FIXED64,
    LENGTH,
    VARINT,
    WRONG_TYPE,
    hash_bytes,
    read_length,
    read_tag,
    read_varint,
    skip,
)

__all__ = ["NumberPoint", "read_number"]

_NUMBER_ATTRIBUTES: Final = 7 << 3 | LENGTH
_NUMBER_FLAGS: Final = 8 << 3 | VARINT

_LATEST: Final = np.uint64(2**63 - 1)


class NumberPoint(NamedTuple):
    """A data point of a gauge or sum; ``skipped`` is the counter of the reason, or 0."""

    skipped: int
    raw: Word
    ts: int
    start: int
    value: float


@compiled
def read_number(at: int, end: int, of_metric: Word) -> tuple[NumberPoint, int]:
    """Read a NumberDataPoint; return it, and 0 or the reason why it is none.

    ``of_metric`` is the hash of the metric.
    """
    mixed = of_metric
    ts: Word = np.uint64(0)
    start: Word = np.uint64(0)
    value = np.nan
    flags = has_value = failed = 0
    while at < end:
        tag, at = read_tag(at, end)
        if at < 0:
            failed = at
            break
        number = tag >> 3
        if tag == _NUMBER_ATTRIBUTES:
            attribute, at = read_length(at, end)
            if at >= 0:
                mixed = fold(mixed ^ hash_bytes(attribute, at, of_metric), MIX)
        elif tag & 7 == FIXED64 and (2 <= number <= 4 or number == 6):
            if end - at < 8:
                failed = CUT_OFF
                break
            word = word_at(at)
            if number == 3:
                ts = word
            elif number == 2:
                start = word
            else:
                has_value = 1
                value = double_at(at) if number == 4 else float(signed(word))
            at += 8
        elif tag == _NUMBER_FLAGS:
            word, at = read_varint(at, end)
            flags = signed(word & np.uint64(NO_RECORDED_VALUE))
        elif 2 <= number <= 8 and number != 5:
            at = WRONG_TYPE
        else:
            at = skip(tag, at, end)
        if at < 0:
            failed = at
            break

    skipped = 0
    if failed:
        pass
    elif flags:
        skipped = STALE
    elif not has_value:
        skipped = NO_VALUE
    elif not np.isfinite(value):
        skipped = NOT_FINITE
    elif ts == np.uint64(0):
        skipped = NO_TIME
    # Past 2262 an int64 would turn negative; such a time is refused as future all the same.
    times = signed(min(ts, _LATEST)), signed(min(start, _LATEST))
    return NumberPoint(skipped, mixed, times[0], times[1], value), failed
