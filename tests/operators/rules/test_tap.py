"""The tap: which series rules get, under which names, and what of their samples."""

import json
import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

from operators.contracts.distributions import exponential_bounds
from operators.rules.native_histogram import CUSTOM, NativeHistogram
from operators.rules.native_samples import histogram_of
from operators.rules.otlp_names import label_name, metric_name, number_text
from operators.rules.samples import STALE_BITS
from tests.flows.alerting_flow import remote_write
from tests.operators.decoders.otlp_reference import as_json
from tests.operators.decoders.remote_write_reference import STALE, v1
from tests.operators.rules.tapping import Tapping, loaded, samples_of

NOW = 1_767_225_600_000


def rules(*expressions: str) -> str:
    lines = "\n".join(f"  - {{alert: A{n}, expr: '{one}'}}" for n, one in enumerate(expressions))
    return f"groups:\n- name: g\n  rules:\n{lines}\n"


# The table of Prometheus' own tests of its translation (otlptranslator, metric_namer_test.go).
@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("requests", "", "counter", "requests_total"),
        ("cpu_usage", "1", "gauge", "cpu_usage_ratio"),
        ("items", "1", "counter", "items_total"),
        ("response_time", "ms", "gauge", "response_time_milliseconds"),
        ("memory_usage", "By", "gauge", "memory_usage_bytes"),
        ("requests", "1/s", "gauge", "requests_per_second"),
        ("throughput", "By/s", "gauge", "throughput_bytes_per_second"),
        ("custom_metric", "custom_unit", "gauge", "custom_metric_custom_unit"),
        ("custom_metric", "{custom}", "gauge", "custom_metric"),
        ("custom_metric", "By/{custom}", "gauge", "custom_metric_bytes"),
        ("requests_total", "", "counter", "requests_total"),
        ("cpu_usage_ratio", "1", "gauge", "cpu_usage_ratio"),
        ("response_time_seconds", "s", "gauge", "response_time_seconds"),
        ("metric__with__multiple__underscores", "unit__multiple__underscores", "gauge",
         "metric_with_multiple_underscores_unit_multiple_underscores"),
        ("custom_metric", "unit@with#special/chars", "gauge",
         "custom_metric_unit_with_special_per_chars"),
        ("@#$%", "", "gauge", ""),
        ("request_duration", "s", "", "request_duration_seconds"),
        ("uptime", "d", "gauge", "uptime_days"),
    ],
)  # fmt: skip
def test_metrics_have_the_names_that_prometheus_gives_them(name, unit, kind, expected):
    assert metric_name(name, unit, counts=kind == "counter", gauge=kind == "gauge") == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("label:with:colons", "label_with_colons"),
        ("label!with&special$chars)", "label_with_special_chars_"),
        ("label_with_foreign_characters_字符", "label_with_foreign_characters___"),
        ("123label", "key_123label"),
        ("_label_starting_with_underscore", "key_label_starting_with_underscore"),
        ("__label_starting_with_2underscores", "__label_starting_with_2underscores"),
        ("ようこそ", ""),
    ],
)
def test_labels_have_the_names_that_prometheus_gives_them(name, expected):
    assert label_name(name) == expected


def test_bounds_are_written_without_exponents():
    assert [number_text(x) for x in (1e-05, 1e21, 0.25, 10.0, math.inf)] == [
        "0.00001", "1000000000000000000000", "0.25", "10", "+Inf"
    ]  # fmt: skip


def test_only_what_rules_select_comes_through_with_markers_and_nan():
    tapping = Tapping(loaded(rules('up{job=~"w.*"} == 0')))
    labels = {"__name__": "up", "job": "web", "instance": "a"}
    body = remote_write(
        [
            (labels, 0, 1.0),
            (labels, 15, math.nan),
            (labels, 30, STALE),
            ({**labels, "job": "db"}, 0, 1.0),
            ({"__name__": "down", "job": "web"}, 0, 1.0),
        ],
        NOW / 1000,
    )
    found = samples_of(tapping.poll([(0, NOW + 60_000, body)]))
    assert found["labels"].unique().to_list() == ['{"__name__":"up","instance":"a","job":"web"}']
    assert found["ts"].to_list() == [(NOW + x) * 10**6 for x in (0, 15_000, 30_000)]
    bits = found["value"].to_numpy().view(np.uint64)
    assert bits[0] == np.float64(1.0).view(np.uint64)
    assert np.isnan(found["value"][1])
    assert bits[1] != STALE_BITS
    assert bits[2] == STALE_BITS


def test_samples_say_how_far_their_partition_was_before_their_message_however_it_is_polled():
    text = rules("m")

    def body(second: int) -> bytes:
        return remote_write([({"__name__": "m"}, second, 1.0)], NOW / 1000)

    messages = [
        (n % 2, NOW + 500_000, body(second)) for n, second in enumerate((5, 1, 9, 2, 7, 300, 8, 4))
    ]
    expected = {}
    for partition in (0, 1):
        reached = None
        for number, _, value in messages:
            if number == partition:
                second = {body(s): s for s in (5, 1, 9, 2, 7, 300, 8, 4)}[value]
                expected[partition, second] = reached
                reached = max(second, reached or 0)
    for cut in (1, 3, 8):
        tapping = Tapping(loaded(text))
        tapped = [
            item
            for begin in range(0, len(messages), cut)
            for item in tapping.poll(messages[begin : begin + cut])
        ]
        found = {
            (int(row["place"][-1]), row["ts"] // 10**9 - NOW // 1000): None
            if row["seen"] < 0
            else row["seen"] // 10**9 - NOW // 1000
            for row in samples_of(tapped).rows(named=True)
        }
        assert found == expected


def test_after_a_restart_what_was_written_is_not_written_again_and_the_rest_is_as_it_was():
    text = rules("m")

    def body(second: int) -> tuple[int, int, bytes]:
        return 0, NOW + 900_000, remote_write([({"__name__": "m"}, second, 1.0)], NOW / 1000)

    messages = [body(second) for second in (0, 60, 30, 120, 90, 180, 100)]
    whole = samples_of(Tapping(loaded(text)).poll(messages)).to_dicts()
    restarted = Tapping(loaded(text))
    # It is read again from where open windows need it; what was largest by then is in there.
    assert restarted.poll(messages[3:5], replay=True) == []
    assert samples_of(restarted.poll(messages[5:])).to_dicts() == whole[5:]


def otlp() -> MetricsData:
    data = MetricsData()
    resource = data.resource_metrics.add()
    for key, value in (
        ("service.name", "shop"),
        ("service.namespace", "eu"),
        ("service.instance.id", "i-1"),
        ("k8s.pod.name", "shop-0"),
        ("host.name", "h"),
    ):
        resource.resource.attributes.add(key=key).value.string_value = value
    scope = resource.scope_metrics.add()
    at = {"time_unix_nano": NOW * 10**6}

    def attribute(point, key="http.route", value="/a"):
        point.attributes.add(key=key).value.string_value = value

    gauge = scope.metrics.add(name="cpu.load", unit="1")
    attribute(gauge.gauge.data_points.add(as_double=0.5, **at))
    attribute(gauge.gauge.data_points.add(flags=1, **at), value="/gone")
    level = scope.metrics.add(name="queue.size", unit="1")
    level.sum.aggregation_temporality = 2
    level.sum.data_points.add(as_int=3, **at)
    counter = scope.metrics.add(name="http.requests", unit="{request}")
    counter.sum.aggregation_temporality, counter.sum.is_monotonic = 2, True
    attribute(counter.sum.data_points.add(as_int=7, **at))
    delta = scope.metrics.add(name="changes")
    delta.sum.aggregation_temporality, delta.sum.is_monotonic = 1, True
    delta.sum.data_points.add(as_int=7, **at)
    histogram = scope.metrics.add(name="http.duration", unit="s")
    histogram.histogram.aggregation_temporality = 2
    point = histogram.histogram.data_points.add(count=6, sum=9.5, **at)
    point.bucket_counts.extend([1, 0, 4, 1])
    point.explicit_bounds.extend([0.005, 1, 10])
    exponential = scope.metrics.add(name="native", unit="s").exponential_histogram
    exponential.aggregation_temporality = 2
    exponential.data_points.add(count=1, sum=1.0, zero_count=1, **at)
    scope.metrics.add(name="nothing").summary.data_points.add(**at).quantile_values.add(
        quantile=0.5, value=float("nan")
    )
    summary = scope.metrics.add(name="rpc.time", unit="ms")
    told = summary.summary.data_points.add(count=4, sum=8, **at)
    told.quantile_values.add(quantile=0.5, value=1.5)
    return data


@pytest.mark.parametrize("encoding", ["otlp_proto", "otlp_json"])
def test_otlp_has_the_names_labels_and_series_of_prometheus(encoding):
    body = otlp().SerializeToString()
    if encoding == "otlp_json":
        body = as_json(otlp())
    tapping = Tapping(loaded(rules('{__name__=~".+"}')), encoding, ["k8s.pod.name"])
    found = {}
    deltas = set()
    rows = samples_of(tapping.poll([(0, NOW, body)])).rows(named=True)
    (native,) = [row for row in rows if row["histogram"]]
    assert json.loads(native["labels"])["__name__"] == "native_seconds"
    assert native["histogram"] == [0, 1, 1.0, 0, 0, 1]
    (target,) = [row for row in rows if "target_info" in row["labels"]]
    assert json.loads(target["labels"]) == {
        "__name__": "target_info", "job": "eu/shop", "instance": "i-1", "k8s_pod_name": "shop-0",
        "host_name": "h",
    }  # fmt: skip
    for row in rows:
        if row in (native, target):
            continue
        labels = json.loads(row["labels"])
        assert (labels.pop("job"), labels.pop("instance")) == ("eu/shop", "i-1")
        assert labels.pop("k8s_pod_name") == "shop-0"
        found[tuple(labels.values())] = row["value"]
        if row["delta"]:
            deltas.add(labels["__name__"])
    stale = found.pop(("cpu_load_ratio", "/gone"))
    assert np.float64(stale).view(np.uint64) == STALE_BITS
    assert found == {
        ("cpu_load_ratio", "/a"): 0.5,
        ("queue_size",): 3.0,
        ("http_requests_total", "/a"): 7.0,
        ("changes_total",): 7.0,
        ("http_duration_seconds_count",): 6.0,
        ("http_duration_seconds_sum",): 9.5,
        ("http_duration_seconds_bucket", "0.005"): 1.0,
        ("http_duration_seconds_bucket", "1"): 1.0,
        ("http_duration_seconds_bucket", "10"): 5.0,
        ("http_duration_seconds_bucket", "+Inf"): 6.0,
        ("nothing_count",): 0.0,
        ("nothing_sum",): 0.0,
        ("rpc_time_milliseconds_count",): 4.0,
        ("rpc_time_milliseconds_sum",): 8.0,
        ("rpc_time_milliseconds", "0.5"): 1.5,
    }
    assert deltas == {"changes_total"}


def test_what_is_known_of_a_target_is_told_for_all_the_time_of_its_points():
    """At the first and the last of them, and within half of the lookback, as in Prometheus."""
    data = MetricsData()
    for instance, seconds in (("a", (0, 400, 10)), ("b", (5,)), ("a", (700,))):
        resource = data.resource_metrics.add()
        for key, value in (("service.instance.id", instance), ("cloud.region", "north")):
            resource.resource.attributes.add(key=key).value.string_value = value
        gauge = resource.scope_metrics.add().metrics.add(name="load").gauge
        for second in seconds:
            gauge.data_points.add(as_double=1, time_unix_nano=(NOW + second * 1000) * 10**6)
    alone = data.resource_metrics.add()  # It says nothing that job and instance do not say.
    alone.resource.attributes.add(key="service.instance.id").value.string_value = "c"
    alone.scope_metrics.add().metrics.add(name="load").gauge.data_points.add(
        as_double=1, time_unix_nano=NOW * 10**6
    )
    joined = 'load * on (instance) group_left (cloud_region) target_info{cloud_region!="south"}'
    for text, wanted in ((joined, True), ('target_info{cloud_region="south"}', False)):
        tapping = Tapping(loaded(rules(text)), "otlp_proto")
        found = samples_of(tapping.poll([(0, NOW + 900_000, data.SerializeToString())]))
        told = [
            (json.loads(row["labels"])["instance"], row["ts"] // 10**9 - NOW // 1000, row["value"])
            for row in found.filter(pl.col("labels").str.contains("target_info")).rows(named=True)
        ]
        assert sorted(told) == (
            [("a", at, 1.0) for at in (0, 150, 300, 450, 600, 700)] + [("b", 5, 1.0)]
            if wanted
            else []
        )


def test_explicit_histograms_are_native_where_a_rule_asks_for_them_by_name():
    tapping = Tapping(loaded(rules("http_duration_seconds")), "otlp_proto")
    found = samples_of(tapping.poll([(0, NOW, otlp().SerializeToString())]))
    (row,) = found.rows(named=True)
    assert json.loads(row["labels"]) == {
        "__name__": "http_duration_seconds", "job": "eu/shop", "instance": "i-1",
    }  # fmt: skip
    assert row["histogram"] == [1, 6, 9.5, 0.005, 1, 1, 1, 10, 5, math.inf, 6]
    histogram = histogram_of(np.array(row["histogram"]))
    assert histogram.bounds == (0.005, 1, 10)
    assert histogram.positive == {0: 1, 2: 4, 3: 1}


COUNTS = st.dictionaries(st.integers(-40, 40), st.integers(1, 10**6), max_size=6)


@given(st.integers(-4, 20), COUNTS, COUNTS, st.integers(0, 9), st.sampled_from([0.0, 1e-30]))
def test_buckets_have_their_schema_and_indexes_again(schema, positive, negative, zero, threshold):
    """Of bounds as decoders give them, and merged into Prometheus' finest where they are finer."""
    segments = [(-threshold, threshold, zero)] if zero else []
    for counts, sign in ((positive, 1), (negative, -1)):
        for index, count in counts.items():
            ends = exponential_bounds(schema, np.array([index - 1, index])) * sign
            if abs(ends[0]) > 1e-30 and abs(ends[1]) < math.inf:
                segments.append((*sorted(ends.tolist()), count))
    kept = [
        {
            index: count
            for index, count in counts.items()
            if (
                *sorted((exponential_bounds(schema, np.array([index - 1, index])) * sign).tolist()),
                count,
            )
            in segments
        }
        for counts, sign in ((positive, 1), (negative, -1))
    ]
    total = sum(count for _, _, count in segments)
    numbers = np.array([0, total, 1.5, *(x for one in sorted(segments) for x in one)], float)
    found = histogram_of(numbers)
    expected = NativeHistogram(
        schema, total, 1.5, threshold if zero else 0.0, zero, kept[0], kept[1]
    )
    if not kept[0] and not kept[1]:
        expected = replace(expected, schema=8)  # Nothing says which one it was.
    assert found == (expected if schema <= 8 else expected.coarser(8))


def test_native_histograms_of_remote_write_come_whole_with_their_end():
    labels = [("__name__", "lat"), ("job", "web")]
    request = v1["WriteRequest"]()
    series = request.timeseries.add(labels=[v1["Label"](name=n, value=v) for n, v in labels])
    series.histograms.add(
        count_int=7, sum=3.5, schema=1, zero_threshold=1e-3, zero_count_int=2, timestamp=NOW,
        positive_spans=[v1["BucketSpan"](offset=1, length=2)], positive_deltas=[3, -1],
    )  # fmt: skip
    series.histograms.add(
        count_int=6, sum=9, schema=-53, custom_values=[0.5, 1, 2], timestamp=NOW + 1000,
        positive_spans=[v1["BucketSpan"](offset=0, length=1), v1["BucketSpan"](offset=1, length=2)],
        positive_deltas=[1, 2, -1],
    )  # fmt: skip
    series.histograms.add(sum=STALE, timestamp=NOW + 2000)
    tapping = Tapping(loaded(rules("histogram_count(lat)")))
    found = samples_of(tapping.poll([(0, NOW + 60_000, request.SerializeToString())]))
    assert found["labels"].unique().to_list() == ['{"__name__":"lat","job":"web"}']
    assert found["series"].n_unique() == 1
    one, two, end = found.sort("ts").rows(named=True)
    assert histogram_of(np.array(one["histogram"])) == NativeHistogram(
        1, 7, 3.5, 1e-3, 2, {1: 3, 2: 2}
    )
    assert histogram_of(np.array(two["histogram"])) == NativeHistogram(
        CUSTOM, 6, 9, positive={0: 1, 2: 3, 3: 2}, bounds=(0.5, 1, 2)
    )
    assert end["histogram"] is None
    assert np.float64(end["value"]).view(np.uint64) == STALE_BITS


@pytest.mark.parametrize("encoding", ["otlp_proto", "otlp_json"])
def test_histograms_and_summaries_that_ended_have_markers_in_all_their_series(encoding):
    data = otlp()
    ended = MetricsData()
    ended.CopyFrom(data)
    for metric in ended.resource_metrics[0].scope_metrics[0].metrics:
        for point in getattr(metric, metric.WhichOneof("data")).data_points:
            point.flags = 1
            point.time_unix_nano += 15 * 10**9
            for emptied in ("count", "sum", "bucket_counts", "zero_count", "as_double", "as_int"):
                if emptied in point.DESCRIPTOR.fields_by_name:
                    point.ClearField(emptied)
    text = rules('{__name__=~".+"}', "http_duration_seconds")

    def told(*parts: MetricsData) -> list[dict]:
        tapping = Tapping(loaded(text), encoding)
        bodies = [
            as_json(part) if encoding == "otlp_json" else part.SerializeToString() for part in parts
        ]
        found = samples_of(tapping.poll([(0, NOW + 60_000, body) for body in bodies]))
        return found.filter(~pl.col("labels").str.contains("target_info")).rows(named=True)

    before, after = told(data), told(data, ended)[len(told(data)) :]
    series = {row["series"] for row in before}
    # Of a summary's quantile without a value there was no series; its end is told all the same.
    assert {row["series"] for row in after} >= series
    assert {json.loads(row["labels"])["__name__"] for row in after} == {
        json.loads(row["labels"])["__name__"] for row in before
    } | {"nothing"}
    assert all(np.float64(row["value"]).view(np.uint64) == STALE_BITS for row in after)
    assert all(row["histogram"] is None for row in after)
    assert {row["ts"] for row in after} == {(NOW + 15_000) * 10**6}
    # By themselves they have the same names.
    assert {row["series"] for row in told(ended)} == {row["series"] for row in after}
