"""Parsing: what a body says of itself becomes the fields of its record, by what kind of body it is.

A body is looked at for what it is, not for what a setting says: a JSON object, a line of a web
server or of syslog, ``key=value`` pairs, or a line with a head. What a record has already (an OTLP
record has a time and a severity) stays; the body only fills what is missing.

The severity is that of the record's number, else of its text, else of a key of the body, else of the
head of the line. No word of the message is ever taken for one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.columns.changing_texts import ChangingTexts
from operators.columns.replacing import replaced
from operators.columns.text_column import TextColumn, text_column, texts_at
from operators.decoders.json.flattening import CUT as FLATTENED_IN_PART
from operators.decoders.json.flattening import NOT_JSON, Members, flatten
from operators.decoders.text.lines import without_newline
from operators.logs.parsing.access_lines import scan_access_lines
from operators.logs.parsing.body_signs import (
    ACCESS,
    COLOURS,
    CONTAINER,
    OBJECT,
    PAIRS,
    SYSLOG,
    TRACE_ID,
    UNSURE,
    signs_at,
)
from operators.logs.parsing.heads import heads_of
from operators.logs.parsing.joined_objects import differing, joined_objects
from operators.logs.parsing.lines import (
    access_fields,
    container_fields,
    is_access_line,
    is_container_line,
    syslog_fields,
)
from operators.logs.parsing.logfmt import pairs_of
from operators.logs.parsing.marks import CUT, MALFORMED, NO_TIME
from operators.logs.parsing.roles import Fields, RoleTexts, fields_of
from operators.logs.parsing.severities import NAMES, OF_SYSLOG, severities_of
from operators.logs.parsing.syslog_lines import scan_syslog_lines
from operators.logs.parsing.timestamps import NONE, WrittenTimes, complete, times_of

__all__ = ["LONGEST", "parse", "unwrap"]

LONGEST: Final = 256 << 10
"""Bytes of a body; what is longer is cut and marked."""

_COLOURS: Final = r"\x1b\[[0-9;?]*[ -/]*[@-~]"
_TRACE_ID: Final = r"(?i)trace[_. -]?id[\"']?\s*[=:]\s*[\"']?([0-9a-f]{32})\b"
_NAMES_TRACE: Final = r"(?i:trace).?(?i:id)"
_FIRST_PAIR: Final = r"^\s*[A-Za-z_@][\w.@/-]*="
_SPAN_ID: Final = r"(?i)span[_. -]?id[\"']?\s*[=:]\s*[\"']?([0-9a-f]{16})\b"
_NAMED: Final = text_column(
    pl.Series([NAMES[max(n for n in NAMES if n <= number)] for number in range(25)])
)
"""By severity."""
_SYSLOG: Final = text_column(
    pl.Series(
        [
            "emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug", "",
        ]
    )
)  # fmt: skip
"""By the severity of syslog; the last one is of none."""
_OF_STACKS: Final = ("stack", "exception_type", "exception_message")
_INNER: Final = 2  # a message within JSON may be JSON itself: a shipper wraps what a program writes


@dataclass(slots=True)
class _Columns:
    """The columns of a frame that parsing fills, as arrays that are written to."""

    ts: NDArray[np.int64]
    severity: NDArray[np.uint8]
    marks: NDArray[np.uint8]
    came: NDArray[np.int64]
    texts: dict[str, ChangingTexts]
    changed: NDArray[np.bool_]
    """Which bodies are others since this was looked at."""
    signs: NDArray[np.uint8]
    """Of the bodies, see ``operators.logs.parsing.body_signs``."""
    beginnings: bool
    """Those of how they begin alone."""

    @property
    def body(self) -> ChangingTexts:
        """The bodies."""
        return self.texts["body"]

    def series(self, name: str, rows: NDArray[np.intp]) -> pl.Series:
        """Return texts of some rows as a column of Polars."""
        return texts_at(*self.texts[name].at(rows))

    def look(self, rows: NDArray[np.intp]) -> None:
        """Look at bodies for their signs."""
        self.signs[rows] = signs_at(*self.body.at(rows), self.beginnings)

    def set_body(self, rows: NDArray[np.intp], values: TextColumn) -> None:
        """Put other bodies in."""
        self.body.put(rows, values)
        self.signs[rows] = signs_at(*values, self.beginnings)
        self.changed[rows] = True

    def beginning(self, rows: NDArray[np.intp], sign: int, expression: str) -> NDArray[np.bool_]:
        """Return which of the rows have a body that begins so, as an expression has it."""
        signs = self.signs[rows]
        found: NDArray[np.bool_] = (signs & sign) != 0
        at = np.flatnonzero(found & ((signs & UNSURE) != 0))
        if len(at):
            found[at] = self.series("body", rows[at]).str.contains(expression).to_numpy()
        return found

    def matching(self, rows: NDArray[np.intp], sign: int, which: pl.Expr) -> NDArray[np.bool_]:
        """Return which of the rows have a body of which an expression of ``body`` is true.

        Those without the sign have none.
        """
        found: NDArray[np.bool_] = (self.signs[rows] & sign) != 0
        at = np.flatnonzero(found)
        if len(at):
            bodies = self.series("body", rows[at]).alias("body").to_frame()
            found[at] = bodies.select(which).to_series().to_numpy()
        return found

    def set_text(self, name: str, rows: NDArray[np.intp], values: TextColumn) -> None:
        """Put texts in where there are any."""
        there = values.ends > values.starts
        if not there.all():
            rows = rows[there]
            values = TextColumn(values.buffer, values.starts[there], values.ends[there])
        self.texts[name].put(rows, values)

    def set_missing_text(self, name: str, rows: NDArray[np.intp], values: TextColumn) -> None:
        """Put texts in where there are any, and was none."""
        lacking = self.texts[name].absent(rows)
        if not lacking.all():
            rows = rows[lacking]
            values = TextColumn(values.buffer, values.starts[lacking], values.ends[lacking])
        self.set_text(name, rows, values)

    def add_attributes(
        self, rows: NDArray[np.intp], objects: TextColumn, *, once: bool = False
    ) -> None:
        """Put members behind those that are there; see ``joined_objects``."""
        attributes = self.texts["attributes"]
        if not attributes.absent(rows).all():
            objects = joined_objects(attributes.at(rows), objects, once=once)
        self.set_text("attributes", rows, objects)

    def set_severity(self, rows: NDArray[np.intp], numbers: NDArray[np.uint8]) -> None:
        lacking = (self.severity[rows] == 0) & (numbers > 0)
        self.severity[rows[lacking]] = numbers[lacking]

    def set_time(
        self, rows: NDArray[np.intp], times: WrittenTimes, zone: str, written: NDArray[np.bool_]
    ) -> None:
        """Put times in where there was none; mark where one was ``written`` that can't be read."""
        lacking = self.ts[rows] == 0
        found = complete(times, self.came[rows], zone)
        good = lacking & (found != 0)
        self.ts[rows[good]] = found[good]
        self.marks[rows[lacking & written & (found == 0)]] |= np.uint8(NO_TIME)

    def set_written_time(
        self, rows: NDArray[np.intp], texts: TextColumn, zone: str, written: NDArray[np.bool_]
    ) -> None:
        """Read texts that are a time each, and do the same."""
        if (self.ts[rows] == 0).any():
            self.set_time(rows, times_of(*texts), zone, written)


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
    columns = _columns_of(records)
    every = np.arange(records.height)
    columns.look(every)
    _take_colours(columns)
    _cut(columns)
    _find_stacks(columns)
    columns.set_severity(every, severities_of(records["severity_text"]))
    rest = again = every
    for _ in range(_INNER):
        columns.changed[again] = False
        further = _parse_objects(columns, again, zone)
        further = _parse_part(columns, further, *_CONTAINERS, zone)
        syslog = (columns.signs[further] & SYSLOG) != 0
        further = _parse_these(columns, further, syslog, _parse_syslog, zone)
        rest = _without(rest, _without(again, further, records.height), records.height)
        # What is as it was would be found to be the same once more.
        again = further[columns.changed[further]]
        if not len(again):
            break
    access = (columns.signs[rest] & ACCESS) != 0
    rest = _parse_these(columns, rest, access, _parse_access, zone)
    rest = _parse_pairs(columns, rest, zone)
    _parse_heads(columns, rest, zone)
    _find_ids(columns)
    buffer, starts, ends = _NAMED
    numbers = np.where(columns.severity > 24, 0, columns.severity)  # beyond it there is none
    named = TextColumn(buffer, starts[numbers], ends[numbers])
    columns.set_missing_text("severity_text", every, named)
    return replaced(
        records,
        ts=np.where(columns.ts == 0, columns.came, columns.ts),
        severity=columns.severity,
        marks=columns.marks,
        **{name: texts.series() for name, texts in columns.texts.items()},
    )


def unwrap(records: pl.DataFrame, zone: str = "UTC") -> pl.DataFrame:
    """Take lines out of what a shipper or a container's runtime put them in, and parse no further.

    Args:
        records: as ``parse`` takes them.
        zone: of times that say none.

    Returns:
        A frame with the same rows, for ``parse``.
    """
    columns = _columns_of(records)
    every = np.arange(records.height)
    columns.beginnings = True
    columns.look(every)
    rest = _parse_objects(columns, every, zone)
    _parse_part(columns, rest, *_CONTAINERS, zone)
    return replaced(
        records,
        ts=columns.ts,
        severity=columns.severity,
        marks=columns.marks,
        **{name: texts.series() for name, texts in columns.texts.items()},
    )


def _without(rows: NDArray[np.intp], others: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Return the rows, of so many, that are not among the others."""
    if not len(others):
        return rows
    left = np.ones(count, np.bool_)
    left[others] = False
    return rows[left[rows]]


def _columns_of(records: pl.DataFrame) -> _Columns:
    return _Columns(
        records["ts"].to_numpy().copy(),
        records["severity"].to_numpy().copy(),
        records["marks"].to_numpy().copy(),
        records["observed"].to_numpy(),
        {
            name: ChangingTexts(records[name])
            for name in (
                "body", "severity_text", "service", "attributes", "trace_id", "span_id", "stack",
            )
        },
        np.zeros(records.height, np.bool_),
        np.zeros(records.height, np.uint8),
        beginnings=False,
    )  # fmt: skip


def _apply_fields(columns: _Columns, rows: NDArray[np.intp], fields: Fields, zone: str) -> None:
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
        columns.set_severity(rows, _of_priority(priority.fill_null(-1).to_numpy()))
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


def _of_priority(numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    known = np.array([*OF_SYSLOG, 0], np.uint8)
    return known[np.where(numbers < 0, 8, numbers & 7)]


def _take_colours(columns: _Columns) -> None:
    rows = np.flatnonzero(columns.signs & COLOURS)
    if len(rows):
        plain = columns.series("body", rows).str.replace_all(_COLOURS, "")
        columns.set_body(rows, text_column(plain))


def _cut(columns: _Columns) -> None:
    _, starts, ends = columns.body.all()
    rows = np.flatnonzero(ends - starts > LONGEST)
    if len(rows):
        columns.marks[rows] |= np.uint8(CUT)
        # A character has up to four bytes: so many are never more than the limit.
        cut = columns.series("body", rows).str.head(LONGEST // 4)
        columns.set_body(rows, text_column(cut))


def _fill(
    columns: _Columns, rows: NDArray[np.intp], members: Members, zone: str
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


def _parse_objects(columns: _Columns, rows: NDArray[np.intp], zone: str) -> NDArray[np.intp]:
    """Parse the bodies that are JSON objects; return the rows to look at further."""
    maybe = columns.beginning(rows, OBJECT, r"^\s*\{")
    if not maybe.any():
        return rows
    chosen = rows[maybe]
    before = columns.body.at(chosen)
    broken = _fill(columns, chosen, flatten(*before), zone)
    if len(broken):
        # Who began with a key meant to write an object.
        meant = columns.series("body", broken).str.contains(r'^\s*\{\s*"').to_numpy()
        columns.marks[broken[meant]] |= np.uint8(MALFORMED)
    # What has a message now is looked at once more; an object without one stays as it is.
    further = ~maybe
    further[maybe] = differing(columns.body.at(chosen), before)
    result: NDArray[np.intp] = rows[further]
    return result


_ParseRows = Callable[[_Columns, NDArray[np.intp], str], NDArray[np.intp]]
"""Parses rows, and returns those of them to look at further."""


def _parse_part(
    columns: _Columns,
    rows: NDArray[np.intp],
    sign: int,
    which: Callable[[pl.Expr], pl.Expr],
    parse_rows: _ParseRows,
    zone: str,
) -> NDArray[np.intp]:
    chosen = columns.matching(rows, sign, which(pl.col("body")))
    return _parse_these(columns, rows, chosen, parse_rows, zone)


def _parse_these(
    columns: _Columns,
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


def _parse_container(columns: _Columns, rows: NDArray[np.intp], zone: str) -> NDArray[np.intp]:
    fields = container_fields(columns.series("body", rows))
    written = np.ones(len(rows), np.bool_)
    columns.set_written_time(rows, text_column(fields["time"]), zone, written)
    columns.add_attributes(rows, text_column(fields["attributes"]))
    columns.set_body(rows, text_column(fields["message"]))
    return rows


def _parse_syslog(columns: _Columns, rows: NDArray[np.intp], zone: str) -> NDArray[np.intp]:
    scanned = scan_syslog_lines(columns.body.at(rows))
    plain = scanned.priority >= 0
    if plain.any():
        _put_syslog(
            columns, rows[plain], scanned.priority[plain].astype(np.int64), _of(scanned.app, plain),
            _of(scanned.attributes, plain), _of(scanned.times, plain), zone,
        )  # fmt: skip
        _, starts, ends = _of(scanned.message, plain)
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


def _of(texts: TextColumn, which: NDArray[np.bool_]) -> TextColumn:
    return TextColumn(texts.buffer, texts.starts[which], texts.ends[which])


def _put_syslog(
    columns: _Columns, rows: NDArray[np.intp], priority: NDArray[np.int64], app: TextColumn,
    attributes: TextColumn, times: TextColumn, zone: str,
) -> None:  # fmt: skip
    columns.set_severity(rows, _of_priority(priority))
    buffer, starts, ends = _SYSLOG
    numbers = np.where(priority < 0, 8, priority & 7)
    words = TextColumn(buffer, starts[numbers], ends[numbers])
    columns.set_missing_text("severity_text", rows, words)
    columns.set_written_time(rows, times, zone, times.ends > times.starts)
    columns.set_missing_text("service", rows, app)
    columns.add_attributes(rows, attributes)


def _parse_access(columns: _Columns, rows: NDArray[np.intp], zone: str) -> NDArray[np.intp]:
    scanned = scan_access_lines(columns.body.at(rows))
    plain = scanned.status >= 0
    _put_access(
        columns, rows[plain], scanned.status[plain], _of(scanned.times, plain),
        _of(scanned.attributes, plain), zone,
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
    columns: _Columns, rows: NDArray[np.intp], status: NDArray[np.int32], times: TextColumn,
    attributes: TextColumn, zone: str,
) -> None:  # fmt: skip
    severity = np.where(status >= 500, 17, np.where(status >= 400, 13, 9)).astype(np.uint8)
    columns.set_severity(rows, severity)
    columns.set_written_time(rows, times, zone, np.ones(len(rows), np.bool_))
    columns.add_attributes(rows, attributes)


def _parse_pairs(columns: _Columns, rows: NDArray[np.intp], zone: str) -> NDArray[np.intp]:
    maybe = columns.beginning(rows, PAIRS, _FIRST_PAIR)
    if not maybe.any():
        return rows
    chosen = rows[maybe]
    broken = _fill(columns, chosen, pairs_of(*columns.body.at(chosen)), zone)
    return np.sort(np.concatenate([rows[~maybe], broken]))


def _parse_heads(columns: _Columns, rows: NDArray[np.intp], zone: str) -> None:
    if not len(rows):
        return
    column = columns.body.at(rows)
    heads = heads_of(*column)
    columns.set_severity(rows, heads.severity)
    columns.set_time(rows, heads.times, zone, heads.times.lacks != NONE)
    cut = np.flatnonzero(heads.message > column.starts)
    columns.body.cut(rows[cut], heads.message[cut], column.ends[cut])


def _find_stacks(columns: _Columns) -> None:
    """Find the exceptions that attributes tell of, as the SDKs of OpenTelemetry write them."""
    attributes = columns.texts["attributes"]
    rows = np.flatnonzero(attributes.series().str.contains('"exception.', literal=True).to_numpy())
    if len(rows):
        fields = fields_of(flatten(*attributes.at(rows)))
        if not fields.roles.keys().isdisjoint(_OF_STACKS):
            columns.set_missing_text("stack", rows, text_column(_stack(fields.roles)))


def _find_ids(columns: _Columns) -> None:
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


_CONTAINERS: Final = (CONTAINER, is_container_line, _parse_container)
