"""Which services take longer themselves, and whom they call, as the flow tells it."""

import random

import polars as pl

from operators.contracts.clock import ManualClock
from operators.contracts.items import CallsSeen, Explanations
from operators.traces import explaining
from operators.traces.causes import CALLS_SEEN
from operators.traces.explaining import ExplainingLogic
from operators.traces.own_times import changed_times

SECOND = 1_000_000_000
WINDOW = 10 * SECOND
AT = 1_767_225_600 * SECOND


def seen(window, slow="", once=""):
    """Return the calls of a window: web waits for pay; pay may be slow, or one of its calls."""
    chance = random.Random(window)
    pay = 20 * chance.uniform(0.8, 1.25) * (5 if slow == "pay" else 1)
    rows = [
        (False, "pay", "charge", "SPAN_KIND_SERVER", 10, 10 * pay + (4000 if once else 0)),
        (False, "web", "call pay", "SPAN_KIND_CLIENT", 10, 10 * pay + (4000 if once else 0)),
        (False, "web", "GET", "SPAN_KIND_SERVER", 10, 10 * (pay + 30) + (4000 if once else 0)),
        (True, "web", "pay", "", 10, 10 * pay),
    ]
    return pl.DataFrame(
        [
            ("default", AT + window * WINDOW, number, *row[:4], float(row[4]), float(row[5]), 0.0)
            for number, row in enumerate(rows)
        ],
        schema=CALLS_SEEN,
        orient="row",
    )


def changes_of(windows):
    until = AT + 20 * WINDOW
    return changed_times(pl.concat(windows), until - 6 * WINDOW, until)


def test_the_service_that_takes_longer_itself_is_told_and_not_who_waits_for_it():
    (one,) = changes_of([seen(n, slow="pay" if n >= 14 else "") for n in range(20)])
    assert (one.tenant, one.service, one.why) == ("default", "pay", "time")
    assert 15 < one.before < 26
    assert 80 < one.now < 125
    assert one.change > 1
    assert changes_of([seen(n) for n in range(20)]) == []


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
    assert calls == [(n, "web", ("pay",)) for n in (0, 50, 150)]
    changes = {(n, change.service) for n, item in told for change in item.changes}
    assert changes
    assert changes <= {(n, "pay") for n in range(186, 190)}
