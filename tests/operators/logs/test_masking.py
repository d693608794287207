"""Masking: what varies is gone from a line, the words that say what happened are left."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from operators.columns.messages import Messages
from operators.logs.templates.masking import masked_texts, shapes


def mask(*lines: str | bytes) -> list[str]:
    messages = Messages.of([line if isinstance(line, bytes) else line.encode() for line in lines])
    return masked_texts(messages.buffer, messages.bounds[:-1], messages.bounds[1:])


def shapes_of(*lines: bytes) -> list[int]:
    messages = Messages.of(list(lines))
    return shapes(messages.buffer, messages.bounds[:-1], messages.bounds[1:]).tolist()


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("Took 20.1 seconds to build instance", "Took * to build instance"),
        ("connection from 222.33.90.199 () at Sun Jul 10 03:55:15 2005", "connection from * at *"),
        ("sent 851 bytes (1.0 KB), lifetime <1 sec", "sent *, lifetime *"),
        ("Received block blk_-160899 from /10.251.30.6", "Received block * from *"),
        ("open /var/log/app.log: No such file", "open *: No such file"),
        ("see https://user:pass@host/path?a=b&c=d for more", "see * for more"),
        ("neighbour fe80::1 of aa:bb:cc:dd:ee:ff is gone", "neighbour * of * is gone"),
        ("commit deadbeef of a feed", "commit * of a feed"),
        ("mail to jane.doe@example.com bounced", "mail to * bounced"),
        ("play.google.com:443 is away", "* is away"),
        ("machine check: i-fetch......................0", "machine check: i-fetch...*"),
        ('login user=bob name: "x" failed', 'login user=* name: "x" failed'),
        ("session opened for user cyrus by (uid=0)", "session opened for user * by (uid=*)"),
        ("Invalid user webmaster from 173.234.31.186", "Invalid user * from *"),
        ("user unknown", "user unknown"),
        ("a\t b \r\n", "a b"),
        ("read/write and I/O", "read/write and I/O"),
        ("in May the 4th", "in May the *"),
        ("on 4 May 2001 10:00 UTC it began", "on * it began"),
        ("", ""),
    ],
)
def test_what_varies_is_masked(line, text):
    assert mask(line) == [text]


def test_lines_of_one_statement_have_one_shape_and_of_others_another():
    first, second, other = shapes_of(
        b"Finished task 1.0 in stage 2 (TID 3). 1200 bytes result sent",
        b"Finished task 41.0 in stage 11 (TID 877). 9 bytes result sent",
        b"Started task 1.0 in stage 2 (TID 3). 1200 bytes result sent",
    )
    assert first == second != other


def test_a_shape_is_the_same_in_every_process():
    # Stored in documents: it changes with ``VERSION`` alone.
    assert shapes_of(b"Took 20 seconds") == [18369774608187866620]


def test_of_a_long_line_the_beginning_counts():
    text = " ".join(["word"] * 1000)
    (masked,) = mask(text)
    assert masked.startswith("word word")
    assert masked.endswith("*")
    assert len(masked) <= 2050


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)), max_size=5)
)
@example(
    [b"(" * 60, b"Jan" * 20, b"= " * 30, b"1 (" * 700, b"a " * 1500, b"\x1b[31m x", b"1[]" * 900]
)
def test_any_bytes_have_a_shape_that_is_that_of_their_text_alone(lines):
    together = shapes_of(*lines)
    assert together == [shapes_of(line)[0] for line in lines]
    texts = mask(*lines)
    assert len(set(texts)) <= len(set(together))
    # No digit is left, and none of the white space but single blanks.
    for text in texts:
        assert not any("0" <= char <= "9" for char in text)
        assert "  " not in text


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.sampled_from(["alpha", "beta", "(gamma)", "delta:", "[x]", "'y',", "z"]), min_size=1
    )
)
def test_a_text_without_what_varies_is_its_own_masked_text(words):
    text = " ".join(words)
    assert mask(text) == [text]


def test_other_bytes_around_a_line_do_not_matter():
    content = np.frombuffer(b"99 x=1 user=bob 77" + bytes(16), np.uint8)
    alone = shapes_of(b"x=1 user=bob")
    assert shapes(content, np.array([3]), np.array([15])).tolist() == alone
