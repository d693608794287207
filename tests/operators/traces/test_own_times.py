"""Which services take longer themselves, and whom they call, as the flow tells it."""

import random
from importlib import resources

import jsonschema_rs
import orjson
import polars as pl
import pytest

from operators.contracts.clock import ManualClock
from operators.contracts.items import CallsSeen, Explanations
from operators.contracts.service_changes import change_messages
from operators.traces import explaining
from operators.traces.calls_seen import CALLS_SEEN
from operators.traces.causes import CauseBook
from operators.traces.explaining import ExplainingLogic

SECOND = 1_000_000_000
WINDOW = 10 * SECOND
AT = 1_767_225_600 * SECOND
SCHEMA = jsonschema_rs.Draft202012Validator(
    orjson.loads(
        resources.files("operators.contracts").joinpath("service_changes.schema.json").read_bytes()
    )
)


def seen(window, slow="", once="", far=()):
    """Return the calls of a window: web waits for pay and stock; pay may be slow, or one of its calls.

    What the services ``far`` make and receive takes 80 ms more on the way.
    """
    chance = random.Random(window)
    ways = {
        pair: chance.uniform(2, 4) + 80 * bool(set(far) & set(pair))
        for pair in (("web", "pay"), ("web", "stock"), ("pay", "stock"))
    }
    pay = 20 * chance.uniform(0.8, 1.25) * (5 if slow == "pay" else 1)
    rows = [
        (False, "pay", "charge", "SPAN_KIND_SERVER", 10, 10 * pay + (4000 if once else 0)),
        (False, "web", "call pay", "SPAN_KIND_CLIENT", 10, 10 * pay + (4000 if once else 0)),
        (False, "web", "GET", "SPAN_KIND_SERVER", 10, 10 * (pay + 30) + (4000 if once else 0)),
        *((True, *pair, "", 10, 10 * (20 + way), 10 * way) for pair, way in ways.items()),
        (False, "stock", "reserve", "SPAN_KIND_SERVER", 10, 10 * 20),
        # Of a third party, and through a queue, nothing is known of the way.
        (True, "web", "bank", "", 10, 10 * 20, 10 * 300 if far else 0),
        (True, "web", "pay", "messaging_system", 10, 10 * 20, 10 * 300 if far else 0),
    ]
    return pl.DataFrame(
        [
            ("default", AT + window * WINDOW, number, *row[:4], float(row[4]), float(row[5]), 0.0,
             float(row[6] if row[6:] else 0))
            for number, row in enumerate(rows)
        ],
        schema=CALLS_SEEN,
        orient="row",
    )  # fmt: skip


def changes_of(windows):
    book = CauseBook(WINDOW)
    book.observe(pl.concat(windows))
    return book.changes(AT + 20 * WINDOW)


def test_the_service_that_takes_longer_itself_is_told_and_not_who_waits_for_it():
    (one,) = changes_of([seen(n, slow="pay" if n >= 14 else "") for n in range(20)])
    assert (one.tenant, one.service, one.why) == ("default", "pay", "time")
    assert 15 < one.before < 26
    assert 80 < one.now < 125
    assert one.change > 1
    assert changes_of([seen(n) for n in range(20)]) == []


@pytest.mark.parametrize("far", ["web", "pay", "stock"])
def test_what_all_calls_of_a_service_spend_more_on_the_way_is_its_own(far):
    (one,) = changes_of([seen(n, far=(far,) if n >= 14 else ()) for n in range(20)])
    assert (one.tenant, one.service, one.why) == ("default", far, "way")
    assert 2 < one.before < 4
    assert 82 < one.now < 84
    assert one.change > 1
    SCHEMA.validate(orjson.loads(change_messages([one], [], "causes")["value"][0]))
    assert one.document()["unit"] == "milliseconds"
    assert "on the way a call" in one.sentence(False)


def test_a_tenant_knows_nothing_of_the_ways_of_another():
    windows = [seen(n, far=("pay",) if n >= 14 else ()) for n in range(20)]
    other = [
        seen(n).with_columns(tenant=pl.lit("other"), series=pl.col("series") + 100)
        for n in range(20)
    ]
    assert changes_of(windows + other) == changes_of(windows)


def test_one_slow_call_and_a_service_that_is_new_are_no_change():
    assert changes_of([seen(n, once="pay" if n == 17 else "") for n in range(20)]) == []
    assert changes_of([seen(n, slow="pay" if n >= 14 else "") for n in range(12, 20)]) == []


def test_the_flow_tells_of_it_window_by_window_and_of_calls_when_they_are_new(monkeypatch):
    monkeypatch.setattr(explaining, "_TOLD_AGAIN", 100 * WINDOW)
    logic, told = ExplainingLogic(WINDOW, 1, ManualClock(), None), []
    for n in range(190):
        if n == 50:
            logic = ExplainingLogic(WINDOW, 1, ManualClock(), logic.snapshot())
        item = CallsSeen(seen(n, slow="pay" if n >= 185 else ""), AT + (n + 1) * WINDOW)
        told += [(n, one) for one in logic.on_batch([("", item)]) if isinstance(one, Explanations)]
    calls = [(n, call.service, call.calls) for n, item in told for call in item.calls]
    # At first, after the restart, and when it was long ago.
    whom = (("pay", ("stock",)), ("web", ("bank", "pay", "stock")))
    assert calls == [(n, *each) for n in (0, 50, 150) for each in whom]
    changes = {(n, change.service) for n, item in told for change in item.changes}
    assert changes
    assert changes <= {(n, "pay") for n in range(186, 190)}
