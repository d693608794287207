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

from operators.columns.text_column import TextColumn, text_column
from operators.decoders.json.flattening import CUT as FLATTENED_IN_PART
from operators.decoders.json.flattening import NOT_JSON, Members, flatten
from operators.logs.access_lines import scan_access_lines
from operators.logs.body_signs import (
    ACCESS,
    CONTAINER,
    OBJECT,
    PAIRS,
    SYSLOG,
    TRACE_ID,
    signs_of,
)
from operators.logs.heads import heads_of
from operators.logs.lines import (
    access_fields,
    container_fields,
    is_access_line,
    is_container_line,
    is_syslog_line,
    syslog_fields,
)
from operators.logs.logfmt import pairs_of
from operators.logs.marks import CUT, MALFORMED, NO_TIME
from operators.logs.roles import Fields, fields_of
from operators.logs.severities import NAMES, OF_SYSLOG, severity_of
from operators.logs.syslog_lines import scan_syslog_lines
from operators.logs.timestamps import NONE, WrittenTimes, complete, times_of

__all__ = ["LONGEST", "apply_fields", "joined_objects", "parse", "unwrap"]

LONGEST: Final = 256 << 10
"""Bytes of a body; what is longer is cut and marked."""

_COLOURS: Final = r"\x1b\[[0-9;?]*[ -/]*[@-~]"
_TRACE_ID: Final = r"(?i)trace[_. -]?id[\"']?\s*[=:]\s*[\"']?([0-9a-f]{32})\b"
_NAMES_TRACE: Final = r"(?i:trace).?(?i:id)"
_FIRST_PAIR: Final = r"^\s*[A-Za-z_@][\w.@/-]*="
_SPAN_ID: Final = r"(?i)span[_. -]?id[\"']?\s*[=:]\s*[\"']?([0-9a-f]{16})\b"
_NAMED: Final = {number: NAMES[max(n for n in NAMES if n <= number)] for number in range(25)}
_SYSLOG: Final = (
    "emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug",
)  # fmt: skip
_OF_STACKS: Final = ("stack", "exception_type", "exception_message")
_INNER: Final = 2  # a message within JSON may be JSON itself: a shipper wraps what a program writes


@dataclass(slots=True)
class _Columns:
    """The columns of a frame that parsing fills, as arrays that are written to."""

    ts: NDArray[np.int64]
    severity: NDArray[np.uint8]
    marks: NDArray[np.uint8]
    came: NDArray[np.int64]
    texts: dict[str, pl.Series]
    changed: NDArray[np.bool_]
    """Which bodies are others since this was looked at."""
    signs: NDArray[np.uint8]
    """Of the bodies, see ``operators.logs.body_signs``."""
    beginnings: bool
    """Those of how they begin alone."""

    def set_body(self, rows: NDArray[np.intp], values: pl.Series) -> None:
        """Put other bodies in."""
        self.texts["body"] = self.texts["body"].clone().scatter(rows, values)
        self.signs[rows] = signs_of(values, beginnings=self.beginnings)
        self.changed[rows] = True

    def matching(self, rows: NDArray[np.intp], sign: int, which: pl.Expr) -> NDArray[np.bool_]:
        """Return which of the rows have a body of which an expression of ``body`` is true.

        Those without the sign have none.
        """
        found: NDArray[np.bool_] = (self.signs[rows] & sign) != 0
        at = np.flatnonzero(found)
        if len(at):
            bodies = self.texts["body"].gather(rows[at]).to_frame("body")
            found[at] = bodies.select(which).to_series().to_numpy()
        return found

    def set_text(self, name: str, rows: NDArray[np.intp], values: pl.Series) -> None:
        """Put texts in where there are any."""
        there = (values.is_not_null() & (values != "")).to_numpy()
        if there.any():
            column = self.texts[name].clone()
            self.texts[name] = column.scatter(rows[there], values.filter(there))

    def set_missing_text(self, name: str, rows: NDArray[np.intp], values: pl.Series) -> None:
        """Put texts in where there are any, and was none."""
        lacking = (self.texts[name].gather(rows) == "").to_numpy()
        self.set_text(name, rows[lacking], values.filter(lacking))

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
    bodies = _cut(_without_colours(records["body"]), columns.marks)
    columns.texts["body"], columns.signs = bodies, signs_of(bodies)
    _find_stacks(columns)
    columns.set_severity(
        np.arange(records.height), severity_of(records["severity_text"]).to_numpy()
    )
    rest = again = np.arange(records.height)
    for _ in range(_INNER):
        columns.changed[again] = False
        further = _parse_objects(columns, again, zone)
        further = _parse_part(columns, further, *_CONTAINERS, zone)
        further = _parse_part(columns, further, *_SYSLOGS, zone)
        taken = np.setdiff1d(again, further, assume_unique=True)
        rest = np.setdiff1d(rest, taken, assume_unique=True) if len(taken) else rest
        # What is as it was would be found to be the same once more.
        again = further[columns.changed[further]]
        if not len(again):
            break
    rest = _parse_part(columns, rest, *_WEB_SERVERS, zone)
    rest = _parse_pairs(columns, rest, zone)
    _parse_heads(columns, rest, zone)
    _find_ids(columns)
    severity = pl.Series(columns.severity)
    named = severity.replace_strict(_NAMED, default="", return_dtype=pl.String)
    text = columns.texts.pop("severity_text")
    return records.with_columns(
        ts=pl.Series(np.where(columns.ts == 0, columns.came, columns.ts)),
        severity=severity,
        severity_text=pl.select(pl.when(text == "").then(named).otherwise(text)).to_series(),
        marks=pl.Series(columns.marks),
        **columns.texts,
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
    columns.signs, columns.beginnings = signs_of(records["body"], beginnings=True), True
    rest = _parse_objects(columns, np.arange(records.height), zone)
    _parse_part(columns, rest, *_CONTAINERS, zone)
    return records.with_columns(
        ts=pl.Series(columns.ts),
        severity=pl.Series(columns.severity),
        marks=pl.Series(columns.marks),
        **columns.texts,
    )


def _columns_of(records: pl.DataFrame) -> _Columns:
    return _Columns(
        records["ts"].to_numpy().copy(),
        records["severity"].to_numpy().copy(),
        records["marks"].to_numpy().copy(),
        records["observed"].to_numpy(),
        {
            name: records[name]
            for name in (
                "body", "severity_text", "service", "attributes", "trace_id", "span_id", "stack",
            )
        },
        np.zeros(records.height, np.bool_),
        np.zeros(records.height, np.uint8),
        beginnings=False,
    )  # fmt: skip


def apply_fields(
    columns: _Columns, rows: NDArray[np.intp], fields: Fields, zone: str, *, body: bool = True
) -> None:
    """Fill the columns at ``rows`` from what keys say."""
    # Most roles have no key in a poll: what would be done with them costs as much as with others.
    roles = {role: texts for role, texts in fields.roles.items() if texts.null_count() < len(texts)}
    if "number" in roles:
        numbers = roles["number"].cast(pl.UInt8, strict=False).fill_null(0).to_numpy()
        columns.set_severity(rows, np.where(numbers <= 24, numbers, 0).astype(np.uint8))
    if "severity" in roles:
        words = roles["severity"]
        columns.set_severity(rows, severity_of(words).to_numpy())
    if "priority" in roles:
        priority = roles["priority"].cast(pl.Int64, strict=False)
        columns.set_severity(rows, _of_priority(priority))
    if "severity" in roles:
        columns.set_missing_text("severity_text", rows, words.fill_null(""))
    if "time" in roles:
        written = roles["time"].is_not_null().to_numpy()
        columns.set_time(rows, times_of(*text_column(roles["time"])), zone, written)
    for role, name in (("trace", "trace_id"), ("span", "span_id")):
        if role not in roles:
            continue
        size = 32 if role == "trace" else 16
        ids = roles[role].str.to_lowercase().str.replace_all("-", "", literal=True)
        valid = ids.str.contains(rf"^[0-9a-f]{{{size}}}$") & ~ids.str.contains("^0+$")
        columns.set_missing_text(name, rows, ids.set(~valid.fill_null(False), ""))
    if "service" in roles:
        columns.set_missing_text("service", rows, roles["service"].fill_null(""))
    if not roles.keys().isdisjoint(_OF_STACKS):
        columns.set_missing_text("stack", rows, _stack(fields.roles))
    if body and "body" in roles:
        written = roles["body"].is_not_null().to_numpy()
        texts = roles["body"].filter(written).str.strip_chars_end("\r\n")
        columns.set_body(rows[written], texts)
    there = columns.texts["attributes"].gather(rows)
    attributes = joined_objects(there, _not_there_yet(there, fields.attributes))
    columns.set_text("attributes", rows, attributes)


def _not_there_yet(there: pl.Series, objects: pl.Series) -> pl.Series:
    """Return objects, empty where all members of one are the last ones of what is there.

    A body that is an object without a message is parsed when it is taken out of what it came in, and
    once more after that.
    """
    first, second = pl.col("first"), pl.col("second")
    ends = first.str.ends_with(pl.lit(",") + second.str.slice(1))
    frame = pl.DataFrame({"first": there, "second": objects})
    has = frame.select((first == second) | ends).to_series()
    return objects.set(has, "") if has.any() else objects


def joined_objects(first: pl.Series, second: pl.Series) -> pl.Series:
    """Return JSON objects with the members of both; an empty text has none."""
    frame = pl.DataFrame({"first": first, "second": second})
    both = pl.format("{},{}", pl.col("first").str.head(-1), pl.col("second").str.slice(1))
    return frame.select(
        pl.when(pl.col("first").is_in(["", "{}"]))
        .then("second")
        .when(pl.col("second").is_in(["", "{}"]))
        .then("first")
        .otherwise(both)
    ).to_series()


def _stack(roles: dict[str, pl.Series]) -> pl.Series:
    kind, text = roles["exception_type"].fill_null(""), roles["exception_message"].fill_null("")
    named = pl.select(
        pl.when(kind == "")
        .then(pl.lit(""))
        .when(text == "")
        .then(kind)
        .otherwise(kind + ": " + text)
    ).to_series()
    stack = roles["stack"].fill_null("")
    # Arrays and objects of frames are no text of a trace.
    return pl.select(
        pl.when((stack == "") | stack.str.contains(r"^[\[{]")).then(named).otherwise(stack)
    ).to_series()


def _of_priority(priority: pl.Series) -> NDArray[np.uint8]:
    numbers = priority.fill_null(-1).to_numpy()
    known = np.array([*OF_SYSLOG, 0], np.uint8)
    result: NDArray[np.uint8] = np.where(
        numbers < 0, 0, known[np.where(numbers < 0, 8, numbers & 7)]
    )
    return result.astype(np.uint8)


def _without_colours(body: pl.Series) -> pl.Series:
    if not body.str.contains("\x1b", literal=True).any():
        return body
    return body.str.replace_all(_COLOURS, "")


def _cut(body: pl.Series, marks: NDArray[np.uint8]) -> pl.Series:
    long = (body.str.len_bytes() > LONGEST).to_numpy()
    if not long.any():
        return body
    marks[long] |= np.uint8(CUT)
    # A character has up to four bytes: so many are never more than the limit.
    cut = body.filter(long).str.head(LONGEST // 4)
    return body.clone().scatter(np.flatnonzero(long), cut)


def _bytes_of(columns: _Columns, rows: NDArray[np.intp]) -> TextColumn:
    return text_column(columns.texts["body"].gather(rows))


def _fill(
    columns: _Columns, rows: NDArray[np.intp], members: Members, zone: str
) -> NDArray[np.intp]:
    """Apply the members of the rows that have any; return the rows that have none."""
    good = members.status != NOT_JSON
    if good.any():
        fields = fields_of(members)
        if not good.all():
            fields = Fields(
                {role: texts.filter(good) for role, texts in fields.roles.items()},
                fields.attributes.filter(good),
            )
        apply_fields(columns, rows[good], fields, zone)
        columns.marks[rows[members.status == FLATTENED_IN_PART]] |= np.uint8(CUT)
    rest: NDArray[np.intp] = rows[~good]
    return rest


def _parse_objects(columns: _Columns, rows: NDArray[np.intp], zone: str) -> NDArray[np.intp]:
    """Parse the bodies that are JSON objects; return the rows to look at further."""
    maybe = columns.matching(rows, OBJECT, pl.col("body").str.contains(r"^\s*\{"))
    if not maybe.any():
        return rows
    chosen = rows[maybe]
    before = columns.texts["body"].gather(chosen)
    broken = _fill(columns, chosen, flatten(*_bytes_of(columns, chosen)), zone)
    # Who began with a key meant to write an object.
    meant = columns.texts["body"].gather(broken).str.contains(r'^\s*\{\s*"').to_numpy()
    columns.marks[broken[meant]] |= np.uint8(MALFORMED)
    # What has a message now is looked at once more; an object without one stays as it is.
    changed = (columns.texts["body"].gather(chosen) != before).to_numpy()
    result: NDArray[np.intp] = np.sort(np.concatenate([rows[~maybe], chosen[changed]]))
    return result


def _parse_part(
    columns: _Columns,
    rows: NDArray[np.intp],
    sign: int,
    which: Callable[[pl.Expr], pl.Expr],
    parse_rows: Callable[[_Columns, NDArray[np.intp], str], NDArray[np.intp]],
    zone: str,
) -> NDArray[np.intp]:
    chosen = columns.matching(rows, sign, which(pl.col("body")))
    if not chosen.any():
        return rows
    further = parse_rows(columns, rows[chosen], zone)
    result: NDArray[np.intp] = np.sort(np.concatenate([rows[~chosen], further]))
    return result


def _parse_container(columns: _Columns, rows: NDArray[np.intp], zone: str) -> NDArray[np.intp]:
    fields = container_fields(columns.texts["body"].gather(rows))
    columns.set_time(
        rows, times_of(*text_column(fields["time"])), zone, np.ones(len(rows), np.bool_)
    )
    attributes = joined_objects(columns.texts["attributes"].gather(rows), fields["attributes"])
    columns.set_text("attributes", rows, attributes)
    columns.set_body(rows, fields["message"])
    return rows


def _parse_syslog(columns: _Columns, rows: NDArray[np.intp], zone: str) -> NDArray[np.intp]:
    bodies = columns.texts["body"].gather(rows)
    scanned = scan_syslog_lines(text_column(bodies))
    plain = scanned.priority >= 0
    buffer, starts, ends = scanned.times
    _put_syslog(
        columns,
        rows[plain],
        pl.DataFrame(
            {
                "priority": scanned.priority[plain].astype(np.int64),
                "app": scanned.app.filter(plain),
                "message": scanned.message.filter(plain),
                "attributes": scanned.attributes.filter(plain),
            }
        ),
        times_of(buffer, starts[plain], ends[plain]),
        (ends > starts)[plain],
        zone,
    )
    if not plain.all():
        fields = syslog_fields(bodies.filter(~plain))
        written = fields["time"].is_not_null().to_numpy()
        times = times_of(*text_column(fields["time"]))
        _put_syslog(columns, rows[~plain], fields, times, written, zone)
    return rows


def _put_syslog(
    columns: _Columns, rows: NDArray[np.intp], fields: pl.DataFrame, times: WrittenTimes,
    written: NDArray[np.bool_], zone: str,
) -> None:  # fmt: skip
    if not len(rows):
        return
    priority = fields["priority"].cast(pl.Int64)
    columns.set_severity(rows, _of_priority(priority))
    words = pl.Series(_SYSLOG).gather(priority & 7)
    columns.set_missing_text("severity_text", rows, words.fill_null(""))
    columns.set_time(rows, times, zone, written)
    columns.set_missing_text("service", rows, fields["app"].fill_null(""))
    attributes = joined_objects(columns.texts["attributes"].gather(rows), fields["attributes"])
    columns.set_text("attributes", rows, attributes)
    columns.set_body(rows, fields["message"])


def _parse_access(columns: _Columns, rows: NDArray[np.intp], zone: str) -> NDArray[np.intp]:
    bodies = columns.texts["body"].gather(rows)
    scanned = scan_access_lines(text_column(bodies))
    plain = scanned.status >= 0
    buffer, starts, ends = scanned.times
    _put_access(
        columns, rows[plain], scanned.status[plain],
        times_of(buffer, starts[plain], ends[plain]), scanned.attributes.filter(plain), zone,
    )  # fmt: skip
    if plain.all():
        return rows[:0]
    others = rows[~plain]
    fields = access_fields(bodies.filter(~plain))
    good = fields["status"].is_not_null().to_numpy()
    fields, chosen = fields.filter(good), others[good]
    times = times_of(*text_column(fields["time"]))
    _put_access(columns, chosen, fields["status"].to_numpy(), times, fields["attributes"], zone)
    rest: NDArray[np.intp] = others[~good]
    return rest


def _put_access(
    columns: _Columns, rows: NDArray[np.intp], status: NDArray[np.int32], times: WrittenTimes,
    attributes: pl.Series, zone: str,
) -> None:  # fmt: skip
    severity = np.where(status >= 500, 17, np.where(status >= 400, 13, 9)).astype(np.uint8)
    columns.set_severity(rows, severity)
    columns.set_time(rows, times, zone, np.ones(len(rows), np.bool_))
    there = columns.texts["attributes"].gather(rows)
    columns.set_text("attributes", rows, joined_objects(there, attributes))


def _parse_pairs(columns: _Columns, rows: NDArray[np.intp], zone: str) -> NDArray[np.intp]:
    maybe = columns.matching(rows, PAIRS, pl.col("body").str.contains(_FIRST_PAIR))
    if not maybe.any():
        return rows
    chosen = rows[maybe]
    further = _fill(columns, chosen, pairs_of(*_bytes_of(columns, chosen)), zone)
    result: NDArray[np.intp] = np.sort(np.concatenate([rows[~maybe], further]))
    return result


def _parse_heads(columns: _Columns, rows: NDArray[np.intp], zone: str) -> None:
    if not len(rows):
        return
    bodies = columns.texts["body"].gather(rows)
    column = text_column(bodies)
    heads = heads_of(*column)
    columns.set_severity(rows, heads.severity)
    columns.set_time(rows, heads.times, zone, heads.times.lacks != NONE)
    skipped = heads.message - column.starts
    cut = np.flatnonzero(skipped > 0)
    if len(cut):
        frame = pl.DataFrame({"body": bodies.gather(cut), "skipped": skipped[cut]})
        rest = pl.col("body").cast(pl.Binary).bin.slice("skipped").cast(pl.String)
        messages = frame.select(rest).to_series()
        columns.texts["body"] = columns.texts["body"].clone().scatter(rows[cut], messages)


def _find_stacks(columns: _Columns) -> None:
    """Find the exceptions that attributes tell of, as the SDKs of OpenTelemetry write them."""
    attributes = columns.texts["attributes"]
    rows = np.flatnonzero(attributes.str.contains('"exception.', literal=True).to_numpy())
    if len(rows):
        fields = fields_of(flatten(*text_column(attributes.gather(rows))))
        columns.set_missing_text("stack", rows, _stack(fields.roles))


def _find_ids(columns: _Columns) -> None:
    """Find the trace that a text names, where nothing else does."""
    lacking = (columns.texts["trace_id"] == "").to_numpy()
    rows = np.flatnonzero(lacking)
    # The signs are those of bodies with their heads, which have all that is without them.
    rows = rows[columns.matching(rows, TRACE_ID, pl.col("body").str.contains(_NAMES_TRACE))]
    if not len(rows):
        return
    bodies = columns.texts["body"].gather(rows)
    traces = bodies.str.extract(_TRACE_ID).str.to_lowercase().str.replace("^0+$", "")
    columns.set_missing_text("trace_id", rows, traces)
    columns.set_missing_text("span_id", rows, bodies.str.extract(_SPAN_ID).str.to_lowercase())


_CONTAINERS: Final = (CONTAINER, is_container_line, _parse_container)
_SYSLOGS: Final = (SYSLOG, is_syslog_line, _parse_syslog)
_WEB_SERVERS: Final = (ACCESS, is_access_line, _parse_access)
