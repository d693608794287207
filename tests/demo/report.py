"""The report of the demo: one HTML file with everything in it, which asks the network for nothing."""

from __future__ import annotations

import html
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from flows.offline.pictures.pages import environment
from flows.version import version
from tests.demo.charts import Chart, fault_chart, lifelines
from tests.demo.configuration import FINEST
from tests.demo.log_lines import log_view
from tests.demo.observer import Seen
from tests.demo.story import Fault, Story
from tests.demo.summary import figures, steps, verdict
from tests.demo.watched import SHOWN, Watched, history
from tests.demo.waterfall import slowest

__all__ = ["render", "write_report"]

_WIDTH: Final = 980.0
_SLACK_DATE: Final = re.compile(r"<!date\^[^|>]*\|([^>]*)>")
_SLACK_SIGN: Final = re.compile(r"^:\w+: ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Headline:
    """A number that is worth a large print."""

    value: str
    unit: str
    says: str
    good: bool


def write_report(
    path: Path,
    seen: Seen,
    stored: pl.DataFrame,
    story: Story,
    fault: Fault,
    spans: pl.DataFrame,
    records: pl.DataFrame,
) -> None:
    """Write the report.

    Args:
        path: of the file; its directory is made.
        seen: what came over the topics and to the receiver.
        stored: the rollups in the lake, a SCORES frame: what the charts show.
        story: what happened.
        fault: when there was cause for it.
        spans: the spans in the lake, a SPANS frame.
        records: the records of logs in the lake, a GROUPED_LOGS frame.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(seen, stored, story, fault, spans, records), encoding="utf-8")


def render(
    seen: Seen,
    stored: pl.DataFrame,
    story: Story,
    fault: Fault,
    spans: pl.DataFrame,
    records: pl.DataFrame,
) -> str:
    """Return the report as HTML; the arguments are those of `write_report`."""
    templates = environment("tests.demo")
    judged = stored.filter(window=FINEST)
    ends = (judged["window_start"] + FINEST) / 1e9
    last = max([float(ends.max() or 0), *(n.at for n in story.notifications)])  # type: ignore[arg-type]
    span = (float(ends.min() or 0), last)  # type: ignore[arg-type]
    charts = list(_charts(stored, story, fault, span))
    return templates.get_template("report.html").render(
        story=story,
        fault=fault,
        is_good=story.is_over,
        verdict=verdict(story, fault),
        headlines=list(_headlines(story, fault)),
        steps=steps(story, fault),
        figures=list(figures(story)),
        stored=len(stored),
        agree=len(stored) == len(seen.rollups),
        chart=charts[0],
        more=charts[1:],
        waterfall=slowest(spans, fault),
        logs=log_view(records, seen.templates, story, fault),
        lifelines=lifelines(story, fault, span=span, width=_WIDTH),
        webhook=_pretty(_first(seen, story, "webhook")),
        card=_card(_first(seen, story, "slack")),
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        version=version(),
        machine=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    )


def _headlines(story: Story, fault: Fault) -> Iterator[Headline]:
    def after(instant: float | None, start: float | None) -> str:
        return "-" if instant is None or start is None else f"{instant - start:.1f}"

    found, told = story.first_anomaly, story.first_notification
    yield Headline(after(found, fault.began), "s", "until the first anomaly was seen", found is not None)  # fmt: skip
    yield Headline(after(told, fault.began), "s", "until somebody was told", told is not None)
    over = story.all_cleared
    yield Headline(after(over, fault.ended), "s", "after its end, told that it is over", over is not None)  # fmt: skip
    false = len(story.false_alerts)
    yield Headline(f"{false}", "", f"false alert{'' if false == 1 else 's'} before it", false == 0)


def _charts(
    stored: pl.DataFrame, story: Story, fault: Fault, span: tuple[float, float]
) -> Iterator[Chart]:
    for number, watched in enumerate(SHOWN):
        yield fault_chart(
            history(stored, watched, FINEST),
            fault,
            list(_happenings(story, watched)),
            title=watched.title,
            unit=watched.unit,
            span=span,
            size=(_WIDTH, 330) if number == 0 else (340, 200),
            limit=watched.limit,
        )


def _happenings(story: Story, watched: Watched) -> Iterator[tuple[float, str, str]]:
    """Yield what happened to the alerts of a series."""
    for alert in story.alerts:
        labels = alert.firing["labels"]
        if (labels.get("metric"), labels.get("service.name"), labels.get("http.route")) != (
            watched.metric, watched.service, watched.route
        ):  # fmt: skip
            continue
        yield alert.fired, "fired", "firing"
        if alert.notified is not None:
            yield alert.notified, "told", "told"
        if alert.resolved is not None:
            yield alert.resolved, "resolved", "resolved"


def _first(seen: Seen, story: Story, channel: str) -> Any:
    """Return the body of the first message of a channel that tells of an alert of metrics."""
    # A message to a chat does not say what its alerts are; the webhook has the same ones in its order.
    webhooks = [n for n in seen.notifications if n.channel == "webhook"]
    place = next((i for i, n in enumerate(webhooks) if n in story.notifications), 0)
    bodies = [n.body for n in seen.notifications if n.channel == channel]
    return next(iter(bodies[place:] or bodies), None)


def _card(message: Any) -> dict[str, str] | None:
    """Return of a message to Slack what a chat would show: its title and its text."""
    if message is None:
        return None
    attachment = message["attachments"][0]
    text = _SLACK_SIGN.sub("", _SLACK_DATE.sub(r"\1", attachment["text"]))
    return {"title": html.unescape(attachment["title"]), "text": html.unescape(text)}


def _pretty(body: Any) -> str | None:
    return None if body is None else orjson.dumps(body, option=orjson.OPT_INDENT_2).decode()
