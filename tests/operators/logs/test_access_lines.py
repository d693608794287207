"""The scan of plain access lines says what the regular expression says of them."""

from __future__ import annotations

import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from operators.columns.text_column import text_column, texts_of
from operators.logs.parsing.access_lines import scan_access_lines
from operators.logs.parsing.lines import access_fields

_parts = st.lists(
    st.sampled_from([
        "10.0.0.1", "-", " ", " - ", "[01/Jan/2026:00:00:25 +0000]", "[", "]", '"', "GET ", "GET", "get /x",
        "/a b?c=d", " HTTP/1.1", " HTTP/", " HTTP/2.0 HTTP/1.1", "200", "099", "404", " 0", "007", "12", "ann",
        '"-" "Mozilla/5.0 (X11)"', "\\", "\\x", "é", "\u00a0", "\n", "\t", "\x7f", "",
    ]), max_size=14,
).map("".join)  # fmt: skip
_near = st.builds(
    lambda client, user, request, status, size, tail: (
        f'{client} - {user} [01/Jan/2026:00:00:25 +0000] "{request}" {status} {size}{tail}'
    ),
    st.sampled_from(["10.0.0.1", "::1", "-", "h\u00e9"]),
    st.sampled_from(["-", "ann", "ann b", "", "[x"]),
    st.sampled_from(["GET / HTTP/1.1", "GET /", "-", "", "/x HTTP/1.1", "GET HTTP/1.1", "GET  HTTP/1.1",
                     "G /é HTTP/.", "POST /a HTTP/1 HTTP/2.0", "\\x16\\x03", "OPTIONS * HTTP/1.0"]),
    st.sampled_from(["200", "404", "503", "099", "20", "abc"]),
    st.sampled_from(["0", "00", "007", "123", "-", "", "1x"]),
    st.sampled_from(["", ' "-" "x"', ' "http://a/é" "Moz \\"q\\""', ' "r" "a" "more"', " 0.123", ' "r"', " ", '"']),
)  # fmt: skip


@given(st.lists(_near | _parts, max_size=6))
@example(['1.1.1.1 - - [01/Jan/2026:00:00:25 +0000] "GET / HTTP/1.1" 200 5'])
def test_what_is_plain_is_read_as_by_the_regular_expression(lines):
    bodies = pl.Series(lines, dtype=pl.String)
    found = scan_access_lines(text_column(bodies))
    expected = access_fields(bodies)
    times, attributes = texts_of(*found.times)[0], texts_of(*found.attributes)[0]
    for row in range(len(lines)):
        if found.status[row] < 0:
            assert attributes[row] == ""
            continue
        assert found.status[row] == expected["status"][row]
        assert times[row] == expected["time"][row]
        assert attributes[row] == expected["attributes"][row]


def test_usual_lines_are_plain():
    lines = [
        '10.2.3.4 - - [01/Jan/2026:00:00:25 +0000] "GET /cart?id=7 HTTP/1.1" 204 0 "-" "Mozilla/5.0 (X11)"',
        '::1 - ann [01/Jan/2026:00:00:25 +0000] "POST /caf\u00e9 HTTP/2.0" 500 -',
        '::1 - - [01/Jan/2026:00:00:25 +0000] "-" 408 0 "-" "-"',
    ]
    found = scan_access_lines(text_column(pl.Series(lines)))
    assert found.status.tolist() == [204, 500, 408]
    assert texts_of(*found.attributes)[0].to_list()[1:] == [
        '{"client.address":"::1","user.name":"ann","http.request.method":"POST","url.original":"/caf\u00e9",'
        '"network.protocol.version":"2.0","http.response.status_code":500}',
        '{"client.address":"::1","http.response.status_code":408,"http.response.body.size":0}',
    ]  # fmt: skip
