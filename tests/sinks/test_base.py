"""The patience of a flow before a sink, and what it says meanwhile."""

from __future__ import annotations

import logging

import polars as pl
import pytest
from prometheus_client import REGISTRY

from operators.contracts.clock import ManualClock
from sinks.base import Destination, Remainder, Sink, Unavailable, address, rejects


class Scripted(Destination):
    """Answers each write with the next thing from a list."""

    def __init__(self, name: str, *answers: Exception | pl.DataFrame | None) -> None:
        self.name = name
        self.answers = list(answers)
        self.written: list[pl.DataFrame] = []

    def write(self, frame: pl.DataFrame) -> pl.DataFrame | None:
        self.written.append(frame)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer


class Stopping(ManualClock):
    """A clock that ends the first wait."""

    def sleep(self, _seconds: float) -> None:
        raise InterruptedError


def frame(*numbers: int) -> pl.DataFrame:
    return pl.DataFrame({"n": numbers})


def write(
    destination: Destination, *frames: pl.DataFrame, dead_letter: Destination | None = None
) -> ManualClock:
    """Write frames as a dataflow does; return the clock, which shows how long that waited."""
    clock = ManualClock()
    connect = (lambda: dead_letter) if dead_letter else None
    Sink(destination, connect() if connect else None, clock).write(list(frames))
    return clock


def metric(name: str, sink: str) -> float | None:
    return REGISTRY.get_sample_value(f"headrace_sink_{name}", {"sink": sink})


def test_an_unavailable_backend_gets_the_same_rows_again_until_it_takes_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    destination = Scripted("patient", *[Unavailable("db: http://db:1: Connection refused")] * 3)
    with caplog.at_level(logging.WARNING):
        clock = write(destination, frame(1, 2), frame(3))
    assert [rows["n"].to_list() for rows in destination.written] == [[1, 2, 3]] * 4
    assert 0.2 + 0.4 + 0.8 <= clock.monotonic() <= 0.2 + 0.4 + 0.8 + 3
    assert "http://db:1: Connection refused; waiting" in caplog.messages[0]
    assert metric("retries_total", "patient") == 3
    assert metric("rows_total", "patient") == 3
    assert metric("blocked", "patient") == 0


def test_one_that_goes_on_does_not_hide_another_of_its_name_that_waits() -> None:
    waiting = Sink(Scripted("shared", Unavailable("down"), Unavailable("down")), None, Stopping())
    with pytest.raises(InterruptedError):
        waiting.write([frame(1)])
    write(Scripted("shared", Unavailable("down")), frame(1))
    assert metric("blocked", "shared") == 1
    waiting.close()
    assert metric("blocked", "shared") == 0


def test_waiting_never_takes_longer_than_16_s_unless_the_backend_asks_for_more() -> None:
    many = [Unavailable("down")] * 20
    assert write(Scripted("down", *many), frame(1)).monotonic() < 20 * 16
    asked = Scripted("asks", Unavailable("busy", retry_after=40))
    assert write(asked, frame(1)).monotonic() == 40
    absurd = Scripted("asks", Unavailable("busy", retry_after=1e9))
    assert write(absurd, frame(1)).monotonic() == 120


def test_refused_rows_go_to_the_dead_letters_and_the_flow_goes_on() -> None:
    refused = rejects("picky", ["bad"], [b"row"])
    dead_letter = Scripted("dead-letter", Unavailable("full"))
    write(Scripted("picky", refused), frame(1, 2), dead_letter=dead_letter)
    assert dead_letter.written[-1].equals(refused)
    assert metric("rows_total", "picky") == 1


def test_a_flow_without_dead_letters_stops_at_a_refused_row() -> None:
    with pytest.raises(RuntimeError, match=r"picky: refused 1 rows for good, the first .*: bad"):
        write(Scripted("picky", rejects("picky", ["bad"], [b"row"])), frame(1))


def test_a_flow_stops_rather_than_lose_a_dead_letter() -> None:
    refused = rejects("picky", ["bad"], [b"row"])
    with pytest.raises(RuntimeError, match="dead-letter: refused 1 dead letters: bad"):
        write(Scripted("picky", refused), frame(1), dead_letter=Scripted("dead-letter", refused))


def test_a_remainder_is_of_the_frame_that_was_interrupted_and_of_no_other() -> None:
    remainder = Remainder()
    first, second = frame(1, 2), frame(1, 2)
    remainder.keep(first, frame(2))
    assert remainder.of(first).equals(frame(2))
    assert remainder.of(first) is first
    remainder.keep(first, frame(2))
    assert remainder.of(second) is second


def test_an_address_says_no_secret() -> None:
    assert address("https://me:s3cret@db.example:8086/x?token=s3cret") == (
        "https://db.example:8086/x"
    )
    assert address("http://127.0.0.1:8086") == "http://127.0.0.1:8086"
