"""UTF-8 is what Python decodes."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from operators.columns.compiling import compiled
from operators.columns.scanning import joined
from operators.columns.utf8 import first_not_utf8

EDGES = [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xED, 0xEF,
         0xF0, 0xF1, 0xF4, 0xF5, 0xFF]  # fmt: skip
pieces = st.one_of(
    st.binary(max_size=4),
    st.text(max_size=9).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.lists(st.sampled_from(EDGES), max_size=5).map(bytes),
)


@compiled
def found(begin, end):
    at = first_not_utf8(begin, end)
    return at if at < 0 else at - begin


@settings(max_examples=400, deadline=None)
@given(st.lists(pieces, max_size=6).map(b"".join))
@example(b"\xed\xa0\x80")  # a surrogate
@example(b"\xc0\xaf")  # overlong
@example(b"\xf4\x90\x80\x80")  # past U+10FFFF
@example(b"aaaaaaa\xe2\x82")  # cut off
@example("日本語🌊".encode()[:-1])
def test_utf8_is_told_from_other_bytes_and_the_first_wrong_one_found(text):
    # What follows in the buffer would complete a sequence that is cut off.
    buffer, _ = joined([text, b"\xac\xac\xac"])
    try:
        text.decode()
        expected = -1
    except UnicodeDecodeError as error:
        expected = error.start
    begin = buffer.ctypes.data
    assert found(begin, begin + len(text)) == expected
