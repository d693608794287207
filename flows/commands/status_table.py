"""The picture that ``headrace status`` shows people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.text import Text

from flows.commands.processes import FlowStatus, Process
from flows.commands.terminal import ago, count, printable, table

__all__ = ["render"]

_WIDE: Final = 130
_STATE_STYLES: Final = {
    "starting": "cyan",
    "running": "green",
    "blocked": "bold yellow",
    "stuck": "bold red",
    "silent": "bold red",
    "failed": "bold red",
}


def _process(process: Process) -> str:
    return f"{process.heartbeat['host']}:{process.heartbeat['pid']}"


class _Column(NamedTuple):
    title: str
    text: Callable[[Process], str]
    is_narrow: bool = True  # also where there is little room
    is_left: bool = False


_COLUMNS: Final = (
    _Column("POINTS/S", lambda p: count(p.heartbeat["points_per_second"])),
    _Column("MESSAGES", lambda p: count(p.heartbeat["messages"]), is_narrow=False),
    _Column("POINTS", lambda p: count(p.heartbeat["points"])),
    _Column("ROLLUPS", lambda p: count(p.heartbeat["rollups"])),
    _Column("LATE", lambda p: count(p.heartbeat["late"])),
    _Column("DEAD", lambda p: count(p.heartbeat["dead_letters"])),
    _Column("ALERTS", lambda p: count(p.heartbeat["alert_events"]), is_narrow=False),
    _Column("NOTIFIED", lambda p: count(p.heartbeat["notifications"]), is_narrow=False),
    _Column("UP", lambda p: ago(p.lifetime)),
    _Column("HEARD", lambda p: f"{ago(p.age)} ago"),
    _Column("PROCESS", _process, is_narrow=False, is_left=True),
)


def render(flows: Sequence[FlowStatus], out: Console) -> RenderableType:
    """Return a line a process, and below them what holds them up or went wrong last."""
    columns = [column for column in _COLUMNS if column.is_narrow or out.width >= _WIDE]
    titles = [column.title for column in columns]
    numbers = [column.title for column in columns if not column.is_left]
    made = table("FLOW", "STATE", "LAG", *titles, right=["LAG", *numbers])
    remarks = []
    for flow in flows:
        for index, process in enumerate(flow.processes):
            state = Text(process.state, style=_STATE_STYLES.get(process.state, "dim"))
            lag = count(sum(flow.lag.values())) if index == 0 else ""
            cells = [printable(column.text(process)) for column in columns]
            made.add_row(printable(flow.name), state, lag, *cells)
            remarks += _remarks(process)
        for name, lags in flow.destinations.items():
            behind = f"{name}: {count(sum(lags.values()))} messages behind"
            remarks.append(_remark(flow.name, behind, "dim"))
    return Group(made, Text(""), *remarks) if remarks else made


def _remarks(process: Process) -> list[Text]:
    heartbeat = process.heartbeat
    name = f"{heartbeat['flow']} {_process(process)}"
    remarks = []
    if process.state == "blocked":
        waits = [f"{sink} since {_clock(since)}" for sink, since in heartbeat["blocked"].items()]
        remarks.append(_remark(name, f"waits for {', '.join(waits)}", "yellow"))
    for partition, seconds in heartbeat["held_back"].items():
        text = f"all windows have been waiting for partition {partition} for {ago(seconds)}"
        remarks.append(_remark(name, text, "yellow"))
    if process.state == "silent":
        text = f"said nothing for {ago(process.age)}: it was killed, or can't reach Kafka"
        remarks.append(_remark(name, text, "red"))
    if (letter := heartbeat["last_dead_letter"]) is not None:
        place = f" ({letter['place']})" if letter["place"] else ""
        text = f"last dead letter {_clock(letter['at'])}, {letter['origin']}{place}: {letter['reason']}"
        remarks.append(_remark(name, text, "dim"))
    if (problem := heartbeat["last_problem"]) is not None:
        when, what = _clock(problem["at"]), problem["message"]
        text = f"last {problem['level'].lower()} {when}, {problem['logger']}: {what}"
        remarks.append(_remark(name, text, "dim"))
    return remarks


def _remark(name: str, text: str, style: str) -> Text:
    return Text().append(f"{printable(name)} ", style="bold").append(printable(text), style=style)


def _clock(instant: str) -> str:
    """Return the time here, with the date unless it is today's."""
    local = datetime.fromisoformat(instant).astimezone()
    is_today = local.date() == datetime.now(local.tzinfo).date()
    return f"{local:%H:%M:%S}" if is_today else f"{local:%Y-%m-%d %H:%M:%S}"
