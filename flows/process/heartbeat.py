"""The heartbeat: what a process of a flow says of itself on the topic ``headrace.status``.

The key is ``flow@host:pid`` and the topic is compacted, so it holds the last word of each
process. ``headrace status`` reads it.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypedDict, cast

import orjson

from flows.process.health import Health, Pulse, State
from flows.process.log import Problem
from flows.process.readings import Means, by_label, total
from flows.process.workers import Workers
from operators.contracts.alert import rfc3339
from operators.contracts.monitoring import (
    ALERT_EVENTS,
    DEAD_LETTERS,
    HELD_BACK,
    LATE_POINTS,
    MESSAGES,
    NOTIFICATION_FAILURES,
    NOTIFICATIONS,
    POINTS_DECODED,
    ROLLUPS_EMITTED,
    SOURCE_LAG,
    WINDOW_DELAY,
)
from operators.contracts.refusals import REFUSALS, Refusal

__all__ = ["SCHEMA", "Heart", "Heartbeat", "decode_heartbeat", "encode_heartbeat"]

SCHEMA: Final = "headrace.status/v1"


class Heartbeat(TypedDict):
    """One heartbeat. Counts are of this process since it started; times are RFC 3339."""

    schema: str
    flow: str
    host: str
    pid: int
    version: str
    workers: Workers | None
    group: str  # the consumer group that its offsets are committed to
    topics: list[str]  # that it reads
    destinations: dict[
        str, list[str]
    ]  # that read for themselves, each in a group of its own: topics
    address: str | None  # of its metrics
    started: str
    at: str
    interval: float  # seconds until the next
    state: str
    blocked: dict[str, str]  # sinks that wait for their backend, and since when
    messages: int
    messages_per_second: float  # since the heartbeat before
    points: int
    points_per_second: float
    rollups: int
    late: int
    dead_letters: int
    alert_events: int
    notifications: int
    notifications_failed: int
    unread: dict[str, int]  # messages of each topic that its readers have not polled
    held_back: dict[str, float]  # partitions that all windows wait for, and for how many seconds
    delays: dict[str, float]  # seconds from the end of a window to its rollups, by what takes them
    last_dead_letter: dict[str, str] | None  # at, origin, place, reason
    last_problem: dict[str, str] | None  # at, level, logger, message


_ESSENTIAL: Final = {"flow", "host", "pid", "started", "at", "interval", "state"}
_OPTIONAL: Final[dict[str, Any]] = {
    "version": "",
    "workers": None,
    "group": "",
    "topics": [],
    "destinations": {},
    "address": None,
    "blocked": {},
    "messages": 0,
    "messages_per_second": 0.0,
    "points": 0,
    "points_per_second": 0.0,
    "rollups": 0,
    "late": 0,
    "dead_letters": 0,
    "alert_events": 0,
    "notifications": 0,
    "notifications_failed": 0,
    "unread": {},
    "held_back": {},
    "delays": {},
    "last_dead_letter": None,
    "last_problem": None,
}


class Heart:
    """Makes the heartbeats of this process.

    Args:
        flow: name of the flow.
        version: of Headrace.
        group: consumer group of the flow.
        topics: that the flow is known to read; others appear once they are read.
        destinations: that read for themselves, and the topics of each.
        address: of the process's metrics.
        interval: seconds between two heartbeats.
        pulse: tells how the process is.
        problem: gives the last thing that went wrong.
    """

    def __init__(
        self,
        flow: str,
        *,
        version: str,
        group: str,
        topics: Sequence[str],
        destinations: Mapping[str, Sequence[str]] | None = None,
        address: str | None,
        workers: Workers | None,
        interval: float,
        pulse: Pulse,
        problem: Callable[[], Problem | None],
    ) -> None:
        self._flow = flow
        self._version = version
        self._group = group
        self._topics = topics
        self._destinations = {name: list(read) for name, read in (destinations or {}).items()}
        self._address = address
        self._workers = workers
        self._interval = interval
        self._pulse = pulse
        self._problem = problem
        self._host = platform.node() or "localhost"
        self._started = _now()
        self._blocked: dict[str, str] = {}
        self._before = (time.monotonic(), 0.0, 0.0)
        self._means = Means(WINDOW_DELAY, "part")
        self._delays: dict[str, float] = {}

    @property
    def key(self) -> str:
        """The key of this process on the status topic."""
        return f"{self._flow}@{self._host}:{os.getpid()}"

    def beat(self, end: State | None = None) -> Heartbeat:
        """Return the heartbeat of this moment.

        Args:
            end: how the process ended, if this is its last.
        """
        at = _now()
        health = self._pulse.look()
        self._note_blocked(health, at)
        messages, points = total(MESSAGES), total(POINTS_DECODED)
        messages_rate, points_rate = self._rates(messages, points)
        unread = by_label(SOURCE_LAG, "topic")
        problem = self._problem()
        return Heartbeat(
            schema=SCHEMA,
            flow=self._flow,
            host=self._host,
            pid=os.getpid(),
            version=self._version,
            workers=self._workers,
            group=self._group,
            topics=sorted({*self._topics, *unread, *by_label(MESSAGES, "topic")}),
            destinations=self._destinations,
            address=self._address,
            started=self._started,
            at=at,
            interval=self._interval,
            state=end or health.state,
            blocked=dict(self._blocked),
            messages=int(messages),
            messages_per_second=messages_rate,
            points=int(points),
            points_per_second=points_rate,
            rollups=int(total(ROLLUPS_EMITTED)),
            late=int(total(LATE_POINTS)),
            dead_letters=int(total(DEAD_LETTERS)),
            alert_events=int(total(ALERT_EVENTS)),
            notifications=int(total(NOTIFICATIONS)),
            notifications_failed=int(total(NOTIFICATION_FAILURES)),
            unread={topic: int(count) for topic, count in unread.items()},
            held_back={
                partition: round(seconds, 1)
                for partition, seconds in by_label(HELD_BACK, "partition").items()
                if seconds
            },
            delays=self._newest_delays(),
            last_dead_letter=_described(REFUSALS.newest),
            last_problem=problem._asdict() if problem else None,
        )

    def _newest_delays(self) -> dict[str, float]:
        """Return the means since the last heartbeat; where no window closed, those before."""
        if means := self._means.since_then():
            self._delays = {part: round(seconds, 2) for part, seconds in means.items()}
        return self._delays

    def _note_blocked(self, health: Health, at: str) -> None:
        self._blocked = {sink: self._blocked.get(sink, at) for sink in health.blocked}

    def _rates(self, messages: float, points: float) -> tuple[float, float]:
        """Return messages and points a second since the last call."""
        now = time.monotonic()
        then, messages_then, points_then = self._before
        self._before = (now, messages, points)
        seconds = max(now - then, 1e-3)
        return (
            round((messages - messages_then) / seconds, 1),
            round((points - points_then) / seconds, 1),
        )


def encode_heartbeat(heartbeat: Heartbeat) -> bytes:
    """Return the message value."""
    return orjson.dumps(heartbeat)


def decode_heartbeat(value: bytes | None) -> Heartbeat | None:
    """Return the heartbeat in a message value; None if it is of another kind.

    What an older version does not know of is empty.
    """
    try:
        document = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        return None
    if not document.keys() >= _ESSENTIAL:
        return None
    return cast(Heartbeat, _OPTIONAL | document)


def _described(refusal: Refusal | None) -> dict[str, str] | None:
    return {**refusal._asdict(), "at": rfc3339(refusal.at)} if refusal else None


def _now() -> str:
    return rfc3339(time.time_ns())
