"""What people see while the demo runs: a screen that moves, or lines where there is no terminal."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import datetime
from types import TracebackType
from typing import Final, Self

import polars as pl
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from flows.commands.terminal import count, printable
from tests.demo.configuration import FINEST
from tests.demo.observer import Seen
from tests.demo.story import Alert, Fault, Story
from tests.demo.watched import SHOWN, Watched, history

__all__ = ["PHASES", "View", "view"]

PHASES: Final = ("start", "learn", "fault", "recover", "report")
_BARS: Final = "▁▂▃▄▅▆▇█"
_CELLS: Final = 40
_LINE_SECONDS: Final = 10


class View(ABC):
    """Shows how the demo goes on; a context, within which it may hold the terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.begun = time.monotonic()
        self.phase = PHASES[0]
        self.says = ""
        self._told: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.begun

    @abstractmethod
    def enter(self, phase: str, says: str, seconds: float | None = None) -> None:
        """Begin one of `PHASES`, of so many seconds if that is known."""

    @abstractmethod
    def say(self, line: str) -> None:
        """Tell what is being done, in a line."""

    @abstractmethod
    def update(self, seen: Seen, story: Story, fault: Fault) -> None:
        """Show what Headrace has done by now. Called about twice a second."""

    def news(self, story: Story) -> Iterator[tuple[str, str]]:
        """Yield what has not been told yet, each with its style."""
        for key, style, line in _news(story):
            if key not in self._told:
                self._told.add(key)
                yield line, style


def view(console: Console) -> View:
    """Return what fits the console."""
    return LiveView(console) if console.is_terminal else LineView(console)


class LineView(View):
    """Plain lines, for logs: each piece of news, and every ten seconds how things are."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._next = 0.0

    def enter(self, phase: str, says: str, seconds: float | None = None) -> None:
        """Write a line."""
        self.phase = phase
        self._line(f"{phase}: {says}" + (f" ({seconds:.0f} s)" if seconds else ""))

    def say(self, line: str) -> None:
        """Write the line."""
        self._line(f"  {line}")

    def update(self, seen: Seen, story: Story, fault: Fault) -> None:
        """Write the news, and now and then the figures."""
        for line, _ in self.news(story):
            self._line(f"  {line}")
        if self.elapsed >= self._next:
            self._next = self.elapsed + _LINE_SECONDS
            self._line(f"  {_figures(story)}")
            now = _reading(seen, SHOWN[0])
            if now is not None:
                self._line(f"  {SHOWN[0].title}: {now}")

    def _line(self, line: str) -> None:
        self.console.print(f"{self.elapsed:6.1f} s  {printable(line)}", soft_wrap=True)
        self.console.file.flush()


class LiveView(View):
    """A screen in the terminal's own lines; what it shows last stays there."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._entered = time.monotonic()
        self._seconds: float | None = None
        self._line = ""
        self._is_done = False
        self._body: RenderableType = Text()
        self._live = Live(
            console=console, get_renderable=self._screen, refresh_per_second=4, transient=False
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the last screen where it is."""
        self._is_done = kind is None
        self._live.stop()

    def enter(self, phase: str, says: str, seconds: float | None = None) -> None:
        """Move on."""
        self.phase, self.says, self._seconds, self._line = phase, says, seconds, ""
        self._entered = time.monotonic()

    def say(self, line: str) -> None:
        """Show the line below the phase, until the next."""
        self._line = printable(line)

    def update(self, seen: Seen, story: Story, fault: Fault) -> None:
        """Make the screen anew."""
        self._line = ""
        self._body = Group(
            Text(), _charts(seen), Text(), Text(_figures(story)), Text(), *_alerts(story, fault)
        )

    def _screen(self) -> RenderableType:
        bar = Text() if self._is_done else self._bar()
        return Group(self._head(), bar, self._body)

    def _head(self) -> RenderableType:
        done = len(PHASES) if self._is_done else PHASES.index(self.phase)
        head = Text("Headrace  ", style="bold")
        for number, phase in enumerate(PHASES):
            mark, style = (
                ("✔ ", "green") if number < done else
                ("▶ ", "bold") if number == done else ("· ", "dim")
            )  # fmt: skip
            head.append(f"{mark}{phase}   ", style=style)
        return head.append(f"{self.elapsed:.0f} s", style="dim")

    def _bar(self) -> RenderableType:
        spent = time.monotonic() - self._entered
        line = Table.grid(padding=(0, 2, 0, 0))
        if self._seconds:
            bar = ProgressBar(self._seconds, min(spent, self._seconds), width=24)
            left = f"{max(0.0, self._seconds - spent):.0f} s left"
        else:
            bar = ProgressBar(pulse=True, width=24, total=None)
            left = f"{spent:.0f} s"
        line.add_row(bar, Text(left, style="dim"), Text(self._line or self.says))
        return line


def sparkline(values: pl.Series) -> str:
    """Return a bar a value, from nothing to the highest.

    >>> sparkline(pl.Series([0.0, 1.0, 4.0, None, 8.0]))
    '▁▁▄ █'
    """
    top = float(values.max() or 0.0)  # type: ignore[arg-type]
    bars = []
    for value in values:
        if value is None:
            bars.append(" ")
            continue
        level = round(value / top * len(_BARS)) - 1 if top > 0 else 0
        bars.append(_BARS[min(max(level, 0), len(_BARS) - 1)])
    return "".join(bars)


def _charts(seen: Seen) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    for watched in SHOWN:
        past = history(seen.rollups, watched, FINEST).tail(_CELLS)
        bars = Text(sparkline(past["value"]).rjust(_CELLS), style="cyan")
        first = _CELLS - len(past)
        for cell, score in enumerate(past["score"]):
            if score is not None and score >= 1:
                bars.stylize("bold red", first + cell, first + cell + 1)
        now = _reading(seen, watched)
        wrong = len(past) and (past["score"][-1] or 0) >= 1
        table.add_row(
            Text(watched.title),
            bars,
            Text(now or "no data yet", style="red" if wrong else "" if now else "dim"),
        )
    return table


def _reading(seen: Seen, watched: Watched) -> str | None:
    """Return the last value in words, with what was expected."""
    past = history(seen.rollups, watched, FINEST).tail(1)
    if not len(past):
        return None
    last = past.row(0, named=True)
    told = f"{last['value']:.3g} {watched.unit}"
    if last["score"] is None:
        return f"{told}, learning"
    return f"{told}, expected {last['lower']:.3g} to {last['upper']:.3g}"


def _figures(story: Story) -> str:
    windows = ", ".join(
        f"{number} of {length // 1_000_000_000} s" for length, number in story.windows.items()
    )
    return (
        f"{count(story.points)} points, {story.points_per_second:.0f}/s, {story.series} series   "
        f"windows closed: {windows or 'none'}   rollups: {count(story.rollups)}, "
        f"{sum(story.anomalies)} anomalous"
    )


def _alerts(story: Story, fault: Fault) -> Iterator[RenderableType]:
    resolved = len(story.alerts) - story.firing
    yield Text.assemble(
        ("Alerts  ", "bold"),
        (f"{story.firing} firing", "bold red" if story.firing else ""),
        f", {resolved} resolved",
        ("     Notifications  ", "bold"),
        f"{len(story.notifications)} received",
    )
    for alert in story.alerts[-6:]:
        yield _alert(alert, fault)


def _alert(alert: Alert, fault: Fault) -> Text:
    if alert.resolved is None:
        line = Text("  firing    ", style="bold red")
    else:
        line = Text("  resolved  ", style="green")
    line.append(f"{alert.service}: {alert.name}", style="default not bold")
    steps = [("fired", alert.fired), ("told", alert.notified), ("resolved", alert.resolved)]
    told = ", ".join(f"{word} {_after(at, fault)}" for word, at in steps if at is not None)
    return line.append(f"   {told}", style="dim not bold")


def _after(at: float, fault: Fault) -> str:
    if fault.ended is not None and at >= fault.ended:
        return f"{at - fault.ended:.1f} s after its end"
    if fault.began is not None and at >= fault.began:
        return f"at {at - fault.began:.1f} s"
    return f"{datetime.fromtimestamp(at).astimezone():%H:%M:%S}"


def _news(story: Story) -> Iterator[tuple[str, str, str]]:
    """Yield what has happened: its identity, its style, and the line."""
    for alert in story.alerts:
        identity = f"{alert.firing['id']}"
        yield identity, "red", f"alert firing: {alert.firing['annotations']['summary']}"
        if alert.resolved is not None:
            yield f"{identity}/over", "green", f"alert resolved: {alert.service}: {alert.name}"
    for alert in story.of_logs:
        yield (
            f"{alert.firing['id']}",
            "red",
            f"found in logs: {alert.firing['annotations']['summary']}",
        )
    for number, notification in enumerate(story.notifications):
        statuses = [alert["status"] for alert in notification.body["alerts"]]
        told = ", ".join(
            f"{statuses.count(status)} {status}" for status in ("firing", "resolved")
            if status in statuses
        )  # fmt: skip
        group = " ".join(notification.body["groupLabels"].values())
        yield f"notification/{number}", "", f"notification received: {group}: {told}"
