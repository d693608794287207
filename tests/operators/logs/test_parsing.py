"""Parsing: fields come out of bodies of every kind, by what the bodies are."""

import json

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from operators.logs.parsing.marks import CUT, NO_TIME
from operators.logs.parsing.records import LONGEST, parse, unwrap
from operators.logs.parsing.severities import ERROR, INFO, WARN
from tests.operators.logs.records import OBSERVED, ns, records_of


def parsed(body: str, zone: str = "UTC", **columns) -> dict:
    (row,) = parse(records_of([body], **columns), zone).rows(named=True)
    row["attributes"] = json.loads(row["attributes"] or "{}")
    return row


@pytest.mark.parametrize(
    ("body", "severity"),
    [
        ('{"message":"An error occurred","level":"WARNING"}', WARN),
        ('{"Level":"Information","Message":"x"}', INFO),
        ('{"severity":"error","msg":"info"}', ERROR),
        ('{"level":50,"msg":"x"}', ERROR),
        ('{"log.level":"warn","message":"x"}', WARN),
        ('{"log":{"level":"warn"},"message":"x"}', WARN),
        ('{"PRIORITY":"4","MESSAGE":"x"}', WARN),
        ('{"severity_number":17,"level":"info","message":"x"}', ERROR),
        ('1.2.3.4 - - [31/Jan/2026:10:00:00 +0100] "GET /?level=error HTTP/1.1" 200 5 "http://x/?level=error" "c"', INFO),
        ('1.2.3.4 - bob [31/Jan/2026:10:00:00 +0100] "GET / HTTP/1.1" 503 5', ERROR),
        ('level=warn msg="an error" x=1', WARN),
        ("an error occurred", 0),
        ("", 0),
    ],
)  # fmt: skip
def test_a_severity_is_that_of_a_key_or_a_head_and_never_a_word_of_the_text(body, severity):
    assert parsed(body)["severity"] == severity


def test_what_a_record_says_already_stays():
    row = parsed("2026-01-31 10:00:00 ERROR x", severity=INFO, severity_text="note", ts=5)
    assert (row["severity"], row["severity_text"], row["ts"], row["body"]) == (INFO, "note", 5, "x")
    row = parsed('{"level":"error","msg":"x","service":"a"}', severity_text="Warning", service="b")
    assert (row["severity"], row["service"]) == (WARN, "b")


def test_syslog_of_rfc_3164_has_the_nearest_year_and_the_zone_of_the_input():
    row = parsed("<34>Dec 31 23:59:59 sw1 %SYS-5-CONFIG: x")
    assert (row["ts"], row["severity"], row["severity_text"]) == (
        ns("2025-12-31T23:59:59"), 18, "critical",
    )  # fmt: skip
    assert row["attributes"] == {"syslog.facility": "auth", "host.name": "sw1"}
    assert row["body"] == "%SYS-5-CONFIG: x"
    row = parsed("<13>Jan  1 01:00:00 web app[12]: [ERROR] it broke", zone="Europe/Berlin")
    assert (row["ts"], row["service"], row["body"]) == (
        ns("2026-01-01T00:00:00"),
        "app",
        "it broke",
    )
    assert row["attributes"]["syslog.procid"] == "12"


def test_syslog_of_rfc_5424_has_its_structured_data():
    row = parsed(
        '<165>1 2026-01-01T00:00:00.5Z host app 12 ID47 [a@1 b="c\\]"][d@1 e="f"] \ufeffhello you'
    )
    assert (row["ts"], row["service"], row["severity_text"]) == (
        ns("2026-01-01T00:00:00.5"),
        "app",
        "notice",
    )
    assert row["body"] == "hello you"
    assert row["attributes"] == {
        "syslog.facility": "local4", "host.name": "host", "syslog.appname": "app", "syslog.procid": "12",
        "syslog.msgid": "ID47", "syslog.structured_data": '[a@1 b="c\\]"][d@1 e="f"]',
    }  # fmt: skip
    assert parsed("<999>1 - - - - - - x")["severity"] == 0


def test_an_access_line_becomes_attributes_and_stays_as_it_is():
    line = '203.0.113.9 - frank [10/Oct/2025:13:55:36 -0700] "GET /a?b=c HTTP/1.0" 404 2326 "http://r/" "Mozilla \\"4\\""'
    row = parsed(line)
    assert row["body"] == line
    assert (row["ts"], row["severity"]) == (ns("2025-10-10T20:55:36"), WARN)
    assert row["attributes"] == {
        "client.address": "203.0.113.9", "user.name": "frank", "http.request.method": "GET",
        "url.original": "/a?b=c", "network.protocol.version": "1.0",
        "http.response.status_code": 404, "http.response.body.size": 2326,
        "http.request.header.referer": "http://r/", "user_agent.original": 'Mozilla \\"4\\"',
    }  # fmt: skip


def test_json_within_json_is_parsed_and_of_two_times_the_first_counts():
    inner = '{"msg":"in","level":"error","user":{"id":1}}\n'
    outer = json.dumps(
        {"log": inner, "kubernetes": {"labels": {"app": "a", "app.kubernetes.io/name": "b"}}}
    )
    row = parsed('{"@timestamp":1767225600.5,"@timestamp":"2020-01-01T00:00:00Z",' + outer[1:])
    assert (row["ts"], row["body"], row["severity"]) == (1_767_225_600_500_000_000, "in", ERROR)
    assert row["service"] == "b"
    assert row["attributes"] == {
        "kubernetes.labels.app": "a", "kubernetes.labels.app.kubernetes.io/name": "b", "user.id": 1,
    }  # fmt: skip


def test_fields_of_any_type_are_kept_as_they_are():
    bodies = ['{"user":{"id":1}}', '{"user":"bob"}', '{"took":5}', '{"took":"5ms","l":[1,{"a":2}]}']
    assert [parsed(body)["attributes"] for body in bodies] == [
        {"user.id": 1}, {"user": "bob"}, {"took": 5}, {"took": "5ms", "l": [1, {"a": 2}]},
    ]  # fmt: skip


def test_pairs_become_attributes():
    row = parsed(
        r'ts=2026-01-01T00:00:00Z level=info msg="say \"hi\"" dur=5.5 n=05 ok=true e= path=/x'
    )
    assert (row["ts"], row["body"]) == (ns("2026-01-01T00:00:00"), 'say "hi"')
    assert row["attributes"] == {"dur": 5.5, "n": "05", "ok": True, "e": "", "path": "/x"}
    assert parsed("a=b and some text")["attributes"] == {}


def test_trace_ids_come_from_keys_and_from_text():
    trace, span = "0AF7651916CD43DD8448EB211C80319C", "b7ad6b7169203331"
    row = parsed(json.dumps({"msg": "x", "traceId": trace, "span": {"id": span}}))
    assert (row["trace_id"], row["span_id"]) == (trace.lower(), span)
    row = parsed(f"10:00:00.123 INFO x TraceID: {trace} SpanID: {span} done")
    assert (row["trace_id"], row["span_id"]) == (trace.lower(), span)
    assert parsed('{"trace_id":"' + "0" * 32 + '"}')["trace_id"] == ""


def test_a_time_that_cannot_be_is_the_time_of_observation_and_marked():
    row = parsed('{"time":"2026-02-30T00:00:00Z","msg":"x"}')
    assert (row["ts"], row["marks"]) == (OBSERVED, NO_TIME)
    row = parsed("2026-03-29 02:30:00 INFO x", zone="Europe/Berlin")
    assert (row["ts"], row["marks"]) == (OBSERVED, NO_TIME)
    assert (parsed("x")["ts"], parsed("x")["marks"]) == (OBSERVED, 0)


def test_a_stack_is_found_in_the_fields_of_an_error():
    row = parsed(
        '{"msg":"x","err":{"type":"TypeError","message":"no","stack":"TypeError: no\\n    at f"}}'
    )
    assert row["stack"] == "TypeError: no\n    at f"
    row = parsed('{"msg":"x","exception.type":"ValueError","exception.message":"bad"}')
    assert row["stack"] == "ValueError: bad"


def test_a_stack_is_found_in_the_attributes_that_sdks_write():
    """The names are those of OpenTelemetry's semantic conventions for exceptions in logs."""
    told = {"exception.type": "ValueError", "exception.message": "bad", "code.lineno": 7}
    trace = {"exception.stacktrace": "Traceback (most recent call last):\nValueError: bad"}
    written = [json.dumps(told), json.dumps(told | trace), '{"a":"exception.type"}', ""]
    records = records_of(["x"] * 4).with_columns(attributes=pl.Series(written))
    parsed_records = parse(records)
    assert parsed_records["stack"].to_list() == [
        "ValueError: bad", trace["exception.stacktrace"], "", "",
    ]  # fmt: skip
    assert parsed_records["attributes"].to_list() == written


def test_an_object_without_a_message_has_its_members_once_though_it_is_looked_at_twice():
    bodies = ['{"a":1,"b":"x"}', '{"a":1}', '{"b":1,"msg":"m"}']
    records = records_of(bodies).with_columns(attributes=pl.Series(["", '{"a":0}', '{"c":2}']))
    assert parse(unwrap(records))["attributes"].to_list() == [
        '{"a":1,"b":"x"}', '{"a":0,"a":1}', '{"c":2,"b":1}',
    ]  # fmt: skip


def test_what_is_too_much_is_cut_and_marked():
    row = parsed("x" * 2_000_000)
    assert (len(row["body"]), row["marks"]) == (LONGEST // 4, CUT)
    row = parsed('{"msg":"x",' + ",".join(f'"k{n}":{n}' for n in range(10_000)) + "}")
    assert (row["body"], row["marks"]) == ("x", CUT)
    row = parsed('{"msg":"x","a":' + '{"a":' * 199 + "1" + "}" * 200)
    assert (row["body"], row["marks"]) == ("x", CUT)
    assert parsed('{"msg":"x","a":')["body"] == '{"msg":"x","a":'
    assert parsed("\x1b[31mERROR\x1b[0m boom\0")["body"] == "boom\0"


_bodies = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        ["<34>", "<34>1 ", '{"a":{"b":[]}}', '{"log":"{}"}', '{"message":""}', "a=b c=d", "2026-01-01 ",
         '1 - - [01/Jan/2026:00:00:00 +0000] "', "INFO", "I0131 10:00:00.1 1 f:1] x", '{"time":[]}']
    ),
)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(st.lists(st.lists(_bodies, min_size=1, max_size=3).map("".join), min_size=1, max_size=6))
@example(['{"log":"<34>{\\"level\\":\\"warn\\"}"}', "\x00", '{"level":{"a":1}}'])
def test_any_bodies_together_are_parsed_as_each_alone(bodies):
    together = parse(records_of(bodies)).drop("index")
    alone = pl.concat([parse(records_of([body])) for body in bodies]).drop("index")
    assert together.equals(alone)
    for text in together["attributes"].to_list():
        assert isinstance(json.loads(text or "{}"), dict)
    assert (together["ts"] > 0).all()
