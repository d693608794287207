"""A body has the sign of each kind that the expressions of parsing find it to be."""

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from operators.logs.parsing.body_signs import (
    ACCESS,
    CONTAINER,
    OBJECT,
    PAIRS,
    SYSLOG,
    TRACE_ID,
    signs_of,
)
from operators.logs.parsing.lines import is_access_line, is_container_line, is_syslog_line

BODY = pl.col("body")
KINDS = {
    OBJECT: BODY.str.contains(r"^\s*\{"),
    CONTAINER: is_container_line(BODY),
    SYSLOG: is_syslog_line(BODY),
    ACCESS: is_access_line(BODY),
    PAIRS: BODY.str.contains(r"^\s*[A-Za-z_@][\w.@/-]*="),
    TRACE_ID: BODY.str.contains(r"(?i:trace).?(?i:id)"),
}
_texts = st.lists(
    st.sampled_from([
        " ", "\t", "\n", "\u2003", "\u0085", "\x1c", "{", "}", "<", ">", "<13>", "<1234>", "é", "key", "=", "a.b/c-d", "@", "ключ=",
        "2026-01-01", "T", "T10:00:00Z", " stdout F ", " stderr P", " std", "stdout", "F:x", "10.0.0.1 - ", "- ", "[", "01/Jan/2026:",
        "[01/Jan/2026:00:00:00 +0000]", "trace", "TRACE", "Trace", "tRACE", "_", "id", "ID", "trac", "x", "1",
    ]), max_size=8,
).map("".join)  # fmt: skip


@given(st.lists(_texts | st.text(max_size=20), max_size=6))
@example(["traceid", "2026-01-01T1 stdout F", "", "[[01/Jan/2026:", "t trace-id"])
def test_what_an_expression_finds_has_its_sign(texts):
    bodies = pl.Series("body", texts, dtype=pl.String)
    signs, beginnings = signs_of(bodies), signs_of(bodies, beginnings=True)
    for sign, expression in KINDS.items():
        found = bodies.to_frame().select(expression).to_series().to_numpy()
        assert (signs[found] & sign == sign).all()
        if sign not in (ACCESS, TRACE_ID):
            assert (beginnings == signs & beginnings).all()
            assert (beginnings[found] & sign == sign).all()


@pytest.mark.parametrize(
    "text",
    ["took 5 ms", "2026-01-01 00:00:00 INFO [main] x", "a b=c", "[INFO] tracing", "<x>", "<>"],
)
def test_usual_lines_have_no_sign_in_vain(text):
    assert signs_of(pl.Series([text])).tolist() == [0]
