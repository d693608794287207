"""Metrics of Telegraf's serializer ``json``, against ``json`` row by row."""

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.decoders import DECODERS
from tests.operators.decoders.json_reference import (
    Point,
    anything,
    damaged,
    label_text,
    listed,
    numbers,
    texts,
    written,
)

GAUGE = 0
DECODER = DECODERS["telegraf_json"]
many = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

# From the README of Telegraf's serializer.
OF_TELEGRAF = {
    "fields": {"field_1": 30, "field_2": 4, "field_N": 59, "n_images": 660},
    "name": "docker",
    "tags": {"host": "raynor"},
    "timestamp": 1458229140,
}


def reference(messages: list[bytes]) -> tuple[list[Point], Counter[str]]:
    """Read messages one after the other; timestamps are in seconds."""
    found: list[Point] = []
    skipped: Counter[str] = Counter()
    for index, message in enumerate(messages):
        document = json.loads(message)
        for metric in document.get("metrics", [document]):
            labels = tuple(sorted((k, label_text(v)) for k, v in metric["tags"].items()))
            for field, value in metric["fields"].items():
                if value is None:
                    skipped["no_value"] += 1
                elif not isinstance(value, int | float):
                    skipped["text"] += 1
                else:
                    name = metric["name"] if field == "value" else f"{metric['name']}_{field}"
                    ts = metric["timestamp"] * 10**9
                    found.append(Point(index, ts, float(value), name, GAUGE, labels))
    return sorted(found), skipped


field_values = st.one_of(numbers, st.booleans(), texts, st.none(), st.lists(texts, max_size=1))


@st.composite
def metrics(draw: st.DrawFn) -> dict[str, Any]:
    metric = {
        "fields": draw(st.dictionaries(st.just("value") | texts, field_values, max_size=5)),
        "name": draw(texts),
        "tags": draw(st.dictionaries(texts, texts, max_size=3)),
        "timestamp": draw(st.integers(0, 4_000_000_000)),
    }
    extra = draw(st.dictionaries(texts.filter(lambda x: x != "metrics"), anything, max_size=1))
    return {**extra, **metric}


documents = st.one_of(metrics(), st.lists(metrics(), max_size=3).map(lambda x: {"metrics": x}))


@many
@given(st.data())
def test_metrics_written_in_any_way_are_what_json_reads(data):
    messages = [data.draw(written(data.draw(documents))).encode() for _ in range(3)]
    decoded = DECODER.decode(messages)
    expected, skipped = reference(messages)
    assert decoded.rejected == {}
    assert listed(decoded) == expected
    assert decoded.skipped == skipped


@many
@given(st.data())
def test_a_damaged_metric_harms_no_other(data):
    good = json.dumps(data.draw(documents)).encode()
    bad = data.draw(damaged(data.draw(written(data.draw(documents))).encode()))
    decoded = DECODER.decode([good, bad, good])
    kept = [point for point in listed(decoded) if point.message != 1]
    assert kept == reference([good, b'{"metrics":[]}', good])[0]
    if 1 in decoded.rejected:
        assert "\n" not in decoded.rejected[1]
        assert 1 not in decoded.points["message"].to_list()


def test_what_telegraf_writes():
    labels = (("host", "raynor"),)
    ts = 1_458_229_140 * 10**9
    expected = [
        Point(0, ts, 4.0, "docker_field_2", GAUGE, labels),
        Point(0, ts, 30.0, "docker_field_1", GAUGE, labels),
        Point(0, ts, 59.0, "docker_field_N", GAUGE, labels),
        Point(0, ts, 660.0, "docker_n_images", GAUGE, labels),
    ]
    alone = json.dumps(OF_TELEGRAF).encode() + b"\n"
    batch = json.dumps({"metrics": [OF_TELEGRAF]}, indent=4).encode()
    assert listed(DECODER.decode([alone])) == expected
    assert listed(DECODER.decode([batch])) == expected


@pytest.mark.parametrize(
    ("timestamp", "ts"),
    [
        (1_458_229_140, 1_458_229_140_000_000_000), (1_458_229_140_123, 1_458_229_140_123_000_000),
        (1_458_229_140_123_456, 1_458_229_140_123_456_000), (1_458_229_140_123_456_789,) * 2,
        ("2016-03-17T15:39:00Z", 1_458_229_140_000_000_000),
        (14_582_291_401, 1_458_229_140_100_000_000),
    ],
)  # fmt: skip
def test_units_and_formats_of_timestamps(timestamp, ts):
    metric = OF_TELEGRAF | {"timestamp": timestamp}
    assert {point.ts for point in listed(DECODER.decode([json.dumps(metric).encode()]))} == {ts}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"fields": [1]}, "fields"), ({"fields": None}, "fields"), ({"name": 1}, "name"),
        ({"tags": ["a"]}, "tags"), ({"timestamp": "soon"}, "timestamp"),
        ({"timestamp": None}, "timestamp"), ({"metrics": {}}, "metrics"),
    ],
)  # fmt: skip
def test_a_metric_without_what_it_needs_is_rejected_for_that(changed, reason):
    decoded = DECODER.decode([json.dumps(OF_TELEGRAF | changed).encode()])
    assert f'"{reason}"' in decoded.rejected[0]


def test_one_bad_metric_rejects_its_batch_and_no_other_message():
    good, bad = json.dumps(OF_TELEGRAF).encode(), OF_TELEGRAF | {"name": None}
    decoded = DECODER.decode([good, json.dumps({"metrics": [OF_TELEGRAF, bad]}).encode(), good])
    assert decoded.rejected.keys() == {1}
    assert decoded.points["message"].unique().sort().to_list() == [0, 2]


def test_fields_may_be_many_and_unsorted():
    fields = {f"f{number * 7919 % 1000}": number for number in range(1000)}
    decoded = DECODER.decode([json.dumps(OF_TELEGRAF | {"fields": fields}).encode()] * 3)
    assert decoded.points.height == 3000
    assert decoded.points["value"].to_list() == [float(x) for x in fields.values()] * 3


@pytest.mark.parametrize("fields", ['{"a":1,"a":2}', '{"b":0,"a":1,"a":2}', '{"\\u0061":1,"a":2}'])
def test_of_a_field_that_stands_twice_the_last_counts(fields):
    message = f'{{"fields":{fields},"name":"m","tags":{{}},"timestamp":5}}'.encode()
    assert ("m_a", 2.0) in {
        (point.name, point.value) for point in listed(DECODER.decode([message]))
    }
    assert len({point.name for point in listed(DECODER.decode([message]))}) == len(
        json.loads(fields)
    )
