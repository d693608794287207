"""Reading what a metric says of all its points, and the headers of the levels above it."""

# ruff: noqa: PLR1714 -- a parser is a list of fields and errors

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from operators.columns.compiling import signed
from operators.columns.scanning import Word, compiled, fold
from operators.columns.utf8 import first_not_utf8
from operators.decoders.otlp.kinds import (
    GAUGE_TYPE,
    SUM_TYPE,
    SUMMARY_TYPE,
    identify,
    kind_of,
    only_rises,
)
from operators.decoders.otlp.levels import FIRST, MIX, SECOND, is_data
from operators.decoders.protobuf.reading import (
    LENGTH,
    NOT_UTF8,
    VARINT,
    WRONG_TYPE,
    hash_bytes,
    read_length,
    read_tag,
    read_varint,
    skip,
)

__all__ = ["MetricHeader", "find_header", "read_metric"]


class MetricHeader(NamedTuple):
    """What a metric says of all its points; addresses of texts, 0 where there is none."""

    name: int
    name_end: int
    unit: int
    unit_end: int
    kind: int
    hash: Word
    rises: bool  # its points are changes of what only rises
    of_type: int
    turns: int  # 1, unless the oneof holds one thing and then another


@compiled
def find_header(at: int, end: int) -> tuple[int, int, int]:
    """Return where the last field 1 begins and ends (0 and 0 without), and a reason or 0.

    Both ResourceMetrics and ScopeMetrics have a header as field 1 and their children as field 2.
    """
    first = first_end = 0
    while at < end:
        tag, at = read_tag(at, end)
        if at < 0:
            return 0, 0, at
        if tag == FIRST:
            first, at = read_length(at, end)
            first_end = at
        elif tag >> 3 <= 2 and tag != SECOND:
            return 0, 0, WRONG_TYPE
        else:
            at = skip(tag, at, end)
        if at < 0:
            return 0, 0, at
    return first, first_end, 0


@compiled
def read_metric(at: int, end: int, mixed: Word) -> tuple[MetricHeader, int]:
    """Read the header of a metric; return it, and 0 or the reason why it is none.

    ``mixed`` is the hash of resource and scope.
    """
    name = name_end = unit = unit_end = at
    of_type = temporality = monotonic = turns = failed = 0
    while at < end and not failed:
        tag, at = read_tag(at, end)
        if at < 0:
            failed = at
            break
        number = tag >> 3
        known = is_data(number << 3 | LENGTH) or number == 1 or number == 3
        if known and tag & 7 != LENGTH:
            failed = WRONG_TYPE
            break
        if not known:
            at = skip(tag, at, end)
            failed = min(at, 0)
            continue
        start, at = read_length(at, end)
        if at < 0:
            failed = at
        elif number == 1 or number == 3:
            if first_not_utf8(start, at) >= 0:
                failed = NOT_UTF8
            if number == 1:
                name, name_end = start, at
            else:
                unit, unit_end = start, at
        else:
            if number != of_type:
                of_type, temporality, monotonic = number, 0, 0
                turns += 1
            temporality, monotonic, failed = _header(start, at, of_type, temporality, monotonic)
    mixed = hash_bytes(name, name_end, mixed)
    mixed = hash_bytes(unit, unit_end, mixed)
    mixed = fold(mixed ^ np.uint64(identify(of_type, temporality, monotonic)), MIX)
    kind = kind_of(of_type, temporality, monotonic)
    rises = only_rises(of_type, temporality, monotonic)
    return MetricHeader(name, name_end, unit, unit_end, kind, mixed, rises, of_type, turns), failed


@compiled
def _header(
    at: int, end: int, of_type: int, temporality: int, monotonic: int
) -> tuple[int, int, int]:
    """Read what a sum or histogram says of all its points; the third number is a reason or 0."""
    while at < end:
        tag, at = read_tag(at, end)
        if at < 0:
            return 0, 0, at
        number = tag >> 3
        if number == 1 and tag & 7 != LENGTH:
            return 0, 0, WRONG_TYPE
        tells = (number == 2 and of_type != GAUGE_TYPE and of_type != SUMMARY_TYPE) or (
            number == 3 and of_type == SUM_TYPE
        )
        if tells:
            if tag & 7 != VARINT:
                return 0, 0, WRONG_TYPE
            value, at = read_varint(at, end)
            if number == 2:
                temporality = signed(value & np.uint64(0xFFFFFFFF))
            else:
                monotonic = 1 if value else 0
        else:
            at = skip(tag, at, end)
        if at < 0:
            return 0, 0, at
    return temporality, monotonic, 0
