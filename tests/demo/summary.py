"""What the demo says at its end: what was measured, and what there is to look at."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from flows.commands.terminal import table
from tests.demo.stage import Stage
from tests.demo.story import Alert, Fault, Story

__all__ = ["Step", "figures", "say_story", "say_what_runs", "steps", "verdict"]


@dataclass(frozen=True, slots=True)
class Step:
    """One moment in the life of the fault and its alerts.

    Attributes:
        says: what happened.
        at: when, in seconds since the Unix epoch; None if it did not.
        since: seconds since the fault began, or, of what comes after its end, since its end.
        kind: `fault`, `found`, `told` or `over`.
    """

    says: str
    at: float | None
    since: float | None
    kind: str


def steps(story: Story, fault: Fault) -> tuple[Step, ...]:
    """Return the moments from the fault's beginning to the last notification, in their order."""
    began, ended = fault.began or math.nan, fault.ended or math.nan

    def after(instant: float | None, start: float) -> float | None:
        return None if instant is None else instant - start

    in_logs = [alert.fired for alert in story.of_logs if alert.fired >= began]
    found = tuple(
        Step("Its exception was found in the logs", at, at - began, "found") for at in in_logs[:1]
    )
    finding = (
        *found,
        Step("First anomalous rollup", story.first_anomaly, after(story.first_anomaly, began), "found"),
        Step("First alert fired", story.first_alert, after(story.first_alert, began), "found"),
        Step("Somebody was told", story.first_notification, after(story.first_notification, began), "told"),
    )  # fmt: skip
    return (
        Step("The fault began", fault.began, 0.0, "fault"),
        *sorted(finding, key=lambda step: math.inf if step.at is None else step.at),
        Step("The fault ended", fault.ended, after(fault.ended, began), "fault"),
        Step("Last alert resolved", story.all_resolved, after(story.all_resolved, ended), "over"),
        Step("Somebody was told that it is over", story.all_cleared, after(story.all_cleared, ended), "told"),
    )  # fmt: skip


def verdict(story: Story, fault: Fault) -> str:
    """Return in a sentence how it went."""
    told, cleared = story.first_notification, story.all_cleared
    if told is None or fault.began is None:
        return "The fault was not found: nobody was told of it."
    found = f"The fault was found and told in {told - fault.began:.1f} s"
    if cleared is None or fault.ended is None:
        return f"{found}, but nobody was told that it is over."
    return f"{found}, and its end in {cleared - fault.ended:.1f} s."


def figures(story: Story) -> Iterator[tuple[str, str]]:
    """Yield what was measured: a name and a value each."""
    windows = [f"{number} of {length // 1_000_000_000} s" for length, number in story.windows.items()]  # fmt: skip
    before, during, after = story.anomalies
    yield "data points", f"{story.points:,} ({story.points_per_second:.0f} a second)"
    yield "time series", f"{story.series}"
    yield "windows closed", " and ".join(windows)
    yield "rollups", f"{story.rollups:,} ({story.revised} revised by late data)"
    yield "rollups judged", f"{story.judged:,}"
    yield "anomalous", f"{before} before the fault, {during} during it, {after} after it"
    yield "alerts", f"{len(story.alerts)} ({story.firing} still firing)"
    yield "notifications", f"{len(story.notifications)}"
    yield "found in logs", _named(story.of_logs)
    yield "alerts before the fault", _named(story.false_alerts)
    yield "alerts after its end", _named(story.late_alerts)


def say_story(out: Console, story: Story, fault: Fault) -> None:
    """Write the moments and the figures."""
    out.print(
        Text(f"\n{verdict(story, fault)}\n", style="bold green" if story.is_over else "bold red")
    )
    moments = table("moment", "took", right=("took",))
    for step in steps(story, fault):
        if step.kind == "fault":
            moments.add_row(Text(step.says, style="bold"), "")
        else:
            took = "never" if step.since is None else f"after {step.since:.1f} s"
            moments.add_row(f"  {step.says}", took)
    moments.show_header = False
    out.print(moments)
    out.print()
    measured = table("what", "value")
    measured.show_header = False
    for name, value in figures(story):
        measured.add_row(Text(name.capitalize(), style="dim"), value)
    out.print(measured)


def say_what_runs(out: Console, stage: Stage) -> None:
    """Write what `--keep` has left running."""
    topics = stage.settings.topics
    rows = (
        ("Kafka", stage.settings.kafka.bootstrap_servers),
        ("Topics", f"{stage.settings.inputs[0].topic}, {topics.rollups}, {topics.alerts}"),
        ("OTLP", f"{stage.collector.http_endpoint} (HTTP), {stage.collector.grpc_endpoint} (gRPC)"),
        ("The shop", stage.shop),
        *((f"Metrics of {flow.name}", flow.metrics) for flow in stage.flows.values()),
        ("Files", f"{stage.directory} (settings, logs, lake)"),
        ("Look", f"HEADRACE_CONFIG={stage.config} headrace status"),
        ("Fault", f"{' '.join(stage.fault.command())} (Ctrl-C ends it)"),
    )
    out.print(Text("\nEverything is still running; Ctrl-C stops it.\n", style="bold"))
    running = table("what", "value")
    running.show_header = False
    for name, value in rows:
        running.add_row(Text(name, style="dim"), value)
    out.print(running, soft_wrap=True)


def _named(alerts: tuple[Alert, ...]) -> str:
    if not alerts:
        return "none"
    return f"{len(alerts)}: " + ", ".join(f"{alert.service} {alert.name}" for alert in alerts)
