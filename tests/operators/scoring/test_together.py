"""What begins together in one service is one event, whatever batches, shards and restarts there are."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from operators.contracts.alert import AlertEvent, Status, alert_event, decode_event
from operators.contracts.events import event_frame
from operators.contracts.items import Events, Passed
from operators.scoring.together import TogetherLogic

SECOND = 1_000_000_000
BEGIN = 1_790_000_000 * SECOND
WITHIN = 60 * SECOND


def event(
    metric: str, status: Status = "firing", *, since: int = 0, until: int | None = None,
    score: float = 2.0, **labels: str,
) -> AlertEvent:  # fmt: skip
    """An event of a series of the shop; times in seconds."""
    whose = labels or {"service.name": "shop"}
    return alert_event(
        status=status, kind="anomaly", labels={"alertname": "MetricAnomaly", "metric": metric} | whose,
        annotations={"summary": f"{metric} is {'odd' if status == 'firing' else 'back'}"},
        starts_at=BEGIN + since * SECOND, ends_at=None if until is None else BEGIN + until * SECOND,
        value=1.0, evidence={"score": score},
    )  # fmt: skip


class Told:
    """Whoever reads the events."""

    def __init__(self, shards: int = 1, within: int = WITHIN) -> None:
        self.shards, self.within = shards, within
        self.logic = TogetherLogic(within, shards, None)
        self.events: list[tuple[AlertEvent, int]] = []

    def take(self, *items: tuple[str, Events | Passed]) -> None:
        for told in self.logic.on_batch(list(items)):
            for payload, at in told.frame.select("event", "at").iter_rows():
                self.events.append((decode_event(payload), (at - BEGIN) // SECOND))

    def at(self, second: int, *events: AlertEvent) -> Told:
        frame = event_frame([(one, BEGIN + second * SECOND) for one in events])
        self.take(("0", Events(frame)), ("0", Passed(BEGIN + second * SECOND)))
        return self

    def restart(self) -> None:
        state = orjson.loads(orjson.dumps(self.logic.snapshot(), default=bytes.decode))
        state["waiting"] = [(at, one.encode()) for at, one in state["waiting"]]
        self.logic = TogetherLogic(self.within, self.shards, state)

    @property
    def said(self) -> list[tuple[str, str, int]]:
        return [
            (one["status"], one["annotations"]["summary"], one["evidence"].get("members_count", 0))
            for one, _ in self.events
        ]


def test_what_fires_at_once_is_one_event_of_the_strongest_with_its_members() -> None:
    told = Told().at(10, event("a"), event("b", score=9.0), event("c"))
    ((one, at),) = told.events
    assert at == 10
    assert one["labels"]["metric"] == "b"
    assert one["annotations"]["summary"] == "b is odd; and 2 more of shop"
    members = [member["labels"]["metric"] for member in one["evidence"]["members"]]
    assert sorted(members) == ["a", "c"]
    assert one["fingerprint"] == event("b")["fingerprint"]


def test_an_alert_alone_is_told_as_it_is() -> None:
    fires, over = event("a"), event("a", "resolved", until=60)
    told = Told().at(10, fires).at(70, over)
    assert [one for one, _ in told.events] == [fires, over]


def test_who_joins_is_told_under_another_id_and_it_is_over_once_all_are() -> None:
    told = Told().at(10, event("a")).at(40, event("b", since=30)).at(50, event("c", since=40))
    told.at(60, event("a", "resolved", until=50)).at(80, event("c", "resolved", since=40, until=70))
    assert told.said == [
        ("firing", "a is odd", 0),
        ("firing", "a is odd; and 1 more of shop", 1),
        ("firing", "a is odd; and 2 more of shop", 2),
    ]
    told.at(90, event("b", "resolved", since=30, until=65))
    last, _ = told.events[-1]
    assert told.said[-1] == ("resolved", "a is back; and 2 more of shop", 2)
    assert (last["startsAt"], last["endsAt"]) == (
        event("a")["startsAt"], event("a", "resolved", until=70)["endsAt"],
    )  # fmt: skip
    assert len({one["id"] for one, _ in told.events}) == 4
    assert len({one["fingerprint"] for one, _ in told.events}) == 1


def test_what_fires_later_is_another_cause_and_so_is_another_service() -> None:
    told = Told().at(10, event("a"), event("a", **{"service.name": "pay"}))
    told.at(71, event("b", since=60)).at(80, event("b", "resolved", since=60, until=75))
    assert [said for _, said, _ in told.said] == ["a is odd", "a is odd", "b is odd", "b is back"]
    told = Told().at(10, event("a", unit="1"), event("b", unit="1"))
    assert len(told.events) == 2, "they are of nobody"


def test_a_member_that_comes_back_belongs_to_its_cause() -> None:
    told = Told().at(10, event("a"), event("b", score=1.0))
    told.at(50, event("a", "resolved", until=40)).at(200, event("a", since=190))
    told.at(250, event("b", "resolved", until=240)).at(
        300, event("a", "resolved", since=190, until=290)
    )
    assert [status for status, _, _ in told.said] == ["firing", "resolved"]
    last = told.events[-1][0]
    assert (last["startsAt"], last["endsAt"]) == (
        event("a")["startsAt"], event("a", "resolved", until=290)["endsAt"],
    )  # fmt: skip


stories = st.lists(
    st.tuples(
        st.integers(0, 5), st.integers(0, 1), st.integers(1, 300), st.integers(10, 200),
        st.integers(1, 9),
    ),
    max_size=12,
    unique_by=lambda row: row[:2],
)  # fmt: skip


@given(stories, st.lists(st.integers(0, 51), max_size=8), st.sets(st.integers(0, 51), max_size=4))
def test_batches_shards_and_restarts_change_nothing(
    story: list[tuple[int, int, int, int, int]], cuts: list[int], restarts: set[int]
) -> None:
    raised: list[tuple[int, str, AlertEvent]] = []
    for metric, service, since, lasts, score in story:
        labels = {"service.name": f"s{service}"}
        name = f"m{metric}"
        raised.append((since, name, event(name, since=since, score=score, **labels)))
        ends = since + lasts
        raised.append((ends, name, event(name, "resolved", since=since, until=ends, **labels)))

    def run(shards: int, cuts: list[int], restarts: set[int]) -> list[tuple[Any, int]]:
        told = Told(shards)
        waiting: list[tuple[str, Events | Passed]] = []
        for step in range(52):
            for shard in range(shards):
                mine = [
                    (one, BEGIN + at * SECOND)
                    for at, name, one in raised
                    if step * 10 - 10 < at <= step * 10 and hash_of(name) % shards == shard
                ]
                if mine:
                    waiting.append((str(shard), Events(event_frame(mine))))
                waiting.append((str(shard), Passed(BEGIN + step * 10 * SECOND)))
            if step in cuts or step == 51:
                told.take(*waiting)
                waiting = []
            if step in restarts:
                told.restart()
        return told.events

    assert run(3, cuts, restarts) == run(1, list(range(52)), set())


def hash_of(name: str) -> int:
    return int(name[1:])
