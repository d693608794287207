"""What every sink does, against its real backend."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest

from sinks.base import Sink, Unavailable
from tests.sinks.harness import HARNESSES, SECRET, Harness


@pytest.fixture(params=HARNESSES)
def harness(request: pytest.FixtureRequest) -> Harness:
    kind: Any = HARNESSES[request.param]
    made: Harness = kind(request.getfixturevalue(kind.fixture or "tmp_path"))
    return made


@pytest.fixture(autouse=True)
def _no_secret_is_said(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    # Also what libraries say only to those who debug them.
    with caplog.at_level(logging.DEBUG):
        yield
    assert SECRET not in caplog.text
    assert "headrace-token" not in caplog.text


def test_what_was_written_is_there_when_write_returns(harness: Harness) -> None:
    assert harness.make().write(harness.frame(range(10))) is None
    assert harness.found() == dict.fromkeys(range(10), 1)


def test_writing_again_leaves_one_of_each(harness: Harness) -> None:
    destination = harness.make()
    for numbers in (range(10), range(10), range(5, 15)):
        assert destination.write(harness.frame(numbers)) is None
    assert harness.make().write(harness.frame(range(3))) is None
    assert harness.found() == dict.fromkeys(range(15), 1)


def test_a_write_of_nothing_is_none_at_all(harness: Harness) -> None:
    destination = harness.make()
    destination.write(harness.frame(range(1)))
    assert destination.write(harness.frame([])) is None
    assert harness.found() == {0: 1}


def test_what_is_refused_is_returned_and_what_stands_around_it_is_written(
    harness: Harness,
) -> None:
    bad = harness.bad()
    if bad is None:
        pytest.skip("refuses nothing")
    row, why = bad
    other, _ = harness.bad(1) or bad
    destination = harness.make()
    frame = pl.concat([harness.frame(range(4)), row, harness.frame(range(4, 10)), other])
    refused = destination.write(frame)
    assert refused is not None
    assert refused.height == 2
    assert set(refused["origin"]) == {destination.name}
    assert all(why in reason for reason in refused["reason"])
    assert SECRET not in str(refused.to_dicts())
    assert harness.found() == dict.fromkeys(range(10), 1)

    restored = destination.restore(refused["payload"].to_list())
    assert restored.schema == frame.schema
    assert restored.equals(pl.concat([row, other]))


def test_what_is_not_its_own_is_not_restored(harness: Harness) -> None:
    for payload in (b"", b"\xff", b"{}", b"[1]", b'{"key": 1}'):
        with pytest.raises(ValueError, match=r"\w"):
            harness.make().restore([payload, payload])


def test_a_backend_that_is_away_is_named_and_takes_the_same_write_later(
    harness: Harness,
) -> None:
    destination = harness.make()
    destination.write(harness.frame(range(3)))
    frame = harness.frame(range(10))
    harness.take_away()
    try:
        for attempt in (destination, harness.make()):
            with pytest.raises(Unavailable) as raised:
                attempt.write(frame)
            assert harness.place in str(raised.value)
            assert SECRET not in str(raised.value)
            assert "\n" not in str(raised.value)
    finally:
        harness.bring_back()
    assert destination.write(frame) is None
    assert harness.found() == dict.fromkeys(range(10), 1)


def test_a_flow_waits_for_its_backend_and_loses_nothing(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    partition = Sink(harness.make(), harness.make())
    partition.write([harness.frame(range(3))])
    harness.take_away()
    frames = [harness.frame(range(3, 6)), harness.frame(range(6, 10))]
    flow = threading.Thread(target=partition.write, args=[frames], daemon=True)
    flow.start()
    time.sleep(5)
    assert flow.is_alive()
    harness.bring_back()
    flow.join(60)
    assert not flow.is_alive()
    assert harness.found() == dict.fromkeys(range(10), 1)
    waiting = [text for text in caplog.messages if "trying again" in text]
    assert waiting
    assert all(harness.place in text for text in waiting)
