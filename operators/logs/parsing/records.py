"""Parsing: what a body says of itself becomes the fields of its record, by what kind of body it is.

A body is looked at for what it is, not for what a setting says: a JSON object, a line of a web
server or of syslog, ``key=value`` pairs, or a line with a head. What a record has already (an OTLP
record has a time and a severity) stays; the body only fills what is missing.

The severity is that of the record's number, else of its text, else of a key of the body, else of the
head of the line. No word of the message is ever taken for one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.columns.text_column import TextColumn, text_column, text_column_of
from operators.logs.parsing.bodies import (
    parse_access,
    parse_container,
    parse_heads,
    parse_objects,
    parse_pairs,
    parse_syslog,
)
from operators.logs.parsing.body_signs import (
    ACCESS,
    COLOURS,
    CONTAINER,
    SYSLOG,
    TRACE_ID,
)
from operators.logs.parsing.keyed_fields import find_stacks
from operators.logs.parsing.lines import (
    is_container_line,
)
from operators.logs.parsing.marks import CUT
from operators.logs.parsing.record_columns import RecordColumns, columns_of
from operators.logs.parsing.severities import NAMES, severities_of

__all__ = ["LONGEST", "parse", "unwrap"]

LONGEST: Final = 256 << 10
"""Bytes of a body; what is longer is cut and marked."""

_COLOURS: Final = r"\x1b\[[0-9;?]*[ -/]*[@-~]"
_TRACE_ID: Final = r"(?i)trace[_. -]?id[\"']?\s*[=:]\s*[\"']?([0-9a-f]{32})\b"
_NAMES_TRACE: Final = r"(?i:trace).?(?i:id)"
_SPAN_ID: Final = r"(?i)span[_. -]?id[\"']?\s*[=:]\s*[\"']?([0-9a-f]{16})\b"
_NAMED: Final = text_column_of(
    [NAMES[max(n for n in NAMES if n <= number)] for number in range(25)]
)
"""By severity."""
_INNER: Final = 2  # a message within JSON may be JSON itself: a shipper wraps what a program writes
_ParseRows = Callable[[RecordColumns, NDArray[np.intp], str], NDArray[np.intp]]
"""Parses rows, and returns those of them to look at further."""


def parse(records: pl.DataFrame, zone: str = "UTC") -> pl.DataFrame:
    """Fill the fields of records from their bodies.

    Args:
        records: a LOG_RECORDS frame, in which ``ts`` 0, ``severity`` 0 and empty texts are what is
            not known; ``observed`` is known always.
        zone: of times that say none.

    Returns:
        A LOG_RECORDS frame with the same rows. Where a time is not known it is that of observation.
    """
    if not records.height:
        return records
    columns = columns_of(records)
    every = np.arange(records.height)
    columns.look(every)
    _take_colours(columns)
    _cut(columns)
    find_stacks(columns)
    columns.set_severity(every, severities_of(records["severity_text"]))
    rest = again = every
    for _ in range(_INNER):
        columns.changed[again] = False
        further = parse_objects(columns, again, zone)
        further = _parse_part(columns, further, *_CONTAINERS, zone)
        syslog = (columns.signs[further] & SYSLOG) != 0
        further = _parse_these(columns, further, syslog, parse_syslog, zone)
        rest = _without(rest, _without(again, further, records.height), records.height)
        # What is as it was would be found to be the same once more.
        again = further[columns.changed[further]]
        if not len(again):
            break
    access = (columns.signs[rest] & ACCESS) != 0
    rest = _parse_these(columns, rest, access, parse_access, zone)
    rest = parse_pairs(columns, rest, zone)
    parse_heads(columns, rest, zone)
    _find_ids(columns)
    buffer, starts, ends = _NAMED
    numbers = np.where(columns.severity > 24, 0, columns.severity)  # beyond it there is none
    named = TextColumn(buffer, starts[numbers], ends[numbers])
    columns.set_missing_text("severity_text", every, named)
    columns.ts = np.where(columns.ts == 0, columns.came, columns.ts)
    return columns.put_into(records)


def unwrap(records: pl.DataFrame, zone: str = "UTC") -> pl.DataFrame:
    """Take lines out of what a shipper or a container's runtime put them in, and parse no further.

    Args:
        records: as ``parse`` takes them.
        zone: of times that say none.

    Returns:
        A frame with the same rows, for ``parse``.
    """
    columns = columns_of(records)
    every = np.arange(records.height)
    columns.beginnings = True
    columns.look(every)
    rest = parse_objects(columns, every, zone)
    _parse_part(columns, rest, *_CONTAINERS, zone)
    return columns.put_into(records)


def _parse_part(
    columns: RecordColumns,
    rows: NDArray[np.intp],
    sign: int,
    which: Callable[[pl.Expr], pl.Expr],
    parse_rows: _ParseRows,
    zone: str,
) -> NDArray[np.intp]:
    chosen = columns.matching(rows, sign, which(pl.col("body")))
    return _parse_these(columns, rows, chosen, parse_rows, zone)


def _parse_these(
    columns: RecordColumns,
    rows: NDArray[np.intp],
    chosen: NDArray[np.bool_],
    parse_rows: _ParseRows,
    zone: str,
) -> NDArray[np.intp]:
    if not chosen.any():
        return rows
    left = np.zeros(len(columns.ts), np.bool_)
    left[rows[~chosen]] = True
    left[parse_rows(columns, rows[chosen], zone)] = True
    return np.flatnonzero(left)


def _without(rows: NDArray[np.intp], others: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Return the rows, of so many, that are not among the others."""
    if not len(others):
        return rows
    left = np.ones(count, np.bool_)
    left[others] = False
    return rows[left[rows]]


def _take_colours(columns: RecordColumns) -> None:
    rows = np.flatnonzero(columns.signs & COLOURS)
    if len(rows):
        plain = columns.series("body", rows).str.replace_all(_COLOURS, "")
        columns.set_body(rows, text_column(plain))


def _cut(columns: RecordColumns) -> None:
    _, starts, ends = columns.body.all()
    rows = np.flatnonzero(ends - starts > LONGEST)
    if len(rows):
        columns.marks[rows] |= np.uint8(CUT)
        # A character has up to four bytes: so many are never more than the limit.
        cut = columns.series("body", rows).str.head(LONGEST // 4)
        columns.set_body(rows, text_column(cut))


def _find_ids(columns: RecordColumns) -> None:
    """Find the trace that a text names, where nothing else does."""
    # The signs are those of bodies with their heads, which have all that is without them.
    rows = np.flatnonzero(columns.signs & TRACE_ID)
    if not len(rows):
        return
    rows = rows[columns.texts["trace_id"].absent(rows)]
    rows = rows[columns.matching(rows, TRACE_ID, pl.col("body").str.contains(_NAMES_TRACE))]
    if not len(rows):
        return
    bodies = columns.series("body", rows)
    traces = bodies.str.extract(_TRACE_ID).str.to_lowercase().str.replace("^0+$", "")
    spans = bodies.str.extract(_SPAN_ID).str.to_lowercase()
    columns.set_missing_text("trace_id", rows, text_column(traces))
    columns.set_missing_text("span_id", rows, text_column(spans))


_CONTAINERS: Final = (CONTAINER, is_container_line, parse_container)
