"""The demo's report: one file that says what happened, whatever happened."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from flows.offline.pictures.charts import ticks
from operators.contracts.frames import SCORES
from tests.demo.log_lines import log_view
from tests.demo.observer import Seen, WrittenEvent
from tests.demo.report import render, write_report
from tests.demo.samples import (
    FAULT,
    FIRING,
    IN_LOGS,
    START,
    kept_spans,
    log_records,
    notification,
    rollups,
    seen,
)
from tests.demo.story import Fault, tell
from tests.demo.waterfall import slowest

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Outline(HTMLParser):
    """Checks that what is opened is closed, and gathers what would be asked of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def count(self, tag: str, kind: str) -> int:
        return sum(t == tag and kind in (a.get("class") or "").split() for t, a in self.tags)


def rendered(what: Seen, fault: Fault = FAULT) -> str:
    judged = what.rollups.select(SCORES.names())
    return render(what, judged, tell(what, fault), fault, kept_spans(), log_records())


def outline(html: str) -> Outline:
    found = Outline()
    found.feed(html)
    assert found.open == []
    return found


def test_it_is_one_whole_file_that_asks_the_network_for_nothing(tmp_path: Path) -> None:
    what = seen()
    path = tmp_path / "new" / "demo.html"
    judged = what.rollups.select(SCORES.names())
    write_report(path, what, judged, tell(what, FAULT), FAULT, kept_spans(), log_records())
    html = path.read_text(encoding="utf-8")
    assert outline(html).links == []
    assert not re.search(r"<script|@import|url\((?!#)", html)


def test_every_anomaly_is_marked_and_the_fault_is_shaded() -> None:
    page = outline(rendered(seen()))
    assert page.count("circle", "anomalous") == 5
    assert page.count("circle", "normal") == 10
    assert page.count("circle", "learning") == 15
    assert page.count("rect", "fault") >= 2
    assert page.count("line", "firing") == page.count("line", "resolved") == 1


def test_it_says_how_long_things_took() -> None:
    html = rendered(seen())
    assert "The fault was found and told in 6.0 s, and its end in 12.0 s." in html
    assert "+5.0 s" in html  # fired
    assert "+19.0 s" in html  # resolved


def test_a_fault_that_was_not_found_is_not_made_to_look_well() -> None:
    html = rendered(Seen(rollups(()), (), ()))
    assert '<h1 class="bad">The fault was not found' in html
    assert "None fired." in html


def test_labels_from_afar_cannot_become_markup() -> None:
    once = seen()
    evil = {**FIRING, "annotations": {"summary": "<script>alert(1)</script>"}}
    what = replace(
        once,
        events=(replace(once.events[0], event=evil), *once.events[1:]),  # type: ignore[arg-type]
        notifications=(notification(START + 46.5, evil), *once.notifications[1:]),  # type: ignore[arg-type]
    )
    html = rendered(what)
    assert "<script" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-63, 31, [-60, -40, -20, 0, 20]), (0, 0, [0])],
)
def test_axes_have_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high, 4) == expected


def test_the_slowest_request_of_the_fault_is_shown_with_its_path() -> None:
    found = slowest(kept_spans(), FAULT)
    assert found is not None
    assert (found.took, found.reason, found.kept) == (300.0, "slow", 2)
    assert [(bar.name, bar.depth, bar.path, bar.longest) for bar in found.bars] == [
        ("GET /checkout", 0, 30.0, False),
        ("POST payment", 1, 20.0, False),
        ("BEGIN IMMEDIATE", 1, 250.0, True),
    ]
    page = rendered(seen())
    assert "BEGIN IMMEDIATE, failed" in page
    assert "kept because of: slow" in page
    nothing = kept_spans().clear()
    assert slowest(nothing, FAULT) is None
    assert "No trace was kept" in render(
        seen(), rollups().select(SCORES.names()), tell(seen(), FAULT), FAULT, nothing, log_records()
    )


def test_what_the_logs_said_is_shown_and_no_alert_of_metrics() -> None:
    once = seen()
    what = replace(
        once,
        events=(*once.events, WrittenEvent(START + 43.5, IN_LOGS)),
        notifications=(notification(START + 44.5, IN_LOGS), *once.notifications),
        templates={f"{2**64 - 5:016x}": "order of product * failed"},
    )
    story = tell(what, FAULT)
    assert len(story.alerts) == 1
    assert len(story.notifications) == 2
    assert story.first_notification == START + 46.5
    shown = log_view(log_records(), what.templates, story, FAULT)
    assert [(f.title, f.after, f.told, f.times, f.trace) for f in shown.found] == [
        ("sqlite3.OperationalError", 3.0, 4.0, 5, "a" * 32)
    ]
    # Four lines in the 40.5 s before, then one every two seconds of ten.
    assert [(t.text, t.severity, t.during, t.new) for t in shown.templates] == [
        ("order of product * failed", "ERROR", pytest.approx(0.5), True),
        ("GET / 200", "INFO", 0.0, False),
    ]
    page = rendered(what)
    assert "found 3.0 s after the fault began and told in 4.0 s" in page
    assert "Its exception was found in the logs" in page
    outline(page)
