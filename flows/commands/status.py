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
from flows.commands.latency import describe_latency, digests_of, parts_of, render_latency
from flows.commands.processes import FlowStatus, Process, describe, judge
from flows.commands.status_table import render
from flows.commands.terminal import console, printable, write_json
from flows.process.health import State
from flows.settings import Settings
from operators.contracts.clock import SystemClock

__all__ = ["latency", "status"]

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
        return [self._status(flow, processes) for flow, processes in by_flow.items()]

    def _status(self, flow: str, processes: list[Process]) -> FlowStatus:
        shown = [process for process in processes if self._past or not process.is_past]
        current = [process.heartbeat for process in processes if not process.is_past]
        if not current or not current[-1]["destinations"]:
            return FlowStatus(flow, shown, self._lag(processes))
        group, named = current[-1]["group"], current[-1]["destinations"]
        lags = {
            name: lag_by_topic(self._broker, f"{group}.{name}", topics)
            for name, topics in named.items()
        }
        worst: dict[str, int] = {}
        for lag in lags.values():
            worst |= {topic: max(count, worst.get(topic, 0)) for topic, count in lag.items()}
        return FlowStatus(flow, shown, worst, lags)

    def close(self) -> None:
        self._reader.close()

    def _lag(self, processes: list[Process]) -> dict[str, int]:
        current = [process.heartbeat for process in processes if not process.is_past]
        topics = {topic for heartbeat in current for topic in heartbeat["topics"]}
        group = current[-1]["group"] if current else ""
        return lag_by_topic(self._broker, group, sorted(topics)) if group else {}


def latency(settings: Settings, *, as_json: bool = False) -> None:
    """Show where the time goes between a fault and its notification.

    Raises:
        CommandFailed: no flow has reported, or the notifier's settings can't be used.
    """
    look = _Look(settings, past=False)
    try:
        now = SystemClock().now()
        parts, digests = parts_of(look(), settings, now), digests_of(settings, now)
    except ValueError as error:
        raise CommandFailed(str(error)) from None
    finally:
        look.close()
    if as_json:
        write_json(describe_latency(parts, digests), indent=True)
    else:
        console().print(render_latency(parts, digests))


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
