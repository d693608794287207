"""Spans that nobody should send, and traces of several tenants that have one id."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.traces.metrics import CALLS, DURATION, REQUESTS
from operators.traces.rows import ONE, weights
from tests.operators.traces.driver import TENANTS, Driver
from tests.operators.traces.shop import BEGIN, CLIENT, PRODUCER, SECOND, SERVER, Call, shop, told
from tests.operators.traces.test_step import assert_told, batches

HOLD = 30 * SECOND


def rollup(driver: Driver, metric: str, window: int = 10 * SECOND) -> dict[str, Any]:
    """Return the only rollup of a metric of the default tenant."""
    (found,) = (
        row
        for (name, _, length, _), row in driver.rollups.items()
        if (name, length) == (metric, window)
    )
    return found


def counted(*calls: Call) -> Driver:
    driver = Driver()
    driver.follow()
    driver.send(0, calls)
    driver.end()
    return driver


def test_a_span_that_does_not_say_when_it_began_has_taken_no_time() -> None:
    driver = counted(Call(1, 2, 0, "web", "GET", SERVER, 0, BEGIN + SECOND))
    assert rollup(driver, CALLS)["increase"] == 1
    duration = rollup(driver, DURATION)
    assert (duration["sum"], duration["max"]) == (0, 0)


@pytest.mark.parametrize(
    ("state", "stands_for"),
    [
        ("", 1),
        ("ot=th:ffffef39085f4a", 1_000_000),  # of a million one
        ("ot=th:ffffffffffffff", 1 << 24),  # says 2**56
    ],
)
def test_sums_are_right_however_long_spans_are_and_how_many_they_stand_for(
    state: str, stands_for: int
) -> None:
    begun, ended = BEGIN - 300 * 24 * 3600 * SECOND, BEGIN + SECOND
    calls = [Call(1, at, 0, "web", "GET", SERVER, begun, ended, state=state) for at in range(1, 4)]
    driver = counted(*calls)
    assert rollup(driver, CALLS)["increase"] == 3 * stands_for
    duration = rollup(driver, DURATION)
    assert duration["count"] == 3 * stands_for
    assert duration["sum"] == pytest.approx(3 * stands_for * (ended - begun) / 1e6, rel=1e-12)


@given(st.lists(st.integers(-1, (1 << 56) - 1), min_size=1, max_size=9))
def test_a_threshold_never_makes_a_count_that_is_none(thresholds: list[int]) -> None:
    found = weights(np.array(thresholds, np.int64))
    assert (found >= ONE).all()
    assert (found <= ONE << 24).all()
    for threshold, weight in zip(thresholds, found.tolist(), strict=True):
        exact = (1 << 56) / ((1 << 56) - max(threshold, 0))
        assert weight == pytest.approx(min(exact, 1 << 24) * ONE, abs=1)


def test_tenants_with_the_same_traces_have_each_their_own_of_everything() -> None:
    calls = shop(3, 60)
    sampling = {"errors": True, "slow": "2500ms", "rest": 2}

    def run(*tenants: str) -> Driver:
        driver = Driver(sampling=sampling)
        driver.follow()
        for number, batch in enumerate(batches(calls, 40, 1)):
            for tenant in tenants:
                # Whatever the other has is of other spans of the same ids.
                more = 0 if tenant == TENANTS[0] else 7
                driver.send(0, [replace(c, ended=c.ended + more) for c in batch], tenant=tenant)
            driver.poll()
            if number % 3 == 1:
                driver.crash()
        driver.end()
        return driver

    def kept(driver: Driver, tenant: str) -> list[tuple[Any, ...]]:
        spans = pl.concat(driver.kept).filter(pl.col("tenant") == tenant)
        columns = ("trace_id", "span_id", "kind", "reason", "threshold", "ended")
        return sorted(set(spans.select(columns).rows()))

    both = run(*TENANTS)
    for tenant in TENANTS:
        alone = run(tenant)
        assert both.told(tenant=tenant) == alone.told(tenant=tenant)
        assert kept(both, tenant) == kept(alone, tenant)
    assert both.told().keys() == told(calls, HOLD).keys()


def test_a_span_that_was_too_late_is_not_mistaken_for_that_of_another_tenant() -> None:
    driver = Driver(hold=10)
    driver.follow()
    call = Call(1, 2, 0, "web", "GET", SERVER, BEGIN, BEGIN + SECOND)
    later = replace(call, trace=9, begun=BEGIN + 35 * SECOND, ended=BEGIN + 36 * SECOND)
    driver.send(0, [call])
    driver.send(0, [later])
    driver.poll()
    driver.send(0, [call], at=later.ended, tenant=TENANTS[1])
    # Nor is a client for the server that has its id.
    driver.send(0, [replace(call, kind=3)], at=later.ended)
    driver.poll()
    assert [row["tenant"] for row in driver.late] == [TENANTS[1], TENANTS[0]]
    assert len({row["identity"] for row in driver.late}) == 2
    driver.crash()
    driver.end()
    assert rollup(driver, CALLS, 60 * SECOND)["increase"] == 2


def test_traces_that_differ_in_the_first_half_of_their_id_alone_are_apart() -> None:
    calls = []
    for trace in range(1, 3001):
        calls += [
            Call(trace << 64 | 5, 1, 0, "web", "GET", SERVER, BEGIN, BEGIN + SECOND),
            Call(trace << 64 | 5, 2, 1, "web", "call", CLIENT, BEGIN, BEGIN + SECOND),
            Call(trace << 64 | 5, 3, 2, "pay", "charge", SERVER, BEGIN, BEGIN + SECOND),
        ]
    assert_told(counted(*calls), calls)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
def test_of_a_client_and_a_producer_with_one_id_it_is_the_client_that_called(
    order: tuple[int, ...],
) -> None:
    calls = [
        Call(1, 5, 0, "web", "call", CLIENT, BEGIN, BEGIN + 10),
        Call(1, 5, 0, "shop", "send", PRODUCER, BEGIN, BEGIN + 20),
        Call(1, 6, 5, "pay", "charge", SERVER, BEGIN, BEGIN + 5),
    ]
    driver = Driver(traces=1)
    driver.follow()
    for at in order:
        driver.send(0, [calls[at]], at=BEGIN + SECOND)
    driver.end()
    edges = [dict(labels) for metric, labels, _ in driver.told() if metric == REQUESTS]
    assert edges == [{"client": "web", "server": "pay"}]


@pytest.mark.parametrize("root", [SERVER, CLIENT])
def test_where_client_and_server_share_ids_each_service_calls_the_next(root: int) -> None:
    """As Brave has them: a server has the id of its client, and the client's parent."""
    spans = [("web", SERVER, 1, 0), ("web", CLIENT, 3, 1), ("shop", SERVER, 3, 1),
             ("shop", CLIENT, 5, 3), ("pay", SERVER, 5, 3), ("pay", CLIENT, 7, 5), ("bank", SERVER, 7, 5)]  # fmt: skip
    if root == CLIENT:  # nobody called the first
        spans = [
            (who, kind, id_, parent if parent > 1 else 0) for who, kind, id_, parent in spans[1:]
        ]
    calls = [
        Call(1, id_, parent, who, "op", kind, BEGIN + at, BEGIN + 100 - at)
        for at, (who, kind, id_, parent) in enumerate(spans)
    ]
    driver = counted(*calls)
    assert_told(driver, calls)
    edges = {
        (dict(labels)["client"], dict(labels)["server"])
        for metric, labels, _ in driver.told()
        if metric == REQUESTS
    }
    outside = {("user", "web")} if root == SERVER else set()
    assert edges == {("web", "shop"), ("shop", "pay"), ("pay", "bank")} | outside
