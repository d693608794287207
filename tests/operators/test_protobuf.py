"""The wire format of protobuf, against Python's own codecs and protobuf's own encoder."""

import numpy as np
from google.protobuf.internal.encoder import _VarintBytes
from google.protobuf.internal.wire_format import ZigZagDecode
from hypothesis import example, given, settings
from hypothesis import strategies as st

from operators.decoders.protobuf import hash_bytes, read_varint, valid_utf8, zigzag
from operators.decoders.scanning import joined

SEED = np.uint64(1)
compiling = settings(deadline=None)  # the first example waits for the compiler


def at(content: bytes) -> tuple[np.ndarray, int, int]:
    """Return a buffer, which must be kept, and the addresses between which its content lies."""
    buffer, bounds = joined([content])
    begin = buffer.ctypes.data
    return buffer, begin, begin + int(bounds[1])


@compiling
@given(content=st.one_of(st.binary(max_size=12), st.text(max_size=4).map(str.encode)))
@example(b"\xed\xa0\x80")  # a surrogate
@example(b"\xc0\x80")  # overlong
@example(b"\xf4\x90\x80\x80")  # past the last character
@example("日本語🌊".encode()[:-1])
def test_utf8_is_what_python_takes_for_it(content):
    kept, begin, end = at(content)
    try:
        content.decode()
    except UnicodeDecodeError:
        assert not valid_utf8(begin, end)
    else:
        assert valid_utf8(begin, end)
    assert len(kept)


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
