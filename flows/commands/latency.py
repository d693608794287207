"""``headrace status --latency``: where the time goes between a fault and its notification."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from flows.commands.processes import FlowStatus
from flows.commands.terminal import printable, table
from flows.notifying import plan
from flows.settings import Settings
from operators.notifying.grouping import Route
from operators.notifying.matchers import written
from operators.notifying.routes import walk
from operators.windows.delays import DISORDER, PARTITIONS, READING, STEPS

__all__ = ["DelayPart", "describe_latency", "digests_of", "parts_of", "render_latency"]

_SECOND: Final = 1e9
_MEASURED: Final = {
    READING: "the newest point is so old when it is here: its producer's interval, the brokers, the flow",
    PARTITIONS: "windows wait for the slowest partition; rollups.partition_lag bounds it",
    DISORDER: "points may be so much out of order: rollups.disorder",
    STEPS: "event time moves on in steps, as points come",
}


class DelayPart(NamedTuple):
    """One part of the way. ``seconds`` is None where no flow has told it yet."""

    part: str
    seconds: float | None
    measured: bool
    why: str


def parts_of(flows: Iterable[FlowStatus], settings: Settings, now: int) -> list[DelayPart]:
    """Return the parts in the order of the way, along the first of the routes.

    Args:
        flows: as they are now; of several processes the slowest counts.
        settings: say what is waited for in any case.
        now: nanoseconds.

    Raises:
        ValueError: the notifier's settings can't be used.
    """
    window = settings.judged / _SECOND
    more = settings.scoring.fire_after - 1
    parts = [
        DelayPart("window", window, False, "a fault shows once its window is over: scoring.window"),
        DelayPart(
            "fire_after", more * window, False,
            f"{more} anomalous windows more: scoring.fire_after",
        ),
    ]  # fmt: skip
    told: dict[str, float] = {}
    for flow in flows:
        for process in flow.processes:
            if not process.is_past:
                for name, seconds in process.heartbeat["delays"].items():
                    told[name] = max(seconds, told.get(name, 0.0))
    parts += [DelayPart(name, told.get(name), True, why) for name, why in _MEASURED.items()]
    parts.append(_told_after(plan(settings.notifier).root.route, now))
    return parts


def digests_of(settings: Settings, now: int) -> list[DelayPart]:
    """Return how long alerts wait at most along each route that tells summaries instead.

    Args:
        settings: of the notifier.
        now: nanoseconds; waits are those of the weeks around it.

    Raises:
        ValueError: the notifier's settings can't be used.
    """
    branches = walk(plan(settings.notifier).root)
    return [
        DelayPart(
            f"digest of {branch.route.receiver}", branch.route.digest.longest_wait(now) / _SECOND,
            False, f"{written(branch.matchers)}: a summary at {branch.route.digest}",
        )
        for branch in branches
        if branch.route.digest is not None
    ]  # fmt: skip


def _told_after(route: Route, now: int) -> DelayPart:
    """Return how long the notifier waits at most along a route until it tells what is new."""
    if route.digest is not None:
        wait = route.digest.longest_wait(now) / _SECOND
        return DelayPart("digest", wait, False, f"the notifier tells summaries: {route.digest}")
    wait = route.group_wait / _SECOND
    return DelayPart("group_wait", wait, False, "the notifier gathers a group: group_wait")


def describe_latency(
    parts: Sequence[DelayPart], digests: Sequence[DelayPart] = ()
) -> dict[str, Any]:
    """Return the document that ``headrace status --latency --json`` shows."""
    return {
        "schema": "headrace.latency/v1",
        "seconds": round(_total(parts), 3),
        "complete": all(part.seconds is not None for part in parts),
        "parts": [part._asdict() for part in parts],
        "digests": [part._asdict() for part in digests],
    }


def render_latency(parts: Sequence[DelayPart], digests: Sequence[DelayPart] = ()) -> RenderableType:
    """Return a line a part, their sum, and what waits for a summary."""
    made = table("FROM A FAULT TO ITS NOTIFICATION", "SECONDS", "", right=["SECONDS"])
    for part in parts:
        shown = "?" if part.seconds is None else f"{part.seconds:.1f}"
        made.add_row(printable(part.part), shown, Text(printable(part.why), style="dim"))
    made.add_row(Text("at most", style="bold"), Text(f"{_total(parts):.1f}", style="bold"), "")
    notes: list[RenderableType] = []
    if digests:
        summaries = table("IN A SUMMARY INSTEAD", "SECONDS", "", right=["SECONDS"])
        for part in digests:
            why = Text(printable(part.why), style="dim")
            summaries.add_row(printable(part.part), f"{part.seconds or 0.0:.1f}", why)
        notes += [Text(""), summaries]
    if any(part.seconds is None for part in parts):
        unknown = "? is what no flow has told: `metrics` does once a window closes"
        notes += [Text(""), Text(unknown, style="dim")]
    return Group(made, *notes) if notes else made


def _total(parts: Sequence[DelayPart]) -> float:
    return sum(part.seconds or 0.0 for part in parts)
