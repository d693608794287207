"""The logs of the benchmark as a load, beside that of metrics: mixed bodies, over and over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.logs import messages

__all__ = ["LogLoad"]

_DIFFERENT = 50_000


@dataclass(frozen=True, slots=True)
class LogLoad:
    """``points`` lines in an encoding; what a load of metrics has besides says nothing here."""

    points: int
    encoding: str = "otlp_proto"
    series: int = 0
    interval: int = 1

    signal = "logs"

    def batches(self) -> Iterator[list[bytes]]:
        """Yield messages; the same lines come again after some time."""
        left = self.points
        some = messages(self.encoding, min(left, _DIFFERENT))
        while left > 0:
            if left < _DIFFERENT:
                some = messages(self.encoding, left)
            yield some
            left -= _DIFFERENT
