"""What a worker tells of the clocks behind the partitions that it reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.contracts.items import Timed
from operators.contracts.monitoring import CLOCK_AHEAD
from operators.series.times import JudgedTimes

__all__ = ["Clocks"]

_EVERY: Final = 10_000_000_000
"""Nanoseconds between two reports of a partition."""
_AFTER: Final = 120_000_000_000
"""Nanoseconds for which a partition is reported on after a fault, and after a start: whoever raised
an alert, perhaps before a restart, hears that all is well."""


@dataclass(slots=True)
class _Place:
    until: int  # reports are given up to then
    next: int = 0  # and the next one from then on
    since: int = 0
    ahead: int = 0
    furthest: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    example: tuple[str, str] = ("", "")


class Clocks:
    """Gathers what the times of polls come to, by partition, and says so now and then.

    "Now" is the timestamp of the latest message, so a replay says the same.
    """

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}

    def follow(
        self,
        names: Sequence[str],
        judged: JudgedTimes,
        times: NDArray[np.int64],
        places: NDArray[np.int64],
        refused: Callable[[NDArray[np.int64]], dict[str, int]],
        example: Callable[[int], tuple[str, str]],
    ) -> list[Timed]:
        """Take in a poll, and return the reports that are due.

        Args:
            names: of the partitions.
            judged: their times.
            times, places: of each message, its timestamp and which of the partitions it came from.
            refused: names the reasons of faults, given as in ``Judged``.
            example: gives name and labels of a point.
        """
        now = np.zeros(len(names), np.int64)
        np.maximum.at(now, places, times)
        told = []
        for number, name in enumerate(names):
            at = int(now[number])
            if not at:
                continue  # Kafka says nothing of when
            place = self._places.setdefault(name, _Place(at + _AFTER))
            first = int(judged.early[number])
            if first >= 0:
                _add(place, number, judged, int(times[first]), at)
                for reason, count in refused(judged.faults[places == number]).items():
                    place.refused[reason] += count
                if place.example == ("", "") and judged.example[number] >= 0:
                    place.example = example(int(judged.example[number]))
                CLOCK_AHEAD.labels(*name.rsplit("/", 1)).inc(int(judged.ahead[number]))
            if place.next <= at and (at <= place.until or place.since):
                told.append(_report(name, at, place))
                self._places[name] = _Place(place.until, at + _EVERY)
        return told


def _add(place: _Place, number: int, judged: JudgedTimes, since: int, at: int) -> None:
    place.until = at + _AFTER
    place.since = place.since or since
    place.ahead += int(judged.ahead[number])
    place.furthest = max(place.furthest, int(judged.furthest[number]))


def _report(name: str, at: int, place: _Place) -> Timed:
    return Timed(
        name, at, place.since, place.ahead, place.furthest, dict(place.refused), place.example
    )
