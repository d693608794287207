"""OTLP's two encodings: the same data gives the same points, and garbage harms nobody."""

import json
import math
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from functools import reduce
from itertools import product

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numba.core import event
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
    Summary,
    SummaryDataPoint,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from flows.settings import Enrichment as NoChanges
from operators.contracts.decoder import Decoded, UndecodableError, decode_or_reject
from operators.contracts.distributions import Distributions
from operators.contracts.frames import ATTRIBUTES, POINTS, STREAMS
from operators.decoders import DECODERS
from operators.decoders.otlp.json_shapes import fault_of
from operators.series.enrichment import Enricher
from operators.series.registry import Resolved, SeriesRegistry
from tests.operators.decoders.json_reference import damaged
from tests.operators.decoders.otlp_reference import (
    Distributed,
    Measured,
    as_json,
    distributed,
    measured,
    rounded,
)

ENCODE: dict[str, Callable[[MetricsData], bytes]] = {
    "otlp_proto": lambda data: data.SerializeToString(),
    "otlp_json": as_json,
}
NANOSECOND = 1_700_000_000_000_000_001  # a float could not hold it

encodings = pytest.mark.parametrize("encoding", list(ENCODE))
every_encoding = pytest.mark.parametrize("encoding", list(DECODERS))


@encodings
def test_after_the_loops_are_compiled_no_message_has_to_wait_for_it(encoding):
    DECODERS[encoding].compile_kernels()
    compiled = []
    listener = Compilations(compiled)
    with event.install_listener("numba:compile", listener):
        at = HistogramDataPoint(time_unix_nano=5, count=1)
        decoded = decode(encoding, batch(gauge(point(1.0)), histogram(at)))
        decoded.describe(np.arange(2))
    assert compiled == []


class Compilations(event.Listener):
    """Notes what Numba compiles."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def on_start(self, event: event.Event) -> None:
        self.names.append(str(event.data))

    def on_end(self, event: event.Event) -> None:
        pass


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
    values = [m if isinstance(m, bytes) else ENCODE[encoding](m) for m in messages]
    return DECODERS[encoding].decode(values)


def described(decoded: Decoded, rows: np.ndarray) -> list[tuple[object, ...]]:
    """Return name, unit, kind, attributes and resource of the points at ``rows``."""
    description = decoded.describe(rows)
    assert description.streams.schema == STREAMS
    assert description.attributes.schema == description.resources.schema == ATTRIBUTES

    def pairs(attributes: pl.DataFrame) -> dict[int, dict[str, str]]:
        found: dict[int, dict[str, str]] = {}
        for owner, key, value in attributes.iter_rows():
            found.setdefault(owner, {})[key] = value
        return found

    attributes, resources = pairs(description.attributes), pairs(description.resources)
    return [
        (
            stream["name"], stream["unit"], stream["kind"],
            tuple(sorted(attributes.get(number, {}).items())),
            tuple(sorted(resources.get(stream["resource"], {}).items())),
        )
        for number, stream in enumerate(description.streams.to_dicts())
    ]  # fmt: skip


def listed(decoded: Decoded) -> list[Measured]:
    """Return the number points with their names, as the decoder tells them."""
    points = decoded.points
    assert points.schema == POINTS
    names = described(decoded, np.arange(points.height))
    return [
        Measured(row["message"], row["ts"], row["start"], row["value"], *name)
        for row, name in zip(points.to_dicts(), names, strict=True)
    ]


def listed_distributions(decoded: Decoded) -> list[Distributed]:
    """Return the points of histograms and summaries with their names, as the decoder tells them."""
    found = decoded.distributions
    assert len(found.lower) == len(found.upper) == len(found.weight) == found.offsets[-1]
    names = described(decoded, decoded.points.height + np.arange(len(found)))
    columns = (
        found.message, found.ts, found.start, found.count, found.sum, found.min, found.max,
        found.offsets[:-1], found.offsets[1:],
    )  # fmt: skip
    rows = zip(*(column.tolist() for column in columns), strict=True)
    segments = list(
        zip(found.lower.tolist(), found.upper.tolist(), found.weight.tolist(), strict=True)
    )
    told = []
    for (*stated, begin, end), name in zip(rows, names, strict=True):
        assert segments[begin:end] == sorted(segments[begin:end])
        numbers = [None if math.isnan(number) else number for number in stated[4:]]
        told.append(Distributed(*stated[:4], *numbers, tuple(segments[begin:end]), *name))
    return told


def to_twelve_digits(points: list[Distributed]) -> list[Distributed]:
    """Round all bounds: those of exponential buckets are as good as their power function."""
    return sorted(
        (
            point._replace(
                segments=tuple((rounded(low), rounded(high), n) for low, high, n in point.segments)
            )
            for point in points
        ),
        key=repr,
    )


def resolve(encoding: str, *messages: MetricsData | bytes) -> Resolved:
    registry = SeriesRegistry("default", ["service.name"], Enricher(NoChanges()))
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


def composites(inside: st.SearchStrategy[AnyValue]) -> st.SearchStrategy[AnyValue]:
    return st.one_of(
        st.lists(inside, max_size=3).map(lambda x: AnyValue(array_value=ArrayValue(values=x))),
        st.dictionaries(texts, inside, max_size=3).map(
            lambda x: AnyValue(
                kvlist_value=KeyValueList(values=[KeyValue(key=k, value=v) for k, v in x.items()])
            )
        ),
    )


nested = st.one_of(
    scalars, composites(scalars), composites(st.one_of(scalars, composites(scalars)))
)
values = st.one_of(scalars, nested)
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


stated = st.fixed_dictionaries(
    {
        "time_unix_nano": st.one_of(st.just(0), st.integers(1, 2**63 - 1)),
        "start_time_unix_nano": st.sampled_from([0, 1, 2**63 - 1]),
        "attributes": attributes,
        "flags": st.sampled_from([0, 0, 0, 1, 2]),
    }
)
aggregates = st.fixed_dictionaries(
    {}, optional={"sum": st.floats(), "min": st.floats(), "max": st.floats()}
)
weights = st.lists(st.one_of(st.just(0), st.integers(0, 9), st.integers(0, 2**50)), max_size=5)
# Now and then a count that the buckets do not add up to, or that none may have.
errors = st.sampled_from([0] * 12 + [1, 2**63])


@st.composite
def histogram_points(draw: st.DrawFn) -> HistogramDataPoint:
    counts = draw(weights)
    bound = st.one_of(doubles, st.floats())
    bounds = sorted(draw(st.lists(doubles, min_size=len(counts), max_size=len(counts))))[1:]
    if draw(st.integers(0, 5)) == 0:
        bounds = draw(st.lists(bound, max_size=4))
    total = draw(st.integers(0, 2**40)) if not counts else sum(counts)
    return HistogramDataPoint(
        **draw(stated), **draw(aggregates), count=total + draw(errors), bucket_counts=counts,
        explicit_bounds=bounds,
    )  # fmt: skip


@st.composite
def exponential_points(draw: st.DrawFn) -> ExponentialHistogramDataPoint:
    Buckets = ExponentialHistogramDataPoint.Buckets  # noqa: N806
    offset = st.one_of(st.integers(-20, 20), st.integers(-(2**31), 2**31 - 1))
    sides = [Buckets(offset=draw(offset), bucket_counts=draw(weights)) for _ in range(2)]
    zero = draw(st.integers(0, 3))
    total = zero + sum(sum(side.bucket_counts) for side in sides)
    threshold = st.one_of(st.just(0.0), st.floats(0, 4), st.floats())
    return ExponentialHistogramDataPoint(
        **draw(stated), **draw(aggregates), count=total + draw(errors), zero_count=zero,
        scale=draw(st.one_of(st.integers(-10, 20), st.integers(-(2**31), 2**31 - 1))),
        positive=sides[0], negative=sides[1], zero_threshold=draw(threshold),
    )  # fmt: skip


@st.composite
def summary_points(draw: st.DrawFn) -> SummaryDataPoint:
    quantile = st.one_of(st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]), st.floats())
    at = draw(st.lists(quantile, max_size=4, unique=True))
    if draw(st.integers(0, 3)):
        at = sorted(q for q in at if 0 <= q <= 1)
    return SummaryDataPoint(
        **draw(stated), count=draw(st.integers(0, 2**40)) + draw(errors), sum=draw(st.floats()),
        quantile_values=[
            SummaryDataPoint.ValueAtQuantile(quantile=q, value=draw(st.floats())) for q in at
        ],
    )  # fmt: skip


points_ = st.lists(data_points(), max_size=3)
temporalities = st.integers(0, 2)
data_ = st.one_of(
    points_.map(lambda p: {"gauge": Gauge(data_points=p)}),
    st.builds(
        lambda p, t, m: {"sum": Sum(data_points=p, aggregation_temporality=t, is_monotonic=m)},
        points_, temporalities, st.booleans(),
    ),
    st.builds(
        lambda p, t: {"histogram": Histogram(data_points=p, aggregation_temporality=t)},
        st.lists(histogram_points(), max_size=3), temporalities,
    ),
    st.builds(
        lambda p, t: {
            "exponential_histogram": ExponentialHistogram(data_points=p, aggregation_temporality=t)
        },
        st.lists(exponential_points(), max_size=3), temporalities,
    ),
    st.lists(summary_points(), max_size=3).map(lambda p: {"summary": Summary(data_points=p)}),
    st.just({}),
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
    numbers, skipped = measured(messages)
    distributions, also_skipped = distributed(messages)
    assert decoded.rejected == {}
    assert decoded.skipped == Counter(skipped) + Counter(also_skipped)
    assert sorted(listed(decoded)) == sorted(numbers)
    found = listed_distributions(decoded)
    assert to_twelve_digits(found) == to_twelve_digits(distributions)


@many
@given(messages=st.lists(batches, min_size=1, max_size=3))
def test_points_of_one_identity_have_one_number_and_others_another(messages):
    for encoding in ENCODE:
        decoded = decode(encoding, *messages)
        by_raw: dict[int, set[tuple[object, ...]]] = {}
        raws = [*decoded.points["raw"].to_list(), *decoded.distributions.raw.tolist()]
        for raw, name in zip(raws, described(decoded, np.arange(len(raws))), strict=True):
            by_raw.setdefault(raw, set()).add(name)
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


@many
@given(messages=st.lists(batches, min_size=1, max_size=2))
def test_distributions_are_the_same_to_the_last_bit_in_any_encoding(messages):
    proto, other = (
        decode(encoding, *messages).distributions for encoding in ("otlp_proto", "otlp_json")
    )
    # Encodings differ in which types of metric come first.
    mine, theirs = rows_of(proto), rows_of(other)
    assert sorted(mine) == sorted(theirs)


def rows_of(found: Distributions) -> list[bytes]:
    """Return all that is told of each point but its raw identity, as bytes."""
    single = [f.name for f in fields(found) if f.name not in ("raw", *SEGMENTS, "offsets")]
    return [
        b"".join(
            [
                *(getattr(found, name)[i].tobytes() for name in single),
                *(
                    getattr(found, name)[found.offsets[i] : found.offsets[i + 1]].tobytes()
                    for name in SEGMENTS
                ),
            ]
        )
        for i in range(len(found))
    ]


SEGMENTS = ("lower", "upper", "weight")


@encodings
@many
@given(garbage=st.one_of(st.binary(max_size=60), st.text(max_size=30).map(str.encode)))
def test_no_bytes_make_a_decoder_raise_and_good_neighbours_survive(encoding, garbage):
    good = batch(gauge(point(7.0)))
    decoded = decode(encoding, good, garbage, good)
    resolved = SeriesRegistry("t", [], Enricher(NoChanges())).resolve(decoded)
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


@many
@given(message=batches, data=st.data())
def test_of_a_damaged_message_is_read_what_opentelemetrys_own_parser_reads_or_nothing(
    message, data
):
    encoded = bytearray(message.SerializeToString())
    for _ in range(data.draw(st.integers(0, 2))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    decoded = decode("otlp_proto", bytes(encoded))
    try:
        theirs = MetricsData.FromString(bytes(encoded))
        mine = listed(decoded), listed_distributions(decoded)
    except (DecodeError, UndecodableError):
        return
    if not decoded.rejected:
        # Names aside: a field that stands twice is merged by some parsers and replaced by others.
        expected = measured([theirs])[0], distributed([theirs])[0]
        assert sorted(point[:4] for point in mine[0]) == sorted(point[:4] for point in expected[0])
        stated = [to_twelve_digits(points) for points in (mine[1], expected[1])]
        assert [p[:8] for p in stated[0]] == [p[:8] for p in stated[1]]


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
    decoded = decode(encoding, batch(gauge(*points)))
    assert decoded.points["value"].to_list() == [8.0]
    assert decoded.skipped == {"not_finite": 3, "no_value": 1, "stale": 2}


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


def histogram(*points: HistogramDataPoint, temporality: int = 1) -> Metric:
    return Metric(
        name="h", histogram=Histogram(data_points=points, aggregation_temporality=temporality)
    )


def exponential(**stated: object) -> Metric:
    point = ExponentialHistogramDataPoint(time_unix_nano=NANOSECOND, **stated)
    return Metric(
        name="e",
        exponential_histogram=ExponentialHistogram(data_points=[point], aggregation_temporality=2),
    )


def segments_of(decoded: Decoded) -> list[tuple[float, float, int]]:
    found = decoded.distributions
    columns = (found.lower.tolist(), found.upper.tolist(), found.weight.tolist())
    return list(zip(*columns, strict=True))


@encodings
def test_a_histograms_buckets_are_those_that_are_not_empty(encoding):
    point = HistogramDataPoint(
        time_unix_nano=5, start_time_unix_nano=2, count=6, sum=9.5, bucket_counts=[1, 0, 3, 2],
        explicit_bounds=[-1, 0, 2.5], max=7,
    )  # fmt: skip
    decoded = decode(encoding, batch(histogram(point)))
    assert segments_of(decoded) == [(-math.inf, -1, 1), (0, 2.5, 3), (2.5, math.inf, 2)]
    found = decoded.distributions
    assert (found.ts[0], found.start[0], found.count[0]) == (5, 2, 6)
    assert (found.sum[0], found.max[0]) == (9.5, 7)
    assert math.isnan(found.min[0])


@encodings
def test_a_histogram_without_buckets_is_one_from_end_to_end(encoding):
    point = HistogramDataPoint(time_unix_nano=5, count=4, sum=1.5)
    assert segments_of(decode(encoding, batch(histogram(point)))) == [(-math.inf, math.inf, 4)]


@encodings
def test_exponential_buckets_lie_around_zero_in_order(encoding):
    Buckets = ExponentialHistogramDataPoint.Buckets  # noqa: N806
    decoded = decode(
        encoding,
        batch(
            exponential(
                scale=0, count=17, zero_count=2, zero_threshold=1.5,
                positive=Buckets(offset=0, bucket_counts=[4, 0, 1]),
                negative=Buckets(offset=-1, bucket_counts=[5, 2, 3]),
            )
        ),
    )  # fmt: skip
    # The zero bucket reaches over smaller ones, so it comes between them.
    assert segments_of(decoded) == [
        (-4, -2, 3), (-2, -1, 2), (-1.5, 1.5, 2), (-1, -0.5, 5), (1, 2, 4), (4, 8, 1)
    ]  # fmt: skip


@encodings
def test_a_summary_is_its_quantiles_and_those_of_nothing_are_left_out(encoding):
    entries = [(0.5, 2.0), (0.9, math.nan), (1.0, -3.0)]
    point = SummaryDataPoint(
        time_unix_nano=5, count=3, sum=4.0,
        quantile_values=[
            SummaryDataPoint.ValueAtQuantile(quantile=q, value=v) for q, v in entries
        ],
    )  # fmt: skip
    decoded = decode(encoding, batch(Metric(name="s", summary=Summary(data_points=[point]))))
    assert segments_of(decoded) == [(0.5, 2.0, 0), (1.0, -3.0, 0)]
    assert decoded.describe(np.array([0])).streams["kind"].to_list() == [5]


MALFORMED = {
    "a bucket too few": {"count": 1, "bucket_counts": [1], "explicit_bounds": [1]},
    "bounds without counts": {"count": 0, "explicit_bounds": [1]},
    "bounds that fall": {"count": 3, "bucket_counts": [1, 1, 1], "explicit_bounds": [2, 1]},
    "bounds twice": {"count": 3, "bucket_counts": [1, 1, 1], "explicit_bounds": [1, 1]},
    "a bound that is no number": {"count": 0, "bucket_counts": [0, 0], "explicit_bounds": [math.nan]},
    "buckets of more than there is": {"count": 2, "bucket_counts": [3]},
    "buckets of less than there is": {"count": 4, "bucket_counts": [3]},
    "buckets that add up past 64 bits": {"count": 1, "bucket_counts": [2**63, 2**63 + 1], "explicit_bounds": [1]},
    "a count past 63 bits": {"count": 2**63},
    "something past infinity": {"count": 1, "bucket_counts": [0, 1], "explicit_bounds": [math.inf]},
}  # fmt: skip


@encodings
@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_histogram_is_counted_and_the_rest_of_the_message_goes_on(encoding, name):
    bad = HistogramDataPoint(time_unix_nano=5, **MALFORMED[name])
    good = HistogramDataPoint(time_unix_nano=5, count=1)
    decoded = decode(encoding, batch(histogram(bad, good), gauge(point(3.0))))
    assert decoded.skipped == {"malformed": 1}
    assert segments_of(decoded) == [(-math.inf, math.inf, 1)]
    assert decoded.points["value"].to_list() == [3.0]


@encodings
@pytest.mark.parametrize("scale", [-11, 21, 2**31 - 1, -(2**31)])
def test_a_scale_that_no_producer_uses_is_malformed(encoding, scale):
    assert decode(encoding, batch(exponential(scale=scale))).skipped == {"malformed": 1}


@encodings
@pytest.mark.parametrize("offset", [2**31 - 1, 1024, -1076, -(2**31)])
@pytest.mark.parametrize("side", ["positive", "negative"])
def test_a_bucket_past_all_doubles_is_malformed_unless_it_is_empty(encoding, offset, side):
    for count in (0, 1):
        buckets = ExponentialHistogramDataPoint.Buckets(offset=offset, bucket_counts=[count])
        decoded = decode(encoding, batch(exponential(scale=0, count=count, **{side: buckets})))
        assert decoded.skipped == ({"malformed": 1} if count else {})


@encodings
def test_histograms_that_differ_in_temporality_or_type_are_told_apart(encoding):
    at = HistogramDataPoint(time_unix_nano=5)
    metrics = [histogram(at, temporality=t) for t in (0, 1, 2)] + [exponential()]
    metrics[-1].name = "h"
    decoded = decode(encoding, batch(*metrics, gauge(point(1.0), name="h")))
    rows = np.arange(len(metrics) + 1)
    assert decoded.describe(rows).streams["kind"].to_list() == [0, 4, 3, 4, 4]
    assert len({*decoded.points["raw"].to_list(), *decoded.distributions.raw.tolist()}) == 5


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


@every_encoding
def test_no_messages_are_no_points(encoding):
    assert decode(encoding).points.height == 0


@every_encoding
def test_a_poll_of_nothing_but_garbage_is_no_points(encoding):
    decoded = decode(encoding, b"\xff\xff\xff", b"{", b"")
    assert decoded.points.height == 0
    assert decoded.rejected.keys() == {0, 1, 2}


GARBAGE = {
    "otlp_proto": {
        "empty": b"", "text": b"hello, world", "json": b'{"resourceMetrics":[]}',
        "cut off": batch(gauge(point())).SerializeToString()[:-3], "zeros": bytes(20),
        "not utf-8 in a name": b"\x0a\x08\x12\x06\x12\x04\x0a\x02\xff\xfe",
        "a group that ends as another": b"\x0a\x02\x12\x00\xa3\x06\xac\x06",
        "a group without an end": b"\x0a\x02\x12\x00\xa3\x06", "an end without a group": b"\x0a\x00\xa4\x06",
        "groups too deep": b"\x0a\x00" + b"\xa3\x06" * 101 + b"\xa4\x06" * 101,
        "an integer too long": b"\x0a\x00\x10" + b"\xff" * 10 + b"\x01",
        "a length past the end": b"\x0a\x7f\x00", "a number as a message": b"\x08\x05",
        "a length past all memory": b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
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
        "a metric of two types": b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{},"sum":{}}]}]}]}',
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


def enclosed(field: int, content: bytes) -> bytes:
    """Return a field of type message with up to two million bytes of content."""
    size = len(content)
    length = [size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]
    return bytes([field << 3 | 2, *length]) + content


def with_attribute(encoded: bytes) -> bytes:
    """Return a message with one point, whose attribute is ``encoded`` whatever it is."""
    number = point(1.0).SerializeToString() + enclosed(7, encoded)
    return enclosed(
        1, enclosed(2, enclosed(2, enclosed(1, b"m") + enclosed(5, enclosed(1, number))))
    )


@pytest.mark.parametrize(
    "attribute",
    [
        b"\x13" * 300_000,  # groups in groups, of which ptars follows any number
        enclosed(2, b"\x13" * 300_000),
        enclosed(2, enclosed(5, b"\x0a\x7f")),  # a list that is cut off
        enclosed(2, enclosed(6, b"\x0a\x7f")),  # a map that is
        enclosed(1, b"\xff"),
        enclosed(2, enclosed(5, enclosed(1, enclosed(1, b"\xff")))),
        enclosed(2, reduce(lambda inner, _: enclosed(5, enclosed(1, inner)), range(200), b"")),
    ],
    ids=range(7),
)  # fmt: skip
def test_no_attribute_is_bad_enough_to_raise(attribute):
    good = batch(gauge(point(3.0, attributes=[kv("a", "b")]))).SerializeToString()
    resolved = resolve("otlp_proto", good, with_attribute(attribute), good)
    assert resolved.rejected.keys() == {1}
    assert resolved.rejected[1].startswith("not OTLP attributes in protobuf: ")
    assert resolved.points["message"].to_list() == [0, 2]


def test_nobody_can_write_an_attribute_that_hides_what_stands_before_it():
    """Products of a hash's constants are zero where these stand in a message themselves."""
    constants = (0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3, 0)
    for constant, place in product(constants, range(16)):
        raws = decode(
            "otlp_proto",
            *(
                with_attribute(enclosed(1, first * place + struct.pack("<Q", constant) + b"x" * 16))
                for first in (b"a", b"b")
            ),
        ).points["raw"]
        assert raws.n_unique() == (2 if place else 1)


@pytest.mark.parametrize("different", [False, True])
def test_thousands_of_bad_attributes_are_thousands_of_dead_letters(different):
    bad = [with_attribute(enclosed(1, b"\xff%d" % (n * different))) for n in range(3000)]
    good = batch(gauge(point(3.0))).SerializeToString()
    resolved = resolve("otlp_proto", *bad, good)
    assert resolved.rejected.keys() == set(range(3000))
    assert resolved.points["message"].to_list() == [3000]


def test_a_damaged_resource_rejects_the_messages_that_have_it_and_no_other():
    of_point = batch(gauge(point(3.0))).SerializeToString()
    good = enclosed(1, enclosed(1, enclosed(1, enclosed(1, b"k"))) + of_point[2:])
    bad = enclosed(1, enclosed(1, b"\x0a\x7f") + of_point[2:])
    resolved = resolve("otlp_proto", good, bad, good, bad)
    assert resolved.rejected.keys() == {1, 3}
    assert resolved.points["message"].to_list() == [0, 2]


# What only JSON has: texts that Polars parses as one list.


def test_what_one_message_leaves_open_no_other_closes():
    halves = [b'{"resourceMetrics":[{"x":"', b'"}]}']
    two = b'{"resourceMetrics":[{}]},{"resourceMetrics":[{}]}'
    good = as_json(batch(gauge(point(3.0))))
    decoded = decode("otlp_json", good, *halves, two, good)
    assert decoded.rejected.keys() == {1, 2, 3}
    assert decoded.points["message"].to_list() == [0, 4]


@pytest.mark.parametrize(
    "text",
    [
        rb'{"resourceMetrics":[{"x":"\ud800"}]}',
        rb'{"resourceMetrics":[{"x":"\udc00\ud800"}]}',
        rb'{"resourceMetrics":[{"\ud83d\u0041":1}]}',
        b'\x0b{"resourceMetrics":[{}]}',
        b'{"resourceMetrics":[{}]}\x0c',
        b'[{}],"x":[{}]',
        b"[{}]}",
        b'{"resourceMetrics":[{"x":"\\"}]}',
    ],
)
def test_what_is_no_json_document_is_refused_alone_and_among_others(text):
    assert decode("otlp_json", text).rejected.keys() == {0}
    assert decode("otlp_json", as_json(batch(gauge(point())))[:-1], text).rejected.keys() == {0, 1}


def test_a_pair_of_surrogates_is_a_character():
    resolved = resolve(
        "otlp_json",
        as_json(batch(gauge(point(3.0), name="\N{WATER WAVE}"))),
        as_json(batch(gauge(point(3.0), name="x"))).replace(b'"x"', rb'"\uD83C\udf0a"'),
    )
    assert resolved.rejected == {}
    assert resolved.new["name"].to_list() == ["\N{WATER WAVE}"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"name": ["m"]}, "resourceMetrics[0].scopeMetrics[0].metrics[0].name is not a text"),
        ({"gauge": {"dataPoints": {}}}, "metrics[0].gauge.dataPoints is not an array"),
        ({"gauge": {"dataPoints": [{"flags": "1"}]}}, "dataPoints[0].flags is not a number"),
        ({"gauge": [], "x\ny": "\v"}, "metrics[0].gauge is not an object"),
        ({"sum": {}}, "a metric of two types"),
    ],
)
def test_the_reason_says_what_is_wrong_where(changed, reason):
    document = json.loads(as_json(batch(gauge(point()))))
    document["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0] |= changed
    assert reason in decode("otlp_json", json.dumps(document).encode()).rejected[0]


def test_a_flood_of_garbage_in_json_costs_little():
    good = as_json(batch(gauge(point(3.0))))
    bad = [good.replace(b'"m"', b'{"a":%d}' % n) if n % 3 else good[: n % 90] for n in range(1500)]
    values = [message for two in zip(bad, [good] * len(bad), strict=True) for message in two]
    decode("otlp_json", *values[:4])
    began = time.process_time()
    decoded = decode("otlp_json", *values)
    assert time.process_time() - began < 2
    assert decoded.rejected.keys() == set(range(0, 3000, 2))


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_fault_of_a_message_is_found_if_polars_finds_one(data):
    text = data.draw(damaged(as_json(data.draw(batches))))
    decoded = decode("otlp_json", text)
    fault = fault_of(text)
    if fault is not None:
        assert decoded.rejected.keys() == {0}
    among = decode("otlp_json", text, b'{"resourceMetrics":5}')
    assert among.rejected.get(0) == decoded.rejected.get(0)
    assert among.points.equals(decoded.points)


# What only protobuf has: fields in any order, twice, packed or not.


def test_of_a_oneof_the_last_one_wins_and_equal_ones_merge():
    parts = [gauge(point(1.0)), histogram(HistogramDataPoint(time_unix_nano=5)), gauge(point(2.0)),
             gauge(point(3.0))]  # fmt: skip
    metric = b"".join(part.SerializeToString() for part in parts)
    message = MetricsData.FromString(enclosed(1, enclosed(2, enclosed(2, metric))))
    assert [p.as_double for p in message.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points] == [2.0, 3.0]  # fmt: skip
    decoded = decode("otlp_proto", enclosed(1, enclosed(2, enclosed(2, metric))))
    assert decoded.points["value"].to_list() == [2.0, 3.0]
    assert len(decoded.distributions) == 0


def test_counts_and_bounds_need_not_be_packed_nor_in_order():
    double = struct.Struct("<d").pack
    fixed = struct.Struct("<Q").pack
    of_histogram = b"".join(
        [b"\x39" + double(1.0), b"\x31" + fixed(4), b"\x21" + fixed(9), b"\x32\x08" + fixed(5),
         b"\x19" + fixed(7)]
    )  # fmt: skip
    buckets = b"\x10\x04\x12\x02\x01\x02\x08\x01"  # one alone, two packed, offset -1 behind them
    of_exponential = b"".join([enclosed(9, buckets), b"\x21" + fixed(7), b"\x19" + fixed(7)])
    metrics = [enclosed(9, enclosed(1, of_histogram)), enclosed(10, enclosed(1, of_exponential))]
    scope = b"".join(enclosed(2, metric) for metric in metrics)
    decoded = decode("otlp_proto", enclosed(1, enclosed(2, scope)))
    assert segments_of(decoded) == [
        (-math.inf, 1.0, 4), (1.0, math.inf, 5), (-4.0, -2.0, 2), (-2.0, -1.0, 1), (-1.0, -0.5, 4)
    ]  # fmt: skip


def test_a_resource_behind_its_scopes_and_groups_of_old_are_read_over():
    group = b"\xa3\x06\x08\x05\xab\x06\xac\x06\xa4\x06"  # field 100, with field 101 in it
    metric = gauge(point(1.0)).SerializeToString() + group
    resource = Resource(attributes=[kv("service.name", "shop")]).SerializeToString()
    message = enclosed(1, enclosed(2, enclosed(2, metric)) + enclosed(1, resource)) + group
    found = listed(decode("otlp_proto", message))
    assert [(p.value, p.resource) for p in found] == [(1.0, (("service.name", "shop"),))]


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


def test_a_key_may_be_escaped():
    message = as_json(batch(histogram(HistogramDataPoint(time_unix_nano=5, count=1))))
    decoded = decode("otlp_json", message.replace(b'"histogram"', b'"\\u0068isto\\u0067ram"'))
    assert segments_of(decoded) == [(-math.inf, math.inf, 1)]


def test_unknown_keys_are_ignored_and_a_bare_list_is_as_good():
    extra = json.loads(as_json(batch(gauge(point(2.0)))))
    extra["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]["gauge"]["dataPoints"][0][
        "new"
    ] = {"a": [1]}
    extra["alsoNew"] = 5
    bare = json.dumps(extra["resourceMetrics"], indent=2)
    decoded = decode("otlp_json", json.dumps(extra).encode(), f"\n{bare}\n".encode())
    assert decoded.points["value"].to_list() == [2.0, 2.0]


@given(bad=st.sets(st.integers(0, 99)), blank=st.sets(st.integers(0, 99)))
def test_exactly_the_bad_messages_of_a_poll_are_found_with_few_parses(bad, blank):
    values = [b"" if i in blank else b"bad" if i in bad else b"good" for i in range(100)]
    parsed: list[int] = []

    def parse(messages):
        parsed.append(len(messages))
        if b"bad" in messages:
            raise UndecodableError("is bad")
        return pa.array(messages, pa.binary())

    rows, kept, rejected = decode_or_reject(values, parse)
    assert rows.to_pylist() == [b"good"] * len(kept)
    assert kept.tolist() == [i for i in range(100) if i not in bad | blank]
    assert rejected == dict.fromkeys(bad - blank, "is bad") | dict.fromkeys(blank, "empty message")
    # Parts of seven, and then each message of the parts with a bad one.
    assert len(parsed) <= 2 + 15 + min(7 * len(bad), 100)
    assert sum(parsed) <= 300 + min(7 * len(bad), 100)


def map_of(**entries: AnyValue) -> AnyValue:
    values = [KeyValue(key=key, value=value) for key, value in entries.items()]
    return AnyValue(kvlist_value=KeyValueList(values=values))


ALIKE = {
    "a number and a text": [AnyValue(int_value=200), AnyValue(string_value="200")],
    "a truth and a text": [AnyValue(bool_value=True), AnyValue(string_value="true")],
    "a double and a text": [AnyValue(double_value=1.5), AnyValue(string_value="1.5")],
    "bytes and a text": [AnyValue(bytes_value=b"abc"), AnyValue(string_value="YWJj")],
    "an array and a text": [
        AnyValue(array_value=ArrayValue(values=[AnyValue(int_value=1)])),
        AnyValue(string_value="[1]"),
    ],
    "maps that differ below the first level": [
        map_of(a=map_of(b=AnyValue(int_value=1))),
        map_of(a=map_of(b=AnyValue(int_value=2))),
        map_of(a=map_of(b=AnyValue(string_value="1"))),
    ],
}


@pytest.mark.parametrize("alike", ALIKE.values(), ids=ALIKE)
@pytest.mark.parametrize("encoding", ["otlp_proto", "otlp_json"])
@pytest.mark.parametrize("on", ["point", "resource"])
def test_streams_whose_attributes_only_look_alike_are_not_one(encoding, alike, on):
    """As the data model has it: identity is of attributes with their types."""
    data = MetricsData()
    for value in alike:
        resource = data.resource_metrics.add()
        metric = resource.scope_metrics.add().metrics.add(name="requests")
        point = metric.sum.data_points.add(time_unix_nano=1, as_int=1)
        owner = point if on == "point" else resource.resource
        owner.attributes.add(key="code").value.CopyFrom(value)
    resolved = resolve(encoding, data)
    assert len(set(resolved.new["identity"])) == len(alike)
