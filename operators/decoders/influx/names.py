"""Names in InfluxDB line protocol: where they end, and what they are without their escapes."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.scanning import inlined, scan_float, uncounted

__all__ = ["KEY", "MEASUREMENT", "name_end", "name_lines", "number_ranges", "sizes_of_names"]

_SPACE, _COMMA, _EQUALS, _BACKSLASH, _UNDERSCORE, _DELETE = 32, 44, 61, 92, 95, 127
_VALUE = np.frombuffer(b"value", np.uint8)


def _classes() -> NDArray[np.uint8]:
    """Return what each byte is to a name: 0 nothing special, more where a scan may have to stop."""
    classes = np.zeros(256, np.uint8)
    classes[_EQUALS] = 1
    classes[[_BACKSLASH, _SPACE, _COMMA, _DELETE, *range(32)]] = 2
    return classes


_CLASSES = _classes()
KEY: Final = 1
"""Where a key, or the value of a tag, may stop."""
MEASUREMENT: Final = 2
"""Where a measurement may stop: not at an equals sign."""


@inlined
def name_end(buffer: NDArray[np.uint8], at: int, stop: int) -> int:
    """Return where the name that begins at ``at`` ends: at a delimiter that is not escaped.

    A backslash escapes a comma, a space and, but in measurements, an equals sign. Before anything
    else, another backslash too, it stands for itself.
    """
    while True:
        while _CLASSES[buffer[at]] < stop:
            at += 1
        if buffer[at] != _BACKSLASH:
            return at
        after = buffer[at + 1]
        escapes = after in (_SPACE, _COMMA) or (after == _EQUALS and stop == KEY)
        at += 2 if escapes else 1


@uncounted
def sizes_of_names(
    buffer: NDArray[np.uint8], line_at: NDArray[np.int64], field_at: NDArray[np.int64]
) -> tuple[int, int, int]:
    """Return how much ``name_lines`` writes at most: of tags, bytes of names, and bytes of tags."""
    tags = 0
    names = 0
    texts = 0
    for row in range(len(line_at)):
        start = line_at[row]
        at = name_end(buffer, start, MEASUREMENT)
        names += at - start + 1 + name_end(buffer, field_at[row], KEY) - field_at[row]
        start = at
        while buffer[at] == _COMMA:
            at = name_end(buffer, name_end(buffer, at + 1, KEY) + 1, KEY)
            tags += 1
        texts += at - start
    return tags, names, texts


@uncounted
def _unescape(
    buffer: NDArray[np.uint8], start: int, end: int, stop: int, out: NDArray[np.uint8], to: int
) -> int:
    """Write a name without its escapes to ``out`` from ``to`` on, and return where it ends."""
    at = start
    while at < end:
        if buffer[at] == _BACKSLASH and at + 1 < end:
            after = buffer[at + 1]
            if after in (_SPACE, _COMMA) or (after == _EQUALS and stop == KEY):
                at += 1
        out[to] = buffer[at]
        at += 1
        to += 1
    return to


@uncounted
def name_lines(
    buffer: NDArray[np.uint8],
    line_at: NDArray[np.int64],
    field_at: NDArray[np.int64],
    names: NDArray[np.uint8],
    name_ends: NDArray[np.int64],
    owners: NDArray[np.uint32],
    keys: NDArray[np.uint8],
    key_ends: NDArray[np.int64],
    values: NDArray[np.uint8],
    value_ends: NDArray[np.int64],
) -> None:
    """Write the metric names and the tags of lines that were read before.

    Args:
        buffer: as ``scan_lines`` read it.
        line_at, field_at: one element a name asked for.
        names, keys, values: the texts, one after the other.
        name_ends, key_ends, value_ends: where each one ends; the element at 0 is that of none.
        owners: the row of each tag.
    """
    name_to = 0
    key_to = 0
    value_to = 0
    tag = 0
    for row in range(len(line_at)):
        at = name_end(buffer, line_at[row], MEASUREMENT)
        name_to = _unescape(buffer, line_at[row], at, MEASUREMENT, names, name_to)
        start = field_at[row]
        end = name_end(buffer, start, KEY)
        bare = end - start == len(_VALUE)
        for place in range(len(_VALUE)):
            bare = bare and buffer[start + place] == _VALUE[place]
        if not bare:
            names[name_to] = _UNDERSCORE
            name_to = _unescape(buffer, start, end, KEY, names, name_to + 1)
        name_ends[row + 1] = name_to
        while buffer[at] == _COMMA:
            start = at + 1
            at = name_end(buffer, start, KEY)
            key_to = _unescape(buffer, start, at, KEY, keys, key_to)
            start = at + 1
            at = name_end(buffer, start, KEY)
            value_to = _unescape(buffer, start, at, KEY, values, value_to)
            owners[tag] = row
            tag += 1
            key_ends[tag] = key_to
            value_ends[tag] = value_to


@uncounted
def number_ranges(
    buffer: NDArray[np.uint8],
    field_at: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> None:
    """Write where the float values of the fields at ``field_at`` start and end."""
    for row in range(len(field_at)):
        start = name_end(buffer, field_at[row], KEY) + 1
        # Its digits ended it before, so they do here.
        _, end, _ = scan_float(buffer, start, len(buffer))
        starts[row] = start
        ends[row] = end
