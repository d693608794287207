"""Times in all forms become the right nanosecond, or none."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.columns.text_column import text_column
from operators.logs.parsing.timestamps import complete, times_of

CAME = "2026-03-15T12:00:00Z"


def read(*texts: str, came: str = CAME, zone: str = "UTC") -> list[int]:
    times = times_of(*text_column(pl.Series(texts)))
    return complete(times, np.full(len(texts), ns(came)), zone).tolist()


def ns(text: str) -> int:
    """Return nanoseconds by the standard library, with a fraction of nine digits at most."""
    whole, _, rest = text.partition(".")
    digits = "".join(char for char in rest if char.isdigit()).ljust(9, "0") if rest else "0"
    moment = datetime.fromisoformat(whole.rstrip("Z") + "+00:00")
    return int(moment.timestamp()) * 10**9 + int(digits)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00Z"),
        ("2026-01-31T10:00:00.123456789Z", "2026-01-31T10:00:00.123456789Z"),
        ("2026-01-31 10:00:00,123", "2026-01-31T10:00:00.123Z"),
        ("2026/01/31 10:00:00", "2026-01-31T10:00:00Z"),
        ("2026-01-31T10:00:00.5+05:30", "2026-01-31T04:30:00.5Z"),
        ("2026-01-31T10:00:00-0800", "2026-01-31T18:00:00Z"),
        ("2026-01-31 10:00:00 UTC", "2026-01-31T10:00:00Z"),
        ("[31/Jan/2026:10:00:00 +0100]", "2026-01-31T09:00:00Z"),
        ("Sat Jan 31 10:00:00 2026", "2026-01-31T10:00:00Z"),
        ("Sat, 31 Jan 2026 10:00:00 GMT", "2026-01-31T10:00:00Z"),
        ("Jan 31 10:00:00", "2026-01-31T10:00:00Z"),
        ("Dec 31 23:59:59", "2025-12-31T23:59:59Z"),
        ("Mar  5 01:02:03.4", "2026-03-05T01:02:03.4Z"),
        ("11:59:58", "2026-03-15T11:59:58Z"),
        ("23:59:58.5", "2026-03-15T23:59:58.5Z"),
        ("1700000000", "2023-11-14T22:13:20Z"),
        ("1700000000.123456", "2023-11-14T22:13:20.123456Z"),
        ("1700000000123", "2023-11-14T22:13:20.123Z"),
        ("1700000000123.25", "2023-11-14T22:13:20.12325Z"),
        ("1700000000123456", "2023-11-14T22:13:20.123456Z"),
        ("1700000000123456789", "2023-11-14T22:13:20.123456789Z"),
        ("4070908800", "2099-01-01T00:00:00Z"),
        ("2099-12-31T23:59:59Z", "2099-12-31T23:59:59Z"),
        ("1970-01-02T00:00:00Z", "1970-01-02T00:00:00Z"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
    ],
)
def test_a_time_is_read(text, expected):
    assert read(text) == [ns(expected)]


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "25:00:00", "99999999999999999999",
     "2026-01-31T10:00:00Zx", "Jan 32 10:00:00", "-5", "2026-01-31T10:00:00.Z", "0"],
)  # fmt: skip
def test_what_is_none_is_zero(text):
    assert read(text) == [0]


def test_syslog_at_new_year_has_the_year_that_is_nearest():
    assert read("Dec 31 23:59:59", came="2026-01-01T00:00:03Z") == [ns("2025-12-31T23:59:59Z")]
    assert read("Jan  1 00:00:03", came="2025-12-31T23:59:59Z") == [ns("2026-01-01T00:00:03Z")]


def test_a_leap_day_without_a_year_is_of_a_leap_year():
    assert read("Feb 29 10:00:00", came="2025-02-28T00:00:00Z") == [ns("2024-02-29T10:00:00Z")]
    assert read("Feb 29 10:00:00", came="2026-06-30T00:00:00Z") == [0]  # 2025 to 2027 have none


def test_a_local_time_is_of_the_zone_of_the_input():
    zone = "Europe/Berlin"
    assert read("2026-07-01 12:00:00", zone=zone) == [ns("2026-07-01T10:00:00Z")]
    assert read("2026-01-01T12:00:00+00:00", zone=zone) == [ns("2026-01-01T12:00:00Z")]
    # Put forward over 02:30, and back over it: once it does not exist, and then it does twice.
    assert read("2026-03-29 02:30:00", zone=zone) == [0]
    assert read("2026-10-25 02:30:00", zone=zone) == [ns("2026-10-25T00:30:00Z")]


_moments = st.datetimes(datetime(1971, 1, 1), datetime(2035, 1, 1))
_offsets = st.integers(-14 * 4, 14 * 4).map(lambda quarters: timedelta(minutes=15 * quarters))


@settings(deadline=None, max_examples=200)
@given(_moments, _offsets, st.sampled_from(["T", " "]), st.sampled_from([",", "."]))
def test_iso_times_are_what_the_standard_library_reads(moment, offset, between, point):
    written = moment.replace(tzinfo=timezone(offset))
    text = written.isoformat(between, "microseconds").replace(".", point)
    expected = (written - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    assert read(text) == [expected]


@settings(deadline=None, max_examples=100)
@given(_moments, st.integers(-150, 150))
def test_a_time_without_a_year_is_found_within_months_of_its_coming(moment, days):
    zone = ZoneInfo("America/New_York")
    written = moment.replace(microsecond=0, tzinfo=zone)
    came = (written + timedelta(days=days)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    exists = written.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == written.replace(
        tzinfo=None
    )
    expected = int(written.timestamp()) * 10**9 if exists else 0
    if (written.month, written.day) != (2, 29) and exists:
        assert read(written.strftime("%b %d %H:%M:%S"), came=came, zone="America/New_York") == [
            expected
        ]
