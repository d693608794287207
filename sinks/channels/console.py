"""Notifications as lines on standard output: one line an alert."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import TextIO

from rich.console import Console
from rich.text import Text

from operators.notifying.alert import Alert
from operators.notifying.notification import Notification
from operators.notifying.times import format_instant
from sinks.channels.base import Channel, Delivered, Outcome, Retry

__all__ = ["ConsoleChannel", "console_line"]

_STYLES = {"FIRING": "bold red", "RESOLVED": "bold green"}
_ELSEWHERE = ("alertname", "severity")


class ConsoleChannel(Channel):
    """Writes to a stream, in colour where it is a terminal."""

    def __init__(self, name: str, stream: TextIO | None = None) -> None:
        self.name = name
        self._stream = stream

    async def send(self, notification: Notification) -> Outcome:
        """Write the lines; whoever reads slowly holds up nobody else."""
        try:
            await asyncio.to_thread(self._write, notification)
        except OSError as error:
            return Retry(f"cannot write to standard output: {error.strerror}")
        return Delivered()

    def _write(self, notification: Notification) -> None:
        console = _Console(file=self._stream or sys.stdout, highlight=False, soft_wrap=True)
        lines = Text("\n").join([console_line(alert) for alert in notification.alerts])
        console.print(lines)
        console.file.flush()


class _Console(Console):
    """A console that leaves the process alone when nobody reads any more."""

    def on_broken_pipe(self) -> None:
        """Raise the error that has just been caught; the default ends the process."""
        raise  # noqa: PLE0704 - called while it is handled


def console_line(alert: Alert) -> Text:
    """Return the line of one alert: when, what, how bad, where, why."""
    status = "RESOLVED" if alert.resolved else "FIRING"
    ended = alert.ends_at if alert.resolved else None
    when = format_instant(_whole_seconds(alert.starts_at if ended is None else ended))
    words = [
        alert.name,
        alert.labels.get("severity", ""),
        _pairs(alert.labels),
        _summary(alert.annotations),
    ]
    told = "  ".join(_printable(word) for word in words if word)
    since = "" if ended is None else f"  (since {format_instant(_whole_seconds(alert.starts_at))})"
    return Text.assemble(f"{when}  ", (f"{status:8}", _STYLES[status]), f"  {told}{since}")


def _whole_seconds(nanoseconds: int) -> int:
    return nanoseconds // 1_000_000_000 * 1_000_000_000


def _pairs(labels: Mapping[str, str]) -> str:
    return " ".join(f"{name}={labels[name]}" for name in sorted(labels) if name not in _ELSEWHERE)


def _summary(annotations: Mapping[str, str]) -> str:
    return annotations.get("summary") or annotations.get("description") or ""


def _printable(text: str) -> str:
    """Keep to one line, and keep the terminal's control characters out: labels come from afar."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)
