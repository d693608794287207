"""Which times of points can be believed, and what they say of the clocks behind them.

A point is judged by what is in the log, so a replay judges alike: by the timestamp that Kafka has
of its message, and by the calendar. A time ahead of its message's own does not move event time
beyond that; one that is ahead by more than ``future``, or of no sane year, is refused.
"""

# ruff: noqa: PLR0912 -- a compiled loop is one long function

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = [
    "FIRST_SANE",
    "JudgedTimes",
    "both",
    "judge_times",
    "limits_of",
    "reasons_of",
    "skipped_of",
]

FIRST_SANE: Final = 946_684_800_000_000_000
"""2000-01-01, in nanoseconds: what is before it is not the time of a measurement."""
_LAST_SANE: Final = 4_102_444_800_000_000_000  # 2100-01-01
_FAULTS: Final = 6
_AHEAD, _THOUSAND, _MILLION, _BILLION, _BEFORE, _AFTER = range(_FAULTS)
_NAMES: Final = ("s", "ms", "us", "ns")
_UNITS: Final = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_UNIT_OF: Final[Mapping[str, str]] = MappingProxyType(
    {
        "otlp_proto": "ns",
        "otlp_json": "ns",
        "influx": "ns",
        "prometheus_remote_write": "ms",
        "prometheus_remote_write_v2": "ms",
        "collectd_json": "s",
        "collectd_json_totals": "s",
    }
)
"""The unit of times, by encoding. The others write dates, or say the unit with each time."""


class JudgedTimes(NamedTuple):
    """What the times of a poll come to.

    Attributes:
        largest: by place, how far event time is: the latest point that is kept, or its message's
            own timestamp if that is earlier; the lowest number there is without one.
        latest: by place, the latest point that is kept.
        kept: of each point, whether it is.
        faults: by message, how many of its points are not kept, by fault.
        early: by place, the first message with a point that is ahead of it or not kept, or -1.
        ahead: by place, how many points are ahead of their message by more than ``tolerance``.
        furthest: by place, by how much the worst of them is.
        example: by place, the worst such point, or one that is not kept; -1 without one.
    """

    largest: NDArray[np.int64]
    latest: NDArray[np.int64]
    kept: NDArray[np.bool_]
    faults: NDArray[np.int64]
    early: NDArray[np.int64]
    ahead: NDArray[np.int64]
    furthest: NDArray[np.int64]
    example: NDArray[np.int64]


def limits_of(times: NDArray[np.int64], future: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return of each message how far it moves event time at most, and the last time that is kept.

    Args:
        times: the timestamps that Kafka has; one of no sane year says nothing.
        future: nanoseconds that a point may be ahead of its message.
    """
    known = (times >= FIRST_SANE) & (times < _LAST_SANE)
    last = _LAST_SANE - 1
    caps = np.where(known, times, last)
    return caps, np.where(known, np.minimum(times + min(future, last), last), last)


@njit(cache=True, nogil=True)
def judge_times(
    ts: NDArray[np.int64],
    message: NDArray[np.uint32],
    places: NDArray[np.int64],
    count: int,
    caps: NDArray[np.int64],
    limits: NDArray[np.int64],
    tolerance: int,
) -> JudgedTimes:
    """Look at the times of points.

    Args:
        ts, message: of each point.
        places: of each message, which of ``count`` partitions it came from.
        caps, limits: of each message, see ``limits_of``.
        tolerance: nanoseconds that a clock may be ahead before that is said.
    """
    least = np.iinfo(np.int64).min
    found = JudgedTimes(
        np.full(count, least, np.int64), np.full(count, least, np.int64),
        np.ones(len(ts), np.bool_), np.zeros((len(places), _FAULTS), np.int64),
        np.full(count, -1, np.int64), np.zeros(count, np.int64), np.zeros(count, np.int64),
        np.full(count, -1, np.int64),
    )  # fmt: skip
    for i in range(len(ts)):
        time, of = ts[i], message[i]
        place = places[of]
        if FIRST_SANE <= time <= limits[of]:
            over = time - caps[of]
            found.latest[place] = max(found.latest[place], time)
            found.largest[place] = max(found.largest[place], min(time, caps[of]))
            if over <= tolerance:
                continue
        else:
            fault = _AHEAD
            if time < FIRST_SANE:
                fault = _BEFORE
                if FIRST_SANE // 10**3 <= time < _LAST_SANE // 10**3:
                    fault = _THOUSAND
                elif FIRST_SANE // 10**6 <= time < _LAST_SANE // 10**6:
                    fault = _MILLION
                elif FIRST_SANE // 10**9 <= time < _LAST_SANE // 10**9:
                    fault = _BILLION
            elif time >= _LAST_SANE:
                fault = _AFTER
            found.kept[i] = False
            found.faults[of, fault] += 1
            over = time - caps[of] if fault == _AHEAD else 0
            if found.example[place] < 0:
                found.example[place] = i
        if found.early[place] < 0 or of < found.early[place]:
            found.early[place] = of
        if over > tolerance:
            found.ahead[place] += 1
            if over > found.furthest[place]:
                found.furthest[place], found.example[place] = over, i
    return found


def both(points: JudgedTimes, others: JudgedTimes) -> JudgedTimes:
    """Return the judgement of all: ``others`` stand behind ``points``."""
    worse = (others.furthest > points.furthest) | (points.example < 0)
    behind = np.where(others.example >= 0, others.example + len(points.kept), -1)
    early = np.where(points.early < 0, others.early, points.early)
    earlier = (others.early >= 0) & (others.early < early)
    return JudgedTimes(
        np.maximum(points.largest, others.largest),
        np.maximum(points.latest, others.latest),
        np.concatenate([points.kept, others.kept]),
        points.faults + others.faults,
        np.where(earlier, others.early, early),
        points.ahead + others.ahead,
        np.maximum(points.furthest, others.furthest),
        np.where(worse & (behind >= 0), behind, points.example),
    )


def reasons_of(faults: NDArray[np.int64], encoding: str) -> dict[int, str]:
    """Return why messages are dead letters although the rest of them went on.

    Args:
        faults: see ``JudgedTimes``.
        encoding: of the messages; it says which unit is meant.
    """
    texts = _texts(encoding)
    found = {}
    for index in np.flatnonzero(faults.any(axis=1)).tolist():
        said = [
            f"{count} {'point has' if count == 1 else 'points have'} {text}"
            for count, text in zip(faults[index].tolist(), texts, strict=True)
            if count
        ]
        found[index] = "; ".join(said) + "; the others of the message went on"
    return found


def skipped_of(faults: NDArray[np.int64], encoding: str) -> dict[str, int]:
    """Return how many points are left out for their time, by reason."""
    totals = faults.sum(axis=0).tolist()
    names = [_unit(encoding, power) for power in (1, 2, 3)]
    labels = (
        "future", *(f"time_in_{_UNITS[name]}" if name else "time_before_2000" for name in names),
        "time_before_2000", "time_after_2100",
    )  # fmt: skip
    found: dict[str, int] = {}
    for label, count in zip(labels, totals, strict=True):
        if count:
            found[label] = found.get(label, 0) + count
    return found


def _unit(encoding: str, power: int) -> str | None:
    """Return the unit that is ``1000**power`` coarser than what the encoding means, if there is one."""
    meant = _NAMES.index(_UNIT_OF.get(encoding, "ns"))
    if encoding not in _UNIT_OF or meant < power:
        return None
    return _NAMES[meant - power]


def _texts(encoding: str) -> tuple[str, ...]:
    meant = _UNIT_OF.get(encoding)
    units = [_unit(encoding, power) for power in (1, 2, 3)]
    before = "a time before the year 2000"
    finer = _NAMES[_NAMES.index(meant) + 1 :] if meant else ()
    after = "a time after the year 2100"
    if finer:
        after += (
            f": {' or '.join(_UNITS[name] for name in finer)} where {encoding} "
            f"has {_UNITS[meant or 'ns']}?"
        )
    return (
        "a time further ahead of the message's own in Kafka than rollups.future allows",
        *(
            f"a time that looks like {_UNITS[unit]}, where {encoding} has {_UNITS[meant]}"
            if unit and meant
            else before
            for unit in units
        ),
        before,
        after,
    )
