"""Value lists of collectd, against ``json`` row by row, and from a collectd that runs here."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.decoders import DECODERS
from tests.backends.collectd import Collectd
from tests.conftest import TopicFactory, running
from tests.operators.decoders.json_reference import (
    Point,
    anything,
    damaged,
    listed,
    numbers,
    texts,
    written,
)

GAUGE, DELTA, CUMULATIVE = 0, 1, 2
RATES, TOTALS = DECODERS["collectd_json"], DECODERS["collectd_json_totals"]
KINDS = {"gauge": GAUGE, "derive": CUMULATIVE, "counter": CUMULATIVE, "absolute": DELTA}
many = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

# As collectd's documentation of its JSON shows it.
OF_COLLECTD = b"""[{"values":[1901474177],"dstypes":["counter"],"dsnames":["value"],
"time":1280959128,"interval":10,"host":"leeloo.octo.it","plugin":"cpu","plugin_instance":"0",
"type":"cpu","type_instance":"idle"}]"""


def reference(messages: list[bytes], *, rates: bool) -> tuple[list[Point], Counter[str]]:
    """Read messages one after the other."""
    found: list[Point] = []
    skipped: Counter[str] = Counter()
    for index, message in enumerate(messages):
        for each in json.loads(message):
            labels = {k: each[k] for k in ("host", "plugin_instance", "type_instance")}
            sources = zip(each["values"], each["dsnames"], each["dstypes"], strict=True)
            for value, of, kind in sources:
                if value is None:
                    skipped["no_value"] += 1
                    continue
                name = f"{each['plugin']}_{each['type']}" + ("" if of == "value" else f"_{of}")
                found.append(
                    Point(
                        index, round(each["time"] * 1000) * 10**6, float(value), name,
                        GAUGE if rates else KINDS[kind], tuple(sorted(labels.items())),
                    )
                )  # fmt: skip
    return sorted(found), skipped


@st.composite
def value_lists(draw: st.DrawFn) -> dict[str, Any]:
    sources = draw(
        st.lists(
            st.tuples(
                st.none() | numbers,
                st.sampled_from(list(KINDS)),
                st.sampled_from(["value", "rx", "tx"]) | texts,
            ),
            max_size=3,
            unique_by=lambda each: each[2],
        )
    )
    names = {
        key: draw(texts) for key in ("host", "plugin", "plugin_instance", "type", "type_instance")
    }
    return {
        **draw(st.dictionaries(texts, anything, max_size=1)),
        **names,
        "values": [value for value, _, _ in sources],
        "dstypes": [kind for _, kind, _ in sources],
        "dsnames": [name for _, _, name in sources],
        "time": draw(st.integers(0, 4 * 10**12)) / 1000,
        "interval": 10.0,
    }


documents = st.lists(value_lists(), max_size=3)


@many
@given(st.data())
@pytest.mark.parametrize("rates", [True, False])
def test_value_lists_written_in_any_way_are_what_json_reads(rates, data):
    messages = [data.draw(written(data.draw(documents))).encode() for _ in range(3)]
    decoded = (RATES if rates else TOTALS).decode(messages)
    expected, skipped = reference(messages, rates=rates)
    assert decoded.rejected == {}
    # Times that were written with an exponent are doubles, with the precision that those have.
    found = [point._replace(ts=round(point.ts, -6)) for point in listed(decoded)]
    assert sorted(found) == expected
    assert decoded.skipped == skipped


@many
@given(st.data())
def test_a_damaged_value_list_harms_no_other(data):
    good = json.dumps(data.draw(documents)).encode()
    bad = data.draw(damaged(data.draw(written(data.draw(documents))).encode()))
    decoded = RATES.decode([good, bad, good])
    kept = [point for point in listed(decoded) if point.message != 1]
    assert kept == reference([good, b"[]", good], rates=True)[0]
    if 1 in decoded.rejected:
        assert "\n" not in decoded.rejected[1]
        assert 1 not in decoded.points["message"].to_list()


def test_what_collectd_documents():
    labels = (("host", "leeloo.octo.it"), ("plugin_instance", "0"), ("type_instance", "idle"))
    point = Point(0, 1_280_959_128 * 10**9, 1_901_474_177.0, "cpu_cpu", CUMULATIVE, labels)
    assert listed(TOTALS.decode([OF_COLLECTD])) == [point]
    assert listed(RATES.decode([OF_COLLECTD])) == [point._replace(kind=GAUGE)]


VALUES = json.loads(OF_COLLECTD)[0]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"host": None}, "host"), ({"type": 5}, "type"), ({"plugin": []}, "plugin"),
        ({"values": [1, 2]}, "one length"), ({"dsnames": []}, "one length"), ({"dstypes": 1}, "one length"),
        ({"dstypes": ["guess"]}, "dstypes"), ({"dsnames": [5]}, "one length"), ({"time": "now"}, "time"),
        ({"time": None}, "time"), ({"values": ["1"]}, "values"), ({"values": [{}]}, "values"),
    ],
)  # fmt: skip
def test_a_value_list_without_what_it_needs_is_rejected_for_that(changed, reason):
    decoded = RATES.decode([json.dumps([VALUES, VALUES | changed]).encode()])
    assert reason in decoded.rejected[0]
    assert decoded.points.height == 0


@pytest.mark.parametrize(
    "missing", ["host", "plugin", "type", "values", "dsnames", "dstypes", "time"]
)
def test_what_must_be_there(missing):
    values = {key: value for key, value in VALUES.items() if key != missing}
    assert RATES.decode([json.dumps([values]).encode()]).rejected.keys() == {0}


# A real one.


def messages_of(bootstrap_servers: str, topic: str, seconds: float) -> list[bytes]:
    """Return what is written to a topic in some seconds."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap_servers, "group.id": topic, "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    found: list[bytes] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is not None and not message.error():
            found.append(message.value())
            if len(found) == 1:  # the group takes its time; what counts begins now
                deadline = time.monotonic() + seconds / 4
    consumer.close()
    return found


@pytest.mark.parametrize("store_rates", [None, False], ids=["by default", "without rates"])
def test_a_collectd_that_runs_here(
    kafka: str, topic: TopicFactory, tmp_path: Path, store_rates: bool | None
) -> None:
    name = topic(name="collectd")
    rates = store_rates is None
    with running(Collectd(tmp_path / "collectd", kafka, name, store_rates=store_rates)):
        messages = messages_of(kafka, name, 20)
    assert messages
    decoded = (RATES if rates else TOTALS).decode(messages)
    assert decoded.rejected == {}
    points = listed(decoded)
    expected, skipped = reference(messages, rates=rates)
    assert points == expected
    assert decoded.skipped == skipped
    kinds = {point.name: point.kind for point in points}
    assert {
        "cpu_cpu",
        "load_load_shortterm",
        "memory_memory",
        "interface_if_octets_rx",
    } <= kinds.keys()
    assert kinds["load_load_shortterm"] == GAUGE
    assert kinds["interface_if_octets_rx"] == (GAUGE if rates else CUMULATIVE)
    assert {dict(point.labels)["host"] for point in points} == {"test-host"}
    assert abs(points[-1].ts / 1e9 - time.time()) < 120
    # Rates are fractions sooner or later; totals of jiffies and bytes never are.
    of_cpu = [point.value for point in points if point.name == "cpu_cpu"]
    assert any(value != int(value) for value in of_cpu) == rates
