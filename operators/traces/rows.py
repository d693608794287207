"""Spans on their way to the shard of their trace: rows of numbers, and bytes beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import Word, compiled, copy, fold, signed, uncounted
from operators.columns.messages import PADDING
from operators.contracts.span_decoder import DecodedSpans

__all__ = ["CLIENT", "CONSUMER", "NO_ROWS", "ONE", "PRODUCER", "SERVER", "TRACE_ROW", "SpanContent", "chosen", "joined", "spread", "weights"]  # fmt: skip

SERVER: Final = 2
CLIENT: Final = 3
PRODUCER: Final = 4
CONSUMER: Final = 5

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
        ("resource", np.int64),  # where its resource begins, and behind it its scope
        ("size", np.int32),
        ("resource_size", np.int32),
        ("scope_size", np.int32),
        ("kind", np.uint8),
        ("status", np.uint8),
    ],
    align=True,
)
"""One span a row; see ``SPAN_ROW``."""

NO_ROWS: Final = np.empty(0, TRACE_ROW)
ONE: Final = 256
"""A span of which nothing was left out, in the units in which spans are counted."""
_ALL: Final = 1 << 56


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


class SpanContent(NamedTuple):
    """The rows of a shard, and the bytes that they point into."""

    rows: NDArray[Any]
    content: NDArray[np.uint8]


@uncounted
def _shard(high: Word, low: Word, shards: int) -> int:
    mixed = fold(low ^ np.uint64(0xA0761D6478BD642F), high ^ np.uint64(0xE7037ED1A0B428DB))
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

    Args:
        decoded: what a poll held.
        operations: the id of each span's operation.
        kept: which spans go on.
        shards: their number.
        content: whether their bytes go with them.
    """
    numbers, bounds, sizes = _count(
        decoded.rows, kept, decoded.resources, decoded.scopes, shards, content
    )
    found = []
    for shard in range(shards):
        rows = np.empty(bounds[shard], TRACE_ROW)
        out = np.empty(sizes[shard] + PADDING if content else 0, np.uint8)
        if len(rows):
            _fill(
                decoded.rows, operations, numbers, shard, decoded.resources, decoded.scopes,
                decoded.buffer.ctypes.data, rows, out, content,
            )  # fmt: skip
        found.append(SpanContent(rows, out))
    return found


@compiled
def _count(
    spans: np.ndarray,
    kept: NDArray[np.bool_],
    resources: np.ndarray,
    scopes: np.ndarray,
    shards: int,
    content: bool,
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Return the shard of each span, -1 for none, and the rows and bytes of each shard."""
    numbers = np.full(len(spans), -1, np.int32)
    counts = np.zeros(shards, np.int64)
    sizes = np.zeros(shards, np.int64)
    last = np.full(shards, -1, np.int64)
    for row in range(len(spans)):
        if not kept[row]:
            continue
        span = spans[row]
        shard = _shard(span.trace_high, span.trace_low, shards)
        numbers[row] = shard
        counts[shard] += 1
        if content:
            sizes[shard] += span.end - span.start
            if last[shard] != span.scope:
                last[shard] = span.scope
                resource, scope = resources[span.resource], scopes[span.scope]
                sizes[shard] += resource.end - resource.start + scope.end - scope.start
    return numbers, counts, sizes


@compiled
def _fill(
    spans: np.ndarray,
    operations: NDArray[np.uint64],
    numbers: NDArray[np.int32],
    shard: int,
    resources: np.ndarray,
    scopes: np.ndarray,
    base: int,
    rows: np.ndarray,
    out: NDArray[np.uint8],
    content: bool,
) -> None:
    at = 0
    place = 0
    last = np.int64(-1)
    origin = 0
    target = out.ctypes.data
    for number in range(len(spans)):
        if numbers[number] != shard:
            continue
        span, row = spans[number], rows[at]
        at += 1
        row.trace_high, row.trace_low = span.trace_high, span.trace_low
        row.span, row.parent = span.span, span.parent
        row.operation = operations[number]
        # A span that ends before it begins has taken no time.
        row.begun, row.ended = min(span.begun, span.ended), span.ended
        row.threshold, row.randomness = span.threshold, span.randomness
        row.kind, row.status = span.kind, span.status
        resource, scope = resources[span.resource], scopes[span.scope]
        row.size = np.int32(span.end - span.start)
        row.resource_size = np.int32(resource.end - resource.start)
        row.scope_size = np.int32(scope.end - scope.start)
        row.start, row.resource = 0, 0
        if not content:
            continue
        if last != span.scope:
            last = span.scope
            origin = place
            copy(target + place, base + resource.start, resource.end - resource.start)
            place += resource.end - resource.start
            copy(target + place, base + scope.start, scope.end - scope.start)
            place += scope.end - scope.start
        row.resource = origin
        row.start = place
        copy(target + place, base + span.start, span.end - span.start)
        place += span.end - span.start


def weights(thresholds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many spans each stands for, in parts of ``ONE``: those with its threshold are kept
    with a probability of ``1 - threshold / 2**56``.
    """
    if not (thresholds > 0).any():
        return np.full(len(thresholds), ONE, np.int64)
    kept = _ALL - np.maximum(thresholds, 0).astype(np.float64)
    return np.rint(ONE * _ALL / np.maximum(kept, 1.0)).astype(np.int64)
