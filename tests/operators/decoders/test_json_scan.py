"""The scanner accepts what orjson does, and finds what ``json`` finds."""

import json
import math

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.columns.scanning import INEXACT, MALFORMED, READ, joined
from operators.decoders.json.scan import (
    ABSENT,
    MOST_LEVELS,
    key_table,
    members,
    precedes,
    scan_number,
    scan_string,
    scan_text_number,
    skip_space,
    skip_value,
    which_of,
)
from tests.operators.decoders.json_reference import anything, damaged, texts, written

many = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
LEVELS = np.zeros(MOST_LEVELS, np.uint8)


def accepted(text: bytes) -> bool:
    """Tell whether the scanner takes ``text`` for one JSON document; it stands among others."""
    buffer, bounds = joined([b'"', text, b'"]}1'])
    start, end = int(bounds[1]), int(bounds[2])
    after = skip_value(buffer, skip_space(buffer, start, end), end, LEVELS)
    return after >= 0 and skip_space(buffer, after, end) == end


def parses(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


@many
@given(st.data())
def test_every_way_to_write_a_document_is_accepted(data):
    text = data.draw(written(data.draw(anything))).encode()
    assert accepted(text)


@many
@given(st.data())
def test_a_damaged_document_is_accepted_where_a_parser_accepts_it(data):
    text = data.draw(damaged(data.draw(written(data.draw(anything))).encode()))
    assert accepted(text) == parses(text)


@many
@given(st.one_of(st.binary(max_size=12), st.binary(max_size=6).map(lambda x: b'"' + x + b'"')))
def test_any_bytes_are_accepted_where_a_parser_accepts_them(text):
    assert accepted(text) == parses(text)


def canonical(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


CASES = {
    "a lone high surrogate": rb'"\ud800"',
    "a lone low surrogate": rb'"\udc00"',
    "a pair": rb'"\ud83d\ude00"',
    "two high surrogates": rb'"\ud83d\ud83d"',
    "half of an escape": rb'"\u12"',
    "an unknown escape": rb'"\x41"',
    "an encoded surrogate": b'"\xed\xa0\x80"',
    "a character cut short": b'"\xf0\x9f\x98"',
    "an overlong slash": b'"\xc0\xaf"',
    "past the last character": b'"\xf4\x90\x80\x80"',
    "a control character": b'"\x1f"',
    "delete": b'"\x7f"',
    "a byte order mark": b"\xef\xbb\xbf1",
    "a leading zero": b"01",
    "minus zero": b"-0",
    "a plus": b"+1",
    "a bare point": b"1.",
    "no digit before the point": b".5",
    "an exponent without digits": b"1e",
    "the largest": b"1.7976931348623157e308",
    "too large": b"1e309",
    "too long": b"1" * 400,
    "very small": b"1e-400",
    "not a number": b"NaN",
    "infinity": b"Infinity",
    "a comma too many": b"[1,]",
    "a comma in an object too many": b'{"a":1,}',
    "no colon": b'{"a" 1}',
    "a number as key": b"{1:1}",
    "brackets that do not match": b'{"a":[1}]',
    "two documents": b"1 2",
    "nothing": b"",
    "a vertical tab": b"\x0b1",
    "a word cut short": b"tru",
    "a word too long": b"nulll",
    "a capital": b"True",
    "as deep as can be": b"[" * 1024 + b"]" * 1024,
    "one deeper": b"[" * 1025 + b"]" * 1025,
    "objects as deep": b'{"a":' * 1024 + b"1" + b"}" * 1024,
    "objects one deeper": b'{"a":' * 1025 + b"1" + b"}" * 1025,
}


@pytest.mark.parametrize("text", CASES.values(), ids=CASES.keys())
def test_the_borders_of_json_are_where_a_parser_has_them(text):
    assert accepted(text) == parses(text)


def test_megabytes_of_brackets_end_soon():
    assert not accepted(b"[" * 5_000_000)
    assert not accepted(b'"' + b"\\" * 5_000_001)


@many
@given(st.data())
def test_members_are_found_wherever_they_stand(data):
    wanted = ["a", "name", "timestamp", "plugin_instance", "aggregated_histogram"]
    document = data.draw(st.dictionaries(st.sampled_from(wanted) | texts, anything, max_size=7))
    text = data.draw(written(document)).encode()
    buffer, bounds = joined([b"{", text])
    start, end = skip_space(buffer, 1, int(bounds[2])), int(bounds[2])
    found = np.zeros((8, 2), np.int64)
    for parsed in (False, True):
        after = members(buffer, start, end, key_table(*wanted), found, LEVELS, parsed)
        if after < 0:
            assert not parsed
            assert b"\\" in text  # a key that only a parser can read
            continue
        assert skip_space(buffer, after, end) == end
        for name, (first, last) in zip(wanted, found.tolist(), strict=False):
            if first != ABSENT:
                value = json.loads(buffer[first:last].tobytes())
                assert canonical(value) == canonical(document[name])
            elif b"\\" not in text:
                assert name not in document


def test_a_key_that_stands_twice_is_doubtful():
    buffer, bounds = joined([b"{", b'{"a":1,"a":2}'])
    found = np.zeros((1, 2), np.int64)
    assert members(buffer, 1, int(bounds[2]), key_table("a"), found, LEVELS, False) == -1
    assert members(buffer, 1, int(bounds[2]), key_table("b"), found, LEVELS, False) == bounds[2]


@many
@given(st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**80), 2**80)))
def test_numbers_are_read_to_the_last_bit(number):
    text = json.dumps(number).encode()
    buffer, bounds = joined([b"[", text])
    value, status = scan_number(buffer, 1, int(bounds[2]))
    assert status == INEXACT or (status == READ and value == float(number))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.5", 1.5), ("+Inf", math.inf), ("-Inf", -math.inf), ("inf", math.inf),
        ("Infinity", math.inf), ("-infinity", -math.inf), ("12345678901234567890", 12345678901234567890.0),
    ],
)  # fmt: skip
def test_numbers_in_texts_may_be_infinite(text, value):
    buffer, bounds = joined([b'"', text.encode()])
    assert scan_text_number(buffer, 1, int(bounds[2])) == (value, READ)


@pytest.mark.parametrize("text", ["", "x", "1x", "infi", "nan(1)", "--1", "1 ", "Infinite"])
def test_other_texts_are_no_numbers(text):
    buffer, bounds = joined([b'"', text.encode()])
    assert scan_text_number(buffer, 1, int(bounds[2]))[1] == MALFORMED


def test_nan_is_a_number_in_a_text():
    buffer, bounds = joined([b'"', b"NaN"])
    value, status = scan_text_number(buffer, 1, int(bounds[2]))
    assert math.isnan(value)
    assert status == READ


@many
@given(a=st.binary(max_size=12), b=st.binary(max_size=12))
def test_ranges_sort_as_bytes_do(a, b):
    buffer, bounds = joined([a, b])
    first, second, end = bounds.tolist()
    assert precedes(buffer, first, second, second, end) == (a < b)


@pytest.mark.parametrize(
    "text", ["absolute", "incremental", "increments", "absolut", "", "absolutely"]
)
def test_a_text_is_one_of_a_table_or_none(text):
    buffer, bounds = joined([b'"', text.encode()])
    expected = {"absolute": 1, "incremental": 0}.get(text, -1)
    table = key_table("incremental", "absolute")
    assert which_of(buffer, 1, int(bounds[2]), table) == expected


def test_a_string_ends_at_its_quotation_mark_and_not_beyond_its_message():
    buffer, bounds = joined([b'"abc', b'"'])
    assert scan_string(buffer, 1, int(bounds[1])) == (-1, False)
    assert scan_string(buffer, 1, int(bounds[2])) == (4, False)
