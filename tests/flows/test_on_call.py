"""Schedules that go by a calendar: read from a file or an address, and kept up to date."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from flows.notifying import plan
from flows.on_call import subscriptions
from flows.settings import NotifierSettings
from tests.flows.command_line import CommandLine, lines
from tests.operators.notifying.test_calendars import calendar

ALWAYS = calendar("SUMMARY:Benjamin\nDTSTART:20200101T000000Z\nDURATION:P20000D")
SECRET = "/private-0123456789abcdef/basic.ics"
NOW = 1_790_000_000 * 10**9


def notifier(**on_call: Any) -> NotifierSettings:
    channels = [{"type": "console"}]
    return NotifierSettings.model_validate(
        {
            "receivers": [{"name": n, "channels": channels} for n in ("console", "ann", "ben")],
            "on_call": [
                {
                    "name": "week", "receivers": ["ann", "ben"], "names": {"benjamin": "ben"},
                    "refresh": "50ms", **on_call,
                }
            ],
            "escalations": [{"name": "x", "steps": [{"after": "5m", "on_call": "week"}]}],
        }
    )  # fmt: skip


def test_a_calendar_in_a_file_says_who_is_on_call(tmp_path: Path) -> None:
    file = tmp_path / "shifts.ics"
    file.write_bytes(ALWAYS)
    assert plan(notifier(calendar=str(file))).rotas["week"].on_call(NOW) == {"ben"}
    file.write_bytes(b"no calendar")
    with pytest.raises(ValueError, match=r"on_call\[0\].calendar: not an iCalendar"):
        plan(notifier(calendar=str(file)))
    with pytest.raises(ValueError, match="cannot read nowhere: No such file"):
        plan(notifier(calendar="nowhere"))


def test_a_calendar_at_an_address_is_read_again_and_what_was_read_outlives_a_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with HTTPServer(host="127.0.0.1", port=0) as server:
        server.expect_ordered_request(SECRET).respond_with_data(ALWAYS)
        server.expect_request(SECRET).respond_with_data("away", status=503)
        settings = notifier(calendar_url=server.url_for(SECRET))
        going_by = plan(settings)
        rota = going_by.rotas["week"]
        assert rota.on_call(NOW) == ("ann",)  # nothing has been read yet
        going_by.holds(settings)
        assert rota.on_call(NOW) == {"ben"}
        deadline = time.monotonic() + 120
        while " answered " not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.02)
        for one in going_by.calendars:
            one.close()
    assert rota.on_call(NOW) == {"ben"}
    ours = [one.getMessage() for one in caplog.records if one.name == "flows.on_call"]
    assert ours
    assert SECRET not in " ".join(ours)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "one of starts, calendar and calendar_url"),
        ({"calendar": "a.ics", "starts": "2026-01-05T09:00:00Z"}, "one of starts, calendar and"),
        ({"calendar": "a.ics", "names": {"x": "nobody"}}, '"nobody" is none of the receivers'),
        ({"calendar": "a.ics", "location": "Mars"}, 'no time zone "Mars"'),
    ],
)
def test_what_can_not_be_meant_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        notifier(**given)


def test_check_asks_for_the_calendar(tmp_path: Path, httpserver: HTTPServer) -> None:
    httpserver.expect_request(SECRET).respond_with_data(ALWAYS)
    headrace = CommandLine(tmp_path, "127.0.0.1:9")
    settings = notifier(calendar_url="http://x").model_dump(mode="json", include={"receivers"})
    headrace.settings["notifier"] = settings | {
        "on_call": [
            {
                "name": "week", "receivers": ["ann"], "names": {"Benjamin": "ann"},
                "calendar_url": httpserver.url_for(SECRET),
            },
            {"name": "other", "receivers": ["ann"], "calendar_url": "http://127.0.0.1:9/x-secret-x"},
        ],
    }  # fmt: skip
    said = [line for line in lines(headrace("check").stdout) if "on_call" in line]
    assert said == [
        "ok             on_call[0].calendar: 1 events with shifts",
        "failed         on_call[1].calendar: 127.0.0.1:9: Connection refused",
    ]


def test_there_is_a_calendar_only_where_a_schedule_has_one() -> None:
    assert subscriptions(notifier(starts="2026-01-05T09:00:00Z")) == ()
