"""Samples of prometheus-kafka-adapter, against ``json`` row by row."""

import json
import math
from collections import Counter
from datetime import UTC, datetime

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
    texts,
    written,
)

GAUGE, CUMULATIVE = 0, 2
DECODER = DECODERS["prometheus_json"]
many = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

# The two messages that the adapter's own test expects of its serializer.
OF_THE_ADAPTER = [
    b'{"value":"456","timestamp":"1970-01-01T00:00:00Z","name":"foo","labels":{"__name__":"foo","labelfoo":"label-bar"}}',
    b'{"value":"+Inf","timestamp":"1970-01-01T00:00:10Z","name":"foo","labels":{"__name__":"foo","labelfoo":"label-bar"}}',
]


def reference(messages: list[bytes]) -> tuple[list[Point], Counter[str]]:
    """Read messages one after the other."""
    found: list[Point] = []
    skipped: Counter[str] = Counter()
    for index, message in enumerate(messages):
        sample = json.loads(message)
        value = float(sample["value"])
        if not math.isfinite(value):
            skipped["not_finite"] += 1
            continue
        moment = datetime.fromisoformat(sample["timestamp"])
        name = sample["name"]
        counter = name.endswith(("_total", "_count", "_sum", "_bucket"))
        labels = {k: label_text(v) for k, v in sample["labels"].items() if k != "__name__"}
        found.append(
            Point(
                index, int(moment.timestamp()) * 10**9, value, name,
                CUMULATIVE if counter else GAUGE, tuple(sorted(labels.items())),
            )
        )  # fmt: skip
    return sorted(found), skipped


names = (
    st.sampled_from(["up", "http_requests_total", "a_count", "a_sum", "a_bucket", "total"]) | texts
)
values = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(lambda x: f"{x:f}"),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(["NaN", "+Inf", "-Inf"]),
)
moments = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(
    lambda x: x.replace(microsecond=0, tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
)


@st.composite
def samples(draw: st.DrawFn) -> dict[str, object]:
    name = draw(names)
    sample = {
        "value": draw(values),
        "timestamp": draw(moments),
        "name": name,
        "labels": {"__name__": name, **draw(st.dictionaries(texts, texts, max_size=4))},
    }
    extra = draw(st.dictionaries(texts, anything, max_size=2))
    return {**extra, **sample}


@many
@given(st.data())
def test_samples_written_in_any_way_are_what_json_reads(data):
    messages = [data.draw(written(data.draw(samples()))).encode() for _ in range(3)]
    decoded = DECODER.decode(messages)
    expected, skipped = reference(messages)
    assert decoded.rejected == {}
    assert listed(decoded) == expected
    assert decoded.skipped == skipped


@many
@given(st.data())
def test_a_damaged_sample_harms_no_other(data):
    good = json.dumps(data.draw(samples())).encode()
    bad = data.draw(damaged(data.draw(written(data.draw(samples()))).encode()))
    decoded = DECODER.decode([good, bad, good])
    kept = [point for point in listed(decoded) if point.message != 1]
    assert kept == reference([good, b'{"value":"nan"}', good])[0]
    if 1 in decoded.rejected:
        assert "\n" not in decoded.rejected[1]
        assert 1 not in decoded.points["message"].to_list()


def test_what_the_adapter_writes():
    decoded = DECODER.decode(OF_THE_ADAPTER)
    assert listed(decoded) == [Point(0, 0, 456.0, "foo", GAUGE, (("labelfoo", "label-bar"),))]
    assert decoded.skipped == {"not_finite": 1}


SAMPLE = {"value": "1", "timestamp": "2026-01-01T00:00:00Z", "name": "up", "labels": {"a": "b"}}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"value": "one"}, "value"), ({"value": ""}, "value"), ({"value": None}, "value"),
        ({"value": {}}, "value"), ({"value": "1 "}, "value"), ({"value": True}, "value"),
        ({"timestamp": "yesterday"}, "timestamp"), ({"timestamp": None}, "timestamp"),
        ({"timestamp": "2026-01-01"}, "timestamp"), ({"name": 5}, "name"),
        ({"labels": ["a"]}, "labels"), ({"labels": "a"}, "labels"),
    ],
)  # fmt: skip
def test_a_sample_without_what_it_needs_is_rejected_for_that(changed, reason):
    decoded = DECODER.decode([json.dumps(SAMPLE | changed).encode()])
    assert f'"{reason}"' in decoded.rejected[0]
    assert decoded.points.height == 0


@pytest.mark.parametrize("missing", ["value", "timestamp"])
def test_value_and_time_must_be_there(missing):
    sample = {key: value for key, value in SAMPLE.items() if key != missing}
    assert f'"{missing}"' in DECODER.decode([json.dumps(sample).encode()]).rejected[0]


def test_a_name_among_the_labels_will_do():
    sample = SAMPLE | {"labels": {"__name__": "up", "a": "b"}}
    del sample["name"]
    assert listed(DECODER.decode([json.dumps(sample).encode()]))[0].name == "up"
    nameless = SAMPLE | {"labels": {"a": "b"}}
    del nameless["name"]
    assert '"name"' in DECODER.decode([json.dumps(nameless).encode()]).rejected[0]


@pytest.mark.parametrize("among", [-1, 2.5, True, None, [], {"a": 1}])
def test_an_empty_name_is_no_name_whatever_stands_among_the_labels(among):
    sample = SAMPLE | {"name": "", "labels": {"__name__": among, "a": "b"}}
    (point,) = listed(DECODER.decode([json.dumps(sample).encode()]))
    assert (point.name, point.kind, point.labels) == ("", GAUGE, (("a", "b"),))


def test_of_a_key_that_stands_twice_the_last_counts():
    twice = (
        b'{"value":{},"value":"3","timestamp":"2026-01-01T00:00:00Z","name":"a","n\\u0061me":"b"}'
    )
    point = listed(DECODER.decode([twice]))[0]
    assert (point.value, point.name) == (3.0, "b")


def test_digits_beyond_what_a_double_has_are_rounded_rightly():
    halfway = "9007199254740993.00000000000000000001"
    sample = SAMPLE | {"value": halfway}
    assert listed(DECODER.decode([json.dumps(sample).encode()]))[0].value == float(halfway)
