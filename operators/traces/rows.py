"""Spans on their way to the shard of their trace: rows of numbers, and bytes beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import Word, compiled, copy, fold, signed, uncounted
from operators.columns.messages import PADDING
from operators.contracts.span_decoder import DecodedSpans

__all__ = ["CLIENT", "CONSUMER", "FAILED", "NO_ROWS", "ONE", "PRODUCER", "SERVER", "TRACE_ROW", "Part", "SpanContent", "chosen", "ended_between", "joined", "joined_chosen", "keys_of", "own", "parted", "spread", "starts_of", "trace_key", "weights"]  # fmt: skip

SERVER: Final = 2
CLIENT: Final = 3
PRODUCER: Final = 4
CONSUMER: Final = 5
FAILED: Final = 2
"""The status of a span; those before are kinds."""

TRACE_ROW: Final = np.dtype(
    [
        ("trace_high", np.uint64),
        ("trace_low", np.uint64),
        ("span", np.uint64),
        ("parent", np.uint64),
        ("operation", np.uint64),  # its id, the same in all processes
        ("begun", np.int64),
        ("ended", np.int64),
        ("threshold", np.int64),
        ("randomness", np.int64),
        ("start", np.int64),  # of its bytes in the content that comes with it
        ("resource", np.int64),  # and where its resource and its scope begin
        ("scope", np.int64),
        ("size", np.int32),
        ("resource_size", np.int32),
        ("scope_size", np.int32),
        ("kind", np.uint8),
        ("status", np.uint8),
    ],
    align=True,
)
"""One span a row; see ``SPAN_ROW``."""

_SIZE: Final = TRACE_ROW.itemsize
NO_ROWS: Final = np.empty(0, TRACE_ROW)
_NO_BYTES: Final = np.empty(0, np.uint8)
ONE: Final = 256
"""A span of which nothing was left out, in the units in which spans are counted."""
_LARGE: Final = 4
"""One that has less than this part of what came together is no large part of it, see ``Part``."""
_ALL: Final = 1 << 56
_MOST: Final = 1 << 24
"""A span stands for so many at most. Whoever calls a service sets its threshold, so it is not to be trusted."""


def joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return arrays of one type, one after the other; a single one is not copied."""
    if len(parts) == 1:
        return parts[0]
    kind = parts[0].dtype
    if kind.names is None:
        return np.concatenate(parts)
    # As bytes, since NumPy copies rows field by field: that takes ten times as long.
    found: NDArray[Any] = np.concatenate([part.view(np.uint8) for part in parts]).view(kind)
    return found


def chosen(rows: NDArray[Any], which: NDArray[Any]) -> NDArray[Any]:
    """Return the rows that a mask or indexes say, copied as a whole, as in ``joined``."""
    kind = rows.dtype
    found: NDArray[Any] = rows.view(np.dtype((np.void, kind.itemsize)))[which].view(kind)
    return found


def joined_chosen(
    parts: Sequence[NDArray[Any]], masks: Sequence[NDArray[np.bool_]]
) -> NDArray[Any]:
    """Return the rows that masks say, of one part after the other."""
    kind = parts[0].dtype
    ends = np.cumsum([np.count_nonzero(mask) for mask in masks]).tolist()
    found = np.empty(ends[-1], kind)
    place = found.ctypes.data
    for part, mask, first in zip(parts, masks, [0, *ends], strict=False):
        size = kind.itemsize
        _copy_chosen(np.ascontiguousarray(part).ctypes.data, mask, place + first * size, size)
    return found


@compiled
def _copy_chosen(source: int, mask: NDArray[np.bool_], target: int, size: int) -> None:
    for row in range(len(mask)):
        if mask[row]:
            copy(target, source + row * size, size)
            target += size


def ended_between(parts: Sequence[NDArray[Any]], first: int, end: int, count: int) -> NDArray[Any]:
    """Return the spans that ended from ``first`` on and before ``end``, of one part after the other.

    ``count`` says how many those are.
    """
    found = np.empty(count, TRACE_ROW)
    filled = 0
    for part in parts:
        filled = _copy_ended(part, part.ctypes.data, first, end, found, filled)
    return found[:filled]


@compiled
def _copy_ended(
    rows: np.ndarray, source: int, first: int, end: int, target: np.ndarray, filled: int
) -> int:
    place = target.ctypes.data
    for number in range(len(rows)):
        if first <= rows[number].ended < end and filled < len(target):
            copy(place + filled * _SIZE, source + number * _SIZE, _SIZE)
            filled += 1
    return filled


class SpanContent(NamedTuple):
    """The rows of a shard, and the bytes that they point into."""

    rows: NDArray[Any]
    content: NDArray[np.uint8]


@uncounted
def trace_key(high: Word, low: Word, salt: Word) -> Word:
    """Return a number for a trace; ``salt`` is the hash of its tenant, so those of tenants differ."""
    return fold(low ^ np.uint64(0xA0761D6478BD642F), high ^ np.uint64(0xE7037ED1A0B428DB) ^ salt)


@compiled
def keys_of(rows: np.ndarray, salts: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a number for the trace of each row; those of tenants differ."""
    found = np.empty(len(rows), np.uint64)
    for number in range(len(rows)):
        row = rows[number]
        found[number] = trace_key(row.trace_high, row.trace_low, salts[number])
    return found


@uncounted
def _shard(high: Word, low: Word, shards: int) -> int:
    mixed = trace_key(high, low, np.uint64(0))
    return signed((mixed >> np.uint64(33)) % np.uint64(shards))  # type: ignore[no-any-return]


def spread(
    decoded: DecodedSpans,
    operations: NDArray[np.uint64],
    kept: NDArray[np.bool_],
    shards: int,
    *,
    content: bool,
) -> list[SpanContent]:
    """Part spans by the shard of their trace, in the order of their coming.

    All of them point into the poll's buffer: so no bytes are copied but of spans that are kept. What goes
    to another process gets bytes of its own (``own``).

    Args:
        decoded: what a poll held.
        operations: the id of each span's operation.
        kept: which spans go on.
        shards: their number.
        content: whether their bytes go with them.
    """
    numbers, bounds = _count(decoded.rows, kept, shards)
    rows = np.empty(bounds[-1], TRACE_ROW)
    if len(rows):
        _fill(
            decoded.rows, operations, numbers, bounds[:-1].copy(), decoded.resources, decoded.scopes, rows
        )  # fmt: skip
    buffer = decoded.buffer if content else _NO_BYTES
    ends = bounds.tolist()
    return [
        SpanContent(rows[first:end], buffer if first < end else _NO_BYTES)
        for first, end in pairwise(ends)
    ]


@compiled
def _count(
    spans: np.ndarray, kept: NDArray[np.bool_], shards: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the shard of each span, -1 for none, and where the rows of each shard begin and end."""
    numbers = np.full(len(spans), -1, np.int32)
    bounds = np.zeros(shards + 1, np.int64)
    for row in range(len(spans)):
        if kept[row]:
            span = spans[row]
            shard = _shard(span.trace_high, span.trace_low, shards)
            numbers[row] = shard
            bounds[shard + 1] += 1
    for shard in range(shards):
        bounds[shard + 1] += bounds[shard]
    return numbers, bounds


@compiled
def _fill(
    spans: np.ndarray,
    operations: NDArray[np.uint64],
    numbers: NDArray[np.int32],
    place: NDArray[np.int64],
    resources: np.ndarray,
    scopes: np.ndarray,
    rows: np.ndarray,
) -> None:
    for number in range(len(spans)):
        shard = numbers[number]
        if shard < 0:
            continue
        span, row = spans[number], rows[place[shard]]
        place[shard] += 1
        row.trace_high, row.trace_low = span.trace_high, span.trace_low
        row.span, row.parent = span.span, span.parent
        row.operation = operations[number]
        # A span that ends before it begins, or does not say when it began, has taken no time.
        row.begun, row.ended = min(span.begun, span.ended), span.ended
        if span.begun == 0:
            row.begun = span.ended
        row.threshold, row.randomness = span.threshold, span.randomness
        row.kind, row.status = span.kind, span.status
        resource, scope = resources[span.resource], scopes[span.scope]
        row.start, row.size = span.start, np.int32(span.end - span.start)
        row.resource = resource.start
        row.resource_size = np.int32(resource.end - resource.start)
        row.scope, row.scope_size = scope.start, np.int32(scope.end - scope.start)


def own(rows: NDArray[Any], content: NDArray[np.uint8]) -> SpanContent:
    """Return rows that point into bytes in which nothing else is.

    The resource and scope of rows that stand together are copied once.
    """
    found = rows.view(np.uint8).copy().view(TRACE_ROW)
    target = np.empty(_size_of(found) + PADDING, np.uint8)
    _move(found, content.ctypes.data, target)
    return SpanContent(found, target)


@uncounted
def _alike(rows: np.ndarray, number: int) -> bool:
    """Say whether a row has the resource and scope of the one before."""
    row, before = rows[number], rows[number - 1]
    return bool(row.resource == before.resource and row.scope == before.scope)


@compiled
def _size_of(rows: np.ndarray) -> int:
    size = 0
    for number in range(len(rows)):
        row = rows[number]
        size += row.size
        if number == 0 or not _alike(rows, number):
            size += row.resource_size + row.scope_size
    return size


@compiled
def _move(rows: np.ndarray, source: int, out: NDArray[np.uint8]) -> None:
    target = out.ctypes.data
    place = 0
    resource, scope = np.int64(-1), np.int64(-1)  # where the row before had them
    origin = 0
    for number in range(len(rows)):
        row = rows[number]
        if row.resource != resource or row.scope != scope:
            resource, scope = row.resource, row.scope
            origin = place
            copy(target + place, source + resource, row.resource_size)
            place += row.resource_size
            copy(target + place, source + scope, row.scope_size)
            place += row.scope_size
        row.resource, row.scope = origin, origin + row.resource_size
        copy(target + place, source + row.start, row.size)
        row.start = place
        place += row.size


@compiled
def starts_of(rows: np.ndarray, window: int) -> NDArray[np.int64]:
    """Return where the window begins in which each span ended."""
    found = np.empty(len(rows), np.int64)
    start = np.int64(-window)
    for number in range(len(rows)):
        ended = rows[number].ended
        if not start <= ended < start + window:  # most are of that before
            start = ended - ended % window
        found[number] = start
    return found


class Part(NamedTuple):
    """What is of one place, of spans that came together.

    Attributes:
        place: where they belong.
        which: numbers of the spans.
        large: whether they are a large part. Then their place may share the rows of all; else it gets rows of
            its own, so none keeps more than four times what it needs: one wrong clock must not keep all for long.
    """

    place: int
    which: NDArray[np.int64]
    large: bool


def parted(places: NDArray[np.int64]) -> Iterator[Part]:
    """Part spans by their places, such as windows; they may be of as many as there are of them. Some there must be."""
    if (places == places[0]).all():
        yield Part(int(places[0]), np.arange(len(places)), True)
        return
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    firsts = np.flatnonzero(np.diff(ordered)) + 1
    for first, end in pairwise([0, *firsts.tolist(), len(places)]):
        yield Part(int(ordered[first]), order[first:end], _LARGE * (end - first) >= len(places))


def weights(thresholds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many spans each stands for, in parts of ``ONE``: those with its threshold are kept
    with a probability of ``1 - threshold / 2**56``. They are 16 million at most.
    """
    if not (thresholds > 0).any():
        return np.full(len(thresholds), ONE, np.int64)
    kept = _ALL - np.maximum(thresholds, 0).astype(np.float64)
    found: NDArray[np.int64] = np.rint(
        ONE * np.minimum(_ALL / np.maximum(kept, 1.0), _MOST)
    ).astype(np.int64)
    return found
