"""A service that falls silent is told once, and told to be back once, by its own rhythm."""

from __future__ import annotations

from dataclasses import dataclass

import orjson
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.settings.windows import ServiceSilence
from operators.contracts.durations import parse_duration
from operators.contracts.frames import ROLLUPS
from operators.contracts.items import Closed, Passed, Present
from operators.contracts.watermark import UNKNOWN
from operators.scoring.presence import PRESENCE, PresenceLogic
from operators.scoring.silence import SilenceLogic

SECOND = 1_000_000_000
WINDOW = 10 * SECOND
BEGIN = 1_790_000_000 * SECOND
SETTINGS = ServiceSilence()


def seen(*rows: tuple[str, str, int, int], passed: int = UNKNOWN) -> Present:
    """What a shard saw: tenant, service, second of the window's start, series.

    A host is "host:" and its name.
    """
    placed = [
        (t, *(("host.name", s[5:]) if s.startswith("host:") else ("service.name", s)),
         BEGIN + at * SECOND, series)
        for t, s, at, series in rows
    ]  # fmt: skip
    return Present(pl.DataFrame(placed, schema=PRESENCE, orient="row"), passed)


def until(second: int) -> int:
    return BEGIN + second * SECOND


@dataclass
class Told:
    """Whoever reads the events."""

    logic: SilenceLogic
    events: list[tuple[str, str, int, int | None]]

    def take(self, *items: tuple[str, Present]) -> None:
        for given_events in self.logic.on_batch(list(items)):
            for payload, at in given_events.frame.select("event", "at").iter_rows():
                event = orjson.loads(payload)
                assert event["kind"] == "silence"
                self.events.append(
                    (event["status"], event["annotations"]["summary"], (at - BEGIN) // SECOND, 0)
                )

    def said(self) -> list[tuple[str, int]]:
        return [(said, at) for _, said, at, _ in self.events]


def follow(windows: dict[str, list[int]], last: int, **settings: str) -> list[tuple[str, int]]:
    """What is told of services that are in these windows (seconds), one shard."""
    changed = SETTINGS.model_copy(update={k: parse_duration(v) for k, v in settings.items()})
    told = Told(SilenceLogic(changed, WINDOW, 1, None), [])
    for at in range(0, last, 10):
        rows = [("default", name, at, 3) for name, there in windows.items() if at in there]
        told.take(("0", seen(*rows, passed=until(at + 10))))
    return told.said()


HOUR = 3600


def test_a_dead_service_is_told_after_three_minutes_and_its_return_at_once() -> None:
    there = [*range(0, HOUR, 10), *range(HOUR + 500, HOUR + 900, 10)]
    assert follow({"shop": there, "pay": list(range(0, HOUR + 900, 10))}, HOUR + 900) == [
        ("shop sends nothing any more, after 3 series", HOUR + 180),
        ("shop sends again, after 8m20s", HOUR + 500),
    ]


def test_a_host_is_told_as_a_service_is_and_is_another_alert_than_a_service_of_its_name() -> None:
    logic = SilenceLogic(SETTINGS, WINDOW, 1, None)
    rows = [("default", name, at, 3) for name in ("web", "host:web") for at in range(0, HOUR, 10)]
    (told,) = logic.on_batch([("0", seen(*rows, passed=until(2 * HOUR)))])
    events = [orjson.loads(payload) for payload in told.frame["event"]]
    assert {event["labels"]["alertname"] for event in events} == {"ServiceSilent", "HostSilent"}
    (host,) = [event for event in events if event["labels"]["alertname"] == "HostSilent"]
    assert host["labels"] == {"alertname": "HostSilent", "severity": "warning", "host.name": "web"}
    assert host["annotations"]["summary"] == "host web sends nothing any more, after 3 series"


def test_a_store_that_knew_of_services_only_is_read() -> None:
    told = Told(SilenceLogic(SETTINGS, WINDOW, 1, None), [])
    told.take(("0", seen(*(("default", "shop", at, 1) for at in range(0, HOUR, 10)),
                         passed=until(HOUR))))  # fmt: skip
    state = told.logic.snapshot()
    old = state | {
        "version": 1,
        "waiting": [(one[0], *one[2:]) for one in state["waiting"]],
        "services": [(one[0], *one[2:]) for one in state["owners"]],
    }
    del old["owners"]
    told.logic = SilenceLogic(SETTINGS, WINDOW, 1, old)
    told.take(("0", seen(passed=until(2 * HOUR))))
    assert told.said() == [("shop sends nothing any more, after 1 series", HOUR + 180)]


def test_a_service_is_judged_by_its_own_rhythm() -> None:
    """It runs every ten minutes: ten minutes more are nothing, forty are."""
    there = list(range(0, 6 * HOUR, 600))
    pause = 590
    assert follow({"job": there}, 6 * HOUR + 1000) == []
    last = there[-1] + 10
    (told,) = follow({"job": there}, 8 * HOUR)
    assert told == (
        "job sends nothing any more, after 3 series with pauses of 9m50s at most",
        last + 4 * pause,
    )


def test_what_was_there_for_a_moment_is_not_missed() -> None:
    assert follow({"once": list(range(0, 1790, 10))}, 3 * HOUR) == []


def test_a_service_that_stays_away_is_gone_after_a_day() -> None:
    there = list(range(0, HOUR, 10))
    found = follow({"old": there}, 3 * HOUR, gone_after="1h")
    assert found[-1] == ("old counts as gone: nothing for 1h", 2 * HOUR)
    assert len(found) == 2


def test_time_goes_on_only_once_all_shards_are_past_it() -> None:
    told = Told(SilenceLogic(SETTINGS, WINDOW, 2, None), [])
    for at in range(0, HOUR, 10):
        told.take(("0", seen(("default", "shop", at, 1), passed=until(at + 10))))
    told.take(("0", seen(passed=until(2 * HOUR))))
    assert told.events == [], "the other shard may have it still"
    told.take(("1", seen(*(("default", "shop", at, 1) for at in range(HOUR, HOUR + 600, 10)))))
    told.take(("1", seen(passed=until(2 * HOUR))))
    assert told.said() == [("shop sends nothing any more, after 1 series", HOUR + 600 + 180)]


def test_a_long_step_of_time_is_as_many_short_ones() -> None:
    """Nobody sends for two days: both fall silent, the earlier first, and are gone a day later."""
    told = Told(SilenceLogic(SETTINGS, WINDOW, 1, None), [])
    rows = [("default", "a", at, 1) for at in range(0, HOUR, 10)]
    rows += [("default", "b", at, 1) for at in range(0, HOUR - 100, 10)]
    told.take(("0", seen(*rows, passed=until(50 * HOUR))))
    assert [(said.split()[:2], at) for said, at in told.said()] == [
        (["b", "sends"], HOUR - 100 + 180),
        (["a", "sends"], HOUR + 180),
        (["b", "counts"], 25 * HOUR - 100),
        (["a", "counts"], 25 * HOUR),
    ]


presences = st.lists(
    st.lists(st.sampled_from(("a", "b", "c")), unique=True), min_size=30, max_size=120
)


@settings(max_examples=50)
@given(presences, st.sets(st.integers(0, 119)), st.sets(st.integers(0, 119), max_size=4))
def test_batches_shards_and_restarts_change_nothing(
    there: list[list[str]], cuts: set[int], restarts: set[int]
) -> None:
    quick = SETTINGS.model_copy(
        update={"after": 3 * WINDOW, "established": 5 * WINDOW, "gone_after": 40 * WINDOW}
    )

    def run(shards: int, cuts: set[int], restarts: set[int]) -> list[tuple[str, int]]:
        told = Told(SilenceLogic(quick, WINDOW, shards, None), [])
        waiting: list[tuple[str, Present]] = []
        for at, names in enumerate(there):
            for shard in range(shards):
                rows = [
                    ("default", name, at * 10, 1) for name in names if ord(name) % shards == shard
                ]
                waiting.append((str(shard), seen(*rows, passed=until(at * 10 + 10))))
            if at in cuts or at == len(there) - 1:
                told.take(*waiting)
                waiting = []
            if at in restarts:
                told.logic = SilenceLogic(quick, WINDOW, shards, told.logic.snapshot())
        return told.said()

    assert run(3, cuts, restarts) == run(1, set(range(120)), set())


def test_services_are_counted_from_rollups_by_window_and_tenant() -> None:
    labels = [
        '{"host.name":"a","service.name":"shop"}', '{"service.name":"shop"}', '{"host.name":"a"}',
        '{"service.name":"p\\"y"}',
    ]  # fmt: skip
    rows = {
        "tenant": ["default", "default", "default", "acme"], "series": [1, 2, 3, 4], "labels": labels,
    }  # fmt: skip
    first = pl.DataFrame(rows).with_columns(window=WINDOW, window_start=BEGIN)
    second = first.head(1).with_columns(window_start=pl.lit(BEGIN + WINDOW))
    frame = pl.concat([first, second]).with_columns(
        pl.lit(None, kind).alias(name)
        for name, kind in ROLLUPS.items()
        if name not in first.columns
    )
    frame = frame.select(ROLLUPS.names()).cast(ROLLUPS)
    coarse = frame.with_columns(window=pl.lit(6 * WINDOW))
    logic = PresenceLogic(WINDOW)
    for _ in range(2):
        (present,) = logic.on_batch([Closed(frame), Closed(coarse), Passed(until(10))])
        assert present.passed == until(10)
        assert sorted(present.services.iter_rows()) == [
            ("acme", "service.name", 'p"y', BEGIN, 1),
            ("default", "host.name", "a", BEGIN, 2),
            ("default", "host.name", "a", BEGIN + WINDOW, 1),
            ("default", "service.name", "shop", BEGIN, 2),
            ("default", "service.name", "shop", BEGIN + WINDOW, 1),
        ]
    assert logic.on_batch([Closed(coarse)]) == []
