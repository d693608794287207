"""``headrace status``: what each flow is doing, has done, and has left to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final, NoReturn

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from flows.commands.broker import Broker
from flows.commands.failure import CommandFailed
from flows.commands.heartbeats import HeartbeatReader
from flows.commands.lag import lag_by_topic
from flows.commands.processes import FlowStatus, Process, describe, judge
from flows.commands.status_table import render
from flows.commands.terminal import console, printable, write_json
from flows.serving.health import State
from flows.settings import Settings

__all__ = ["status"]

_SHORTEST_WATCH: Final = 1.0


class _Look:
    """Looks at the flows, over and over if need be, with the same connections."""

    def __init__(self, settings: Settings, *, past: bool) -> None:
        self._past = past
        self._broker = Broker(settings.kafka)
        topic = settings.topics.status
        described = self._broker.describe([topic])[topic]
        if described is None:
            raise CommandFailed(f"topic {topic} does not exist (run `headrace setup`)")
        numbers = [partition.id for partition in described.partitions]
        self._reader = HeartbeatReader(settings, numbers)
        self._topic = topic

    def __call__(self) -> list[FlowStatus]:
        """Return the flows that have ever been heard of.

        Raises:
            CommandFailed: there is none, or the brokers do not answer.
        """
        by_flow: dict[str, list[Process]] = {}
        for process in judge(self._reader.read(), time.time()):
            by_flow.setdefault(process.heartbeat["flow"], []).append(process)
        if not by_flow:
            raise CommandFailed(
                f"no flow has reported on topic {self._topic} "
                "(start one: python -m bytewax.run flows.metrics)"
            )
        return [
            FlowStatus(
                flow,
                [process for process in processes if self._past or not process.is_past],
                self._lag(processes),
            )
            for flow, processes in by_flow.items()
        ]

    def close(self) -> None:
        self._reader.close()

    def _lag(self, processes: list[Process]) -> dict[str, int]:
        current = [process.heartbeat for process in processes if not process.is_past]
        topics = {topic for heartbeat in current for topic in heartbeat["topics"]}
        group = current[-1]["group"] if current else ""
        return lag_by_topic(self._broker, group, sorted(topics)) if group else {}


def status(
    settings: Settings, *, as_json: bool = False, watch: bool = False, past: bool = False
) -> None:
    """Show the flows once, or until interrupted.

    Args:
        settings: the brokers and the status topic.
        as_json: for programs; with ``watch``, one document a line.
        watch: again every ``monitoring.status_interval``.
        past: also processes that others have taken the place of.

    Raises:
        CommandFailed: a process is silent, blocked, stuck or has failed; or nothing can be shown.
    """
    look = _Look(settings, past=past)
    try:
        if watch:
            interval = max(_SHORTEST_WATCH, settings.monitoring.status_interval / 1e9)
            _watch(look, interval, as_json=as_json)
        flows = look()
    finally:
        look.close()
    if as_json:
        write_json(describe(flows), indent=True)
    else:
        out = console()
        out.print(render(flows, out))
    wrong = [process for flow in flows for process in flow.processes if process.is_wrong]
    if wrong:
        raise CommandFailed("; ".join(map(_complaint, wrong)))


def _complaint(process: Process) -> str:
    verb = "has" if process.state == State.FAILED else "is"
    heartbeat = process.heartbeat
    return printable(f"{heartbeat['flow']} on {heartbeat['host']} {verb} {process.state}")


def _watch(look: _Look, interval: float, *, as_json: bool) -> NoReturn:
    """Show until interrupted."""
    out = console()
    pictures = _pictures(look, out)
    if as_json or not out.is_terminal:
        while True:
            flows = look()
            if as_json:
                write_json(describe(flows))
            else:
                out.print(render(flows, out))
            time.sleep(interval)
    with Live(console=out, auto_refresh=False) as live:
        while True:
            live.update(next(pictures), refresh=True)
            time.sleep(interval)


def _pictures(look: _Look, out: Console) -> Iterator[RenderableType]:
    """Yield what to show; an outage leaves the last picture, and says so below it."""
    last: RenderableType = Text("")
    while True:
        try:
            last = render(look(), out)
            yield last
        except CommandFailed as failure:
            yield Group(last, Text(f"\n{failure}", style="bold red"))
