"""What every decoder must do, whatever its format. Adding a decoder is adding its samples below."""

import json
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Gauge,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
)

from flows.settings import Enrichment as NoChanges
from operators.contracts.decoder import Decoded
from operators.contracts.frames import POINTS
from operators.decoders import DECODERS
from operators.series.enrichment import Enricher
from operators.series.registry import SeriesRegistry
from tests.operators.decoders.json_reference import damaged
from tests.operators.decoders.otlp_reference import as_json
from tests.operators.decoders.test_remote_write import compress, one_series, request

VALUE = 2.5
SECONDS = 1_700_000_000
RFC_3339 = "2023-11-14T22:13:20Z"  # the same time
GARBAGE = {
    "nothing": b"",
    "blank": b" \n",
    "zeros": bytes(40),
    "ones": b"\xff" * 40,
    "text": b"hello, world",
    "half of a brace": b"{",
    "not utf-8": b'{"name":"\xff\xfe"}',
    "a bomb of brackets": b"[" * 300_000,
    "a bomb of keys": b'{"a":' * 100_000,
}


@dataclass(frozen=True)
class Samples:
    """Messages of one format that all hold the value 2.5 at 2023-11-14T22:13:20Z.

    Attributes:
        good: one with at least two labels.
        reordered: the same point, its labels the other way round.
        other: a point of another series.
        bad: messages of the right encoding that are not of the format.
        valid: what of ``GARBAGE`` is a message, if an empty one, in this format.
    """

    good: bytes
    reordered: bytes
    other: bytes
    bad: list[bytes]
    valid: set[str] = field(default_factory=set)


def otlp(*labels: tuple[str, str]) -> MetricsData:
    attributes = [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in labels]
    point = NumberDataPoint(as_double=VALUE, time_unix_nano=SECONDS * 10**9, attributes=attributes)
    metrics = [Metric(name="m", gauge=Gauge(data_points=[point]))]
    return MetricsData(
        resource_metrics=[ResourceMetrics(scope_metrics=[ScopeMetrics(metrics=metrics)])]
    )


def prometheus(**labels: str) -> bytes:
    return json.dumps(
        {"value": "2.5", "timestamp": RFC_3339, "name": "m", "labels": {"__name__": "m", **labels}}
    ).encode()


def telegraf(**tags: str) -> bytes:
    return json.dumps(
        {"fields": {"f": 2.5}, "name": "m", "tags": tags, "timestamp": SECONDS}
    ).encode()


def collectd(**names: str) -> bytes:
    return json.dumps(
        [{"values": [2.5], "dstypes": ["gauge"], "dsnames": ["value"], "time": SECONDS,
          "plugin": "p", "type": "t", **names}]
    ).encode()  # fmt: skip


def vector(**tags: str) -> bytes:
    return json.dumps(
        {
            "name": "m",
            "tags": tags,
            "timestamp": RFC_3339,
            "kind": "absolute",
            "gauge": {"value": 2.5},
        }
    ).encode()


def remote_write(encoding: str) -> Samples:
    """Return samples that the package of Prometheus's own messages writes."""

    def write(*labels: tuple[str, str]) -> bytes:
        sample = {"value": VALUE, "timestamp": SECONDS * 1000}
        return compress(
            request(encoding, one_series("m", sample, labels=labels)).SerializeToString()
        )

    good = write(("a", "1"), ("b", "2"))
    return Samples(good, write(("b", "2"), ("a", "1")), write(("a", "1"), ("b", "3")), [good[:-3]])


A_B, B_A, OTHER = {"a": "1", "b": "2"}, {"b": "2", "a": "1"}, {"a": "1", "b": "3"}
COLLECTD = Samples(
    collectd(host="h", type_instance="x"), collectd(type_instance="x", host="h"),
    collectd(host="h", type_instance="y"), [b"[1]", b'[{"values":[1]}]', b"{}"],
)  # fmt: skip

SAMPLES = {
    "otlp_proto": Samples(
        otlp(("a", "1"), ("b", "2")).SerializeToString(),
        otlp(("b", "2"), ("a", "1")).SerializeToString(),
        otlp(("a", "1"), ("b", "3")).SerializeToString(),
        [otlp(("a", "1")).SerializeToString()[:-3]],
    ),
    "otlp_json": Samples(
        as_json(otlp(("a", "1"), ("b", "2"))), as_json(otlp(("b", "2"), ("a", "1"))),
        as_json(otlp(("a", "1"), ("b", "3"))), [b"{}", b"[]", b'{"resourceMetrics":5}'],
    ),
    "influx": Samples(
        b"m,a=1,b=2 value=2.5 1700000000000000000", b"m,b=2,a=1 value=2.5 1700000000000000000",
        b"m,a=1,b=3 value=2.5 1700000000000000000", [b"m,a=1", b"m value=", b"m,a= value=1 1"],
    ),
    "prometheus_remote_write": remote_write("prometheus_remote_write"),
    "prometheus_remote_write_v2": remote_write("prometheus_remote_write_v2"),
    "prometheus_json": Samples(
        prometheus(**A_B), prometheus(**B_A), prometheus(**OTHER), [b"{}", b"[]", b'{"value":"x"}']
    ),
    "telegraf_json": Samples(
        telegraf(**A_B), telegraf(**B_A), telegraf(**OTHER), [b"{}", b"[]", b'{"metrics":[{}]}']
    ),
    "collectd_json": COLLECTD,
    "collectd_json_totals": COLLECTD,
    "vector_json": Samples(
        vector(**A_B), vector(**B_A), vector(**OTHER), [b"{}", b"[]", b'{"log":{}}']
    ),
}  # fmt: skip

many = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
encodings = pytest.mark.parametrize("encoding", list(DECODERS))


def decode(encoding: str, *messages: bytes) -> Decoded:
    return DECODERS[encoding].decode(list(messages))


def registry() -> SeriesRegistry:
    return SeriesRegistry("t", [], Enricher(NoChanges()))


def rows(decoded: Decoded) -> list[tuple[object, ...]]:
    return sorted(decoded.points.rows())


def test_every_decoder_has_its_samples_here():
    assert SAMPLES.keys() == DECODERS.keys()


@encodings
def test_no_messages_are_no_points(encoding):
    decoded = decode(encoding)
    assert decoded.points.height == len(decoded.distributions) == 0
    assert decoded.points.schema == POINTS
    assert decoded.rejected == decoded.skipped == {}
    assert decoded.describe(np.empty(0, np.intp)).streams.height == 0


@encodings
def test_a_message_is_its_point(encoding):
    decoded = decode(encoding, SAMPLES[encoding].good)
    assert decoded.points.select("message", "ts", "value").rows() == [(0, SECONDS * 10**9, VALUE)]
    assert decoded.rejected == decoded.skipped == {}


@many
@given(
    st.one_of(
        st.integers(-(10**25), 10**25).map(str),
        st.integers(10**19, 2**64).map(str),
        st.decimals(0, 100, places=25).map(lambda number: f"{number:f}"),
    )
)
@example("18446744063709551614")  # 64 bits hold it, 19 digits of it do not tell to which double
@example("-18446744063709551614")
@pytest.mark.parametrize("encoding", [e for e in DECODERS if b"2.5" in SAMPLES[e].good])
def test_numbers_of_many_digits_are_right_to_the_last_bit(encoding, text):
    sample = SAMPLES[encoding].good.replace(b"2.5", text.encode())
    decoded = decode(encoding, sample, sample + b" " * (encoding != "influx"))
    assert decoded.rejected == decoded.skipped == {}
    assert decoded.points["value"].to_list() == [float(text)] * 2


@encodings
def test_the_order_of_labels_does_not_matter(encoding):
    samples = SAMPLES[encoding]
    resolved = registry().resolve(decode(encoding, samples.good, samples.reordered, samples.other))
    new = resolved.new
    assert new["identity"].n_unique() == new["series"].n_unique() == 2
    by_raw = dict(zip(decode(encoding, samples.good).points["raw"], [0], strict=True))
    assert len(by_raw) == 1


@encodings
def test_a_raw_identity_is_the_same_from_poll_to_poll(encoding):
    samples = SAMPLES[encoding]
    first = decode(encoding, samples.good, samples.other).points["raw"].to_list()
    again = decode(encoding, samples.other, GARBAGE["text"], samples.good).points["raw"].to_list()
    assert first == again[::-1]
    assert first[0] != first[1]


@encodings
def test_a_poll_cut_in_two_gives_what_it_gives_whole(encoding):
    samples = SAMPLES[encoding]
    poll = [
        samples.good,
        samples.bad[0],
        samples.other,
        samples.reordered,
        GARBAGE["half of a brace"],
    ]
    whole = decode(encoding, *poll)
    for cut in range(len(poll) + 1):
        front, back = decode(encoding, *poll[:cut]), decode(encoding, *poll[cut:])
        moved = back.points.with_columns(pl.col("message") + pl.lit(cut, pl.UInt32))
        assert sorted(front.points.rows() + moved.rows()) == rows(whole)
        assert (
            front.rejected.keys() | {cut + index for index in back.rejected}
            == whole.rejected.keys()
        )


@encodings
@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_rejected_with_a_reason_and_neighbours_survive(encoding, name):
    good = SAMPLES[encoding].good
    decoded = decode(encoding, good, GARBAGE[name], good)
    assert decoded.points["message"].to_list() == [0, 2]
    if name not in SAMPLES[encoding].valid:
        assert decoded.rejected.keys() == {1}
        assert decoded.rejected[1].strip()
        assert "\n" not in decoded.rejected[1]
        assert len(decoded.rejected[1]) < 500


@encodings
def test_what_is_not_of_the_format_is_rejected_with_a_reason(encoding):
    samples = SAMPLES[encoding]
    poll = [samples.good, *samples.bad, samples.good]
    decoded = decode(encoding, *poll)
    assert decoded.rejected.keys() == set(range(1, len(poll) - 1))
    assert all(reason and "\n" not in reason for reason in decoded.rejected.values())
    assert decoded.points["message"].to_list() == [0, len(poll) - 1]


@encodings
def test_a_poll_of_nothing_but_garbage_is_no_points(encoding):
    decoded = decode(encoding, *SAMPLES[encoding].bad, GARBAGE["text"])
    assert decoded.points.height == len(decoded.distributions) == 0
    assert len(decoded.rejected) == len(SAMPLES[encoding].bad) + 1


@encodings
@many
@given(garbage=st.one_of(st.binary(max_size=60), st.text(max_size=30).map(str.encode)))
def test_no_bytes_make_a_decoder_raise(encoding, garbage):
    good = SAMPLES[encoding].good
    resolved = registry().resolve(decode(encoding, good, garbage, good))
    mine = resolved.points.filter(pl.col("message") != 1)
    assert mine["message"].to_list() == [0, 2]
    assert mine["value"].to_list() == [VALUE, VALUE]


@encodings
@many
@given(data=st.data())
def test_a_damaged_message_harms_nobody(encoding, data):
    samples = SAMPLES[encoding]
    bad = data.draw(damaged(data.draw(st.sampled_from([samples.good, samples.other]))))
    decoded = decode(encoding, samples.good, bad, samples.other)
    resolved = registry().resolve(decoded)
    mine = resolved.points.filter(pl.col("message") != 1)
    assert mine.sort("message")["message"].to_list() == [0, 2]
    for index in decoded.rejected:
        assert index == 1
        assert index not in decoded.points["message"].to_list()
    assert np.isfinite(decoded.points["value"].to_numpy()).all()


@encodings
def test_five_megabytes_of_garbage_end_soon(encoding):
    good = SAMPLES[encoding].good
    for garbage in (bytes(5_000_000), b"{" * 5_000_000, good[:-1] * (5_000_000 // len(good))):
        decoded = decode(encoding, good, garbage)
        assert decoded.points["message"].to_list().count(0) == 1
