"""Kept spans as OTLP's protobuf: their bytes are copied as they came, and no message is decoded.

What differs is the ``tracestate`` of spans that stand for others: the threshold with which a span is kept
is put into it, as OpenTelemetry's ``ot=th:``, by one more field at the span's end. Of a field that stands
twice protobuf takes the last.

Source: OpenTelemetry, "TraceState: Probability Sampling".
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.columns.compiling import compiled, copy
from operators.columns.messages import Messages

__all__ = ["compile_kernels", "encode_spans", "with_threshold"]

_STATE: Final = 3  # the field's number
_LONGEST: Final = 512
"""Characters of a tracestate that are passed on at least, as W3C has it: of longer ones the end goes."""


def with_threshold(state: str, threshold: int) -> str:
    """Return a ``tracestate`` with a threshold of 56 bits in it; one that has it stays as it is.

    >>> with_threshold("vendor=1,ot=rv:12;th:8", 3 << 54)
    'ot=rv:12;th:c,vendor=1'
    """
    digits = f"{threshold:014x}".rstrip("0") or "0"
    members = [member.strip() for member in state.split(",") if member.strip()]
    ours = next((member for member in members if member.startswith("ot=")), "ot=")
    parts = [part for part in ours[3:].split(";") if part]
    if f"th:{digits}" in parts:
        return state
    kept = [part for part in parts if not part.startswith("th:")]
    first = "ot=" + ";".join([*kept, f"th:{digits}"])
    found = [first]
    for member in members:
        if member != ours and len(",".join([*found, member])) <= _LONGEST:
            found.append(member)
    return ",".join(found)


def compile_kernels() -> None:
    """Compile the loops, or load them from the disk."""
    one = Messages.of([b"\x1a\x01a"])
    states, of_row = _new_states(one, np.array([1]))
    _write(one, states, of_row, one, one, np.zeros(1, np.int64))


def encode_spans(spans: pl.DataFrame) -> bytes:
    """Return a ``TracesData`` message, which is also an ``ExportTraceServiceRequest``.

    Args:
        spans: a SPANS frame.
    """
    if not spans.height:
        return b""
    groups = spans.select("resource", "scope").unique(maintain_order=True)
    numbered = groups.with_row_index("group")
    rows = (
        spans.select("span", "resource", "scope", "threshold")
        .join(numbered, on=("resource", "scope"), how="left", maintain_order="left")
        .sort("group", maintain_order=True)
    )
    content = _messages(rows["span"])
    states, of_row = _new_states(content, rows["threshold"].to_numpy())
    resources, scopes = _messages(groups["resource"]), _messages(groups["scope"])
    numbers = rows["group"].cast(pl.Int64).to_numpy()
    return _write(content, states, of_row, resources, scopes, numbers).tobytes()


def _messages(column: pl.Series) -> Messages:
    array = column.to_arrow()
    _, bounds, content = array.buffers()
    offsets = np.frombuffer(bounds, np.int64)[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(content, np.uint8) if content is not None else np.zeros(1, np.uint8)
    return Messages(data, offsets)


def _new_states(
    spans: Messages, thresholds: NDArray[np.int64]
) -> tuple[Messages, NDArray[np.int64]]:
    """Return the fields to put at the end of spans, and which each gets; -1 for none."""
    of_row = np.full(len(spans), -1, np.int64)
    some = np.flatnonzero(thresholds > 0)
    if not len(some):
        return Messages.of([]), of_row
    starts, sizes = _find_states(spans.buffer, spans.bounds, some)
    known: dict[tuple[bytes, int], int] = {}
    fields: list[bytes] = []
    # Few states differ: most spans have none, and a threshold is that of many.
    numbers, inverse = np.unique(thresholds[some], return_inverse=True)
    plain = sizes == 0
    for number in np.unique(inverse[plain]).tolist():
        known[b"", number] = len(fields)
        fields.append(_field(b"", int(numbers[number])))
    table = np.array([known.get((b"", n), -1) for n in range(len(numbers))], np.int64)
    of_row[some[plain]] = table[inverse[plain]]
    for at in np.flatnonzero(~plain).tolist():
        state = spans.buffer[starts[at] : starts[at] + sizes[at]].tobytes()
        key = state, int(inverse[at])
        if key not in known:
            known[key] = len(fields)
            fields.append(_field(state, int(numbers[inverse[at]])))
        of_row[some[at]] = known[key]
    return Messages.of(fields), of_row


def _field(state: bytes, threshold: int) -> bytes:
    text = with_threshold(state.decode("utf-8", "ignore"), threshold).encode()
    size, length = bytearray(), len(text)
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    return bytes([_STATE << 3 | 2, *size, length]) + text


@compiled
def _find_states(
    content: NDArray[np.uint8], bounds: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the tracestate of each span is, and its length; 0 without one."""
    starts = np.zeros(len(rows), np.int64)
    sizes = np.zeros(len(rows), np.int64)
    for number in range(len(rows)):
        at, end = bounds[rows[number]], bounds[rows[number] + 1]
        while at < end:
            key, at = _varint(content, at, end)
            kind = key & 7
            if kind == 0:
                _, at = _varint(content, at, end)
            elif kind == 1:
                at += 8
            elif kind == 5:
                at += 4
            elif kind == 2:
                size, at = _varint(content, at, end)
                if key >> 3 == _STATE:
                    starts[number], sizes[number] = at, min(size, end - at)
                at += size
            else:
                break
    return starts, sizes


@compiled
def _varint(content: NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    value, shift = 0, 0
    while at < end and shift < 63:
        byte = int(content[at])
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
    return value, at


def _write(
    spans: Messages,
    states: Messages,
    of_row: NDArray[np.int64],
    resources: Messages,
    scopes: Messages,
    groups: NDArray[np.int64],
) -> NDArray[Any]:
    total, in_scope, in_resource = _sizes(
        spans.bounds, states.bounds, of_row, resources.bounds, scopes.bounds, groups
    )
    target = np.empty(total, np.uint8)
    _fill(
        spans.buffer.ctypes.data, spans.bounds, states.buffer.ctypes.data, states.bounds, of_row,
        resources.buffer.ctypes.data, resources.bounds, scopes.buffer.ctypes.data, scopes.bounds,
        groups, in_scope, in_resource, target,
    )  # fmt: skip
    return target


@compiled
def _length(size: int) -> int:
    """Return the bytes of a field of bytes: its key, its length, and itself."""
    found = 2
    rest = size >> 7
    while rest > 0:
        found += 1
        rest >>= 7
    return found + size


@compiled
def _sizes(
    spans: NDArray[np.int64],
    states: NDArray[np.int64],
    of_row: NDArray[np.int64],
    resources: NDArray[np.int64],
    scopes: NDArray[np.int64],
    groups: NDArray[np.int64],
) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """Return the bytes of all, and those inside of each ScopeSpans and ResourceSpans."""
    count = len(resources) - 1
    in_scope = np.zeros(count, np.int64)
    in_resource = np.zeros(count, np.int64)
    for group in range(count):
        in_scope[group] = _length(scopes[group + 1] - scopes[group])
        in_resource[group] = _length(resources[group + 1] - resources[group])
    for row in range(len(groups)):
        size = spans[row + 1] - spans[row]
        if of_row[row] >= 0:
            size += states[of_row[row] + 1] - states[of_row[row]]
        in_scope[groups[row]] += _length(size)
    total = 0
    for group in range(count):
        in_resource[group] += _length(in_scope[group])
        total += _length(in_resource[group])
    return total, in_scope, in_resource


@compiled
def _begin(target: NDArray[np.uint8], at: int, field: int, size: int) -> int:
    """Write the key and length of a field of bytes; return where it goes on."""
    target[at] = field << 3 | 2
    at += 1
    while size > 127:
        target[at] = size & 127 | 128
        at += 1
        size >>= 7
    target[at] = size
    return at + 1


@compiled
def _fill(
    spans: int,
    span_bounds: NDArray[np.int64],
    states: int,
    state_bounds: NDArray[np.int64],
    of_row: NDArray[np.int64],
    resources: int,
    resource_bounds: NDArray[np.int64],
    scopes: int,
    scope_bounds: NDArray[np.int64],
    groups: NDArray[np.int64],
    in_scope: NDArray[np.int64],
    in_resource: NDArray[np.int64],
    target: NDArray[np.uint8],
) -> None:
    base = target.ctypes.data
    at = 0
    group = -1
    for row in range(len(groups)):
        if groups[row] != group:
            group = groups[row]
            at = _begin(target, at, 1, in_resource[group])
            size = resource_bounds[group + 1] - resource_bounds[group]
            at = _begin(target, at, 1, size)
            copy(base + at, resources + resource_bounds[group], size)
            at = _begin(target, at + size, 2, in_scope[group])
            size = scope_bounds[group + 1] - scope_bounds[group]
            at = _begin(target, at, 1, size)
            copy(base + at, scopes + scope_bounds[group], size)
            at += size
        size = span_bounds[row + 1] - span_bounds[row]
        more = 0
        if of_row[row] >= 0:
            more = state_bounds[of_row[row] + 1] - state_bounds[of_row[row]]
        at = _begin(target, at, 2, size + more)
        copy(base + at, spans + span_bounds[row], size)
        at += size
        if more > 0:
            copy(base + at, states + state_bounds[of_row[row]], more)
            at += more
