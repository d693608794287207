"""Shifts from calendars: what RFC 5545 says recurs when, and who is on call then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.notifying.calendars import Shift, read_calendar
from operators.notifying.rotas import CalendarRota, Rota, as_calendar

NAMES = {"ann": "ann", "Ben Smith": "ben", "cid@example.org": "cid"}
NEW_YORK, BERLIN = ZoneInfo("America/New_York"), ZoneInfo("Europe/Berlin")
SECOND = 1_000_000_000


def calendar(*events: str) -> bytes:
    made = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//x//y//EN"]
    for number, event in enumerate(events):
        lines = [line.strip() for line in event.strip().splitlines()]
        own = [] if any(line.startswith("UID") for line in lines) else [f"UID:{number}"]
        made += ["BEGIN:VEVENT", *own, "DTSTAMP:20260101T000000Z", *lines, "END:VEVENT"]
    return "\r\n".join([*made, "END:VCALENDAR", ""]).encode()


def at(moment: datetime) -> int:
    return round(moment.timestamp()) * SECOND


def begins(text: bytes, zone: ZoneInfo) -> list[str]:
    found = read_calendar(text, NAMES).shifts(0, at(datetime(2040, 1, 1, tzinfo=UTC)))
    return [datetime.fromtimestamp(s.starts // SECOND, zone).strftime("%y%m%d %H%M") for s in found]


# From the examples of RFC 5545, section 3.8.5.3; all are of New York.
EXAMPLES = {
    "monthly on the first Friday for 10 occurrences": (
        "DTSTART;TZID=America/New_York:19970905T090000",
        "FREQ=MONTHLY;COUNT=10;BYDAY=1FR",
        "970905 971003 971107 971205 980102 980206 980306 980403 980501 980605",
    ),
    "every other week on Monday, Wednesday, and Friday until December 24, 1997": (
        "DTSTART;TZID=America/New_York:19970901T090000",
        "FREQ=WEEKLY;INTERVAL=2;UNTIL=19971224T000000Z;WKST=SU;BYDAY=MO,WE,FR",
        "970901 970903 970905 970915 970917 970919 970929 971001 971003 971013 971015 971017 "
        "971027 971029 971031 971110 971112 971114 971124 971126 971128 971208 971210 971212 "
        "971222",
    ),
    "the last weekday but one of the month": (
        "DTSTART;TZID=America/New_York:19970929T090000",
        "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2;COUNT=7",
        "970929 971030 971127 971230 980129 980226 980330",
    ),
    "every third year on the 1st, 100th, and 200th day for 10 occurrences": (
        "DTSTART;TZID=America/New_York:19970101T090000",
        "FREQ=YEARLY;INTERVAL=3;COUNT=10;BYYEARDAY=1,100,200",
        "970101 970410 970719 000101 000409 000718 030101 030410 030719 060101",
    ),
}


@pytest.mark.parametrize(("start", "rule", "days"), EXAMPLES.values(), ids=EXAMPLES)
def test_shifts_recur_as_the_examples_of_the_rfc_say(start: str, rule: str, days: str) -> None:
    text = calendar(f"{start}\nRRULE:{rule}\nDURATION:PT1H\nSUMMARY:ann")
    assert begins(text, NEW_YORK) == [f"{day} 0900" for day in days.split()]


WEEKS = """
    UID:weeks
    SUMMARY:{who}
    DTSTART;TZID=Europe/Berlin:20261005T090000
    DTEND;TZID=Europe/Berlin:20261012T090000
    RRULE:FREQ=WEEKLY;COUNT=5
"""


def test_a_shift_from_nine_to_nine_stays_that_when_clocks_change() -> None:
    shifts = read_calendar(calendar(WEEKS.format(who="ann")), NAMES).shifts(0, 2**61)
    walls = {
        datetime.fromtimestamp(moment // SECOND, BERLIN).strftime("%a %H:%M")
        for shift in shifts
        for moment in (shift.starts, shift.ends)
    }
    assert walls == {"Mon 09:00"}
    assert all(one.ends == two.starts for one, two in pairwise(shifts))
    assert len({shift.ends - shift.starts for shift in shifts}) == 2  # one is an hour longer


def test_single_times_are_left_out_moved_added_and_given_to_others() -> None:
    text = calendar(
        WEEKS.format(who="ann")
        + "EXDATE;TZID=Europe/Berlin:20261012T090000\n"
        + "RDATE;TZID=Europe/Berlin:20261201T090000",
        "UID:weeks\nSUMMARY:Ben Smith\nRECURRENCE-ID;TZID=Europe/Berlin:20261019T090000\n"
        "DTSTART;TZID=Europe/Berlin:20261019T120000\nDTEND;TZID=Europe/Berlin:20261026T090000",
        "UID:weeks\nSUMMARY:ann\nRECURRENCE-ID;TZID=Europe/Berlin:20261026T090000\n"
        "DTSTART;TZID=Europe/Berlin:20261026T090000\nDTEND;TZID=Europe/Berlin:20261102T090000\n"
        "STATUS:CANCELLED",
    )
    shifts = read_calendar(text, NAMES).shifts(0, 2**61)
    told = [
        (s.receiver, datetime.fromtimestamp(s.starts // SECOND, BERLIN).strftime("%m%d %H"))
        for s in shifts
    ]
    assert told == [("ann", "1005 09"), ("ben", "1019 12"), ("ann", "1102 09"), ("ann", "1201 09")]


def test_days_are_of_the_place_that_is_given_and_names_may_be_those_of_attendees() -> None:
    text = calendar(
        "SUMMARY:On call\nATTENDEE;CN=Ben SMITH:mailto:ben@example.org\n"
        "DTSTART;VALUE=DATE:20261005\nDTEND;VALUE=DATE:20261007",
        "SUMMARY:On call\nATTENDEE:mailto:cid@example.org\nDTSTART:20261007T000000\nDURATION:P1D",
        "SUMMARY:Holiday\nDTSTART;VALUE=DATE:20261005",
    )
    read = read_calendar(text, NAMES, BERLIN)
    first, second = read.shifts(0, 2**61)
    assert first == Shift(
        "ben", at(datetime(2026, 10, 5, tzinfo=BERLIN)), at(datetime(2026, 10, 7, tzinfo=BERLIN))
    )
    assert second.receiver == "cid"
    assert second.starts == first.ends
    assert read.unknown == ["Holiday"]


def test_who_is_on_call_is_whoever_has_a_shift_else_the_first() -> None:
    rota = CalendarRota(["boss", "ann", "ben"])
    noon = datetime(2026, 10, 5, 12, tzinfo=UTC)
    assert rota.on_call(at(noon)) == ("boss",)
    rota.put(
        read_calendar(
            calendar(
                "SUMMARY:ann\nDTSTART:20261005T120000Z\nDURATION:PT90M",
                "SUMMARY:Ben Smith\nDTSTART:20261005T130000Z\nDURATION:PT1H",
            ),
            NAMES,
        )
    )
    expected = {
        -1: {"boss"}, 0: {"ann"}, 59: {"ann"}, 60: {"ann", "ben"}, 89: {"ann", "ben"}, 90: {"ben"},
        120: {"boss"},
    }  # fmt: skip
    for minute, names in expected.items():
        assert set(rota.on_call(at(noon + timedelta(minutes=minute)))) == names, minute


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.sampled_from(["ann", "ben", "cid"]), min_size=1, max_size=5, unique=True),
    st.integers(12, 30 * 24),
    st.integers(0, 300 * 24),
)
def test_what_is_served_is_read_back_and_says_the_same(
    receivers: list[str], hours: int, later: int
) -> None:
    start = at(datetime(2026, 1, 1, tzinfo=UTC))
    rota = Rota(receivers, start, hours * 3600 * SECOND)
    now = start + later * 3600 * SECOND
    text = as_calendar("week", rota.shifts(now, now + 50 * 24 * 3600 * SECOND), now)
    read = CalendarRota(["nobody"])
    read.put(read_calendar(text, {name: name for name in receivers}))
    for hour in range(0, 50 * 24, 41):
        moment = now + hour * 3600 * SECOND
        assert set(read.on_call(moment)) == set(rota.on_call(moment))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"<html>", "not an iCalendar"),
        (b"", "not an iCalendar"),
        (calendar("SUMMARY:ann\nDTSTART:20261005T120000Z"), '"ann": it has to end after its start'),
        (
            calendar("SUMMARY:ann\nDTSTART:20261005T120000Z\nDURATION:PT1H\nRRULE:FREQ=SECONDLY"),
            "once an hour at most",
        ),
    ],
)
def test_what_is_no_calendar_of_shifts_is_refused(text: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_calendar(text, NAMES)
