"""Where the numbers of one series stand in the rows of ``models.peak_rank``.

A row of ``numbers`` is float64, one of ``stored`` float32.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

# Statistics; the last has no peaks.
LEVEL, RATIO, STEP, TEN, TEN_RATIO, UNREST, UNSEEN, STILL = range(8)
REASONS: Final = (
    "level", "ratio", "step", "mean of ten", "ratio of ten", "unrest", "unseen pattern",
    "stands still",
)  # fmt: skip
STATISTICS: Final = 7
PEAKS: Final = 8
BOXES: Final = 7
SIDES: Final = 4
SLOTS: Final = 24
APART: Final = 25.0
"""Values between two peaks of a statistic, at least."""

# Places in a row of numbers.
SEEN, MEAN, DEVIATION, LAST, MEAN10, MEAN30, LEVEL_LOSS, SEASON_LOSS = range(8)
CLIPPED, RUN, LONGEST, SUMMED, COUNTED, SLOT, LEAST, QUANTUM, UNRESTED = range(8, 17)
NUMBERS: Final = 17
# Places in a row of what is stored.
PEAK: Final = 0
NEWEST: Final = PEAK + STATISTICS * PEAKS
BEGUN: Final = NEWEST + STATISTICS
ONCE: Final = BEGUN + STATISTICS
NOW: Final = ONCE + STATISTICS
PROFILE: Final = NOW + STATISTICS
BOX: Final = PROFILE + 2 * SLOTS
USED: Final = BOX + BOXES * SIDES * 2
STORED: Final = USED + BOXES

NO_QUANTUM: Final = 1e300


def fresh() -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return a row of each: what is known before any value."""
    numbers, stored = np.zeros(NUMBERS), np.zeros(STORED, np.float32)
    numbers[SLOT] = -1.0
    numbers[LEAST] = numbers[QUANTUM] = NO_QUANTUM
    stored[BEGUN:ONCE] = -2 * APART
    stored[PROFILE:BOX] = np.nan
    stored[USED:] = -1.0
    return numbers, stored
