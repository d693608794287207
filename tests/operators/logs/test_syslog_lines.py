"""The scan of plain lines of syslog says what the regular expression says of them."""

from __future__ import annotations

import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from operators.columns.text_column import text_column, texts_of
from operators.logs.parsing.lines import syslog_fields
from operators.logs.parsing.syslog_lines import scan_syslog_lines

_odd = st.lists(
    st.sampled_from([
        "<13>", "<191>", "<192>", "<7", ">", "1", " ", "-", "Oct  9 22:33:20", "Feb 28 2024 00:00:00", "Oct", "host", ":",
        "2026-01-01T00:00:00Z", "2026-01-01T", "app", "[", "]", "[1]", ": ", '"', "\\", "\\]", "[a b=\"c\"]", "é", "\u2003",
        "\ufeff", "\n", "\t", "\x7f", "x", ".5", "",
    ]), max_size=14,
).map("".join)  # fmt: skip
_word = st.sampled_from(
    ["-", "host", "10.0.0.1", "su", "a.b/c_d", 'q"', "\\", "é", "", "8710", "x:y", "a\x00"]
)
_new = st.builds(
    lambda priority, words, data, tail: f"<{priority}>1 {' '.join(words)} {data}{tail}",
    st.sampled_from(["0", "34", "165", "191", "192", "013", ""]),
    st.lists(_word | st.just("2026-01-01T00:00:00.123Z"), min_size=5, max_size=5),
    st.sampled_from(["-", '[x@1 a="b"]', '[x a="\\]"][y]', "[x", "[]", "[x]y", '[é a="b"]', '[a="\\\\"]', "[a\nb]", "--", ""]),
    st.sampled_from(["", " ", " \ufeffmessage é", " a\nb", "  two", "x"]),
)  # fmt: skip
_old = st.builds(
    lambda priority, time, host, app, text: f"<{priority}>{time} {host}{app}{text}",
    st.sampled_from(["0", "34", "191", "999"]),
    st.sampled_from(["Oct  9 22:33:20", "Oct 11 22:14:15.123", "Oct 11 22:14:15.", "Oct 11 2024 22:14:15", "oct 11 22:14:15",
                     "Oct 11 ::::::::", "2026-01-01T00:00:00.5+01:00", "2026-01-01T", "2026-01-0aT1", "Oct 1122:14:15"]),
    st.sampled_from(["host ", "h\u00f6st ", "10.0.0.1 ", "", " ", "ho:st ", "h\tt ", 'h"t ', "[1] "]),
    st.sampled_from(["su: ", "su:", "app[12]: ", "app[1 2]:", "app[", "app[é]: ", "app[]: ", "app ", "%SYS-5-C: ", "ap:p[1]:",
                     "[3]: ", 'a["]: ', "a[b\n]: ", "a[-]: ", "-: ", ""]),
    st.sampled_from(["", "message", "é", "\ufeffm", "a\nb", '{"a": 1}', "]:"]),
)  # fmt: skip


@given(st.lists(_new | _old | _odd, max_size=6))
@example(["<34>1 2026-01-01T00:00:00Z host su - ID47 - 'su root' failed", "<13>", ""])
def test_what_is_plain_is_read_as_by_the_regular_expression(lines):
    bodies = pl.Series(lines, dtype=pl.String)
    found = scan_syslog_lines(text_column(bodies))
    expected = syslog_fields(bodies)
    times, app, message, attributes = (
        texts_of(*each)[0] for each in (found.times, found.app, found.message, found.attributes)
    )
    for row in range(len(lines)):
        if found.priority[row] < 0:
            assert attributes[row] == ""
            continue
        assert found.priority[row] == expected["priority"][row]
        assert times[row] == (expected["time"][row] or "")
        assert app[row] == (expected["app"][row] or "")
        assert message[row] == expected["message"][row]
        assert attributes[row] == expected["attributes"][row]


def test_usual_lines_are_plain():
    """The examples are those of RFC 5424, 6.5, and of RFC 3164, 5.4."""
    lines = [
        "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \ufeff'su root' failed for lonvick",
        '<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut="3"]'
        "[examplePriority@32473] \ufeffAn application event",
        "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
        "<30>Oct  9 22:33:20 hlfedora auditd[1787]: The audit daemon is exiting.",
    ]  # fmt: skip
    found = scan_syslog_lines(text_column(pl.Series(lines)))
    assert found.priority.tolist() == [34, 165, 34, 30]
    assert texts_of(*found.app)[0].to_list() == ["su", "evntslog", "su", "auditd"]
    assert texts_of(*found.message)[0].to_list() == [
        "'su root' failed for lonvick",
        "An application event",
        "'su root' failed for lonvick on /dev/pts/8",
        "The audit daemon is exiting.",
    ]
    assert texts_of(*found.attributes)[0].to_list() == [
        '{"syslog.facility":"auth","host.name":"mymachine.example.com","syslog.appname":"su","syslog.msgid":"ID47"}',
        '{"syslog.facility":"local4","host.name":"mymachine.example.com","syslog.appname":"evntslog","syslog.msgid":"ID47",'
        '"syslog.structured_data":"[exampleSDID@32473 iut=\\"3\\"][examplePriority@32473]"}',
        '{"syslog.facility":"auth","host.name":"mymachine","syslog.appname":"su"}',
        '{"syslog.facility":"daemon","host.name":"hlfedora","syslog.appname":"auditd","syslog.procid":"1787"}',
    ]  # fmt: skip
