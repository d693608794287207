"""The telemetry of the benchmarks: which points there are. ``messages/`` says how they are written.

A point is a function of its series and its second, so that whoever wants to check a result can
compute any of them again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bench.messages import Writer

__all__ = ["SERIES_A_HOST", "SERIES_A_MESSAGE", "Load"]

SERIES_A_HOST = 80
SERIES_A_MESSAGE = 800
"""Series of ten hosts; what one OTLP message holds."""


@dataclass(frozen=True, slots=True)
class Load:
    """``series`` series, half of them gauges and half counters, one point each an interval.

    An interval is a second unless ``interval`` says otherwise; ``seconds`` counts intervals.
    Counters rise by their number (1 to 8) each since ``begin``; gauges are a walk. Series
    number ``n`` is metric ``n // 8 % 10`` with route ``n % 8`` of host ``n // 80``, and every
    other metric is a gauge. ``series`` is a multiple of 800.
    """

    series: int
    seconds: int
    begin: int = 1_700_000_000
    encoding: str = "otlp_proto"
    interval: int = 1

    signal = "metrics"

    @property
    def points(self) -> int:
        """Number of points in all."""
        return self.series * self.seconds

    def time(self, second: int) -> int:
        """Return the time of the points of ``second`` (from 0), in seconds since the epoch."""
        return self.begin + second * self.interval + 1

    def gauges(self) -> NDArray[np.bool_]:
        """Return which series are gauges."""
        return np.arange(self.series) // 8 % 2 == 1

    def counter(self, second: int, series: slice = slice(None)) -> NDArray[np.float64]:
        """Return what each series has at ``second`` if it is a counter."""
        return (second + 1.0) * (np.arange(self.series)[series] % 8 + 1)

    def gauge(self, second: int, series: slice = slice(None)) -> NDArray[np.float64]:
        """Return what each series has at ``second`` if it is a gauge: 10 to 90."""
        return 50 + 40 * np.sin(np.arange(self.series)[series] * 0.7 + second * 0.01)

    def messages(self) -> Iterator[bytes]:
        """Yield the messages in order of time."""
        for batch in self.batches():
            yield from batch

    def batches(self) -> Iterator[list[bytes]]:
        """Yield the messages of one second after the other."""
        writer = self.writer()
        for second in range(self.seconds):
            yield writer.write(second)

    def writer(self) -> Writer:
        """Return what writes the messages of any second."""
        from bench.messages import WRITERS  # noqa: PLC0415 - they know the load

        return WRITERS[self.encoding](self)
