"""The wire format of protobuf, against Python's own codecs and protobuf's own encoder."""

import numpy as np
from google.protobuf.internal.encoder import _VarintBytes
from google.protobuf.internal.wire_format import ZigZagDecode
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    KeyValue,
    KeyValueList,
)

from operators.columns.scanning import joined
from operators.decoders.otlp.descriptor import LAYOUT
from operators.decoders.protobuf.reading import (
    BAD_VARINT,
    CUT_OFF,
    TOO_DEEP,
    hash_bytes,
    read_varint,
    zigzag,
)
from operators.decoders.protobuf.wellformed import find_faults

SEED = np.uint64(1)
compiling = settings(deadline=None)  # the first example waits for the compiler


def at(content: bytes) -> tuple[np.ndarray, int, int]:
    """Return a buffer, which must be kept, and the addresses between which its content lies."""
    buffer, bounds = joined([content])
    begin = buffer.ctypes.data
    return buffer, begin, begin + int(bounds[1])


@compiling
@given(number=st.integers(0, 2**64 - 1), behind=st.binary(max_size=3))
def test_an_integer_is_what_protobuf_encoded(number, behind):
    encoded = _VarintBytes(number)
    kept, begin, end = at(encoded + behind)
    assert read_varint(begin, end) == (number, begin + len(encoded))
    assert read_varint(begin, begin + len(encoded) - 1)[1] < 0
    assert len(kept)


@compiling
@given(number=st.integers(0, 2**32 - 1))
def test_signs_are_where_protobuf_puts_them(number):
    assert zigzag(np.uint64(number)) == ZigZagDecode(number)


@compiling
@given(content=st.binary(min_size=1, max_size=50), data=st.data())
def test_a_hash_is_of_the_bytes_and_nothing_else(content, data):
    kept, begin, end = at(b"x" * data.draw(st.integers(0, 9)) + content + b"?")
    same, other_begin, other_end = at(content)
    mine = hash_bytes(end - 1 - len(content), end - 1, SEED)
    assert mine == hash_bytes(other_begin, other_end, SEED)
    changed = bytearray(content)
    changed[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    changed_too, begin, end = at(bytes(changed))
    assert mine != hash_bytes(begin, end, SEED)
    kept_too, begin, end = at(content + b"\0")
    assert mine != hash_bytes(begin, end, SEED)
    assert all(map(len, (kept, same, changed_too, kept_too)))


# Looking over messages before they are parsed.

scalars = st.one_of(
    st.text(max_size=3).map(lambda x: AnyValue(string_value=x)),
    st.integers(-(2**63), 2**63 - 1).map(lambda x: AnyValue(int_value=x)),
    st.binary(max_size=3).map(lambda x: AnyValue(bytes_value=x)),
)
any_values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda x: AnyValue(array_value=ArrayValue(values=x))),
        st.lists(st.builds(KeyValue, key=st.text(max_size=3), value=inner), max_size=3).map(
            lambda x: AnyValue(kvlist_value=KeyValueList(values=x))
        ),
    ),
    max_leaves=6,
)


def faults_of(messages: list[bytes]) -> list[int]:
    buffer, bounds = joined(messages)
    faults = np.empty(len(messages), np.int64)
    spans = np.stack((bounds[:-1], bounds[1:]), axis=1)
    find_faults(buffer.ctypes.data, spans, LAYOUT, faults)
    return faults.tolist()


@settings(deadline=None, max_examples=400)
@given(data=st.data())
def test_what_is_found_wrong_is_what_protobuf_finds(data):
    entry = data.draw(st.builds(KeyValue, key=st.text(max_size=4), value=any_values))
    message = bytearray(entry.SerializeToString())
    for _ in range(data.draw(st.integers(0, 3))):
        message[data.draw(st.integers(0, max(len(message) - 1, 0)))] = data.draw(
            st.sampled_from(b"\x00\x01\x07\x0a\x12\x13\x14\x7f\x80\xc3\xff") | st.integers(0, 255)
        )
    text = bytes(message)
    (fault,) = faults_of([text])
    try:
        KeyValue.FromString(text)
    except DecodeError:
        assert fault < 0
    else:
        assert fault in (0, BAD_VARINT)  # of ten bytes, whose last bits Python's parser drops


@compiling
@given(good=st.lists(st.builds(KeyValue, key=st.text(max_size=4), value=any_values), max_size=4))
def test_of_many_messages_only_the_bad_ones_are_found(good):
    texts = [entry.SerializeToString() for entry in good]
    among = [each for text in texts for each in (text, b"\x0a\x7f")] + [b""]
    assert faults_of(among) == [0, CUT_OFF] * len(texts) + [0]


def test_messages_lie_in_each_other_a_hundred_deep_at_most():
    def lists_in_lists(depth: int) -> bytes:
        value = b""
        for _ in range(depth):
            value = b"\x0a" + _VarintBytes(len(value)) + value
            value = b"\x2a" + _VarintBytes(len(value)) + value
        return b"\x12" + _VarintBytes(len(value)) + value

    assert faults_of([lists_in_lists(40), lists_in_lists(200)]) == [0, TOO_DEEP]
