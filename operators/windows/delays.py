"""Where the time goes between the end of a window and its rollups."""

from __future__ import annotations

from typing import Final

from operators.contracts.monitoring import WINDOW_DELAY
from operators.contracts.watermark import Watermark

__all__ = ["DISORDER", "PARTITIONS", "READING", "STEPS", "delays", "note_delays"]

READING: Final = "reading"
"""The newest point is so old by now: its producer's interval, brokers, and this flow."""
PARTITIONS: Final = "partitions"
"""The slowest partition is so far behind the furthest one."""
DISORDER: Final = "disorder"
"""Windows wait so long for points that are out of order, as the settings say."""
STEPS: Final = "steps"
"""Event time went so far past the end of the window at once: points come in steps."""


def delays(watermark: Watermark, end: int, disorder: int, now: int) -> dict[str, int]:
    """Return why the rollups of a window that closes now did not come at its end, in nanoseconds.

    For example a window ends at 10:00:10 and closes at 10:00:31. The newest point in any partition
    is of 10:00:29 (2 s of reading), the newest of the slowest of 10:00:19 (10 s of partitions), and
    5 s less is 10:00:14 (5 s of disorder), 4 s after the end of the window (steps). The parts add
    up. There are none where no partition is live.

    Args:
        watermark: that closes it.
        end: of the newest window that closes, in nanoseconds since the epoch.
        disorder: that the settings allow, in nanoseconds.
        now: nanoseconds since the epoch.
    """
    span = watermark.span
    if span is None:
        return {}
    _, slowest, furthest = span
    return {
        READING: now - furthest,
        PARTITIONS: furthest - slowest,
        DISORDER: disorder,
        STEPS: watermark.value - end,
    }


def note_delays(watermark: Watermark, end: int, disorder: int, now: int) -> None:
    """Count the ``delays`` in the metric."""
    for part, delay in delays(watermark, end, disorder, now).items():
        WINDOW_DELAY.labels(part).observe(max(0, delay) / 1e9)
