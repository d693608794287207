"""Times on the command line mean the same in every command."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.commands.failure import CommandFailed
from flows.commands.instants import instant, instant_or_none
from tests.flows.command_line import CommandLine


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose own time is not UTC."""
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("elsewhere")
def test_what_names_no_zone_is_in_utc_wherever_the_machine_is() -> None:
    new_year = 1_767_225_600 * 10**9
    for text in (
        "2026-01-01",
        "2026-01-01T00:00",
        "2026-01-01T00:00:00Z",
        "2026-01-01T05:45+05:45",
    ):
        assert instant(text, "--since") == new_year
    assert instant("2026-01-01T00:00:00.25", "--since") == new_year + 250_000_000
    assert instant_or_none("", "--since") is instant_or_none(None, "--since") is None
    for text in ("yesterday", "0001-01-01T00:00+25:00", "12"):
        with pytest.raises(CommandFailed, match=f'--until: "{text[:5]}.*UTC if no zone is said'):
            instant(text, "--until")


@given(st.datetimes(timezones=st.timezones()))
def test_an_instant_is_read_to_the_microsecond(moment: datetime.datetime) -> None:
    since = moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    expected = (since.days * 86_400 + since.seconds) * 10**6 + since.microseconds
    # Offsets of seconds, which zones had long ago, are of ISO 8601 in Python as well.
    assert instant(moment.isoformat(), "--at") == expected * 1000


@pytest.mark.parametrize(
    "command", [["backtest"], ["rules", "backtest"], ["rules", "explain"], ["models", "promote"]]
)
def test_each_help_says_so(command: list[str], tmp_path: Path) -> None:
    shown = CommandLine(tmp_path, "localhost:9092")(*command, "--help").stdout
    assert "in UTC if it names no zone" in " ".join(shown.replace("│", " ").split())
