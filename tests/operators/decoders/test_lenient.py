"""Messages with texts that are not UTF-8: all else that they say is read."""

from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from operators.decoders.protobuf.lenient import read_message
from tests.operators.decoders.test_span_conformance import field


def go_text(content: bytes) -> str:
    """Return what Go's JSON makes of bytes: it goes on after one byte that begins no character."""
    found = ""
    while content:
        for size in range(1, 5):
            try:
                found += content[:size].decode()
            except UnicodeDecodeError:
                continue
            break
        else:
            size, found = 1, found + "\ufffd"
        content = content[size:]
    return found


def message(text: str) -> Span:
    span = Span(name="before", trace_id=b"\xff" * 16, start_time_unix_nano=7, flags=3)
    span.attributes.add(key="statement").value.string_value = text
    span.attributes.add(key="raw").value.bytes_value = b"\xff\xfe"
    pairs = span.attributes.add(key="map").value.kvlist_value.values
    pairs.add(key=text).value.array_value.values.add().string_value = text
    span.events.add(name=text, time_unix_nano=9)
    span.status.message = text
    return span


@given(st.binary(min_size=1, max_size=300))
@example(b"\xe2\x82")  # cut off: two bytes, not one character
@example(b"\xed\xa0\x80")  # half of a pair
@example("€".encode() + b"\xff" * 130)  # a length that needs one byte more, in all that is around
def test_what_is_no_character_is_replaced_byte_by_byte(content: bytes) -> None:
    stand_in = "Q" * len(content)
    sent = message(stand_in).SerializeToString().replace(stand_in.encode(), content)
    assert read_message(Span, sent) == message(go_text(content))


def test_what_is_no_message_is_an_empty_one() -> None:
    for content in (b"\x2a\x05\xff", b"\x2a", b"\x0b", b"\x2a\x01\xff\x39\x01", b"\xff" * 20):
        assert read_message(Span, content) == Span()


def test_what_is_nested_too_deeply_is_empty_and_all_else_is_read() -> None:
    for depth in (40, 200, 2_000):
        deep = field(1, "the end")
        for _ in range(depth):
            deep = field(5, field(1, deep))
        span = read_message(Span, field(5, "GET") + field(9, field(1, "key") + field(2, deep)))
        assert (span.name, span.attributes[0].key) == ("GET", "key")
        assert (b"the end" in span.SerializeToString()) == (depth == 40)


def test_fields_that_are_not_known_stay() -> None:
    unknown = (
        bytes([0xF8, 0x7F, 1]) + bytes([0xFA, 0x7F, 1, 0xFF]) + bytes([0xFD, 0x7F, 1, 2, 3, 4])
    )
    span = read_message(Span, bytes([0x2A, 1, 0xFF]) + unknown)
    assert span.name == "\ufffd"
    assert span.SerializeToString().endswith(unknown)
