"""What is known of the processes of a flow, and which of it is wrong."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final, NamedTuple

from flows.process.health import OVER, State
from flows.process.heartbeat import Heartbeat

__all__ = ["SILENT", "SILENT_INTERVALS", "FlowStatus", "Process", "describe", "judge"]

SILENT: Final = "silent"
"""The state of a process that ended without a word, or whose words do not get through."""
SILENT_INTERVALS: Final = 3
_WRONG: Final = frozenset({SILENT, State.BLOCKED, State.STUCK, State.FAILED})


class Process(NamedTuple):
    """A process of a flow, as its last heartbeat shows it now.

    Attributes:
        heartbeat: the last.
        state: one of ``flows.process.health.State``, or ``silent``.
        age: seconds since the heartbeat.
        lifetime: seconds from its start to now, or to its end.
        is_past: another process has taken its place.
    """

    heartbeat: Heartbeat
    state: str
    age: float
    lifetime: float
    is_past: bool

    @property
    def is_wrong(self) -> bool:
        """Say whether a person had better look at it."""
        return not self.is_past and self.state in _WRONG


class FlowStatus(NamedTuple):
    """A flow.

    Attributes:
        name: of the flow.
        processes: that run it or did last; past ones too, if asked for.
        lag: messages of each topic that it has not committed.
        destinations: the same of each destination that reads for itself; then ``lag`` has of each
            topic that of the destination which is furthest behind.
    """

    name: str
    processes: list[Process]
    lag: dict[str, int]
    destinations: dict[str, dict[str, int]] = {}  # noqa: RUF012 - never changed


def judge(heartbeats: Collection[Heartbeat], now: float) -> list[Process]:
    """Return the processes by flow and start.

    A process that has not said how it ended is silent when its last heartbeat is older than three
    intervals. One that ended or is silent is past once another has taken its place: one that was
    started after its last word, in the same place of the cluster, or in a cluster too small to
    have that place.

    Args:
        heartbeats: the last of each process.
        now: seconds since the Unix epoch.
    """
    processes = []
    for heartbeat in sorted(heartbeats, key=lambda each: (each["flow"], each["started"])):
        at, started = _seconds(heartbeat["at"]), _seconds(heartbeat["started"])
        age = max(0.0, now - at)
        is_over = heartbeat["state"] in OVER
        is_silent = not is_over and age > SILENT_INTERVALS * heartbeat["interval"]
        processes.append(
            Process(
                heartbeat,
                SILENT if is_silent else heartbeat["state"],
                age,
                (at if is_over or is_silent else now) - started,
                (is_over or is_silent) and any(_replaces(o, heartbeat) for o in heartbeats),
            )
        )
    return processes


def describe(flows: Collection[FlowStatus]) -> dict[str, Any]:
    """Return the document that ``headrace status --json`` shows."""
    return {
        "schema": "headrace.flows/v1",
        "ok": not any(process.is_wrong for flow in flows for process in flow.processes),
        "flows": [
            {
                "flow": flow.name,
                "lag": sum(flow.lag.values()),
                "lag_by_topic": flow.lag,
                "lag_by_destination": flow.destinations,
                "processes": [
                    {
                        **process.heartbeat,
                        "state": process.state,
                        "age": round(process.age, 3),
                        "past": process.is_past,
                    }
                    for process in flow.processes
                ],
            }
            for flow in flows
        ],
    }


def _replaces(other: Heartbeat, gone: Heartbeat) -> bool:
    if other["flow"] != gone["flow"] or _seconds(other["started"]) < _seconds(gone["at"]):
        return False
    mine, theirs = gone["workers"], other["workers"]
    place = mine["process"] if mine else 0
    return theirs is None or theirs["process"] == place or theirs["processes"] <= place


def _seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()
