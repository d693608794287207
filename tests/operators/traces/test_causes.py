"""An alert of a service names the service and operation that is behind it."""

import random
from dataclasses import replace

import orjson
import polars as pl
import pytest

from operators.contracts.alert import alert_event, decode_event
from operators.contracts.clock import ManualClock
from operators.contracts.events import event_frame
from operators.contracts.frames import ROLLUPS
from operators.contracts.items import CallsSeen, Closed, Events, KeptExamples, Passed
from operators.traces.calls_seen import CallReading
from operators.traces.causes import CauseBook
from operators.traces.examples import examples_of
from operators.traces.explaining import CallsLogic, ExplainingLogic
from tests.operators.traces.driver import Driver
from tests.operators.traces.shop import BEGIN, SECOND, WINDOW, Call
from tests.operators.traces.test_step import batches

FAULT = BEGIN + 200 * SECOND


def chain(seed, seconds=260, *, slow="", fails="", database=0, far=""):
    """Return calls web -> cart -> pay and stock, cart -> its database; from ``FAULT`` on something is worse.

    Calls that ``far`` makes and receives take 60 ms more on the way.
    """
    chance = random.Random(seed)
    calls = []
    for number in range(seconds * 3):
        trace, at = chance.getrandbits(128), BEGIN + number * SECOND // 3
        bad = at >= FAULT
        own = {name: int(chance.uniform(4e6, 6e6)) for name in ("web", "cart", "pay", "stock")}
        if bad and slow:
            own[slow] += 60_000_000
        failed = {"": 0, "pay": bad and fails == "pay" and chance.random() < 0.3}
        queried = 3_000_000 + (database if bad else 0)
        pay, stock = own["pay"], own["stock"]
        way = {
            (a, b): 1_000_000 + (60_000_000 if bad and far in (a, b) else 0)
            for a, b in (("web", "cart"), ("cart", "pay"), ("cart", "stock"))
        }
        to_pay, to_stock = pay + way["cart", "pay"], stock + way["cart", "stock"]
        cart = own["cart"] + to_pay + to_stock + queried
        to_cart = cart + way["web", "cart"]
        web = own["web"] + to_cart
        broken = bool(failed["pay"])

        def call(id_, parent, service, name, kind, begun, took, wrong=False, **said):
            calls.append(
                Call(trace, id_, parent, service, name, kind, begun, begun + took, wrong, said)  # noqa: B023
            )

        call(1, 0, "web", "GET /cart", 2, at, web, broken)
        call(2, 1, "web", "call", 3, at, to_cart, broken)
        call(3, 2, "cart", "Total", 2, at, cart, broken)
        call(4, 3, "cart", "call pay", 3, at, to_pay, broken)
        call(5, 4, "pay", "charge" if number % 3 else "refund", 2, at, pay, broken)
        call(6, 3, "cart", "call stock", 3, at + pay, to_stock)
        call(7, 6, "stock", "reserve", 2, at + pay, stock)
        call(
            8,
            3,
            "cart",
            "SELECT",
            3,
            at,
            queried,
            **{"db.system.name": "pg", "db.namespace": "carts"},
        )
    return calls


def rollups_of(calls):
    """Return the rollups that the flow makes of calls."""
    driver = Driver()
    driver.follow()
    for batch in batches(calls, 200, 0):
        driver.send(0, batch)
        driver.poll()
    driver.end()
    return pl.DataFrame(
        [row for (_, _, window, _), row in driver.rollups.items() if window == WINDOW],
        schema_overrides=ROLLUPS,
        infer_schema_length=None,
    ).sort("window_start")


def book_of(rollups, restart=False):
    book = CauseBook(WINDOW)
    for part in rollups.partition_by("window_start", maintain_order=True):
        book.observe(CallReading().read(part))
        if restart:
            book = CauseBook(WINDOW, book.snapshot())
    return book


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"slow": "pay"}, ("pay", "time", False)), ({"slow": "web"}, ("web", "time", True)),
        ({"slow": "stock"}, ("stock", "time", False)), ({"fails": "pay"}, ("pay", "errors", False)),
        ({"database": 50_000_000}, ("carts", "time", False)),
        # Nobody takes longer, but those who wait see it: at one end of a call, or at all of a service's.
        ({"far": "pay"}, ("pay", "way", False)), ({"far": "cart"}, ("cart", "way", False)),
    ],
)  # fmt: skip
def test_the_cause_is_named_whoever_shows_it(fault, expected):
    rollups = rollups_of(chain(3, **fault))
    service, why, own = expected
    for restart in (False, True):
        book = book_of(rollups, restart)
        first = book.find("default", "web", FAULT, FAULT + 40 * SECOND, "")[0]
        assert (first.service, first.why, first.own) == (service, why, own)
        assert first.part > 0.7
        if why != "errors":
            more = 50 if service == "carts" else 60
            assert first.now - first.before == pytest.approx(more, rel=0.05)
        else:
            assert first.now == pytest.approx(0.3, abs=0.07)
        if service == "pay" and why != "way":
            assert first.operation in ("charge", "refund")
    nothing = book.find("default", "web", FAULT - 60 * SECOND, FAULT - 20 * SECOND, "")
    assert nothing == []
    assert book.find("other", "web", FAULT, FAULT + 40 * SECOND, "") == []


def test_an_operation_that_alone_became_slow_is_the_one():
    calls = [
        replace(call, ended=call.ended + 70_000_000)
        if call.begun >= FAULT and (call.name == "refund" or call.id < 5) and call.trace in refunds
        else call
        for calls in [chain(5)]
        for refunds in [{c.trace for c in calls if c.name == "refund"}]
        for call in calls
    ]
    first = book_of(rollups_of(calls)).find("default", "cart", FAULT, FAULT + 40 * SECOND, "time")[
        0
    ]
    assert (first.service, first.operation) == ("pay", "refund")


def event(at, **labels):
    return alert_event(
        status="firing", kind="anomaly", labels={"alertname": "MetricAnomaly", **labels},
        annotations={"summary": "it is slow"}, starts_at=FAULT, ends_at=None, value=1.0,
    )  # fmt: skip


def test_an_event_waits_for_the_rollups_of_all_shards_and_never_for_long():
    rollups = rollups_of(chain(3, slow="pay"))
    clock = ManualClock(0)
    logic = ExplainingLogic(WINDOW, 2, clock, None)
    shards = [CallsLogic(WINDOW), CallsLogic(WINDOW)]
    at = FAULT + 40 * SECOND
    about = event(at, metric="traces.span.metrics.duration", **{"service.name": "web"})
    other = event(at, metric="traces.span.metrics.calls", host="a")
    asked = Events(event_frame([(about, at), (other, at)]))

    def feed(shard):
        mine = rollups.filter(pl.col("series") % 2 == shard)
        seen = shards[shard].on_batch([Closed(mine), Passed(at)])
        return logic.on_batch([(str(shard), item) for item in seen])

    assert feed(0) == []
    spans = pl.DataFrame(
        [
            {"tenant": "default", "service": service, "trace_id": trace, "status": status, "begun": ended - took, "ended": ended}
            for service, trace, status, took, ended in (
                ("web", "slow", 0, 900, FAULT + SECOND), ("web", "slower", 0, 950, FAULT + SECOND),
                ("web", "early", 0, 999, FAULT - SECOND), ("pay", "other", 0, 999, FAULT + SECOND),
                ("web", "failed", 2, 5, FAULT + SECOND),
            )
        ]
    )  # fmt: skip
    assert logic.on_batch([("", KeptExamples(examples_of(spans)))]) == []
    assert logic.on_batch([("", asked)]) == []
    logic = ExplainingLogic(WINDOW, 2, clock, logic.snapshot())
    told, ranked = feed(1)
    assert {one.causes[0].service for one in ranked.rankings} == {"pay"}
    found = decode_event(told.frame["event"][0])
    assert found["id"] == about["id"]
    cause = found["evidence"]["causes"][0]
    assert (cause["service"], cause["why"], cause["unit"]) == ("pay", "time", "milliseconds")
    assert found["evidence"]["traces"] == ["slower", "slow", "failed"]
    summary = found["annotations"]["summary"]
    assert summary.startswith("it is slow; the likely cause is pay (")
    assert "of its own a call" in summary
    assert orjson.loads(told.frame["event"][1]) == other
    over = event(FAULT, metric="traces.span.metrics.errors", **{"service.name": "web"}) | {
        "status": "resolved", "endsAt": "2026-01-01T00:04:00.000Z",
    }  # fmt: skip
    (told_over,) = logic.on_batch([("", Events(event_frame([(over, at)])))])
    assert decode_event(told_over.frame["event"][0])["evidence"] == {"traces": ["failed"]}
    assert told.frame.select("id", "status", "at").equals(asked.frame.select("id", "status", "at"))

    later = Events(event_frame([(event(at + WINDOW, service="web"), at + WINDOW)]))
    assert logic.on_batch([("", later)]) == []
    assert logic.wake_at() is not None
    clock.sleep(2.0)
    assert len(logic.on_wake()) == 1
    assert logic.wake_at() is None
    seen = CallsSeen(CallReading().read(rollups), at + 2 * WINDOW)
    assert logic.on_batch([("1", seen)]) == []
