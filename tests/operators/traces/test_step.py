"""What is told of spans is a function of their set."""

import random
import uuid
from dataclasses import replace
from unittest.mock import patch

import pytest

from operators.contracts.alert import decode_event
from operators.traces.links import Links
from tests.operators.traces.driver import Driver, by_metric
from tests.operators.traces.shop import BEGIN, SECOND, WINDOW, Call, shop, told

HOLD = 30 * SECOND


def assert_told(driver: Driver, calls: list) -> None:
    expected = told(calls, HOLD)
    found = driver.told()
    assert by_metric(found) == by_metric(expected)
    assert found.keys() == expected.keys()
    for key, (count, total) in expected.items():
        if found[key][0] is not None:
            assert found[key][0] == count, key
        assert found[key][1] == pytest.approx(total, rel=1e-12, abs=1e-12), key


def batches(calls, size, seed):
    """Return messages in about the order in which the calls ended."""
    order = sorted(calls, key=lambda call: call.ended)
    chance = random.Random(seed)
    found = [order[at : at + size] for at in range(0, len(order), size)]
    for at in range(0, len(found) - 1, 2):
        if chance.random() < 0.3:
            found[at], found[at + 1] = found[at + 1], found[at]
    return found


def run(calls, partitions=1, size=40, repeat=0.0, crash_every=0, seed=0, **sizes):
    driver = Driver(partitions, **sizes)
    driver.follow()
    chance = random.Random(seed)
    for number, batch in enumerate(batches(calls, size, seed)):
        driver.send(chance.randrange(partitions), batch)
        if chance.random() < repeat:
            driver.send(chance.randrange(partitions), batch)
        if number % 3 == 2:
            driver.poll()
        if crash_every and number % crash_every == crash_every - 1:
            driver.crash()
    driver.end()
    return driver


def test_calls_errors_durations_and_edges_are_those_of_the_spans():
    calls = shop(1, 150)
    driver = run(calls)
    assert driver.late == []
    assert_told(driver, calls)


@pytest.mark.parametrize(
    ("partitions", "size", "repeat", "crash_every", "traces", "series"),
    [(4, 11, 0.2, 0, 3, 2), (1, 60, 0.1, 7, 2, 3), (3, 25, 0.3, 4, 4, 1)],
)
def test_nothing_changes_it(partitions, size, repeat, crash_every, traces, series):
    """Other partitions, duplicates, other shards, crashes with replay."""
    calls = shop(2, 120)
    driver = run(calls, partitions, size, repeat, crash_every, seed=5, traces=traces, series=series)
    assert driver.late == []
    assert_told(driver, calls)
    exact = run(calls, traces=traces)
    assert driver.told() == exact.told()  # to the last bit


def test_a_span_within_the_hold_revises_and_one_after_it_is_late():
    calls = sorted(shop(3, 120), key=lambda call: call.ended)
    early = [call for call in calls if call.ended < calls[0].ended + WINDOW]
    missing, tardy = early[3], early[5]
    driver = Driver()
    driver.follow()
    for batch in batches([c for c in calls if c not in (missing, tardy)], 20, 0):
        driver.send(0, batch)
        driver.poll()
        if missing is not None and batch[-1].ended > missing.ended + 2 * WINDOW:
            driver.send(0, [missing])
            missing = None
    driver.send(0, [tardy])
    driver.poll()
    driver.crash()  # and what was late does not become a part of it by a replay
    driver.end()
    assert [row["reason"] for row in driver.late] == ["late span"]
    assert f"{tardy.id:016x}" in driver.late[0]["labels"]
    assert_told(driver, [call for call in calls if call is not tardy])


def test_client_and_server_may_share_an_id_as_zipkins_do():
    both = [
        Call(5, 1, 0, "web", "GET", 2, BEGIN, BEGIN + 90),
        Call(5, 2, 1, "web", "call", 3, BEGIN + 10, BEGIN + 80),
        Call(5, 2, 1, "cart", "Get", 2, BEGIN + 20, BEGIN + 70),
    ]
    driver = run(both)
    counted = {dict(labels)["server"]: value for (name, labels, _), (_, value) in driver.told().items()
               if name == "traces_service_graph_request_total"}  # fmt: skip
    assert counted == {"web": 1, "cart": 1}
    calls = [
        v for (name, *_), (_, v) in driver.told().items() if name == "traces.span.metrics.calls"
    ]
    assert calls == [1, 1, 1]


def test_names_with_ids_are_few_operations():
    calls = [
        Call(n + 1, 1, 0, "web", f"GET /orders/{n}/items/{uuid.UUID(int=n)}", 2, BEGIN, BEGIN + n)
        for n in range(500)
    ]
    told = run(calls).told()
    names = {dict(labels).get("span.name") for name, labels, _ in told if "span.metrics" in name}
    assert names == {"GET /orders/*/items/*"}


def test_an_alert_names_the_service_whose_names_hold_ids():
    driver = Driver()
    driver.follow()
    calls = [Call(n + 1, 1, 0, "web", f"GET /orders/{n}", 2, BEGIN, BEGIN + n) for n in range(1200)]
    driver.send(0, calls)
    driver.poll()
    driver.send(0, [replace(call, trace=call.trace + 5000) for call in calls])
    driver.end()
    (event,) = [decode_event(event) for event in driver.events]
    assert event["labels"] == {
        "alertname": "SpanNamesWithIds", "severity": "warning", "service": "web"
    }  # fmt: skip
    assert event["evidence"]["example"].startswith("GET /orders/")


def test_windows_that_are_due_at_once_are_asked_for_their_links_at_once() -> None:
    # After a pause thousands are due, and each would be looked for among all of them.
    calls = [call for number in range(50) for call in shop(number, 1, 1000.0)]
    with patch.object(Links, "of", autospec=True, side_effect=Links.of) as asked:
        driver = Driver(traces=1)
        driver.follow()
        driver.send(0, calls)
        driver.end()
    assert asked.call_count <= 6  # when they are met, when they are settled
    assert_told(driver, calls)
