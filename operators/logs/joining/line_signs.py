"""A compiled look at every line, before expressions are applied: which may be of a trace, and whose.

It errs on one side only: what an expression of ``operators.logs.joining.joined_lines`` finds is marked here, and few
lines are marked in vain. So the expressions, which cost ten times as much, are applied to those alone.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import Word, compiled, fold, uncounted, word_at
from operators.columns.scanning import hash_range
from operators.decoders.json.scan import (
    MOST_LEVELS,
    first_member,
    key_table,
    next_member,
    scan_string,
    skip_value,
    which_of,
)

__all__ = ["SOURCE_KEYS", "marked_lines", "source_hashes", "text_hashes"]

SOURCE_KEYS: Final = (
    "log.file.path", "log.file.name", "file", "filename", "filepath", "file_path", "file.path", "path",
    "stream", "log.iostream", "iostream",
    "k8s.pod.uid", "k8s.pod.name", "kubernetes.pod_id", "kubernetes.pod_name", "kubernetes.pod.name",
    "container_id", "container.id", "kubernetes.docker_id",
)  # fmt: skip
"""Attributes that say of which stream of lines a record is."""

_SOURCES: Final = key_table(*SOURCE_KEYS)
_SEED: Final = np.uint64(0x6C696E65)


def _word(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(text.encode(), "little"))


_FOUR: Final = np.uint64(0xFFFFFFFF)
_LOWERED: Final = np.uint64(0x2020202020202020)
_WORDS: Final = np.array(
    [
        _word(text) | (_LOWERED & _FOUR)
        for text in (
            "erro", "exce", "pani", "trac", "fata", "crit", "seve", "fail", "thro", "unha", "warn", "exit",
        )
    ],
    np.uint64,
)  # fmt: skip
_INTERRUPT: Final = _word("interrup")
_STARTS: Final = np.array(
    [_word(text) for text in ("Caus", "Supp", "goro", "Duri", "The ", "[sig", "crea")], np.uint64
)


def _pairs() -> NDArray[np.bool_]:
    """Return which two letters a word may begin with, each told by its five lowest bits."""
    table = np.zeros(1024, np.bool_)
    for word in (*_WORDS.tolist(), int(_INTERRUPT)):
        table[32 * (word & 31) + (word >> 8 & 31)] = True
    return table


_PAIRS: Final = _pairs()


@uncounted
def _is_marked(buffer: NDArray[np.uint8], start: int, end: int) -> bool:
    if end == start or buffer[start] <= 32 or buffer[end - 1] == 41:
        return True
    first = word_at(buffer, start) & _FOUR
    for row in range(len(_STARTS)):
        if first == _STARTS[row]:
            return True
    letter = np.int64(buffer[start]) & 31
    for at in range(start, end - 3):
        pair = 32 * letter
        letter = np.int64(buffer[at + 1]) & 31
        if not _PAIRS[pair + letter]:
            continue
        word = word_at(buffer, at) | _LOWERED
        four = word & _FOUR
        for row in range(len(_WORDS)):
            if four == _WORDS[row]:
                return True
        if word == _INTERRUPT:
            return True
    return False


@compiled
def marked_lines(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Say which lines may be of a trace, or begin one.

    Args:
        buffer: the lines, and ``PADDING``.
        starts: where each begins.
        ends: where each ends.
    """
    marked = np.empty(len(starts), np.bool_)
    for row in range(len(starts)):
        marked[row] = _is_marked(buffer, starts[row], ends[row])
    return marked


@compiled
def text_hashes(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    hashes: NDArray[np.uint64],
) -> None:
    """Fold the hash of each text into what is there; the same in every process."""
    for row in range(len(starts)):
        mine: Word = hash_range(buffer, starts[row], ends[row], _SEED)
        hashes[row] = fold(hashes[row] ^ mine, np.uint64(0xA0761D6478BD642F))


@compiled
def source_hashes(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Return a hash of what each flat object says of the stream that a line is of; 0 if nothing.

    Args:
        buffer: objects of JSON, and ``PADDING``; an empty range says nothing.
        starts: where each begins.
        ends: where each ends.
    """
    hashes = np.zeros(len(starts), np.uint64)
    levels = np.empty(MOST_LEVELS, np.uint8)
    for row in range(len(starts)):
        end = ends[row]
        if end - starts[row] < 3:
            continue
        mixed = np.uint64(0)
        key, key_end, value, _ = first_member(buffer, starts[row], end)
        while key >= 0:
            if buffer[value] == 34:
                close, _ = scan_string(buffer, value + 1, end)
                after = close + 1
            else:
                after = skip_value(buffer, value, end, levels)
            number = which_of(buffer, key, key_end, _SOURCES)
            if number >= 0:
                mine = hash_range(buffer, value, after, _SEED + np.uint64(number))
                mixed ^= mine | np.uint64(1)
            key, key_end, value, _ = next_member(buffer, after, end)
        hashes[row] = mixed
    return hashes
