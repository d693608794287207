"""The hash that Prometheus has of a label set, which decides what ``limit_ratio`` picks.

It is XXH64 (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md) with seed 0 of the labels as
Prometheus 3 holds them: by name, for each its name and its value, each after its length. A length is a byte, or
255 and three bytes from the lowest one on.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import compiled, inlined, word_at
from operators.columns.messages import Messages
from operators.rules.label_sets import LabelSets

__all__ = ["prometheus_hashes"]

_1: Final = np.uint64(0x9E3779B185EBCA87)
_2: Final = np.uint64(0xC2B2AE3D27D4EB4F)
_3: Final = np.uint64(0x165667B19E3779F9)
_4: Final = np.uint64(0x85EBCA77C2B2AE63)
_5: Final = np.uint64(0x27D4EB2F165667C5)
_HALF: Final = np.uint64(0xFFFFFFFF)
_LONG: Final = 255


def prometheus_hashes(sets: LabelSets) -> NDArray[np.uint64]:
    """Return the hash of each label set, the metric's name among its labels."""
    texts, parts = sets.symbols.texts, [bytearray() for _ in range(sets.size)]
    for name, ids in sorted((texts[number], ids) for number, ids in sets.columns.items()):
        head = _sized(name)
        for row in np.flatnonzero(ids):
            parts[row] += head + _sized(texts[ids[row]])
    joined = Messages.of([bytes(part) for part in parts])
    return _hashes(joined.buffer, joined.bounds)


def _sized(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    size = len(data)
    return (bytes([size]) if size < _LONG else b"\xff" + size.to_bytes(3, "little")) + data


@compiled
def _hashes(data: NDArray[np.uint8], bounds: NDArray[np.int64]) -> NDArray[np.uint64]:
    made = np.empty(len(bounds) - 1, np.uint64)
    for row in range(len(made)):
        made[row] = _xxh64(data, bounds[row], bounds[row + 1])
    return made


@inlined
def _rotated(x: np.uint64, bits: int) -> np.uint64:
    return np.uint64((x << np.uint64(bits)) | (x >> np.uint64(64 - bits)))


@inlined
def _round(lane: np.uint64, word: np.uint64) -> np.uint64:
    return np.uint64(_rotated(lane + word * _2, 31) * _1)


@compiled
def _xxh64(data: NDArray[np.uint8], at: int, end: int) -> np.uint64:
    size = end - at
    if size >= 32:
        lanes = np.empty(4, np.uint64)
        lanes[0], lanes[1] = _1 + _2, _2
        lanes[2], lanes[3] = np.uint64(0), np.uint64(0) - _1
        while end - at >= 32:
            for i in range(4):
                lanes[i] = _round(lanes[i], word_at(data, at + 8 * i))
            at += 32
        made = _rotated(lanes[0], 1) + _rotated(lanes[1], 7)
        made += _rotated(lanes[2], 12) + _rotated(lanes[3], 18)
        for i in range(4):
            made = (made ^ _round(np.uint64(0), lanes[i])) * _1 + _4
    else:
        made = _5
    made += np.uint64(size)
    while end - at >= 8:
        made = _rotated(made ^ _round(np.uint64(0), word_at(data, at)), 27) * _1 + _4
        at += 8
    if end - at >= 4:
        made = _rotated(made ^ ((word_at(data, at) & _HALF) * _1), 23) * _2 + _3
        at += 4
    while at < end:
        made = _rotated(made ^ (np.uint64(data[at]) * _5), 11) * _1
        at += 1
    made = (made ^ (made >> np.uint64(33))) * _2
    made = (made ^ (made >> np.uint64(29))) * _3
    return np.uint64(made ^ (made >> np.uint64(32)))
