"""An alert of a service is told with what is behind it, and nothing else of it changes."""

import random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.api.view import AlertFilter, alerts
from operators.contracts.alert import encode_event
from operators.notifying.alert import alert_of
from operators.notifying.causes import KnownRankings, causes_of
from operators.traces.rankings import ranking_of
from sinks.channels.webhook import webhook_body
from tests.operators.notifying.samples import MINUTE, SECOND, START, World, alert, event, route
from tests.sinks.notifications import notification


def ranking(
    service="web", behind="pay", until=START, *, tenant="default", why="time", worse=1.0, said=""
):
    cause = {"service": behind, "operation": "charge", "why": why, "before": 1.0, "now": 2.0,
             "unit": "milliseconds", "part": 1.0, "sentence": said or f"the likely cause is {behind}"}  # fmt: skip
    return ranking_of(
        orjson.dumps(
            {"schema": "headrace.causes/v1", "tenant": tenant, "service": service, "why": why,
             "since": until - MINUTE, "until": until, "worse": worse, "causes": [cause]}
        )
    )  # fmt: skip


def known(*rankings):
    found = KnownRankings()
    for one in rankings:
        found.put(one)
    return found


def behind(rankings, **labels):
    causes = causes_of(known(*rankings).explained(alert({"alertname": "A", **labels})))
    return causes[0]["service"] if causes else None


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"service.name": "web"}, "pay"), ({"service_name": "web"}, "pay"), ({"service": "web"}, "pay"),
        ({"job": "web"}, "pay"), ({"job": "shop/web"}, "pay"), ({"server": "web"}, "pay"),
        ({"host": "web"}, None), ({"service": "other"}, None), ({"service": "other", "job": "web"}, None),
        ({"service": "web", "tenant": "default"}, "pay"), ({"service": "web", "tenant": "b"}, "pay of b"),
        ({"service": "web", "tenant": "c"}, None),
    ],
)  # fmt: skip
def test_the_service_is_the_one_that_the_labels_name_and_tenants_are_kept_apart(labels, expected):
    assert behind([ranking(), ranking(behind="pay of b", tenant="b")], **labels) == expected


def test_the_clearest_of_the_time_around_the_alert_counts_and_older_or_later_ones_do_not():
    old, late = ranking(behind="old", until=START - 10 * MINUTE, worse=9.0), ranking(
        behind="late", until=START + MINUTE + 1, worse=9.0
    )  # fmt: skip
    assert behind([old, late], service="web") is None
    faint = ranking(behind="faint", until=START - 1, worse=0.3)
    clear = ranking(behind="clear", until=START - 9 * MINUTE, worse=2.0)
    assert behind([old, faint, clear, late], service="web") == "clear"
    assert behind([faint, old, late], service="web") == "faint"
    # Told again of the same window after a restart: the last counts.
    assert behind([clear, faint, ranking(behind="x", until=clear.until, worse=0.1)], service="web") == "faint"  # fmt: skip


def test_what_an_alert_is_about_chooses_between_time_and_errors():
    both = [ranking(behind="slow"), ranking(behind="failing", why="errors", worse=0.1)]
    for name, expected in (("HighLatency", "slow"), ("ErrorRate", "failing"), ("Odd", "failing")):
        found = causes_of(known(*both).explained(alert({"alertname": name, "service": "web"})))
        assert found[0]["service"] == expected
    assert behind(both[:1], service="web") == "slow"
    found = known(both[0]).explained(alert({"alertname": "ErrorRate", "service": "web"}))
    assert causes_of(found) == []


def test_only_the_summary_and_the_evidence_change():
    labels = {"alertname": "A", "service": "web"}
    given_ = alert(labels, annotations={"summary": "it is slow", "runbook": "r"})
    told = known(ranking()).explained(given_)
    assert told.annotations == {"summary": "it is slow; the likely cause is pay", "runbook": "r"}
    before, after = orjson.loads(given_.event), orjson.loads(told.event)
    assert after.pop("annotations") == told.annotations
    assert [cause.keys() >= {"service", "now"} for cause in after.pop("evidence")["causes"]] == [
        True
    ]
    assert {**before, "annotations": 0, "evidence": 0} == {**after, "annotations": 0, "evidence": 0}
    assert (told.fingerprint, told.starts_at, told.order) == (
        given_.fingerprint, given_.starts_at, given_.order,
    )  # fmt: skip
    described = known(ranking()).explained(alert(labels, annotations={"description": "slow"}))
    assert described.annotations == {"description": "slow; the likely cause is pay"}
    assert known(ranking()).explained(alert(labels)).annotations == {
        "summary": "the likely cause is pay"
    }


def test_an_alert_that_is_over_or_has_its_own_causes_is_as_it_came():
    own = event({"alertname": "A", "service": "web"}, evidence={"causes": [{"service": "own"}]})
    mine = alert_of(own, encode_event(own))
    assert known(ranking()).explained(mine) is mine
    over = alert({"alertname": "A", "service": "web"}, "resolved")
    assert known(ranking()).explained(over) is over
    plain = alert({"alertname": "A", "service": "web"})
    assert KnownRankings().explained(plain) is plain


@pytest.mark.parametrize("kind", ["anomaly", "rule", "logs", "external", "cardinality", "clock"])
def test_only_what_calls_can_be_behind_is_explained(kind):
    sent = {**event({"alertname": "A", "service": "web"}), "kind": kind}
    found = causes_of(known(ranking()).explained(alert_of(sent, encode_event(sent))))
    assert bool(found) == (kind not in ("cardinality", "clock"))


@given(st.lists(st.tuples(st.integers(-15, 15), st.integers(1, 4)), max_size=30), st.randoms())
def test_the_order_in_which_rankings_come_and_come_again_does_not_matter(made, order):
    of_windows = {  # a window says the same whenever it is told
        START + at * MINUTE: ranking(behind=f"{at}", until=START + at * MINUTE, worse=float(worse))
        for at, worse in made
    }
    expected = max(
        (one for one in of_windows.values() if START - 10 * MINUTE < one.until <= START + MINUTE),
        key=lambda one: (one.worse, one.until),
        default=None,
    )
    told = [*of_windows.values(), *order.sample(list(of_windows.values()), len(of_windows) // 2)]
    order.shuffle(told)
    assert behind(told, service="web") == (expected.causes[0]["service"] if expected else None)


def test_an_hour_of_rankings_is_kept_and_no_more():
    chance = random.Random(1)
    found = KnownRankings()
    ends = [
        START + number * 10 * SECOND for number in range(1200)
    ]  # three hours and twenty minutes
    for until in ends:
        found.put(ranking(until=until, worse=chance.random()))
    at = {"alertname": "A", "service": "web"}
    assert causes_of(found.explained(alert(at, since=ends[-1])))
    assert causes_of(found.explained(alert(at, since=ends[-1] - 45 * MINUTE)))
    assert not causes_of(found.explained(alert(at, since=ends[-1] - 75 * MINUTE)))


def test_a_webhook_has_the_causes_only_where_there_are_some():
    plain = alert({"alertname": "A", "service": "web"})
    (said,) = webhook_body(notification(known(ranking()).explained(plain)), "")["alerts"]
    assert said["causes"][0]["service"] == "pay"
    (said,) = webhook_body(notification(plain), "")["alerts"]
    assert "causes" not in said


def test_a_ranking_that_comes_late_tells_nothing_again_and_the_repeat_says_it():
    rankings = KnownRankings()
    world = World(
        route(repeat_interval=30 * MINUTE, group_interval=5 * MINUTE), explain=rankings.explained
    )
    slow = alert({"alertname": "Slow", "service": "web"}, annotations={"summary": "slow"})
    world.happen(slow)
    world.wait_until(START + 2 * MINUTE)
    (told,) = world.receivers.told
    assert [one.annotations["summary"] for one in told.alerts] == ["slow"]  # it did not wait
    rankings.put(ranking())
    world.wait_until(START + 20 * MINUTE)
    world.crash()
    world.happen(slow)  # read again
    world.wait_until(START + 25 * MINUTE)
    assert len(world.receivers.told) == 1
    (shown,) = alerts(world.notifier, AlertFilter(), world.clock.now())
    assert shown["causes"][0]["service"] == "pay"
    assert shown["annotations"] == {"summary": "slow; the likely cause is pay"}
    world.wait_until(START + 40 * MINUTE)
    again = world.receivers.told[-1].alerts
    assert [one.annotations["summary"] for one in again] == ["slow; the likely cause is pay"]
    world.happen(alert({"alertname": "Slow", "service": "web"}, "resolved"))
    world.wait_until(START + 60 * MINUTE)
    assert [one.resolved for one in world.receivers.told[-1].alerts] == [True]
    assert len(world.receivers.told) == 3


def test_a_crash_repeats_no_alert_that_was_told_with_its_causes():
    world = World(explain=known(ranking()).explained)
    world.happen(alert({"alertname": "Slow", "service": "web"}))
    world.wait_until(START + 2 * MINUTE)
    assert [causes_of(one)[0]["service"] for one in world.receivers.told[0].alerts] == ["pay"]
    for _ in range(3):
        world.crash()
        world.wait_until(world.clock.now() + 10 * MINUTE)
    assert len(world.receivers.told) == 1


@pytest.mark.parametrize("strange", [None, 7, "pay", {"service": "pay"}, [], ["pay"], [None]])
def test_causes_of_another_shape_that_somebody_sends_are_none(strange):
    sent = event({"alertname": "A"}, evidence={"causes": strange})
    assert causes_of(alert_of(sent, encode_event(sent))) == []
