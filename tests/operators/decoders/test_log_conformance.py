"""One suite over all decoders of logs: the same records, whatever format they came in."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, LogsData

from operators.contracts.frames import LOG_RECORDS
from operators.contracts.log_decoder import DecodedLogs
from operators.decoders import LOG_DECODERS
from operators.logs.parsing.marks import MALFORMED, NOT_UTF8
from operators.logs.parsing.records import parse
from tests.operators.logs.records import ns

CAME = 1_767_225_603_000_000_000
TIME = "2026-01-01T00:00:00.250Z"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def decode(encoding: str, values: Sequence[bytes]) -> DecodedLogs:
    return LOG_DECODERS[encoding].decode(values, np.full(len(values), CAME))


def records(encoding: str, *values: bytes) -> list[dict[str, Any]]:
    return parse(decode(encoding, values).records).rows(named=True)


def otlp(**fields: Any) -> LogsData:
    data = LogsData()
    group = data.resource_logs.add()
    group.resource.attributes.add(key="service.name").value.string_value = "shop"
    scoped = group.scope_logs.add()
    scoped.scope.name = "lib"
    record = scoped.log_records.add(
        time_unix_nano=ns(TIME[:-1]), severity_number=17, severity_text="ERROR"
    )
    record.trace_id, record.span_id = bytes.fromhex(TRACE), bytes.fromhex(SPAN)
    record.body.string_value = "it broke"
    record.attributes.add(key="count").value.int_value = 5
    for name, value in fields.items():
        setattr(record, name, value)
    return data


def as_json(data: LogsData) -> bytes:
    """Return OTLP's own JSON: as protobuf's, with ids in hexadecimal digits."""
    document = MessageToDict(data)
    for group in document["resourceLogs"]:
        for scoped in group["scopeLogs"]:
            for record in scoped["logRecords"]:
                record |= {"traceId": TRACE.upper(), "spanId": SPAN, "severityNumber": 17}
    return json.dumps(document).encode()


_JSON = {"message": "it broke", "count": 5, "trace_id": TRACE, "span_id": SPAN}
EXAMPLES: dict[str, Callable[[], bytes]] = {
    "otlp_proto": lambda: otlp().SerializeToString(),
    "otlp_json": lambda: as_json(otlp()),
    "fluent_bit_json": lambda: json.dumps(
        {"@timestamp": 1767225600.25, "log": json.dumps({**_JSON, "level": "error"}) + "\n",
         "kubernetes": {"labels": {"app": "shop"}}}
    ).encode(),
    "filebeat_json": lambda: json.dumps(
        {"@timestamp": TIME, "message": "it broke", "log": {"level": "error"}, "count": 5,
         "service": {"name": "shop"}, "trace": {"id": TRACE}, "span": {"id": SPAN}}
    ).encode(),
    "vector_json": lambda: json.dumps({**_JSON, "timestamp": TIME, "severity": "err", "service": "shop"}).encode(),
    "logstash_json": lambda: json.dumps({**_JSON, "@timestamp": TIME, "level": "ERROR", "service": "shop"}).encode(),
    "json_lines": lambda: json.dumps({**_JSON, "ts": TIME, "lvl": "error", "app": "shop"}).encode() + b"\n",
    "otlp_raw": lambda: json.dumps(json.dumps({**_JSON, "ts": TIME, "lvl": "error", "app": "shop"})).encode(),
    "text": f'time={TIME} level=error msg="it broke" app=shop trace_id={TRACE} span_id={SPAN} count=5\n'.encode,
    "syslog": f"<11>1 {TIME} host shop 1 - - it broke trace_id={TRACE} span_id={SPAN}".encode,
}  # fmt: skip


@pytest.mark.parametrize("encoding", LOG_DECODERS)
def test_every_format_tells_time_severity_service_body_and_trace(encoding):
    (record,) = records(encoding, EXAMPLES[encoding]())
    assert (record["ts"], record["severity"], record["service"]) == (ns(TIME[:-1]), 17, "shop")
    assert record["body"].startswith("it broke")
    assert (record["trace_id"], record["span_id"]) == (TRACE, SPAN)
    assert record["observed"] == CAME
    if encoding != "syslog":
        assert json.loads(record["attributes"])["count"] == 5


@pytest.mark.parametrize("encoding", LOG_DECODERS)
def test_bad_messages_cost_no_other_message_anything(encoding):
    good = EXAMPLES[encoding]()
    bad = [b"", b"\xff\xfe", b"\x00", b'{"a":', good[: len(good) // 2], b"[" * 200, b"x" * 100_000]
    values = [good, *bad, good]
    decoded = decode(encoding, values)
    assert dict(decoded.records.schema) == dict(LOG_RECORDS)
    parsed = parse(decoded.records)
    last = parsed.filter(message=len(values) - 1).drop("message").rows(named=True)
    assert last == parsed.filter(message=0).drop("message").rows(named=True)
    # Of some bytes protobuf says that they are fields that nobody knows, and a blank line is none.
    nothing = {"otlp_proto": {1, 7}, "json_lines": {1, 3}}.get(encoding, set())
    messages = set(parsed["message"].to_list()) | set(decoded.rejected)
    assert messages >= set(range(1, 8)) - nothing
    assert not set(decoded.records["message"].to_list()) & set(decoded.rejected)
    assert all(reason for reason in decoded.rejected.values())


@pytest.mark.parametrize("encoding", LOG_DECODERS)
def test_no_messages_are_no_records(encoding):
    decoded = decode(encoding, [])
    assert decoded.records.height == 0
    assert decoded.rejected == {}


@pytest.mark.parametrize("encoding", sorted(set(LOG_DECODERS) - {"otlp_proto", "otlp_json"}))
def test_bytes_that_are_not_utf8_are_replaced_and_marked(encoding):
    (record,) = records(encoding, b"INFO caf\xe9\n")
    assert (record["body"], record["marks"]) == ("caf\ufffd", NOT_UTF8)


def test_json_that_is_cut_off_is_marked():
    (record,) = records("fluent_bit_json", b'{"log":"x","n":')
    assert (record["body"], record["marks"]) == ('{"log":"x","n":', MALFORMED)


def test_raw_bodies_lose_their_quotation_marks_and_escapes():
    bodies = [
        each["body"]
        for each in records("otlp_raw", rb'"GET \u003cb\u003e\n"', b"1.64", b'"', b'{"a":1}')
    ]
    assert bodies == ["GET <b>\n", "1.64", '"', '{"a":1}']


def test_lines_of_a_message_are_records_in_order():
    found = records("json_lines", b'{"msg":"a"}\n\n{"msg":"b"}\r\n', b'{"msg":"c"}')
    assert [(row["message"], row["index"], row["body"]) for row in found] == [
        (0, 0, "a"), (0, 1, "b"), (1, 0, "c"),
    ]  # fmt: skip


_texts = st.text(st.characters(codec="utf-8"), max_size=8)
_plain = st.one_of(
    st.builds(lambda v: AnyValue(string_value=v), _texts),
    st.builds(lambda v: AnyValue(bool_value=v), st.booleans()),
    st.builds(lambda v: AnyValue(int_value=v), st.integers(-(2**63), 2**63 - 1)),
    st.just(AnyValue()),
)
_any = st.recursive(
    st.one_of(_plain, st.builds(lambda v: AnyValue(double_value=v), st.floats(allow_nan=False, allow_infinity=False)),
              st.builds(lambda v: AnyValue(bytes_value=v), st.binary(max_size=4))),
    lambda inner: st.one_of(
        st.builds(lambda v: AnyValue(array_value=ArrayValue(values=v)), st.lists(inner, max_size=3)),
        st.builds(
            lambda v: AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key=k, value=x) for k, x in v.items()])),
            st.dictionaries(_texts, inner, max_size=3),
        ),
    ),
    max_leaves=6,
)  # fmt: skip


def _record(
    body: AnyValue, attributes: dict[str, AnyValue], trace: bytes, severity: int, ts: int
) -> LogRecord:
    pairs = [KeyValue(key=key, value=value) for key, value in attributes.items()]
    return LogRecord(
        time_unix_nano=ts, severity_number=severity, body=body, attributes=pairs, trace_id=trace
    )


_records = st.builds(
    _record, _any, st.dictionaries(_texts, _any, max_size=4) | st.dictionaries(_texts, _plain, max_size=4),
    st.sampled_from([b"", bytes(16), bytes(range(16)), b"short"]), st.integers(0, 24), st.integers(0, 2**63 - 1),
)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(st.lists(st.lists(_records, max_size=4), max_size=4))
def test_the_scan_of_otlp_finds_what_protobuf_finds(messages):
    values, expected = [], []
    for number, content in enumerate(messages):
        data = LogsData()
        for index, record in enumerate(content):
            group = data.resource_logs.add() if index % 2 == 0 else data.resource_logs[-1]
            group.scope_logs.add().log_records.append(record)
            expected.append((number, index, record))
        values.append(data.SerializeToString())
    decoded = decode("otlp_proto", values)
    assert decoded.rejected == {}
    # Scopes are read in the order in which they stand, so records keep theirs.
    for row, (number, index, record) in zip(
        decoded.records.rows(named=True), expected, strict=True
    ):
        assert (row["message"], row["index"]) == (number, index)
        assert (row["ts"], row["severity"]) == (record.time_unix_nano, record.severity_number)
        valid = len(record.trace_id) == 16 and any(record.trace_id)
        assert row["trace_id"] == (record.trace_id.hex() if valid else "")
        assert row["body"] == _text(record.body)
        assert json.loads(row["attributes"] or "{}") == json.loads(
            orjson.dumps(_flat(record.attributes))
        )


def _python(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_python(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _python(pair.value) for pair in value.kvlist_value.values}
    if kind == "bytes_value":
        return MessageToDict(value)["bytesValue"]
    return getattr(value, kind) if kind else None


def _flat(pairs: Any, before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        if kind == "kvlist_value" and pair.value.kvlist_value.values:
            found |= _flat(pair.value.kvlist_value.values, f"{before}{pair.key}.")
        elif kind:
            found[before + pair.key] = _python(pair.value)
    return found


def _text(value: AnyValue) -> str:
    content = _python(value)
    if isinstance(content, str):
        return content
    return "" if content is None else orjson.dumps(content).decode()


def test_a_poll_of_many_records_needs_more_room_than_was_guessed():
    data = LogsData()
    scoped = data.resource_logs.add().scope_logs.add()
    for _ in range(5000):
        scoped.log_records.add()
    decoded = decode("otlp_proto", [data.SerializeToString()] * 3)
    assert decoded.records.height == 15_000
    assert decoded.records["index"].to_list() == list(range(5000)) * 3
    assert (decoded.records["observed"] == CAME).all()


def test_otlp_text_that_is_not_utf8_is_replaced_and_marked():
    value = otlp().SerializeToString().replace(b"it broke", b"it br\xff\xfee")
    (row,) = decode("otlp_proto", [value]).records.rows(named=True)
    assert (row["body"], row["marks"]) == ("it br\ufffd\ufffde", NOT_UTF8)


def test_resources_are_those_of_their_records():
    data = LogsData()
    for name in ("a", "b", "a"):
        group = data.resource_logs.add()
        group.resource.attributes.add(key="service.name").value.string_value = name
        group.scope_logs.add().log_records.add()
    frame = decode("otlp_proto", [data.SerializeToString()] * 2).records
    assert frame["service"].to_list() == ["a", "b", "a"] * 2
    assert frame["resource"][1] == '{"service.name":"b"}'
    assert isinstance(frame, pl.DataFrame)
