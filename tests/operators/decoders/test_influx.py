"""InfluxDB line protocol, by its documentation, and by what InfluxDB's Python client writes."""

import math
import time
import warnings

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from influxdb_client import Point

from flows.settings import Enrichment as NoChanges
from operators.contracts.decoder import Decoded
from operators.decoders import DECODERS
from operators.decoders.influx.decoder import Influx
from operators.series.enrichment import Enricher
from operators.series.registry import Resolved, SeriesRegistry
from tests.operators.decoders.influx_reference import Measured, listed

TS = 1_700_000_000_000_000_001  # a float could not hold it
GOOD = b"m,host=a v=7 %d" % TS
many = settings(max_examples=200, deadline=None)


def decode(*messages: bytes) -> Decoded:
    return DECODERS["influx"].decode(messages)


def resolve(*messages: bytes) -> Resolved:
    return SeriesRegistry("default", [], Enricher(NoChanges())).resolve(decode(*messages))


def value_of(text: str) -> float:
    (point,) = listed(decode(f"m v={text} 1".encode()))
    return point.value


def refused(text: str | bytes) -> str | None:
    """Return why a message is refused; its neighbours must not be."""
    message = text.encode() if isinstance(text, str) else text
    decoded = decode(GOOD, message, GOOD)
    assert decoded.points["message"].to_list().count(0) == 1
    assert decoded.points["message"].to_list().count(2) == 1
    assert decoded.rejected.keys() <= {1}
    return decoded.rejected.get(1)


# What it means.


def test_a_field_is_a_point_of_a_metric_named_after_measurement_and_field():
    line = (
        b"weather,location=us-midwest,season=summer temperature=82,humidity=71 1465839830100400200"
    )
    tags = (("location", "us-midwest"), ("season", "summer"))
    assert listed(decode(line)) == [
        Measured(0, 1465839830100400200, 82.0, "weather_temperature", tags),
        Measured(0, 1465839830100400200, 71.0, "weather_humidity", tags),
    ]


def test_the_field_value_is_named_by_its_measurement_alone():
    names = [point.name for point in listed(decode(b"m value=1,values=2,valu=3,val\\ ue=4 1"))]
    assert names == ["m", "m_values", "m_valu", "m_val ue"]


def test_what_telegraf_writes_of_a_processor():
    line = (
        b"cpu,cpu=cpu0,host=raynor usage_idle=99.30069930069957,usage_guest=0,"
        b"usage_user=0.1998001998001996 1700000000000000000\n"
    )
    found = {point.name: point.value for point in listed(decode(line))}
    assert found == {
        "cpu_usage_idle": 99.30069930069957, "cpu_usage_guest": 0.0,
        "cpu_usage_user": 0.1998001998001996,
    }  # fmt: skip


def test_many_lines_of_a_message_are_as_good_as_one():
    text = (
        b"\n  a v=1 1\n\r\n# a comment, with=anything \xc3\xa9\n   # more\nb v=2 2   \r\nc v=3 3\r"
    )
    assert [(point.name, point.ts) for point in listed(decode(text))] == [
        ("a_v", 1), ("b_v", 2), ("c_v", 3)
    ]  # fmt: skip


def test_the_points_of_a_line_have_its_time_and_are_of_its_message():
    found = decode(b"m a=1,b=2 5\nm a=3 6", b"# nothing", b"m a=4 7").points
    assert found["message"].to_list() == [0, 0, 0, 2]
    assert found["ts"].to_list() == [5, 5, 6, 7]


@pytest.mark.parametrize("ts", [TS, 0, -1, 2**63 - 1, -(2**63)])
def test_nanoseconds_are_kept_to_the_last(ts):
    assert decode(b"m v=1 %d" % ts).points["ts"].to_list() == [ts]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0), ("-1.5", -1.5), ("1.", 1.0), (".5", 0.5), ("-.5e-3", -0.0005), ("1e+3", 1000.0),
        ("1E3", 1000.0), ("007", 7.0), ("0i", 0.0), ("-12i", -12.0), ("9007199254740993i", 2.0**53),
        ("9223372036854775807i", 2.0**63), ("-9223372036854775808i", -(2.0**63)), ("-0i", 0.0),
        ("18446744073709551615u", 2.0**64), ("5u", 5.0),
        ("1.00000000000000011102230246251565404236316680908203125", 1.0),
        ("1.00000000000000011102230246251565404236316680908203126", 1.0000000000000002),
    ],
)  # fmt: skip
def test_floats_integers_and_unsigned_integers_are_values(text, value):
    assert value_of(text) == value


@pytest.mark.parametrize("text", ["t", "T", "true", "True", "TRUE"])
def test_true_is_one(text):
    assert value_of(text) == 1.0


@pytest.mark.parametrize("text", ["f", "F", "false", "False", "FALSE"])
def test_false_is_zero(text):
    assert value_of(text) == 0.0


def test_what_carries_nothing_to_aggregate_is_counted_by_reason():
    decoded = decode(
        b'm a="text",b=1,c=NaN,d=-inf,e=Infinity,f=1e999 1\nm a=1,b="x",c=nan\nm a="x" 3',
        b"m v=+Inf 1",
    )
    assert [point.name for point in listed(decoded)] == ["m_b"]
    assert decoded.skipped == {"text": 3, "not_finite": 6, "no_time": 1}


def test_of_a_refused_message_nothing_is_counted():
    decoded = decode(b'm a="text",b=NaN 1\nm v=1\nm v=1 1\nm')
    assert decoded.rejected.keys() == {0}
    assert decoded.skipped == {}
    assert decoded.points.height == 0


def test_a_number_too_long_for_one_look_that_is_too_large_is_not_finite():
    # Halfway from the greatest double to the one that would follow, and one digit on either side.
    tie = str(2**1024 - 2**970)
    decoded = decode(f"m a={tie}.0,b={tie[:-1]}1.5,c=2 1".encode())
    assert [(point.name, point.value) for point in listed(decoded)] == [
        ("m_b", math.nextafter(math.inf, 0)), ("m_c", 2.0)
    ]  # fmt: skip
    assert decoded.skipped == {"not_finite": 1}


# Escapes: the examples of the documentation, and where they end.


@pytest.mark.parametrize(
    ("text", "name", "tags"),
    [
        (r"my\ Measurement f=1 1", "my Measurement_f", {}),
        (r"a\,b,k=v f=1 1", "a,b_f", {"k": "v"}),
        (r"a=b,k=v f=1 1", "a=b_f", {"k": "v"}),
        (r"a\=b f=1 1", r"a\=b_f", {}),
        (r"m,tag\ Key1=tag\ Value1,tag\ Key2=tag\ Value2 f=1 1", "m_f",
         {"tag Key1": "tag Value1", "tag Key2": "tag Value2"}),
        (r"m,a\,b\=c=d\,e\=f f\,\=\ g=1 1", "m_f,= g", {"a,b=c": "d,e=f"}),
        (r"m,k=C:\Windows f=1 1", "m_f", {"k": r"C:\Windows"}),
        (r"m,k=a\\\ b f=1 1", "m_f", {"k": r"a\\ b"}),
        ("m\\,🚀,🌊=日本 Zürich=1 1", "m,🚀_Zürich", {"🌊": "日本"}),
        ('"m",k="v" "f"=1 1', '"m"_"f"', {"k": '"v"'}),
        ("m,#k=# #f=1 1", "m_#f", {"#k": "#"}),
    ],
)  # fmt: skip
def test_a_backslash_escapes_delimiters_and_stands_for_itself_elsewhere(text, name, tags):
    (point,) = listed(decode(text.encode()))
    assert (point.name, dict(point.tags)) == (name, tags)


@pytest.mark.parametrize(
    "text",
    ['""', '"a b,c=d"', r'"\""', r'"\\"', r'"a\\\"b"', '"two\nlines"', r'"\x"', '"# no comment"',
     '"ends in a return\r"', '"é"'],
)  # fmt: skip
def test_strings_end_at_their_quote_and_nowhere_else(text):
    decoded = decode(f"m a=1,s={text},b=2 1\nm c=3 1".encode())
    assert [point.name for point in listed(decoded)] == ["m_a", "m_b", "m_c"]
    assert decoded.skipped == {"text": 1}


# Identities.


def test_the_order_of_tags_does_not_matter():
    new = resolve(b"m,a=1,b=2 v=1 1", b"m,b=2,a=1 v=1 1").new
    assert new["identity"].n_unique() == 1
    assert new["labels"].unique().to_list() == ['{"a":"1","b":"2"}']


def test_of_a_tag_that_stands_twice_the_last_is_kept():
    assert resolve(b"m,a=1,a=2 v=1 1").new["labels"].to_list() == ['{"a":"2"}']


def test_names_that_join_to_the_same_text_are_still_different_identities():
    lines = [b"m,a=bc v=1 1", b"m,ab=c v=1 1", b"m,a=b,c=1 v=1 1", b"m v=1 1", b"m w=1 1", b"n v=1 1",
             b"m\\,a=bc v=1 1"]  # fmt: skip
    assert decode(*lines).points["raw"].n_unique() == len(lines)


def test_the_same_line_is_the_same_identity_wherever_it_stands():
    decoded = decode(GOOD, b"x y=1 1\n" + GOOD + b"\nx y=2 2", b"  " + GOOD + b"   \r\n")
    mine = decoded.points.filter(pl.col("value") == 7.0)
    assert (mine.height, mine["raw"].n_unique()) == (3, 1)


def test_only_the_rows_asked_for_are_described():
    decoded = decode(b"a,k=1 v=1 1\nb,k=2 v=1,w=2 1\nc v=1 1")
    description = decoded.describe(np.array([2, 0, 3]))
    assert description.streams["name"].to_list() == ["b_w", "a_v", "c_v"]
    assert description.attributes.rows() == [(0, "k", "2"), (1, "k", "1")]
    assert decoded.describe(np.array([], np.intp)).streams.height == 0


# What is refused.

WRONG = {
    "no fields": ["m", "m ", "m,a=b", "m,a=b ", "m,a=b\nm v=1 1"],
    "measurement": [",a=b v=1 1", "\rm v=1 1"],
    "a tag must be": ["m,a v=1 1", "m,=b v=1 1", "m, v=1 1", "m,a=b, v=1 1", "m,a=b=c v=1 1",
                      "m,,a=b v=1 1", "m,",
                      r"m,a=b\\ v=1 1"],
    "without a value": ["m,a= v=1 1", "m,a=,b=c v=1 1", "m,a="],
    "a field must be": ["m v 1", "m 1", "m =1 1", "m v=1, 1", "m v=1,,w=1 1", "m v=1,", "m v=1, w=2 1"],
    "not a field value": ["m v= 1", "m v=,w=1 1", "m v=x 1", "m v=tru 1", "m v=tRUE 1", "m v=truE 1",
                          "m v=TRue 1", "m v=ff 1", "m v=+1 1", "m v=1.2.3 1", "m v=- 1", "m v=1e 1",
                          "m v=1.5i 1", "m v=-1u 1", "m v=1ii 1", "m v=i 1", "m v=9223372036854775808i 1",
                          "m v=-9223372036854775809i 1", "m v=18446744073709551616u 1", "m v=0x10 1",
                          "m v=1_000 1", "m v=1\tw=1 1", 'm v="a"b 1', "m v=nanx 1", "m v=--1 1", "m v=1=2 1",
                          "m v=infinit 1", "m v=1e5i 1", "m v=+t 1"],
    "closing quote": ['m v="', 'm v="abc 1\nm v=2 1', 'm v="a\\" 1', 'm v="a\\'],
    "not a timestamp": ["m v=1 x", "m v=1 1 2", "m v=1 1.5", "m v=1 1e9", "m v=1 -", "m v=1 +1",
                        "m v=1 9223372036854775808", "m v=1 -9223372036854775809", "m v=1 1\r2",
                        "m v=1 99999999999999999999999999", "m v=1 1x", "m v=1 \r1"],
    "control character": ["m\tn v=1 1", "m,a\x00=b v=1 1", "m,a=b\x7f v=1 1", "m v\x01=1 1", "\x1bm v=1 1"],
    "empty message": ["", " ", "\n", " \r\n \n", "\r\n", "\r"],
}  # fmt: skip


@pytest.mark.parametrize(("cause", "text"), [(c, t) for c, texts in WRONG.items() for t in texts])
def test_what_is_no_line_protocol_is_refused_with_its_cause(cause, text):
    reason = refused(text)
    assert cause in reason
    assert "\n" not in reason


@pytest.mark.parametrize(
    "text", [b"m\xff v=1 1", b"m v=1 1\nm,a=\xc3 v=1 1", b'm v=1,s="\xed\xa0\x80" 1', b"\xc0\xaf"]
)
def test_what_is_not_utf8_is_refused(text):
    assert "not UTF-8" in refused(text)


def test_a_cut_off_character_does_not_go_on_in_the_next_message():
    assert decode(b'm v=1,s="\xc3', b'\xa9" 1').rejected.keys() == {0, 1}


@pytest.mark.parametrize(
    ("text", "line"),
    [(b"m v=x 1", 1), (b"m v=1 1\n\n# c\nm v=x 1", 4), (b"m v=1 1\r\nm,a= v=1 1\nm v=x 1", 2),
     (b'm s="a\nb\nc" 1\nm', 4), (b'm v=1 1\nm s="a\nb', 2), (b"m v=1 1\n\xff", 2)],
)  # fmt: skip
def test_the_reason_names_the_line(text, line):
    assert f"line {line}: " in refused(text)


def test_no_messages_are_no_points():
    decoded = decode()
    assert (decoded.points.height, decoded.rejected, decoded.skipped) == (0, {}, {})


@many
@given(
    garbage=st.one_of(
        st.binary(max_size=60),
        st.text(alphabet='m,=v1 "\\\n\r#i.-et\x00é', max_size=40).map(str.encode),
    )
)
def test_no_bytes_make_it_raise_and_good_neighbours_survive(garbage):
    resolved = resolve(GOOD, garbage, GOOD)
    mine = resolved.points.filter(pl.col("message") != 1)
    assert mine["message"].to_list() == [0, 2]
    assert mine["value"].to_list() == [7.0, 7.0]
    assert resolved.rejected == {}


@many
@given(data=st.data())
def test_a_message_gives_the_same_alone_as_among_damaged_ones(data):
    line = b'cpu\\ x,host=a,k=v\\,w usage=12.5,n=5i,s="a\\"b",up=t 1700000000000000000\nm v=1 1\n'
    messages = []
    for _ in range(data.draw(st.integers(1, 4))):
        damaged = bytearray(line)
        for _ in range(data.draw(st.integers(0, 2))):
            damaged[data.draw(st.integers(0, len(line) - 1))] = data.draw(
                st.sampled_from(b'm,=v1 "\\\n\r#i.\x00\xc3\xa9')
            )
        messages.append(bytes(damaged[: data.draw(st.integers(0, len(line)))]))
    together = decode(*messages)
    assert sorted(listed(together)) == sorted(
        point._replace(message=index)
        for index, message in enumerate(messages)
        for point in listed(decode(message))
    )
    assert together.rejected == {
        index: reason
        for index, message in enumerate(messages)
        for reason in decode(message).rejected.values()
    }


@pytest.mark.parametrize(
    "text",
    [bytes(5_000_000), b"\xff" * 5_000_000, b"a" * 5_000_000, b"," * 5_000_000, b"\\" * 5_000_000,
     b'm s="' + b"\\x" * 2_500_000, b"m " + b"v=" * 2_500_000, b"m v=" + b"1" * 5_000_000,
     b"m v=1 " + b"1" * 5_000_000, b"m v=1e" + b"9" * 5_000_000, b"m" + b",a=b" * 1_250_000,
     b"\n" * 5_000_000 + b"x", b"m v=1 1\n" * 600_000 + b"x",
     np.random.default_rng(5).bytes(5_000_000)],
    ids=range(14),
)  # fmt: skip
def test_five_megabytes_of_garbage_are_refused_in_a_moment(text):
    Influx().compile_kernels()
    began = time.process_time()
    assert decode(text, GOOD).points["message"].to_list() == [1]
    assert time.process_time() - began < 1


# What InfluxDB's own client for Python writes.

names = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\\"), min_size=1, max_size=8
)
numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**63 - 1), st.booleans()
)  # fmt: skip


@many
@given(
    measurement=names.filter(lambda x: not x.startswith("#")),
    tags=st.dictionaries(names, names, max_size=3),
    fields=st.dictionaries(names, st.one_of(numbers, st.text(max_size=6)), min_size=1, max_size=4),
    ts=st.integers(-(2**63), 2**63 - 1),
)
def test_what_the_python_client_writes_is_what_is_read(measurement, tags, fields, ts):
    point = Point(measurement).time(ts)
    for key, value in tags.items():
        point.tag(key, value)
    for key, value in fields.items():
        point.field(key, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        message = point.to_line_protocol().encode("utf-8", "surrogatepass")
    found = {(p.name, p.value) for p in listed(decode(message))}
    assert found == {
        (measurement if key == "value" else f"{measurement}_{key}", float(value))
        for key, value in fields.items()
        if not isinstance(value, str)
    }
    for p in listed(decode(message)):
        assert (p.ts, dict(p.tags)) == (ts, tags)
