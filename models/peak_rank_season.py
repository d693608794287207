"""What a series usually is at an hour of a weekday, or of the weekend."""

from __future__ import annotations

from math import isnan
from typing import Final

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from models.peak_rank_state import COUNTED, PROFILE, SLOT, SLOTS, SUMMED

__all__ = ["clock", "season", "turn_slot"]

_DAY: Final = 86_400 * 10**9
_TAKEN: Final = 0.3
"""Weight of the newest day."""


def clock(time: int) -> tuple[int, float]:
    """Return whether a time is on a weekend (UTC), as 0 or 1, and the hour with its part."""
    weekend = 1 if (time // _DAY + 3) % 7 >= 5 else 0
    return weekend, (time % _DAY) / _DAY * SLOTS


def turn_slot(
    numbers: NDArray[np.float64], stored: NDArray[np.float32], weekend: int, hour: float
) -> None:
    """Keep the mean of the hour that is over in the profile of its kind of day."""
    slot = float(weekend * SLOTS + int(hour))
    if numbers[SLOT] == slot:
        return
    if numbers[COUNTED] > 0.0:
        mean = numbers[SUMMED] / numbers[COUNTED]
        at = PROFILE + int(numbers[SLOT])
        known = np.float64(stored[at])
        stored[at] = mean if isnan(known) else known + _TAKEN * (mean - known)
    numbers[SLOT] = slot
    numbers[SUMMED] = 0.0
    numbers[COUNTED] = 0.0


def _of_hour(stored: NDArray[np.float32], weekend: int, hour: int) -> float:
    """Return what the profile says of an hour; of the other kind of day if this is unknown."""
    known = np.float64(stored[PROFILE + weekend * SLOTS + hour])
    if isnan(known):
        known = np.float64(stored[PROFILE + (1 - weekend) * SLOTS + hour])
    return known


def season(stored: NDArray[np.float32], weekend: int, hour: float) -> float:
    """Return what the profile expects at a time, NaN where it knows nothing."""
    slot = int(hour)
    aside = hour - slot - 0.5
    here = _of_hour(stored, weekend, slot)
    there = _of_hour(stored, weekend, (slot + (1 if aside > 0.0 else SLOTS - 1)) % SLOTS)
    return here if isnan(there) else here + abs(aside) * (there - here)


for _part in (clock, turn_slot, _of_hour, season):
    register_jitable(_part)
