"""Reading a data point of a histogram or summary into a DISTRIBUTION record."""

# ruff: noqa: PLR0912, PLR1714 -- a parser is a list of fields and errors

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import Word, float_of_bits, fold, uncounted
from operators.columns.memory import double_at, word_at
from operators.decoders.otlp.distributions import EXPLICIT, EXPONENTIAL, QUANTILES
from operators.decoders.otlp.kinds import EXPONENTIAL_HISTOGRAM_TYPE, HISTOGRAM_TYPE
from operators.decoders.otlp.levels import (
    COUNTS,
    DISTRIBUTIONS,
    METRICS,
    MIX,
    NUMBERS,
    Columns,
    next_field,
)
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
    zigzag,
)

__all__ = ["scan_distribution"]


@uncounted
def scan_distribution(
    begin: int,
    end: int,
    of_type: int,
    of_metric: Word,
    columns: Columns,
    used: NDArray[np.int64],
) -> int:
    """Scan a data point of a histogram or summary; return 0, or the reason why it is none.

    ``of_metric`` is the hash of the metric.
    """
    point = columns.distributions[used[DISTRIBUTIONS]]
    _clear(point)
    point.raw = of_metric
    point.metric = used[METRICS] - 1
    point.positive, point.numbers = used[COUNTS], used[NUMBERS]
    if of_type == HISTOGRAM_TYPE:
        point.shape = EXPLICIT
        failed = _histogram(begin, end, of_metric, point, columns, used)
    elif of_type == EXPONENTIAL_HISTOGRAM_TYPE:
        point.shape = EXPONENTIAL
        failed = _exponential_histogram(begin, end, of_metric, point)
        if not failed:
            point.positive_offset, failed = _buckets(begin, end, 8, columns, used)
    else:
        point.shape = QUANTILES
        point.sum = 0.0  # which is not optional here
        failed = _summary(begin, end, of_metric, point, columns, used)
    point.positive_end = point.negative = used[COUNTS]
    if point.shape == EXPONENTIAL and not failed:
        point.negative_offset, failed = _buckets(begin, end, 9, columns, used)
    point.negative_end, point.numbers_end = used[COUNTS], used[NUMBERS]
    if not failed:
        used[DISTRIBUTIONS] += 1
    return failed


@uncounted
def _clear(point: Any) -> None:
    """Set what a data point need not say to what it then means."""
    point.flags = 0
    point.ts = point.start = point.count = point.zero_count = np.uint64(0)
    point.sum = point.min = point.max = np.nan
    point.scale = point.positive_offset = point.negative_offset = 0
    point.zero_threshold = 0.0


@uncounted
def _histogram(
    at: int,
    end: int,
    of_metric: Word,
    point: Any,
    columns: Columns,
    used: NDArray[np.int64],
) -> int:
    """Read a HistogramDataPoint; return 0, or the reason why it is none."""
    while at < end:
        tag, at = read_tag(at, end)
        if at < 0:
            return at
        number = tag >> 3
        if 2 <= number <= 5:
            at = _stated(tag, at, end, point)
        elif number == 6 or number == 7:
            at = _counts_or_bounds(tag, at, end, columns, used)
        elif number == 9:
            at = _attribute(tag, at, end, of_metric, point)
        elif number == 10:
            at = _flags(tag, at, end, point)
        elif number == 11:
            point.min, at = _double(tag, at, end)
        elif number == 12:
            point.max, at = _double(tag, at, end)
        else:
            at = skip(tag, at, end)
        if at < 0:
            return at
    return 0


@uncounted
def _exponential_histogram(at: int, end: int, of_metric: Word, point: Any) -> int:
    """Read all of an ExponentialHistogramDataPoint but its buckets; return 0, or a reason.

    The fields of its buckets may come in any order, and those above zero are to be laid out first.
    """
    while at < end:
        tag, at = read_tag(at, end)
        if at < 0:
            return at
        number = tag >> 3
        if number == 1:
            at = _attribute(tag, at, end, of_metric, point)
        elif 2 <= number <= 5:
            at = _stated(tag, at, end, point)
        elif number == 6:
            scale, at = _integer(tag, at, end)
            point.scale = zigzag(scale)
        elif number == 7:
            point.zero_count, at = _word(tag, at, end)
        elif number == 8 or number == 9:
            at = read_length(at, end)[1] if tag & 7 == LENGTH else WRONG_TYPE
        elif number == 10:
            at = _flags(tag, at, end, point)
        elif number == 12:
            point.min, at = _double(tag, at, end)
        elif number == 13:
            point.max, at = _double(tag, at, end)
        elif number == 14:
            point.zero_threshold, at = _double(tag, at, end)
        else:
            at = skip(tag, at, end)
        if at < 0:
            return at
    return 0


@uncounted
def _summary(
    at: int,
    end: int,
    of_metric: Word,
    point: Any,
    columns: Columns,
    used: NDArray[np.int64],
) -> int:
    """Read a SummaryDataPoint; return 0, or the reason why it is none."""
    while at < end:
        tag, at = read_tag(at, end)
        if at < 0:
            return at
        number = tag >> 3
        if 2 <= number <= 5:
            at = _stated(tag, at, end, point)
        elif number == 6:
            at = _quantile(tag, at, end, columns, used)
        elif number == 7:
            at = _attribute(tag, at, end, of_metric, point)
        elif number == 8:
            at = _flags(tag, at, end, point)
        else:
            at = skip(tag, at, end)
        if at < 0:
            return at
    return 0


# What follows reads the content of one field whose tag is ``tag``, and returns the position behind
# it, or the negative reason why there is none.


@uncounted
def _word(tag: int, at: int, end: int) -> tuple[Word, int]:
    """Read eight bytes as ``uint64``."""
    if tag & 7 != FIXED64:
        return np.uint64(0), WRONG_TYPE
    if end - at < 8:
        return np.uint64(0), CUT_OFF
    return word_at(at), at + 8


@uncounted
def _double(tag: int, at: int, end: int) -> tuple[float, int]:
    word, at = _word(tag, at, end)
    return float_of_bits(word), at


@uncounted
def _integer(tag: int, at: int, end: int) -> tuple[Word, int]:
    if tag & 7 != VARINT:
        return np.uint64(0), WRONG_TYPE
    return read_varint(at, end)


@uncounted
def _flags(tag: int, at: int, end: int, point: Any) -> int:
    flags, at = _integer(tag, at, end)
    point.flags = flags & np.uint64(0xFFFFFFFF)
    return at


@uncounted
def _attribute(tag: int, at: int, end: int, of_metric: Word, point: Any) -> int:
    """Read an attribute: its hash becomes part of who the point is of."""
    if tag & 7 != LENGTH:
        return WRONG_TYPE
    attribute, at = read_length(at, end)
    if at >= 0:
        point.raw = fold(point.raw ^ hash_bytes(attribute, at, of_metric), MIX)
    return at


@uncounted
def _stated(tag: int, at: int, end: int, point: Any) -> int:
    """Read times, count and sum, which are fields 2 to 5 of all three messages."""
    word, at = _word(tag, at, end)
    number = tag >> 3
    if number == 2:
        point.start = word
    elif number == 3:
        point.ts = word
    elif number == 4:
        point.count = word
    else:
        point.sum = float_of_bits(word)
    return at


@uncounted
def _counts_or_bounds(
    tag: int,
    at: int,
    end: int,
    columns: Columns,
    used: NDArray[np.int64],
) -> int:
    """Read counts (field 6) or bounds (7) of an explicit histogram, packed or one alone."""
    if tag & 7 == LENGTH:
        at, stop = read_length(at, end)
        if at < 0:
            return at
        if (stop - at) % 8:
            return CUT_OFF
    elif tag & 7 == FIXED64:
        stop = at + 8
        if stop > end:
            return CUT_OFF
    else:
        return WRONG_TYPE
    while at < stop:
        if tag >> 3 == 6:
            columns.counts[used[COUNTS]] = word_at(at)
            used[COUNTS] += 1
        else:
            columns.numbers[used[NUMBERS]] = double_at(at)
            used[NUMBERS] += 1
        at += 8
    return at


@uncounted
def _quantile(tag: int, at: int, end: int, columns: Columns, used: NDArray[np.int64]) -> int:
    """Read a ValueAtQuantile."""
    if tag & 7 != LENGTH:
        return WRONG_TYPE
    at, stop = read_length(at, end)
    quantile = value = 0.0
    while 0 <= at < stop:
        tag, at = read_tag(at, stop)
        if at < 0:
            return at
        if tag >> 3 == 1:
            quantile, at = _double(tag, at, stop)
        elif tag >> 3 == 2:
            value, at = _double(tag, at, stop)
        else:
            at = skip(tag, at, stop)
    if at < 0:
        return at
    row = used[NUMBERS]
    columns.numbers[row], columns.numbers[row + 1] = quantile, value
    used[NUMBERS] += 2
    return at


@uncounted
def _buckets(
    at: int,
    end: int,
    side: int,
    columns: Columns,
    used: NDArray[np.int64],
) -> tuple[int, int]:
    """Read the Buckets in field ``side`` of a point; return their offset, and 0 or a reason."""
    offset = 0
    buckets, stop = next_field(at, end, side << 3 | LENGTH)
    while buckets >= 0:
        at = buckets
        while at < stop:
            tag, at = read_tag(at, stop)
            if at < 0:
                return 0, at
            if tag == (1 << 3 | VARINT):
                word, at = read_varint(at, stop)
                offset = zigzag(word)
            elif tag == (2 << 3 | VARINT) or tag == (2 << 3 | LENGTH):
                last = at
                if tag & 7 == LENGTH:
                    at, last = read_length(at, stop)
                # Alone, a count is the one integer that stands here.
                alone = tag & 7 == VARINT
                while at >= 0 and (at < last or alone):
                    word, at = read_varint(at, stop if alone else last)
                    if at >= 0:
                        columns.counts[used[COUNTS]] = word
                        used[COUNTS] += 1
                    alone = False
            elif tag >> 3 <= 2:
                return 0, WRONG_TYPE
            else:
                at = skip(tag, at, stop)
            if at < 0:
                return 0, at
        buckets, stop = next_field(stop, end, side << 3 | LENGTH)
    return offset, 0
