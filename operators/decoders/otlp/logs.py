"""OTLP logs in protobuf: a message is a ``LogsData``, or a request to export one."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.logs.v1 import logs_pb2
from opentelemetry.proto.resource.v1 import resource_pb2

from operators.columns.replacing import constant
from operators.columns.scanning import joined
from operators.columns.text_column import texts_of
from operators.contracts.log_decoder import DecodedLogs, log_records
from operators.decoders.otlp.groups import groups_of
from operators.decoders.otlp.logs_scan import RECORD, scan_logs, write_attributes
from operators.decoders.protobuf.reading import REASONS
from operators.decoders.text.lines import NOT_UTF8

__all__ = ["OtlpLogs", "body_text", "flat_attributes", "json_text", "service_of"]

_ATTRIBUTES: Final = 6
_DEEPEST: Final = 32


class OtlpLogs:
    """Decodes OTLP logs in protobuf."""

    def decode(self, values: Sequence[bytes], times: NDArray[np.int64]) -> DecodedLogs:
        """Decode a poll."""
        buffer, bounds = joined(values)
        entries, resources, scopes, status = groups_of(buffer, bounds)
        records = np.empty(len(entries), RECORD)
        records = records[: scan_logs(buffer.ctypes.data, entries, records, status)]
        columns = _columns(buffer, records, times)
        columns |= _origins(buffer, records, resources, scopes)
        frame = log_records(columns, len(records))
        rejected = {
            row: f"not a LogsData of OTLP: {REASONS[int(status[row])]}"
            for row in np.flatnonzero(status).tolist()
        }
        return DecodedLogs(frame, rejected)

    def compile_kernels(self) -> None:
        """Compile the loops, or load them from the disk, before there is a message to wait for it."""
        self.decode([b""], np.zeros(1, np.int64))


def _columns(
    buffer: NDArray[np.uint8], records: NDArray[Any], times: NDArray[np.int64]
) -> dict[str, pl.Series | NDArray[Any]]:
    observed = np.where(records["observed"] > 0, records["observed"], times[records["message"]])
    body, broken_body = _texts(buffer, records, "body")
    text, broken_text = _texts(buffer, records, "text")
    attributes, broken = _attributes(buffer, records)
    broken |= broken_body | broken_text
    rows = np.flatnonzero(~records["plain"])
    if len(rows):
        parsed = [
            _parse(logs_pb2.LogRecord, buffer[start:end].tobytes())
            for start, end in zip(records["start"][rows], records["end"][rows], strict=True)
        ]
        bodies = [body_text(_value(each.body, 0)) for each in parsed]
        body = body.scatter(rows, pl.Series(bodies, dtype=pl.String))
        objects = [_object(each.attributes) for each in parsed]
        attributes = attributes.scatter(rows, pl.Series(objects, dtype=pl.String))
    return {
        "message": records["message"],
        "index": records["index"],
        "ts": np.where(records["ts"] > 0, records["ts"], records["observed"]),
        "observed": observed,
        "severity": records["severity"].astype(np.uint8),
        "severity_text": text,
        "body": body,
        "attributes": attributes,
        "trace_id": _hexadecimal(buffer, records, "trace", 16),
        "span_id": _hexadecimal(buffer, records, "span", 8),
        "marks": np.where(broken, NOT_UTF8, 0).astype(np.uint8),
    }


def _texts(
    buffer: NDArray[np.uint8], records: NDArray[Any], name: str
) -> tuple[pl.Series, NDArray[np.bool_]]:
    starts, ends = records[name], records[f"{name}_end"]
    return texts_of(buffer, np.ascontiguousarray(starts), np.ascontiguousarray(ends))


def _hexadecimal(
    buffer: NDArray[np.uint8], records: NDArray[Any], name: str, size: int
) -> pl.Series:
    """Return ids as digits, empty where there is none, it has another size, or is zero."""
    starts, ends = records[name], records[f"{name}_end"]
    valid = ends - starts == size
    rows = np.flatnonzero(valid)
    if not len(rows):  # most logs are of no trace
        return constant("", len(records), pl.String)
    ids = buffer[starts[rows, None] + np.arange(size)]
    offsets = np.zeros(len(starts) + 1, np.int64)
    np.cumsum(valid * 2 * size, out=offsets[1:])
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.stack([digits[ids >> 4], digits[ids & 15]], -1)
    array = pa.Array.from_buffers(
        pa.large_string(), len(starts), [None, pa.py_buffer(offsets), pa.py_buffer(text.tobytes())]
    )
    return pl.Series(array).str.replace("^0+$", "")


def _attributes(
    buffer: NDArray[np.uint8], records: NDArray[Any]
) -> tuple[pl.Series, NDArray[np.bool_]]:
    # Records that a parser is needed for are left empty here.
    starts = np.ascontiguousarray(records["start"])
    ends = np.where(records["plain"], records["end"], starts)
    out = np.empty(6 * int((ends - starts).sum()) + 16, np.uint8)
    offsets = np.zeros(len(starts) + 1, np.int64)
    write_attributes(buffer.ctypes.data, starts, ends, _ATTRIBUTES, out, offsets)
    out[offsets[-1] : offsets[-1] + 16] = 0
    out = out[: offsets[-1] + 16]
    return texts_of(out, offsets[:-1], offsets[1:])


def _origins(
    buffer: NDArray[np.uint8], records: NDArray[Any], resources: NDArray[Any], scopes: NDArray[Any]
) -> dict[str, pl.Series]:
    """Return the columns of resources and scopes; each is parsed once, whatever its records."""

    def parsed(
        rows: NDArray[np.int64], spans: NDArray[Any], kind: Any
    ) -> tuple[list[Any], pl.Series]:
        used, inverse = np.unique(rows, return_inverse=True)
        contents = [buffer[start:end].tobytes() for start, end in spans[used].tolist()]
        known: dict[bytes, int] = {}
        numbers = np.array([known.setdefault(each, len(known)) for each in contents], np.int64)
        return [_parse(kind, each) for each in known], pl.Series(numbers[inverse], dtype=pl.Int64)

    found, of_record = parsed(records["resource"], resources, resource_pb2.Resource)
    attributes = [flat_attributes(each.attributes) for each in found]
    texts = pl.Series([json_text(each) for each in attributes], dtype=pl.String)
    services = pl.Series([service_of(each) for each in attributes], dtype=pl.String)
    named, of_scope = parsed(records["scope"], scopes, common_pb2.InstrumentationScope)
    names = pl.Series([each.name for each in named], dtype=pl.String)
    return {
        "resource": texts.gather(of_record),
        "service": services.gather(of_record),
        "scope": names.gather(of_scope),
    }


def _parse(kind: Any, content: bytes) -> Any:
    try:
        return kind.FromString(content)
    except Exception:
        return kind()


def service_of(resource: dict[str, Any]) -> str:
    """Return the name of the service that a resource is of."""
    name = resource.get("service.name", "")
    return name if isinstance(name, str) else str(name)


def flat_attributes(pairs: Iterable[Any], before: str = "") -> dict[str, Any]:
    """Return the pairs of OTLP as a flat dictionary: keys of lists of pairs are joined by dots."""
    result: dict[str, Any] = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        if (
            kind == "kvlist_value"
            and pair.value.kvlist_value.values
            and before.count(".") < _DEEPEST
        ):
            result |= flat_attributes(pair.value.kvlist_value.values, f"{before}{pair.key}.")
        elif kind is not None:
            result[before + pair.key] = _value(pair.value, 0)
    return result


def _value(value: Any, depth: int) -> Any:
    kind = value.WhichOneof("value")
    if kind is None or depth > _DEEPEST:
        return None
    if kind == "array_value":
        return [_value(each, depth + 1) for each in value.array_value.values]
    if kind == "kvlist_value":
        return {each.key: _value(each.value, depth + 1) for each in value.kvlist_value.values}
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return getattr(value, kind)


def json_text(attributes: dict[str, Any]) -> str:
    """Return attributes as a JSON object, an empty text if there are none."""
    return orjson.dumps(attributes).decode() if attributes else ""


def _object(pairs: Iterable[Any]) -> str:
    return json_text(flat_attributes(pairs))


def body_text(content: Any) -> str:
    """Return a body as a text: what is no text as JSON, nothing as an empty one."""
    if isinstance(content, str):
        return content
    return "" if content is None else orjson.dumps(content).decode()
