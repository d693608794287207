"""Metrics of Vector, against ``json`` row by row, and its own examples."""

# ruff: noqa: PLR0912 -- one branch a kind of metric

import json
import math
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.decoders import DECODERS
from tests.operators.decoders.json_reference import (
    Histogram,
    Point,
    anything,
    damaged,
    histograms,
    label_text,
    listed,
    texts,
    written,
)

GAUGE, DELTA, CUMULATIVE, DELTA_HISTOGRAM, CUMULATIVE_HISTOGRAM, SUMMARY = range(6)
DECODER = DECODERS["vector_json"]
TS = "2018-11-14T08:09:10Z"
NANOSECONDS = 1_542_182_950 * 10**9
many = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def tag_text(value: Any) -> str:
    if isinstance(value, list):
        several = sorted({each for each in value if each is not None})
        value = several if len(several) > 1 else (several[0] if several else None)
    return label_text(value)


def reference(
    messages: list[bytes],
) -> tuple[list[Point], list[Histogram], Counter[str]]:
    """Read messages one after the other."""
    points: list[Point] = []
    found: list[Histogram] = []
    skipped: Counter[str] = Counter()
    for index, message in enumerate(messages):
        metric = json.loads(message)
        metric = metric.get("metric", metric)
        space = metric.get("namespace")
        name = f"{space}_{metric['name']}" if space else metric["name"]
        labels = tuple(sorted((k, tag_text(v)) for k, v in (metric.get("tags") or {}).items()))
        absolute = metric["kind"] == "absolute"
        if metric.get("timestamp") is None:
            skipped["no_time"] += 1
            continue
        moment = datetime.fromisoformat(metric["timestamp"])
        ts = int(moment.timestamp()) * 10**9
        kind = CUMULATIVE_HISTOGRAM if absolute else DELTA_HISTOGRAM
        if "counter" in metric:
            value, kind = metric["counter"]["value"], CUMULATIVE if absolute else DELTA
            if value < 0 and not absolute:
                skipped["negative_delta"] += 1
            else:
                points.append(Point(index, ts, float(value), name, kind, labels))
        elif "gauge" in metric:
            value, kind = metric["gauge"]["value"], GAUGE if absolute else DELTA
            if value is None:
                skipped["not_finite"] += 1
            else:
                points.append(Point(index, ts, float(value), name, kind, labels))
        elif "set" in metric:
            points.append(Point(index, ts, len(metric["set"]["values"]), name, GAUGE, labels))
        elif "distribution" in metric:
            samples = [x for x in metric["distribution"]["samples"] if x["rate"]]
            values = [float(x["value"]) for x in samples]
            if not samples:
                skipped["no_value"] += 1
                continue
            total = 0.0
            for sample in samples:
                total += float(sample["value"]) * sample["rate"]
            segments = [(v, v, x["rate"]) for v, x in zip(values, samples, strict=True)]
            segments.sort(key=lambda each: each[:2])
            count = sum(x["rate"] for x in samples)
            found.append(
                Histogram(index, ts, count, total, min(values), max(values),
                          tuple(segments), name, kind, labels)
            )  # fmt: skip
        elif "aggregated_histogram" in metric:
            held = metric["aggregated_histogram"]
            segments, lower = [], -math.inf
            for bucket in held["buckets"]:
                limit = bucket["upper_limit"]
                upper = math.inf if limit in (None, "inf") else float(limit)
                segments.append((lower, upper, bucket["count"]))
                lower = upper
            rest = held["count"] - sum(x["count"] for x in held["buckets"])
            segments.append((lower, math.inf, rest))
            kept = tuple(each for each in segments if each[2])
            found.append(
                Histogram(index, ts, held["count"], float(held["sum"]), None, None, kept,
                          name, kind, labels)
            )  # fmt: skip
        elif "aggregated_summary" in metric:
            held = metric["aggregated_summary"]
            quantiles = sorted((x["quantile"], float(x["value"]), 0) for x in held["quantiles"])
            found.append(
                Histogram(index, ts, held["count"], float(held["sum"]), None, None,
                          tuple(quantiles), name, SUMMARY, labels)
            )  # fmt: skip
        else:
            skipped["sketch"] += 1
    return sorted(points), sorted(found, key=lambda each: each.message), skipped


doubles = st.floats(-1e12, 1e12)
counts = st.integers(0, 2**32 - 1)


@st.composite
def bucketed(draw: st.DrawFn) -> dict[str, Any]:
    limits: list[Any] = sorted(draw(st.sets(doubles, max_size=4)))
    last = draw(st.sampled_from(["none", "null", "inf"]))
    buckets = [{"upper_limit": limit, "count": draw(counts)} for limit in limits]
    held = sum(bucket["count"] for bucket in buckets)
    if last == "none":
        return {"buckets": buckets, "count": held + draw(counts), "sum": draw(doubles)}
    infinite = {"upper_limit": None if last == "null" else "inf", "count": draw(counts)}
    return {
        "buckets": [*buckets, infinite],
        "count": held + infinite["count"],
        "sum": draw(doubles),
    }


contents = st.one_of(
    doubles.map(lambda x: {"counter": {"value": x}}),
    (doubles | st.none()).map(lambda x: {"gauge": {"value": x}}),
    st.lists(texts, unique=True, max_size=4).map(lambda x: {"set": {"values": x}}),
    st.lists(st.fixed_dictionaries({"value": doubles, "rate": counts}), max_size=5).map(
        lambda x: {"distribution": {"samples": x, "statistic": "histogram"}}
    ),
    bucketed().map(lambda x: {"aggregated_histogram": x}),
    st.lists(
        st.fixed_dictionaries({"quantile": st.floats(0, 1), "value": doubles}), max_size=4
    ).map(lambda x: {"aggregated_summary": {"quantiles": x, "count": 5, "sum": 2.5}}),
    st.just({"sketch": {"sketch": {"AgentDDSketch": {"bins": {"k": [1], "n": [2]}}}}}),
)
tags = st.dictionaries(
    texts, st.one_of(texts, st.none(), st.lists(st.none() | texts, max_size=3)), max_size=3
)


@st.composite
def metrics(draw: st.DrawFn) -> dict[str, Any]:
    metric = {
        "name": draw(texts),
        "kind": draw(st.sampled_from(["absolute", "incremental"])),
        **draw(contents),
    }
    optional = {
        "namespace": texts | st.none(),
        "tags": tags | st.none(),
        "timestamp": st.none()
        | st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(
            lambda x: x.replace(microsecond=0, tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ),
        "interval_ms": st.integers(0, 10_000),
        "seen_by": anything,
    }
    for key, values in optional.items():
        if draw(st.integers(0, 3)):
            metric[key] = draw(values)
    return {"metric": metric} if draw(st.booleans()) else metric


@many
@given(st.data())
def test_metrics_written_in_any_way_are_what_json_reads(data):
    messages = [data.draw(written(data.draw(metrics()))).encode() for _ in range(4)]
    decoded = DECODER.decode(messages)
    points, found, skipped = reference(messages)
    assert decoded.rejected == {}
    assert listed(decoded) == points
    assert sorted(histograms(decoded), key=lambda each: each.message) == found
    assert decoded.skipped == skipped


@many
@given(st.data())
def test_a_damaged_metric_harms_no_other(data):
    good = json.dumps(data.draw(metrics())).encode()
    bad = data.draw(damaged(data.draw(written(data.draw(metrics()))).encode()))
    decoded = DECODER.decode([good, bad, good])
    points, found, _ = reference([good, good])
    assert [p._replace(message=0) for p in listed(decoded) if p.message != 1] == [
        p._replace(message=0) for p in points
    ]
    assert [h.segments for h in histograms(decoded) if h.message != 1] == [
        h.segments for h in found
    ]
    if 1 in decoded.rejected:
        assert "\n" not in decoded.rejected[1]
        assert 1 not in decoded.points["message"].to_list()


def metric(**content: Any) -> bytes:
    return json.dumps({"name": "m", "kind": "incremental", "timestamp": TS, **content}).encode()


def test_what_vector_documents():
    counter = b"""{"name":"foos","namespace":"vector","tags":{"key1":"v"},
        "timestamp":"2018-11-14T08:09:10.000000011Z","kind":"incremental","counter":{"value":100.0}}"""
    distribution = b"""{"metric":{"name":"glork","kind":"incremental","timestamp":"2018-11-14T08:09:10Z",
        "distribution":{"samples":[{"value":10.0,"rate":1}],"statistic":"histogram"}}}"""
    decoded = DECODER.decode([counter, distribution])
    assert listed(decoded) == [
        Point(0, NANOSECONDS + 11, 100.0, "vector_foos", DELTA, (("key1", "v"),))
    ]
    assert histograms(decoded) == [
        Histogram(
            1, NANOSECONDS, 1, 10.0, 10.0, 10.0, ((10.0, 10.0, 1),), "glork", DELTA_HISTOGRAM, ()
        )
    ]


@pytest.mark.parametrize(
    ("value", "label"),
    [("v", "v"), (None, ""), ([], ""), (["v"], "v"), (["v", None], "v"), (["b", "a"], '["a","b"]')],
)
def test_tags_with_no_value_one_and_several(value, label):
    decoded = DECODER.decode([metric(tags={"k": value}, gauge={"value": 1})])
    assert listed(decoded)[0].labels == (("k", label),)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"name": None}, "name"), ({"namespace": 5}, "namespace"), ({"tags": []}, "tags"),
        ({"timestamp": "now"}, "timestamp"), ({"timestamp": 5}, "timestamp"), ({"kind": "total"}, "kind"),
        ({"kind": None}, "kind"), ({"gauge": {}}, "numbers"), ({"gauge": {"value": "x"}}, "numbers"),
        ({"gauge": 5}, "kinds"), ({"counter": {"value": 1}}, "kinds"),
    ],
)  # fmt: skip
def test_a_metric_without_what_it_needs_is_rejected_for_that(changed, reason):
    decoded = DECODER.decode([metric(**({"gauge": {"value": 1}} | changed))])
    assert reason in decoded.rejected[0]
    assert decoded.points.height == 0


@pytest.mark.parametrize(
    "content",
    [
        {"buckets": [{"upper_limit": 2, "count": 1}, {"upper_limit": 1, "count": 1}], "count": 2, "sum": 1},
        {"buckets": [{"upper_limit": 2, "count": 3}], "count": 2, "sum": 1},
        {"buckets": [{"upper_limit": 2, "count": -1}], "count": 2, "sum": 1},
        {"buckets": [{"upper_limit": 2, "count": 0.5}], "count": 2, "sum": 1},
        {"buckets": [{"count": 1}], "count": 2, "sum": 1},
        {"buckets": [5], "count": 2, "sum": 1},
        {"buckets": [], "sum": 1},
        {"count": 1, "sum": 1},
    ],
)  # fmt: skip
def test_histograms_that_cannot_be_are_rejected(content):
    good = metric(aggregated_histogram={"buckets": [], "count": 0, "sum": 0})
    decoded = DECODER.decode([metric(aggregated_histogram=content), good])
    assert decoded.rejected.keys() == {0}
    assert len(decoded.distributions) == 1


def test_a_sum_that_no_double_holds_is_unknown():
    samples = [{"value": 1e308, "rate": 172}]
    message = metric(distribution={"samples": samples, "statistic": "histogram"})
    (found,) = histograms(DECODER.decode([message]))
    assert (found.sum, found.count, found.min) == (None, 172, 1e308)


@pytest.mark.parametrize("rates", [[2**53 - 1, 1], [2**53, 1], [2**53] * 1100])
def test_observations_are_counted_as_far_as_a_double_does(rates):
    samples = [{"value": number, "rate": rate} for number, rate in enumerate(rates)]
    held = {"buckets": [{"upper_limit": n, "count": rate} for n, rate in enumerate(rates)]}
    several = metric(distribution={"samples": samples, "statistic": "histogram"})
    bucketed = metric(aggregated_histogram={**held, "count": min(sum(rates), 2**53), "sum": 1})
    decoded = DECODER.decode([several, bucketed])
    if sum(rates) > 2**53:
        assert decoded.rejected.keys() == {0, 1}
    else:
        assert decoded.distributions.count.tolist() == [2**53, 2**53]


def test_a_log_is_no_metric():
    assert DECODER.decode([b'{"log":{"message":"hello"}}']).rejected.keys() == {0}


def test_thousands_of_samples_are_kept_in_order():
    samples = [{"value": (number * 7919) % 5003, "rate": 1} for number in range(5000)]
    decoded = DECODER.decode(
        [metric(distribution={"samples": samples, "statistic": "summary"})] * 3
    )
    for each in histograms(decoded):
        assert [lower for lower, _, _ in each.segments] == sorted(
            float(s["value"]) for s in samples
        )
