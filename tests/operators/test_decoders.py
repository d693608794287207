"""OTLP's two encodings: the same data gives the same points, and garbage harms nobody."""

import json
import math
import struct
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    Gauge,
    Histogram,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
    Summary,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from flows.settings import Enrichment as NoChanges
from operators.decoders import DECODERS
from operators.decoders.base import Decoded
from operators.enrichment import Enrichment
from operators.frames import ATTRIBUTES, POINTS, STREAMS
from operators.series import Resolved, SeriesRegistry
from tests.operators.otlp_reference import Measured, as_json, measured

ENCODE: dict[str, Callable[[MetricsData], bytes]] = {
    "otlp_proto": lambda data: data.SerializeToString(),
    "otlp_json": as_json,
}
NANOSECOND = 1_700_000_000_000_000_001  # a float could not hold it

encodings = pytest.mark.parametrize("encoding", list(ENCODE))


def kv(key: str, value: object = "") -> KeyValue:
    field = {str: "string_value", bool: "bool_value", int: "int_value", float: "double_value",
             bytes: "bytes_value"}[type(value)]  # fmt: skip
    return KeyValue(key=key, value=AnyValue(**{field: value}))


def point(value: float | int | None = 1.0, ts: int = NANOSECOND, **more: object) -> NumberDataPoint:
    if isinstance(value, float):
        more["as_double"] = value
    elif value is not None:
        more["as_int"] = value
    return NumberDataPoint(time_unix_nano=ts, **more)


def gauge(*points: NumberDataPoint, name: str = "m", unit: str = "") -> Metric:
    return Metric(name=name, unit=unit, gauge=Gauge(data_points=points))


def batch(*metrics: Metric, resource: list[KeyValue] | None = None) -> MetricsData:
    resources = None if resource is None else Resource(attributes=resource)
    return MetricsData(
        resource_metrics=[
            ResourceMetrics(resource=resources, scope_metrics=[ScopeMetrics(metrics=metrics)])
        ]
    )


def decode(encoding: str, *messages: MetricsData | bytes) -> Decoded:
    encode = ENCODE[encoding]
    values = [m if isinstance(m, bytes) else encode(m) for m in messages]
    return DECODERS[encoding].decode(values)


def listed(decoded: Decoded) -> list[Measured]:
    """Return the points with their names, as the decoder tells them."""
    points = decoded.points
    assert points.schema == POINTS
    description = decoded.describe(np.arange(points.height))
    assert description.streams.schema == STREAMS
    assert description.attributes.schema == description.resources.schema == ATTRIBUTES

    def pairs(attributes: pl.DataFrame) -> dict[int, dict[str, str]]:
        found: dict[int, dict[str, str]] = {}
        for owner, key, value in attributes.iter_rows():
            found.setdefault(owner, {})[key] = value
        return found

    attributes, resources = pairs(description.attributes), pairs(description.resources)
    return [
        Measured(
            row["message"], row["ts"], row["start"], row["value"], stream["name"], stream["unit"],
            stream["kind"], tuple(sorted(attributes.get(number, {}).items())),
            tuple(sorted(resources.get(stream["resource"], {}).items())),
        )
        for number, (row, stream) in enumerate(
            zip(points.to_dicts(), description.streams.to_dicts(), strict=True)
        )
    ]  # fmt: skip


def resolve(encoding: str, *messages: MetricsData | bytes) -> Resolved:
    registry = SeriesRegistry("default", ["service.name"], Enrichment(NoChanges()))
    return registry.resolve(decode(encoding, *messages))


# Any batch at all.

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
doubles = st.floats(allow_nan=False, allow_infinity=False).filter(
    lambda x: x == 0 or 1e-4 < abs(x) < 1e15
)
scalars = st.one_of(
    texts.map(lambda x: AnyValue(string_value=x)),
    st.booleans().map(lambda x: AnyValue(bool_value=x)),
    st.integers(-(2**63), 2**63 - 1).map(lambda x: AnyValue(int_value=x)),
    doubles.map(lambda x: AnyValue(double_value=x)),
    st.binary(max_size=4).map(lambda x: AnyValue(bytes_value=x)),
    st.just(AnyValue()),
)
values = st.one_of(
    scalars,
    st.lists(scalars, max_size=3).map(lambda x: AnyValue(array_value=ArrayValue(values=x))),
    st.dictionaries(texts, scalars, max_size=3).map(
        lambda x: AnyValue(
            kvlist_value=KeyValueList(values=[KeyValue(key=k, value=v) for k, v in x.items()])
        )
    ),
)
attributes = st.lists(st.builds(KeyValue, key=texts, value=values), max_size=4)
any_value = st.one_of(
    st.floats().map(lambda x: {"as_double": x}),
    st.integers(-(2**63), 2**63 - 1).map(lambda x: {"as_int": x}),
    st.just({}),
)


@st.composite
def data_points(draw: st.DrawFn) -> NumberDataPoint:
    return NumberDataPoint(
        time_unix_nano=draw(st.integers(0, 2**63 - 1)),
        start_time_unix_nano=draw(st.sampled_from([0, 1, 2**53 + 1, 2**63 - 1])),
        attributes=draw(attributes),
        flags=draw(st.sampled_from([0, 0, 0, 1, 2, 3])),
        **draw(any_value),
    )


points_ = st.lists(data_points(), max_size=3)
data_ = st.one_of(
    points_.map(lambda p: {"gauge": Gauge(data_points=p)}),
    st.builds(
        lambda p, t, m: {"sum": Sum(data_points=p, aggregation_temporality=t, is_monotonic=m)},
        points_, st.integers(0, 2), st.booleans(),
    ),
    st.sampled_from(
        [{"histogram": Histogram()}, {"exponential_histogram": ExponentialHistogram()},
         {"summary": Summary()}, {}]
    ),
)  # fmt: skip
metrics_ = st.builds(
    lambda name, unit, data: Metric(name=name, unit=unit, **data), texts, texts, data_
)
scopes_ = st.builds(
    ScopeMetrics,
    scope=st.one_of(st.none(), st.builds(InstrumentationScope, name=texts, version=texts)),
    metrics=st.lists(metrics_, max_size=3),
)
resources_ = st.builds(
    ResourceMetrics,
    resource=st.one_of(st.none(), st.builds(Resource, attributes=attributes)),
    scope_metrics=st.lists(scopes_, max_size=3),
)
batches = st.builds(MetricsData, resource_metrics=st.lists(resources_, min_size=1, max_size=3))
many = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@encodings
@many
@given(messages=st.lists(batches, max_size=3))
def test_any_batches_give_what_reading_them_point_by_point_gives(encoding, messages):
    decoded = decode(encoding, *messages)
    expected, skipped = measured(messages)
    assert decoded.rejected == {}
    assert decoded.skipped == skipped
    assert sorted(listed(decoded)) == sorted(expected)


@many
@given(messages=st.lists(batches, min_size=1, max_size=3))
def test_points_of_one_identity_have_one_number_and_others_another(messages):
    for encoding in ENCODE:
        decoded = decode(encoding, *messages)
        by_name: dict[tuple[object, ...], set[int]] = {}
        by_raw: dict[int, set[tuple[object, ...]]] = {}
        for raw, each in zip(decoded.points["raw"].to_list(), listed(decoded), strict=True):
            by_raw.setdefault(raw, set()).add(each[4:])
            by_name.setdefault(each[4:], set()).add(raw)
        assert all(len(names) == 1 for names in by_raw.values())


@many
@given(messages=st.lists(batches, min_size=1, max_size=2))
def test_the_same_data_in_any_encoding_is_the_same_series(messages):
    found = []
    for encoding in ENCODE:
        resolved = resolve(encoding, *messages)
        names = resolved.new.unique("series").select("series", "name", "labels").sort("series")
        found.append(names.rows())
    assert all(rows == found[0] for rows in found)


@encodings
@many
@given(garbage=st.one_of(st.binary(max_size=60), st.text(max_size=30).map(str.encode)))
def test_no_bytes_make_a_decoder_raise_and_good_neighbours_survive(encoding, garbage):
    good = batch(gauge(point(7.0)))
    decoded = decode(encoding, good, garbage, good)
    resolved = SeriesRegistry("t", [], Enrichment(NoChanges())).resolve(decoded)
    mine = resolved.points.filter(pl.col("message") != 1)
    assert mine["message"].to_list() == [0, 2]
    assert mine["value"].to_list() == [7.0, 7.0]
    assert (decoded.rejected | resolved.rejected).keys() <= {1}


@encodings
@many
@given(message=batches, data=st.data())
def test_a_damaged_message_never_makes_a_decoder_raise(encoding, message, data):
    encoded = bytearray(ENCODE[encoding](message))
    if encoded:
        for _ in range(data.draw(st.integers(1, 3))):
            encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
        encoded = encoded[: data.draw(st.integers(1, len(encoded)))]
    good = batch(gauge(point(7.0)))
    resolved = resolve(encoding, bytes(encoded), good)
    assert resolved.points.filter(pl.col("message") == 1)["value"].to_list() == [7.0]


# Single cases, to be read.


@encodings
def test_nanoseconds_are_kept_to_the_last(encoding):
    found = decode(encoding, batch(gauge(point(1.0, start_time_unix_nano=NANOSECOND - 1)))).points
    assert found["ts"].to_list() == [NANOSECOND]
    assert found["start"].to_list() == [NANOSECOND - 1]


@encodings
def test_times_past_what_a_signed_number_holds_do_not_turn_negative(encoding):
    found = decode(encoding, batch(gauge(point(1.0, ts=2**64 - 1)))).points
    assert found["ts"].to_list() == [2**63 - 1]


@encodings
def test_whole_numbers_and_fractions_are_both_values(encoding):
    found = decode(encoding, batch(gauge(point(-3), point(2.5), point(0), point(0.0)))).points
    assert found["value"].to_list() == [-3.0, 2.5, 0.0, 0.0]


@encodings
def test_what_carries_nothing_to_aggregate_is_counted_by_reason(encoding):
    points = [
        point(math.nan), point(math.inf), point(-math.inf), point(None), point(5.0, flags=1),
        point(None, flags=1), point(8.0),
    ]  # fmt: skip
    decoded = decode(encoding, batch(gauge(*points), Metric(name="h", histogram=Histogram())))
    assert decoded.points["value"].to_list() == [8.0]
    assert decoded.skipped == {"not_finite": 3, "no_value": 1, "stale": 2, "histogram": 1}


@encodings
def test_the_stale_marker_of_prometheus_is_no_value(encoding):
    stale = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
    decoded = decode(encoding, batch(gauge(point(stale))))
    assert decoded.points.height == 0
    assert decoded.skipped == {"not_finite": 1}


@encodings
@pytest.mark.parametrize(
    ("temporality", "monotonic", "kind"),
    [(0, False, 0), (0, True, 2), (1, False, 1), (1, True, 1), (2, False, 0), (2, True, 2)],
)
def test_temporality_and_monotonicity_say_what_a_sum_is(encoding, temporality, monotonic, kind):
    entry = Sum(data_points=[point()], aggregation_temporality=temporality, is_monotonic=monotonic)
    decoded = decode(encoding, batch(Metric(name="s", sum=entry)))
    assert decoded.describe(np.array([0])).streams["kind"].to_list() == [kind]


@encodings
def test_the_order_of_attributes_does_not_matter(encoding):
    one = batch(gauge(point(1.0, attributes=[kv("a", "1"), kv("b", "2")])))
    two = batch(gauge(point(1.0, attributes=[kv("b", "2"), kv("a", "1")])))
    resolved = resolve(encoding, one, two)
    assert resolved.new["identity"].n_unique() == 1
    assert resolved.new["labels"].unique().to_list() == ['{"a":"1","b":"2"}']


@encodings
def test_attributes_that_join_to_the_same_text_are_still_different(encoding):
    pairs = [[kv("a", "bc")], [kv("ab", "c")], [kv("a", "b"), kv("c", "")], [kv("abc")], []]
    decoded = decode(encoding, batch(gauge(*[point(1.0, attributes=each) for each in pairs])))
    assert decoded.points["raw"].n_unique() == len(pairs)


@encodings
@pytest.mark.parametrize(
    "text", ["Zürich", "日本語", "🌊", '"quoted"', "back\\slash", "tab\tnew\nline", "\x00\x1f"]
)
def test_any_text_is_a_label(encoding, text):
    resolved = resolve(encoding, batch(gauge(point(1.0, attributes=[kv("k", text)]))))
    assert json.loads(resolved.new["labels"][0]) == {"k": text}


@encodings
def test_a_message_without_resource_or_scope_is_as_good(encoding):
    found = listed(decode(encoding, batch(gauge(point(1.0), name="m", unit="s"))))
    assert found == [Measured(0, NANOSECOND, 0, 1.0, "m", "s", 0, (), ())]


@encodings
def test_the_same_attributes_under_another_resource_are_another_identity(encoding):
    messages = [batch(gauge(point()), resource=[kv("service.name", name)]) for name in "ab"]
    assert resolve(encoding, *messages).new["series"].n_unique() == 2


@encodings
def test_resources_that_no_label_tells_apart_are_two_identities_of_one_series(encoding):
    messages = [batch(gauge(point()), resource=[kv("process.pid", pid)]) for pid in (1, 2)]
    new = resolve(encoding, *messages).new
    assert (new["identity"].n_unique(), new["series"].n_unique()) == (2, 1)


@encodings
def test_no_messages_are_no_points(encoding):
    assert decode(encoding).points.height == 0


@encodings
def test_a_poll_of_nothing_but_garbage_is_no_points(encoding):
    decoded = decode(encoding, b"\xff\xff\xff", b"{", b"")
    assert decoded.points.height == 0
    assert decoded.rejected.keys() == {0, 1, 2}


GARBAGE = {
    "otlp_proto": {
        "empty": b"", "text": b"hello, world", "json": b'{"resourceMetrics":[]}',
        "cut off": batch(gauge(point())).SerializeToString()[:-3], "zeros": bytes(20),
        "not utf-8 in a name": b"\x0a\x08\x12\x06\x12\x04\x0a\x02\xff\xfe",
    },
    "otlp_json": {
        "empty": b"", "blank": b"  \n", "text": b"hello, world", "protobuf": batch(gauge(point())).SerializeToString(),
        "cut off": as_json(batch(gauge(point())))[:-3], "null": b"null", "a number": b"5",
        "a string": b'"resourceMetrics"', "no resource metrics": b"{}",
        "other telemetry": b'{"resourceLogs":[{"scopeLogs":[]}]}',
        "an empty list": b'{"resourceMetrics":[]}', "a bare empty list": b"[]",
        "not a list": b'{"resourceMetrics":5}', "a list of numbers": b'{"resourceMetrics":[5]}',
        "not utf-8": b'{"resourceMetrics":[{"schemaUrl":"\xff"}]}',
        "two documents": b'{"resourceMetrics":[{}]}{"resourceMetrics":[{}]}',
        "two documents and a comma": b'{"resourceMetrics":[{}]},{"resourceMetrics":[{}]}',
        "a closing too many": b"[{}]}",
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("encoding", "name"), [(e, n) for e, cases in GARBAGE.items() for n in cases]
)
def test_garbage_is_rejected_with_a_reason(encoding, name):
    decoded = decode(encoding, batch(gauge(point(3.0))), GARBAGE[encoding][name])
    assert decoded.rejected.keys() == {1}
    assert decoded.rejected[1]
    assert "\n" not in decoded.rejected[1]
    assert decoded.points["value"].to_list() == [3.0]


def test_attributes_that_are_no_protobuf_reject_their_message_and_no_other():
    good = batch(gauge(point(3.0, attributes=[kv("a", "b")])))
    bad = good.SerializeToString().replace(
        b"\x0a\x01a\x12\x03\x0a\x01b", b"\x0a\x7fa\x12\x03\x0a\x01b"
    )
    resolved = resolve("otlp_proto", good, bad, good)
    assert resolved.rejected.keys() == {1}
    assert "attributes" in resolved.rejected[1]
    assert resolved.points["message"].to_list() == [0, 2]


# What only JSON has: several ways to write the same.

TEMPLATE = """{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","sum":
{"aggregationTemporality":%s,"isMonotonic":true,"dataPoints":[{"timeUnixNano":%s,%s}]}}]}]}]}"""


@pytest.mark.parametrize("ts", [str(NANOSECOND), f'"{NANOSECOND}"'])
@pytest.mark.parametrize("temporality", ["2", '"AGGREGATION_TEMPORALITY_CUMULATIVE"'])
@pytest.mark.parametrize(
    "value",
    [
        '"asInt":"5"',
        '"asInt":5',
        '"asDouble":5',
        '"asDouble":5.0',
        '"asDouble":"5"',
        '"asDouble":5e0',
    ],
)
def test_numbers_may_be_texts_and_enums_may_be_names(ts, temporality, value):
    found = listed(decode("otlp_json", (TEMPLATE % (temporality, ts, value)).encode()))
    assert found == [Measured(0, NANOSECOND, 0, 5.0, "m", "", 2, (), ())]


@pytest.mark.parametrize("value", ['"NaN"', '"Infinity"', '"-Infinity"'])
def test_what_json_has_no_number_for_is_a_text_and_not_finite(value):
    decoded = decode("otlp_json", (TEMPLATE % ("1", "5", f'"asDouble":{value}')).encode())
    assert decoded.skipped == {"not_finite": 1}


def test_unknown_keys_are_ignored_and_a_bare_list_is_as_good():
    extra = json.loads(as_json(batch(gauge(point(2.0)))))
    extra["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]["gauge"]["dataPoints"][0][
        "new"
    ] = {"a": [1]}
    extra["alsoNew"] = 5
    bare = json.dumps(extra["resourceMetrics"], indent=2)
    decoded = decode("otlp_json", json.dumps(extra).encode(), f"\n{bare}\n".encode())
    assert decoded.points["value"].to_list() == [2.0, 2.0]
