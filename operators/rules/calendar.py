"""Parts of dates, of seconds since 1970 in UTC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.rules.frame import Floats

__all__ = ["PARTS"]

_Seconds = NDArray[np.int64]


def _date(seconds: _Seconds) -> tuple[_Seconds, _Seconds, _Seconds]:
    """Return year, month and day, by Howard Hinnant's ``civil_from_days``."""
    days = seconds // 86400 + 719468
    era = days // 146097
    of_era = days - era * 146097
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    day = of_year - (153 * shifted + 2) // 5 + 1
    month = np.where(shifted < 10, shifted + 3, shifted - 9)
    return year + era * 400 + (month <= 2), month, day


def _leap(year: _Seconds) -> NDArray[np.bool_]:
    leap: NDArray[np.bool_] = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    return leap


_DAYS: Final = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_BEFORE: Final = np.concatenate([[0], np.cumsum(_DAYS)[:-1]])


def _days_in_month(seconds: _Seconds) -> _Seconds:
    year, month, _ = _date(seconds)
    days: _Seconds = _DAYS[month - 1] + ((month == 2) & _leap(year))
    return days


def _day_of_year(seconds: _Seconds) -> _Seconds:
    year, month, day = _date(seconds)
    passed: _Seconds = _BEFORE[month - 1] + day + ((month > 2) & _leap(year))
    return passed


def _part(function: Callable[[_Seconds], _Seconds], beyond: float) -> Callable[[Floats], Floats]:
    def of(values: Floats) -> Floats:
        known = np.abs(values) < 2.0**63
        seconds = np.where(known, values, 0.0).astype(np.int64)
        return np.where(known, function(seconds).astype(np.float64), beyond)

    return of


# What is no time at all, or none that 64 bits reach, is to Go some day at the end of all days.
PARTS: Final[dict[str, Callable[[Floats], Floats]]] = {
    "minute": _part(lambda s: s // 60 % 60, 30),
    "hour": _part(lambda s: s // 3600 % 24, 15),
    "day_of_week": _part(lambda s: (s // 86400 + 4) % 7, 0),
    "day_of_month": _part(lambda s: _date(s)[2], 4),
    "day_of_year": _part(_day_of_year, 339),
    "days_in_month": _part(_days_in_month, 31),
    "month": _part(lambda s: _date(s)[1], 12),
    "year": _part(lambda s: _date(s)[0], 292277026596),
}
