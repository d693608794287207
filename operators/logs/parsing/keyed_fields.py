"""What keys say of a record: members of an object, or pairs, become its time, severity and fields."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.columns.text_column import TextColumn, text_column, texts_at
from operators.decoders.json.flattening import CUT as FLATTENED_IN_PART
from operators.decoders.json.flattening import NOT_JSON, Members, flatten
from operators.decoders.text.lines import without_newline
from operators.logs.parsing.marks import CUT
from operators.logs.parsing.record_columns import RecordColumns
from operators.logs.parsing.roles import Fields, RoleTexts, fields_of
from operators.logs.parsing.severities import OF_SYSLOG, severities_of

__all__ = ["fill", "find_stacks", "severities_of_priority"]

_OF_STACKS: Final = ("stack", "exception_type", "exception_message")


def fill(
    columns: RecordColumns, rows: NDArray[np.intp], members: Members, zone: str
) -> NDArray[np.intp]:
    """Apply the members of the rows that have any; return the rows that have none."""
    good = members.status != NOT_JSON
    if good.any():
        fields = fields_of(members)
        if not good.all():
            fields = fields.at(np.flatnonzero(good))
        _apply_fields(columns, rows[good], fields, zone)
        columns.marks[rows[members.status == FLATTENED_IN_PART]] |= np.uint8(CUT)
    rest: NDArray[np.intp] = rows[~good]
    return rest


def _apply_fields(
    columns: RecordColumns, rows: NDArray[np.intp], fields: Fields, zone: str
) -> None:
    """Fill the columns at ``rows`` from what keys say."""
    # Most roles have no key in a poll: what would be done with them costs as much as with others.
    roles = fields.roles
    if "number" in roles:
        numbers = roles["number"].series().cast(pl.UInt8, strict=False).fill_null(0).to_numpy()
        columns.set_severity(rows, np.where(numbers <= 24, numbers, 0).astype(np.uint8))
    if "severity" in roles:
        words = roles["severity"].texts
        columns.set_severity(rows, severities_of(texts_at(*words)))
    if "priority" in roles:
        priority = roles["priority"].series().cast(pl.Int64, strict=False)
        columns.set_severity(rows, severities_of_priority(priority.fill_null(-1).to_numpy()))
    if "severity" in roles:
        columns.set_missing_text("severity_text", rows, words)
    if "time" in roles:
        texts, written = roles["time"]
        columns.set_written_time(rows, texts, zone, written)
    for role, name in (("trace", "trace_id"), ("span", "span_id")):
        if role not in roles:
            continue
        size = 32 if role == "trace" else 16
        ids = roles[role].series().str.to_lowercase().str.replace_all("-", "", literal=True)
        valid = ids.str.contains(rf"^[0-9a-f]{{{size}}}$") & ~ids.str.contains("^0+$")
        ids = ids.set(~valid.fill_null(False), "")
        columns.set_missing_text(name, rows, text_column(ids))
    if "service" in roles:
        columns.set_missing_text("service", rows, roles["service"].texts)
    if not roles.keys().isdisjoint(_OF_STACKS):
        columns.set_missing_text("stack", rows, text_column(_stack(roles)))
    if "body" in roles:
        (buffer, starts, ends), there = roles["body"]
        starts, ends = starts[there], ends[there]
        ends = without_newline(buffer, starts, ends)
        columns.set_body(rows[there], TextColumn(buffer, starts, ends))
    # A body that is an object without a message is parsed when it is taken out of what it came in,
    # and once more after that.
    columns.add_attributes(rows, fields.attributes, once=True)


def _stack(roles: dict[str, RoleTexts]) -> pl.Series:
    size = next(len(each.there) for each in roles.values())
    nothing = pl.Series([""]).new_from_index(0, size)
    stack, kind, text = (
        texts_at(*roles[name].texts) if name in roles else nothing for name in _OF_STACKS
    )
    named = pl.select(
        pl.when(kind == "")
        .then(pl.lit(""))
        .when(text == "")
        .then(kind)
        .otherwise(kind + ": " + text)
    ).to_series()
    # Arrays and objects of frames are no text of a trace.
    return pl.select(
        pl.when((stack == "") | stack.str.contains(r"^[\[{]")).then(named).otherwise(stack)
    ).to_series()


def severities_of_priority(numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the severities of priorities of syslog, 0 of those below 0, which are not known."""
    known = np.array([*OF_SYSLOG, 0], np.uint8)
    return known[np.where(numbers < 0, 8, numbers & 7)]


def find_stacks(columns: RecordColumns) -> None:
    """Find the exceptions that attributes tell of, as the SDKs of OpenTelemetry write them."""
    attributes = columns.texts["attributes"]
    rows = np.flatnonzero(attributes.series().str.contains('"exception.', literal=True).to_numpy())
    if len(rows):
        fields = fields_of(flatten(*attributes.at(rows)))
        if not fields.roles.keys().isdisjoint(_OF_STACKS):
            columns.set_missing_text("stack", rows, text_column(_stack(fields.roles)))
