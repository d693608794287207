"""Line protocol as InfluxDB's own reader takes it, and as Telegraf's own writer writes it."""

import re
from base64 import b64decode
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.contracts.decoder import Decoded
from operators.decoders import DECODERS
from tests.backends import in_ci
from tests.backends.lineprotocol.peer import Line, Peer, RefusedError, corpus
from tests.backends.process import UnavailableError
from tests.operators.decoders.influx_reference import listed, meant

many = settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

# What we take otherwise than InfluxDB does, all of it on purpose: values that are not finite, or
# too large for a double, are skipped instead of refused; Go's hexadecimal numbers, which no grammar
# of the format has, are refused; a comment may hold control characters but nothing that is not
# UTF-8; and a message must not be empty.
NOT_FINITE = re.compile(rb"=[+-]?(nan|inf|infinity)([, \n\r]|$)", re.IGNORECASE)
TOO_LARGE = "line-protocol value out of range"
HEXADECIMAL = re.compile(rb"=-?0[xX]")
COMMENT = re.compile(rb"(^|\n) *#")


def available(error: UnavailableError) -> None:
    if in_ci():
        pytest.fail(str(error), pytrace=False)
    pytest.skip(str(error).splitlines()[0])


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    try:
        started = Peer()
    except UnavailableError as error:
        available(error)
    with started:
        yield started


def decode(*messages: bytes) -> Decoded:
    return DECODERS["influx"].decode(messages)


def asked(peer: Peer, message: bytes) -> tuple[list[Line], str]:
    """Return the lines that the peer reads, or why it refuses the message."""
    try:
        return peer.read(message), ""
    except RefusedError as error:
        return [], str(error)


def agrees(peer: Peer, message: bytes) -> bool:
    """Check a message against the peer; return whether both took it."""
    decoded = decode(message)
    lines, error = asked(peer, message)
    if error:
        on_purpose = NOT_FINITE.search(message) or COMMENT.search(message) or TOO_LARGE in error
        assert decoded.rejected or on_purpose, (message, error)
        return False
    if HEXADECIMAL.search(message) or (COMMENT.search(message) and decoded.rejected):
        return False
    if not lines and decoded.rejected == {0: "empty message"}:
        return False
    assert not decoded.rejected, message
    points, skipped = meant([lines])
    assert sorted(listed(decoded)) == sorted(points)
    assert decoded.skipped == skipped
    return True


def test_the_test_cases_of_influxdbs_reader_come_out_as_there(peer):
    try:
        cases = corpus()["decode"].values()
    except UnavailableError as error:
        available(error)
    texts = [case["input"]["text"] for case in cases]
    # What is not UTF-8 is in base64.
    messages = [x.encode() if isinstance(x, str) else b64decode(x["binary"]) for x in texts]
    taken = sum(agrees(peer, message) for message in messages)
    assert len(cases) > 6000
    assert taken > 350


pieces = st.sampled_from(
    ["m", "cpu", ",", "=", " ", "  ", "\\", '"', "\n", "\r\n", "\r", "#", "i", "u", "t", "TRUE", "False",
     "1", "-1", "2.5", "1e5", ".", "-", "e", "+", "9223372036854775808", "0x1", "nan", "-Inf", "é", "\t",
     "\x00", "value", "a=b", ",a=b", " v=1", ",w=2i", ' s="x y"', " 1700000000000000000", "1e999"]
)  # fmt: skip


@many
@given(st.lists(pieces, max_size=14).map("".join).map(str.encode))
def test_any_pieces_are_taken_and_refused_as_influxdb_does(peer, message):
    agrees(peer, message)


LINES = b'cpu\\ x,host=a,k\\==v\\,w usage=12.5,n=-5i,s="a\\"b",up=t 1700000000000000000\r\n# c\nm v=1u\n'


@many
@given(data=st.data())
def test_damaged_lines_are_taken_and_refused_as_influxdb_does(peer, data):
    damaged = bytearray(LINES)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(LINES) - 1))] = data.draw(
            st.one_of(st.sampled_from(b'm,=v1 "\\\n\r#i.-\x00\xc3\xa9'), st.integers(0, 255))
        )
    agrees(peer, bytes(damaged[: data.draw(st.integers(0, len(LINES)))]))


# Telegraf leaves out what can't be written: empty names, and text that ends in a backslash.
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).map(str.encode)
values = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**64 - 1), st.booleans(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6).map(str.encode),
)  # fmt: skip
lines = st.builds(
    Line,
    name=names,
    tags=st.dictionaries(names, names, max_size=3).map(lambda x: tuple(x.items())),
    fields=st.dictionaries(names, values, min_size=1, max_size=4).map(lambda x: tuple(x.items())),
    time=st.integers(-(2**63), 2**63 - 1),
)


@many
@given(st.lists(lines, min_size=1, max_size=3))
def test_whatever_telegraf_writes_is_read_as_influxdb_reads_it(peer, written):
    try:
        message = peer.write(written)
    except RefusedError:
        return
    agrees(peer, message)


plain = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\\"), min_size=1, max_size=8
).map(str.encode)


@many
@given(
    st.lists(
        st.builds(
            Line,
            name=plain.filter(lambda x: not x.startswith(b"#")),
            tags=st.dictionaries(plain, plain, max_size=3).map(lambda x: tuple(x.items())),
            fields=st.dictionaries(plain, values, min_size=1, max_size=4).map(
                lambda x: tuple(x.items())
            ),
            time=st.integers(-(2**63), 2**63 - 1),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_what_telegraf_is_given_is_what_is_read(peer, written):
    decoded = decode(*[peer.write([line]) for line in written])
    points, skipped = meant([[line] for line in written])
    assert decoded.rejected == {}
    assert sorted(listed(decoded)) == sorted(points)
    assert decoded.skipped == skipped
