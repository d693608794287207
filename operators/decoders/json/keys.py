"""Keys of flat JSON objects: which objects not every reader of JSON would take as they are."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import compiled
from operators.columns.scanning import hash_range
from operators.decoders.json.scan import (
    MOST_LEVELS,
    first_member,
    next_member,
    scan_string,
    skip_value,
)

__all__ = ["doubtful_objects"]

_SEED: Final = np.uint64(0x6B657973)
_MOST: Final = 4096


@compiled
def doubtful_objects(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Say of each object whether a key stands twice in it, is blank, or is written with escapes.

    Args:
        buffer: checked objects of JSON, and ``PADDING``. An empty range is an object without keys.
        starts: where each begins.
        ends: where each ends.
    """
    doubtful = np.zeros(len(starts), np.bool_)
    hashes = np.empty(_MOST, np.uint64)
    levels = np.empty(MOST_LEVELS, np.uint8)
    for row in range(len(starts)):
        end = ends[row]
        if end - starts[row] < 3:
            continue
        count = 0
        key, key_end, value, escaped = first_member(buffer, starts[row], end)
        while key >= 0:
            blank = True
            for at in range(key, key_end):
                if buffer[at] > 32:
                    blank = False
                    break
            if escaped or blank or count == _MOST:
                doubtful[row] = True
                break
            found = hash_range(buffer, key, key_end, _SEED)
            for other in range(count):
                if hashes[other] == found:
                    doubtful[row] = True
                    break
            if doubtful[row]:
                break
            hashes[count] = found
            count += 1
            if buffer[value] == 34:
                after, _ = scan_string(buffer, value + 1, end)
                after += 1
            else:
                after = skip_value(buffer, value, end, levels)
            key, key_end, value, escaped = next_member(buffer, after, end)
    return doubtful
