"""OTLP logs in JSON: a message is a ``LogsData``, as the collector's encoding ``otlp_json`` writes it.

Enums are numbers, numbers of 64 bits may be texts, ids are hexadecimal in either case, and fields that
are not known are passed over. Messages as the collector writes them are scanned; what is unlike them is
read by orjson.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from operators.columns.replacing import constant
from operators.columns.scanning import joined
from operators.columns.text_column import texts_of
from operators.contracts.log_decoder import DecodedLogs, log_records
from operators.decoders.json.flattening import unescaped
from operators.decoders.otlp.json_fields import NotOfFormat, field, items, text, whole
from operators.decoders.otlp.logs import body_text, json_text, service_of
from operators.decoders.otlp.logs_json_scan import (
    PLAIN,
    RECORD,
    scan_json_logs,
    write_json_attributes,
)
from operators.decoders.text.lines import NOT_UTF8

__all__ = ["OtlpJsonLogs"]

_DEEPEST: Final = 32
_LARGEST: Final = 2**63 - 1
_SMALLEST: Final = -(2**63)
_COLUMNS: Final = (
    "message", "index", "ts", "observed", "severity", "severity_text", "body", "attributes", "resource",
    "service", "scope", "trace_id", "span_id",
)  # fmt: skip


class OtlpJsonLogs:
    """Decodes OTLP logs in JSON."""

    def decode(self, values: Sequence[bytes], times: NDArray[np.int64]) -> DecodedLogs:
        """Decode a poll."""
        buffer, bounds = joined(values)
        records = np.empty(max(len(buffer) // 128, 64), RECORD)
        status = np.zeros(len(values), np.uint8)
        filled = np.zeros(2, np.int64)
        while scan_json_logs(buffer, bounds, records, status, filled) < len(values):
            records = np.concatenate([records, np.empty_like(records)])
        records = records[: filled[0]]
        read = _read(buffer, records)
        if read.bad:
            status[sorted(read.bad)] = PLAIN + 1
            records = records[status[records["message"]] == PLAIN]
            read = _read(buffer, records)
        scanned = _scanned(buffer, records, read, times)
        doubtful = np.flatnonzero(status != PLAIN).tolist()
        if not doubtful:
            return DecodedLogs(scanned)
        parsed, rejected = _parsed(values, doubtful, times)
        frame = pl.concat([scanned, parsed]).sort("message", "index")
        return DecodedLogs(frame, rejected)

    def compile_kernels(self) -> None:
        """Compile the loops, or load them from the disk, before there is a message to wait for it."""
        record = (
            b'{"body":{"stringValue":"x\\n"},"attributes":[{"key":"a","value":{"intValue":"1"}}]}'
        )
        self.decode(
            [b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[' + record + b"]}]}]}"],
            np.zeros(1, np.int64),
        )


class _Read(NamedTuple):
    """What a parser read of scanned records: those that are not plain, and where they are from.

    Attributes:
        rows: of the records that are not plain.
        bodies, objects: theirs.
        origins: the attributes of each resource; ``of_record`` has the number of each record's.
        bad: messages that are not OTLP after all.
    """

    rows: NDArray[np.intp]
    bodies: list[str]
    objects: list[str]
    origins: list[dict[str, Any]]
    of_record: pl.Series
    bad: set[int]


def _read(buffer: NDArray[np.uint8], records: NDArray[Any]) -> _Read:
    rows = np.flatnonzero(~records["plain"])
    bodies: list[str] = []
    objects: list[str] = []
    bad: set[int] = set()
    for start, end, message in records[rows][["start", "end", "message"]].tolist():
        record = orjson.loads(buffer[start:end].tobytes())
        try:
            bodies.append(body_text(_value(record.get("body"), 0)))
            objects.append(json_text(flat(items(record, "attributes"))))
        except NotOfFormat:
            bad.add(message)
    resources, of_record = _distinct(buffer, records, "resource")
    origins: list[dict[str, Any]] = []
    for number, resource in enumerate(resources):
        try:
            origins.append(flat(items(resource, "attributes")))
        except NotOfFormat:
            origins.append({})
            bad.update(records["message"][(of_record == number).to_numpy()].tolist())
    return _Read(rows, bodies, objects, origins, of_record, bad)


def _scanned(
    buffer: NDArray[np.uint8], records: NDArray[Any], read: _Read, times: NDArray[np.int64]
) -> pl.DataFrame:
    """Return the LOG_RECORDS frame of records that were scanned."""
    body, broken = _texts(buffer, records, "body")
    severity_text, broken_text = _texts(buffer, records, "text")
    attributes, broken_attributes = _attributes(buffer, records)
    if len(read.rows):
        body = body.scatter(read.rows, _strings(read.bodies))
        attributes = attributes.scatter(read.rows, _strings(read.objects))
    observed = records["observed"]
    scopes, of_scope = _distinct(buffer, records, "scope")
    columns: dict[str, pl.Series | NDArray[Any]] = {
        "message": records["message"],
        "index": records["index"],
        "ts": np.where(records["ts"] > 0, records["ts"], observed),
        "observed": np.where(observed > 0, observed, times[records["message"]]),
        "severity": records["severity"].astype(np.uint8),
        "severity_text": severity_text,
        "body": body,
        "attributes": attributes,
        "resource": _strings([json_text(each) for each in read.origins]).gather(read.of_record),
        "service": _strings([service_of(each) for each in read.origins]).gather(read.of_record),
        "scope": _strings([text(each, "name") for each in scopes]).gather(of_scope),
        "trace_id": _ids(buffer, records, "trace", 32),
        "span_id": _ids(buffer, records, "span", 16),
        "marks": np.where(broken | broken_text | broken_attributes, NOT_UTF8, 0).astype(np.uint8),
    }
    return log_records(columns, len(records))


def _strings(texts: list[str]) -> pl.Series:
    return pl.Series(texts, dtype=pl.String)


def _texts(
    buffer: NDArray[np.uint8], records: NDArray[Any], name: str
) -> tuple[pl.Series, NDArray[np.bool_]]:
    """Return texts, and which of them were not UTF-8; escapes are resolved."""
    starts = np.ascontiguousarray(records[name])
    ends = np.ascontiguousarray(records[f"{name}_end"])
    column, broken = texts_of(buffer, starts, ends)
    rows = np.flatnonzero(records[f"{name}_escaped"])
    if len(rows):
        column = column.scatter(rows, unescaped(buffer, starts[rows], ends[rows]))
    return column, broken


def _attributes(
    buffer: NDArray[np.uint8], records: NDArray[Any]
) -> tuple[pl.Series, NDArray[np.bool_]]:
    # Records that a parser is needed for are left empty here.
    starts = np.where(records["plain"], records["attributes"], 0)
    ends = np.where(records["plain"], records["attributes_end"], 0)
    out = np.zeros(int((ends - starts).sum()) + 16, np.uint8)
    offsets = np.zeros(len(starts) + 1, np.int64)
    write_json_attributes(buffer, starts, ends, out, offsets)
    return texts_of(out, offsets[:-1], offsets[1:])


def _distinct(
    buffer: NDArray[np.uint8], records: NDArray[Any], name: str
) -> tuple[list[Any], pl.Series]:
    """Return the different resources or scopes, and the number of each record's."""
    # Those of one resource follow each other: a range that is that of the row before is no new one.
    starts, ends = records[name], records[f"{name}_end"]
    fresh = np.append(np.True_, (starts[1:] != starts[:-1]) | (ends[1:] != ends[:-1]))
    heads = np.flatnonzero(fresh[: len(records)])
    known: dict[bytes, int] = {}
    numbers = np.array(
        [
            known.setdefault(buffer[start:end].tobytes(), len(known))
            for start, end in zip(starts[heads].tolist(), ends[heads].tolist(), strict=True)
        ],
        np.int64,
    )
    found = [orjson.loads(each) if each else {} for each in known]
    sizes = np.diff(np.append(heads, len(records)))
    return found, pl.Series(np.repeat(numbers, sizes), dtype=pl.Int64)


def _ids(buffer: NDArray[np.uint8], records: NDArray[Any], name: str, size: int) -> pl.Series:
    """Return ids as digits, empty where there is none, it has another size, or is zero."""
    starts = np.ascontiguousarray(records[name])
    ends = np.ascontiguousarray(records[f"{name}_end"])
    ends = np.where(ends - starts == size, ends, starts)
    if (ends == starts).all():  # most logs are of no trace
        return constant("", len(records), pl.String)
    texts = texts_of(buffer, starts, ends)[0].str.to_lowercase()
    return texts.set(~texts.str.contains("^[0-9a-f]+$") | texts.str.contains("^0+$"), "")


def _parsed(
    values: Sequence[bytes], which: Sequence[int], times: NDArray[np.int64]
) -> tuple[pl.DataFrame, dict[int, str]]:
    """Return the records of messages that a parser reads, and why others are rejected."""
    rows: list[tuple[Any, ...]] = []
    rejected: dict[int, str] = {}
    for message in which:
        value = values[message]
        try:
            document = orjson.loads(value)
            rows += list(_records(document, message, int(times[message])))
        except orjson.JSONDecodeError as error:
            rejected[message] = f"not JSON: {error}" if value.strip() else "empty message"
        except NotOfFormat as error:
            rejected[message] = f"not a LogsData of OTLP: {error}"
    columns = dict(zip(_COLUMNS, zip(*rows, strict=True), strict=True)) if rows else {}
    frame = {
        name: pl.Series(content, dtype=pl.Int64 if isinstance(content[0], int) else pl.String)
        for name, content in columns.items()
    }
    return log_records(frame, len(rows)), rejected


def _id(parent: Any, size: int, *names: str) -> str:
    value = text(parent, *names).lower()
    valid = len(value) == size and set(value) <= set("0123456789abcdef") and value.strip("0")
    return value if valid else ""


def _records(document: Any, message: int, came: int) -> Iterator[tuple[Any, ...]]:
    if not isinstance(document, dict):
        raise NotOfFormat("it is no object")
    index = 0
    for group in items(document, "resourceLogs", "resource_logs"):
        resource = flat(items(field(group, "resource") or {}, "attributes"))
        written, service = json_text(resource), service_of(resource)
        for scoped in items(group, "scopeLogs", "scope_logs"):
            scope = text(field(scoped, "scope") or {}, "name")
            for record in items(scoped, "logRecords", "log_records"):
                observed = whole(record, "observedTimeUnixNano", "observed_time_unix_nano")
                ts = whole(record, "timeUnixNano", "time_unix_nano") or observed
                severity = whole(record, "severityNumber", "severity_number")
                yield (
                    message, index, ts, observed or came, severity if severity <= 24 else 0,
                    text(record, "severityText", "severity_text"),
                    body_text(_value(record.get("body"), 0)),
                    json_text(flat(items(record, "attributes"))), written, service, scope,
                    _id(record, 32, "traceId", "trace_id"), _id(record, 16, "spanId", "span_id"),
                )  # fmt: skip
                index += 1


def flat(pairs: list[Any], before: str = "") -> dict[str, Any]:
    """Return the pairs of OTLP as a flat dictionary, as ``operators.decoders.otlp.logs`` does."""
    result: dict[str, Any] = {}
    for pair in pairs:
        key, value = pair.get("key"), pair.get("value")
        if not isinstance(key, str) or not isinstance(value, dict):
            continue
        inner = field(value, "kvlistValue", "kvlist_value")
        if isinstance(inner, dict) and inner.get("values") and before.count(".") < _DEEPEST:
            result |= flat(items(inner, "values"), f"{before}{key}.")
        elif value:
            result[before + key] = _value(value, 0)
    return result


def _value(value: Any, depth: int) -> Any:
    if not isinstance(value, dict) or depth > _DEEPEST:
        return None
    for name, content in value.items():
        kind = name.replace("_v", "V")
        if kind == "arrayValue":
            return [_value(each, depth + 1) for each in items(content or {}, "values")]
        if kind == "kvlistValue":
            pairs = items(content or {}, "values")
            return {str(each.get("key")): _value(each.get("value"), depth + 1) for each in pairs}
        if kind == "intValue":
            return _signed(content)
        if kind in ("stringValue", "boolValue", "doubleValue", "bytesValue"):
            return content
    return None


def _signed(content: Any) -> Any:
    try:
        number = int(content)
    except (TypeError, ValueError, OverflowError):
        return content
    # What fits no 64 bits is kept as it is written.
    return number if _SMALLEST <= number <= _LARGEST else str(number)
