"""A body becomes the fields of its record: a function for each kind of body.

Each parses rows whose bodies may be of its kind, and returns those of them to look at further.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.columns.text_column import TextColumn, text_column, text_column_of
from operators.decoders.json.flattening import flatten
from operators.logs.parsing.access_lines import scan_access_lines
from operators.logs.parsing.body_signs import (
    ACCESS,
    OBJECT,
    PAIRS,
)
from operators.logs.parsing.heads import heads_of
from operators.logs.parsing.joined_objects import differing
from operators.logs.parsing.keyed_fields import fill, severities_of_priority
from operators.logs.parsing.lines import (
    access_fields,
    container_fields,
    is_access_line,
    syslog_fields,
)
from operators.logs.parsing.logfmt import pairs_of
from operators.logs.parsing.marks import MALFORMED
from operators.logs.parsing.record_columns import RecordColumns
from operators.logs.parsing.syslog_lines import scan_syslog_lines
from operators.logs.parsing.timestamps import NONE

__all__ = [
    "parse_access",
    "parse_container",
    "parse_heads",
    "parse_objects",
    "parse_pairs",
    "parse_syslog",
]

_FIRST_PAIR: Final = r"^\s*[A-Za-z_@][\w.@/-]*="
_SYSLOG: Final = text_column_of(
    ["emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug", ""]
)
"""By the severity of syslog; the last one is of none."""


def parse_objects(columns: RecordColumns, rows: NDArray[np.intp], zone: str) -> NDArray[np.intp]:
    """Parse the bodies that are JSON objects; return the rows to look at further."""
    maybe = columns.beginning(rows, OBJECT, r"^\s*\{")
    if not maybe.any():
        return rows
    chosen = rows[maybe]
    before = columns.body.at(chosen)
    broken = fill(columns, chosen, flatten(*before), zone)
    if len(broken):
        # Who began with a key meant to write an object.
        meant = columns.series("body", broken).str.contains(r'^\s*\{\s*"').to_numpy()
        columns.marks[broken[meant]] |= np.uint8(MALFORMED)
    # What has a message now is looked at once more; an object without one stays as it is.
    further = ~maybe
    further[maybe] = differing(columns.body.at(chosen), before)
    result: NDArray[np.intp] = rows[further]
    return result


def parse_container(columns: RecordColumns, rows: NDArray[np.intp], zone: str) -> NDArray[np.intp]:
    """Take lines out of what a container's runtime put them in; all rows are such lines."""
    fields = container_fields(columns.series("body", rows))
    written = np.ones(len(rows), np.bool_)
    columns.set_written_time(rows, text_column(fields["time"]), zone, written)
    columns.add_attributes(rows, text_column(fields["attributes"]))
    columns.set_body(rows, text_column(fields["message"]))
    return rows


def parse_syslog(columns: RecordColumns, rows: NDArray[np.intp], zone: str) -> NDArray[np.intp]:
    """Parse lines of syslog, RFC 5424 or RFC 3164; their messages are to be looked at further."""
    scanned = scan_syslog_lines(columns.body.at(rows))
    plain = scanned.priority >= 0
    if plain.any():
        _put_syslog(
            columns, rows[plain], scanned.priority[plain].astype(np.int64), scanned.app.of(plain),
            scanned.attributes.of(plain), scanned.times.of(plain), zone,
        )  # fmt: skip
        _, starts, ends = scanned.message.of(plain)
        columns.body.cut(rows[plain], starts, ends)
        columns.look(rows[plain])
        columns.changed[rows[plain]] = True
    others = rows[~plain]
    if len(others):
        fields = syslog_fields(columns.series("body", others))
        priority = fields["priority"].cast(pl.Int64).fill_null(-1).to_numpy()
        _put_syslog(
            columns, others, priority, text_column(fields["app"]), text_column(fields["attributes"]),
            text_column(fields["time"]), zone,
        )  # fmt: skip
        columns.set_body(others, text_column(fields["message"]))
    return rows


def _put_syslog(
    columns: RecordColumns, rows: NDArray[np.intp], priority: NDArray[np.int64], app: TextColumn,
    attributes: TextColumn, times: TextColumn, zone: str,
) -> None:  # fmt: skip
    columns.set_severity(rows, severities_of_priority(priority))
    buffer, starts, ends = _SYSLOG
    numbers = np.where(priority < 0, 8, priority & 7)
    words = TextColumn(buffer, starts[numbers], ends[numbers])
    columns.set_missing_text("severity_text", rows, words)
    columns.set_written_time(rows, times, zone, times.ends > times.starts)
    columns.set_missing_text("service", rows, app)
    columns.add_attributes(rows, attributes)


def parse_access(columns: RecordColumns, rows: NDArray[np.intp], zone: str) -> NDArray[np.intp]:
    """Parse lines of web servers; return the rows that are none."""
    scanned = scan_access_lines(columns.body.at(rows))
    plain = scanned.status >= 0
    _put_access(
        columns, rows[plain], scanned.status[plain], scanned.times.of(plain),
        scanned.attributes.of(plain), zone,
    )  # fmt: skip
    others = rows[~plain]
    if not len(others):
        return others
    good = columns.matching(others, ACCESS, is_access_line(pl.col("body")))
    rest, others = others[~good], others[good]
    if not len(others):
        return rest
    fields = access_fields(columns.series("body", others))
    good = fields["status"].is_not_null().to_numpy()
    fields, chosen = fields.filter(good), others[good]
    _put_access(
        columns, chosen, fields["status"].to_numpy(), text_column(fields["time"]),
        text_column(fields["attributes"]), zone,
    )  # fmt: skip
    return np.concatenate([rest, others[~good]])


def _put_access(
    columns: RecordColumns, rows: NDArray[np.intp], status: NDArray[np.int32], times: TextColumn,
    attributes: TextColumn, zone: str,
) -> None:  # fmt: skip
    severity = np.where(status >= 500, 17, np.where(status >= 400, 13, 9)).astype(np.uint8)
    columns.set_severity(rows, severity)
    columns.set_written_time(rows, times, zone, np.ones(len(rows), np.bool_))
    columns.add_attributes(rows, attributes)


def parse_pairs(columns: RecordColumns, rows: NDArray[np.intp], zone: str) -> NDArray[np.intp]:
    """Parse lines of ``key=value`` pairs; return the rows that are none."""
    maybe = columns.beginning(rows, PAIRS, _FIRST_PAIR)
    if not maybe.any():
        return rows
    chosen = rows[maybe]
    broken = fill(columns, chosen, pairs_of(*columns.body.at(chosen)), zone)
    return np.sort(np.concatenate([rows[~maybe], broken]))


def parse_heads(columns: RecordColumns, rows: NDArray[np.intp], zone: str) -> None:
    """Take the time and the severity that lines begin with, and cut them off."""
    if not len(rows):
        return
    column = columns.body.at(rows)
    heads = heads_of(*column)
    columns.set_severity(rows, heads.severity)
    columns.set_time(rows, heads.times, zone, heads.times.lacks != NONE)
    cut = np.flatnonzero(heads.message > column.starts)
    columns.body.cut(rows[cut], heads.message[cut], column.ends[cut])
