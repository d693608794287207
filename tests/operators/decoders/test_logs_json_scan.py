"""OTLP logs in JSON: what is scanned comes to the same as what a parser reads."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.decoders.otlp.logs_json import OtlpJsonLogs, _parsed

texts = st.one_of(
    st.text(st.sampled_from('ab"\\\n\u00e9\U0001f600\0/'), max_size=6),
    st.sampled_from(["service.name", "x"]),
)
whole = st.one_of(st.integers(-3, 30), st.integers(0, 2**63 - 1), st.integers(2**63, 2**65))
numbers = st.one_of(whole, whole.map(str), st.sampled_from(["", "x", "007", "-0", None, 1.5, True]))
scalars = st.one_of(
    texts.map(lambda each: {"stringValue": each}),
    numbers.map(lambda each: {"intValue": each}),
    st.booleans().map(lambda each: {"boolValue": each}),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda each: {"doubleValue": each}),
    st.just({"doubleValue": "NaN"}),
    st.sampled_from(
        [{}, None, 5, {"bytesValue": "QQ=="}, {"stringValue": 7}, {"x": 1}, {"int_value": "5"}]
    ),
)
values = st.one_of(
    scalars,
    st.lists(scalars, max_size=2).map(lambda each: {"arrayValue": {"values": each}}),
    st.lists(st.tuples(texts, scalars), max_size=2).map(
        lambda each: {"kvlistValue": {"values": [{"key": k, "value": v} for k, v in each]}}
    ),
    st.just({"kvlistValue": {"values": 5}}),
)
pairs = st.one_of(
    st.tuples(texts, values).map(lambda each: {"key": each[0], "value": each[1]}),
    st.sampled_from([{}, {"key": "k"}, {"key": 5, "value": {"stringValue": "x"}}]),
)
attributes = st.one_of(st.lists(pairs, max_size=4), st.sampled_from([None, 5, [1]]))
ids = st.sampled_from(["ab" * 16, "AB" * 16, "ab" * 8, "0" * 32, "", "xy" * 16, None, 5])


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


records = some(
    timeUnixNano=numbers, observedTimeUnixNano=numbers, severityNumber=numbers, severityText=texts,
    body=values, attributes=attributes, traceId=ids, spanId=ids, flags=numbers, time_unix_nano=numbers,
    observed_time_unix_nano=numbers,
)  # fmt: skip
plain = some(
    timeUnixNano=whole.map(str), severityNumber=st.integers(0, 24), severityText=texts,
    body=texts.map(lambda each: {"stringValue": each}), traceId=ids.filter(lambda each: isinstance(each, str)),
    attributes=st.lists(st.tuples(st.sampled_from("abcd"), scalars.filter(bool)), max_size=3, unique_by=lambda p: p[0]).map(
        lambda each: [{"key": k, "value": v} for k, v in each]
    ),
)  # fmt: skip
scopes = some(
    scope=some(name=texts, version=texts), logRecords=st.lists(st.one_of(plain, plain, records), max_size=3),
    log_records=st.lists(plain, max_size=1),
)  # fmt: skip
groups = some(
    resource=some(attributes=attributes), scopeLogs=st.lists(scopes, max_size=2), schemaUrl=texts
)
documents = st.one_of(
    some(resourceLogs=st.lists(groups, max_size=2)),
    some(resource_logs=st.lists(groups, max_size=1)),
    st.sampled_from([5, [], {"resourceLogs": 5}]),
)
written = st.one_of(
    documents.map(lambda each: json.dumps(each).encode()),
    documents.map(lambda each: json.dumps(each, ensure_ascii=False, indent=1).encode()),
    documents.map(lambda each: json.dumps(each).encode()[:-1]),
)


def comparable(frame: pl.DataFrame) -> list[dict[str, Any]]:
    rows = frame.sort("message", "index").drop("marks").rows(named=True)
    return [
        row | {name: orjson.loads(row[name] or "{}") for name in ("attributes", "resource")}
        for row in rows
    ]


@settings(max_examples=60)
@given(st.lists(written, min_size=1, max_size=4))
def test_what_is_scanned_is_what_a_parser_reads(messages: list[bytes]) -> None:
    times = np.arange(1, len(messages) + 1)
    decoded = OtlpJsonLogs().decode(messages, times)
    frame, rejected = _parsed(messages, range(len(messages)), times)
    assert decoded.rejected == rejected
    assert comparable(decoded.records) == comparable(frame)
