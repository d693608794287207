"""Lengths of time, as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.contracts.durations import DurationError, format_duration, parse_duration

SECOND = 10**9


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1ns", 1), ("1us", 1_000), ("1ms", 1_000_000), ("10s", 10 * SECOND), ("5m", 300 * SECOND),
        ("1h", 3600 * SECOND), ("1d", 86_400 * SECOND), ("2w", 14 * 86_400 * SECOND),
        ("1h30m", 5400 * SECOND), ("1m30s500ms", 90_500_000_000), ("0s", 0), ("007s", 7 * SECOND),
    ],
)  # fmt: skip
def test_a_duration_is_whole_numbers_with_units(text, nanoseconds):
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "s",
        "10x",
        "-5s",
        "1.5h",
        "10 s",
        " 10s",
        "10s ",
        "10s\n",
        "5M",
        "1h-30m",
        "1e3s",
        "²s",
    ],
)
def test_anything_else_is_refused_and_the_message_says_what_to_write(text):
    with pytest.raises(DurationError) as caught:
        parse_duration(text)
    assert str(caught.value) == f'"{text}" is not a duration (write 10s, 5m, 1h)'


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0ns"),
        (90 * SECOND, "90s"),
        (3600 * SECOND, "1h"),
        (7 * 86_400 * SECOND, "1w"),
        (1_500, "1500ns"),
    ],
)
def test_a_duration_is_written_in_its_largest_whole_unit(nanoseconds, text):
    assert format_duration(nanoseconds) == text


@given(st.integers(0, 10**20))
def test_what_is_written_is_read_back(nanoseconds):
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds
