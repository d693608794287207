"""Damage to messages, compiled: one call makes a poll of a thousand of them.

A message is one of the corpus, changed a few times. Half of the changes know nothing of a format:
bits, bytes, chunks, numbers, splices of two messages. The other half know where things begin and
end: in a text, pieces between delimiters are exchanged (``pieces``); in protobuf, fields are, and
the lengths around them are put right (``fields``), so that damage reaches the innermost level.
"""

# ruff: noqa: PLR0912 -- each branch is one kind of damage

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import compiled, signed
from tests.fuzz.fields import change_field
from tests.fuzz.splicing import below, repeat, splice

__all__ = ["Material", "make_material", "mutate"]

_WHOLE_IN: Final = 8
"""One message in so many stays as it is in the corpus."""

_NUMBERS: Final = np.array(
    [
        0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1,
        0x7FF0000000000000, 0xFFF0000000000000, 0x7FF8000000000000, 0x7FF0000000000002,
        0x8000000000000000, 0x3FF0000000000000, 0x7FEFFFFFFFFFFFFF, 0x0010000000000000,
        0x4330000000000000, 0x43E0000000000000, 0xC3E0000000000000,
    ],
    np.uint64,
).view(np.uint8).reshape(-1, 8)  # fmt: skip
"""Integers at the ends of their types, infinities, NaN and Prometheus's, powers of two."""


class Material(NamedTuple):
    """What messages are made of: the corpus, and tokens of the format, each as bytes and bounds."""

    corpus: NDArray[np.uint8]
    bounds: NDArray[np.int64]
    tokens: NDArray[np.uint8]
    token_bounds: NDArray[np.int64]
    delimiters: NDArray[np.bool_]
    nested: bool  # whether it is protobuf


def make_material(
    corpus: list[bytes], tokens: list[bytes], delimiters: bytes, nested: bool
) -> Material:
    """Lay out messages and tokens for the compiled loops."""
    is_delimiter = np.zeros(256, np.bool_)
    is_delimiter[list(delimiters)] = True
    return Material(*_laid_out(corpus), *_laid_out(tokens), is_delimiter, nested)


def _laid_out(texts: list[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    bounds = np.concatenate(([0], np.cumsum([len(text) for text in texts]))).astype(np.int64)
    return np.frombuffer(b"".join(texts), np.uint8).copy(), bounds


@compiled
def mutate(
    material: Material, seed: int, count: int, limit: int, out: NDArray[np.uint8]
) -> NDArray[np.int64]:
    """Write ``count`` messages of at most ``limit`` bytes, as far as ``out`` has room for them.

    Returns where each begins in ``out``, and where the last one ends.
    """
    state = np.array([seed], np.uint64)
    work = np.empty(limit + 64, np.uint8)
    scratch = np.empty(limit + 64, np.uint8)
    bounds = np.zeros(count + 1, np.int64)
    made = 0
    at = 0
    while made < count and at + limit <= len(out):
        chosen = below(state, len(material.bounds) - 1)
        begin = material.bounds[chosen]
        size = min(material.bounds[chosen + 1] - begin, limit)
        work[:size] = material.corpus[begin : begin + size]
        if below(state, _WHOLE_IN):
            times = 1
            while times < 6 and below(state, 2):
                times += 1
            for _ in range(times):
                if below(state, 2) == 0:
                    size = _change_bytes(state, work, size, material, scratch, limit)
                elif material.nested:
                    size = change_field(
                        state, work, size, material.corpus, material.bounds, material.tokens,
                        material.token_bounds, scratch, limit,
                    )  # fmt: skip
                else:
                    size = _change_piece(state, work, size, material, scratch, limit)
        out[at : at + size] = work[:size]
        at += size
        made += 1
        bounds[made] = at
    return bounds[: made + 1]


@compiled
def _change_bytes(
    state: NDArray[np.uint64],
    work: NDArray[np.uint8],
    size: int,
    material: Any,
    scratch: NDArray[np.uint8],
    limit: int,
) -> int:
    """Change a message in a way that knows nothing of its format; return its new size."""
    kind = below(state, 12)
    if size == 0:
        kind = 9
    at = below(state, size + 1) if kind >= 7 else below(state, max(size, 1))
    if kind == 0:
        work[at] ^= np.uint8(1 << below(state, 8))
    elif kind == 1:
        work[at] = np.uint8(below(state, 256))
    elif kind == 2:
        work[at] = np.uint8((signed(work[at]) + below(state, 17) - 8) & 255)
    elif kind == 3:
        size = at
    elif kind == 4:
        removed = min(1 + below(state, 1 + below(state, 64)), size - at)
        size = splice(work, size, at, removed, scratch, 0, 0, limit)
    elif kind == 5:
        number = _NUMBERS[below(state, len(_NUMBERS))]
        for place in range(min(8, size - at)):
            work[at + place] = number[place]
    elif kind == 6:
        other = below(state, size)
        for place in range(min(1 + below(state, 8), size - max(at, other))):
            byte = work[at + place]
            work[at + place] = work[other + place]
            work[other + place] = byte
    elif kind == 7 or kind == 8:  # noqa: PLR1714 -- numba makes a list of a tuple
        # The end, or a chunk, of another message.
        chosen = below(state, len(material.bounds) - 1)
        begin, end = material.bounds[chosen], material.bounds[chosen + 1]
        source = begin + below(state, end - begin + 1)
        taken = end - source if kind == 7 else min(end - source, below(state, 128))
        removed = size - at if kind == 7 else 0
        size = splice(work, size, at, removed, material.corpus, source, taken, limit)
    elif kind == 9 or kind == 10:  # noqa: PLR1714
        token = below(state, len(material.token_bounds) - 1)
        source = material.token_bounds[token]
        taken = material.token_bounds[token + 1] - source
        removed = min(taken, size - at) if kind == 10 else 0
        size = splice(work, size, at, removed, material.tokens, source, taken, limit)
    else:
        # A chunk many times over, now and then until there is no more room.
        taken = min(1 + below(state, 1 + below(state, 64)), size - at)
        scratch[:taken] = work[at : at + taken]
        times = limit if below(state, 8) == 0 else 1 + below(state, 4)
        size = repeat(work, size, at, scratch, 0, taken, times, limit)
    return size


@compiled
def _change_piece(
    state: NDArray[np.uint64],
    work: NDArray[np.uint8],
    size: int,
    material: Any,
    scratch: NDArray[np.uint8],
    limit: int,
) -> int:
    """Remove, double or exchange what lies between two delimiters; return the new size."""
    begin, end = _piece(state, work, 0, size, material.delimiters)
    kind = below(state, 8)
    if kind == 0:
        return splice(work, size, begin, end - begin, scratch, 0, 0, limit)
    if kind == 1:
        taken = min(size - begin, end - begin + 1)
        scratch[:taken] = work[begin : begin + taken]
        return splice(work, size, begin, 0, scratch, 0, taken, limit)
    if kind <= 3:
        chosen = below(state, len(material.bounds) - 1)
        first, last = _piece(
            state, material.corpus, material.bounds[chosen], material.bounds[chosen + 1],
            material.delimiters,
        )  # fmt: skip
        return splice(work, size, begin, end - begin, material.corpus, first, last - first, limit)
    token = below(state, len(material.token_bounds) - 1)
    source = material.token_bounds[token]
    taken = material.token_bounds[token + 1] - source
    return splice(work, size, begin, end - begin, material.tokens, source, taken, limit)


@compiled
def _piece(
    state: NDArray[np.uint64],
    text: NDArray[np.uint8],
    first: int,
    last: int,
    delimiters: NDArray[np.bool_],
) -> tuple[int, int]:
    """Return where a piece around a random place begins and ends."""
    begin = end = first + below(state, last - first + 1)
    while begin > first and not delimiters[text[begin - 1]]:
        begin -= 1
    while end < last and not delimiters[text[end]]:
        end += 1
    return begin, end
