"""What compiled scanners share, against Python's own conversions."""

import math
import struct
from decimal import Decimal, localcontext
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from operators.columns.scanning import (
    INEXACT,
    MALFORMED,
    READ,
    exact_floats,
    hash_range,
    joined,
    scan_digits,
    scan_float,
)

many = settings(max_examples=300, deadline=None)
SEED = np.uint64(7)


def scanned(text: str, *, before: str = "x", after: str = "") -> tuple[float, int, int]:
    """Scan a float that stands amid other text; where it ends is counted from its start."""
    buffer, _ = joined([before.encode(), text.encode(), after.encode()])
    start = len(before)
    number, end, status = scan_float(buffer, start, start + len(text.encode()))
    if status == INEXACT:
        (number,) = exact_floats(buffer, np.array([start]), np.array([end]))
    return number, end - start, status


def bits(number: float) -> bytes:
    return struct.pack("<d", number)


def between(low: float) -> Decimal:
    """Return the number halfway between a double and the next, with all its digits."""
    with localcontext(prec=1100):
        return (Decimal(low) + Decimal(math.nextafter(low, math.inf))) / 2


decimals = st.from_regex(
    r"[+-]?([0-9]{1,25}(\.[0-9]{0,25})?|\.[0-9]{1,25})([eE][+-]?[0-9]{1,3})?", fullmatch=True,
    alphabet=st.characters(codec="ascii"),
)  # fmt: skip
written = st.floats(allow_nan=False, allow_infinity=False).flatmap(
    lambda x: st.sampled_from([repr(x), f"{x:.17g}", f"{x:.25e}", f"{x:.3f}"])
)
doubles = st.integers(0, 0x7FEFFFFFFFFFFFFE).map(
    lambda n: struct.unpack("<d", struct.pack("<Q", n))[0]
)
ties = doubles.map(between).flatmap(
    lambda x: st.sampled_from([f"{x:f}", f"{x:e}", f"{x:.20e}", f"{x:e}".replace("e", "1e")])
)


@many
@given(st.one_of(decimals, written, ties))
@example("5e-324")
@example("2.4703282292062327e-324")  # just less than half the smallest: zero
@example("2.4703282292062328e-324")
@example("2.2250738585072011e-308")  # the largest subnormal, which once hung PHP and Java
@example("2.2250738585072014e-308")
@example("1.7976931348623158e308")
@example("1.7976931348623159e308")  # too large
@example("9007199254740993")
@example("9007199254740993.0000000000000000000000000001")
@example("8.5e22")
@example("1e23")
@example("0." + "0" * 400 + "1e400")
@example("1" + "0" * 400 + "e-400")
@example("-0.0")
@example("1e-99999999999999999999")
def test_floats_are_those_that_python_reads_to_the_last_bit(text):
    number, end, status = scanned(text)
    assert status in (READ, INEXACT)
    assert end == len(text)
    assert bits(number) == bits(float(text))


@many
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_what_programs_write_needs_no_second_conversion(value):
    assert scanned(repr(value))[2] == READ


@many
@given(st.integers(0, 2**64 - 1))
@example(18446744063709551614)
@example(2**64 - 1)
def test_integers_of_64_bits_need_none_either(value):
    assert scanned(str(value)) == (float(value), len(str(value)), READ)


@pytest.mark.parametrize("text", ["", "-", "+", ".", "-.", "e5", ".e5", "1e", "1e+", "x", "--1"])
def test_what_is_no_number_is_malformed(text):
    assert scanned(text, after="5")[2] == MALFORMED


@pytest.mark.parametrize(
    ("text", "number", "end"), [("1.5,2", 1.5, 3), ("1.2.3", 1.2, 3), ("7i", 7.0, 1), ("1e5e", 1e5, 3)]
)  # fmt: skip
def test_a_float_ends_where_its_grammar_does(text, number, end):
    assert scanned(text) == (number, end, READ)


def test_a_float_ends_where_its_range_does():
    buffer, bounds = joined([b"12", b"34"])
    assert scan_float(buffer, bounds[0], bounds[1]) == (12.0, 2, READ)


@many
@given(st.integers(0, 10**25), st.text(alphabet="x.,-", max_size=2))
@example(2**64 - 1, "")
@example(2**64, "")
@example(18446744073709551609, "")
def test_integers_are_read_if_64_bits_hold_them(number, after):
    text = str(number)
    buffer, _ = joined([text.encode() + after.encode()])
    found, end, status = scan_digits(buffer, 0, len(text) + len(after))
    assert end == len(text)
    assert status == (READ if number < 2**64 else MALFORMED)
    if status == READ:
        assert int(found) == number


@many
@given(st.text(alphabet="0123456789:/\x00\xff", max_size=30))
def test_digits_end_at_what_is_no_digit(text):
    encoded = text.encode("latin-1")
    buffer, _ = joined([encoded])
    _, end, _ = scan_digits(buffer, 0, len(encoded))
    assert end == len(encoded) - len(encoded.lstrip(b"0123456789"))


@many
@given(st.binary(max_size=30), st.binary(max_size=10), st.binary(max_size=10))
def test_a_hash_depends_on_the_bytes_of_the_range_and_on_nothing_around_it(text, before, after):
    one, _ = joined([text])
    two, _ = joined([before, text, after])
    start = len(before)
    assert hash_range(one, 0, len(text), SEED) == hash_range(two, start, start + len(text), SEED)


def test_hashes_of_close_texts_differ_in_every_half():
    texts = [b"cpu,host=%d" % number for number in range(100_000)]
    texts += [bytes(length) for length in range(30)]
    buffer, bounds = joined(texts)
    hashes = np.array(
        [hash_range(buffer, start, end, SEED) for start, end in pairwise(bounds)], np.uint64
    )
    assert len(np.unique(hashes)) == len(texts)
    # A hundred thousand of 2**32 meet once or twice by chance.
    for half in (hashes >> np.uint64(32), hashes & np.uint64(0xFFFFFFFF)):
        assert len(np.unique(half)) > len(texts) - 15


def test_another_seed_is_another_hash():
    buffer, bounds = joined([b"cpu"])
    found = {int(hash_range(buffer, 0, bounds[1], np.uint64(seed))) for seed in range(1000)}
    assert len(found) == 1000


def test_values_are_joined_with_what_follows_each():
    buffer, bounds = joined([b"ab", b"", b"c"], b"\n")
    assert buffer[: bounds[-1]].tobytes() == b"ab\n\nc\n"
    assert bounds.tolist() == [0, 3, 4, 6]
