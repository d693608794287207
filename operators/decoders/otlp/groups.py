"""Where resources, scopes and what belongs to them lie in messages of OTLP's logs and traces.

The two formats are alike down to there: a message has groups, each with a resource and scopes; a
scope has entries, which are log records or spans. Entries are left for others to read.
"""

# ruff: noqa: PLR0912, PLR0915 -- a parser is a list of fields and errors

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import compiled
from operators.contracts.span_decoder import RANGE
from operators.decoders.protobuf.reading import (
    LENGTH,
    WRONG_TYPE,
    read_length,
    read_tag,
    skip,
)

__all__ = ["ENTRY", "Groups", "groups_of"]

ENTRY: Final = np.dtype(
    [
        ("message", np.uint32),
        ("resource", np.int64),  # row of the poll's resources
        ("scope", np.int64),
        ("start", np.int64),  # where it lies in the buffer
        ("end", np.int64),
    ],
    align=True,
)
_BYTES_AN_ENTRY: Final = 64


class Groups(NamedTuple):
    """What a poll's messages hold.

    Attributes:
        entries: rows of ENTRY, in the order of the messages; none of a message that is malformed.
        resources, scopes: rows of RANGE, empty where there is none.
        status: of each message, negative for the reason why it is none.
    """

    entries: NDArray[np.void]
    resources: NDArray[np.void]
    scopes: NDArray[np.void]
    status: NDArray[np.int64]


def groups_of(buffer: NDArray[np.uint8], bounds: NDArray[np.int64]) -> Groups:
    """Return what lies between ``bounds``; the buffer has ``PADDING``."""
    # Room that is not touched costs nothing; to copy it would.
    size = max(len(buffer) // _BYTES_AN_ENTRY, 64)
    entries, resources, scopes = (np.empty(size, kind) for kind in (ENTRY, RANGE, RANGE))
    status, filled = np.zeros(len(bounds) - 1, np.int64), np.zeros(4, np.int64)
    base = buffer.ctypes.data
    while _walk(base, bounds, entries, resources, scopes, status, filled) < len(status):
        entries, resources, scopes = (
            np.concatenate([each, np.empty_like(each)]) for each in (entries, resources, scopes)
        )
    return Groups(entries[: filled[0]], resources[: filled[1]], scopes[: filled[2]], status)


@compiled
def _walk(
    base: int,
    bounds: NDArray[np.int64],
    entries: np.ndarray,
    resources: np.ndarray,
    scopes: np.ndarray,
    status: NDArray[np.int64],
    filled: NDArray[np.int64],
) -> int:
    """Walk messages from ``filled[3]`` on, as far as there is room.

    Args:
        base: address of the buffer.
        bounds: where each message begins in it, and where one more would.
        entries, resources, scopes: are filled with what was found.
        status: by message, negative for the reason why it is none.
        filled: how many entries, resources, scopes and messages there are.

    Returns:
        The number of messages that are done.
    """
    for message in range(filled[3], len(bounds) - 1):
        first = filled.copy()
        at, end = base + bounds[message], base + bounds[message + 1]
        while 0 <= at < end:
            tag, at = read_tag(at, end)
            if at < 0:
                break
            if tag != (1 << 3 | LENGTH):
                at = WRONG_TYPE if tag >> 3 == 1 else skip(tag, at, end)
                continue
            group, at = read_length(at, end)
            if at < 0:
                break
            if filled[1] >= len(resources):
                filled[:] = first
                return message
            resource = filled[1]
            resources[resource].start, resources[resource].end = 0, 0
            filled[1] += 1
            place = group
            while 0 <= place < at:
                tag, place = read_tag(place, at)
                if place < 0:
                    break
                if tag >> 3 > 2 or tag & 7 != LENGTH:
                    place = WRONG_TYPE if tag >> 3 <= 2 else skip(tag, place, at)
                    continue
                inner, place = read_length(place, at)
                if place < 0:
                    break
                if tag >> 3 == 1:
                    resources[resource].start, resources[resource].end = inner - base, place - base
                    continue
                if filled[2] >= len(scopes):
                    filled[:] = first
                    return message
                scope = filled[2]
                scopes[scope].start, scopes[scope].end = 0, 0
                filled[2] += 1
                stop = place
                while 0 <= inner < stop:
                    tag, inner = read_tag(inner, stop)
                    if inner < 0:
                        break
                    if tag >> 3 > 2 or tag & 7 != LENGTH:
                        inner = WRONG_TYPE if tag >> 3 <= 2 else skip(tag, inner, stop)
                        continue
                    start, inner = read_length(inner, stop)
                    if inner < 0:
                        break
                    if tag >> 3 == 1:
                        scopes[scope].start, scopes[scope].end = start - base, inner - base
                        continue
                    if filled[0] >= len(entries):
                        filled[:] = first
                        return message
                    entry = entries[filled[0]]
                    entry.message, entry.resource, entry.scope = message, resource, scope
                    entry.start, entry.end = start - base, inner - base
                    filled[0] += 1
                if inner < 0:
                    place = inner
                    break
            if place < 0:
                at = place
                break
        status[message] = min(at, 0)
        if at < 0:
            filled[:] = first
        filled[3] = message + 1
    return int(filled[3])
