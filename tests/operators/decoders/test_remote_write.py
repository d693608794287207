"""Prometheus remote write 1.0 and 2.0: what the protocol says, and what bytes may come instead."""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.settings import Enrichment as NoChanges
from operators.contracts.decoder import Decoded
from operators.contracts.frames import ATTRIBUTES, POINTS, STREAMS
from operators.decoders import DECODERS
from operators.decoders.prometheus.snappy_block import LARGEST
from operators.series.enrichment import Enricher
from operators.series.registry import SeriesRegistry
from tests.operators.decoders.remote_write_reference import STALE, Read, Reader, v1, v2

V1, V2 = "prometheus_remote_write", "prometheus_remote_write_v2"
NOW = 1_700_000_000_123
NANOSECONDS = NOW * 1_000_000

both = pytest.mark.parametrize("encoding", [V1, V2])
many = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def compress(body: bytes) -> bytes:
    """Return a block of Snappy, made by Arrow's copy of Google's library."""
    return pa.compress(body, "snappy", asbytes=True)  # type: ignore[no-any-return]


def request(encoding: str, *series: dict[str, Any], metadata: Any = ()) -> Any:
    """Return a request; a series has labels, samples, histograms, and in 2.0 type and unit."""
    if encoding == V1:
        made = v1["WriteRequest"]()
        for one in series:
            labels = [v1["Label"](name=name, value=value) for name, value in one["labels"]]
            samples = [v1["Sample"](**sample) for sample in one.get("samples", ())]
            histograms = [v1["Histogram"](**entry) for entry in one.get("histograms", ())]
            made.timeseries.add(labels=labels, samples=samples, histograms=histograms)
        for family, kind in metadata:
            made.metadata.add(metric_family_name=family, type=kind, help="What it is.")
        return made
    made = v2["Request"](symbols=[""])

    def ref(text: str) -> int:
        if text not in made.symbols:
            made.symbols.append(text)
        return list(made.symbols).index(text)

    for one in series:
        made.timeseries.add(
            labels_refs=[ref(text) for pair in one["labels"] for text in pair],
            samples=[v2["Sample"](**sample) for sample in one.get("samples", ())],
            histograms=[v2["Histogram"](**entry) for entry in one.get("histograms", ())],
            created_timestamp=one.get("created", 0),
        )
        if "type" in one:
            added = made.timeseries[-1]
            added.metadata.type, added.metadata.unit_ref = one["type"], ref(one.get("unit", ""))
            added.metadata.help_ref = ref("What it is.")
    return made


def one_series(
    name: str = "up", *samples: Any, labels: Any = (), value: float = 1.0, **more: Any
) -> dict[str, Any]:
    """Return a series with one sample, or the given ones."""
    return {
        "labels": [("__name__", name), *labels],
        "samples": samples or [{"value": value, "timestamp": NOW}],
        **more,
    }


def decode(encoding: str, *messages: Any) -> Decoded:
    values = [m if isinstance(m, bytes) else compress(m.SerializeToString()) for m in messages]
    return DECODERS[encoding].decode(values)


def listed(decoded: Decoded) -> list[Read]:
    """Return samples and histograms with their names, as the decoder tells them."""
    points, histograms = decoded.points, decoded.distributions
    assert points.schema == POINTS
    described = decoded.describe(np.arange(points.height + len(histograms)))
    assert described.streams.schema == STREAMS
    assert described.attributes.schema == described.resources.schema == ATTRIBUTES
    labels: dict[int, dict[str, str]] = {}
    for owner, key, value in described.attributes.iter_rows():
        labels.setdefault(owner, {})[key] = value
    rows: list[Any] = list(points.drop("raw").iter_rows())
    for i in range(len(histograms)):
        at = slice(histograms.offsets[i], histograms.offsets[i + 1])
        buckets = zip(
            histograms.lower[at].tolist(), histograms.upper[at].tolist(),
            histograms.weight[at].tolist(), strict=True,
        )  # fmt: skip
        value = (int(histograms.count[i]), float(histograms.sum[i]), tuple(buckets))
        rows.append((histograms.message[i], int(histograms.ts[i]), int(histograms.start[i]), value))
    return [
        Read(*row, stream["name"], stream["unit"], stream["kind"],
             tuple(sorted(labels.get(number, {}).items())))
        for number, (row, stream) in enumerate(
            zip(rows, described.streams.to_dicts(), strict=True)
        )
    ]  # fmt: skip


def assert_same(found: list[Read], expected: list[Read]) -> None:
    """Assert equality, to a rounding of the bounds of exponential buckets."""
    samples = [read for read in expected if not isinstance(read.value, tuple)]
    histograms = [read for read in expected if isinstance(read.value, tuple)]
    assert len(found) == len(expected)
    for ours, theirs in zip(found, samples + histograms, strict=True):
        assert ours._replace(value=0) == theirs._replace(value=0)
        if not isinstance(theirs.value, tuple):
            assert ours.value == theirs.value
            continue
        (count, total, buckets), (their_count, their_total, their_buckets) = (
            ours.value,
            theirs.value,
        )
        assert count == their_count
        assert total == their_total or (math.isnan(total) and math.isnan(their_total))
        # Buckets that begin and end alike, as those do that are too near to zero, have no order.
        buckets, their_buckets = sorted(buckets), sorted(their_buckets)
        assert [weight for *_, weight in buckets] == [weight for *_, weight in their_buckets]
        for ours_, theirs_ in zip(buckets, their_buckets, strict=True):
            assert ours_[:2] == pytest.approx(theirs_[:2], rel=1e-15, abs=0)


# Any requests at all.

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
names = st.builds(
    str.__add__,
    st.sampled_from(["a", "b", "c", ""]),
    st.sampled_from(["", "_total", "_count", "_sum", "_bucket", "_created"]),
)
labels = st.builds(
    lambda name, rest: [*([("__name__", name)] if name is not None else []), *rest.items()],
    st.none() | names,
    st.dictionaries(texts.filter(lambda key: key != "__name__"), texts, max_size=3),
)
times = st.sampled_from([NOW, NOW, NOW + 1, 0, -1, 2**63 - 1])
values = st.floats() | st.just(STALE)
kinds = st.integers(0, 9)


@st.composite
def histograms(draw: st.DrawFn, encoding: str) -> dict[str, Any]:
    """Draw a histogram; most are valid."""
    made: dict[str, Any] = {"timestamp": draw(times), "sum": draw(values)}
    made["reset_hint"] = draw(st.sampled_from([0, 0, 1, 2, 3]))
    custom = draw(st.booleans())
    schema = -53 if custom else draw(st.integers(-4, 8) | st.sampled_from([-5, 9]))
    total, sides, room = 0, ["positive"], 6
    is_float = draw(st.booleans())
    if custom:
        bounds = draw(st.lists(st.floats(), max_size=5) | st.just([-1.0, 0.5, 2.0]))
        made["custom_values"] = sorted(bounds) if draw(st.booleans()) else bounds
    else:
        made["zero_threshold"] = draw(st.sampled_from([0.0, 0.0, 1e-9, 1.0, -1.0, math.nan]))
        zero = draw(st.integers(0, 3))
        made["zero_count_float" if is_float else "zero_count_int"] = zero
        total += zero
        sides.append("negative")
    for side in sides:
        spans, counts = [], []
        for number in range(draw(st.integers(0, 2))):
            offset = draw(st.integers(-2000 if number == 0 and not custom else 0, 2))
            length = draw(st.integers(0, room // 2))
            spans.append({"offset": offset, "length": length})
            counts += draw(st.lists(st.integers(0, 5), min_size=length, max_size=length))
        if draw(st.integers(0, 9)) == 0:
            spans.append(
                {"offset": draw(st.integers(-2, 2)), "length": draw(st.integers(0, 2**32 - 1))}
            )
        made[f"{side}_spans"] = spans
        if is_float:
            made[f"{side}_counts"] = [
                count + draw(st.sampled_from([0, 0, 0.5])) for count in counts
            ]
        else:
            made[f"{side}_deltas"] = np.diff([0, *counts]).tolist()
        total += sum(counts)
    if draw(st.integers(0, 9)) == 0:
        total = draw(st.sampled_from([total + 1, 2**63, 0]))
    made["count_float" if is_float else "count_int"] = total
    made["schema"] = schema
    if encoding == V2:
        made["start_timestamp"] = draw(times)
    return made


@st.composite
def requests(draw: st.DrawFn, encoding: str) -> Any:
    """Draw a request with at least one series."""
    made = []
    for _ in range(draw(st.integers(1, 4))):
        samples = [
            {"value": draw(values), "timestamp": draw(times),
             **({"start_timestamp": draw(times)} if encoding == V2 else {})}
            for _ in range(draw(st.integers(0, 3)))
        ]  # fmt: skip
        one = {"labels": draw(labels), "samples": samples}
        one["histograms"] = draw(st.lists(histograms(encoding), max_size=2))
        if draw(st.booleans()):
            one |= {"type": draw(kinds), "unit": draw(texts), "created": draw(times)}
        made.append(one)
    families = st.lists(st.tuples(names, kinds), max_size=3)
    return request(encoding, *made, metadata=draw(families))


@both
@many
@given(data=st.data())
def test_any_requests_give_what_reading_them_one_by_one_gives(encoding, data):
    messages = data.draw(st.lists(requests(encoding), max_size=3))
    reader = Reader()
    for index, message in enumerate(messages):
        read: Callable[..., None] = reader.read_v1 if encoding == V1 else reader.read_v2
        read(index, message)
    decoded = decode(encoding, *messages)
    assert decoded.rejected == {}
    assert decoded.skipped == reader.skipped
    assert np.isfinite(decoded.points["value"].to_numpy()).all()
    assert_same(listed(decoded), reader.found)


@both
@many
@given(data=st.data())
def test_what_a_raw_identity_is_called_is_a_function_of_it(encoding, data):
    messages = data.draw(st.lists(requests(encoding), min_size=1, max_size=3))
    decoded = decode(encoding, *messages, *messages)
    raw = [*decoded.points["raw"], *decoded.distributions.raw.tolist()]
    called: dict[int, Any] = {}
    for number, read in zip(raw, listed(decoded), strict=True):
        name = (read.name, read.unit, read.kind, read.labels)
        assert called.setdefault(number, name) == name


@both
def test_segments_are_sorted_and_follow_each_other(encoding):
    spans = [{"offset": -3, "length": 4}]
    buckets = {"positive_spans": spans, "positive_deltas": [1, 0, 0, 0],
               "negative_spans": spans, "negative_deltas": [1, 0, 0, 0]}  # fmt: skip
    # The zero bucket reaches over the nearest buckets on both sides.
    zero = {"zero_threshold": 0.5, "zero_count_int": 2, "count_int": 10}
    histogram = {**buckets, **zero, "timestamp": NOW}
    found = decode(
        encoding,
        request(encoding, {"labels": [("__name__", "a")], "histograms": [histogram] * 2}),
    ).distributions
    assert found.offsets.tolist() == [0, 9, 18]
    assert found.lower[:9].tolist() == [-1, -0.5, -0.5, -0.25, -0.125, 0.0625, 0.125, 0.25, 0.5]
    assert found.upper[:9].tolist() == [-0.5, -0.25, 0.5, -0.125, -0.0625, 0.125, 0.25, 0.5, 1]
    assert found.weight[:9].tolist() == [1, 1, 2, 1, 1, 1, 1, 1, 1]
    assert np.array_equal(found.lower[:9], found.lower[9:])


def test_an_exact_histogram_of_the_specification_by_hand():
    """Schema 3 has eight buckets a power of two; bucket 8 ends at 2, bucket 9 begins there."""
    histogram = {
        "schema": 3, "count_int": 9, "sum": 20.0, "timestamp": NOW,
        "positive_spans": [{"offset": 8, "length": 2}, {"offset": 6, "length": 1}],
        "positive_deltas": [2, 1, 1],
    }  # fmt: skip
    series = {"labels": [("__name__", "a")], "histograms": [histogram]}
    found = decode(V1, request(V1, series)).distributions
    assert found.weight.tolist() == [2, 3, 4]
    assert found.upper.tolist() == pytest.approx([2.0, 2 ** (9 / 8), 4.0 * 2 ** (0 / 8)], rel=1e-15)
    assert found.lower.tolist() == pytest.approx([2 ** (7 / 8), 2.0, 2 ** (15 / 8)], rel=1e-15)
    assert (found.upper[0], found.lower[1], found.upper[2]) == (2.0, 2.0, 4.0)


# What identifies a series, and what it is.


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("http_requests_total", 2), ("latency_count", 2), ("latency_sum", 2),
        ("latency_bucket", 2), ("up", 0), ("total", 0), ("process_start_created", 0),
    ],
)  # fmt: skip
def test_without_metadata_the_name_tells_a_counter(name, kind):
    for encoding in (V1, V2):
        (read,) = listed(decode(encoding, request(encoding, one_series(name))))
        assert (read.name, read.kind) == (name, kind)


@pytest.mark.parametrize(
    ("name", "family", "type_", "kind"),
    [
        ("jobs", "jobs", 1, 2),  # a counter by an old name
        ("jobs_total", "jobs", 1, 2),  # OpenMetrics names the family without the suffix
        ("nodes_count", "nodes_count", 2, 0),  # a gauge that only sounds like a counter
        ("rtt", "rtt", 5, 0),  # a quantile of a summary
        ("rtt_count", "rtt", 5, 2),
        ("rtt_bucket", "rtt", 3, 2),
        ("rtt_bucket", "rtt", 4, 0),  # of a gauge histogram
        ("build_info", "build_info", 6, 0),
        ("state", "state", 7, 0),
        ("other_total", "jobs", 2, 2),
    ],
)
def test_a_type_in_the_same_message_goes_before_the_name(name, family, type_, kind):
    (read,) = listed(decode(V1, request(V1, one_series(name), metadata=[(family, type_)])))
    assert read.kind == kind


def test_in_2_0_type_and_unit_are_part_of_the_identity():
    made = [one_series("a", type=kind, unit=unit) for kind in (1, 2) for unit in ("", "s", "By")]
    decoded = decode(V2, request(V2, *made))
    assert decoded.points["raw"].n_unique() == 6
    assert [(read.kind, read.unit) for read in listed(decoded)] == [
        (2, ""), (2, "s"), (2, "By"), (0, ""), (0, "s"), (0, "By"),
    ]  # fmt: skip


def test_the_order_of_symbols_and_the_help_are_no_part_of_the_identity():
    first = request(V2, one_series("a", labels=[("x", "1"), ("y", "2")], type=1, unit="s"))
    second = v2["Request"](
        symbols=["", "2", "y", "1", "x", "s", "unused", "a", "__name__", "Other help."]
    )
    series = second.timeseries.add(labels_refs=[8, 7, 4, 3, 2, 1])
    series.samples.add(value=1.0, timestamp=NOW)
    series.metadata.type, series.metadata.unit_ref, series.metadata.help_ref = 1, 5, 9
    decoded = decode(V2, first, second)
    assert decoded.points["raw"].n_unique() == 1


@both
def test_a_series_is_the_same_in_every_message_and_labels_make_another(encoding):
    one, other = (one_series("a", labels=[("x", text)]) for text in ("1", "2"))
    decoded = decode(encoding, request(encoding, one, other), request(encoding, other, one))
    raw = decoded.points["raw"].to_list()
    assert raw[0] == raw[3] != raw[1] == raw[2]


def test_both_versions_say_the_same_series():
    labels = [("job", "api"), ("unit", "x\n\"'\\日本")]
    registry = SeriesRegistry("default", [], Enricher(NoChanges()))
    found = [
        registry.resolve(decode(encoding, request(encoding, one_series("a_total", labels=labels))))
        for encoding in (V1, V2)
    ]
    assert found[0].new.equals(found[1].new)


# Times and values.


@both
def test_milliseconds_become_nanoseconds(encoding):
    decoded = decode(encoding, request(encoding, one_series()))
    assert decoded.points["ts"].to_list() == [NANOSECONDS]


def test_2_0_says_since_when_a_counter_counts_at_the_sample_or_at_the_series():
    samples = [{"value": 1.0, "timestamp": NOW, "start_timestamp": start} for start in (0, 7)]
    decoded = decode(V2, request(V2, one_series("a", *samples, type=1, created=5)))
    assert decoded.points["start"].to_list() == [5_000_000, 7_000_000]
    assert decode(V1, request(V1, one_series("a_total"))).points["start"].to_list() == [0]


@both
def test_what_carries_nothing_to_aggregate_is_counted_by_reason(encoding):
    samples = [
        {"value": value, "timestamp": ts}
        for value, ts in [(STALE, NOW), (math.nan, NOW), (math.inf, NOW), (1.0, 0), (2.0, NOW)]
    ]
    nameless = {"labels": [("job", "x")], "samples": samples[:1]}
    decoded = decode(encoding, request(encoding, one_series("a", *samples), nameless))
    assert decoded.skipped == {"stale": 1, "not_finite": 2, "no_time": 1, "no_name": 1}
    assert decoded.points["value"].to_list() == [2.0]


@both
def test_a_gauge_histogram_is_counted_and_not_rolled_up(encoding):
    histogram = {"reset_hint": 3, "timestamp": NOW, "count_int": 0}
    made = {"labels": [("__name__", "a")], "histograms": [histogram]}
    decoded = decode(encoding, request(encoding, made))
    assert decoded.skipped == {"gauge_histogram": 1}
    assert len(decoded.distributions) == 0


def test_metadata_alone_is_no_data_and_no_error():
    decoded = decode(V1, request(V1, metadata=[("a", 1)]))
    assert (decoded.rejected, decoded.points.height) == ({}, 0)


# Bytes that are something else.


@both
def test_a_request_without_any_series_is_no_error(encoding):
    """Telegraf writes the one byte ``00`` for a batch that has texts only, every ten seconds."""
    assert compress(b"") == b"\x00"
    full = request(encoding, one_series(value=3.0)).SerializeToString()
    decoded = decode(encoding, b"\x00", compress(full), b"\x00")
    assert dict(decoded.rejected) == {}
    assert decoded.points["message"].to_list() == [1]


@both
def test_what_is_not_compressed_is_as_good(encoding):
    body = request(encoding, one_series(value=3.0)).SerializeToString()
    decoded = decode(encoding, body, compress(body))
    assert decoded.rejected == {}
    assert decoded.points["value"].to_list() == [3.0, 3.0]


@both
def test_the_other_version_is_rejected_with_a_reason(encoding):
    other = request(V2 if encoding == V1 else V1, one_series())
    decoded = decode(encoding, other)
    version = "1.0" if encoding == V1 else "2.0"
    assert decoded.rejected == {0: f"not remote write {version} in protobuf: no series in it"}


@both
def test_a_message_that_would_be_too_large_is_rejected_before_it_is_decompressed(encoding):
    bomb = compress(bytes(LARGEST + 1))
    assert len(bomb) < LARGEST / 20
    good = request(encoding, one_series())
    decoded = decode(encoding, bomb, good)
    assert decoded.rejected == {
        0: f"{LARGEST + 1} bytes once decompressed, and {LARGEST} are allowed"
    }
    assert decoded.points["message"].to_list() == [1]


@both
@pytest.mark.parametrize("field", [b"\x0a\x00", b"\x12\x00", b"\x1a\x00", b"\x22\x00"])
def test_next_to_nothing_repeated_a_million_times_is_rejected_before_it_is_parsed(encoding, field):
    """As columns, a million empty histograms would take hundreds of megabytes."""
    repeated = field * 1_000_000
    length = bytes([0x80, 0x89, 0x7A])  # two millions, as a varint
    tag = b"\x0a" if encoding == V1 else b"\x2a"
    good = request(encoding, one_series())
    for body in (repeated, tag + length + repeated):
        decoded = decode(encoding, compress(body), good)
        assert "most of them empty fields" in decoded.rejected[0]
        assert decoded.points["message"].to_list() == [1]


@both
def test_what_compresses_well_is_no_bomb(encoding):
    series = [one_series("a", labels=[("pod", "x" * 40)], value=0.0)] * 1000
    message = compress(request(encoding, *series).SerializeToString())
    assert len(request(encoding, *series).SerializeToString()) > 12 * len(message)
    decoded = decode(encoding, message)
    assert decoded.rejected == {}
    assert decoded.points.height == 1000


@both
def test_a_length_that_cannot_be_true_costs_no_memory(encoding):
    liar = b"\xff\xff\xff\xff\x0f" + b"\x00" * 10
    decoded = decode(encoding, liar)
    assert "15 bytes cannot hold the 4294967295 that it announces" in decoded.rejected[0]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a varint that never ends", b"\xff" * 12),
        ("a copy from before the begin", b"\x08\x09\x05"),
        ("a literal that is cut off", b"\x40\xf0\x3fabc"),
        ("nothing", b""),
        ("spaces", b"   "),
        ("text", b"up 1 1700000000\n"),
    ],
)
@both
def test_garbage_is_rejected_with_a_reason(encoding, name, data):
    decoded = decode(encoding, request(encoding, one_series()), data)
    assert decoded.points["message"].to_list() == [0]
    assert list(decoded.rejected) == [1]
    assert decoded.rejected[1]


def enclosed(field: int, content: bytes) -> bytes:
    """Return a field of type length, its length as a varint of three bytes."""
    size = len(content)
    return bytes([field << 3 | 2, size & 127 | 128, size >> 7 & 127 | 128, size >> 14]) + content


@both
@pytest.mark.parametrize("depth", [101, 300_000])
@pytest.mark.parametrize("closed", [True, False])
def test_groups_in_groups_do_not_overflow_the_stack(encoding, depth, closed):
    groups = b"\x13" * depth + b"\x14" * depth * closed
    series = {V1: 1, V2: 5}[encoding]
    for bad in (groups, enclosed(series, groups), enclosed(series, enclosed(2, groups))):
        decoded = decode(encoding, request(encoding, one_series()), bad)
        assert decoded.rejected.keys() == {1}
        assert "a group does not end" in decoded.rejected[1]
        assert decoded.points["message"].to_list() == [0]


@both
def test_packed_doubles_that_are_cut_off_are_no_histogram(encoding):
    """As protobuf's own parser has it; ptars takes what is there."""
    series, histogram = {V1: (1, 4), V2: (5, 3)}[encoding]
    body = enclosed(series, enclosed(histogram, b"\x82\x01\x03abc"))
    kind = (v1["WriteRequest"], v2["Request"])[encoding == V2]
    with pytest.raises(DecodeError):
        kind.FromString(body)
    assert "cut off" in decode(encoding, body).rejected[0]


@both
@many
@given(data=st.data())
def test_a_damaged_message_never_makes_a_decoder_raise_and_neighbours_survive(encoding, data):
    message = data.draw(requests(encoding))
    body = bytearray(message.SerializeToString())
    if compressed := data.draw(st.booleans()):
        body = bytearray(compress(bytes(body)))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, max(0, len(body) - 1)))
        change = data.draw(st.sampled_from(["cut", "flip", "insert"]))
        if change == "cut":
            del body[position:]
        elif change == "flip" and body:
            body[position] ^= data.draw(st.integers(1, 255))
        else:
            body[position:position] = data.draw(st.binary(max_size=3))
    damaged = bytes(body)
    if not compressed and data.draw(st.booleans()):
        damaged = compress(damaged)
    good = request(encoding, one_series("good", value=7.0))
    decoded = decode(encoding, good, damaged, good)
    listed(decoded)
    assert set(decoded.rejected) <= {1}
    neighbours = decoded.points.filter(decoded.points["message"] != 1)
    assert neighbours["value"].to_list() == [7.0, 7.0]
    if decoded.rejected:
        assert decoded.points["message"].to_list() == [0, 2]
        assert 1 not in decoded.distributions.message


@pytest.mark.parametrize(
    "label",
    [b"\x0a\x05ab", b"\x0a\x01\xff\x12\x01b", b"\x08\x01", b"\x0f", b"\x00\x00", b"\xff" * 11],
)
def test_a_label_that_is_not_one_rejects_its_message_and_no_other(label):
    series = b"\x0a" + bytes([len(label)]) + label
    bad = request(V1, one_series()).SerializeToString() + b"\x0a" + bytes([len(series)]) + series
    decoded = decode(V1, request(V1, one_series()), bad)
    assert decoded.points["message"].to_list() == [0]
    assert "label" in decoded.rejected[1]


def test_a_label_with_fields_in_another_order_or_unknown_is_read_all_the_same():
    name = (
        b"\x12\x01a" + b"\x18\x05" + b"\x21" + bytes(8) + b"\x2d" + bytes(4) + b"\x0a\x08__name__"
    )
    sample = v1["Sample"](value=2.0, timestamp=NOW).SerializeToString()
    series = b"\x0a" + bytes([len(name)]) + name + b"\x12" + bytes([len(sample)]) + sample
    decoded = decode(V1, b"\x0a" + bytes([len(series)]) + series)
    assert [(read.name, read.value) for read in listed(decoded)] == [("a", 2.0)]


@pytest.mark.parametrize(
    ("refs", "unit"), [([1, 2, 3], 0), ([1, 9], 0), ([1, 2**32 - 1], 0), ([1, 2], 3)]
)
def test_a_symbol_that_is_not_there_rejects_its_message_and_no_other(refs, unit):
    bad = v2["Request"](symbols=["", "__name__", "a"])
    series = bad.timeseries.add(labels_refs=refs)
    series.samples.add(value=1.0, timestamp=NOW)
    series.metadata.unit_ref = unit
    decoded = decode(V2, bad, request(V2, one_series()))
    assert decoded.points["message"].to_list() == [1]
    assert "symbol" in decoded.rejected[0]
    assert decoded.skipped == {}


@both
def test_a_flood_of_garbage_costs_in_proportion(encoding):
    """Ten times the garbage may take some ten times as long, and not a hundred times."""
    good = compress(request(encoding, one_series()).SerializeToString())
    garbage = compress(b"\x0a\xff\xff\xff\xff")

    def seconds(number: int) -> float:
        started = time.process_time()
        decoded = DECODERS[encoding].decode([garbage, good, garbage] * number)
        assert len(decoded.rejected) == 2 * number
        assert decoded.points.height == number
        return time.process_time() - started

    seconds(10)
    assert seconds(5_000) < 40 * max(seconds(500), 0.01)
