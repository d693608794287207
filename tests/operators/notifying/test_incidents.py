"""Which alerts are one incident, what is its root, and what of a storm is told."""

from __future__ import annotations

import os
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.contracts.clock import ManualClock
from operators.notifying.alert import Alert
from operators.notifying.correlation import Correlation, ServiceMap
from operators.notifying.grouping import routing
from operators.notifying.incidents import Incidents
from operators.notifying.notifier import Notifier
from tests.operators.notifying.samples import MINUTE, SECOND, START, Receivers, alert, route

CHAIN = ServiceMap({"shop": ["cart"], "cart": ["db"], "ads": ["db"], "mail": ["smtp"]})


def about(service: str, name: str = "Slow", **more: str) -> Alert:
    return alert({"alertname": name, "service": service, **more})


def over(one: Alert) -> Alert:
    return alert(one.labels, "resolved")


def incidents(services: ServiceMap = CHAIN, **options: object) -> Incidents:
    return Incidents(Correlation(window=5 * MINUTE, services=services, **options))  # type: ignore[arg-type]


def play(*alerts: Alert, into: Incidents | None = None, every: int = SECOND) -> Incidents:
    found = into or incidents()
    for index, one in enumerate(alerts):
        found.put(one, START + index * every)
    return found


def shape(found: Incidents) -> list[tuple[str, set[str]]]:
    """The service of each incident's root, and the services of its alerts that fire."""
    return [
        (one.members[one.root][0], {one.members[name][0] for name in one.firing})
        for one in found.open.values()
    ]


TOGETHER = {
    "the same service": ([about("shop"), about("shop", "Errors")], [("shop", {"shop"})]),
    "one that needs the other through a third": (
        [about("shop"), about("db")],
        [("db", {"shop", "db"})],
    ),
    "both call the same": ([about("cart"), about("ads")], [("cart", {"cart", "ads"})]),
    "nothing in common": (
        [about("shop"), about("mail")],
        [("shop", {"shop"}), ("mail", {"mail"})],
    ),
    "no service at all": (
        [alert({"alertname": "A"}), alert({"alertname": "B"})],
        [("", {""}), ("", {""})],
    ),
    "two that a third makes one": (
        [about("shop"), about("ads"), about("db")],
        [("db", {"shop", "ads", "db"})],
    ),
}


@pytest.mark.parametrize(("alerts", "expected"), TOGETHER.values(), ids=TOGETHER)
def test_what_has_one_cause_is_one_incident(
    alerts: list[Alert], expected: list[tuple[str, set[str]]]
) -> None:
    assert shape(play(*alerts)) == expected


def test_labels_in_common_make_one_incident_where_that_is_asked_for() -> None:
    found = incidents(ServiceMap(), together=(("cluster", "zone"),))
    play(
        about("a", cluster="x", zone="1"),
        about("b", cluster="x", zone="1"),
        about("c", cluster="x", zone="2"),
        about("d", cluster="x"),
        into=found,
    )
    assert [services for _, services in shape(found)] == [{"a", "b"}, {"c"}, {"d"}]


def test_what_comes_much_later_is_another_incident() -> None:
    assert len(play(about("shop"), about("cart"), every=6 * MINUTE).open) == 2


def test_when_the_root_is_over_the_next_deepest_is_the_root() -> None:
    db, cart, shop = about("db"), about("cart"), about("shop")
    found = play(shop, cart, db, over(db))
    assert shape(found) == [("cart", {"shop", "cart"})]
    play(over(cart), over(shop), into=found)
    (one,) = found.open.values()
    assert one.ended is not None
    assert [line[1] for line in one.timeline][-1] == "over"


def test_what_comes_back_within_the_window_reopens_the_incident() -> None:
    shop = about("shop")
    again = alert(shop.labels, since=START + MINUTE)
    found = play(shop, over(shop), again)
    (one,) = found.open.values()
    assert one.ended is None


def test_an_incident_that_is_over_is_forgotten_after_the_window() -> None:
    shop = about("shop")
    found = play(shop, over(shop))
    found.forget(START + 2 * MINUTE)
    assert len(found.open) == 1
    found.forget(START + 7 * MINUTE)
    assert not found.open
    assert found.of(shop.fingerprint) is None


@settings(max_examples=60, deadline=None)
@given(st.permutations(["shop", "cart", "db", "ads", "mail", "smtp"]), st.booleans())
def test_the_order_of_alerts_decides_neither_incidents_nor_roots(
    services: list[str], restarts: bool
) -> None:
    found = incidents()
    for index, service in enumerate(services):
        found.put(about(service), START + index * SECOND)
        if restarts:
            correlation = Correlation(window=5 * MINUTE, services=CHAIN)
            found = Incidents(correlation, found.snapshot())
    assert {(root, frozenset(some)) for root, some in shape(found)} == {
        ("db", frozenset({"shop", "cart", "db", "ads"})),
        ("smtp", frozenset({"mail", "smtp"})),
    }


def test_a_record_names_the_root_first_and_what_became_of_merged_incidents() -> None:
    found = play(about("shop"), about("ads"), about("db"))
    records = {change.record["status"]: change.record for change in found.changes()}
    assert records["open"]["members"][0]["service"] == "db"
    assert records["open"]["services"] == ["ads", "db", "shop"]
    assert records["merged"]["mergedInto"] == records["open"]["id"]
    assert found.changes() == []


INSTANCES = int(os.environ.get("HEADRACE_STORM_INSTANCES", "3"))
"""33 make a storm of 100,000 events; 3 are quick."""


class Storm:
    """Events of 500 services within a minute; the database that all need is to blame."""

    def __init__(self, seed: int, instances: int) -> None:
        order = random.Random(seed)
        names = [f"service-{number}" for number in range(499)]
        needs = {
            name: ["db"] if i < 20 else [f"service-{order.randrange(i)}"]
            for i, name in enumerate(names)
        }
        self.services = ServiceMap(needs)
        # What is nearer to the cause notices earlier, as a rule.
        fired = [
            about(name, alertname, instance=str(instance))
            for name in names
            for instance in range(instances)
            for alertname in ("Slow", "Errors", "Saturated")
        ]
        fired += [about("db", "Down", instance=str(instance)) for instance in range(3)]
        order.shuffle(fired)
        ends = [over(one) for one in fired]
        order.shuffle(ends)
        self.events = [*fired, *ends]


@pytest.mark.parametrize("seed", [7, 8])
def test_a_storm_is_one_incident_and_a_handful_of_notifications(seed: int) -> None:
    storm = Storm(seed, INSTANCES)
    clock, receivers = ManualClock(START), Receivers()
    correlation = Correlation(window=5 * MINUTE, services=storm.services)
    along = route(group_by=("alertname", "service"), group_wait=30 * SECOND)
    notifier = Notifier(routing(along), receivers, clock, correlation=correlation)
    began = time.perf_counter()
    for second in range(60):
        size = len(storm.events) // 60
        notifier.receive(storm.events[second * size : (second + 1) * size])
        clock.advance(1)
        notifier.settle()
        notifier.flush_due()
        if second % 5 == 0:
            notifier.snapshot()
    took = time.perf_counter() - began
    for _ in range(700):
        clock.advance(1)
        notifier.settle()
        notifier.flush_due()
    told = [(n.reason.name, n.alerts[0].labels["service"]) for n in receivers.told]
    assert notifier.incidents is not None
    assert told[-1][0] in ("ALL_RESOLVED", "SOME_RESOLVED")
    assert told[0][1] == "db"
    assert len(told) <= 6, told
    report = notifier.chronicle.noise.report()
    assert report["events"] >= len(storm.events) // 60 * 60
    assert report["reduction"] > 0.99
    print(f"{report['events']} events of a minute took {took:.1f} s")
