"""Reading a data point of a histogram or summary into a DISTRIBUTION record."""

# ruff: noqa: PLR0911, PLR0912, PLR0915, PLR1714 -- a parser is a list of fields and errors

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from operators.decoders.otlp_distributions import EXPLICIT, EXPONENTIAL, QUANTILES
from operators.decoders.otlp_kinds import (
    EXPONENTIAL_HISTOGRAM_TYPE,
    HISTOGRAM_TYPE,
    SUMMARY_TYPE,
)
from operators.decoders.otlp_levels import (
    COUNTS,
    DISTRIBUTIONS,
    METRICS,
    MIX,
    NUMBERS,
    Columns,
    next_field,
)
from operators.decoders.protobuf import (
    CUT_OFF,
    FIXED64,
    LENGTH,
    VARINT,
    WRONG_TYPE,
    double_at,
    hash_bytes,
    read_length,
    read_tag,
    read_varint,
    skip,
    word_at,
    zigzag,
)
from operators.decoders.scanning import Word, compiled, fold

__all__ = ["scan_distribution"]


@compiled
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

    Times, count and sum have the same numbers in all three messages, the others do not.
    """
    explicit, exponential = of_type == HISTOGRAM_TYPE, of_type == EXPONENTIAL_HISTOGRAM_TYPE
    attributes = 9 if explicit else 1 if exponential else 7
    minimum = 11 if explicit else 12 if exponential else 0
    point = columns.distributions[used[DISTRIBUTIONS]]
    point.shape = EXPLICIT if explicit else EXPONENTIAL if exponential else QUANTILES
    point.flags = 0
    point.ts = point.start = point.count = point.zero_count = np.uint64(0)
    point.min = point.max = np.nan
    point.sum = 0.0 if of_type == SUMMARY_TYPE else np.nan  # a summary's is not optional
    point.positive, point.numbers = used[COUNTS], used[NUMBERS]
    point.scale = point.positive_offset = point.negative_offset = 0
    point.zero_threshold = 0.0
    mixed = of_metric
    at = begin
    while at < end:
        tag, at = read_tag(at, end)
        if at < 0:
            return at
        number = tag >> 3
        if number == attributes:
            if tag & 7 != LENGTH:
                return WRONG_TYPE
            attribute, at = read_length(at, end)
            if at < 0:
                return at
            mixed = fold(mixed ^ hash_bytes(attribute, at, of_metric), MIX)
        elif (
            2 <= number <= 5
            or (minimum and (number == minimum or number == minimum + 1))
            or (exponential and (number == 7 or number == 14))
        ):
            if tag & 7 != FIXED64:
                return WRONG_TYPE
            if end - at < 8:
                return CUT_OFF
            if number == 2:
                point.start = word_at(at)
            elif number == 3:
                point.ts = word_at(at)
            elif number == 4:
                point.count = word_at(at)
            elif number == 5:
                point.sum = double_at(at)
            elif number == 7:
                point.zero_count = word_at(at)
            elif number == 14:
                point.zero_threshold = double_at(at)
            elif number == minimum:
                point.min = double_at(at)
            else:
                point.max = double_at(at)
            at += 8
        elif number == (8 if of_type == SUMMARY_TYPE else 10) or (exponential and number == 6):
            if tag & 7 != VARINT:
                return WRONG_TYPE
            word, at = read_varint(at, end)
            if at < 0:
                return at
            if number == 6:
                point.scale = zigzag(word)
            else:
                point.flags = word & np.uint64(0xFFFFFFFF)
        elif explicit and (number == 6 or number == 7):
            at = _doubles_or_counts(tag, at, end, columns, used)
            if at < 0:
                return at
        elif number == 6:  # of a summary
            if tag & 7 != LENGTH:
                return WRONG_TYPE
            quantile, at = read_length(at, end)
            if at < 0:
                return at
            failed = _quantile(quantile, at, columns, used)
            if failed:
                return failed
        elif exponential and (number == 8 or number == 9):
            if tag & 7 != LENGTH:
                return WRONG_TYPE
            at = read_length(at, end)[1]
            if at < 0:
                return at
        else:
            at = skip(tag, at, end)
            if at < 0:
                return at
    if exponential:
        point.positive_offset, failed = _buckets(begin, end, 8, columns, used)
        point.positive_end = point.negative = used[COUNTS]
        if not failed:
            point.negative_offset, failed = _buckets(begin, end, 9, columns, used)
        if failed:
            return failed
    else:
        point.positive_end = point.negative = used[COUNTS]
    point.negative_end, point.numbers_end = used[COUNTS], used[NUMBERS]
    point.raw = mixed
    point.metric = used[METRICS] - 1
    used[DISTRIBUTIONS] += 1
    return 0


@compiled
def _doubles_or_counts(
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


@compiled
def _quantile(at: int, end: int, columns: Columns, used: NDArray[np.int64]) -> int:
    """Read a ValueAtQuantile; return 0, or the reason why it is none."""
    quantile = value = 0.0
    while at < end:
        tag, at = read_tag(at, end)
        if at < 0:
            return at
        if tag >> 3 <= 2:
            if tag & 7 != FIXED64:
                return WRONG_TYPE
            if end - at < 8:
                return CUT_OFF
            if tag >> 3 == 1:
                quantile = double_at(at)
            else:
                value = double_at(at)
            at += 8
        else:
            at = skip(tag, at, end)
            if at < 0:
                return at
    row = used[NUMBERS]
    columns.numbers[row], columns.numbers[row + 1] = quantile, value
    used[NUMBERS] += 2
    return 0


@compiled
def _buckets(
    at: int,
    end: int,
    side: int,
    columns: Columns,
    used: NDArray[np.int64],
) -> tuple[int, int]:
    """Read the Buckets in field ``side``; return their offset, and 0 or a reason."""
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
