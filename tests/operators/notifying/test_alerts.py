"""What is taken from the topic: alerts with their times, order and groups; the rest is refused."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.contracts.alert import encode_event
from operators.contracts.frames import REJECTS
from operators.contracts.items import Polled
from operators.notifying.alert import decode_alerts, restore_alert
from operators.notifying.grouping import group_key
from operators.notifying.times import format_instant, parse_instant
from tests.operators.notifying.samples import START, alert, event


def polled(*payloads: bytes) -> Polled:
    size = len(payloads)
    return Polled(
        0, "headrace.alerts", list(payloads), np.full(size, 3, np.int32), np.arange(7, 7 + size)
    )


def test_alerts_come_in_the_order_of_the_topic() -> None:
    firing, resolved = event({"alertname": "A"}), event({"alertname": "A"}, "resolved")
    decoded = decode_alerts(polled(encode_event(firing), encode_event(resolved)))
    assert [alert.resolved for alert in decoded.alerts] == [False, True]
    assert decoded.rejects.schema == REJECTS
    assert decoded.rejects.height == 0


BROKEN = {
    "no JSON": (b"alert!", "not JSON"),
    "nothing": (b"", "not JSON"),
    "an empty object": (b"{}", "is a required property"),
    "a start that is no time": ({"startsAt": "2026-01-01Tnoon"}, r"\$\.startsAt: .* RFC 3339"),
    "a day that does not exist": ({"startsAt": "2026-02-30T00:00:00Z"}, r"\$\.startsAt: .*no such"),
    "a start without an offset": (
        {"startsAt": "2026-01-01T00:00:00"},
        r"\$\.startsAt: .* RFC 3339",
    ),
    "an end that is no time": ({"endsAt": "2026-01-01T25:00:00Z"}, r"\$\.endsAt: .*no such"),
    "somebody else's fingerprint": ({"fingerprint": "0" * 16}, r"\$\.fingerprint: 0{16}, but"),
}


@pytest.mark.parametrize(("payload", "reason"), BROKEN.values(), ids=BROKEN)
def test_what_is_not_an_alert_event_is_refused_with_its_place_and_reason(
    payload: bytes | dict[str, str], reason: str
) -> None:
    good = event({"alertname": "A"})
    broken = payload if isinstance(payload, bytes) else json.dumps(good | payload).encode()
    decoded = decode_alerts(polled(encode_event(good), broken, encode_event(good)))
    assert len(decoded.alerts) == 2
    (row,) = decoded.rejects.to_dicts()
    assert (row["origin"], row["topic"], row["partition"], row["offset"]) == (
        "input",
        "headrace.alerts",
        3,
        8,
    )
    assert row["payload"] == broken
    assert re.search(reason, row["reason"]), row["reason"]


def test_an_alert_is_the_same_after_a_restart() -> None:
    made = alert({"alertname": "A", "host": "ü"}, annotations={"summary": "…"})
    assert restore_alert(made.event, resolved=False) == made
    assert restore_alert(made.event, resolved=True).resolved


def test_alerts_are_listed_as_alertmanager_lists_them() -> None:
    """By job, then instance, those without last; then fewer labels first; then by value."""
    expected = [
        {"alertname": "Z", "job": "a", "instance": "1"},
        {"alertname": "A", "job": "a", "instance": "2"},
        {"alertname": "A", "job": "a"},
        {"alertname": "A", "job": "b"},
        {"alertname": "B"},
        {"alertname": "A", "zone": "1"},
        {"alertname": "A", "host": "1"},
        {"alertname": "A", "host": "2"},
    ]
    shuffled = [alert(labels) for labels in reversed(expected)]
    assert [a.labels for a in sorted(shuffled, key=lambda a: a.order)] == expected


# What Go's strconv.Quote gives; from the examples and tests of package strconv.
QUOTED = {
    "Hello, world!": '"Hello, world!"',
    '"double"': r'"\"double\""',
    "back\\slash": r'"back\\slash"',
    "\a\b\f\r\n\t\v": r'"\a\b\f\r\n\t\v"',
    "\x7f": r'"\x7f"',
    "\u263a": '"☺"',
    "\u00a0": r'"\u00a0"',
    "\U0010ffff": r'"\U0010ffff"',
    "\x04": r'"\x04"',
}


@pytest.mark.parametrize(("text", "quoted"), QUOTED.items())
def test_group_keys_quote_as_go_does(text: str, quoted: str) -> None:
    assert group_key("{}", {"a": text}) == "{}:{a=" + quoted + "}"


def test_group_keys_sort_their_labels() -> None:
    assert group_key("{}", {"b": "2", "a": "1"}) == '{}:{a="1", b="2"}'


INSTANTS = {
    "1970-01-01T00:00:00Z": 0,
    "1970-01-01T00:00:00.000000001Z": 1,
    "1970-01-01T01:30:00+01:30": 0,
    "1969-12-31T23:59:59.5Z": -500_000_000,
    "2026-09-21T14:13:20.123456789Z": START + 123_456_789,
}


@pytest.mark.parametrize(("text", "nanoseconds"), INSTANTS.items())
def test_instants_are_read_to_the_nanosecond(text: str, nanoseconds: int) -> None:
    assert parse_instant(text) == nanoseconds


@given(st.integers(parse_instant("0001-01-01T00:00:00Z"), parse_instant("9999-12-31T23:59:59Z")))
def test_instants_are_read_back(nanoseconds: int) -> None:
    assert parse_instant(format_instant(nanoseconds)) == nanoseconds
