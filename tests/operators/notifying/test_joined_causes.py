"""What calls and logs say of an alert's service is told as one, the likeliest first."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.contracts.service_changes import (
    InvalidChange,
    ServiceCalls,
    ServiceChange,
    change_messages,
    change_of,
)
from operators.notifying.causes import KnownRankings, causes_of
from operators.traces.rankings import InvalidRanking
from tests.operators.notifying.samples import MINUTE, START, alert
from tests.operators.notifying.test_causes_of_alerts import ranking


def change(service="pay", much=2.5, why="logs", until=START, tenant="default"):
    lines = ("charge *", "no card") if why == "logs" else (None, None)
    numbers = (0.1, 0.9) if why == "logs" else (5.0, 60.0)
    return ServiceChange(tenant, service, why, until - MINUTE, until, much, *numbers, *lines)


def calls(service, *names, tenant="default", until=START):
    return ServiceCalls(tenant, service, until, names)


TREE = (calls("web", "cart"), calls("cart", "pay", "stock", "web"), calls("mail", "queue"))


def known(*told):
    found = KnownRankings()
    for one in told:
        if isinstance(one, ServiceChange | ServiceCalls):
            of = ([one], []) if isinstance(one, ServiceChange) else ([], [one])
            for payload in change_messages(*of, "t")["value"]:
                found.hear(payload)
        else:
            found.put(one)
    return found


def explained(told, name="A", **labels):
    return known(*told).explained(alert({"alertname": name, **(labels or {"service": "web"})}))


def behind(*told, name="A", **labels):
    return [cause["service"] for cause in causes_of(explained(told, name, **labels))]


def test_the_service_whose_log_changed_most_of_all_that_are_called_is_the_first():
    told = (
        *TREE,
        change("stock", 1.2),
        change("pay", 2.5),
        change("mail", 9.0),
        change("web", 1.1),
    )
    assert behind(*told) == ["pay", "stock", "web"]
    assert behind(*told, service="cart") == ["pay", "stock", "web"]  # it calls web, too
    assert behind(*told, service="pay") == ["pay"]
    assert behind(*told, service="mail") == ["mail"]
    assert behind(*told, service="web", tenant="b") == []
    assert behind(*TREE) == []


def test_of_a_service_of_which_no_calls_are_known_its_own_log_counts_if_it_changed_much():
    assert behind(change("web", 2.0)) == ["web"]
    assert behind(change("web", 1.9)) == []
    assert behind(change("pay", 9.0)) == []


def test_what_the_evidence_and_the_sentence_say():
    found = explained((*TREE, change("pay", 3.0), change("cart", 1.0)))
    assert causes_of(found) == [
        {"service": "pay", "operation": "", "why": "logs", "before": 0.1, "now": 0.9, "unit": "share",
         "event": "charge *", "next": "no card", "part": 0.75},
        {"service": "cart", "operation": "", "why": "logs", "before": 0.1, "now": 0.9, "unit": "share",
         "event": "charge *", "next": "no card", "part": 0.25},
    ]  # fmt: skip
    assert found.annotations["summary"] == (
        'the likely cause is pay: its log goes on another way: 90% of "charge *" are followed by "no card", 10% before'
    )
    own = explained((change("web", 3.0),))
    assert own.annotations["summary"].startswith("the likely cause is its own: its log")


@pytest.mark.parametrize(
    ("event", "after", "said"),
    [
        ("", "x", '90% of its spans begin with "x", 10% before'),
        ("x", "", '90% of "x" are the last line, 10% before'),
        (None, "x", "the likely cause is pay: its log goes on another way"),
        ("y" * 200, "x", f'90% of "{"y" * 119}…" are followed by "x", 10% before'),
    ],
)
def test_a_sentence_for_the_begin_the_end_and_what_is_not_known(event, after, said):
    one = ServiceChange("default", "pay", "logs", 0, 1, 2.0, 0.1, 0.9, event, after)
    assert one.sentence(own=False).endswith(said)


def test_calls_and_logs_are_weighed_together():
    slow = ranking(behind="stock", worse=1.0)  # a call takes twice as long
    assert behind(*TREE, slow) == ["stock"]  # no log changed: as the ranking has it
    assert behind(*TREE, slow, change("pay", 1.5)) == ["pay", "stock"]
    assert behind(*TREE, ranking(behind="stock", worse=3.0), change("pay", 1.5)) == ["stock", "pay"]
    failing = ranking(behind="stock", why="errors", worse=0.1)  # a tenth more fail: as 2
    assert behind(*TREE, failing, change("pay", 1.5)) == ["stock", "pay"]
    # Of one service the stronger is said.
    (first, *_) = causes_of(explained((*TREE, slow, change("stock", 4.0))))
    assert (first["service"], first["why"], first["part"]) == ("stock", "logs", 1.0)


def test_an_alert_that_names_causes_itself_is_joined_with_what_logs_say_and_else_as_it_is():
    own = [{"service": "stock", "operation": "take", "why": "errors", "part": 1.0}]
    labels = {"alertname": "ErrorRate", "service.name": "web"}
    says = alert(labels, annotations={"summary": "web fails"}, evidence={"causes": own})
    failing = ranking(behind="stock", why="errors", worse=0.1)
    assert known(*TREE, failing).explained(says) is says
    found = known(*TREE, failing, change("pay", 3.0)).explained(says)
    assert [cause["service"] for cause in causes_of(found)] == ["pay", "stock"]
    assert found.annotations["summary"].startswith("web fails; the likely cause is pay: its log")
    # Logs agree, or say less.
    assert known(*TREE, failing, change("stock", 3.0)).explained(says) is says
    assert known(*TREE, failing, change("pay", 1.5)).explained(says) is says
    # Another system may name causes in its own way.
    odd = alert(labels, evidence={"causes": ["pay"]})
    assert known(*TREE, failing, change("pay", 3.0)).explained(odd) is odd
    # What was joined is not joined once more.
    assert known(*TREE, failing, change("pay", 3.0)).explained(found) is found


def test_what_a_service_takes_itself_counts_unless_the_alert_is_about_errors():
    told = (*TREE, change("pay", 1.2), change("stock", 2.0, "time"))
    assert behind(*told) == ["stock", "pay"]
    assert behind(*told, name="ErrorRate") == ["pay"]
    (first, *_) = causes_of(explained(told))
    assert (first["why"], first["before"], first["now"], first["unit"]) == (
        "time", 5.0, 60.0, "milliseconds",
    )  # fmt: skip
    # Where no log changed a ranking of calls is told as it is; where there is none, what takes longer.
    only_times = (*TREE, change("stock", 2.0, "time"))
    assert behind(*only_times) == ["stock"]
    assert behind(*only_times, ranking(behind="pay", worse=0.3)) == ["pay"]


def test_only_what_was_told_around_the_begin_of_an_alert_counts():
    for at, expected in ((-10, []), (-9, ["pay"]), (1, ["pay"]), (2, [])):
        assert behind(*TREE, change(until=START + at * MINUTE)) == expected


@given(st.lists(st.tuples(st.integers(-12, 3), st.sampled_from(["pay", "stock", "cart"]), st.integers(10, 40)), max_size=20), st.randoms())  # fmt: skip
def test_the_order_in_which_it_comes_and_comes_again_does_not_matter(made, order):
    of = {(at, name): change(name, much / 10, until=START + at * MINUTE) for at, name, much in made}
    most: dict[str, float] = {}
    for (at, name), one in of.items():
        if -10 < at <= 1:
            most[name] = max(most.get(name, 0.0), one.change)
    told = [*TREE, *of.values(), *order.sample(list(of.values()), len(of) // 2)]
    order.shuffle(told)
    assert behind(*told) == sorted(most, key=lambda name: (-most[name], name))


def test_of_whom_a_service_calls_the_newest_counts():
    found = known(calls("web", "pay", until=START), calls("web", "stock", until=START - MINUTE))
    for payload in change_messages([change("pay"), change("stock", 9.0)], [], "t")["value"]:
        found.hear(payload)
    named = found.explained(alert({"alertname": "A", "service": "web"}))
    assert [cause["service"] for cause in causes_of(named)] == ["pay"]


@pytest.mark.parametrize("payload", [b"{", b"[]", b"7", b'{"schema":"headrace.change/v1"}', b"{}"])
def test_a_message_that_is_none_of_ours_is_refused(payload):
    with pytest.raises((InvalidChange, InvalidRanking)):
        KnownRankings().hear(payload)


def test_messages_are_what_their_schema_says(service_changes):
    told = change_messages([change(), change(why="time")], [calls("web", "pay")], "headrace.causes")
    assert told["key"].to_list() == [
        b"default/pay/logs/change", b"default/pay/time/change", b"default/web/calls",
    ]  # fmt: skip
    for payload in told["value"]:
        service_changes.validate(orjson.loads(payload))
    assert [change_of(payload) for payload in told["value"]] == [
        change(), change(why="time"), calls("web", "pay"),
    ]  # fmt: skip


@pytest.fixture
def service_changes():
    from importlib import resources  # noqa: PLC0415

    import jsonschema  # noqa: PLC0415

    text = (
        resources.files("operators.contracts").joinpath("service_changes.schema.json").read_bytes()
    )
    jsonschema.Draft202012Validator.check_schema(orjson.loads(text))
    return jsonschema.Draft202012Validator(orjson.loads(text))
