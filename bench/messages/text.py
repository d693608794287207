"""Messages of text, one a point: the texts of all series one after the other in one array.

Every second is a copy of the first in which the digits of time and value are overwritten. So all
numbers are as wide in each second as in the first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.load import Load

__all__ = ["COUNTER_BASE", "GAUGE_DIGITS", "TextWriter", "hundredths"]

COUNTER_BASE = 1_000_000_000
"""What counters start from, so that they keep their width."""
GAUGE_DIGITS = 5
"""``12.34``."""
_COUNTER_DIGITS = len(str(COUNTER_BASE))
_ZERO = ord("0")


def hundredths(gauge: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return what a gauge is written as, times 100."""
    return np.round(gauge * 100).astype(np.int64)


class TextWriter:
    """Writes ``head + value + middle + time + tail`` for each series.

    Args:
        load: what to write.
        heads: text before the value, by series.
        middles: text between value and time, by series.
        tails: the rest, by series.
        time_digits: characters of a time.
    """

    def __init__(
        self,
        load: Load,
        heads: Sequence[str],
        middles: Sequence[str],
        tails: Sequence[str],
        *,
        time_digits: int,
    ) -> None:
        self._load = load
        gauges = load.gauges()
        widths = np.where(gauges, GAUGE_DIGITS, _COUNTER_DIGITS)
        texts = [
            f"{head}{'V' * width}{middle}{'T' * time_digits}{tail}".encode()
            for head, middle, tail, width in zip(
                heads, middles, tails, widths.tolist(), strict=True
            )
        ]
        lengths = np.fromiter(map(len, texts), np.intp, len(texts))
        ends = np.cumsum(lengths)
        starts = ends - lengths
        self._text = np.frombuffer(b"".join(texts), np.uint8)
        self._cuts = list(zip(starts.tolist(), ends.tolist(), strict=True))
        value_at = starts + np.fromiter(map(len, heads), np.intp, len(texts))
        time_at = value_at + widths + np.fromiter(map(len, middles), np.intp, len(texts))
        self._times = time_at[:, None] + np.arange(time_digits)
        self._gauges = np.flatnonzero(gauges)
        self._counters = np.flatnonzero(~gauges)
        self._gauge_at = value_at[self._gauges][:, None] + np.arange(GAUGE_DIGITS)
        self._counter_at = value_at[self._counters][:, None] + np.arange(_COUNTER_DIGITS)

    def write_at(self, second: int, time: str) -> list[bytes]:
        """Return a message for each series, with the values of ``second``."""
        load = self._load
        text = self._text.copy()
        text[self._times] = np.frombuffer(time.encode(), np.uint8)
        gauge = hundredths(load.gauge(second)[self._gauges])
        digits = _digits(gauge, GAUGE_DIGITS - 1)
        text[self._gauge_at] = np.insert(digits, 2, ord("."), axis=1)
        counter = COUNTER_BASE + load.counter(second)[self._counters].astype(np.int64)
        text[self._counter_at] = _digits(counter, _COUNTER_DIGITS)
        whole = text.tobytes()
        return [whole[start:end] for start, end in self._cuts]


def _digits(numbers: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    """Return the decimal digits, of shape (numbers, width)."""
    digits = np.empty((len(numbers), width), np.uint8)
    rest = numbers
    for place in range(width - 1, -1, -1):
        rest, digit = np.divmod(rest, 10)
        digits[:, place] = digit
    return digits + np.uint8(_ZERO)
