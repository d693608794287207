"""Durations as Prometheus writes them."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["milliseconds"]

_DURATION: Final = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?"
)
_LONGEST: Final = (2**63 - 1) // 1_000_000
_UNITS: Final = (31_536_000_000, 604_800_000, 86_400_000, 3_600_000, 60_000, 1000, 1)


def milliseconds(text: str) -> int:
    """Return the milliseconds of a duration of Prometheus: ``1h30m``, ``0``.

    Raises:
        ValueError: it is no duration.
    """
    if text == "0":
        return 0
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(f'"{text}" is not a duration (write 10s, 5m, 1h)')
    total = sum(int(n) * unit for n, unit in zip(match.groups("0"), _UNITS, strict=True))
    if total > _LONGEST:
        raise ValueError(f'"{text}" is longer than the 292 years that a duration may be')
    return total
