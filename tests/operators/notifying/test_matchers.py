"""Matchers, in both notations, and times: what they mean, and what they refuse."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.notifying.intervals import TimeInterval
from operators.notifying.matchers import (
    InvalidMatcher,
    Matcher,
    matches,
    parse_matchers,
    written,
)

# Those that are read are from Alertmanager's own tables (pkg/labels/parse_test.go, 0.25).
READ = {
    '{foo="bar"}': [("foo", "=", "bar")],
    'foo="bar"': [("foo", "=", "bar")],
    '{foo=~"bar.*"}': [("foo", "=~", "bar.*")],
    '{foo != "bar"}': [("foo", "!=", "bar")],
    '{foo!="bar",}': [("foo", "!=", "bar")],
    '  foo = "bar", dings != "bums" ': [("foo", "=", "bar"), ("dings", "!=", "bums")],
    "foo=bar,dings!=bums": [("foo", "=", "bar"), ("dings", "!=", "bums")],
    '{quote="She said: \\"Hi, ladies! That\'s gender-neutral…\\""}': [
        ("quote", "=", 'She said: "Hi, ladies! That\'s gender-neutral…"')
    ],
    "statuscode=~5..": [("statuscode", "=~", "5..")],
    "tricky=~~~": [("tricky", "=~", "~~")],
    'trickier==\\\\=\\=\\"': [("trickier", "=", '=\\=\\="')],
    'contains_quote != "\\"" , contains_comma !~ "foo,bar" , ': [
        ("contains_quote", "!=", '"'),
        ("contains_comma", "!~", "foo,bar"),
    ],
    'foo="bar\\nbaz"': [("foo", "=", "bar\nbaz")],
    "{foo=}": [("foo", "=", "")],
    '{"my label"="x", service.name=~"a|b"}': [
        ("my label", "=", "x"),
        ("service.name", "=~", "a|b"),
    ],
    '"ü"="\\u00e4"': [("ü", "=", "ä")],
}


@pytest.mark.parametrize(("text", "expected"), READ.items(), ids=READ)
def test_matchers_are_read_as_alertmanager_reads_them(
    text: str, expected: list[tuple[str, str, str]]
) -> None:
    assert [(m.name, m.operator, m.value) for m in parse_matchers(text)] == expected


@pytest.mark.parametrize(
    "text",
    ['{foo=~"invalid[regexp"}', '{foo="bar}', "{foo", '{=""}', '{foo="a"b"}', '"a"'],
)
def test_what_is_no_matcher_is_refused(text: str) -> None:
    with pytest.raises(InvalidMatcher):
        parse_matchers(text)


@given(
    st.lists(
        st.builds(
            Matcher,
            st.text(min_size=1).filter(lambda t: not any(0xD800 <= ord(c) < 0xE000 for c in t)),
            st.sampled_from(["=", "!="]),
            st.text(),
        ),
        max_size=4,
    )
)
def test_what_is_written_is_read_back(given: list[Matcher]) -> None:
    assert parse_matchers(written(tuple(given))) == tuple(given)


def test_a_pattern_has_to_match_the_whole_value_and_a_missing_label_is_empty() -> None:
    assert matches(parse_matchers("a=~b|c,d!=x,e=~.*"), {"a": "c"})
    assert not matches(parse_matchers("a=~b"), {"a": "bb"})
    assert not matches(parse_matchers("d!~.*"), {})


def at(text: str, zone: str = "UTC") -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))
    return round(moment.astimezone(UTC).timestamp()) * 10**9


# 2026-02-28 is a Saturday, and the last of its month.
TIMES = {
    "in the hours": (TimeInterval(times=((540, 1020),)), "2026-02-28T09:00", True),
    "at their end": (TimeInterval(times=((540, 1020),)), "2026-02-28T17:00", False),
    "on the day": (TimeInterval(weekdays=((6, 6),)), "2026-02-28T12:00", True),
    "on another": (TimeInterval(weekdays=((0, 5),)), "2026-02-28T12:00", False),
    "on the last of the month": (TimeInterval(days_of_month=((-1, -1),)), "2026-02-28T00:00", True),
    "on the 29th that is none": (
        TimeInterval(days_of_month=((29, 31),)),
        "2026-02-28T00:00",
        False,
    ),
    "from the 25th to the 31st": (
        TimeInterval(days_of_month=((25, 31),)),
        "2026-02-28T00:00",
        True,
    ),
    "in the month": (TimeInterval(months=((1, 2),)), "2026-02-28T00:00", True),
    "in another year": (TimeInterval(years=((2020, 2025),)), "2026-02-28T00:00", False),
    "both have to hold": (
        TimeInterval(weekdays=((6, 6),), months=((3, 3),)),
        "2026-02-28T00:00",
        False,
    ),
    "always": (TimeInterval(), "2026-02-28T00:00", True),
}


@pytest.mark.parametrize(("interval", "then", "inside"), TIMES.values(), ids=TIMES)
def test_a_time_is_inside_or_not(interval: TimeInterval, then: str, inside: bool) -> None:
    assert interval.contains(at(then)) == inside


def test_a_time_is_by_the_clock_of_its_place_in_summer_and_winter() -> None:
    berlin = TimeInterval(times=((9 * 60, 10 * 60),), location=ZoneInfo("Europe/Berlin"))
    assert berlin.contains(at("2026-07-01T07:30"))
    assert berlin.contains(at("2026-01-01T08:30"))
    assert not berlin.contains(at("2026-01-01T07:30"))
